/*-------------------------------------------------------------------------
 *
 * cover.c
 *	  How a region gets the rows that it lacks (gaps.c) from a region whose
 *	  stream it has already.
 *
 * A gap is closed from the present home in the middle of its running stream,
 * which names the transaction of each change.  A snapshot there says which of
 * its transactions are in it, and that is not the order of its WAL (image.c).  So:
 *
 *	 1. Remember which transactions changed a table with a gap from now on; wait
 *		until all that are older have ended at the home.
 *	 2. Hold the stream, all of it acknowledged, until what is remembered has
 *		ended there, too.  That takes a round trip or two, unless acknowledgements
 *		of others are missing: then it goes on, and later again.
 *	 3. Take a snapshot then: all that is applied here is in it.  The end of the
 *		home's WAL, read after it, is after every commit in it.  A worker of its
 *		own copies in that snapshot (copier.c), and the stream goes on.
 *	 4. Of what is being copied, the stream brings changes that are in the copy and
 *		others that are not, and the snapshot tells which.  The former are left
 *		out; the latter are kept (kept.c) and done once the copy is here, a little
 *		at a time.
 *	 5. Nothing is kept any more: changes that are not in the copy are made as they
 *		come.  When the stream has come to the end of the snapshot, the partitions
 *		are whole.
 *
 * Definitions of tables that do not exist here are made first, in a copy of their
 * own, when the stream has come to the end of its snapshot and no further; else it
 * would bring statements that have been run.  What those did must be in it, so
 * only they are remembered.  The stream stands still meanwhile.
 *
 * No session waits at the home from 4 on, but the copier's snapshot is one of a long
 * transaction: no table there gets rid of dead rows until the copy ends.  A definition
 * that changes, or a TRUNCATE or a repair of what is copied, is more than its rows: the
 * copy then does not count, and its worker has gone before the change is made.  After
 * some that definitions ended so, the stream waits for one.
 *
 * Changes of earlier homes are in both: the snapshot was taken after the home
 * opened the partition, that is with all of them up to their cuts, and copying
 * is done only when this region has reached the cuts too (meridian_takeable).
 * Nothing of them that counts can come afterwards.
 *
 * Marks are written at the end of 5, so an interrupted one is done again.  Between
 * 3 and 5 rows are missing that our position says are here.  Others rely on
 * positions: a gap is there to tell them, and for those who get the transactions
 * from us, our WAL has the changes (missing.c).  To readers here the stream
 * says no more than it had reached at 3.
 *
 * What this region lacks as home is lent (lend.c).  Nobody writes that, so only 3 is
 * needed: it is copied in any snapshot, and marked at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "worker.h"

#define LOOK_EVERY_MS 1000		/* for gaps */
#define TRY_EVERY_MS 1000		/* while there are some */
#define TRY_AGAIN_MS 5000		/* when nothing came of it */
#define HOLD_MS 1000			/* the stream, for acknowledgements of others */
#define SLICE_MS 100			/* of what was kept, between looks at the stream */
#define SAY_AGAIN_MS 60000		/* that copying fails */
#define CATCH_UP_MS (10 * 60 * 1000)	/* without a step, the stream is not going anywhere */
#define IMAGE_MS (2 * 60 * 1000)	/* in all: the home keeps dead rows meanwhile */
#define DISTURBED_MAX 3			/* copies in a row, by definitions: the stream waits for the next */
#define ASK_EVERY_MS 3000		/* for tables that do not exist here */
#define WAITS_FOR_OTHER "waits until another region's copy into this one has ended"

typedef enum CoverPhase
{
	COVER_IDLE,
	COVER_LENT,					/* the stream is to be held, and what we lack as home copied */
	COVER_SETTLING,				/* 1: older transactions are still running there */
	COVER_IMAGE,				/* definitions: the stream is on its way to the image's end */
	COVER_READY,				/* the stream is to be held, and the copy begun */
	COVER_COPYING,				/* 4: the copier is at work */
	COVER_REPEATING,			/* 4: what was kept meanwhile is done */
	COVER_CATCHING_UP			/* 5: the stream is on its way to the copy's end */
} CoverPhase;

