/*-------------------------------------------------------------------------
 *
 * positions.c
 *	  How far an apply worker is: what is applied, what of that is on disk, and
 *	  what the sender hears of it.
 *
 * Local commits do not wait for the disk; when nothing more has arrived, or
 * after a few milliseconds, one flush covers all of them and the sender hears of
 * it at once.  A home that waits for remote acknowledgements thus waits for one
 * flush, and a busy stream shares them.
 *
 * Two positions go back.  "Written" is what is durable here.  "Flushed" is the
 * discard position: the sender's slot may drop what lies before it, and so it
 * stays behind every note "origin O up to x stands before here" until our own
 * position of O has reached x.  It starts from the slot's own, because sending
 * less would move a slot backwards.
 *
 * A third position stays here and decides cuts: an origin's applied position is
 * what its replication origin says, and only once that is on disk.  So it can be
 * read again by whoever comes after this worker, however the worker ended, and a
 * crash takes nothing back that was said.  What keepalives bring counts for the
 * sender but not there: writing it down would be news for those who stream from
 * us, and both sides would keep each other awake for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xloginsert.h"
#include "libpq/pqformat.h"
#include "replication/origin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker.h"

#define REPORT_EVERY_MS 500		/* feedback without news */
#define BACKLOG_MS 500			/* so far behind nobody waits for our word yet, ... */
#define BACKLOG_FLUSH_MS 1000	/* ... and the WAL writer may flush for us this long */

int			meridian_part_count;
MeridianPart meridian_parts[MRD_REGIONS_MAX + 1];

static RepOriginId session_origin;	/* set up now */

/* Positions of the connected region's WAL */
static XLogRecPtr done_lsn;		/* applied or brought by keepalives, perhaps not yet durable */
static XLogRecPtr frame_lsn;	/* last position that notes cannot have missed */
static XLogRecPtr durable_lsn;	/* the same, durable */
static XLogRecPtr discard_lsn;	/* last reported */
static XLogRecPtr server_lsn;	/* end of its WAL as last heard */
static XLogRecPtr mark_local;	/* followed to the disk ... */
static XLogRecPtr mark_done;	/* ... and what is durable then */
static XLogRecPtr last_local;	/* of our WAL: what done_lsn needs flushed */
static TimestampTz dirty_since; /* 0: nothing to flush or to report */
static TimestampTz last_report;
static StringInfoData feedback;

static int	note_count;
static MeridianNote notes[MERIDIAN_NOTES_MAX];
static int	noted_count;
static MeridianNote noted[MRD_REGIONS_MAX]; /* the furthest of each region in this stream */

/* ----------------------------------------------------------------
 * origins of this session, parts of the stream
 * ----------------------------------------------------------------
 */

void
meridian_origin_use(RepOriginId id)
{
	if (session_origin == id)
		return;
	if (session_origin != InvalidRepOriginId)
		replorigin_session_reset();
	session_origin = replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_setup(id);
	session_origin = replorigin_session_origin = id;
}

/*
 * Make a position durable that no commit record carries: of a transaction that
 * changed nothing here, or of a heartbeat.  The session must use that
 * origin.
 */
void
meridian_origin_advance(XLogRecPtr lsn)
{
	xl_replorigin_set record;
	XLogRecPtr	end;

	if (lsn <= replorigin_session_get_progress(false))
		return;
	memset(&record, 0, sizeof(record));
	record.remote_lsn = lsn;
	record.node_id = session_origin;
	record.force = false;
	XLogBeginInsert();
	XLogRegisterData((char *) &record, sizeof(record));
	end = XLogInsert(RM_REPLORIGIN_ID, XLOG_REPLORIGIN_SET);
	replorigin_session_advance(lsn, end);
	last_local = Max(last_local, end);
}

/* The origin is about to be dropped: nobody may use it. */
void
meridian_origin_drop(void)
{
	replorigin_session_reset();
	session_origin = replorigin_session_origin = InvalidRepOriginId;
}

MeridianPart *
meridian_part_forwarded(const char *region)
{
	for (int i = 1; i < meridian_part_count; i++)
	{
		if (strcmp(meridian_parts[i].region, region) == 0)
			return &meridian_parts[i];
	}
	return NULL;
}

void
meridian_part_begin_own(RepOriginId id)
{
	memset(meridian_own, 0, sizeof(*meridian_own));
	strlcpy(meridian_own->region, meridian_apply.origin, MRD_NAME_MAX);
	meridian_own->id = id;
	meridian_own->done_lsn = meridian_own->durable_lsn = replorigin_session_get_progress(true);
	meridian_part_count = 1;
}

/* ----------------------------------------------------------------
 * what is durable
 * ----------------------------------------------------------------
 */

