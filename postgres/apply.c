/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  The apply worker: one origin's stream, transaction by transaction.
 *
 * A remote transaction becomes one local transaction under the origin's
 * replication origin, so that its commit record carries the position: it is
 * applied once, whatever crashes.  Local commits do not wait for the disk; when
 * nothing more has arrived, or after a few milliseconds, one flush covers all
 * of them and the sender hears of it at once.  A home that waits for remote
 * acknowledgements thus waits for one flush, and a busy stream shares them.
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
 * Before each transaction, and again before its commit, the worker looks at the
 * snapshot: its own region's lease (without one it pauses, connected), its own
 * order, and the authority of every partition that the transaction was stamped
 * for: whether it counts, and whether all that counts of the epochs before it is
 * here.  Of an origin that another region hands over, it also looks whether that
 * is still the order.  A worker that is held up by a lock or a long statement
 * cannot look; the launcher ends it.  Its last positions are durable and known
 * before it is gone (on_exit_worker), and only then is the stream refused,
 * because cuts are decided on that report.
 *
 * No error skips a change.  The worker ends, the launcher starts another one,
 * and the transaction is tried again; links say why it waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_replication_origin.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/message.h"
#include "replication/walreceiver.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "apply.h"

#define NAP_MS 50				/* between looks at the orders while idle */
#define REPORT_EVERY_MS 500		/* feedback without news */
#define FLUSH_AFTER_MS 5		/* of a stream that does not fall silent */
#define BACKLOG_MS 500			/* so far behind nobody waits for our word yet, ... */
#define BACKLOG_FLUSH_MS 1000	/* ... and the WAL writer may flush for us this long */
#define FULL_IMAGES_FOR 100		/* accepted transactions after which they are not asked for again */
#define SPARE_WAIT_MS 10000		/* for a spare connection, when nothing presses */
#define SAY_WHY_MS 1000			/* a wait that long is worth a word in links */
#define SILENT_MS 15000			/* no byte for so long: the link is dead */

MeridianApply meridian_apply;

static MeridianWireReader reader;
static MeridianWireMsg msg;
static MeridianWireOut content;
static struct ZSTD_DCtx_s *decompressor;
static MemoryContext message_context;
static StringInfoData feedback;

static char *conninfo;			/* as of the last connection */
static RepOriginId session_origin;	/* set up now */
static bool joining;			/* a copy has begun, and no stream after it */

/* Positions of the connected region's WAL */
static XLogRecPtr done_lsn;		/* applied or brought by keepalives, perhaps not yet durable */
static XLogRecPtr frame_lsn;	/* last position that notes cannot have missed */
static XLogRecPtr durable_lsn;	/* the same, durable */
static XLogRecPtr discard_lsn;	/* last reported */
static XLogRecPtr server_lsn;	/* end of its WAL as last heard */
static XLogRecPtr header_lsn;	/* what the frame at hand says of itself */
static XLogRecPtr mark_local;	/* followed to the disk ... */
static XLogRecPtr mark_done;	/* ... and what is durable then */
static XLogRecPtr last_local;	/* of our WAL: what done_lsn needs flushed */
static TimestampTz dirty_since; /* 0: nothing to flush or to report */
static TimestampTz last_report;
static TimestampTz last_heard;

static int	note_count;
static MeridianNote notes[MERIDIAN_NOTES_MAX];
static int	noted_count;
static MeridianNote noted[MRD_REGIONS_MAX]; /* the furthest of each region in this stream */

/*
 * One origin's part of the stream, with positions in its own WAL.  The first is
 * the region we are connected to; the others are those that it hands over.
 */
typedef struct Part
{
	char		region[MRD_NAME_MAX];
	RepOriginId id;
	XLogRecPtr	done_lsn;		/* applied, perhaps not yet durable */
	XLogRecPtr	mark_lsn;		/* done_lsn when mark_local was taken */
	XLogRecPtr	durable_lsn;
	bool		closed;			/* not to be handed over any more */
} Part;

static int	part_count;
static Part parts[MRD_REGIONS_MAX + 1];
static Part *const own = &parts[0];

static const struct mrd_snapshot *present;	/* as of the last begin or commit */
static TimestampTz began;		/* this stream */
static bool streaming;			/* orders are heeded between messages */
static bool leave;				/* fenced or re-ordered: stop after this message */
static bool reconnect;			/* connect again, with other options */

/* ----------------------------------------------------------------
 * orders
 * ----------------------------------------------------------------
 */

static enum mrd_stream_order
present_order(const struct mrd_snapshot *s)
{
	int			n = s == NULL ? -1 : mrd_snapshot_region(s, meridian_apply.origin);

	return n < 0 ? MRD_STREAM_NONE : (enum mrd_stream_order) s->regions[n].stream;
}

/* Is the region at index to be handed over by the one we are connected to? */
static bool
ordered_from_us(const struct mrd_snapshot *s, int index)
{
	return index >= 0 && s->regions[index].stream == MRD_STREAM_FORWARD &&
		s->regions[index].via == mrd_snapshot_region(s, meridian_apply.origin);
}

static bool
may_hand_over(const Part *f, const struct mrd_snapshot *s)
{
	return !f->closed && (s == NULL || ordered_from_us(s, mrd_snapshot_region(s, f->region)));
}

/*
 * Called wherever we wait for another region outside the stream itself.  A
 * region that is being given up is often one that does not answer; whoever
 * waits for our refusal must not wait for that, too.
 */
void
meridian_apply_heed(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (!streaming && s != NULL && present_order(s) != MRD_STREAM_RUN)
		proc_exit(0);
}

static void
report_state(MeridianStreamState state)
{
	if (meridian_apply.stream->state != state || meridian_apply.stream->error[0] != '\0')
		meridian_stream_state(meridian_apply.stream, state, NULL);
}

static void send_feedback(void);
static void close_forward(Part *f);
static bool forwards_wanted(const struct mrd_snapshot *s);

/*
 * Wait until the region's own lease lets us apply; the snapshot that says so.
 * NULL: the order is not to run any more.
 */
static const struct mrd_snapshot *
may_go_on(void)
{
	for (;;)
	{
		const struct mrd_snapshot *s = meridian_snapshot_lately();

		if (s != NULL && present_order(s) != MRD_STREAM_RUN)
		{
			leave = true;
			return NULL;
		}
		if (s != NULL && mrd_may_apply(s, meridian_boot_ns()))
			return s;
		report_state(MERIDIAN_STREAM_PAUSED);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(last_report, meridian_instant(), REPORT_EVERY_MS))
			send_feedback();
	}
}

static int
partition_of(const struct mrd_snapshot *s, const MeridianWireStampEntry *stamp)
{
	int			n = mrd_snapshot_find(s, stamp->class_name, stamp->partition);

	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition %s/%s is not known here yet", stamp->class_name,
						stamp->partition)));
	return n;
}

/*
 * The epoch is older than is remembered.  Where all that counts of the epochs
 * before a later one is here already, what still comes of it is past its cut.
 * Elsewhere it may count, or not: nobody knows any more, so neither do we guess.
 */
