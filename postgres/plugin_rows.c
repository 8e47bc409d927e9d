/*-------------------------------------------------------------------------
 *
 * plugin_rows.c
 *	  The output plugin's rows: which tables travel to this receiver, and how
 *	  their columns are written.
 *
 * Only attached tables travel, and only to a region that holds a copy of their
 * class.  What is known of a table is kept until the catalogs or the
 * configuration change, and told to the receiver again after that.
 *
 * A value travels in its type's binary form where that is the same in every
 * cluster, and as text elsewhere.  The common types are written without a call
 * of their send function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "plugin.h"

/* How a column's value is written */
typedef enum ColumnForm
{
	FORM_BYTE,					/* by value, 1 byte */
	FORM_INT2,
	FORM_INT4,
	FORM_INT8,
	FORM_BYTES,					/* varlena whose payload is its binary form */
	FORM_UUID,
	FORM_SEND,					/* the type's send function */
	FORM_OUT					/* the type's output function */
} ColumnForm;

struct MeridianPluginColumn
{
	AttrNumber	attno;
	bool		key;
	ColumnForm	form;
	Oid			binary_type;	/* InvalidOid: text */
	FmgrInfo	func;
};

static HTAB *relations;

/* ----------------------------------------------------------------
 * relations
 * ----------------------------------------------------------------
 */

Oid
meridian_binary_type(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = base;
	Oid			func;
	bool		varlena;

	/* only what initdb numbers alike everywhere */
	if (base >= FirstGenbkiObjectId)
		return InvalidOid;
	if (OidIsValid(get_element_type(base)))
		element = get_element_type(base);
	if (get_typtype(element) != TYPTYPE_BASE && get_typtype(element) != TYPTYPE_RANGE &&
		get_typtype(element) != TYPTYPE_MULTIRANGE)
		return InvalidOid;
	switch (element)
	{
			/* these are names behind numbers that differ between clusters */
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
		case ACLITEMOID:
		case PG_NODE_TREEOID:
			return InvalidOid;
		default:
			break;
	}
	{
		HeapTuple	tup = SearchSysCache1(TYPEOID, ObjectIdGetDatum(base));
		Form_pg_type form;
		bool		both;

		if (!HeapTupleIsValid(tup))
			return InvalidOid;
		form = (Form_pg_type) GETSTRUCT(tup);
		both = OidIsValid(form->typsend) && OidIsValid(form->typreceive);
		ReleaseSysCache(tup);
		if (!both)
			return InvalidOid;
	}
	getTypeBinaryOutputInfo(base, &func, &varlena);
	return base;
}

static ColumnForm
column_form(Oid binary_type)
{
	switch (binary_type)
	{
		case InvalidOid:
			return FORM_OUT;
		case BOOLOID:
		case CHAROID:
			return FORM_BYTE;
		case INT2OID:
			return FORM_INT2;
		case INT4OID:
		case OIDOID:
		case DATEOID:
		case FLOAT4OID:
			return FORM_INT4;
		case INT8OID:
		case FLOAT8OID:
		case CASHOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return FORM_INT8;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case JSONOID:
			return FORM_BYTES;
		case UUIDOID:
			return FORM_UUID;
		default:
			return FORM_SEND;
	}
}

/* Is every row of rel in this index exactly once, found by plain columns? */
static bool
index_identifies(Relation rel, Form_pg_index form, bool partial)
{
	if (!form->indisunique || !form->indisvalid || !form->indimmediate || partial)
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attno = form->indkey.values[i];

		if (attno <= 0 || !TupleDescAttr(RelationGetDescr(rel), attno - 1)->attnotnull)
			return false;
	}
	return true;
}

