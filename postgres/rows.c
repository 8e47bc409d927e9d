/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Changes of rows, as they arrive, on the executor's tuple routines.
 *
 * What a relation message tells is translated once into how each column is
 * converted and which local index finds a row; what the executor needs is
 * opened once per transaction and table.  A change then costs a conversion, an
 * index lookup, and the write.
 *
 * The lookup uses an MVCC snapshot taken for this change, not a dirty one: a
 * dirty index scan can miss a row that is being updated under it.  The row is
 * not locked first, which saves a WAL record per change: nobody but us writes
 * a copy, and if somebody does, the update fails, and the transaction is run
 * again.
 *
 * Replicas yield to the home.  An update of a row that is missing inserts it,
 * an insert of one that exists replaces it, a delete of one that is missing is
 * nothing; each is counted.  Inserts look for rows in their way only after a
 * unique violation: the transaction then runs again carefully (apply.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "port/pg_bswap.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "apply.h"

/* How a column's bytes become a value */
typedef enum InForm
{
	IN_RECEIVE,
	IN_BOOL,
	IN_INT2,
	IN_INT4,
	IN_INT8,
	IN_TEXT,
	IN_BYTEA,
	IN_UUID
} InForm;

typedef struct InColumn
{
	AttrNumber	attno;			/* local */
	bool		key;
	InForm		form;			/* of binary values */
	FmgrInfo	receive;
	Oid			receive_param;
	FmgrInfo	input;			/* of text values */
	Oid			input_param;
	int32		typmod;
} InColumn;

struct MeridianApplyRel
{
	uint32		id;				/* hash key: the sender's OID */

	/* as told */
	MeridianWireRelation *def;	/* palloc'd with just its columns */
	MemoryContext context;		/* of def */

	/* as mapped to the local table; again after an invalidation */
	bool		mapped;
	Oid			relid;
	MemoryContext map_context;
	InColumn   *columns;		/* one per column told */
	Oid			index;			/* that finds rows */
	int			nkeys;
	ScanKeyData *keys;			/* without arguments */
	int		   *key_columns;	/* index into columns, per key */
	bool		has_extra;		/* local columns that were not told have defaults */

	/* open in the present transaction */
	bool		open;
	struct MeridianApplyRel *next_open;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	EPQState	epq;
	TupleTableSlot *remote;
	TupleTableSlot *local;
	Relation	index_rel;
	IndexScanDesc scan;
	bool		has_triggers;
	ExprState **defaults;		/* per local column, NULL: none */

	/* the stamp that covered this relation's last row */
	uint64		stamp_xact;
	int			stamp;
};

static HTAB *relations = NULL;
static MeridianApplyRel *first_open = NULL;
static MemoryContext rows_context = NULL;
static StringInfoData receive_buffer;

/* ----------------------------------------------------------------
 * what was told
 * ----------------------------------------------------------------
 */

static void
invalidate(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	MeridianApplyRel *r;

	if (relations == NULL)
		return;
	hash_seq_init(&seq, relations);
	while ((r = hash_seq_search(&seq)) != NULL)
	{
		if (!OidIsValid(relid) || r->relid == relid || r->relid == InvalidOid)
			r->mapped = false;
	}
}

static void
invalidate_all(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate(arg, InvalidOid);
}

void
meridian_rows_init(void)
{
	rows_context = AllocSetContextCreate(TopMemoryContext, "meridian apply rows",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(rows_context);
	initStringInfo(&receive_buffer);
	CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, invalidate_all, (Datum) 0);
	meridian_rows_forget();
}

void
meridian_rows_forget(void)
{
	HASHCTL		ctl;

	if (relations != NULL)
	{
		HASH_SEQ_STATUS seq;
		MeridianApplyRel *r;

		hash_seq_init(&seq, relations);
		while ((r = hash_seq_search(&seq)) != NULL)
			MemoryContextDelete(r->context);
		hash_destroy(relations);
		relations = NULL;
	}
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(uint32);
	ctl.entrysize = sizeof(MeridianApplyRel);
	ctl.hcxt = rows_context;
	relations = hash_create("meridian apply relations", 64, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void close_one(MeridianApplyRel *r);

void
meridian_rows_learn(const MeridianWireRelation *def)
{
	bool		found;
	MeridianApplyRel *r = hash_search(relations, &def->id, HASH_ENTER, &found);
	Size		size = offsetof(MeridianWireRelation, attrs) +
	sizeof(MeridianWireAttr) * (Size) def->natts;

	if (found)
	{
		close_one(r);
		MemoryContextDelete(r->context);
	}
	memset(r, 0, sizeof(*r));
	r->id = def->id;
	r->context = AllocSetContextCreate(rows_context, "meridian apply relation",
									   ALLOCSET_SMALL_SIZES);
	r->def = MemoryContextAlloc(r->context, size);
	memcpy(r->def, def, size);
}

/* ----------------------------------------------------------------
 * mapping to the local table
 * ----------------------------------------------------------------
 */

static InForm
in_form(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return IN_BOOL;
		case INT2OID:
			return IN_INT2;
		case INT4OID:
		case OIDOID:
		case FLOAT4OID:
			return IN_INT4;
		case INT8OID:
		case FLOAT8OID:
			return IN_INT8;
		case TEXTOID:
		case VARCHAROID:
			return IN_TEXT;
		case BYTEAOID:
			return IN_BYTEA;
		case UUIDOID:
			return IN_UUID;
		default:
			return IN_RECEIVE;
	}
}

static void
map_column(MeridianApplyRel *r, Relation rel, int i)
{
	const MeridianWireAttr *att = &r->def->attrs[i];
	InColumn   *col = &r->columns[i];
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), att->name);
	Form_pg_attribute local;
	Oid			func;

	if (attno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s.%s\" has no column \"%s\" here yet",
						r->def->schema_name, r->def->table_name, att->name)));
	local = TupleDescAttr(RelationGetDescr(rel), attno - 1);
	if (local->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s.%s\" is generated here",
						att->name, r->def->schema_name, r->def->table_name)));
	if (att->type != 0 && getBaseType(local->atttypid) != att->type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s.%s\" is of type %s here, not yet %s",
						att->name, r->def->schema_name, r->def->table_name,
						format_type_be(local->atttypid), att->type_name)));
	col->attno = attno;
	col->key = (att->flags & MERIDIAN_ATTR_KEY) != 0;
	col->typmod = local->atttypmod;
	/* a domain's own receive function checks its constraints */
	col->form = local->atttypid == att->type ? in_form(att->type) : IN_RECEIVE;
	if (att->type != 0)
	{
		getTypeBinaryInputInfo(local->atttypid, &func, &col->receive_param);
		fmgr_info_cxt(func, &col->receive, r->map_context);
	}
	getTypeInputInfo(local->atttypid, &func, &col->input_param);
	fmgr_info_cxt(func, &col->input, r->map_context);
}