static enum mrd_accept
forgotten(const MeridianWireStampEntry *stamp)
{
	if (meridian_settled_before(stamp->class_name, stamp->partition, stamp->epoch))
		return MRD_ACCEPT_TAIL;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("region \"%s\" sent a change of %s/%s from epoch " UINT64_FORMAT ", older than is remembered",
					meridian_apply.xact.origin, stamp->class_name, stamp->partition, stamp->epoch),
			 errhint("Copy it anew with: SELECT meridian.copy_again('%s').", meridian_apply.xact.origin)));
}

/* What the authorities in s say of the transaction's stamps, the worst of all. */
static enum mrd_accept
verdict(const struct mrd_snapshot *s)
{
	int			region = s == NULL ? -1 : mrd_snapshot_region(s, meridian_apply.xact.origin);
	enum mrd_accept worst = MRD_ACCEPT;

	if (region < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" is not in the snapshot", meridian_apply.xact.origin)));
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		int			n = partition_of(s, &meridian_apply.xact.stamps.entries[i]);
		enum mrd_accept a;

		a = mrd_authority_accepts(&s->partitions[n].authority, (mrd_region) region,
								  meridian_apply.xact.stamps.entries[i].epoch,
								  meridian_apply.xact.lsn);
		if (a == MRD_ACCEPT_GONE)
			a = forgotten(&meridian_apply.xact.stamps.entries[i]);
		worst = Max(worst, a);
	}
	return worst;
}

/* ----------------------------------------------------------------
 * positions
 * ----------------------------------------------------------------
 */

static void
use_origin(RepOriginId id)
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
static void
advance_origin(XLogRecPtr lsn)
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

static void
mark_dirty(void)
{
	if (dirty_since == 0)
		dirty_since = meridian_instant();
}

static Part *
forward_of(const char *region)
{
	for (int i = 1; i < part_count; i++)
	{
		if (strcmp(parts[i].region, region) == 0)
			return &parts[i];
	}
	return NULL;
}

/* Positions are read under the lock by the agent, by walsenders, by each other. */
static void
publish_positions(void)
{
	MeridianStream *s = meridian_apply.stream;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s->reached_lsn = Max(s->reached_lsn, durable_lsn);
	s->received_lsn = Max(Max(s->received_lsn, server_lsn), durable_lsn);
	s->backoff_ms = 0;
	for (int i = 0; i < part_count; i++)
	{
		MeridianStream *p = i == 0 ? s : meridian_stream_find(parts[i].region);

		if (p == NULL)
			continue;
		p->applied_lsn = Max(p->applied_lsn, parts[i].durable_lsn);
		p->received_lsn = Max(p->received_lsn, p->applied_lsn);
	}
	LWLockRelease(meridian_streams->lock);
}

/* A stream begins: what was known may be of another copy, if this one was made anew. */
static void
forget_positions(void)
{
	MeridianStream *s = meridian_apply.stream;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (s->applied_lsn > own->durable_lsn)
		s->applied_lsn = s->reached_lsn = s->received_lsn = own->durable_lsn;
	LWLockRelease(meridian_streams->lock);
}

/* All that was applied is on disk. */
static void
all_is_durable(void)
{
	durable_lsn = done_lsn;
	for (int i = 0; i < part_count; i++)
		parts[i].durable_lsn = parts[i].done_lsn;
	mark_local = InvalidXLogRecPtr;
	dirty_since = 0;
}

/* Is the transaction at hand one that this stream should bring? */
static bool
still_ours(const struct mrd_snapshot *s)
{
	return meridian_apply.xact.origin_id == own->id ||
		may_hand_over(forward_of(meridian_apply.xact.origin), s);
}

/* ---- notes ---- */

static bool
note_counts(const MeridianNote *note, const struct mrd_snapshot *s)
{
	int			n = mrd_snapshot_region(s, note->region);

	return n >= 0 && n != s->self && s->regions[n].stream != MRD_STREAM_NONE;
}

static void
add_note(const char *region, XLogRecPtr lsn, XLogRecPtr at)
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

/* ---- feedback ---- */

static void
send_feedback(void)
{
	TimestampTz now = meridian_instant();

	discard_lsn = Max(discard_lsn, settle_notes());
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

/* One flush for all that was applied since the last, and word of it. */
static void
flush_and_report(void)
{
	if (last_local != InvalidXLogRecPtr)
		XLogFlush(last_local);
	all_is_durable();
	send_feedback();
	publish_positions();
}

/*
 * A sender that is catching up has no commit waiting for our word: its waiters
 * are released only when it has sent everything.  The age of what we apply
 * tells; a clock that is wrong costs latency under load, nothing else.
 */
static bool
is_backlog(void)
{
	return TimestampDifferenceExceeds(meridian_apply.xact.commit_time, GetCurrentTimestamp(),
									  BACKLOG_MS);
}

/*
 * Under a backlog the WAL writer flushes; what it has flushed by now becomes
 * durable_lsn, and what we have written by now is looked at next.
 */
static void
follow_wal_writer(void)
{
	if (mark_local != InvalidXLogRecPtr && GetFlushRecPtr(NULL) >= mark_local)
	{
		durable_lsn = Max(durable_lsn, mark_done);
		for (int i = 0; i < part_count; i++)
			parts[i].durable_lsn = Max(parts[i].durable_lsn, parts[i].mark_lsn);
		mark_local = InvalidXLogRecPtr;
		publish_positions();
	}
	if (mark_local == InvalidXLogRecPtr)
	{
		mark_local = last_local;
		mark_done = done_lsn;
		for (int i = 0; i < part_count; i++)
			parts[i].mark_lsn = parts[i].done_lsn;
	}
}

/* Called after each message of a stream that does not fall silent. */
static void
flush_when_due(void)
{
	TimestampTz now;

	if (dirty_since == 0)
		return;
	now = meridian_instant();
	if (TimestampDifferenceExceeds(dirty_since, now,
								   is_backlog() ? BACKLOG_FLUSH_MS : FLUSH_AFTER_MS))
		flush_and_report();
}

/* ----------------------------------------------------------------
 * transactions
 * ----------------------------------------------------------------
 */

/*
 * What is not a row goes into our own WAL again, under the origin: if this
 * region must hand the transaction over to another one, it is complete.
 */
static void
repeat_message(const char *prefix, const void *payload, size_t len)
{
	if (!meridian_apply.xact.tail)
		(void) LogLogicalMessage(prefix, payload, len, true);
}

static void
repeat_stamps(void)
{
	static MeridianWireOut out;

	if (meridian_apply.xact.stamps.count == 0 || meridian_apply.xact.tail)
		return;
	if (out.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		meridian_wire_out_init(&out);
		MemoryContextSwitchTo(old);
	}
	out.len = 0;
	meridian_wire_put_stamp(&out, &meridian_apply.xact.stamps);
	repeat_message(MERIDIAN_STAMP_PREFIX, out.data, out.len);
}

void
meridian_apply_start(void)
{
	SetCurrentStatementStartTimestamp();
	if (meridian_apply.xact.started)
		return;
	StartTransactionCommand();
	MemoryContextSwitchTo(message_context);
	meridian_apply.xact.started = true;
	repeat_stamps();
}

static void
abandon(void)
{
	AbortOutOfAnyTransaction();
	meridian_rows_abandon();
	meridian_apply.xact.open = meridian_apply.xact.started = false;
	MemoryContextSwitchTo(message_context);
}

/*
 * The transaction at hand must not be applied, and part of it may have been:
 * run it again from its start as lost tail.
 */
void
meridian_apply_put_aside(const char *why)
{
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	strlcpy(meridian_apply.stream->tail_origin, meridian_apply.xact.origin, MRD_NAME_MAX);
	meridian_apply.stream->tail_lsn = meridian_apply.xact.lsn;
	meridian_apply.stream->full_images = true;
	LWLockRelease(meridian_streams->lock);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the transaction of region \"%s\" at %X/%X is put aside: %s",
					meridian_apply.xact.origin, LSN_FORMAT_ARGS(meridian_apply.xact.lsn), why)));
}

