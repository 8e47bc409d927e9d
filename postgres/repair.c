/*-------------------------------------------------------------------------
 *
 * repair.c
 *	  What follows from a lost tail: the old home's copy becomes the others' again,
 *	  and every region has the same queue.
 *
 * Filed entries (tail.c) wait here for whoever is home of their partition.  The
 * home tells all regions of each entry, the one that lost it included, and
 * sends the old home its own present image of every row that the tail touched;
 * the old home makes its copy equal to it.  That happens between transactions
 * of the old home's stream, in transactions of the home's own: they carry no
 * origin, or they would be filtered out of the stream to that region.
 *
 * A repair is stamped with the home's epoch like any write.  If that home was
 * itself replaced before the others had the repair, it is past the cut and
 * counts nowhere.  An entry therefore says under which epoch it was repaired,
 * as far as this region knows, and a home sends what is not known to be: when
 * it is promoted, when the origin's stream starts, when an entry arrives late.
 * A repair may be repeated: it says what a row is, not how it changes.
 *
 * The order of steps, for a crash between any two of them: an entry is filed;
 * its repair is committed; the entry is marked.  The next pass sends again what
 * is not marked.
 *
 * How the images are read is in repair_rows.c, what the others make of these
 * messages in repaired.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "guard.h"
#include "repair.h"

#define LOCK_WAIT "1s"			/* writers behind us wait as long */
#define AGAIN_MS 500			/* after a lock was not to be had */

/* ----------------------------------------------------------------
 * when
 * ----------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(meridian_forget_lost_repairs);

static bool fresh = true;		/* what was given up or marked before is looked at anew */
static uint64 seen_authorities; /* as of the last pass */
static TimestampTz not_before;	/* the next pass */

void
meridian_repairs_begin(void)
{
	fresh = true;
	not_before = 0;
}

void
meridian_repairs_expect(const char *origin)
{
	MeridianStream *s;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(origin);
	if (s != NULL)
		s->repairs = true;
	LWLockRelease(meridian_streams->lock);
}

/* Differs whenever any partition's home, epoch or state does. */
static uint64
fingerprint(const struct mrd_snapshot *s)
{
	uint64		h = UINT64CONST(14695981039346656037);

	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;
		uint64		words[] = {a->epoch, a->region, a->state};

		for (int n = 0; n < lengthof(words); n++)
			h = (h ^ words[n]) * UINT64CONST(1099511628211);
	}
	return h;
}

bool
meridian_repairs_due(const struct mrd_snapshot *s)
{
	uint64		authorities = fingerprint(s);

	if (authorities != seen_authorities)
		fresh = true;
	seen_authorities = authorities;
	if (!fresh && !meridian_apply.stream->repairs)
		return false;
	return mrd_may_apply(s, meridian_boot_ns()) && meridian_instant() >= not_before;
}

static void
try_again(void)
{
	meridian_repairs_expect(meridian_apply.origin);
	not_before = TimestampTzPlusMilliseconds(meridian_instant(), AGAIN_MS);
}

/* ----------------------------------------------------------------
 * sending
 * ----------------------------------------------------------------
 */

typedef enum Outcome
{
	NOTHING_LEFT,
	SENT,						/* there may be more */
	DIVIDE,						/* one of them cannot be repaired: find out which */
	LATER						/* a lock is not to be had, or the home changed */
} Outcome;

static const char unrepaired[] =
"FROM meridian.reconcile_entry WHERE origin = $1 AND class = $2 AND partition = $3 "
"AND repaired_epoch IS NULL AND problem IS NULL ";

/* ---- stamp and entries ---- */

static void
emit_stamp(const MeridianRepairBatch *b)
{
	MeridianWireStamp *stamp = palloc(sizeof(*stamp));
	MeridianWireOut out;

	stamp->count = 1;
	strlcpy(stamp->entries[0].class_name, b->class_name, MRD_NAME_MAX);
	strlcpy(stamp->entries[0].partition, b->partition, MRD_NAME_MAX);
	stamp->entries[0].epoch = b->epoch;
	meridian_wire_out_init(&out);
	meridian_wire_put_stamp(&out, stamp);
	meridian_repair_emit(MERIDIAN_STAMP_PREFIX, &out);
	pfree(stamp);
}

