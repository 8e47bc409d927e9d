/*-------------------------------------------------------------------------
 *
 * plugin.c
 *	  The output plugin: one region's WAL as the stream another region reads.
 *
 * A transaction becomes a few frames (wire.h), usually one.  Only rows of
 * attached tables travel, and only to regions that hold a copy of their class:
 * what may not travel is dropped here, where it is decoded.
 *
 * Changes that arrived here from elsewhere are dropped by the origin filter
 * before they are queued, but not forgotten: the filter reads the origin's
 * position from the commit record and the next frame carries a note "origin O
 * up to LSN x stands before this point".  From the notes the receiver knows
 * how far it may let this slot discard WAL, which makes every slot a rescue
 * slot.  With the option "forward" the plugin hands over such an origin's
 * transactions instead of dropping them.
 *
 * The decoder always starts at the slot's confirmed position, which may lie
 * well before what the receiver has applied; transactions it already has are
 * left out by the positions in the options own_from and forward.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_replication_origin.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "streams.h"

#define FRAME_TARGET (64 * 1024)	/* content after which a frame is sent */
#define PROGRESS_EVERY 100			/* changes left out between keepalives */
#define POSITION_EVERY_MS 1000
#define ORIGINS_MAX 64

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

typedef struct PluginColumn
{
	AttrNumber	attno;
	bool		key;
	ColumnForm	form;
	Oid			binary_type;	/* InvalidOid: text */
	FmgrInfo	func;
} PluginColumn;

typedef struct PluginRelation
{
	Oid			relid;			/* hash key */
	bool		valid;
	bool		travels;		/* attached, and the receiver holds its class */
	bool		sent;			/* the receiver knows its columns */
	uint64		config_version; /* of the snapshot that decided travels */
	char		class_name[MRD_NAME_MAX];
	AttrNumber	partition_attno;
	int			natts;
	PluginColumn *columns;
	MemoryContext context;
} PluginRelation;

/* An origin of this cluster, as the filter sees it. */
typedef struct PluginOrigin
{
	RepOriginId id;
	char		region[MRD_NAME_MAX];	/* empty: none of ours */
	bool		forward;
	XLogRecPtr	forward_from;	/* receiver's position of it */
	XLogRecPtr	noted_lsn;		/* not yet told: up to here ... */
	XLogRecPtr	noted_at;		/* ... before this record */
	XLogRecPtr	through_lsn;	/* forward: known to be applied here ... */
	XLogRecPtr	through_at;		/* ... by this position of our WAL */
} PluginOrigin;

typedef struct PluginState
{
	MemoryContext context;		/* life of the stream */
	MemoryContext change_context;	/* one change */
	struct ZSTD_CCtx_s *compressor;
	MeridianWireOut out;		/* content of the next frame */
	MeridianWireOut frame;
	char		receiver[MRD_NAME_MAX];
	bool		full_images;
	bool		greeted;
	XLogRecPtr	own_from;
	int			norigins;
	PluginOrigin origins[ORIGINS_MAX];

	/* the transaction at hand */
	const struct mrd_snapshot *snapshot;
	bool		skip;			/* the receiver has it already */
	bool		begun;			/* begin has been written */
	const char *origin_region;	/* "" for our own */
	int			left_out;

	TimestampTz last_frame;
} PluginState;

static HTAB *plugin_relations = NULL;
static PluginState *plugin_state = NULL;

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

/* ----------------------------------------------------------------
 * buffers and frames
 * ----------------------------------------------------------------
 */

static bool
wire_grow(MeridianWireOut *out, size_t need)
{
	size_t		cap = Max(out->cap * 2, 8192);

	cap = Max(cap, need);
	cap = Min(cap, MERIDIAN_WIRE_FRAME_MAX);
	if (out->data == NULL)
		out->data = palloc(cap);
	else
		out->data = repalloc(out->data, cap);
	out->cap = cap;
	return true;
}