static int
column_of(MeridianApplyRel *r, AttrNumber attno)
{
	for (int i = 0; i < r->def->natts; i++)
	{
		if (r->columns[i].attno == attno)
			return i;
	}
	return -1;
}

/* The scan key's operator for one key column of a unique index. */
static void
init_key(ScanKey key, Relation index, int n)
{
	Oid			type = index->rd_opcintype[n];
	Oid			operator = get_opfamily_member(index->rd_opfamily[n], type, type,
											   BTEqualStrategyNumber);

	if (!OidIsValid(operator))
		elog(ERROR, "index \"%s\" has no equality operator", RelationGetRelationName(index));
	ScanKeyEntryInitialize(key, 0, n + 1, BTEqualStrategyNumber, type,
						   index->rd_indcollation[n], get_opcode(operator), (Datum) 0);
}

static void
map_index(MeridianApplyRel *r, Relation rel)
{
	Relation	index;

	r->index = meridian_identity_index(rel);
	if (!OidIsValid(r->index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has no primary key here",
						r->def->schema_name, r->def->table_name)));
	index = index_open(r->index, AccessShareLock);
	r->nkeys = index->rd_index->indnkeyatts;
	r->keys = palloc0(sizeof(ScanKeyData) * r->nkeys);
	r->key_columns = palloc0(sizeof(int) * r->nkeys);
	for (int i = 0; i < r->nkeys; i++)
	{
		r->key_columns[i] = column_of(r, index->rd_index->indkey.values[i]);
		if (r->key_columns[i] < 0 || !r->columns[r->key_columns[i]].key)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the primary key of table \"%s.%s\" is another one here",
							r->def->schema_name, r->def->table_name)));
		init_key(&r->keys[i], index, i);
	}
	index_close(index, AccessShareLock);
}

