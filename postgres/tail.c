/*-------------------------------------------------------------------------
 *
 * tail.c
 *	  The lost tail: what a replaced home committed past its cut.
 *
 * Such a transaction is not applied.  Its rows go to meridian.reconcile_entry,
 * in every region, with their images before and after.  The home of a row's
 * partition also sends the old home its own present image of each row that the
 * tail touched, and the old home makes its copy equal to it: after that all
 * copies agree again, and what was lost waits for a decision.
 *
 * The image is read while a table lock keeps writers out, and the message is
 * written before the lock is released; so whatever is written to the row later
 * comes after the repair in the home's WAL, too.
 *
 * The transaction that does this must not carry the old home's replication
 * origin, or the repair would be filtered out of the stream to that region.  So
 * the position is advanced after it.  A crash in between repeats it: entries
 * have a primary key, and a repair may be repeated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "replication/message.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply.h"

#define REPAIR_RELATION UINT32_MAX	/* our own id for the table of a repair */
#define REPAIR_BATCH 1000
#define REMEMBERED 64			/* rows looked back for a repetition */

/* A row that the tail touched and we are the home of: its key, in wire form. */
typedef struct TouchedRow
{
	uint32		rel;
	size_t		len;
	uint8_t    *key;
} TouchedRow;

static MemoryContext tail_context = NULL;
static List *touched = NIL;
static int	tail_seq;

void
meridian_tail_abandon(void)
{
	if (tail_context != NULL)
		MemoryContextDelete(tail_context);
	tail_context = NULL;
	touched = NIL;
}

/* Called at the start of the transaction, before anything of it is applied. */
void
meridian_tail_begin(void)
{
	meridian_tail_abandon();
	tail_context = AllocSetContextCreate(TopMemoryContext, "meridian tail",
										 ALLOCSET_DEFAULT_SIZES);
	tail_seq = 0;
}

/* ----------------------------------------------------------------
 * entries
 * ----------------------------------------------------------------
 */

typedef struct Entry
{
	const char *class_name;
	const char *partition;
	uint64		epoch;
	const char *relation;
	const char *operation;
	Oid			row_type;		/* of before and after; InvalidOid: text */
	Datum		before;
	Datum		after;
	bool		has_before;
	bool		has_after;
} Entry;

static const char insert_entry[] =
"INSERT INTO meridian.reconcile_entry (origin, commit_lsn, seq, class, partition, epoch, "
"committed_at, relation, operation, before, after) "
"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_catalog.to_jsonb($10), pg_catalog.to_jsonb($11)) "
"ON CONFLICT DO NOTHING";

static void
record(const Entry *e)
{
	Oid			row_type = OidIsValid(e->row_type) ? e->row_type : TEXTOID;
	Oid			types[11] = {TEXTOID, LSNOID, INT4OID, TEXTOID, TEXTOID, INT8OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, row_type, row_type};
	Datum		values[11];
	char		nulls[12] = "           ";

