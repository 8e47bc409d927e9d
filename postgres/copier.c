/*-------------------------------------------------------------------------
 *
 * copier.c
 *	  A copy of rows by a worker of its own, while the stream goes on.
 *
 * The apply worker (cover.c) says what is to be copied and in which snapshot of
 * the other region; a second worker reads it there and writes it here, in one
 * transaction (copy.c).  The two share a segment of memory: the order, how far
 * it is, and what came of it.  The copier neither has a position nor moves one,
 * and it marks nothing but what is lent; so whatever ends either of the two, or
 * both, what was to be copied is still a gap.
 *
 * A copier is nothing without the worker that asked for it: it leaves when that
 * has gone, when the stream is not to run any more, or when what it copies has
 * another home.  It also gives way to others who wait for its locks (streams.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "worker.h"

typedef struct CopyItem
{
	MeridianCopied what;
	bool		copied;
} CopyItem;

typedef struct CopyOrder
{
	int			stream;			/* index in MeridianStreams */
	pid_t		leader;			/* who asked */
	pid_t		pid;			/* who does it; 0: nobody yet */
	char		snapshot[64];	/* there, exported; empty: the present one */
	pg_atomic_uint32 state;		/* MeridianCopierState */
	char		error[MERIDIAN_ERROR_MAX];
	int			count;
	CopyItem		items[FLEXIBLE_ARRAY_MEMBER];
} CopyOrder;

static CopyOrder *order;			/* of either process; NULL: there is none */

/* ----------------------------------------------------------------
 * who asks for it
 * ----------------------------------------------------------------
 */

static dsm_segment *segment;
static BackgroundWorkerHandle *handle;

/* false: there is no worker to be had */
bool
meridian_copier_start(const char *snapshot, List *what)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ListCell   *lc;

	meridian_copier_end();
	segment = dsm_create(offsetof(CopyOrder, items) + sizeof(CopyItem) * list_length(what), 0);
	dsm_pin_mapping(segment);
	order = dsm_segment_address(segment);
	memset(order, 0, offsetof(CopyOrder, items));
	order->stream = (int) (meridian_apply.stream - meridian_streams->streams);
	order->leader = MyProcPid;
	strlcpy(order->snapshot, snapshot == NULL ? "" : snapshot, sizeof(order->snapshot));
	pg_atomic_init_u32(&order->state, MERIDIAN_COPIER_STARTING);
	foreach(lc, what)
	{
		order->items[order->count].what = *(MeridianCopied *) lfirst(lc);
		order->items[order->count++].copied = false;
	}
	if (!meridian_register_worker("meridian_copier_main", psprintf("meridian copy %s", meridian_apply.origin),
								  UInt32GetDatum(dsm_segment_handle(segment)), &handle))
	{
		handle = NULL;
		meridian_copier_end();
	}
	MemoryContextSwitchTo(old);
	return order != NULL;
}

/* *error: of one that failed */
MeridianCopierState
meridian_copier_state(const char **error)
{
	bool		gone;
	pid_t		pid;
	uint32		state;

	Assert(order != NULL);
	/* asked first: what it said before it went counts */
	gone = GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
	state = pg_atomic_read_u32(&order->state);
	pg_read_barrier();
	*error = order->error;
	if (gone && state < MERIDIAN_COPIER_DONE)
	{
		*error = order->pid != 0 && order->pid == meridian_apply.stream->copier_yielded ?
			"its worker gave way to others who waited for its locks" : "its worker was ended";
		return MERIDIAN_COPIER_FAILED;
	}
	return (MeridianCopierState) state;
}

/* Of one that is done: does it have that? */
bool
meridian_copier_has(const MeridianCopied *c)
{
	for (int i = 0; i < order->count; i++)
	{
		const CopyItem *item = &order->items[i];

		if (item->what.relid == c->relid && strcmp(item->what.partition, c->partition) == 0)
			return item->copied;
	}
	return false;
}

/* In a process that is on its way out: its copier will follow. */
void
meridian_copier_abandon(void)
{
	if (handle != NULL)
		TerminateBackgroundWorker(handle);
}

/* It has gone when this returns, also if it was not done. */
void
meridian_copier_end(void)
{
	if (handle != NULL)
	{
		TerminateBackgroundWorker(handle);
		(void) WaitForBackgroundWorkerShutdown(handle);
		pfree(handle);
	}
	handle = NULL;
	if (segment != NULL)
		dsm_detach(segment);
	segment = NULL;
	order = NULL;
}

/* ----------------------------------------------------------------
 * the copier itself
 * ----------------------------------------------------------------
 */

static bool copying;			/* this process is a copier */