/* A replica yielded to the home: count it, in the same transaction. */
void
meridian_apply_count(const char *schema_name, const char *table_name, const char *kind)
{
	static const char add[] =
	"INSERT INTO meridian.conflict_count AS c (origin, relation, kind, count) "
	"VALUES ($1, $2, $3, 1) ON CONFLICT (origin, relation, kind) "
	"DO UPDATE SET count = c.count + 1, last_at = pg_catalog.clock_timestamp()";
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];

	values[0] = CStringGetTextDatum(meridian_apply.xact.origin);
	values[1] = CStringGetTextDatum(quote_qualified_identifier(schema_name, table_name));
	values[2] = CStringGetTextDatum(kind);
	SPI_connect();
	if (SPI_execute_with_args(add, 3, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not count a conflict");
	SPI_finish();
}

/* Everything after this belongs to the lost tail. */
static void
turn_to_tail(void)
{
	if (meridian_apply.xact.tail)
		return;
	if (meridian_apply.xact.started)
		meridian_apply_put_aside("part of it is past the cut");
	if (!meridian_apply.full_images)
		meridian_apply_put_aside("its images before the change are needed");
	meridian_apply.xact.tail = true;
	meridian_tail_begin();
}

static void
malformed_position(XLogRecPtr lsn)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent a position that cannot be: %X/%X", meridian_apply.origin,
					LSN_FORMAT_ARGS(lsn))));
}

/*
 * Nothing in a frame is later than the frame.  A position that is too high would
 * make us leave out all that is really before it.
 */
static void
check_position(XLogRecPtr lsn)
{
	if (lsn > header_lsn)
		malformed_position(lsn);
}

/*
 * A forwarded origin's changes past its cut have begun, so all that counts has
 * been handed over.  The rest has to come from the origin itself: the tail in it
 * was put aside where it passed, and is not in this stream.
 */
static void
end_forward(Part *f, XLogRecPtr cut)
{
	use_origin(f->id);
	advance_origin(cut);
	f->done_lsn = Max(f->done_lsn, cut);
	flush_and_report();
	close_forward(f);
}

/* The part that the transaction belongs to; NULL: it is not to be handed over any more. */
static Part *
begin_part(void)
{
	Part	   *p;
	XLogRecPtr	cut;

	if (msg.region[0] == '\0')
	{
		if (msg.lsn != msg.local_lsn)
			malformed_position(msg.lsn);
		return own;
	}
	p = forward_of(msg.region);
	if (p == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent changes of \"%s\", for which it was not asked",
						meridian_apply.origin, msg.region)));
	if (!may_hand_over(p, present))
		return NULL;
	cut = meridian_furthest_cut(present, p->region);
	if (msg.lsn > cut)
	{
		end_forward(p, cut);
		return NULL;
	}
	return p;
}

/* A gap is closed here, before anything more is applied (cover.c). */
static void
cover(void)
{
	/* should the order change meanwhile: what is applied is durable, as in stop() */
	flush_and_report();
	streaming = false;
	meridian_cover_copy(conninfo);
	streaming = true;
	last_heard = meridian_instant();
}

static void
on_begin(void)
{
	MeridianXact *x = &meridian_apply.xact;
	Part	   *p;

	if (meridian_cover_due(msg.local_lsn, false))
		cover();
	present = may_go_on();
	if (present == NULL)
		return;
	report_state(MERIDIAN_STREAM_RUNNING);
	p = begin_part();
	if (p == NULL)
	{
		reconnect = true;
		return;
	}
	strlcpy(x->origin, p->region, MRD_NAME_MAX);
	x->origin_id = p->id;
	x->open = true;
	x->started = x->tail = false;
	x->number++;
	x->lsn = msg.lsn;
	x->local_lsn = msg.local_lsn;
	x->commit_time = msg.commit_time;
	x->xid = msg.xid;
	x->stamps.count = 0;
	x->careful = x->local_lsn <= meridian_apply.stream->careful_until;
	use_origin(x->origin_id);
	if (x->lsn <= replorigin_session_get_progress(false))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a transaction of \"%s\" again", meridian_apply.origin,
						x->origin)));
	if (meridian_apply.stream->tail_lsn == x->lsn &&
		strcmp(meridian_apply.stream->tail_origin, x->origin) == 0)
		turn_to_tail();
}

/*
 * Our positions of all regions, by index in s; 0 where there never was a stream.
 * What the sender forwards stands before its own changes in its WAL if it does
 * in time, and a home writes nothing before it has the past itself: in its own
 * transactions everything forwarded is here, whatever position we know.
 */
static void
positions(const struct mrd_snapshot *s, mrd_lsn ret[MRD_REGIONS_MAX])
{
	memset(ret, 0, sizeof(mrd_lsn) * MRD_REGIONS_MAX);
	for (int i = 0; i < s->region_count; i++)
	{
		Part	   *f = forward_of(s->regions[i].name);

		if (f != NULL && meridian_apply.xact.origin_id == own->id)
			ret[i] = PG_UINT64_MAX;
		else
			ret[i] = Max(meridian_stream_applied(s->regions[i].name), f == NULL ? 0 : f->done_lsn);
	}
}

/* Is all here that the transaction's epochs begin from, and known how they end? */
static bool
past_is_here(const struct mrd_snapshot *s)
{
	MeridianWireStamp *all = &meridian_apply.xact.stamps;
	int			origin = mrd_snapshot_region(s, meridian_apply.xact.origin);
	mrd_lsn		applied[MRD_REGIONS_MAX];
	bool		known = false;

	for (int i = 0; i < all->count; i++)
	{
		const struct mrd_authority *a = &s->partitions[partition_of(s, &all->entries[i])].authority;

		if (!mrd_authority_settled(a, (mrd_region) origin, all->entries[i].epoch))
			return false;
		if (a->history_count == 0 && all->entries[i].epoch <= a->epoch)
			continue;			/* the usual case, for nothing */
		if (!known)
			positions(s, applied);
		known = true;
		if (!mrd_authority_complete(a, s->self, (mrd_region) origin, all->entries[i].epoch, applied))
			return false;
	}
	return true;
}