static CoverPhase phase;
static TimestampTz look_after;	/* before that there is nothing to do */
static TimestampTz asked;		/* for tables that do not exist here */
static TimestampTz catch_up_by;
static XLogRecPtr stepped_to;	/* in 5: where the stream was when it last went on */
static PGconn *source;			/* of copy.c, while there is one */
static uint64 settled_xid;		/* older ones have to end first */
static bool defining;			/* it is about definitions, not rows */
static List *watched;			/* tables with gaps, as of 1 */
static List *lent;				/* what this region lacks as home */
static bool borrowed;			/* that was tried last: other gaps have their turn */
static bool touched;			/* by the transaction at hand */
static int	disturbed;			/* copies that definitions have ended since one was whole */
static List *held;				/* what is copied, from 4 on; not what is lent */

/* For meridian.links and meridian.gaps: what a copy waits for; NULL: nothing */
static void
say(const char *text)
{
	MeridianStream *stream = meridian_apply.stream;

	if (strcmp(stream->copying, text == NULL ? "" : text) == 0)
		return;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	strlcpy(stream->copying, text == NULL ? "" : text, sizeof(stream->copying));
	LWLockRelease(meridian_streams->lock);
}

/* For meridian.gaps: it was asked, and does not hold what this region lacks as home. */
static void
set_lends_not(bool lends_not)
{
	if (meridian_apply.stream->lends_not == lends_not)
		return;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	meridian_apply.stream->lends_not = lends_not;
	LWLockRelease(meridian_streams->lock);
}

static void
next_look(int ms)
{
	look_after = TimestampTzPlusMilliseconds(meridian_instant(), ms);
}

static void
give_up(void)
{
	meridian_copier_end();
	meridian_kept_reset();
	meridian_copy_close();
	source = NULL;
	phase = COVER_IDLE;
	meridian_image_forget();
	list_free(watched);
	list_free_deep(lent);
	watched = lent = NIL;
	list_free_deep(held);
	held = NIL;
}

/* A new stream: what the one before it was about is forgotten. */
void
meridian_cover_reset(void)
{
	give_up();
	say(NULL);
	set_lends_not(false);
	meridian_lends_reset();
	touched = false;
	disturbed = 0;
	look_after = asked = 0;
}

/*
 * A table that is configured, or missing, but only the schema's home can say what it
 * is.  When that is this region, whoever has what was missing before (copy.c)
 */
static bool
tables_missing(void)
{
	if (meridian_is_defining())
		return meridian_sql_any("SELECT FROM meridian.missing LIMIT 1");
	return meridian_is_schema_home(meridian_apply.origin) &&
		meridian_sql_any("SELECT FROM meridian.table_config t WHERE pg_catalog.to_regclass("
						 "pg_catalog.format('%I.%I', t.schema_name, t.table_name)) IS NULL "
						 "UNION ALL SELECT FROM meridian.missing LIMIT 1");
}

static void
watch(List *gaps)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ListCell   *lc;

	foreach(lc, gaps)
	{
		MeridianCopied *c = lfirst(lc);

		if (c->lent)
			lent = list_concat(lent, meridian_copied_keep(list_make1(c)));
		else
			watched = list_append_unique_oid(watched, c->relid);
	}
	MemoryContextSwitchTo(old);
}

/* Is there anything to get?  Without the home's own word about tables that are missing. */
static void
look(bool *gaps, bool *missing)
{
	MemoryContext old = CurrentMemoryContext;
	TimestampTz now = meridian_instant();

	give_up();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	watch(meridian_find_gaps(meridian_apply.origin));
	*gaps = watched != NIL;
	*missing = TimestampDifferenceExceeds(asked, now, ASK_EVERY_MS) && tables_missing();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	if (*missing)
		asked = now;
}