/* Keep which entries the last query gave. */
static void
name_entries(MeridianRepairBatch *b)
{
	MemoryContext old = MemoryContextSwitchTo(b->context);

	initStringInfo(&b->lsns);
	initStringInfo(&b->seqs);
	b->count = (int) SPI_processed;
	for (int row = 0; row < b->count; row++)
	{
		appendStringInfo(&b->lsns, "%s%s", row == 0 ? "{" : ",", meridian_sql_text(row, 1));
		appendStringInfo(&b->seqs, "%s%s", row == 0 ? "{" : ",", meridian_sql_text(row, 2));
	}
	appendStringInfoString(&b->lsns, b->count == 0 ? "{}" : "}");
	appendStringInfoString(&b->seqs, b->count == 0 ? "{}" : "}");
	MemoryContextSwitchTo(old);
}

static void
emit_entry(const MeridianRepairBatch *b, int row, MeridianWireOut *out)
{
	MeridianWireEntry *e = palloc0(sizeof(*e));
	const char *who = meridian_sql_text(row, 7);
	char	   *before = meridian_sql_text(row, 9);
	char	   *after = meridian_sql_text(row, 10);

	strlcpy(e->class_name, b->class_name, sizeof(e->class_name));
	strlcpy(e->partition, b->partition, sizeof(e->partition));
	strlcpy(e->origin, meridian_apply.origin, sizeof(e->origin));
	e->commit_lsn = DatumGetLSN(meridian_sql_datum(row, 1));
	e->seq = (uint32) DatumGetInt32(meridian_sql_datum(row, 2));
	e->epoch = (uint64) DatumGetInt64(meridian_sql_datum(row, 3));
	e->committed_at = DatumGetTimestampTz(meridian_sql_datum(row, 4));
	strlcpy(e->relation, b->relation, sizeof(e->relation));
	strlcpy(e->operation, meridian_sql_text(row, 5), sizeof(e->operation));
	strlcpy(e->status, meridian_sql_text(row, 6), sizeof(e->status));
	strlcpy(e->who, who == NULL ? "" : who, sizeof(e->who));
	e->decided_at = DatumGetTimestampTz(meridian_sql_datum(row, 8));
	e->before = before;
	e->before_len = before == NULL ? 0 : strlen(before);
	e->after = after;
	e->after_len = after == NULL ? 0 : strlen(after);
	meridian_wire_put_entry(out, e);
	meridian_repair_emit(MERIDIAN_ENTRY_PREFIX, out);
	pfree(e);
}

/*
 * Which entries are next?  All of one table.  They stay locked, so that whoever
 * decides about one does it before we tell of it, or after.
 */
static bool
choose(MeridianRepairBatch *b)
{
	Oid			types[6] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, INT4OID};
	Datum		values[6];
	MemoryContext old;

	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->class_name);
	values[2] = CStringGetTextDatum(b->partition);
	if (meridian_sql_run(psprintf("SELECT relation, operation = 'truncate' %s ORDER BY commit_lsn, seq LIMIT 1",
						 unrepaired), 3, types, values) == 0)
		return false;
	old = MemoryContextSwitchTo(b->context);
	b->relation = meridian_sql_text(0, 1);
	b->truncate = DatumGetBool(meridian_sql_datum(0, 2));
	MemoryContextSwitchTo(old);
	values[3] = CStringGetTextDatum(b->relation);
	values[4] = BoolGetDatum(b->truncate);
	values[5] = Int32GetDatum(b->truncate ? 1 : b->limit);
	(void) meridian_sql_run(psprintf("SELECT commit_lsn, seq, epoch, committed_at, operation, status, decided_by, "
							"decided_at, before::text, after::text %s AND relation = $4 "
							"AND (operation = 'truncate') = $5 ORDER BY commit_lsn, seq LIMIT $6 FOR UPDATE",
							unrepaired), 6, types, values);
	name_entries(b);
	return true;
}

static void
tell_entries(const MeridianRepairBatch *b)
{
	MeridianWireOut out;

	meridian_wire_out_init(&out);
	for (int row = 0; row < b->count; row++)
		emit_entry(b, row, &out);
}

/* Is the partition still ours under that epoch?  A repair that is late is no repair. */
static bool
still_home(const MeridianRepairBatch *b)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	struct mrd_verdict v = mrd_guard(s, mrd_snapshot_find(s, b->class_name, b->partition),
									 meridian_boot_ns());

	return v.allow && v.epoch == b->epoch;
}