static void
mark_dirty(void)
{
	if (dirty_since == 0)
		dirty_since = meridian_instant();
}

/* Positions are read under the lock by the agent, by walsenders, by each other. */
void
meridian_positions_publish(void)
{
	MeridianStream *s = meridian_apply.stream;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (durable_lsn > s->reached_lsn)
	{
		/* it gets on: the next failure is a new one */
		s->backoff_ms = 0;
		s->said[0] = '\0';
		s->unsaid = 0;
	}
	s->reached_lsn = Max(s->reached_lsn, durable_lsn);
	s->received_lsn = Max(Max(s->received_lsn, server_lsn), durable_lsn);
	for (int i = 0; i < meridian_part_count; i++)
	{
		MeridianStream *p = i == 0 ? s : meridian_stream_find(meridian_parts[i].region);

		if (p == NULL)
			continue;
		p->applied_lsn = Max(p->applied_lsn, meridian_parts[i].durable_lsn);
		p->received_lsn = Max(p->received_lsn, p->applied_lsn);
	}
	LWLockRelease(meridian_streams->lock);
}

/* What was known may be of another copy, if this one was made anew. */
void
meridian_positions_connected(void)
{
	MeridianStream *s = meridian_apply.stream;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (s->applied_lsn > meridian_own->durable_lsn)
		s->applied_lsn = s->reached_lsn = s->received_lsn = meridian_own->durable_lsn;
	LWLockRelease(meridian_streams->lock);
}

/* What the slot there says of us; InvalidXLogRecPtr: nothing yet. */
void
meridian_positions_slot(XLogRecPtr confirmed)
{
	discard_lsn = confirmed;
}

/* A stream begins, and our own part of it has begun. */
void
meridian_positions_begin(void)
{
	done_lsn = durable_lsn = meridian_own->done_lsn;
	frame_lsn = discard_lsn;
	server_lsn = InvalidXLogRecPtr;
	last_local = mark_local = InvalidXLogRecPtr;
	note_count = noted_count = 0;
	dirty_since = 0;
	last_report = meridian_instant();
}

/* Flush what was applied. */
void
meridian_positions_durable(void)
{
	if (last_local != InvalidXLogRecPtr)
		XLogFlush(last_local);
	durable_lsn = done_lsn;
	for (int i = 0; i < meridian_part_count; i++)
		meridian_parts[i].durable_lsn = meridian_parts[i].done_lsn;
	mark_local = InvalidXLogRecPtr;
	dirty_since = 0;
}

bool
meridian_positions_dirty(void)
{
	return dirty_since != 0;
}

/* ----------------------------------------------------------------
 * what arrives
 * ----------------------------------------------------------------
 */

void
meridian_positions_heard(XLogRecPtr end)
{
	server_lsn = Max(server_lsn, end);
}

/* All that ended before was sent before; for the sender only, see the top. */
void
meridian_positions_kept_alive(XLogRecPtr end)
{
	if (end <= done_lsn)
		return;
	done_lsn = end;
	mark_dirty();
}

void
meridian_part_reached(MeridianPart *part, XLogRecPtr lsn)
{
	part->done_lsn = Max(part->done_lsn, lsn);
	mark_dirty();
}

/* Nothing before this position is still to come, and what came is applied. */
void
meridian_positions_applied(XLogRecPtr lsn)
{
	done_lsn = Max(done_lsn, lsn);
	frame_lsn = Max(frame_lsn, lsn);
	mark_dirty();
}

void
meridian_positions_committed(XLogRecPtr local_end)
{
	last_local = Max(last_local, local_end);
}

XLogRecPtr
meridian_positions_done(void)
{
	return done_lsn;
}

/* ----------------------------------------------------------------
 * notes
 * ----------------------------------------------------------------
 */

static bool
note_counts(const MeridianNote *note, const struct mrd_snapshot *s)
{
	int			n = mrd_snapshot_region(s, note->region);

	return n >= 0 && n != s->self && s->regions[n].stream != MRD_STREAM_NONE;
}

void
meridian_positions_note(const char *region, XLogRecPtr lsn, XLogRecPtr at)
{
	/* full: make the last note of this region stand for both, on the safe side */
	for (int i = note_count - 1; note_count == MERIDIAN_NOTES_MAX && i >= 0; i--)
	{
		if (strcmp(notes[i].region, region) == 0)
		{
			notes[i].lsn = Max(notes[i].lsn, lsn);
			return;
		}
	}
	if (note_count == MERIDIAN_NOTES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("region \"%s\" noted too many origins", meridian_apply.origin)));
	strlcpy(notes[note_count].region, region, MRD_NAME_MAX);
	notes[note_count].lsn = lsn;
	notes[note_count].at = at;
	note_count++;
}

