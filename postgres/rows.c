/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Changes of rows, as they arrive, on the executor's tuple routines.
 *
 * The table is mapped and open (rows_tables.c), so a change costs a conversion
 * (rows_values.c), an index lookup, and the write.  What is not to be written here
 * is known before (missing.c).
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
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "rows.h"

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
 * the new row
 * ----------------------------------------------------------------
 */

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

		if (meridian_rows_value(r, t, i, &value, &isnull) ||
			(base == NULL && rest != NULL && rest->natts == t->natts &&
			 meridian_rows_value(r, rest, i, &value, &isnull)))
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

		if (!meridian_rows_value(r, t, r->key_columns[i], &r->keys[i].sk_argument, &isnull) || isnull)
			meridian_rows_malformed(r->def, r->key_columns[i]);
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
 * writing
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
write_delete(MeridianApplyRel *r, TupleTableSlot *row)
{
	EvalPlanQualSetSlot(&r->epq, row);
	ExecSimpleRelationDelete(r->result, r->estate, &r->epq, row);
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
		meridian_rows_init_key(&keys[i], index, i);
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
			write_delete(r, slot);
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
apply_insert(MeridianApplyRel *r, const MeridianWireMsg *msg)
{
	bool		exists = meridian_apply.xact.careful && find(r, &msg->new_tuple);

	if (!fill(r, &msg->new_tuple, exists ? r->local : NULL, NULL))
		meridian_rows_malformed(r->def, 0);
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

/* What is not here may be where this transaction is handed on to. */
static void
apply_delete(MeridianApplyRel *r, const MeridianWireMsg *msg, bool redo)
{
	if (!find(r, &msg->old_tuple))
	{
		count(r, "delete_missing");
		if (!redo)
			meridian_hand_on(r, msg);
		return;
	}
	write_delete(r, r->local);
}

static void
write_change(MeridianApplyRel *r, const MeridianWireMsg *msg, bool redo)
{
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
			apply_delete(r, msg, redo);
			break;
	}
	if (r->has_triggers)
		AfterTriggerEndQuery(r->estate);
}

void
meridian_rows_change(const MeridianWireMsg *msg)
{
	const MeridianWireTuple *tuple = msg->type == MERIDIAN_WIRE_DELETE ? &msg->old_tuple : &msg->new_tuple;
	MeridianApplyRel *r;

	/* before it is looked at what the table is here: the queue takes it whatever that is */
	need_stamp(meridian_rows_told(msg->rel), tuple);
	PushActiveSnapshot(GetLatestSnapshot());
	if (meridian_rows_left_out(meridian_rows_told(msg->rel)))
	{
		PopActiveSnapshot();
		return;
	}
	r = meridian_rows_open(msg->rel);
	if (!meridian_rows_copied(r, msg, tuple))
		write_change(r, msg, false);
	meridian_rows_done(r);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* A change that was kept while its table was copied; whether it counts was seen when it came. */
void
meridian_rows_redo(const MeridianWireMsg *msg)
{
	bool		careful = meridian_apply.xact.careful;
	MeridianApplyRel *r;

	PushActiveSnapshot(GetLatestSnapshot());
	r = meridian_rows_open(msg->rel);
	meridian_apply.xact.careful = true;
	if (meridian_cover_holds(r->relid))
		write_change(r, msg, true);
	meridian_apply.xact.careful = careful;
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
			write_delete(r, r->local);
		return;
	}
	if (!fill(r, image, exists ? r->local : NULL, NULL))
		meridian_rows_malformed(r->def, 0);
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

	PushActiveSnapshot(GetLatestSnapshot());
	for (int i = 0; i < msg->nrels; i++)
	{
		MeridianApplyRel *r;

		need_stamp(meridian_rows_told(msg->rels[i]), NULL);
		if (meridian_rows_left_out(meridian_rows_told(msg->rels[i])))
			continue;
		r = meridian_rows_open(msg->rels[i]);
		meridian_cover_disturb(r->relid);
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