static void
map_relation(MeridianApplyRel *r, Relation rel)
{
	MemoryContext old;

	if (r->map_context == NULL)
		r->map_context = AllocSetContextCreate(r->context, "meridian apply mapping",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(r->map_context);
	old = MemoryContextSwitchTo(r->map_context);
	r->relid = RelationGetRelid(rel);
	r->columns = palloc0(sizeof(InColumn) * Max(r->def->natts, 1));
	for (int i = 0; i < r->def->natts; i++)
		map_column(r, rel, i);
	map_index(r, rel);
	r->has_extra = false;
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped && att->attgenerated == '\0' && column_of(r, att->attnum) < 0)
			r->has_extra = true;
	}
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 * opening and closing
 * ----------------------------------------------------------------
 */

static Relation
open_table(MeridianApplyRel *r)
{
	RangeVar   *rv;
	Relation	rel;

	if (r->mapped)
	{
		rel = try_table_open(r->relid, RowExclusiveLock);
		/* taking the lock may have told us of a change */
		if (rel != NULL && r->mapped)
			return rel;
		if (rel != NULL)
			table_close(rel, NoLock);
	}
	rv = makeRangeVar(pstrdup(r->def->schema_name), pstrdup(r->def->table_name), -1);
	rel = table_openrv_extended(rv, RowExclusiveLock, true);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist here yet",
						r->def->schema_name, r->def->table_name)));
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s.%s\" is not a plain table here",
						r->def->schema_name, r->def->table_name)));
	return rel;
}

/*
 * A sender may only write what is attached here, to the class that it names:
 * a stream is not a way into other tables.
 */
static void
check_attached(MeridianApplyRel *r, Relation rel)
{
	MeridianAttachment a;

	if (!meridian_attachment(rel, &a) || strcmp(a.class_name, r->def->class_name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not belong to class \"%s\" here",
						r->def->schema_name, r->def->table_name, r->def->class_name)));
	if ((a.partition_attno != 0) != (r->def->partition_att >= 0) ||
		(a.partition_attno != 0 &&
		 r->columns[r->def->partition_att].attno != a.partition_attno))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is partitioned in another way here",
						r->def->schema_name, r->def->table_name)));
}

/* Triggers that must fire for replicated changes and are not just our guard */
static bool
has_triggers(Relation rel)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *t = &rel->trigdesc->triggers[i];

		if ((t->tgenabled == TRIGGER_FIRES_ALWAYS || t->tgenabled == TRIGGER_FIRES_ON_REPLICA) &&
			strncmp(t->tgname, "meridian_guard", 14) != 0)
			return true;
	}
	return false;
}

/* Values of local columns that the sender does not have. */
static void
prepare_defaults(MeridianApplyRel *r)
{
	TupleDesc	desc = RelationGetDescr(r->rel);

	if (!r->has_extra)
		return;
	r->defaults = palloc0(sizeof(ExprState *) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Expr	   *expr;

		if (att->attisdropped || att->attgenerated != '\0' || column_of(r, att->attnum) >= 0)
			continue;
		expr = (Expr *) build_column_default(r->rel, i + 1);
		if (expr != NULL)
			r->defaults[i] = ExecInitExpr(expression_planner(expr), NULL);
	}
}

static void
open_estate(MeridianApplyRel *r)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	r->estate = CreateExecutorState();
	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(r->rel);
	rte->relkind = r->rel->rd_rel->relkind;
	rte->rellockmode = AccessShareLock;
	ExecInitRangeTable(r->estate, list_make1(rte));
	r->estate->es_output_cid = GetCurrentCommandId(true);
	r->result = makeNode(ResultRelInfo);
	InitResultRelInfo(r->result, r->rel, 1, NULL, 0);
	r->has_triggers = has_triggers(r->rel);
	if (!r->has_triggers)
		r->result->ri_TrigDesc = NULL;
	ExecOpenIndices(r->result, false);
	r->remote = ExecInitExtraTupleSlot(r->estate, RelationGetDescr(r->rel), &TTSOpsVirtual);
	r->local = table_slot_create(r->rel, &r->estate->es_tupleTable);
	EvalPlanQualInit(&r->epq, r->estate, NULL, NIL, -1);
}

static void
open_one(MeridianApplyRel *r)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	r->rel = open_table(r);
	if (!r->mapped)
	{
		map_relation(r, r->rel);
		check_attached(r, r->rel);
		r->mapped = true;
	}
	open_estate(r);
	r->scan = NULL;
	r->index_rel = NULL;
	r->defaults = NULL;
	prepare_defaults(r);
	r->open = true;
	r->next_open = first_open;
	first_open = r;
	MemoryContextSwitchTo(old);
}