	values[0] = CStringGetTextDatum(meridian_apply.xact.origin);
	values[1] = LSNGetDatum(meridian_apply.xact.lsn);
	values[2] = Int32GetDatum(tail_seq++);
	values[3] = CStringGetTextDatum(e->class_name);
	values[4] = CStringGetTextDatum(e->partition);
	values[5] = Int64GetDatum((int64) e->epoch);
	values[6] = TimestampTzGetDatum(meridian_apply.xact.commit_time);
	values[7] = CStringGetTextDatum(e->relation);
	values[8] = CStringGetTextDatum(e->operation);
	values[9] = e->before;
	values[10] = e->after;
	if (!e->has_before)
		nulls[9] = 'n';
	if (!e->has_after)
		nulls[10] = 'n';
	SPI_connect();
	if (SPI_execute_with_args(insert_entry, 11, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.reconcile_entry");
	SPI_finish();
}

/* ----------------------------------------------------------------
 * rows that the tail touched
 * ----------------------------------------------------------------
 */

static bool
is_home(const char *class_name, const char *partition)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			class = s == NULL ? -1 : mrd_snapshot_class(s, class_name);
	int			n = class < 0 ? -1 : mrd_snapshot_partition(s, class, partition);

	return n >= 0 && s->partitions[n].authority.region == s->self;
}

/* A row's columns in text; only the identity when key_only. */
static void
put_slot(MeridianWireOut *out, MeridianApplyRel *r, TupleTableSlot *slot, bool key_only)
{
	const MeridianWireRelation *def = meridian_rows_definition(r);
	Relation	rel = meridian_rows_relation(r);

	slot_getallattrs(slot);
	meridian_wire_put_natts(out, def->natts);
	for (int i = 0; i < def->natts; i++)
	{
		AttrNumber	attno = get_attnum(RelationGetRelid(rel), def->attrs[i].name);
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attno - 1);
		Oid			func;
		bool		varlena;
		char	   *text;

		if (slot->tts_isnull[attno - 1] ||
			(key_only && (def->attrs[i].flags & MERIDIAN_ATTR_KEY) == 0))
		{
			meridian_wire_put_col(out, MERIDIAN_COL_NULL, NULL, 0);
			continue;
		}
		getTypeOutputInfo(att->atttypid, &func, &varlena);
		text = OidOutputFunctionCall(func, slot->tts_values[attno - 1]);
		meridian_wire_put_col(out, MERIDIAN_COL_TEXT, text, strlen(text));
	}
}

static void
remember(MeridianApplyRel *r, uint32 id, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(tail_context);
	MeridianWireOut out;
	TouchedRow *row;
	int			n = list_length(touched);

	meridian_wire_out_init(&out);
	put_slot(&out, r, slot, true);
	/* the same row again, soon after, is common; repairing it twice is harmless */
	for (int i = Max(0, n - REMEMBERED); i < n; i++)
	{
		row = list_nth(touched, i);
		if (row->rel == id && row->len == out.len && memcmp(row->key, out.data, out.len) == 0)
		{
			pfree(out.data);
			MemoryContextSwitchTo(old);
			return;
		}
	}
	row = palloc(sizeof(*row));
	row->rel = id;
	row->len = out.len;
	row->key = repalloc(out.data, Max(out.len, 1));
	touched = lappend(touched, row);
	MemoryContextSwitchTo(old);
}

static const char *
operation_name(MeridianWireType type)
{
	switch (type)
	{
		case MERIDIAN_WIRE_INSERT:
			return "insert";
		case MERIDIAN_WIRE_UPDATE:
			return "update";
		default:
			return "delete";
	}
}

