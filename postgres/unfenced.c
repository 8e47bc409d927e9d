/*-------------------------------------------------------------------------
 *
 * unfenced.c
 *	  What this region applied past a cut that it had not heard of.
 *
 * A failover goes on without a replica that is down (`unfenced` in the closed
 * epoch).  The replica may have applied more of the lost home than anybody who
 * was asked, and the cut lies before that.  Those commits are lost tail like any
 * other; only here they are rows, and nobody but this region may have them: the
 * old home, which would file them when it returns, may never do so.
 *
 * So before anything more of that home is applied, each worker looks (settle):
 *
 *	 1. How far were we when we first heard of the cut?  That is written down
 *		once, in meridian.past_cut.  Later positions say nothing: what is taken
 *		after that is judged by the cut, and moves them past it rightly.
 *	 2. What does our own WAL have past it?  That is filed in meridian.reconcile
 *		(unfenced_wal.c).
 *	 3. All regions are told, and the present home's rows replace ours
 *		(unfenced_outcome.c).
 *
 * 2 and 3 are one transaction.  When it fails, that is a problem of this region
 * (meridian.past_cut, agent_status) and tried again later; no stream stops for it,
 * because how far we were is written down.  Until it is done, and the copy made, the region
 * is not made home of the partition (agent_status: compared_epoch; core's
 * mrdi_uncompared).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "unfenced.h"

#define AGAIN_MS 2000			/* while another worker compares */
#define TRY_AGAIN_MS 10000		/* after it failed; each time twice as long */
#define TRY_AGAIN_MS_MAX (10 * 60 * 1000)

static uint64 seen;				/* closed epochs that were looked at */
static char others[MRD_REGIONS_MAX][MRD_NAME_MAX]; /* origins that other workers had to look at */
static int	others_count;
static TimestampTz again_at;	/* another worker was comparing, or it failed; 0: neither */
static int	try_again_ms;		/* it failed the last time; 0: it did not */
static MeridianPasts found;		/* of the origin that is being compared */

/* ----------------------------------------------------------------
 * which
 * ----------------------------------------------------------------
 */

static bool
is_ours(const struct mrd_snapshot *s, const struct mrd_authority *a, int k)
{
	return (a->history[k].unfenced >> s->self & 1) != 0 && a->history[k].region < s->region_count &&
		a->history[k].region != s->self;
}

/* May the partition hold something here that does not count, for all that the snapshot says? */
bool
meridian_unfenced(const struct mrd_snapshot *s, const struct mrd_authority *a)
{
	for (int k = 0; k < a->history_count; k++)
	{
		if (is_ours(s, a, k))
			return true;
	}
	return false;
}

/* 0: there are none.  Asked at each transaction, so it is worked out once for each snapshot. */
static uint64
fingerprint(const struct mrd_snapshot *s)
{
	static mrd_boot_ns published;
	static uint64 generation;
	static uint64 h;

	if (s->published_ns == published && s->generation == generation)
		return h;
	published = s->published_ns;
	generation = s->generation;
	h = 0;
	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		for (int k = 0; k < a->history_count; k++)
		{
			if (is_ours(s, a, k))
				h = (h ^ (((uint64) i + 1) << 48) ^ a->history[k].epoch) * UINT64CONST(1099511628211);
		}
	}
	return h;
}

/*
 * A worker that applies the origin at this moment looks itself, before it goes
 * on: only then is the position that of before.
 */
static bool
is_mine(const char *origin)
{
	MeridianStream *stream;
	bool		ret;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	stream = meridian_stream_find(origin);
	ret = stream == NULL || stream->pid == MyProcPid ||
		(stream->pid == 0 && (stream->forwarder == 0 || stream->forwarder == MyProcPid));
	LWLockRelease(meridian_streams->lock);
	return ret;
}

/*
 * Has a failover gone on without us that this worker has not looked at?  What is
 * another worker's to look at is news only when that has gone: a stream that
 * begins again ends the copy that is being made beside it.
 */