static void
close_one(MeridianApplyRel *r)
{
	MeridianApplyRel **link = &first_open;

	if (!r->open)
		return;
	while (*link != r)
		link = &(*link)->next_open;
	*link = r->next_open;
	if (r->scan != NULL)
		index_endscan(r->scan);
	if (r->index_rel != NULL)
		index_close(r->index_rel, NoLock);
	ExecResetTupleTable(r->estate->es_tupleTable, false);
	ExecCloseIndices(r->result);
	table_close(r->rel, NoLock);
	FreeExecutorState(r->estate);
	r->open = false;
}

void
meridian_rows_close(void)
{
	while (first_open != NULL)
		close_one(first_open);
}

/* After an abort everything that was open is gone already. */
void
meridian_rows_abandon(void)
{
	for (; first_open != NULL; first_open = first_open->next_open)
		first_open->open = false;
}

MeridianApplyRel *
meridian_rows_told(uint32 id)
{
	MeridianApplyRel *r = hash_search(relations, &id, HASH_FIND, NULL);

	if (r == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a change of relation %u without describing it",
						meridian_apply.origin, id)));
	return r;
}

MeridianApplyRel *
meridian_rows_open(uint32 id)
{
	MeridianApplyRel *r = meridian_rows_told(id);

	if (r->open && !r->mapped)
		close_one(r);
	if (!r->open)
		open_one(r);
	r->estate->es_snapshot = GetActiveSnapshot();
	return r;
}

const MeridianWireRelation *
meridian_rows_definition(MeridianApplyRel *r)
{
	return r->def;
}

void
meridian_rows_done(MeridianApplyRel *r)
{
	ExecClearTuple(r->remote);
	ExecClearTuple(r->local);
	ResetPerTupleExprContext(r->estate);
}

/* ----------------------------------------------------------------
 * stamps
 * ----------------------------------------------------------------
 */

static bool
stamp_covers(const MeridianApplyRel *r, int n, const uint8_t *value, size_t len)
{
	const MeridianWireStamp *s = &meridian_apply.xact.stamps;

	if (strcmp(s->entries[n].class_name, r->def->class_name) != 0)
		return false;
	return value == NULL || (strlen(s->entries[n].partition) == len &&
							 memcmp(s->entries[n].partition, value, len) == 0);
}

/* Which stamp of the transaction covers this row?  -1: none. */
static int
find_stamp(MeridianApplyRel *r, const MeridianWireTuple *tuple)
{
	const uint8_t *value = NULL;
	size_t		len = 0;

	if (r->def->partition_att >= 0 && tuple != NULL)
	{
		value = tuple->value[r->def->partition_att];
		len = tuple->len[r->def->partition_att];
		if (value == NULL)
			return -1;
	}
	if (r->stamp_xact == meridian_apply.xact.number && stamp_covers(r, r->stamp, value, len))
		return r->stamp;
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		if (stamp_covers(r, i, value, len))
		{
			r->stamp_xact = meridian_apply.xact.number;
			r->stamp = i;
			return i;
		}
	}
	return -1;
}

/* tuple is NULL for a statement on the whole table */
bool
meridian_rows_stamped(MeridianApplyRel *r, const MeridianWireTuple *tuple,
					  const char **partition, uint64 *epoch)
{
	int			n = find_stamp(r, tuple);

	if (n < 0)
		return false;
	*partition = meridian_apply.xact.stamps.entries[n].partition;
	*epoch = meridian_apply.xact.stamps.entries[n].epoch;
	return true;
}

static void
need_stamp(MeridianApplyRel *r, const MeridianWireTuple *tuple)
{
	if (tuple != NULL)
		meridian_rows_check(r, tuple);
	if (find_stamp(r, tuple) < 0)
		meridian_apply_put_aside(psprintf("a row of \"%s.%s\" that no guard stamped",
										  r->def->schema_name, r->def->table_name));
}

/* ----------------------------------------------------------------
 * values
 * ----------------------------------------------------------------
 */

static void
bad_value(MeridianApplyRel *r, int i)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent a malformed value for column \"%s\" of table \"%s.%s\"",
					meridian_apply.origin, r->def->attrs[i].name, r->def->schema_name,
					r->def->table_name)));
}

static void
need_len(MeridianApplyRel *r, int i, uint32 len, uint32 wanted)
{
	if (len != wanted)
		bad_value(r, i);
}