void
meridian_wire_out_init(MeridianWireOut *out)
{
	memset(out, 0, sizeof(*out));
	out->grow = wire_grow;
	wire_grow(out, 8192);
}

/* Notes go in front of what the frame was made for, but after the greeting. */
static void
put_notes(PluginState *state)
{
	for (int i = 0; i < state->norigins; i++)
	{
		PluginOrigin *o = &state->origins[i];

		if (o->noted_lsn == InvalidXLogRecPtr)
			continue;
		meridian_wire_put_origin(&state->out, o->region, o->noted_lsn, o->noted_at);
		o->noted_lsn = o->noted_at = InvalidXLogRecPtr;
	}
}

static bool
have_notes(PluginState *state)
{
	for (int i = 0; i < state->norigins; i++)
	{
		if (state->origins[i].noted_lsn != InvalidXLogRecPtr)
			return true;
	}
	return false;
}

/* Call before the first message outside or at the start of a transaction. */
static void
open_frame(PluginState *state)
{
	if (!state->greeted)
	{
		meridian_wire_put_hello(&state->out, meridian_region, GetDatabaseEncodingName(),
								PG_VERSION_NUM);
		state->greeted = true;
	}
	put_notes(state);
}

static void
send_frame(LogicalDecodingContext *ctx, bool last)
{
	PluginState *state = ctx->output_plugin_private;
	int			rc;

	state->frame.len = 0;
	rc = meridian_wire_pack(state->compressor, &state->out, &state->frame);
	if (rc != MRD_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("could not pack a frame for region \"%s\": %s",
						state->receiver, mrd_strerror(rc))));
	OutputPluginPrepareWrite(ctx, last);
	appendBinaryStringInfo(ctx->out, (char *) state->frame.data, (int) state->frame.len);
	OutputPluginWrite(ctx, last);
	state->out.len = 0;
	state->left_out = 0;
	state->last_frame = meridian_instant();
}

/* ----------------------------------------------------------------
 * options
 * ----------------------------------------------------------------
 */

static XLogRecPtr
parse_lsn(const char *option, const char *text)
{
	bool		error = false;
	XLogRecPtr	lsn = pg_lsn_in_internal(text, &error);

	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not a WAL position: \"%s\"", option, text)));
	return lsn;
}

/* forward is a list of region=position */
static void
parse_forward(PluginState *state, char *text)
{
	char	   *save = NULL;

	for (char *item = strtok_r(text, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save))
	{
		char	   *eq = strchr(item, '=');
		char		name[NAMEDATALEN];
		PluginOrigin *o = &state->origins[state->norigins];

		if (eq == NULL || eq - item >= MRD_NAME_MAX || state->norigins == ORIGINS_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"forward\" is not a list of region=position")));
		*eq = '\0';
		strlcpy(o->region, item, sizeof(o->region));
		o->forward = true;
		o->forward_from = parse_lsn("forward", eq + 1);
		meridian_stream_name(o->region, name, sizeof(name));
		o->id = replorigin_by_name(name, true);
		o->through_lsn = meridian_stream_applied(o->region);
		o->through_at = GetXLogInsertRecPtr();
		state->norigins++;
	}
}