static void
mark(const MeridianRepairBatch *b, XLogRecPtr lsn)
{
	Oid			types[5] = {TEXTOID, TEXTOID, TEXTOID, INT8OID, LSNOID};
	Datum		values[5];

	meridian_sql_begin();
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->lsns.data);
	values[2] = CStringGetTextDatum(b->seqs.data);
	values[3] = Int64GetDatum((int64) b->epoch);
	values[4] = LSNGetDatum(lsn);
	(void) meridian_sql_run("UPDATE meridian.reconcile_entry e SET repaired_epoch = $4, repaired_lsn = $5 "
				   "FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.pg_lsn[]), "
				   "pg_catalog.unnest($3::int[])) AS w(lsn, n) "
				   "WHERE e.origin = $1 AND e.commit_lsn = w.lsn AND e.seq = w.n", 5, types, values);
	meridian_sql_end();
}

/* One step: the entries of a batch, or the next rows after a lost TRUNCATE. */
static Outcome
send_batch(MeridianRepairBatch *b)
{
	bool		more;
	XLogRecPtr	lsn;

	meridian_sql_begin();
	(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
	if (!b->resumed && !choose(b))
	{
		meridian_sql_end();
		return NOTHING_LEFT;
	}
	emit_stamp(b);
	if (!b->resumed)
		tell_entries(b);
	more = b->count > 0 && meridian_repair_rows(b);
	if (!still_home(b))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the home of %s/%s changed", b->class_name, b->partition)));
	meridian_sql_end();
	lsn = XactLastCommitEnd;
	XLogFlush(lsn);
	meridian_fault("repair-sent");
	if (!more && b->count > 0)
		mark(b, lsn);
	return SENT;
}

/* The entry cannot be repaired.  That must not stop what comes behind it, but be said. */
static void
give_up(const MeridianRepairBatch *b, const char *why)
{
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];

	if (b->count == 0)
		elog(ERROR, "could not repair what region \"%s\" lost: %s", meridian_apply.origin, why);
	meridian_sql_begin();
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->lsns.data);
	values[2] = CStringGetTextDatum(b->seqs.data);
	values[3] = CStringGetTextDatum(why);
	(void) meridian_sql_run("UPDATE meridian.reconcile_entry e SET problem = $4 "
				   "FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.pg_lsn[]), "
				   "pg_catalog.unnest($3::int[])) AS w(lsn, n) "
				   "WHERE e.origin = $1 AND e.commit_lsn = w.lsn AND e.seq = w.n", 4, types, values);
	meridian_sql_end();
}