/* Does the schema's home have what is missing, or has it no longer what we miss? */
static bool
there_are_tables(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		ret;

	meridian_copy_begin(NULL);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ret = meridian_copy_lacks_tables() || meridian_copy_misses_in_vain(false);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	meridian_copy_end();
	return ret;
}

static void
start(const char *conninfo, bool gaps)
{
	PGresult   *res;

	source = meridian_copy_open(conninfo);
	if (!gaps && !there_are_tables())
	{
		give_up();
		return;
	}
	res = meridian_link_row(source, "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())");
	settled_xid = meridian_image_number(res, 0);
	PQclear(res);
	phase = COVER_SETTLING;
}

/* Has everything ended that was running at step 1? */
static void
settle(void)
{
	PGresult   *res = meridian_link_row(source, "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())");
	uint64		oldest = meridian_image_number(res, 0);

	PQclear(res);
	if (oldest >= settled_xid && defining)
	{
		meridian_image_take(source);
		phase = COVER_IMAGE;
		catch_up_by = TimestampTzPlusMilliseconds(meridian_instant(), IMAGE_MS);
	}
	else if (oldest < settled_xid)
		say(psprintf("waits for transaction " UINT64_FORMAT " at \"%s\"", oldest,
					 meridian_apply.origin));
	else
		phase = COVER_READY;
}

/*
 * Step 2.  Nothing is applied meanwhile, so what has ended once is in every later
 * snapshot.
 */
static bool
hold_until_ended(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(), HOLD_MS);
	uint32		xid;

	for (;;)
	{
		meridian_image_look(source);
		xid = meridian_image_lacks();
		if (xid == 0)
			return true;
		if (meridian_instant() > until)
			break;
		meridian_link_wait(source, 0, 10);
	}
	say(psprintf("waits for transaction %u at \"%s\", which lacks acknowledgements", xid,
				 meridian_apply.origin));
	return false;
}

/* ----------------------------------------------------------------
 * transactions on our own account
 *
 * They have no position, and nobody gets their rows from us.
 * ----------------------------------------------------------------
 */

static RepOriginId saved_origin;
static XLogRecPtr saved_lsn;
static TimestampTz saved_time;