/*
 * A new home's first changes may be here before the last ones of the home
 * before it, which come another way: wait for those.  They may also be meant to
 * come by this very stream, started anew.  false: this transaction must end here.
 */
static bool
wait_for_past(void)
{
	TimestampTz since = meridian_instant();

	if (dirty_since != 0)
		flush_and_report();		/* of what came before */
	while (!past_is_here(present))
	{
		present = may_go_on();
		if (present == NULL)
			return false;
		if (forwards_wanted(present) || !still_ours(present))
		{
			reconnect = true;
			return false;
		}
		if (TimestampDifferenceExceeds(since, meridian_instant(), SAY_WHY_MS) &&
			meridian_apply.stream->state != MERIDIAN_STREAM_WAITING)
			meridian_stream_state(meridian_apply.stream, MERIDIAN_STREAM_WAITING,
								  "what an earlier home wrote is not here, or not decided, yet");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(last_report, meridian_instant(), REPORT_EVERY_MS))
			send_feedback();
	}
	report_state(MERIDIAN_STREAM_RUNNING);
	return true;
}

static void
on_stamp(void)
{
	static MeridianWireStamp more;
	enum mrd_accept accept;
	MeridianWireStamp *all = &meridian_apply.xact.stamps;
	int			rc = meridian_wire_read_stamp(msg.payload, msg.payload_len, &more);

	if (rc != MRD_OK || all->count + more.count > MERIDIAN_WIRE_STAMPS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed stamp: %s", meridian_apply.origin,
						mrd_strerror(rc))));
	memcpy(&all->entries[all->count], more.entries, sizeof(more.entries[0]) * (size_t) more.count);
	all->count += more.count;
	accept = verdict(present);
	if (accept == MRD_ACCEPT && !meridian_apply.xact.tail && !past_is_here(present))
	{
		if (!wait_for_past())
			return;
		accept = verdict(present);
	}
	switch (accept)
	{
		case MRD_ACCEPT:
			if (meridian_apply.xact.started)
				repeat_message(MERIDIAN_STAMP_PREFIX, msg.payload, msg.payload_len);
			break;
		case MRD_ACCEPT_TAIL:
		case MRD_ACCEPT_GONE:
			turn_to_tail();
			break;
	}
}

static bool
schema_stamped(void)
{
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		if (strcmp(meridian_apply.xact.stamps.entries[i].class_name, MRD_CLASS_SCHEMA) == 0)
			return true;
	}
	return false;
}

static void
run_ddl(const MeridianWireDdl *ddl)
{
	char	   *text = pnstrdup(ddl->text, ddl->text_len);
	char	   *path = pnstrdup(ddl->search_path, ddl->search_path_len);
	Oid			role = get_role_oid(ddl->role, true);
	Oid			saved_user;
	int			saved_context;
	int			nest;

	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\", which ran a statement at the schema's home, does not exist here",
						ddl->role),
				 errhint("Roles belong to each region: create it here.")));
	pg_verifymbstr(text, (int) ddl->text_len, false);
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(role, saved_context | SECURITY_LOCAL_USERID_CHANGE);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(text, false, 0) < 0)
		elog(ERROR, "could not run the statement: %s", text);
	SPI_finish();
	PopActiveSnapshot();
	SetUserIdAndSecContext(saved_user, saved_context);
	AtEOXact_GUC(true, nest);
	CommandCounterIncrement();
}

static void
on_ddl(void)
{
	MeridianWireDdl ddl;
	int			rc = meridian_wire_read_ddl(msg.payload, msg.payload_len, &ddl);

	if (rc != MRD_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed statement: %s", meridian_apply.origin,
						mrd_strerror(rc))));
	if (!schema_stamped())
		meridian_apply_put_aside("a statement that no guard stamped");
	meridian_apply_start();
	meridian_cover_disturb();
	meridian_rows_close();
	run_ddl(&ddl);
	repeat_message(MERIDIAN_DDL_PREFIX, msg.payload, msg.payload_len);
}

static void
on_change(void)
{
	if (meridian_apply.xact.tail)
	{
		meridian_tail_change(&msg);
		return;
	}
	meridian_apply_start();
	meridian_rows_change(&msg);
}

static void
on_statement(void)
{
	if (meridian_apply.xact.tail)
	{
		meridian_tail_statement(&msg);
		return;
	}
	if (msg.type == MERIDIAN_WIRE_DDL)
	{
		on_ddl();
		return;
	}
	meridian_apply_start();
	meridian_rows_truncate(&msg);
}

static void
on_decision(void)
{
	/* in the lost tail of a home, what it said of another's tail is only news of that */
	if (meridian_apply.xact.tail && msg.type != MERIDIAN_WIRE_ENTRY)
		return;
	meridian_apply_start();
	switch (msg.type)
	{
		case MERIDIAN_WIRE_REPAIR:
			meridian_cover_disturb();
			meridian_repair(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_REPAIR_PREFIX, msg.payload, msg.payload_len);
			break;
		case MERIDIAN_WIRE_ENTRY:
			meridian_entry(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_ENTRY_PREFIX, msg.payload, msg.payload_len);
			break;
		default:
			meridian_resolve(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_RESOLVE_PREFIX, msg.payload, msg.payload_len);
			break;
	}
}

/* The commit record carries the position. */
static void
commit_local(void)
{
	replorigin_session_origin_lsn = meridian_apply.xact.lsn;
	replorigin_session_origin_timestamp = meridian_apply.xact.commit_time;
	meridian_rows_close();
	CommitTransactionCommand();
	last_local = Max(last_local, XactLastCommitEnd);
	pgstat_report_stat(false);
	MemoryContextSwitchTo(message_context);
}

static void
after_commit(void)
{
	static int	accepted = 0;	/* since the last of the tail */
	MeridianXact *x = &meridian_apply.xact;
	Part	   *p = x->origin_id == own->id ? own : forward_of(x->origin);

	/* what no commit record carried */
	if (!x->started)
		advance_origin(x->lsn);
	p->done_lsn = Max(p->done_lsn, x->lsn);
	if (p != own)
	{
		/* the slot may follow to here, and must not overtake our position */
		use_origin(own->id);
		advance_origin(x->local_lsn);
		own->done_lsn = Max(own->done_lsn, x->local_lsn);
	}
	done_lsn = Max(done_lsn, x->local_lsn);
	frame_lsn = Max(frame_lsn, x->local_lsn);
	x->open = x->started = false;
	meridian_apply.stream->transactions++;
	if (p == own)
		meridian_cover_applied(x->xid);
	if (x->tail)
	{
		meridian_apply.stream->tail_lsn = InvalidXLogRecPtr;
		accepted = 0;
	}
	else if (++accepted == FULL_IMAGES_FOR)
		meridian_apply.stream->full_images = false; /* from the next connection on */
	mark_dirty();
}