static void
parse_option(PluginState *state, DefElem *elem)
{
	char	   *value = elem->arg == NULL ? "" : strVal(elem->arg);

	if (strcmp(elem->defname, "wire") == 0)
	{
		if (strcmp(value, CppAsString2(MERIDIAN_WIRE_VERSION)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("wire format %s is not known here", value),
					 errhint("Run the same version of meridian in every region.")));
	}
	else if (strcmp(elem->defname, "region") == 0)
		strlcpy(state->receiver, value, sizeof(state->receiver));
	else if (strcmp(elem->defname, "own_from") == 0)
		state->own_from = parse_lsn("own_from", value);
	else if (strcmp(elem->defname, "forward") == 0)
		parse_forward(state, pstrdup(value));
	else if (strcmp(elem->defname, "images") == 0)
		state->full_images = strcmp(value, "full") == 0;
	else if (strcmp(elem->defname, "compression") == 0)
	{
		if (strcmp(value, "zstd") == 0)
			state->compressor = meridian_wire_compressor();
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not known", elem->defname)));
}

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
fill_columns(PluginRelation *entry, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *key = identity_columns(rel);

	entry->columns = palloc0(sizeof(PluginColumn) * Max(desc->natts, 1));
	entry->natts = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		PluginColumn *col = &entry->columns[entry->natts];
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
static bool
receiver_holds(PluginState *state, const struct mrd_snapshot *s, const char *class_name)
{
	int			region = mrd_snapshot_region(s, state->receiver);
	int			class = mrd_snapshot_class(s, class_name);

	return region >= 0 && class >= 0 && (s->classes[class].replicas & (1u << region)) != 0;
}

static const struct mrd_snapshot *
need_snapshot(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (s == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not decide what may travel: this region's agent has published nothing yet")));
	return s;
}

static void
fill_relation(PluginState *state, PluginRelation *entry, Relation rel)
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
		entry->travels = receiver_holds(state, s, attachment.class_name);
		strlcpy(entry->class_name, attachment.class_name, sizeof(entry->class_name));
		entry->partition_attno = attachment.partition_attno;
	}
	if (entry->travels)
		fill_columns(entry, rel);
	entry->valid = true;
	MemoryContextSwitchTo(old);
}

static PluginRelation *
get_relation(PluginState *state, Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	bool		found;
	PluginRelation *entry = hash_search(plugin_relations, &relid, HASH_ENTER, &found);

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
	PluginRelation *entry;

	if (plugin_relations == NULL)
		return;
	if (OidIsValid(relid))
	{
		entry = hash_search(plugin_relations, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}
	hash_seq_init(&seq, plugin_relations);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry->valid = false;
}

static void
invalidate_all_relations(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate_relation(arg, InvalidOid);
}

static void
put_relation(PluginState *state, PluginRelation *entry, Relation rel)
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
		PluginColumn *col = &entry->columns[i];
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
put_value(MeridianWireOut *out, PluginColumn *col, Datum value)
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
put_tuple(PluginState *state, PluginRelation *entry, TupleDesc desc, PluginTuple *tuple,
		  bool key_only)
{
	meridian_wire_put_natts(&state->out, entry->natts);
	for (int i = 0; i < entry->natts; i++)
	{
		PluginColumn *col = &entry->columns[i];
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
key_changed(PluginRelation *entry, TupleDesc desc, PluginTuple *old, PluginTuple *new)
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

/* ----------------------------------------------------------------
 * origins
 * ----------------------------------------------------------------
 */

static PluginOrigin *
origin_by_id(PluginState *state, RepOriginId id)
{
	for (int i = 0; i < state->norigins; i++)
	{
		if (state->origins[i].id == id)
			return &state->origins[i];
	}
	return NULL;
}

static const char *
region_of_origin_name(const char *origin_name)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	for (int i = 0; s != NULL && i < s->region_count; i++)
	{
		char		name[NAMEDATALEN];

		meridian_stream_name(s->regions[i].name, name, sizeof(name));
		if (strcmp(name, origin_name) == 0)
			return s->regions[i].name;
	}
	return "";
}

/*
 * The filter is called while records are read, outside any transaction, but a
 * name is in the catalog.  This happens once per origin and stream.
 */
static PluginOrigin *
learn_origin(PluginState *state, RepOriginId id)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_xact = !IsTransactionState();
	PluginOrigin *o;
	char	   *name;

	if (state->norigins == ORIGINS_MAX)
		return NULL;
	o = &state->origins[state->norigins];
	memset(o, 0, sizeof(*o));
	o->id = id;
	if (own_xact)
		StartTransactionCommand();
	if (id != DoNotReplicateId && replorigin_by_oid(id, true, &name))
		strlcpy(o->region, region_of_origin_name(name), sizeof(o->region));
	if (own_xact)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	state->norigins++;
	return o;
}

/* A foreign transaction's commit passes: remember to tell the receiver. */
static void
note_commit(PluginState *state, PluginOrigin *o, XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record);
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(record) != RM_XACT_ID ||
		((info & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT &&
		 (info & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT_PREPARED))
		return;
	if (o->region[0] == '\0' || strcmp(o->region, state->receiver) == 0)
		return;
	ParseCommitRecord(info, (xl_xact_commit *) XLogRecGetData(record), &parsed);
	if (parsed.origin_lsn == InvalidXLogRecPtr)
		return;
	if (o->noted_at == InvalidXLogRecPtr)
		o->noted_at = record->ReadRecPtr;
	o->noted_lsn = Max(o->noted_lsn, parsed.origin_lsn);
}

static bool
plugin_filter_by_origin(LogicalDecodingContext *ctx, RepOriginId id)
{
	PluginState *state = ctx->output_plugin_private;
	PluginOrigin *o;

	if (id == InvalidRepOriginId)
		return false;
	o = origin_by_id(state, id);
	if (o == NULL)
		o = learn_origin(state, id);
	if (o == NULL)
		return true;
	if (o->forward)
		return false;
	note_commit(state, o, ctx->reader);
	return true;
}

/*
 * A forwarded origin that is silent still has a position: what its stream had
 * brought here when we last looked is before what we had written by then.  Not
 * past the cut: what stands there is put aside here and not handed over.
 */
static void
put_through(PluginState *state, XLogRecPtr lsn)
{
	for (int i = 0; i < state->norigins; i++)
	{
		PluginOrigin *o = &state->origins[i];
		XLogRecPtr	through = o->through_lsn;

		if (!o->forward || lsn < o->through_at)
			continue;
		through = Min(through, meridian_furthest_cut(need_snapshot(), o->region));
		if (through != InvalidXLogRecPtr)
			meridian_wire_put_origin(&state->out, o->region, through, lsn);
		o->through_lsn = meridian_stream_applied(o->region);
		o->through_at = GetXLogInsertRecPtr();
	}
}

/* ----------------------------------------------------------------
 * callbacks
 * ----------------------------------------------------------------
 */

static void
release_stream(void *arg)
{
	PluginState *state = arg;

	if (state->compressor != NULL)
		meridian_wire_compressor_free(state->compressor);
	state->compressor = NULL;
	plugin_relations = NULL;
	plugin_state = NULL;
}

static void
forget_origins(Datum arg, int cacheid, uint32 hashvalue)
{
	if (plugin_state == NULL)
		return;
	/* an id may have been given to another region: keep only what was asked for */
	for (int i = plugin_state->norigins - 1; i >= 0; i--)
	{
		PluginOrigin *o = &plugin_state->origins[i];

		if (!o->forward && o->noted_lsn == InvalidXLogRecPtr)
			*o = plugin_state->origins[--plugin_state->norigins];
	}
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
	CacheRegisterSyscacheCallback(REPLORIGIDENT, forget_origins, (Datum) 0);
	registered = true;
}

static void
create_relations(PluginState *state)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(PluginRelation);
	ctl.hcxt = state->context;
	plugin_relations = hash_create("meridian plugin relations", 64, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
parse_options(PluginState *state, List *options)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_xact = !IsTransactionState();
	ListCell   *lc;

	/* forwarded origins are looked up in the catalog */
	if (own_xact)
		StartTransactionCommand();
	MemoryContextSwitchTo(state->context);
	foreach(lc, options)
		parse_option(state, lfirst_node(DefElem, lc));
	if (own_xact)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	if (state->receiver[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"region\" must name the receiving region")));
	need_snapshot();
}

static void
plugin_startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt, bool is_init)
{
	PluginState *state = MemoryContextAllocZero(ctx->context, sizeof(PluginState));
	MemoryContextCallback *release = MemoryContextAlloc(ctx->context, sizeof(*release));
	MemoryContext old = MemoryContextSwitchTo(ctx->context);

	opt->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	opt->receive_rewrites = false;
	state->context = ctx->context;
	state->change_context = AllocSetContextCreate(ctx->context, "meridian plugin change",
												  ALLOCSET_DEFAULT_SIZES);
	meridian_wire_out_init(&state->out);
	meridian_wire_out_init(&state->frame);
	state->last_frame = meridian_instant();
	MemoryContextSwitchTo(old);

	release->func = release_stream;
	release->arg = state;
	MemoryContextRegisterResetCallback(ctx->context, release);
	ctx->output_plugin_private = state;
	plugin_state = state;
	create_relations(state);
	register_invalidation();
	if (!is_init)
		parse_options(state, ctx->output_plugin_options);
}