static Datum
receive(MeridianApplyRel *r, int i, const uint8_t *value, uint32 len)
{
	InColumn   *col = &r->columns[i];
	Datum		ret;

	resetStringInfo(&receive_buffer);
	appendBinaryStringInfo(&receive_buffer, (const char *) value, (int) len);
	ret = ReceiveFunctionCall(&col->receive, &receive_buffer, col->receive_param, col->typmod);
	if (receive_buffer.cursor != receive_buffer.len)
		bad_value(r, i);
	return ret;
}

static Datum
from_binary(MeridianApplyRel *r, int i, const uint8_t *value, uint32 len)
{
	if (r->def->attrs[i].type == 0)
		bad_value(r, i);
	switch (r->columns[i].form)
	{
		case IN_BOOL:
			need_len(r, i, len, 1);
			return BoolGetDatum(value[0] != 0);
		case IN_INT2:
			{
				uint16		v;

				need_len(r, i, len, sizeof(v));
				memcpy(&v, value, sizeof(v));
				return Int16GetDatum((int16) pg_ntoh16(v));
			}
		case IN_INT4:
			{
				uint32		v;

				need_len(r, i, len, sizeof(v));
				memcpy(&v, value, sizeof(v));
				return Int32GetDatum((int32) pg_ntoh32(v));
			}
		case IN_INT8:
			{
				uint64		v;

				need_len(r, i, len, sizeof(v));
				memcpy(&v, value, sizeof(v));
				return Int64GetDatum((int64) pg_ntoh64(v));
			}
		case IN_UUID:
			need_len(r, i, len, 16);
			return PointerGetDatum(memcpy(palloc(16), value, 16));
		case IN_TEXT:
			pg_verifymbstr((const char *) value, (int) len, false);
			/* FALLTHROUGH */
		case IN_BYTEA:
			return PointerGetDatum(cstring_to_text_with_len((const char *) value, (int) len));
		case IN_RECEIVE:
			break;
	}
	return receive(r, i, value, len);
}

static Datum
from_text(MeridianApplyRel *r, int i, const uint8_t *value, uint32 len)
{
	InColumn   *col = &r->columns[i];
	char	   *text;

	pg_verifymbstr((const char *) value, (int) len, false);
	text = pnstrdup((const char *) value, len);
	return InputFunctionCall(&col->input, text, col->input_param, col->typmod);
}

/* false: unchanged, there is no value */
static bool
column_value(MeridianApplyRel *r, const MeridianWireTuple *t, int i, Datum *value, bool *isnull)
{
	*isnull = false;
	*value = (Datum) 0;
	switch (t->kind[i])
	{
		case MERIDIAN_COL_NULL:
			*isnull = true;
			return true;
		case MERIDIAN_COL_BINARY:
			*value = from_binary(r, i, t->value[i], t->len[i]);
			return true;
		case MERIDIAN_COL_TEXT:
			*value = from_text(r, i, t->value[i], t->len[i]);
			return true;
		default:
			return false;
	}
}

void
meridian_rows_check(MeridianApplyRel *r, const MeridianWireTuple *t)
{
	if (t->natts != r->def->natts)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent %d columns of table \"%s.%s\", which has %d",
						meridian_apply.origin, t->natts, r->def->schema_name,
						r->def->table_name, r->def->natts)));
}

static void
fill_defaults(MeridianApplyRel *r)
{
	TupleDesc	desc = RelationGetDescr(r->rel);

	for (int i = 0; r->defaults != NULL && i < desc->natts; i++)
	{
		if (r->defaults[i] != NULL)
			r->remote->tts_values[i] =
				ExecEvalExpr(r->defaults[i], GetPerTupleExprContext(r->estate),
							 &r->remote->tts_isnull[i]);
	}
}

/*
 * The new row in r->remote.  What did not travel comes from base, the row as
 * it is here, or else from rest.  Returns false when something is still
 * missing.
 */