static void
own_account(void)
{
	saved_origin = replorigin_session_origin;
	saved_lsn = replorigin_session_origin_lsn;
	saved_time = replorigin_session_origin_timestamp;
	replorigin_session_origin = DoNotReplicateId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

static void
account_of_stream(void)
{
	replorigin_session_origin = saved_origin;
	replorigin_session_origin_lsn = saved_lsn;
	replorigin_session_origin_timestamp = saved_time;
}

/* ----------------------------------------------------------------
 * definitions
 * ----------------------------------------------------------------
 */

/* false: another copy is being made */
static bool
copy_definitions(const char *conninfo)
{
	bool		ret;

	own_account();
	StartTransactionCommand();
	ret = meridian_copy_lock();
	if (ret)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		(void) meridian_copy_misses_in_vain(true);
		meridian_copy_definitions(conninfo, meridian_image_name());
		(void) meridian_copy_rows(false, NIL);	/* those that come along */
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	account_of_stream();
	return ret;
}

/* The stream is where the image is. */
static void
define(const char *conninfo)
{
	bool		done = meridian_image_lacks() == 0 && copy_definitions(conninfo);

	meridian_copy_end();
	give_up();
	next_look(done ? 0 : TRY_AGAIN_MS);
}

/* ----------------------------------------------------------------
 * rows
 * ----------------------------------------------------------------
 */

/*
 * What is to be copied in the snapshot that was taken: what still is a gap and the
 * home has whole.  Of tables not watched, changes may have been applied unseen.
 * Kept; NIL also while another copy is being made.
 */
static List *
choose(void)
{
	List	   *gaps = NIL;
	List	   *ret = NIL;
	ListCell   *lc;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!meridian_copy_lock())
		say(WAITS_FOR_OTHER);
	else
	{
		say(psprintf("waits until \"%s\" has opened it", meridian_apply.origin));
		foreach(lc, meridian_find_gaps(meridian_apply.origin))
		{
			MeridianCopied *gap = lfirst(lc);

			if (!gap->lent && list_member_oid(watched, gap->relid))
				gaps = lappend(gaps, gap);
		}
		ret = meridian_copied_keep(meridian_copy_choose(gaps));
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return ret;
}

static void
start_copier(const char *snapshot, List *what)
{
	if (meridian_copier_start(snapshot, what))
	{
		say(psprintf("copies rows of %d partitions of tables", list_length(what)));
		phase = COVER_COPYING;
		return;
	}
	give_up();
	say("out of background worker slots; increase max_worker_processes");
	next_look(TRY_AGAIN_MS);
}

/* The stream is held: step 3. */
static void
begin_copy(void)
{
	if (!hold_until_ended())
	{
		phase = COVER_SETTLING;
		next_look(TRY_AGAIN_MS);
		return;
	}
	meridian_image_take(source);
	held = choose();
	meridian_image_forget();
	if (held != NIL)
	{
		own_account();
		meridian_unmark(held);
		account_of_stream();
		start_copier(meridian_image_name(), held);
		return;
	}
	give_up();
	next_look(TRY_AGAIN_MS);
}

/* This region is home of what it lacks, and the one that we stream from may have it. */
static void
borrow(const char *conninfo)
{
	ListCell   *lc;

	source = meridian_copy_open(conninfo);
	foreach(lc, lent)
	{
		if (!meridian_lends(source, lfirst(lc)))
		{
			pfree(lfirst(lc));
			lent = foreach_delete_current(lent, lc);
		}
	}
	set_lends_not(lent == NIL);
	if (lent != NIL)
	{
		start_copier(NULL, lent);
		return;
	}
	give_up();
	next_look(TRY_AGAIN_MS);
}

/* Nothing came of it. */
static void
not_copied(const char *why)
{
	static char logged[MERIDIAN_ERROR_MAX];
	static TimestampTz logged_at;
	TimestampTz now = meridian_instant();
	char	   *text = psprintf("could not copy rows: %s", why);

	if (strncmp(logged, text, sizeof(logged) - 1) != 0 ||
		TimestampDifferenceExceeds(logged_at, now, SAY_AGAIN_MS))
	{
		ereport(WARNING, (errmsg("could not copy rows from region \"%s\": %s", meridian_apply.origin, why)));
		strlcpy(logged, text, sizeof(logged));
		logged_at = now;
	}
	say(text);
	give_up();
	next_look(TRY_AGAIN_MS);
}

/* The copier is done with what it could copy. */
static void
copied(void)
{
	ListCell   *lc;

	foreach(lc, held)
	{
		if (!meridian_copier_has(lfirst(lc)))
		{
			pfree(lfirst(lc));
			held = foreach_delete_current(held, lc);
		}
	}
	if (held == NIL)
	{
		give_up();
		next_look(TRY_AGAIN_MS);
		return;
	}
	meridian_copier_end();
	say("makes the changes of the time of the copy");
	phase = COVER_REPEATING;
}

static void
look_at_copier(void)
{
	const char *why;

	switch (meridian_copier_state(&why))
	{
		case MERIDIAN_COPIER_STARTING:
			break;
		case MERIDIAN_COPIER_BEGUN:
			meridian_copy_close();	/* our end of the snapshot */
			source = NULL;
			break;
		case MERIDIAN_COPIER_DONE:
			meridian_copy_close();
			source = NULL;
			copied();
			break;
		case MERIDIAN_COPIER_BUSY:
			say(WAITS_FOR_OTHER);
			give_up();
			next_look(TRY_AGAIN_MS);
			break;
		case MERIDIAN_COPIER_FAILED:
			not_copied(why);
			break;
	}
}

/* What was kept is done for so long.  A later home's changes must not be undone by it. */
static void
repeat(int ms)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	bool		done;
	ListCell   *lc;

	foreach(lc, held)
	{
		if (!meridian_copied_stands(s, lfirst(lc)))
		{
			give_up();
			return;
		}
	}
	own_account();
	done = meridian_kept_do(ms);
	account_of_stream();
	if (!done)
		return;
	meridian_kept_reset();
	say(psprintf("waits for what \"%s\" had written by the end of the copy", meridian_apply.origin));
	phase = COVER_CATCHING_UP;
	stepped_to = InvalidXLogRecPtr;
	catch_up_by = TimestampTzPlusMilliseconds(meridian_instant(), CATCH_UP_MS);
}