static void
on_commit(void)
{
	MeridianXact *x = &meridian_apply.xact;

	if (!x->open)
		return;
	check_position(msg.local_lsn);
	if (msg.local_lsn != x->local_lsn)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent the end of another transaction", meridian_apply.origin)));
	present = may_go_on();
	if (present == NULL)
		return;
	if (!still_ours(present))
	{
		reconnect = true;		/* which abandons it */
		return;
	}
	if (!x->tail && verdict(present) != MRD_ACCEPT)
		meridian_apply_put_aside("its authority ended meanwhile");
	if (x->started)
		commit_local();
	after_commit();
}

/* ----------------------------------------------------------------
 * the other messages
 * ----------------------------------------------------------------
 */

static void
on_hello(void)
{
	if (strcmp(msg.region, meridian_apply.origin) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("expected region \"%s\" but reached \"%s\"", meridian_apply.origin, msg.region)));
	if (strcmp(msg.encoding, GetDatabaseEncodingName()) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("region \"%s\" has the encoding %s, this one %s", msg.region,
						msg.encoding, GetDatabaseEncodingName())));
}

/* Nothing before this position is still to come. */
static void
on_position(XLogRecPtr lsn)
{
	check_position(lsn);
	done_lsn = Max(done_lsn, lsn);
	frame_lsn = Max(frame_lsn, lsn);
	use_origin(own->id);
	advance_origin(lsn);
	own->done_lsn = Max(own->done_lsn, lsn);
	mark_dirty();
}

/*
 * Between transactions: what we write on our own account because of this origin.
 * Not under its name.  Who waits for our word on what came before has it first.
 */
static void
tend(const struct mrd_snapshot *s)
{
	mrd_lsn		applied[MRD_REGIONS_MAX] = {0};

	if (s == NULL || meridian_apply.xact.open || !mrd_may_apply(s, meridian_boot_ns()))
		return;
	for (int i = 0; i < s->region_count; i++)
		applied[i] = meridian_stream_applied(s->regions[i].name);
	replorigin_session_origin = InvalidRepOriginId;
	meridian_settled_note(s, applied);
	if (meridian_repairs_due(s))
	{
		if (dirty_since != 0)
			flush_and_report();
		meridian_repairs_send();
	}
	replorigin_session_origin = session_origin;
	MemoryContextSwitchTo(message_context);
}

static void
on_heartbeat(void)
{
	MeridianStream *s = meridian_apply.stream;

	tend(meridian_snapshot());	/* between transactions, however busy the stream is */
	on_position(msg.local_lsn);
	flush_and_report();
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (msg.session > s->through_session ||
		(msg.session == s->through_session && msg.boot_ms > s->through_boot_ms))
	{
		s->through_session = msg.session;
		s->through_boot_ms = msg.boot_ms;
	}
	LWLockRelease(meridian_streams->lock);
}

/* Everything of region up to lsn stands before this point of the stream. */
static void
remember_noted(const char *region, XLogRecPtr lsn)
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

const char *
meridian_apply_origin(XLogRecPtr *lsn)
{
	*lsn = meridian_apply.xact.lsn;
	return meridian_apply.xact.origin;
}

static void
on_origin(void)
{
	Part	   *f = forward_of(msg.region);
	const struct mrd_snapshot *s;
	XLogRecPtr	lsn;

	remember_noted(msg.region, msg.lsn);
	if (f == NULL)
	{
		add_note(msg.region, msg.lsn, msg.local_lsn);
		return;
	}
	/* all of a forwarded origin up to there has been handed over already */
	s = meridian_snapshot_lately();
	if (s == NULL || !may_hand_over(f, s))
		return;
	lsn = Min(msg.lsn, meridian_furthest_cut(s, f->region));
	use_origin(f->id);
	advance_origin(lsn);
	f->done_lsn = Max(f->done_lsn, lsn);
	mark_dirty();
}

static void
dispatch(void)
{
	if (!meridian_apply.xact.open)
	{
		switch (msg.type)
		{
			case MERIDIAN_WIRE_HELLO:
				on_hello();
				return;
			case MERIDIAN_WIRE_BEGIN:
				on_begin();
				return;
			case MERIDIAN_WIRE_HEARTBEAT:
				on_heartbeat();
				return;
			case MERIDIAN_WIRE_ORIGIN:
				on_origin();
				return;
			case MERIDIAN_WIRE_POSITION:
				on_position(msg.local_lsn);
				return;
			default:
				return;			/* of a transaction that we are leaving */
		}
	}
	switch (msg.type)
	{
		case MERIDIAN_WIRE_COMMIT:
			on_commit();
			break;
		case MERIDIAN_WIRE_RELATION:
			meridian_rows_learn(&msg.relation);
			break;
		case MERIDIAN_WIRE_INSERT:
		case MERIDIAN_WIRE_UPDATE:
		case MERIDIAN_WIRE_DELETE:
			on_change();
			break;
		case MERIDIAN_WIRE_TRUNCATE:
		case MERIDIAN_WIRE_DDL:
			on_statement();
			break;
		case MERIDIAN_WIRE_STAMP:
			on_stamp();
			break;
		case MERIDIAN_WIRE_REPAIR:
		case MERIDIAN_WIRE_RESOLVE:
		case MERIDIAN_WIRE_ENTRY:
			on_decision();
			break;
		default:
			break;
	}
}

/* ----------------------------------------------------------------
 * the stream
 * ----------------------------------------------------------------
 */

static void
malformed(int rc)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent malformed bytes: %s", meridian_apply.origin,
					mrd_strerror(rc))));
}

/* While a long transaction is applied, the sender must keep hearing of us. */
static void
stay_in_touch(void)
{
	TimestampTz now = meridian_instant();

	if (!TimestampDifferenceExceeds(last_report, now, REPORT_EVERY_MS))
		return;
	send_feedback();
	if (present_order(meridian_snapshot()) != MRD_STREAM_RUN)
		leave = true;
}

bool
meridian_apply_stay(void)
{
	CHECK_FOR_INTERRUPTS();
	stay_in_touch();
	return !leave;
}

static void
on_frame(const char *data, size_t len)
{
	int			rc;
	int			n = 0;

	content.len = 0;
	rc = meridian_wire_unpack(decompressor, data, len, &content);
	if (rc != MRD_OK)
		malformed(rc);
	meridian_wire_feed(&reader, content.data, content.len);
	while (!leave && !reconnect && (rc = meridian_wire_next(&reader, &msg)) == 1)
	{
		MemoryContextSwitchTo(message_context);
		dispatch();
		MemoryContextReset(message_context);
		if (++n % 64 == 0)
			stay_in_touch();
		CHECK_FOR_INTERRUPTS();
	}
	if (rc < 0)
		malformed(rc);
}

/*
 * A sender that wants an answer at once is shutting down.  It stays until our
 * discard position is the end of its WAL, which may be never: notes hold it
 * back.  But it has sent all that it has, and we know; so the connection ends.
 */
static void
on_farewell(XLogRecPtr end)
{
	flush_and_report();
	if (discard_lsn < end)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("region \"%s\" is shutting down", meridian_apply.origin)));
}

static void
on_keepalive(XLogRecPtr end, bool asked)
{
	server_lsn = Max(server_lsn, end);
	if (meridian_apply.xact.open)
		return;
	/* all that ended before was sent before; for the sender only, see the top */
	if (end > done_lsn)
	{
		done_lsn = end;
		mark_dirty();
	}
	if (asked)
		on_farewell(end);
}