static void
plugin_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	PluginState *state = ctx->output_plugin_private;
	PluginOrigin *o = NULL;

	state->snapshot = need_snapshot();
	state->begun = false;
	state->left_out = 0;
	state->origin_region = "";
	if (txn->origin_id != InvalidRepOriginId)
		o = origin_by_id(state, txn->origin_id);
	if (o == NULL)
	{
		state->skip = txn->end_lsn <= state->own_from;
		return;
	}
	state->origin_region = o->region;
	state->skip = txn->origin_lsn <= o->forward_from;
}

/* The begin is written with the first thing that travels. */
static void
ensure_begun(PluginState *state, ReorderBufferTXN *txn)
{
	if (state->begun)
		return;
	open_frame(state);
	meridian_wire_put_begin(&state->out, state->origin_region,
							state->origin_region[0] == '\0' ? txn->end_lsn : txn->origin_lsn,
							txn->end_lsn, txn->xact_time.commit_time, txn->xid);
	state->begun = true;
}

static void
leave_out(LogicalDecodingContext *ctx, PluginState *state)
{
	if (++state->left_out >= PROGRESS_EVERY)
	{
		OutputPluginUpdateProgress(ctx, false);
		state->left_out = 0;
	}
}

static void
put_change(PluginState *state, PluginRelation *entry, TupleDesc desc, ReorderBufferChange *change)
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