static bool
fill(MeridianApplyRel *r, const MeridianWireTuple *t, TupleTableSlot *base,
	 const MeridianWireTuple *rest)
{
	int			natts = RelationGetDescr(r->rel)->natts;
	bool		complete = true;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(r->estate));

	meridian_rows_check(r, t);
	ExecClearTuple(r->remote);
	if (base != NULL)
	{
		slot_getallattrs(base);
		memcpy(r->remote->tts_values, base->tts_values, sizeof(Datum) * natts);
		memcpy(r->remote->tts_isnull, base->tts_isnull, sizeof(bool) * natts);
	}
	else
	{
		memset(r->remote->tts_values, 0, sizeof(Datum) * natts);
		memset(r->remote->tts_isnull, true, sizeof(bool) * natts);
		fill_defaults(r);
	}
	for (int i = 0; i < t->natts; i++)
	{
		int			n = r->columns[i].attno - 1;
		Datum		value;
		bool		isnull;

		if (column_value(r, t, i, &value, &isnull) ||
			(base == NULL && rest != NULL && rest->natts == t->natts &&
			 column_value(r, rest, i, &value, &isnull)))
		{
			r->remote->tts_values[n] = value;
			r->remote->tts_isnull[n] = isnull;
		}
		else if (base == NULL)
			complete = false;
	}
	ExecStoreVirtualTuple(r->remote);
	MemoryContextSwitchTo(old);
	return complete;
}

/* ----------------------------------------------------------------
 * lookup
 * ----------------------------------------------------------------
 */

/* The row with the identity in t, visible to the active snapshot, in r->local */
static bool
find(MeridianApplyRel *r, const MeridianWireTuple *t)
{
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(r->estate));
	bool		found;

	meridian_rows_check(r, t);
	for (int i = 0; i < r->nkeys; i++)
	{
		bool		isnull;

		if (!column_value(r, t, r->key_columns[i], &r->keys[i].sk_argument, &isnull) || isnull)
			bad_value(r, r->key_columns[i]);
	}
	/*
	 * One scan serves the transaction, each lookup with its own snapshot.  The
	 * index remembers things from one call to the next (which entries are dead,
	 * for one) in the memory that is current when it learns them, so that must
	 * live as long as the scan.
	 */
	MemoryContextSwitchTo(r->estate->es_query_cxt);
	if (r->scan == NULL)
	{
		r->index_rel = index_open(r->index, RowExclusiveLock);
		r->scan = index_beginscan(r->rel, r->index_rel, GetActiveSnapshot(), r->nkeys, 0);
	}
	r->scan->xs_snapshot = GetActiveSnapshot();
	index_rescan(r->scan, r->keys, r->nkeys, NULL, 0);
	found = index_getnext_slot(r->scan, ForwardScanDirection, r->local);
	MemoryContextSwitchTo(old);
	return found;
}

/* ----------------------------------------------------------------
 * rows in the way
 * ----------------------------------------------------------------
 */

static void
count(MeridianApplyRel *r, const char *kind)
{
	meridian_apply_count(r->def->schema_name, r->def->table_name, kind);
}