static void
on_copy_data(char *data, int len)
{
	StringInfoData s;
	XLogRecPtr	lsn;

	if (len < 1)
		malformed(MRD_ESHORT);
	/* only read: what libpq handed out, for as long as the call lasts */
	s.data = data;
	s.len = s.maxlen = len;
	s.cursor = 0;
	switch (pq_getmsgbyte(&s))
	{
		case 'w':
			(void) pq_getmsgint64(&s);
			lsn = (XLogRecPtr) pq_getmsgint64(&s);
			(void) pq_getmsgint64(&s);
			server_lsn = Max(server_lsn, lsn);
			header_lsn = lsn;
			on_frame(data + s.cursor, (size_t) (len - s.cursor));
			break;
		case 'k':
			lsn = (XLogRecPtr) pq_getmsgint64(&s);
			(void) pq_getmsgint64(&s);
			on_keepalive(lsn, pq_getmsgbyte(&s) != 0);
			break;
		default:
			malformed(MRD_EFORMAT);
	}
}

static void
lost(void)
{
	char	   *why = pchomp(PQerrorMessage(meridian_apply.conn));

	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("lost region \"%s\": %s", meridian_apply.origin,
					why[0] == '\0' ? "it closed the connection" : why)));
}

/* true: something was read */
static bool
read_one(void)
{
	char	   *data = NULL;
	int			len = PQgetCopyData(meridian_apply.conn, &data, 1);

	if (len == 0)
	{
		if (!PQconsumeInput(meridian_apply.conn))
			lost();
		len = PQgetCopyData(meridian_apply.conn, &data, 1);
	}
	if (len == 0)
		return false;
	if (len < 0)
		lost();
	last_heard = meridian_instant();
	on_copy_data(data, len);	/* an error ends the process */
	PQfreemem(data);
	return true;
}

/*
 * Which origins are to be handed over by the region we are connected to?  Those
 * whose own workers have ended, as the launcher says, and of which something is
 * missing.
 */
static int
forward_list(const struct mrd_snapshot *s, const char *names[])
{
	int			n = 0;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	for (int i = 0; i < s->region_count; i++)
	{
		const MeridianStream *stream = meridian_stream_find(s->regions[i].name);

		if (ordered_from_us(s, i) && stream != NULL &&
			stream->state == MERIDIAN_STREAM_FORWARDED &&
			/* never copied from: what it wrote is in its successor's copy */
			stream->applied_lsn != InvalidXLogRecPtr &&
			stream->applied_lsn < meridian_furthest_cut(s, stream->origin))
			names[n++] = s->regions[i].name;
	}
	LWLockRelease(meridian_streams->lock);
	return n;
}

/* Is an origin to be handed over that this stream was not asked for? */
static bool
forwards_wanted(const struct mrd_snapshot *s)
{
	const char *names[MRD_REGIONS_MAX];
	int			n = forward_list(s, names);

	for (int i = 0; i < n; i++)
	{
		const Part *f = forward_of(names[i]);

		if (f == NULL || f->closed)
			return true;
	}
	return false;
}

/* From now on this process applies nothing of the origin; its positions stand. */
static void
close_forward(Part *f)
{
	MeridianStream *s;

	if (f->closed)
		return;
	f->closed = true;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(f->region);
	if (s != NULL && s->forwarder == MyProcPid)
		s->forwarder = 0;
	LWLockRelease(meridian_streams->lock);
}

/*
 * Let go of what is not to be handed over any more.  That needs no new
 * connection, and a pause in this stream is a pause for those who commit at its
 * home: it can wait for a spare one.  true: connect again.
 */
static bool
forwards_left(const struct mrd_snapshot *s)
{
	bool		any = false;

	for (int i = 1; i < part_count; i++)
	{
		if (!parts[i].closed && !may_hand_over(&parts[i], s))
		{
			flush_and_report();
			close_forward(&parts[i]);
		}
		any = any || parts[i].closed;
	}
	return any && (meridian_link_has_spare() ||
				   TimestampDifferenceExceeds(began, meridian_instant(), SPARE_WAIT_MS));
}

static void
look_at_orders(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	if (s == NULL)
		return;
	if (present_order(s) != MRD_STREAM_RUN)
		leave = true;
	else if (meridian_apply.xact.open)
	{
		if (!still_ours(s))
			reconnect = true;	/* which abandons it */
	}
	else if (forwards_left(s) || forwards_wanted(s))
		reconnect = true;
	else if (mrd_may_apply(s, meridian_boot_ns()))
	{
		report_state(MERIDIAN_STREAM_RUNNING);
		tend(s);
	}
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Nothing has arrived.  Someone may wait for our word on what we have, unless
 * the sender is catching up: then it has first what it can send at once.
 */
static void
idle(bool waited)
{
	TimestampTz now = meridian_instant();

	if (dirty_since != 0 && (waited || !is_backlog()))
		flush_and_report();
	else if (TimestampDifferenceExceeds(last_report, now, REPORT_EVERY_MS))
	{
		send_feedback();
		publish_positions();
	}
	if (TimestampDifferenceExceeds(last_heard, now, SILENT_MS))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("lost region \"%s\": it has been silent for %d s", meridian_apply.origin,
						SILENT_MS / 1000)));
	look_at_orders();
	if (!leave && !reconnect)
		meridian_link_wait(meridian_apply.conn, WL_SOCKET_READABLE,
						   dirty_since != 0 ? FLUSH_AFTER_MS : NAP_MS);
}

/* Between transactions: is there anything that this region ought to have and has not? */
static void
tend_cover(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (meridian_apply.xact.open || leave || reconnect || part_count > 1 || s == NULL ||
		!mrd_may_apply(s, meridian_boot_ns()))
		return;
	meridian_cover_tend(conninfo, done_lsn);
	if (meridian_cover_due(done_lsn, true))
		cover();
	MemoryContextSwitchTo(message_context);
	MemoryContextReset(message_context);
}

static void
stream(void)
{
	TimestampTz looked = 0;
	int			waits = 0;

	leave = reconnect = false;
	streaming = true;
	began = meridian_instant();
	last_heard = last_report = meridian_instant();
	while (!leave && !reconnect)
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_one())
			idle(waits++ > 0);
		else
		{
			waits = 0;
			flush_when_due();
		}
		if (TimestampDifferenceExceeds(looked, meridian_instant(), NAP_MS))
		{
			look_at_orders();
			follow_wal_writer();
			meridian_link_tend_spare(conninfo);
			tend_cover();
			looked = meridian_instant();
		}
	}
}

/* The order has changed, or the connection has failed: what is applied becomes durable. */
static void
stop(void)
{
	if (meridian_apply.xact.open)
		abandon();
	if (last_local != InvalidXLogRecPtr)
		XLogFlush(last_local);
	all_is_durable();
	publish_positions();
	for (int i = 1; i < part_count; i++)
		close_forward(&parts[i]);
	streaming = false;
}

/* ----------------------------------------------------------------
 * starting
 * ----------------------------------------------------------------
 */