/* As much is kept as may be, or nothing is to end this copy.  Who sends must hear of us all the same. */
static void
wait_for_copier(void)
{
	while (phase == COVER_COPYING)
	{
		(void) meridian_positions_report_due();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		meridian_apply_heed();
		look_at_copier();
	}
	while (phase == COVER_REPEATING)
	{
		(void) meridian_positions_report_due();
		meridian_apply_heed();
		repeat(SLICE_MS);
	}
}

/* The stream stands still, and what is applied of it is acknowledged. */
void
meridian_cover_copy(const char *conninfo)
{
	MemoryContext old = CurrentMemoryContext;

	switch (phase)
	{
		case COVER_LENT:
			borrow(conninfo);
			break;
		case COVER_IMAGE:
			define(conninfo);
			break;
		case COVER_READY:
			begin_copy();
			break;
		default:
			wait_for_copier();
			break;
	}
	MemoryContextSwitchTo(old);
}

/* Step 5 is done: everything up to the image's end is applied. */
static void
caught_up(void)
{
	List	   *whole = held;
	MemoryContext old = CurrentMemoryContext;

	held = NIL;
	disturbed = 0;
	meridian_mark_copied(whole);
	MemoryContextSwitchTo(old);
	give_up();
	say(NULL);
	next_look(0);				/* there may be more by now */
}

/* The transaction at hand changes this table; InvalidOid: one that does not exist here. */
void
meridian_cover_touch(Oid relid)
{
	if ((phase == COVER_SETTLING || phase == COVER_READY) && !defining)
		touched |= !OidIsValid(relid) || list_member_oid(watched, relid);
}

/*
 * The transaction at hand does to this table what cannot be told apart by rows;
 * InvalidOid: to any.  Called before it takes a lock that the copier is in the way of.
 */
void
meridian_cover_disturb(Oid relid)
{
	touched |= defining || !OidIsValid(relid) || list_member_oid(watched, relid);
	if (OidIsValid(relid) && !meridian_cover_holds(relid))
		return;
	if (phase >= COVER_COPYING)
	{
		disturbed += !OidIsValid(relid);
		give_up();
	}
}

/* A table is described anew: what is kept of it could not be read any more. */
void
meridian_cover_redefine(Oid relid)
{
	if ((phase == COVER_COPYING || phase == COVER_REPEATING) && meridian_cover_holds(relid))
		give_up();
}

/* Is this table still what is copied, and not another one by now that has its name? */
bool
meridian_cover_holds(Oid relid)
{
	ListCell   *lc;

	foreach(lc, held)
	{
		if (((MeridianCopied *) lfirst(lc))->relid == relid)
			return true;
	}
	return false;
}

static bool
is_held(Oid relid, const char *partition, size_t len)
{
	ListCell   *lc;

	foreach(lc, held)
	{
		const MeridianCopied *c = lfirst(lc);

		if (c->relid == relid && (partition == NULL || (strlen(c->partition) == len &&
														memcmp(c->partition, partition, len) == 0)))
			return true;
	}
	return false;
}