static void
plugin_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
			  ReorderBufferChange *change)
{
	PluginState *state = ctx->output_plugin_private;
	PluginRelation *entry;
	MemoryContext old;

	if (state->skip)
	{
		leave_out(ctx, state);
		return;
	}
	old = MemoryContextSwitchTo(state->change_context);
	entry = get_relation(state, rel);
	if (!entry->travels)
		leave_out(ctx, state);
	else
	{
		ensure_begun(state, txn);
		if (!entry->sent)
			put_relation(state, entry, rel);
		put_change(state, entry, RelationGetDescr(rel), change);
		if (state->out.len >= FRAME_TARGET)
			send_frame(ctx, false);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->change_context);
}

static void
plugin_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
				Relation relations[], ReorderBufferChange *change)
{
	PluginState *state = ctx->output_plugin_private;
	MemoryContext old;
	uint32	   *ids;
	int			n = 0;
	uint8		flags = 0;

	if (state->skip)
		return;
	old = MemoryContextSwitchTo(state->change_context);
	ids = palloc(sizeof(uint32) * nrelations);
	for (int i = 0; i < nrelations; i++)
	{
		PluginRelation *entry = get_relation(state, relations[i]);

		if (!entry->travels)
			continue;
		ensure_begun(state, txn);
		if (!entry->sent)
			put_relation(state, entry, relations[i]);
		ids[n++] = entry->relid;
	}
	/* CASCADE has been followed already: what is listed is all there is */
	if (change->data.truncate.restart_seqs)
		flags |= MERIDIAN_TRUNCATE_RESTART;
	if (n > 0)
		meridian_wire_put_truncate(&state->out, flags, n, ids);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->change_context);
}