static XLogRecPtr
lsn_from_text(const char *text)
{
	bool		error = false;
	XLogRecPtr	lsn = pg_lsn_in_internal(text, &error);

	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed position", meridian_apply.origin)));
	return lsn;
}

typedef enum SlotState
{
	SLOT_GONE,
	SLOT_LOST,					/* the WAL that it needs was removed */
	SLOT_FOUND
} SlotState;

/*
 * Look at our slot there.  A walsender that is still holding it belongs to an
 * earlier connection of ours and is told to go.
 */
static SlotState
find_slot(const char *slot, XLogRecPtr *confirmed, XLogRecPtr *end)
{
	char	   *sql = psprintf("SELECT confirmed_flush_lsn, plugin, wal_status, "
							   "pg_catalog.pg_current_wal_flush_lsn(), "
							   "pg_catalog.pg_terminate_backend(active_pid, 2000) "
							   "FROM pg_catalog.pg_replication_slots WHERE slot_name = %s",
							   meridian_link_literal(meridian_apply.conn, slot));
	PGresult   *res = meridian_link_exec(meridian_apply.conn, sql, PGRES_TUPLES_OK);
	SlotState	found = SLOT_GONE;

	if (PQntuples(res) == 1)
	{
		found = SLOT_FOUND;
		if (strcmp(PQgetvalue(res, 0, 1), "meridian") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("slot \"%s\" of region \"%s\" belongs to somebody else", slot,
							meridian_apply.origin)));
		if (strcmp(PQgetvalue(res, 0, 2), "lost") == 0)
			found = SLOT_LOST;
		else if (!PQgetisnull(res, 0, 0))
			*confirmed = lsn_from_text(PQgetvalue(res, 0, 0));
		*end = lsn_from_text(PQgetvalue(res, 0, 3));
	}
	PQclear(res);
	return found;
}

static void
begin_forward(const char *region)
{
	char		name[NAMEDATALEN];
	Part	   *f = &parts[part_count];
	MeridianStream *s;

	memset(f, 0, sizeof(*f));
	meridian_stream_name(region, name, sizeof(name));
	f->id = replorigin_by_name(name, true);
	if (f->id == InvalidRepOriginId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot take the changes of region \"%s\" from \"%s\": it was never copied here",
						region, meridian_apply.origin)));
	strlcpy(f->region, region, MRD_NAME_MAX);
	use_origin(f->id);
	f->done_lsn = f->durable_lsn = replorigin_session_get_progress(true);
	part_count++;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(region);
	if (s != NULL)
		s->forwarder = MyProcPid;
	LWLockRelease(meridian_streams->lock);
}

/*
 * The launcher takes an origin that nobody forwards for one that nobody applies,
 * so the order is looked at again after we have said that we do.
 */
static void
begin_forwards(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	const char *names[MRD_REGIONS_MAX];
	int			n = s == NULL ? 0 : forward_list(s, names);

	for (int i = 0; i < n; i++)
		begin_forward(pstrdup(names[i]));
	s = meridian_snapshot();
	for (int i = 1; i < part_count; i++)
	{
		if (!may_hand_over(&parts[i], s))
			close_forward(&parts[i]);
	}
}

static void
begin_own(RepOriginId id)
{
	memset(own, 0, sizeof(*own));
	strlcpy(own->region, meridian_apply.origin, MRD_NAME_MAX);
	own->id = id;
	own->done_lsn = own->durable_lsn = replorigin_session_get_progress(true);
	part_count = 1;
}

static void
start_streaming(const char *slot)
{
	StringInfoData cmd;

	initStringInfo(&cmd);
	appendStringInfo(&cmd, "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (\"wire\" '%d', \"region\" %s, \"own_from\" '%X/%X'",
					 slot, MERIDIAN_WIRE_VERSION,
					 meridian_link_literal(meridian_apply.conn, meridian_region),
					 LSN_FORMAT_ARGS(own->done_lsn));
	if (meridian_compression)
		appendStringInfoString(&cmd, ", \"compression\" 'zstd'");
	if (meridian_apply.full_images)
		appendStringInfoString(&cmd, ", \"images\" 'full'");
	for (int i = 1; i < part_count; i++)
		appendStringInfo(&cmd, "%s%s=%X/%X", i == 1 ? ", \"forward\" '" : ",", parts[i].region,
						 LSN_FORMAT_ARGS(parts[i].done_lsn));
	appendStringInfoString(&cmd, part_count > 1 ? "')" : ")");
	PQclear(meridian_link_exec(meridian_apply.conn, cmd.data, PGRES_COPY_BOTH));
	pfree(cmd.data);
}

static void
reset_stream(void)
{
	meridian_rows_forget();
	meridian_cover_reset();
	if (decompressor != NULL)
		meridian_wire_decompressor_free(decompressor);
	decompressor = meridian_wire_decompressor();
	if (decompressor == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memset(&reader, 0, sizeof(reader));
	memset(&meridian_apply.xact, 0, sizeof(meridian_apply.xact));
	meridian_apply.full_images = meridian_apply.stream->full_images;
	note_count = noted_count = 0;
	dirty_since = 0;
	last_local = mark_local = InvalidXLogRecPtr;
}

/*
 * Take the origin for this session, if there is one.  Someone may be dropping
 * it (meridian.copy_again): wait for the outcome, and be in the way of the next
 * who tries.
 */
static RepOriginId
take_origin(const char *name)
{
	RepOriginId id = replorigin_by_name(name, true);

	if (id != InvalidRepOriginId)
	{
		LockSharedObject(ReplicationOriginRelationId, id, 0, AccessShareLock);
		id = replorigin_by_name(name, true);
	}
	if (id != InvalidRepOriginId)
		use_origin(id);
	return id;
}

/*
 * An origin whose WAL ends before our position has had its data directory put
 * back to an earlier state.  Its stream would leave out all that it writes until
 * it gets there again; and which of the two copies is right, a person must say.
 */
static void
check_position_there(XLogRecPtr end)
{
	XLogRecPtr	applied = own->durable_lsn;

	if (end < applied)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" has gone back in time: its WAL ends at %X/%X and %X/%X is here",
						meridian_apply.origin, LSN_FORMAT_ARGS(end), LSN_FORMAT_ARGS(applied)),
				 errdetail("That region's data directory is older than what it has sent."),
				 errhint("Copy it anew with: SELECT meridian.copy_again('%s').", meridian_apply.origin)));
}

/* Find our position of the origin, or make a copy first. */
static void
find_origin(const char *slot)
{
	char		name[NAMEDATALEN];
	RepOriginId id;

	meridian_stream_name(meridian_apply.origin, name, sizeof(name));
	StartTransactionCommand();
	id = take_origin(name);
	CommitTransactionCommand();
	if (id == InvalidRepOriginId)
	{
		joining = true;
		part_count = 0;
		meridian_join(&meridian_apply, conninfo, slot);
		StartTransactionCommand();
		id = take_origin(name);
		CommitTransactionCommand();
	}
	MemoryContextSwitchTo(message_context);
	begin_own(id);
	joining = false;
}