/* Drop the notes that are settled; how far may the sender discard? */
static XLogRecPtr
settle_notes(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	XLogRecPtr	limit = Min(frame_lsn, durable_lsn);
	int			kept = 0;

	for (int i = 0; i < note_count; i++)
	{
		if (s != NULL && (!note_counts(&notes[i], s) ||
						  meridian_stream_applied(notes[i].region) >= notes[i].lsn))
			continue;
		limit = Min(limit, notes[i].at);
		notes[kept++] = notes[i];
	}
	note_count = kept;
	return limit;
}

/* Everything of region up to lsn stands before this point of the stream. */
void
meridian_positions_remember(const char *region, XLogRecPtr lsn)
{
	int			i = 0;

	while (i < noted_count && strcmp(noted[i].region, region) != 0)
		i++;
	if (i == MRD_REGIONS_MAX)
		return;
	if (i == noted_count)
	{
		strlcpy(noted[i].region, region, MRD_NAME_MAX);
		noted[i].lsn = InvalidXLogRecPtr;
		noted_count++;
	}
	noted[i].lsn = Max(noted[i].lsn, lsn);
}

XLogRecPtr
meridian_apply_noted(const char *region)
{
	for (int i = 0; i < noted_count; i++)
	{
		if (strcmp(noted[i].region, region) == 0)
			return noted[i].lsn;
	}
	return InvalidXLogRecPtr;
}

/* ----------------------------------------------------------------
 * feedback
 * ----------------------------------------------------------------
 */

void
meridian_positions_report(void)
{
	TimestampTz now = meridian_instant();

	discard_lsn = Max(discard_lsn, settle_notes());
	if (feedback.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&feedback);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(&feedback);
	pq_sendbyte(&feedback, 'r');
	pq_sendint64(&feedback, (int64) durable_lsn);
	pq_sendint64(&feedback, (int64) discard_lsn);
	pq_sendint64(&feedback, (int64) durable_lsn);
	pq_sendint64(&feedback, now);
	pq_sendbyte(&feedback, 1);	/* answer, so that silence means something */
	if (PQputCopyData(meridian_apply.conn, feedback.data, feedback.len) <= 0 ||
		PQflush(meridian_apply.conn) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("lost region \"%s\": %s", meridian_apply.origin,
						pchomp(PQerrorMessage(meridian_apply.conn)))));
	last_report = now;
}

/* Without news, so that we are known to be there. */
bool
meridian_positions_report_due(void)
{
	if (!TimestampDifferenceExceeds(last_report, meridian_instant(), REPORT_EVERY_MS))
		return false;
	meridian_positions_report();
	return true;
}

/*
 * Does the sender keep what it has up to end, although it was told all?  Notes
 * can hold it back.
 */
bool
meridian_positions_held_back(XLogRecPtr end)
{
	return discard_lsn < end;
}

/* One flush for all that was applied since the last, and word of it. */
void
meridian_positions_flush(void)
{
	meridian_positions_durable();
	meridian_positions_report();
	meridian_positions_publish();
}

/*
 * A sender that is catching up has no commit waiting for our word: its waiters
 * are released only when it has sent everything.  The age of what we apply
 * tells; a clock that is wrong costs latency under load, nothing else.
 */
bool
meridian_positions_backlog(void)
{
	return TimestampDifferenceExceeds(meridian_apply.xact.commit_time, GetCurrentTimestamp(),
									  BACKLOG_MS);
}

/*
 * Under a backlog the WAL writer flushes; what it has flushed by now becomes
 * durable_lsn, and what we have written by now is looked at next.
 */
void
meridian_positions_follow(void)
{
	if (mark_local != InvalidXLogRecPtr && GetFlushRecPtr(NULL) >= mark_local)
	{
		durable_lsn = Max(durable_lsn, mark_done);
		for (int i = 0; i < meridian_part_count; i++)
		{
			MeridianPart *p = &meridian_parts[i];

			p->durable_lsn = Max(p->durable_lsn, p->mark_lsn);
		}
		mark_local = InvalidXLogRecPtr;
		meridian_positions_publish();
	}
	if (mark_local == InvalidXLogRecPtr)
	{
		mark_local = last_local;
		mark_done = done_lsn;
		for (int i = 0; i < meridian_part_count; i++)
			meridian_parts[i].mark_lsn = meridian_parts[i].done_lsn;
	}
}

/* Called after each message of a stream that does not fall silent. */
void
meridian_positions_flush_due(void)
{
	TimestampTz now;

	if (dirty_since == 0)
		return;
	now = meridian_instant();
	if (TimestampDifferenceExceeds(dirty_since, now,
								   meridian_positions_backlog() ? BACKLOG_FLUSH_MS : MERIDIAN_FLUSH_AFTER_MS))
		meridian_positions_flush();
}