static void
set_state(MeridianCopierState state)
{
	pg_write_barrier();
	pg_atomic_write_u32(&order->state, state);
}

static void
leave(const char *why)
{
	strlcpy(order->error, why, sizeof(order->error));
	set_state(MERIDIAN_COPIER_FAILED);
	proc_exit(0);
}

/* Is it still wanted?  Called wherever it waits, and now and then where it does not. */
void
meridian_copier_heed(void)
{
	const struct mrd_snapshot *s;

	if (!copying)
		return;
	if (meridian_apply.stream->pid != order->leader)
		proc_exit(0);
	s = meridian_snapshot_lately();
	for (int i = 0; s != NULL && i < order->count; i++)
	{
		if (!meridian_copied_stands(s, &order->items[i].what))
			leave("what it copied has another home by now");
	}
}

static CopyItem *
find_item(const MeridianCopied *c)
{
	for (int i = 0; i < order->count; i++)
	{
		const MeridianCopied *what = &order->items[i].what;

		if (what->relid == c->relid && what->epoch == c->epoch && what->lent == c->lent &&
			strcmp(what->partition, c->partition) == 0)
			return &order->items[i];
	}
	return NULL;
}

/* What was ordered and still is a gap: another copy may have been made meanwhile, and the partition opened with it. */
static List *
still_wanted(void)
{
	List	   *ret = NIL;
	ListCell   *lc;

	foreach(lc, meridian_find_gaps(meridian_apply.origin))
	{
		if (find_item(lfirst(lc)) != NULL)
			ret = lappend(ret, lfirst(lc));
	}
	return ret;
}

static char *
read_conninfo(void)
{
	char	   *ret;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ret = MemoryContextStrdup(TopMemoryContext, meridian_link_conninfo(meridian_apply.origin));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return ret;
}

/* In the transaction at hand, under the lock that only one copy has */
static void
copy_wanted(void)
{
	ListCell   *lc;

	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(lc, meridian_copy_rows(false, still_wanted()))
		find_item(lfirst(lc))->copied = true;
	PopActiveSnapshot();
	meridian_fault("cover-copied");
	/* what is found out here is found out before it counts */
	meridian_apply_heed();
}

static void
copy(void)
{
	bool		alone;

	(void) meridian_copy_open(read_conninfo());
	meridian_copy_begin(order->snapshot[0] == '\0' ? NULL : order->snapshot);
	set_state(MERIDIAN_COPIER_BEGUN);
	meridian_fault("cover-started");
	replorigin_session_origin = DoNotReplicateId;
	StartTransactionCommand();
	alone = meridian_copy_lock();
	if (alone)
		copy_wanted();
	CommitTransactionCommand();
	if (alone)
		XLogFlush(XactLastCommitEnd);
	replorigin_session_origin = InvalidRepOriginId;
	set_state(alone ? MERIDIAN_COPIER_DONE : MERIDIAN_COPIER_BUSY);
	meridian_copy_close();
}

static void
note_failure(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData  *e = CopyErrorData();

	HOLD_INTERRUPTS();
	AbortOutOfAnyTransaction();
	strlcpy(order->error, e->message, sizeof(order->error));
	set_state(MERIDIAN_COPIER_FAILED);
	MemoryContextSwitchTo(old);
	RESUME_INTERRUPTS();
}

static void
set_copier(pid_t pid)
{
	MeridianStream *s = meridian_apply.stream;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (pid != 0 || s->copier == MyProcPid)
		s->copier = pid;
	LWLockRelease(meridian_streams->lock);
}

static void
on_exit_copier(int code, Datum arg)
{
	set_copier(0);
}

void
meridian_copier_main(Datum arg)
{
	dsm_segment *seg = dsm_attach(DatumGetUInt32(arg));

	if (seg == NULL)
		proc_exit(0);			/* who asked has gone */
	dsm_pin_mapping(seg);
	order = dsm_segment_address(seg);
	order->pid = MyProcPid;
	meridian_apply.stream = &meridian_streams->streams[order->stream];
	strlcpy(meridian_apply.origin, meridian_apply.stream->origin, MRD_NAME_MAX);
	copying = true;
	set_copier(MyProcPid);
	before_shmem_exit(on_exit_copier, (Datum) 0);

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(meridian_database, NULL, 0);
	pgstat_report_activity(STATE_RUNNING, psprintf("copying from %s", meridian_apply.origin));
	PG_TRY();
	{
		meridian_worker_prepare();
		copy();
	}
	PG_CATCH();
	{
		note_failure();			/* who asked says it */
		FlushErrorState();
	}
	PG_END_TRY();
	proc_exit(0);
}