/* One row of the lost transaction. */
void
meridian_tail_change(const MeridianWireMsg *msg)
{
	bool		is_delete = msg->type == MERIDIAN_WIRE_DELETE;
	const MeridianWireTuple *old_tuple = msg->has_old ? &msg->old_tuple : NULL;
	const MeridianWireTuple *which = is_delete ? old_tuple : &msg->new_tuple;
	MeridianApplyRel *r;
	const MeridianWireRelation *def;
	Entry		e = {0};
	bool		home;

	meridian_apply_start();
	PushActiveSnapshot(GetLatestSnapshot());
	r = meridian_rows_open(msg->rel);
	def = meridian_rows_definition(r);
	e.class_name = def->class_name;
	if (!meridian_rows_stamped(r, which, &e.partition, &e.epoch))
	{
		e.partition = MRD_PARTITION_ALL;
		if (def->partition_att >= 0 && which->value[def->partition_att] != NULL)
			e.partition = pnstrdup((const char *) which->value[def->partition_att],
								   which->len[def->partition_att]);
	}
	home = is_home(e.class_name, e.partition);
	e.relation = quote_qualified_identifier(def->schema_name, def->table_name);
	e.operation = operation_name(msg->type);
	e.row_type = meridian_rows_relation(r)->rd_rel->reltype;
	if (old_tuple != NULL)
	{
		TupleTableSlot *slot = meridian_rows_fill(r, old_tuple, NULL);

		e.before = ExecFetchSlotHeapTupleDatum(slot);
		e.has_before = true;
		if (home)
			remember(r, msg->rel, slot);
	}
	if (!is_delete)
	{
		TupleTableSlot *slot = meridian_rows_fill(r, &msg->new_tuple, old_tuple);

		e.after = ExecFetchSlotHeapTupleDatum(slot);
		e.has_after = true;
		if (home)
			remember(r, msg->rel, slot);
	}
	record(&e);
	meridian_rows_done(r);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* A table that the tail emptied: every row that the home has is touched. */
static void
remember_table(MeridianApplyRel *r, uint32 id)
{
	Relation	rel = meridian_rows_relation(r);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		remember(r, id, slot);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static void
tail_truncate(const MeridianWireMsg *msg)
{
	for (int i = 0; i < msg->nrels; i++)
	{
		MeridianApplyRel *r = meridian_rows_open(msg->rels[i]);
		const MeridianWireRelation *def = meridian_rows_definition(r);
		Entry		e = {0};

		e.class_name = def->class_name;
		if (!meridian_rows_stamped(r, NULL, &e.partition, &e.epoch))
			e.partition = MRD_PARTITION_ALL;
		e.relation = quote_qualified_identifier(def->schema_name, def->table_name);
		e.operation = "truncate";
		if (is_home(e.class_name, e.partition))
			remember_table(r, msg->rels[i]);
		record(&e);
		meridian_rows_done(r);
	}
}

static void
tail_ddl(const MeridianWireMsg *msg)
{
	MeridianWireDdl ddl;
	Entry		e = {0};

	if (meridian_wire_read_ddl(msg->payload, msg->payload_len, &ddl) != MRD_OK)
		return;
	e.class_name = MRD_CLASS_SCHEMA;
	e.partition = MRD_PARTITION_ALL;
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		if (strcmp(meridian_apply.xact.stamps.entries[i].class_name, MRD_CLASS_SCHEMA) == 0)
			e.epoch = meridian_apply.xact.stamps.entries[i].epoch;
	}
	e.relation = "";
	e.operation = "ddl";
	e.after = PointerGetDatum(cstring_to_text_with_len(ddl.text, (int) ddl.text_len));
	e.has_after = true;
	record(&e);
}

/* TRUNCATE or DDL of the lost transaction: there are no row images. */
void
meridian_tail_statement(const MeridianWireMsg *msg)
{
	meridian_apply_start();
	PushActiveSnapshot(GetLatestSnapshot());
	if (msg->type == MERIDIAN_WIRE_TRUNCATE)
		tail_truncate(msg);
	else
		tail_ddl(msg);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------
 * repairs: sent by the home
 * ----------------------------------------------------------------
 */

static int
count_rows_of(uint32 rel, int from)
{
	int			n = 0;

	for (int i = from; i < list_length(touched) && n < REPAIR_BATCH; i++)
	{
		if (((TouchedRow *) list_nth(touched, i))->rel == rel)
			n++;
	}
	return n;
}

static void
put_repair_row(MeridianWireOut *out, MeridianApplyRel *r, const TouchedRow *row)
{
	MeridianWireTuple *key = palloc(sizeof(*key));
	MeridianWireRepair one;
	MeridianWireTuple image;
	TupleTableSlot *slot;
	MeridianWireOut bytes;
	bool		has_image;

	/* the key as a row without an image, read back by the one reader there is */
	meridian_wire_out_init(&bytes);
	if (bytes.cap < row->len + 1)
		(void) bytes.grow(&bytes, row->len + 1);
	memcpy(bytes.data, row->key, row->len);
	bytes.len = row->len;
	meridian_wire_put_repair_image(&bytes, false);
	one.natts = meridian_rows_definition(r)->natts;
	one.nrows = 1;
	one.rows = mrd_buf_reader(bytes.data, bytes.len);
	if (meridian_wire_read_repair_row(&one, key, &has_image, &image) != 1)
		elog(ERROR, "could not read back the key of a row");

	slot = meridian_rows_find(r, key);
	put_slot(out, r, slot != NULL ? slot : meridian_rows_fill(r, key, NULL), true);
	meridian_wire_put_repair_image(out, slot != NULL);
	if (slot != NULL)
		put_slot(out, r, slot, false);
	meridian_rows_done(r);
	pfree(bytes.data);
	pfree(key);
}

static void
send_repair(uint32 id, int *from)
{
	MeridianApplyRel *r = meridian_rows_open(id);
	const MeridianWireRelation *def = meridian_rows_definition(r);
	MeridianWireOut out;
	int			n = count_rows_of(id, *from);

	meridian_wire_out_init(&out);
	meridian_wire_put_repair(&out, meridian_apply.xact.origin, def->schema_name,
							 def->table_name, def->natts);
	for (int i = 0; i < def->natts; i++)
		meridian_wire_put_attr(&out, def->attrs[i].name, def->attrs[i].type_name,
							   def->attrs[i].flags, 0);
	meridian_wire_put_repair_rows(&out, (uint32) n);
	for (; n > 0 && *from < list_length(touched); (*from)++)
	{
		TouchedRow *row = list_nth(touched, *from);

		if (row->rel != id)
			continue;
		put_repair_row(&out, r, row);
		n--;
	}
	if (out.failed)
		elog(ERROR, "a repair of table \"%s.%s\" is too large", def->schema_name, def->table_name);
	LogLogicalMessage(MERIDIAN_REPAIR_PREFIX, (const char *) out.data, out.len, true);
	pfree(out.data);
}

static void
send_repairs_of(uint32 id)
{
	MeridianApplyRel *r = meridian_rows_open(id);
	int			from = 0;

	LockRelation(meridian_rows_relation(r), ShareRowExclusiveLock);
	/* what was committed before the lock was granted must be seen */
	PushActiveSnapshot(GetLatestSnapshot());
	while (count_rows_of(id, from) > 0)
		send_repair(id, &from);
	PopActiveSnapshot();
}

void
meridian_tail_commit(void)
{
	List	   *rels = NIL;
	ListCell   *lc;

	if (touched == NIL)
		return;
	PushActiveSnapshot(GetLatestSnapshot());
	foreach(lc, touched)
		rels = list_append_unique_int(rels, (int) ((TouchedRow *) lfirst(lc))->rel);
	/* always in the same order, so that two of us cannot wait for each other */
	list_sort(rels, list_int_cmp);
	foreach(lc, rels)
		send_repairs_of((uint32) lfirst_int(lc));
	PopActiveSnapshot();
}

/* ----------------------------------------------------------------
 * repairs: applied by the old home
 * ----------------------------------------------------------------
 */

static MeridianWireRepair repair;
static MeridianWireRelation repair_relation;
static MeridianWireTuple repair_key;
static MeridianWireTuple repair_image;

/* Describe the repaired table as a stream would, with our own attachment. */
static bool
learn_repair(void)
{
	RangeVar   *rv = makeRangeVar(repair.schema_name, repair.table_name, -1);
	Relation	rel = table_openrv_extended(rv, AccessShareLock, true);
	MeridianAttachment a;

	if (rel == NULL)
		return false;
	if (!meridian_attachment(rel, &a))
	{
		table_close(rel, AccessShareLock);
		return false;
	}
	table_close(rel, AccessShareLock);
	repair_relation.id = REPAIR_RELATION;
	strlcpy(repair_relation.schema_name, repair.schema_name, MRD_NAME_MAX);
	strlcpy(repair_relation.table_name, repair.table_name, MRD_NAME_MAX);
	strlcpy(repair_relation.class_name, a.class_name, MRD_NAME_MAX);
	repair_relation.natts = repair.natts;
	memcpy(repair_relation.attrs, repair.attrs, sizeof(MeridianWireAttr) * (size_t) repair.natts);
	repair_relation.partition_att = -1;
	for (int i = 0; i < repair.natts; i++)
	{
		if (repair.attrs[i].type != 0)
			return false;
		if (a.partition_attno != 0 && strcmp(repair.attrs[i].name, a.partition_by) == 0)
			repair_relation.partition_att = i;
	}
	meridian_rows_learn(&repair_relation);
	return true;
}

/* Only who is or was a home of the row's partition may set it. */
static bool
may_repair(const MeridianWireTuple *key)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			sender = s == NULL ? -1 : mrd_snapshot_region(s, meridian_apply.xact.origin);
	int			class = s == NULL ? -1 : mrd_snapshot_class(s, repair_relation.class_name);
	char		partition[MRD_NAME_MAX] = MRD_PARTITION_ALL;
	int			att = repair_relation.partition_att;
	int			n;

	if (sender < 0 || class < 0)
		return false;
	if (att >= 0)
	{
		if (key->value[att] == NULL || key->len[att] >= MRD_NAME_MAX)
			return false;
		memcpy(partition, key->value[att], key->len[att]);
		partition[key->len[att]] = '\0';
	}
	n = mrd_snapshot_partition(s, class, partition);
	if (n < 0)
		return false;
	if (s->partitions[n].authority.region == sender)
		return true;
	for (int i = 0; i < s->partitions[n].authority.history_count; i++)
	{
		if (s->partitions[n].authority.history[i].region == sender)
			return true;
	}
	return false;
}

void
meridian_repair(const void *payload, size_t len)
{
	MeridianApplyRel *r;
	bool		has_image;
	int			rc = meridian_wire_read_repair(payload, len, &repair);

	if (rc == MRD_OK && strcmp(repair.target, meridian_region) != 0)
		return;					/* another region's */
	meridian_apply_start();
	PushActiveSnapshot(GetLatestSnapshot());
	if (rc == MRD_OK && !learn_repair())
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("cannot repair table \"%s.%s\": it is not attached here",
						repair.schema_name, repair.table_name)));
	if (rc == MRD_OK)
	{
		r = meridian_rows_open(REPAIR_RELATION);
		while ((rc = meridian_wire_read_repair_row(&repair, &repair_key, &has_image,
												   &repair_image)) == 1)
		{
			if (!may_repair(&repair_key))
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("region \"%s\" sent a repair of table \"%s.%s\", of which it was never home",
								meridian_apply.xact.origin, repair.schema_name, repair.table_name)));
			meridian_rows_set(r, &repair_key, has_image ? &repair_image : NULL);
			meridian_rows_done(r);
			CommandCounterIncrement();
			PopActiveSnapshot();
			PushActiveSnapshot(GetLatestSnapshot());
			r = meridian_rows_open(REPAIR_RELATION);
		}
	}
	if (rc < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed repair: %s",
						meridian_apply.origin, mrd_strerror(rc))));
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* What was decided about an entry at the home holds here too. */
void
meridian_resolve(const void *payload, size_t len)
{
	static const char update_entry[] =
	"UPDATE meridian.reconcile_entry SET status = $4, decided_by = $5, decided_at = $6 "
	"WHERE origin = $1 AND commit_lsn = $2 AND seq = $3 AND status = 'open'";
	Oid			types[6] = {TEXTOID, LSNOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[6];
	MeridianWireResolve d;
	int			rc = meridian_wire_read_resolve(payload, len, &d);

	if (rc == MRD_OK && strcmp(d.status, "applied") != 0 && strcmp(d.status, "discarded") != 0)
		rc = MRD_EFORMAT;
	if (rc != MRD_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed decision: %s",
						meridian_apply.origin, mrd_strerror(rc))));
	meridian_apply_start();
	PushActiveSnapshot(GetLatestSnapshot());
	values[0] = CStringGetTextDatum(d.origin);
	values[1] = LSNGetDatum(d.commit_lsn);
	values[2] = Int32GetDatum((int32) d.seq);
	values[3] = CStringGetTextDatum(d.status);
	values[4] = CStringGetTextDatum(d.who);
	values[5] = TimestampTzGetDatum(meridian_apply.xact.commit_time);
	SPI_connect();
	if (SPI_execute_with_args(update_entry, 6, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update meridian.reconcile_entry");
	SPI_finish();
	PopActiveSnapshot();
	CommandCounterIncrement();
}
