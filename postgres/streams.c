/*-------------------------------------------------------------------------
 *
 * streams.c
 *	  Which streams should run, and how they are doing.
 *
 * The launcher, a static background worker, compares ten times a second what
 * the snapshot orders with what runs, and starts one apply worker per origin.
 * A worker that ends, for whatever reason, is started again after a pause that
 * doubles up to five seconds; what made it end is kept for people to read.
 *
 * Workers read the same orders and obey them at once, unless something holds
 * them up: a lock that a session here has, a long statement.  A failover does
 * not wait for that.  The launcher ends a worker that still goes on half a
 * second later; what it had not committed comes again.  It also ends sessions
 * whose commits wait for acknowledgements in vain (guard_shared.c), and those that
 * hold a lock which an apply worker has waited for too long (locks.c).
 *
 * The state of all streams is one small table in shared memory.  An origin's
 * applied position in it is durable: whoever reads it (the agent, a walsender
 * that hands a dead region's changes over) may promise it to others.  A worker
 * brings it up to date before it ends, so "refused" with a position beside it
 * needs no more than that nobody is left who applies that origin: neither its
 * own worker nor one that takes its changes from another region.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "streams.h"

#define LAUNCHER_NAP_MS 100
#define OBEY_MS 500				/* a worker has this long to see an order */
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 5000
#define TRANCHE "meridian_streams"

MeridianStreams *meridian_streams = NULL;

PG_FUNCTION_INFO_V1(meridian_stream_states);
PG_FUNCTION_INFO_V1(meridian_slot_states);
PG_FUNCTION_INFO_V1(meridian_tail_states);

/* The launcher's own: a handle says for certain that a worker is gone. */
static BackgroundWorkerHandle *handles[MRD_REGIONS_MAX];

/* ----------------------------------------------------------------
 * shared memory
 * ----------------------------------------------------------------
 */

Size
meridian_streams_shmem_size(void)
{
	return MAXALIGN(sizeof(MeridianStreams));
}