Oid
meridian_identity_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	Oid			best = InvalidOid;
	ListCell   *lc;

	if (OidIsValid(rel->rd_pkindex))
	{
		list_free(indexes);
		return rel->rd_pkindex;
	}
	foreach(lc, indexes)
	{
		Oid			oid = lfirst_oid(lc);
		Relation	idx = RelationIdGetRelation(oid);

		if (!RelationIsValid(idx))
			continue;
		if (index_identifies(rel, idx->rd_index,
							 !heap_attisnull(idx->rd_indextuple, Anum_pg_index_indpred, NULL)) &&
			(best == InvalidOid || oid < best))
			best = oid;
		RelationClose(idx);
	}
	list_free(indexes);
	return best;
}

static Bitmapset *
identity_columns(Relation rel)
{
	Oid			oid = meridian_identity_index(rel);
	Bitmapset  *ret = NULL;
	Relation	idx;

	if (!OidIsValid(oid))
		return NULL;
	idx = RelationIdGetRelation(oid);
	if (!RelationIsValid(idx))
		return NULL;
	for (int i = 0; i < idx->rd_index->indnkeyatts; i++)
		ret = bms_add_member(ret, idx->rd_index->indkey.values[i]);
	RelationClose(idx);
	return ret;
}

static void
fill_columns(MeridianPluginRelation *entry, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *key = identity_columns(rel);

	entry->columns = palloc0(sizeof(MeridianPluginColumn) * Max(desc->natts, 1));
	entry->natts = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		MeridianPluginColumn *col = &entry->columns[entry->natts];
		Oid			func;
		bool		varlena;

		if (att->attisdropped || att->attgenerated != '\0')
			continue;
		col->attno = att->attnum;
		col->key = bms_is_member(att->attnum, key);
		col->binary_type = meridian_binary_type(att->atttypid);
		col->form = column_form(col->binary_type);
		if (col->form == FORM_OUT)
			getTypeOutputInfo(att->atttypid, &func, &varlena);
		else
			getTypeBinaryOutputInfo(att->atttypid, &func, &varlena);
		fmgr_info_cxt(func, &col->func, CurrentMemoryContext);
		entry->natts++;
	}
}

/* Does the receiver hold a copy of the class? */
bool
meridian_plugin_receiver_holds(MeridianPlugin *state, const struct mrd_snapshot *s, const char *class_name)
{
	int			region = mrd_snapshot_region(s, state->receiver);
	int			class = mrd_snapshot_class(s, class_name);

	return region >= 0 && class >= 0 && (s->classes[class].replicas & (1u << region)) != 0;
}