static void
set_lost(bool lost)
{
	MeridianStream *s = meridian_apply.stream;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s->lost = lost;
	s->lost_slots += lost;
	LWLockRelease(meridian_streams->lock);
}

/*
 * The region has removed what we lack.  Its data directory is the same, so its
 * positions go on: forget ours, and join again.
 */
static void
copy_anew(const char *slot, const char *why)
{
	char		name[NAMEDATALEN];

	ereport(LOG,
			(errmsg("region \"%s\" has removed WAL that this region lacks: its rows are copied anew",
					meridian_apply.origin),
			 errdetail("%s", why)));
	set_lost(true);
	meridian_stream_name(meridian_apply.origin, name, sizeof(name));
	replorigin_session_reset();
	session_origin = replorigin_session_origin = InvalidRepOriginId;
	StartTransactionCommand();
	replorigin_drop_by_name(name, false, true);
	CommitTransactionCommand();
	MemoryContextSwitchTo(message_context);
	find_origin(slot);
}

static void
connect_stream(const char *slot)
{
	XLogRecPtr	end = InvalidXLogRecPtr;
	SlotState	found;

	discard_lsn = InvalidXLogRecPtr;
	report_state(MERIDIAN_STREAM_CONNECTING);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (conninfo != NULL)
		pfree(conninfo);
	conninfo = MemoryContextStrdup(TopMemoryContext, meridian_link_conninfo(meridian_apply.origin));
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(message_context);

	meridian_apply.conn = meridian_link_open(conninfo, true);
	find_origin(slot);
	forget_positions();
	found = find_slot(slot, &discard_lsn, &end);
	if (found == SLOT_LOST)
		copy_anew(slot, "We were away, and our slot there held more than max_slot_wal_keep_size.");
	else if (found == SLOT_FOUND && discard_lsn > own->durable_lsn)
		copy_anew(slot, psprintf("We have confirmed %X/%X there and only %X/%X is here: this region's data directory was put back to an earlier state.",
								 LSN_FORMAT_ARGS(discard_lsn), LSN_FORMAT_ARGS(own->durable_lsn)));
	if (meridian_apply.stream->lost)
		found = find_slot(slot, &discard_lsn, &end);
	if (found != SLOT_FOUND)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" no longer has what this region lacks: slot \"%s\" is gone",
						meridian_apply.origin, slot),
				 errhint("Copy it anew with: SELECT meridian.copy_again('%s').", meridian_apply.origin)));
	check_position_there(end);
	if (meridian_apply.stream->lost)
		set_lost(false);
}

/* On a new connection, or on the spare with the slot as the stream before left it. */
static void
begin_stream(const char *slot)
{
	RepOriginId id = own->id;

	reset_stream();
	StartTransactionCommand();
	use_origin(id);
	begin_own(id);
	begin_forwards();
	use_origin(id);
	CommitTransactionCommand();
	MemoryContextSwitchTo(message_context);
	done_lsn = durable_lsn = own->done_lsn;
	frame_lsn = discard_lsn;
	server_lsn = InvalidXLogRecPtr;
	start_streaming(slot);
	meridian_repairs_begin();
	publish_positions();
}

/*
 * Another stream is wanted: on the spare connection if there is one, since a
 * commit at a home that was just promoted may wait for it.
 */
static void
change_over(void)
{
	send_feedback();			/* somebody may wait for what stop() made durable */
	meridian_apply.conn = meridian_link_change_over(meridian_apply.conn);
}

static void
disconnect(void)
{
	if (meridian_apply.conn != NULL)
		PQfinish(meridian_apply.conn);
	meridian_apply.conn = NULL;
}

/*
 * However this process ends, what it has applied is on disk and known before the
 * launcher sees it gone: of committed transactions, replication origins know
 * more than what was last reported.  A join that may have come to its end has
 * made an origin that is looked up by name.
 */
static void
on_exit_worker(int code, Datum arg)
{
	disconnect();
	for (int i = 0; i < part_count; i++)
		parts[i].durable_lsn = Max(parts[i].durable_lsn,
								   replorigin_get_progress(parts[i].id, true));
	publish_positions();
	for (int i = 1; i < part_count; i++)
		close_forward(&parts[i]);
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (joining)
		meridian_streams->recalled = false;
	if (meridian_apply.stream->pid == MyProcPid)
		meridian_apply.stream->pid = 0;
	LWLockRelease(meridian_streams->lock);
}

/*
 * Remember why this try failed, and what the next one must do otherwise.  The
 * error itself goes on to end the process.
 */
static void
note_failure(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData  *e = CopyErrorData();

	HOLD_INTERRUPTS();
	abandon();
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (e->sqlerrcode == ERRCODE_UNIQUE_VIOLATION || e->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION)
		meridian_apply.stream->careful_until =
			Max(meridian_apply.stream->careful_until, meridian_apply.xact.local_lsn);
	LWLockRelease(meridian_streams->lock);
	/* what keepalives brought counts for a refusal, even if none of us runs then */
	if (streaming)
		stop();
	meridian_stream_state(meridian_apply.stream, MERIDIAN_STREAM_WAITING, e->message);
	MemoryContextSwitchTo(old);
	RESUME_INTERRUPTS();
}

static void
prepare_session(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"session_replication_role", "replica"},
		{"synchronous_commit", "off"},
		{"search_path", ""},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"row_security", "off"},
		{"datestyle", "ISO"},
		{"intervalstyle", "postgres"},
		{"check_function_bodies", "off"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
prepare_worker(void)
{
	bool		installed;

	prepare_session();
	message_context = AllocSetContextCreate(TopMemoryContext, "meridian apply message",
											ALLOCSET_DEFAULT_SIZES);
	meridian_rows_init();
	MemoryContextSwitchTo(TopMemoryContext);
	meridian_wire_out_init(&content);
	initStringInfo(&feedback);
	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("meridian", true));
	CommitTransactionCommand();
	MemoryContextSwitchTo(message_context);
	if (!installed)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"meridian\" is not created in database \"%s\" yet",
						meridian_database)));
	meridian_applying = true;
}

static void
run(void)
{
	char		slot[NAMEDATALEN];

	prepare_worker();
	meridian_stream_name(meridian_region, slot, sizeof(slot));
	while (!leave)
	{
		if (meridian_apply.conn == NULL)
			connect_stream(slot);
		begin_stream(slot);
		stream();
		stop();
		if (leave)
			disconnect();
		else
			change_over();
	}
}

void
meridian_apply_main(Datum arg)
{
	MeridianStream *s = &meridian_streams->streams[DatumGetInt32(arg)];

	meridian_apply.stream = s;
	strlcpy(meridian_apply.origin, s->origin, MRD_NAME_MAX);
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s->pid = MyProcPid;
	LWLockRelease(meridian_streams->lock);
	before_shmem_exit(on_exit_worker, (Datum) 0);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(meridian_database, NULL, 0);
	pgstat_report_activity(STATE_RUNNING, s->origin);
	PG_TRY();
	{
		run();
	}
	PG_CATCH();
	{
		note_failure();
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(0);
}