/* The row that has, in this unique index, the values that r->remote is to have */
static bool
find_in_way(MeridianApplyRel *r, int n, TupleTableSlot *slot)
{
	Relation	index = r->result->ri_IndexRelationDescs[n];
	IndexInfo  *info = r->result->ri_IndexRelationInfo[n];
	ExprContext *econtext = GetPerTupleExprContext(r->estate);
	ScanKeyData keys[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	IndexScanDesc scan;
	bool		found;

	econtext->ecxt_scantuple = r->remote;
	if (info->ii_Predicate != NIL &&
		!ExecQual(ExecPrepareQual(info->ii_Predicate, r->estate), econtext))
		return false;
	FormIndexDatum(info, r->remote, r->estate, values, nulls);
	for (int i = 0; i < info->ii_NumIndexKeyAttrs; i++)
	{
		if (nulls[i] && !info->ii_NullsNotDistinct)
			return false;
		init_key(&keys[i], index, i);
		keys[i].sk_argument = values[i];
		if (nulls[i])
			keys[i].sk_flags |= SK_ISNULL | SK_SEARCHNULL;
	}
	scan = index_beginscan(r->rel, index, GetActiveSnapshot(), info->ii_NumIndexKeyAttrs, 0);
	index_rescan(scan, keys, info->ii_NumIndexKeyAttrs, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
		ExecMaterializeSlot(slot);
	index_endscan(scan);
	return found;
}

/*
 * Take away the rows that the row in r->remote cannot stand beside, except the
 * one at keep, which it replaces.
 */
static void
clear_way(MeridianApplyRel *r, ItemPointer keep)
{
	TupleTableSlot *slot = table_slot_create(r->rel, NULL);

	for (int n = 0; n < r->result->ri_NumIndices; n++)
	{
		if (!r->result->ri_IndexRelationInfo[n]->ii_Unique)
			continue;
		while (find_in_way(r, n, slot) && (keep == NULL || !ItemPointerEquals(&slot->tts_tid, keep)))
		{
			EvalPlanQualSetSlot(&r->epq, slot);
			ExecSimpleRelationDelete(r->result, r->estate, &r->epq, slot);
			count(r, "unique_in_the_way");
			CommandCounterIncrement();
			PopActiveSnapshot();
			PushActiveSnapshot(GetLatestSnapshot());
			r->estate->es_snapshot = GetActiveSnapshot();
			ExecClearTuple(slot);
		}
		ExecClearTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* ----------------------------------------------------------------
 * changes
 * ----------------------------------------------------------------
 */

static void
write_insert(MeridianApplyRel *r)
{
	ExecSimpleRelationInsert(r->result, r->estate, r->remote);
}

/* Replace the row in r->local by the one in r->remote. */
static void
write_update(MeridianApplyRel *r)
{
	EvalPlanQualSetSlot(&r->epq, r->remote);
	ExecSimpleRelationUpdate(r->result, r->estate, &r->epq, r->local, r->remote);
}

static void
apply_insert(MeridianApplyRel *r, const MeridianWireMsg *msg)
{
	bool		exists = meridian_apply.xact.careful && find(r, &msg->new_tuple);

	if (!fill(r, &msg->new_tuple, exists ? r->local : NULL, NULL))
		bad_value(r, 0);
	if (meridian_apply.xact.careful)
		clear_way(r, exists ? &r->local->tts_tid : NULL);
	if (exists)
	{
		count(r, "insert_exists");
		write_update(r);
	}
	else
		write_insert(r);
}

/* The row to update is not here: it is inserted, if all of it is known. */
static void
apply_update_missing(MeridianApplyRel *r, const MeridianWireMsg *msg)
{
	if (!fill(r, &msg->new_tuple, NULL, msg->has_old ? &msg->old_tuple : NULL))
	{
		if (!meridian_apply.full_images)
		{
			LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
			meridian_apply.stream->full_images = true;
			LWLockRelease(meridian_streams->lock);
		}
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("a row of table \"%s.%s\" that was updated is missing here, and not all of it travelled",
						r->def->schema_name, r->def->table_name)));
	}
	count(r, "update_missing");
	clear_way(r, NULL);
	write_insert(r);
}

static void
apply_update(MeridianApplyRel *r, const MeridianWireMsg *msg)
{
	if (!find(r, msg->has_old ? &msg->old_tuple : &msg->new_tuple))
	{
		apply_update_missing(r, msg);
		return;
	}
	(void) fill(r, &msg->new_tuple, r->local, NULL);
	if (meridian_apply.xact.careful)
		clear_way(r, &r->local->tts_tid);
	write_update(r);
}

static void
apply_delete(MeridianApplyRel *r, const MeridianWireMsg *msg)
{
	if (!find(r, &msg->old_tuple))
	{
		count(r, "delete_missing");
		return;
	}
	EvalPlanQualSetSlot(&r->epq, r->local);
	ExecSimpleRelationDelete(r->result, r->estate, &r->epq, r->local);
}

/*
 * Was the table dropped, by a statement that the sender had not heard of when it
 * wrote this?  Before the first row of a table made anew under the name stands,
 * in the sender's stream, the note that it has the statement which made it, and
 * that is later than the one that dropped it.
 */
static bool
is_of_dropped(MeridianApplyRel *r)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	bool		isnull;
	bool		ret = false;

	values[0] = CStringGetTextDatum(r->def->schema_name);
	values[1] = CStringGetTextDatum(r->def->table_name);
	SPI_connect();
	if (SPI_execute_with_args("SELECT origin, lsn FROM meridian.dropped "
							  "WHERE schema_name = $1 AND table_name = $2",
							  2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.dropped");
	if (SPI_processed == 1)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *origin = SPI_getvalue(row, desc, 1);
		XLogRecPtr	lsn = DatumGetLSN(SPI_getbinval(row, desc, 2, &isnull));

		/* what was dropped here first is made anew here first */
		ret = lsn == InvalidXLogRecPtr || meridian_apply_noted(origin) < lsn;
	}
	SPI_finish();
	return ret;
}

/* Rows of a table that does not exist here, which need not wait for it */
static bool
is_left_out(MeridianApplyRel *r)
{
	Oid			nsp;

	if (r->open || r->mapped)
		return false;
	nsp = get_namespace_oid(r->def->schema_name, true);
	if (OidIsValid(nsp) && OidIsValid(get_relname_relid(r->def->table_name, nsp)))
		return false;

	/*
	 * The schema's home tells of each table before its rows, unless the table was
	 * attached there with rows in it.  Then the whole of it is still to be
	 * copied, and what changes until then is part of that (cover.c).
	 */
	if (meridian_is_schema_home(meridian_apply.xact.origin))
	{
		meridian_cover_touch(InvalidOid);
		meridian_leave_out(r->def, "", 0);
		return true;
	}
	if (!is_of_dropped(r))
		return false;
	meridian_apply_count(r->def->schema_name, r->def->table_name, "table_dropped");
	return true;
}

/* Is the change in a copy that was made ahead of the stream? */
static bool
is_copied(const MeridianApplyRel *r, const MeridianWireTuple *tuple)
{
	int			n = r->def->partition_att;
	const char *partition = n < 0 ? NULL : (const char *) tuple->value[n];
	size_t		len = n < 0 ? 0 : tuple->len[n];

	meridian_cover_touch(r->relid);
	if (!meridian_cover_has(r->relid, partition, len))
		return false;
	meridian_leave_out(r->def, n < 0 ? "" : partition, len);
	return true;
}

void
meridian_rows_change(const MeridianWireMsg *msg)
{
	const MeridianWireTuple *tuple = msg->type == MERIDIAN_WIRE_DELETE ? &msg->old_tuple : &msg->new_tuple;
	MeridianApplyRel *r;

	/* before it is looked at what the table is here: the queue takes it whatever that is */
	need_stamp(meridian_rows_told(msg->rel), tuple);
	PushActiveSnapshot(GetLatestSnapshot());
	if (is_left_out(meridian_rows_told(msg->rel)))
	{
		PopActiveSnapshot();
		return;
	}
	r = meridian_rows_open(msg->rel);
	if (is_copied(r, tuple))
	{
		meridian_rows_done(r);
		PopActiveSnapshot();
		return;
	}
	r->estate->es_output_cid = GetCurrentCommandId(true);
	if (r->has_triggers)
		AfterTriggerBeginQuery();
	switch (msg->type)
	{
		case MERIDIAN_WIRE_INSERT:
			apply_insert(r, msg);
			break;
		case MERIDIAN_WIRE_UPDATE:
			apply_update(r, msg);
			break;
		default:
			apply_delete(r, msg);
			break;
	}
	if (r->has_triggers)
		AfterTriggerEndQuery(r->estate);
	meridian_rows_done(r);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* Make the row of that identity like image, or absent when image is NULL. */
void
meridian_rows_set(MeridianApplyRel *r, const MeridianWireTuple *key,
				  const MeridianWireTuple *image)
{
	bool		exists = find(r, key);

	r->estate->es_output_cid = GetCurrentCommandId(true);
	if (image == NULL)
	{
		if (exists)
		{
			EvalPlanQualSetSlot(&r->epq, r->local);
			ExecSimpleRelationDelete(r->result, r->estate, &r->epq, r->local);
		}
		return;
	}
	if (!fill(r, image, exists ? r->local : NULL, NULL))
		bad_value(r, 0);
	clear_way(r, exists ? &r->local->tts_tid : NULL);
	if (exists)
		write_update(r);
	else
		write_insert(r);
}

void
meridian_rows_truncate(const MeridianWireMsg *msg)
{
	List	   *rels = NIL;
	List	   *relids = NIL;
	List	   *logged = NIL;
	ListCell   *lc;

	meridian_cover_disturb();
	PushActiveSnapshot(GetLatestSnapshot());
	for (int i = 0; i < msg->nrels; i++)
	{
		MeridianApplyRel *r;

		need_stamp(meridian_rows_told(msg->rels[i]), NULL);
		if (is_left_out(meridian_rows_told(msg->rels[i])))
			continue;
		r = meridian_rows_open(msg->rels[i]);
		LockRelationOid(r->relid, AccessExclusiveLock);
		if (list_member_oid(relids, r->relid))
			continue;
		rels = lappend(rels, table_open(r->relid, NoLock));
		relids = lappend_oid(relids, r->relid);
		if (RelationIsLogicallyLogged(r->rel))
			logged = lappend_oid(logged, r->relid);
	}
	/* a table in use cannot be truncated */
	meridian_rows_close();
	ExecuteTruncateGuts(rels, relids, logged, DROP_RESTRICT,
						(msg->truncate_flags & MERIDIAN_TRUNCATE_RESTART) != 0);
	foreach(lc, rels)
		table_close((Relation) lfirst(lc), NoLock);
	PopActiveSnapshot();
	CommandCounterIncrement();
}