static void
fill_relation(MeridianPlugin *state, MeridianPluginRelation *entry, Relation rel)
{
	const struct mrd_snapshot *s = state->snapshot;
	MeridianAttachment attachment;
	MemoryContext old;

	if (entry->context == NULL)
		entry->context = AllocSetContextCreate(state->context, "meridian plugin relation",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(entry->context);
	old = MemoryContextSwitchTo(entry->context);
	entry->sent = false;
	entry->travels = false;
	entry->config_version = s->config_version;
	if (rel->rd_rel->relkind == RELKIND_RELATION && meridian_attachment(rel, &attachment))
	{
		entry->travels = meridian_plugin_receiver_holds(state, s, attachment.class_name);
		strlcpy(entry->class_name, attachment.class_name, sizeof(entry->class_name));
		entry->partition_attno = attachment.partition_attno;
	}
	if (entry->travels)
		fill_columns(entry, rel);
	entry->valid = true;
	MemoryContextSwitchTo(old);
}

MeridianPluginRelation *
meridian_plugin_relation(MeridianPlugin *state, Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	bool		found;
	MeridianPluginRelation *entry = hash_search(relations, &relid, HASH_ENTER, &found);

	if (!found)
	{
		memset(entry, 0, sizeof(*entry));
		entry->relid = relid;
	}
	if (!entry->valid || state->snapshot->config_version != entry->config_version)
		fill_relation(state, entry, rel);
	return entry;
}

static void
invalidate_relation(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	MeridianPluginRelation *entry;

	if (relations == NULL)
		return;
	if (OidIsValid(relid))
	{
		entry = hash_search(relations, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}
	hash_seq_init(&seq, relations);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry->valid = false;
}

static void
invalidate_all_relations(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate_relation(arg, InvalidOid);
}

static void
register_invalidation(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_all_relations, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, invalidate_all_relations, (Datum) 0);
	registered = true;
}

void
meridian_plugin_rows_begin(MeridianPlugin *state)
{
	HASHCTL		ctl;

	register_invalidation();
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(MeridianPluginRelation);
	ctl.hcxt = state->context;
	relations = hash_create("meridian plugin relations", 64, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Its memory goes with the stream's. */
void
meridian_plugin_rows_end(void)
{
	relations = NULL;
}

/* Something else was told under the same number. */
void
meridian_plugin_tell_again(Oid relid)
{
	MeridianPluginRelation *entry = hash_search(relations, &relid, HASH_FIND, NULL);

	if (entry != NULL)
		entry->sent = false;
}

void
meridian_plugin_tell(MeridianPlugin *state, MeridianPluginRelation *entry, Relation rel)
{
	char	   *schema_name = get_namespace_name(RelationGetNamespace(rel));
	int			partition = -1;

	for (int i = 0; i < entry->natts; i++)
	{
		if (entry->partition_attno != 0 && entry->columns[i].attno == entry->partition_attno)
			partition = i;
	}
	meridian_wire_put_relation(&state->out, entry->relid, schema_name,
							   RelationGetRelationName(rel), entry->class_name, partition,
							   entry->natts);
	for (int i = 0; i < entry->natts; i++)
	{
		MeridianPluginColumn *col = &entry->columns[i];
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), col->attno - 1);
		char		type_name[2 * MRD_NAME_MAX];

		strlcpy(type_name, format_type_with_typemod(att->atttypid, att->atttypmod),
				sizeof(type_name));
		meridian_wire_put_attr(&state->out, NameStr(att->attname), type_name,
							   col->key ? MERIDIAN_ATTR_KEY : 0, col->binary_type);
	}
	entry->sent = true;
}

/* ----------------------------------------------------------------
 * values
 * ----------------------------------------------------------------
 */

static void
put_varlena(MeridianWireOut *out, uint8 kind, Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

	meridian_wire_put_col(out, kind, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
}

static void
put_value(MeridianWireOut *out, MeridianPluginColumn *col, Datum value)
{
	switch (col->form)
	{
		case FORM_BYTE:
			{
				uint8		v = (uint8) DatumGetChar(value);

				meridian_wire_put_col(out, MERIDIAN_COL_BINARY, &v, sizeof(v));
				break;
			}
		case FORM_INT2:
			{
				uint16		v = pg_hton16((uint16) DatumGetInt16(value));

				meridian_wire_put_col(out, MERIDIAN_COL_BINARY, &v, sizeof(v));
				break;
			}
		case FORM_INT4:
			{
				uint32		v = pg_hton32((uint32) DatumGetInt32(value));

				meridian_wire_put_col(out, MERIDIAN_COL_BINARY, &v, sizeof(v));
				break;
			}
		case FORM_INT8:
			{
				uint64		v = pg_hton64((uint64) DatumGetInt64(value));

				meridian_wire_put_col(out, MERIDIAN_COL_BINARY, &v, sizeof(v));
				break;
			}
		case FORM_UUID:
			meridian_wire_put_col(out, MERIDIAN_COL_BINARY, DatumGetPointer(value), 16);
			break;
		case FORM_BYTES:
			put_varlena(out, MERIDIAN_COL_BINARY, value);
			break;
		case FORM_SEND:
			{
				bytea	   *v = SendFunctionCall(&col->func, value);

				meridian_wire_put_col(out, MERIDIAN_COL_BINARY, VARDATA(v), VARSIZE(v) - VARHDRSZ);
				break;
			}
		case FORM_OUT:
			{
				char	   *v = OutputFunctionCall(&col->func, value);

				meridian_wire_put_col(out, MERIDIAN_COL_TEXT, v, strlen(v));
				break;
			}
	}
}

static bool
is_unchanged(Form_pg_attribute att, Datum value, bool isnull)
{
	return !isnull && att->attlen == -1 &&
		VARATT_IS_EXTERNAL_ONDISK((struct varlena *) DatumGetPointer(value));
}

typedef struct PluginTuple
{
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];
} PluginTuple;

static void
put_tuple(MeridianPlugin *state, MeridianPluginRelation *entry, TupleDesc desc, PluginTuple *tuple,
		  bool key_only)
{
	meridian_wire_put_natts(&state->out, entry->natts);
	for (int i = 0; i < entry->natts; i++)
	{
		MeridianPluginColumn *col = &entry->columns[i];
		int			n = col->attno - 1;

		if (tuple->nulls[n] || (key_only && !col->key))
			meridian_wire_put_col(&state->out, MERIDIAN_COL_NULL, NULL, 0);
		else if (is_unchanged(TupleDescAttr(desc, n), tuple->values[n], false))
			meridian_wire_put_col(&state->out, MERIDIAN_COL_UNCHANGED, NULL, 0);
		else
			put_value(&state->out, col, tuple->values[n]);
	}
}

/*
 * Did the row's identity change?  On the way, key columns that the new row
 * keeps out of line are taken from the old one, because the receiver finds the
 * row by them.
 */
static bool
key_changed(MeridianPluginRelation *entry, TupleDesc desc, PluginTuple *old, PluginTuple *new)
{
	bool		changed = false;

	for (int i = 0; i < entry->natts; i++)
	{
		int			n = entry->columns[i].attno - 1;
		Form_pg_attribute att = TupleDescAttr(desc, n);

		if (!entry->columns[i].key)
			continue;
		if (is_unchanged(att, new->values[n], new->nulls[n]))
		{
			new->values[n] = old->values[n];
			new->nulls[n] = old->nulls[n];
		}
		else if (old->nulls[n] != new->nulls[n] ||
				 (!old->nulls[n] && !datum_image_eq(old->values[n], new->values[n],
													att->attbyval, att->attlen)))
			changed = true;
	}
	return changed;
}

void
meridian_plugin_put_change(MeridianPlugin *state, MeridianPluginRelation *entry, TupleDesc desc,
						   ReorderBufferChange *change)
{
	/* too large for the stack, and there is one change at a time */
	static PluginTuple old_tuple;
	static PluginTuple new_tuple;
	ReorderBufferTupleBuf *old = change->data.tp.oldtuple;
	ReorderBufferTupleBuf *new = change->data.tp.newtuple;

	if (old != NULL)
		heap_deform_tuple(&old->tuple, desc, old_tuple.values, old_tuple.nulls);
	if (new != NULL)
		heap_deform_tuple(&new->tuple, desc, new_tuple.values, new_tuple.nulls);
	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			meridian_wire_put_insert(&state->out, entry->relid);
			put_tuple(state, entry, desc, &new_tuple, false);
			break;
		case REORDER_BUFFER_CHANGE_UPDATE:
			{
				bool		moved = old != NULL && key_changed(entry, desc, &old_tuple, &new_tuple);
				bool		has_old = moved || (old != NULL && state->full_images);

				meridian_wire_put_update(&state->out, entry->relid, has_old);
				if (has_old)
					put_tuple(state, entry, desc, &old_tuple, !state->full_images);
				put_tuple(state, entry, desc, &new_tuple, false);
				break;
			}
		case REORDER_BUFFER_CHANGE_DELETE:
			if (old == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("a deleted row of relation %u was logged without its identity",
								entry->relid),
						 errhint("Attached tables need REPLICA IDENTITY FULL.")));
			meridian_wire_put_delete(&state->out, entry->relid);
			put_tuple(state, entry, desc, &old_tuple, !state->full_images);
			break;
		default:
			break;
	}
}