static Outcome
try_batch(MeridianRepairBatch *b)
{
	MemoryContext outer = CurrentMemoryContext;
	volatile Outcome ret = SENT;

	PG_TRY();
	{
		ret = send_batch(b);
	}
	PG_CATCH();
	{
		ErrorData  *e;

		MemoryContextSwitchTo(b->context);
		e = CopyErrorData();
		if (e->sqlerrcode == ERRCODE_QUERY_CANCELED || e->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		if (e->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
			ERRCODE_TO_CATEGORY(e->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
			ret = LATER;
		else if (b->count > 1)
			ret = DIVIDE;
		else
			give_up(b, e->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer);
	return ret;
}

static MeridianRepairBatch *
new_batch(MemoryContext context, const char *class_name, const char *partition, mrd_epoch epoch,
		  int limit)
{
	MeridianRepairBatch *b;

	MemoryContextReset(context);
	b = MemoryContextAllocZero(context, sizeof(*b));
	strlcpy(b->class_name, class_name, MRD_NAME_MAX);
	strlcpy(b->partition, partition, MRD_NAME_MAX);
	b->epoch = epoch;
	b->limit = limit;
	b->context = context;
	return b;
}

static void
send_partition(MemoryContext context, const char *class_name, const char *partition)
{
	MeridianRepairBatch *b = NULL;
	int			alone = 0;		/* so many of the next are tried one by one */

	for (;;)
	{
		const struct mrd_snapshot *s = meridian_snapshot();
		struct mrd_verdict v = mrd_guard(s, mrd_snapshot_find(s, class_name, partition),
										 meridian_boot_ns());

		if (!v.allow)
		{
			if (s != NULL && v.home == s->self)
				try_again();	/* ours, but not at this moment */
			return;
		}
		if (b == NULL || !b->resumed || b->epoch != v.epoch)
			b = new_batch(context, class_name, partition, v.epoch,
						  alone > 0 ? 1 : MERIDIAN_REPAIR_ENTRIES);
		switch (try_batch(b))
		{
			case NOTHING_LEFT:
				return;
			case SENT:
				alone = Max(alone - 1, 0);
				break;
			case DIVIDE:
				alone = b->count;
				break;
			case LATER:
				try_again();
				return;
		}
		if (!meridian_apply_stay())
		{
			try_again();
			return;
		}
	}
}

/* ---- a pass ---- */

Datum
meridian_text_array(const char **names, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(names[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * What we repaired ourselves past the cut of an epoch of ours is not repaired.
 * Of that origin; an empty name is all of them.
 */
static void
forget_lost(const struct mrd_snapshot *s, const char *origin)
{
	int			max = MRD_PARTITIONS_MAX * MRD_HISTORY_MAX;
	const char **classes = palloc(sizeof(char *) * max);
	const char **partitions = palloc(sizeof(char *) * max);
	StringInfoData epochs;
	StringInfoData cuts;
	Oid			types[5] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[5];
	int			n = 0;

	initStringInfo(&epochs);
	initStringInfo(&cuts);
	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		for (int h = 0; h < a->history_count; h++)
		{
			if (a->history[h].region != s->self)
				continue;
			appendStringInfo(&epochs, "%s" UINT64_FORMAT, n == 0 ? "{" : ",",
							 (uint64) a->history[h].epoch);
			appendStringInfo(&cuts, "%s%X/%X", n == 0 ? "{" : ",",
							 LSN_FORMAT_ARGS(a->history[h].cut));
			classes[n] = s->classes[s->partitions[i].class_index].name;
			partitions[n++] = s->partitions[i].name;
		}
	}
	if (n == 0)
		return;
	appendStringInfoChar(&epochs, '}');
	appendStringInfoChar(&cuts, '}');
	values[0] = CStringGetTextDatum(origin);
	values[1] = meridian_text_array(classes, n);
	values[2] = meridian_text_array(partitions, n);
	values[3] = CStringGetTextDatum(epochs.data);
	values[4] = CStringGetTextDatum(cuts.data);
	(void) meridian_sql_run("UPDATE meridian.reconcile_entry e SET repaired_epoch = NULL, repaired_lsn = NULL "
				   "FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), "
				   "pg_catalog.unnest($4::int8[]), pg_catalog.unnest($5::pg_catalog.pg_lsn[])) "
				   "AS h(class, partition, epoch, cut) "
				   "WHERE $1 IN (e.origin, '') AND e.class = h.class AND e.partition = h.partition "
				   "AND e.repaired_epoch = h.epoch AND e.repaired_lsn > h.cut", 5, types, values);
}

/*
 * For meridian.promote(): whoever is home again says how much is not repaired
 * from its first moment on, also where no worker has looked yet.
 */
Datum
meridian_forget_lost_repairs(PG_FUNCTION_ARGS)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	SPI_connect();
	if (s != NULL)
		forget_lost(s, "");
	SPI_finish();
	PG_RETURN_VOID();
}

static void
look_anew(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(meridian_apply.origin)};

	if (s != NULL)
		forget_lost(s, meridian_apply.origin);
	(void) meridian_sql_run("UPDATE meridian.reconcile_entry SET problem = NULL "
				   "WHERE origin = $1 AND problem IS NOT NULL AND repaired_epoch IS NULL", 1, types, values);
}

typedef struct Waiting
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
} Waiting;

/* The partitions with something to repair; statements first, rows may depend on them. */
static int
find_waiting(MemoryContext context, Waiting **ret)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	int			n;

	meridian_sql_begin();
	if (fresh)
		look_anew();
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(MRD_CLASS_SCHEMA);
	n = meridian_sql_run("SELECT class, partition FROM meridian.reconcile_entry "
				"WHERE origin = $1 AND repaired_epoch IS NULL AND problem IS NULL "
				"GROUP BY class, partition ORDER BY class <> $2, class, partition", 2, types, values);
	*ret = MemoryContextAllocZero(context, sizeof(Waiting) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		strlcpy((*ret)[i].class_name, meridian_sql_text(i, 1), MRD_NAME_MAX);
		strlcpy((*ret)[i].partition, meridian_sql_text(i, 2), MRD_NAME_MAX);
	}
	meridian_sql_end();
	fresh = false;
	return n;
}

/* Called between transactions of the stream, when due, and without its origin. */
void
meridian_repairs_send(void)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext pass = AllocSetContextCreate(TopMemoryContext, "meridian repairs",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext context = AllocSetContextCreate(pass, "meridian repair batch",
												  ALLOCSET_DEFAULT_SIZES);
	Waiting    *waiting;
	int			n;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	meridian_apply.stream->repairs = false;
	LWLockRelease(meridian_streams->lock);
	n = find_waiting(pass, &waiting);
	if (n > 0)
		meridian_fault("tail-filed");
	for (int i = 0; i < n; i++)
		send_partition(context, waiting[i].class_name, waiting[i].partition);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(pass);
}