/* What is to become of what the transaction at hand does to this partition? */
MeridianCover
meridian_cover_of(Oid relid, const char *partition, size_t len)
{
	const MeridianXact *x = &meridian_apply.xact;

	if (held == NIL || strcmp(x->origin, meridian_apply.origin) != 0 ||
		!is_held(relid, partition, len))
		return MERIDIAN_COVER_NONE;
	if (x->local_lsn <= meridian_image_end() && meridian_image_has(x->xid))
		return MERIDIAN_COVER_COPIED;
	return phase == COVER_CATCHING_UP ? MERIDIAN_COVER_NONE : MERIDIAN_COVER_BEHIND;
}

/* The transaction at hand says that a copy does not count which has not what it did. */
void
meridian_cover_outdate(void)
{
	const MeridianXact *x = &meridian_apply.xact;

	if (held != NIL && !(x->local_lsn <= meridian_image_end() && meridian_image_has(x->xid)))
		meridian_cover_disturb(InvalidOid);
}

/* Are changes not here yet that the stream has brought? */
bool
meridian_cover_is_behind(void)
{
	return held != NIL && phase != COVER_CATCHING_UP;
}

/* An own transaction of the region was applied. */
void
meridian_cover_applied(uint32 xid)
{
	bool		matters = touched;

	touched = false;
	if (!matters || (phase != COVER_SETTLING && phase != COVER_IMAGE && phase != COVER_READY))
		return;
	if (!meridian_image_remember(xid))
		give_up();
}

/*
 * Is the stream to be held now, for meridian_cover_copy()?  next is the end of
 * the transaction that is about to be applied, or how far everything is applied.
 */
bool
meridian_cover_due(XLogRecPtr next, bool applied)
{
	return phase == COVER_READY || phase == COVER_LENT ||
		((phase == COVER_COPYING || phase == COVER_REPEATING) &&
		 (disturbed >= DISTURBED_MAX || meridian_kept_size() >> 20 >= (uint64) meridian_kept_limit_mb)) ||
		(phase == COVER_IMAGE && (applied ? next >= meridian_image_end() : next > meridian_image_end()));
}

/*
 * Between transactions, often.  applied: there is nothing to apply before this.
 * What blocks is done at most once in TRY_EVERY_MS, however long it takes.  While
 * the region hands over another's changes, it can lend, but its own positions and
 * transactions alone do not say what its snapshots hold.
 */
void
meridian_cover_tend(const char *conninfo, XLogRecPtr applied, bool forwarding)
{
	bool		gaps;
	bool		missing;

	if (phase == COVER_COPYING)
		look_at_copier();
	if (phase == COVER_REPEATING)
		repeat(SLICE_MS);
	if (phase == COVER_CATCHING_UP && applied > stepped_to)
	{
		stepped_to = applied;
		catch_up_by = TimestampTzPlusMilliseconds(meridian_instant(), CATCH_UP_MS);
	}
	if (phase == COVER_CATCHING_UP && applied >= meridian_image_end())
		caught_up();
	else if ((phase == COVER_CATCHING_UP || phase == COVER_IMAGE) &&
			 meridian_instant() > catch_up_by)
		give_up();
	if (phase >= COVER_COPYING || phase == COVER_IMAGE || meridian_instant() < look_after)
		return;
	if (phase == COVER_IDLE)
	{
		look(&gaps, &missing);
		defining = !gaps;
		if (lent != NIL && !(gaps && borrowed && !forwarding))
			phase = COVER_LENT;
		else if ((gaps || missing) && !forwarding)
			start(conninfo, gaps);
		else
			say(NULL);
		borrowed = phase == COVER_LENT;
		if (lent == NIL)
			set_lends_not(false);
	}
	if (phase == COVER_SETTLING)
		settle();
	next_look(phase == COVER_IDLE ? LOOK_EVERY_MS : TRY_EVERY_MS);
}
