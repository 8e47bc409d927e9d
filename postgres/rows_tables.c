/*-------------------------------------------------------------------------
 *
 * rows_tables.c
 *	  Which table here a relation of the stream is, and what is open of it.
 *
 * What a relation message tells is translated once into how each column is
 * converted and which local index finds a row; again after an invalidation.  What
 * the executor needs is opened once per transaction and table, and closed before
 * its commit and before DDL.
 *
 * A stream is not a way into other tables: only what is attached here, to the
 * class that the sender names, is opened.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "rows.h"

static HTAB *relations = NULL;
static MeridianApplyRel *first_open = NULL;
static MemoryContext rows_context = NULL;

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
	meridian_rows_init_values(rows_context);
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

static bool
is_same(const MeridianWireRelation *a, const MeridianWireRelation *b)
{
	bool		ret = strcmp(a->schema_name, b->schema_name) == 0 &&
	strcmp(a->table_name, b->table_name) == 0 && strcmp(a->class_name, b->class_name) == 0 &&
	a->partition_att == b->partition_att && a->natts == b->natts;

	for (int i = 0; ret && i < a->natts; i++)
		ret = strcmp(a->attrs[i].name, b->attrs[i].name) == 0 &&
			strcmp(a->attrs[i].type_name, b->attrs[i].type_name) == 0 &&
			a->attrs[i].flags == b->attrs[i].flags && a->attrs[i].type == b->attrs[i].type;
	return ret;
}

/* raw: the message that tells it; none of a repair, which brings its own description */
void
meridian_rows_learn(const MeridianWireRelation *def, const uint8_t *raw, size_t raw_len)
{
	bool		found;
	MeridianApplyRel *r = hash_search(relations, &def->id, HASH_ENTER, &found);
	Size		size = offsetof(MeridianWireRelation, attrs) +
	sizeof(MeridianWireAttr) * (Size) def->natts;
	Oid			relid = found ? r->relid : InvalidOid;

	if (found)
	{
		/* what is kept was told by the words before */
		if (raw != NULL && !is_same(r->def, def))
			meridian_cover_redefine(relid);
		close_one(r);
		MemoryContextDelete(r->context);
	}
	memset(r, 0, sizeof(*r));
	r->id = def->id;
	r->relid = relid;			/* until it is mapped again: what is kept is of that */
	r->context = AllocSetContextCreate(rows_context, "meridian apply relation",
									   ALLOCSET_SMALL_SIZES);
	r->def = MemoryContextAlloc(r->context, size);
	memcpy(r->def, def, size);
	if (raw == NULL)
		return;
	r->raw = MemoryContextAlloc(r->context, raw_len);
	memcpy(r->raw, raw, raw_len);
	r->raw_len = raw_len;
}

/* ----------------------------------------------------------------
 * mapping to the local table
 * ----------------------------------------------------------------
 */

static void
map_column(MeridianApplyRel *r, Relation rel, int i)
{
	const MeridianWireAttr *att = &r->def->attrs[i];
	MeridianInColumn *col = &r->columns[i];
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), att->name);
	Form_pg_attribute local;

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
	meridian_rows_init_column(col, att, local, r->map_context);
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

void
meridian_rows_init_key(ScanKey key, Relation index, int n)
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
		meridian_rows_init_key(&r->keys[i], index, i);
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
	r->columns = palloc0(sizeof(MeridianInColumn) * Max(r->def->natts, 1));
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