/* Outside transactions: a frame of its own, so that positions keep moving. */
static void
send_position(LogicalDecodingContext *ctx, XLogRecPtr lsn)
{
	PluginState *state = ctx->output_plugin_private;

	open_frame(state);
	meridian_wire_put_position(&state->out, lsn);
	send_frame(ctx, true);
}

static void
plugin_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	PluginState *state = ctx->output_plugin_private;

	if (state->begun)
	{
		meridian_wire_put_commit(&state->out, txn->end_lsn);
		send_frame(ctx, true);
	}
	else if (have_notes(state) ||
			 TimestampDifferenceExceeds(state->last_frame, meridian_instant(),
										POSITION_EVERY_MS))
		send_position(ctx, txn->end_lsn);
	else
		OutputPluginUpdateProgress(ctx, true);
}

static void
plugin_heartbeat(LogicalDecodingContext *ctx, XLogRecPtr lsn, const char *message, Size size)
{
	PluginState *state = ctx->output_plugin_private;
	uint64		session;
	uint64		boot_ms;

	if (meridian_wire_read_heartbeat(message, size, &session, &boot_ms) != MRD_OK)
		return;					/* someone's own message under our prefix */
	open_frame(state);
	put_through(state, lsn);
	meridian_wire_put_heartbeat(&state->out, lsn, session, boot_ms);
	send_frame(ctx, true);
}

/* Repairs and entries hold rows, which go only where their class may be. */
static bool
may_travel(PluginState *state, MeridianWireType type, const char *message, Size size)
{
	char		class_name[MRD_NAME_MAX];

	if (type != MERIDIAN_WIRE_REPAIR && type != MERIDIAN_WIRE_ENTRY)
		return true;
	return meridian_wire_read_class(message, size, class_name) == MRD_OK &&
		receiver_holds(state, state->snapshot, class_name);
}

static void
plugin_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size size, const char *message)
{
	static const struct
	{
		const char *prefix;
		MeridianWireType type;
	}			known[] = {
		{MERIDIAN_STAMP_PREFIX, MERIDIAN_WIRE_STAMP},
		{MERIDIAN_DDL_PREFIX, MERIDIAN_WIRE_DDL},
		{MERIDIAN_REPAIR_PREFIX, MERIDIAN_WIRE_REPAIR},
		{MERIDIAN_RESOLVE_PREFIX, MERIDIAN_WIRE_RESOLVE},
		{MERIDIAN_ENTRY_PREFIX, MERIDIAN_WIRE_ENTRY},
	};
	PluginState *state = ctx->output_plugin_private;

	if (!transactional)
	{
		if (strcmp(prefix, MERIDIAN_HEARTBEAT_PREFIX) == 0)
			plugin_heartbeat(ctx, lsn, message, size);
		return;
	}
	if (state->skip)
		return;
	for (int i = 0; i < lengthof(known); i++)
	{
		if (strcmp(prefix, known[i].prefix) == 0)
		{
			if (!may_travel(state, known[i].type, message, size))
				return;
			ensure_begun(state, txn);
			meridian_wire_put_payload(&state->out, known[i].type, message, size);
			if (state->out.len >= FRAME_TARGET)
				send_frame(ctx, false);
			return;
		}
	}
}

static void
plugin_shutdown(LogicalDecodingContext *ctx)
{
	/* the context's reset callback gives back what is not its memory */
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = plugin_startup;
	cb->begin_cb = plugin_begin;
	cb->change_cb = plugin_change;
	cb->truncate_cb = plugin_truncate;
	cb->commit_cb = plugin_commit;
	cb->message_cb = plugin_message;
	cb->filter_by_origin_cb = plugin_filter_by_origin;
	cb->shutdown_cb = plugin_shutdown;
}