bool
meridian_unfenced_news(const struct mrd_snapshot *s)
{
	uint64		now = fingerprint(s);

	if (now == 0)
		return false;
	if (now != seen || (again_at != 0 && meridian_instant() >= again_at))
		return true;
	for (int i = 0; i < others_count; i++)
	{
		if (is_mine(others[i]))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------
 * how far we were
 * ----------------------------------------------------------------
 */

static XLogRecPtr
position_of(const char *origin)
{
	RepOriginId id = meridian_stream_origin(origin);

	return id == InvalidRepOriginId ? InvalidXLogRecPtr : replorigin_get_progress(id, false);
}

/* Only the first look counts. */
static void
note_one(const struct mrd_snapshot *s, const struct mrd_snap_partition *p, int k)
{
	static const char note[] =
	"INSERT INTO meridian.past_cut (class, partition, epoch, origin, cut, reached, compared_at) "
	"VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN NULL ELSE pg_catalog.now() END) "
	"ON CONFLICT DO NOTHING";
	const struct mrd_closed_epoch *c = &p->authority.history[k];
	const char *origin = s->regions[c->region].name;
	XLogRecPtr	reached = position_of(origin);
	Oid			types[7] = {TEXTOID, TEXTOID, INT8OID, TEXTOID, LSNOID, LSNOID, BOOLOID};
	Datum		values[7];

	values[0] = CStringGetTextDatum(s->classes[p->class_index].name);
	values[1] = CStringGetTextDatum(p->name);
	values[2] = Int64GetDatum((int64) c->epoch);
	values[3] = CStringGetTextDatum(origin);
	values[4] = LSNGetDatum(c->cut);
	values[5] = LSNGetDatum(reached);
	values[6] = BoolGetDatum(mrd_authority_past_cut(&p->authority, (unsigned) k, s->self, reached));
	if (SPI_execute_with_args(note, 7, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.past_cut");
}

/*
 * More epochs ended while this region was away than are remembered, and it may be
 * past the cut of one of those: nobody can tell what of it.
 */
static void
forget_unknown(const struct mrd_snapshot *s, const struct mrd_snap_partition *p)
{
	const struct mrd_authority *a = &p->authority;
	const char *class_name = s->classes[p->class_index].name;

	if (a->history_count == MRD_HISTORY_MAX && meridian_unfenced(s, a) &&
		!meridian_settled_before(class_name, p->name, a->history[0].epoch - 1))
		meridian_forget_partition(s, class_name, p->name, a->history[0].epoch - 1);
}

static bool
is_noted(const struct mrd_snapshot *s, const struct mrd_snap_partition *p, int k)
{
	return meridian_sql_any(psprintf("SELECT FROM meridian.past_cut WHERE class = %s AND partition = %s "
									 "AND epoch = " UINT64_FORMAT,
									 quote_literal_cstr(s->classes[p->class_index].name),
									 quote_literal_cstr(p->name),
									 (uint64) p->authority.history[k].epoch));
}

static void
leave_to_other(const char *origin)
{
	for (int i = 0; i < others_count; i++)
	{
		if (strcmp(others[i], origin) == 0)
			return;
	}
	strlcpy(others[others_count++], origin, MRD_NAME_MAX);
}

static void
note_positions(const struct mrd_snapshot *s)
{
	others_count = 0;
	meridian_sql_begin();
	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		forget_unknown(s, &s->partitions[i]);
		for (int k = 0; k < a->history_count; k++)
		{
			const char *origin;

			if (!is_ours(s, a, k) || is_noted(s, &s->partitions[i], k))
				continue;
			origin = s->regions[a->history[k].region].name;
			if (is_mine(origin))
				note_one(s, &s->partitions[i], k);
			else
				leave_to_other(origin);
		}
	}
	meridian_sql_end();
}

/* ----------------------------------------------------------------
 * one origin after the other
 * ----------------------------------------------------------------
 */

/* What is not compared yet, of the first origin that has something */
static void
find_pasts(void)
{
	MemoryContext old;

	if (SPI_execute("SELECT class, partition, epoch, origin, cut, reached FROM meridian.past_cut "
					"WHERE compared_at IS NULL AND origin = (SELECT origin FROM meridian.past_cut "
					"WHERE compared_at IS NULL ORDER BY problem IS NOT NULL, origin LIMIT 1) ORDER BY 1, 2, 3", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.past_cut");
	old = MemoryContextSwitchTo(found.memory);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MeridianPast *p = palloc0(sizeof(*p));

		strlcpy(p->class_name, meridian_sql_text((int) i, 1), sizeof(p->class_name));
		strlcpy(p->partition, meridian_sql_text((int) i, 2), sizeof(p->partition));
		p->epoch = (uint64) DatumGetInt64(meridian_sql_datum((int) i, 3));
		strlcpy(found.origin, meridian_sql_text((int) i, 4), sizeof(found.origin));
		p->cut = DatumGetLSN(meridian_sql_datum((int) i, 5));
		p->reached = DatumGetLSN(meridian_sql_datum((int) i, 6));
		found.pasts = lappend(found.pasts, p);
	}
	MemoryContextSwitchTo(old);
}

typedef enum Compared
{
	COMPARED_ALL,
	COMPARED_ONE,				/* origin; there may be more */
	COMPARED_BY_OTHER,			/* who may have looked before there was something */
	COMPARED_NOT				/* it failed */
} Compared;

/* In a transaction that has written nothing: a slot is made */
static Compared
compare_next(void)
{
	Compared	ret = COMPARED_BY_OTHER;

	meridian_sql_begin();
	if (meridian_past_cut_lock())
	{
		find_pasts();
		ret = found.pasts == NIL ? COMPARED_ALL : COMPARED_ONE;
	}
	if (ret == COMPARED_ONE)
	{
		meridian_unfenced_read(&found);
		meridian_unfenced_conclude(&found);
	}
	meridian_sql_end();
	meridian_unfenced_say(&found);
	return ret;
}

/* In a transaction of its own */
static void
note_problem(const char *origin, const char *problem)
{
	static const char note[] =
	"UPDATE meridian.past_cut SET problem = $2 WHERE origin = $1 AND compared_at IS NULL";
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(origin), CStringGetTextDatum(problem)};

	meridian_sql_begin();
	if (SPI_execute_with_args(note, 2, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write meridian.past_cut");
	meridian_sql_end();
}

/* The streams go on, and it is tried again. */
static void
on_failure(void)
{
	ErrorData  *e;

	MemoryContextSwitchTo(found.memory);
	e = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	meridian_rows_abandon();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	ReplicationSlotCleanup();
	MemoryContextSwitchTo(found.memory);
	ereport(LOG,
			(errmsg("could not compare what this region has past a cut: %s", e->message)));
	if (found.pasts != NIL)
		note_problem(found.origin, e->message);
}

static Compared
try_next(void)
{
	MemoryContext old = CurrentMemoryContext;
	volatile Compared ret = COMPARED_NOT;

	memset(&found, 0, sizeof(found));
	found.memory = AllocSetContextCreate(TopMemoryContext, "meridian past cut",
										 ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		ret = compare_next();
	}
	PG_CATCH();
	{
		on_failure();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(found.memory);
	memset(&found, 0, sizeof(found));
	return ret;
}

static void
plan_again(Compared done)
{
	int			ms = AGAIN_MS;

	if (done != COMPARED_NOT)
		try_again_ms = 0;
	else
		ms = try_again_ms = Min(Max(2 * try_again_ms, TRY_AGAIN_MS), TRY_AGAIN_MS_MAX);
	again_at = done == COMPARED_ALL ? 0 : TimestampTzPlusMilliseconds(meridian_instant(), ms);
}

/*
 * Called by a worker that applies nothing at the moment, before it does.  What it
 * writes is this region's own.
 */
void
meridian_unfenced_settle(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	RepOriginId saved = replorigin_session_origin;
	MemoryContext old = CurrentMemoryContext;
	uint64		number;
	Compared	done;

	if (s == NULL || !meridian_unfenced_news(s))
		return;
	replorigin_session_origin = InvalidRepOriginId;
	seen = fingerprint(s);
	note_positions(s);
	while ((done = try_next()) == COMPARED_ONE)
		;
	plan_again(done);
	number = meridian_apply.xact.number;
	memset(&meridian_apply.xact, 0, sizeof(meridian_apply.xact));
	meridian_apply.xact.number = number;
	replorigin_session_origin = saved;
	MemoryContextSwitchTo(old);
}