void
meridian_streams_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	meridian_streams = ShmemInitStruct("meridian streams", meridian_streams_shmem_size(), &found);
	if (!found)
	{
		memset(meridian_streams, 0, sizeof(*meridian_streams));
		meridian_streams->lock = &(GetNamedLWLockTranche(TRANCHE))->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
meridian_streams_init(void)
{
	BackgroundWorker worker;

	if (meridian_region[0] == '\0')
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "meridian", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "meridian_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "meridian launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "meridian launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
meridian_stream_name(const char *region, char *ret, Size size)
{
	snprintf(ret, size, "meridian_%s", region);
	for (char *p = ret; *p != '\0'; p++)
	{
		if (*p == '-')
			*p = '_';
	}
}

RepOriginId
meridian_stream_origin(const char *region)
{
	char		name[NAMEDATALEN];

	meridian_stream_name(region, name, sizeof(name));
	return replorigin_by_name(name, true);
}

/*
 * Twice a transaction is too often to ask the kernel whether the file is still
 * the one we mapped.  Deadlines inside are compared with the present time all
 * the same.
 */
const struct mrd_snapshot *
meridian_snapshot_lately(void)
{
	static const struct mrd_snapshot *seen = NULL;
	static struct timespec looked;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (seen == NULL || now.tv_nsec != looked.tv_nsec || now.tv_sec != looked.tv_sec)
	{
		seen = meridian_snapshot();
		looked = now;
	}
	return seen;
}

/* The caller holds the lock, or is the only one who adds streams. */
MeridianStream *
meridian_stream_find(const char *origin)
{
	for (int i = 0; i < MRD_REGIONS_MAX; i++)
	{
		MeridianStream *s = &meridian_streams->streams[i];

		if (s->origin[0] != '\0' && strcmp(s->origin, origin) == 0)
			return s;
	}
	return NULL;
}

XLogRecPtr
meridian_stream_applied(const char *origin)
{
	MeridianStream *s;
	XLogRecPtr	ret = InvalidXLogRecPtr;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	s = meridian_stream_find(origin);
	if (s != NULL)
		ret = s->applied_lsn;
	LWLockRelease(meridian_streams->lock);
	return ret;
}

XLogRecPtr
meridian_furthest_cut(const struct mrd_snapshot *s, const char *origin)
{
	int			n = mrd_snapshot_region(s, origin);
	XLogRecPtr	ret = InvalidXLogRecPtr;

	for (int i = 0; n >= 0 && i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		for (int k = 0; k < a->history_count; k++)
		{
			if (a->history[k].region == n)
				ret = Max(ret, a->history[k].cut);
		}
	}
	return ret == InvalidXLogRecPtr ? PG_UINT64_MAX : ret;
}

/* error may be NULL: there is nothing to complain about. */
void
meridian_stream_state(MeridianStream *s, MeridianStreamState state, const char *error)
{
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (s->state != state)
		s->since = meridian_instant();
	s->state = state;
	strlcpy(s->error, error == NULL ? "" : error, sizeof(s->error));
	LWLockRelease(meridian_streams->lock);
}

/* ----------------------------------------------------------------
 * launcher
 * ----------------------------------------------------------------
 */

static MeridianStream *
find_or_add(const char *origin)
{
	MeridianStream *s;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(origin);
	for (int i = 0; s == NULL && i < MRD_REGIONS_MAX; i++)
	{
		MeridianStream *free = &meridian_streams->streams[i];

		if (free->origin[0] != '\0')
			continue;
		s = free;
		strlcpy(s->origin, origin, sizeof(s->origin));
		s->since = meridian_instant();
	}
	LWLockRelease(meridian_streams->lock);
	return s;
}

static bool
is_running(MeridianStream *s)
{
	int			i = (int) (s - meridian_streams->streams);
	pid_t		pid;

	if (handles[i] != NULL)
	{
		if (GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			return true;
		pfree(handles[i]);
		handles[i] = NULL;
	}
	/* a worker that an earlier launcher started */
	return s->pid != 0 && kill(s->pid, 0) == 0;
}

/* It runs once; the caller hears of its start and its end. */
bool
meridian_register_worker(const char *function, const char *name, Datum arg,
						 BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = arg;
	strlcpy(worker.bgw_library_name, "meridian", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, "meridian apply", BGW_MAXLEN);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

static void
start_worker(MeridianStream *s)
{
	int			i = (int) (s - meridian_streams->streams);

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s->refused = false;
	s->via[0] = '\0';
	s->backoff_ms = s->backoff_ms == 0 ? BACKOFF_MIN_MS : Min(s->backoff_ms * 2, BACKOFF_MAX_MS);
	s->start_after = TimestampTzPlusMilliseconds(meridian_instant(), s->backoff_ms);
	LWLockRelease(meridian_streams->lock);

	if (!meridian_register_worker("meridian_apply_main", psprintf("meridian apply %s", s->origin),
								  Int32GetDatum(i), &handles[i]))
	{
		handles[i] = NULL;
		meridian_stream_state(s, MERIDIAN_STREAM_WAITING,
							  "out of background worker slots; increase max_worker_processes");
	}
}

/* Nothing of this origin is being applied by a worker of its own any more. */
static void
mark_stopped(MeridianStream *s, MeridianStreamState state, const char *via)
{
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (s->state != state)
		s->since = meridian_instant();
	s->state = state;
	s->refused = state == MERIDIAN_STREAM_REFUSED;
	s->error[0] = s->copying[0] = '\0';
	s->backoff_ms = 0;
	strlcpy(s->via, via, sizeof(s->via));
	LWLockRelease(meridian_streams->lock);
}

static void
end_worker(pid_t pid)
{
	for (int i = 0; pid != 0 && i < MRD_REGIONS_MAX; i++)
	{
		MeridianStream *s = &meridian_streams->streams[i];

		if (s->pid != pid)
			continue;
		ereport(LOG,
				(errmsg("ending the worker for region \"%s\", which is held up while it is ordered to stop",
						s->origin)));
		if (handles[i] != NULL)
			TerminateBackgroundWorker(handles[i]);
		else
			(void) kill(pid, SIGTERM);
	}
}

/* pid (0: nobody) applies this origin's changes against the order. */
static bool
is_obeyed(MeridianStream *s, pid_t pid)
{
	TimestampTz now = meridian_instant();

	if (pid == 0)
	{
		s->obey_by = 0;
		return true;
	}
	if (s->obey_by != 0 && now >= s->obey_by)
		end_worker(pid);
	if (s->obey_by == 0 || now >= s->obey_by)
		s->obey_by = TimestampTzPlusMilliseconds(now, OBEY_MS);
	return false;
}

static void
attend(const struct mrd_snapshot *snap, const struct mrd_snap_region *region)
{
	MeridianStream *s = find_or_add(region->name);
	bool		running;

	if (s == NULL)
		return;
	running = is_running(s);
	switch ((enum mrd_stream_order) region->stream)
	{
		case MRD_STREAM_RUN:
			if (is_obeyed(s, s->forwarder) && !running && meridian_instant() >= s->start_after)
				start_worker(s);
			break;
		case MRD_STREAM_REFUSE:
			if (is_obeyed(s, running ? s->pid : s->forwarder) && !running)
				mark_stopped(s, MERIDIAN_STREAM_REFUSED, "");
			break;
		case MRD_STREAM_FORWARD:
			if (is_obeyed(s, running ? s->pid : 0) && !running)
				mark_stopped(s, MERIDIAN_STREAM_FORWARDED,
							 region->via < snap->region_count ? snap->regions[region->via].name : "");
			break;
		case MRD_STREAM_NONE:
			if (is_obeyed(s, running ? s->pid : s->forwarder) && !running)
				mark_stopped(s, MERIDIAN_STREAM_IDLE, "");
			break;
	}
}

/*
 * After a start, what is durable is what the origins' own progress says.  Their
 * names are in a catalog that only a session with a database can read, so this
 * is a worker of its own, run once before any stream.
 */
static void
recall_positions(const struct mrd_snapshot *snap)
{
	for (int i = 0; i < snap->region_count; i++)
	{
		RepOriginId id;
		MeridianStream *s;

		if (i == snap->self)
			continue;
		id = meridian_stream_origin(snap->regions[i].name);
		s = find_or_add(snap->regions[i].name);
		if (id == InvalidRepOriginId || s == NULL)
			continue;
		LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
		s->applied_lsn = Max(s->applied_lsn, replorigin_get_progress(id, true));
		LWLockRelease(meridian_streams->lock);
	}
}

void
meridian_recall_main(Datum arg)
{
	const struct mrd_snapshot *snap;

	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(meridian_database, NULL, 0);
	StartTransactionCommand();
	snap = meridian_snapshot();
	if (snap != NULL)
		recall_positions(snap);
	CommitTransactionCommand();
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	meridian_streams->recalled = snap != NULL;
	LWLockRelease(meridian_streams->lock);
	proc_exit(0);
}

static bool
database_exists(void)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	bool		ret;

	StartTransactionCommand();
	ScanKeyInit(&key, Anum_pg_database_datname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(meridian_database));
	/* without a database there may be no index that could be opened */
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	ret = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return ret;
}

/* true: streams may start */
static bool
recalled(void)
{
	static BackgroundWorkerHandle *handle = NULL;
	static TimestampTz tried = 0;
	pid_t		pid;

	if (meridian_streams->recalled)
		return true;
	if (handle != NULL && GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
		return false;
	if (!TimestampDifferenceExceeds(tried, meridian_instant(), 1000) || !database_exists())
		return false;
	tried = meridian_instant();
	if (!meridian_register_worker("meridian_recall_main", "meridian recall", (Datum) 0, &handle))
		handle = NULL;
	return false;
}

void
meridian_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	while (!ShutdownRequestPending)
	{
		const struct mrd_snapshot *snap = meridian_snapshot();

		for (int i = 0; snap != NULL && recalled() && i < snap->region_count; i++)
		{
			if (i != snap->self && !snap->regions[i].witness)
				attend(snap, &snap->regions[i]);
		}
		if (snap != NULL)
			meridian_guard_end_waits(snap);
		meridian_locks_tend();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LAUNCHER_NAP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	proc_exit(0);
}

/* ----------------------------------------------------------------
 * for the agent
 * ----------------------------------------------------------------
 */

static const char *
state_name(MeridianStreamState state)
{
	static const char *const names[] = {
		[MERIDIAN_STREAM_IDLE] = "idle",
		[MERIDIAN_STREAM_CONNECTING] = "connecting",
		[MERIDIAN_STREAM_JOINING] = "joining",
		[MERIDIAN_STREAM_RUNNING] = "streaming",
		[MERIDIAN_STREAM_PAUSED] = "paused",
		[MERIDIAN_STREAM_WAITING] = "waiting",
		[MERIDIAN_STREAM_REFUSED] = "refused",
		[MERIDIAN_STREAM_FORWARDED] = "forwarded",
	};

	return names[state];
}

static void
json_text(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, "\"%s\": ", name);
	if (value[0] == '\0')
		appendStringInfoString(out, "null");
	else
		escape_json(out, value);
}

static void
json_lsn(StringInfo out, const char *name, XLogRecPtr lsn)
{
	appendStringInfo(out, "\"%s\": \"%X/%X\"", name, LSN_FORMAT_ARGS(lsn));
}

static void
one_stream_json(StringInfo out, const MeridianStream *s)
{
	XLogRecPtr	reached = Max(s->applied_lsn, s->reached_lsn);
	XLogRecPtr	lag = s->received_lsn > reached ? s->received_lsn - reached : 0;

	appendStringInfoString(out, "{\"origin\": ");
	escape_json(out, s->origin);
	appendStringInfoString(out, ", ");
	json_text(out, "via", s->via);
	appendStringInfo(out, ", \"state\": \"%s\", \"pid\": %d, ", state_name(s->state), (int) s->pid);
	json_lsn(out, "applied_lsn", s->applied_lsn);
	appendStringInfo(out, ", \"through_session\": " UINT64_FORMAT ", \"through_boot_ms\": "
					 UINT64_FORMAT ", ", s->through_session, s->through_boot_ms);
	json_lsn(out, "received_lsn", s->received_lsn);
	appendStringInfo(out, ", \"lag_bytes\": " UINT64_FORMAT ", \"refused\": %s, ", lag,
					 s->refused ? "true" : "false");
	json_text(out, "error", s->error);
	appendStringInfoString(out, ", ");
	json_text(out, "copying", s->copying);
	appendStringInfoString(out, ", ");
	json_text(out, "blocked", meridian_blocked(s));
	appendStringInfo(out, ", \"transactions\": " UINT64_FORMAT ", \"lost_slots\": " UINT64_FORMAT ", \"lost\": %s, \"since_ms\": " INT64_FORMAT "}",
					 s->transactions, s->lost_slots, s->lost ? "true" : "false",
					 (int64) (s->since == 0 ? 0 : (meridian_instant() - s->since) / 1000));
}

void
meridian_streams_json(StringInfo out)
{
	MeridianStream copy[MRD_REGIONS_MAX];
	const char *comma = "";

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	memcpy(copy, meridian_streams->streams, sizeof(copy));
	LWLockRelease(meridian_streams->lock);
	appendStringInfoChar(out, '[');
	for (int i = 0; i < MRD_REGIONS_MAX; i++)
	{
		if (copy[i].origin[0] == '\0')
			continue;
		appendStringInfoString(out, comma);
		one_stream_json(out, &copy[i]);
		comma = ", ";
	}
	appendStringInfoChar(out, ']');
}

void
meridian_slots_json(StringInfo out)
{
	XLogRecPtr	now = GetXLogWriteRecPtr();
	const char *comma = "";

	appendStringInfoChar(out, '[');
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		ReplicationSlotPersistentData data;
		bool		active;

		if (!slot->in_use || strncmp(NameStr(slot->data.name), "meridian_", 9) != 0)
			continue;
		SpinLockAcquire(&slot->mutex);
		data = slot->data;
		active = slot->active_pid != 0;
		SpinLockRelease(&slot->mutex);
		appendStringInfo(out, "%s{\"name\": \"%s\", \"active\": %s, ", comma, NameStr(data.name),
						 active ? "true" : "false");
		json_lsn(out, "confirmed_lsn", data.confirmed_flush);
		appendStringInfo(out, ", \"retained_bytes\": " UINT64_FORMAT "}",
						 data.restart_lsn != InvalidXLogRecPtr && now > data.restart_lsn ?
						 now - data.restart_lsn : 0);
		comma = ", ";
	}
	LWLockRelease(ReplicationSlotControlLock);
	appendStringInfoChar(out, ']');
}

/* The loss of each closed epoch; rpo_ms spans its first to its last lost commit. */
static const char tail_query[] =
"SELECT coalesce(json_agg(json_build_object('origin', origin, 'class', class, "
"'partition', partition, 'epoch', epoch, 'transactions', transactions, 'rows', rows, "
"'rpo_ms', rpo_ms, 'open', open, 'unrepaired', unrepaired)), '[]')::text FROM ("
"SELECT origin, class, partition, epoch, count(DISTINCT commit_lsn) AS transactions, "
"count(*) AS rows, "
"ceil(extract(epoch FROM max(committed_at) - min(committed_at)) * 1000)::bigint AS rpo_ms, "
"count(*) FILTER (WHERE status = 'open') AS open, "
"count(*) FILTER (WHERE repaired_epoch IS NULL AND (problem IS NULL OR status = 'open')) "
"AS unrepaired "
"FROM meridian.reconcile_entry GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4) t";

void
meridian_tail_json(StringInfo out)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	/* Not read-only: with a snapshot newer than the positions reported beside it. */
	if (SPI_execute(tail_query, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read meridian.reconcile_entry");
	appendStringInfoString(out, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
}

static Datum
as_jsonb(void (*write) (StringInfo out))
{
	StringInfoData out;

	initStringInfo(&out);
	write(&out);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

Datum
meridian_stream_states(PG_FUNCTION_ARGS)
{
	return as_jsonb(meridian_streams_json);
}

Datum
meridian_slot_states(PG_FUNCTION_ARGS)
{
	return as_jsonb(meridian_slots_json);
}

Datum
meridian_tail_states(PG_FUNCTION_ARGS)
{
	return as_jsonb(meridian_tail_json);
}
