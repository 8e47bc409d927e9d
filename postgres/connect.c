/*-------------------------------------------------------------------------
 *
 * connect.c
 *	  An apply worker from its start to its end: connections, our slot there, our
 *	  origin here, one stream after the other.
 *
 * The slot and the replication origin are two halves of one position.  Where
 * they do not fit each other, somebody's data directory is not what it was, or
 * the sender has removed what we lack: then the origin is copied anew, or a
 * person has to decide (find_slot, check_position_there).
 *
 * However the worker ends, its last positions are durable and known before it is
 * gone (on_exit_worker), and only then is the stream refused, because cuts are
 * decided on that report.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_replication_origin.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "worker.h"

#define SAY_AGAIN_MS 60000		/* that a failure lasts */

static bool joining;			/* a copy has begun, and no stream after it */

/* ----------------------------------------------------------------
 * our slot there, our origin here
 * ----------------------------------------------------------------
 */

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
			*confirmed = meridian_link_position(PQgetvalue(res, 0, 0));
		*end = meridian_link_position(PQgetvalue(res, 0, 3));
	}
	PQclear(res);
	return found;
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
		meridian_origin_use(id);
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
	XLogRecPtr	applied = meridian_own->durable_lsn;

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
		meridian_part_count = 0;
		meridian_join(&meridian_apply, meridian_apply.conninfo, slot);
		StartTransactionCommand();
		id = take_origin(name);
		CommitTransactionCommand();
	}
	MemoryContextSwitchTo(meridian_apply.context);
	meridian_part_begin_own(id);
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
	meridian_origin_drop();
	StartTransactionCommand();
	replorigin_drop_by_name(name, false, true);
	CommitTransactionCommand();
	MemoryContextSwitchTo(meridian_apply.context);
	find_origin(slot);
}

static void
look_up_conninfo(void)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (meridian_apply.conninfo != NULL)
		pfree(meridian_apply.conninfo);
	meridian_apply.conninfo = MemoryContextStrdup(TopMemoryContext,
												  meridian_link_conninfo(meridian_apply.origin));
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(meridian_apply.context);
}

static void
connect_stream(const char *slot)
{
	XLogRecPtr	end = InvalidXLogRecPtr;
	XLogRecPtr	confirmed = InvalidXLogRecPtr;
	SlotState	found;

	meridian_positions_slot(InvalidXLogRecPtr);
	meridian_orders_state(MERIDIAN_STREAM_CONNECTING);
	look_up_conninfo();
	meridian_apply.conn = meridian_link_open(meridian_apply.conninfo, true);
	find_origin(slot);
	meridian_positions_connected();
	found = find_slot(slot, &confirmed, &end);
	if (found == SLOT_LOST)
		copy_anew(slot, "We were away, and our slot there held more than max_slot_wal_keep_size.");
	else if (found == SLOT_FOUND && confirmed > meridian_own->durable_lsn)
		copy_anew(slot, psprintf("We have confirmed %X/%X there and only %X/%X is here: "
								 "this region's data directory was put back to an earlier state.",
								 LSN_FORMAT_ARGS(confirmed), LSN_FORMAT_ARGS(meridian_own->durable_lsn)));
	if (meridian_apply.stream->lost)
		found = find_slot(slot, &confirmed, &end);
	if (found != SLOT_FOUND)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" no longer has what this region lacks: slot \"%s\" is gone",
						meridian_apply.origin, slot),
				 errhint("Copy it anew with: SELECT meridian.copy_again('%s').", meridian_apply.origin)));
	check_position_there(end);
	meridian_positions_slot(confirmed);
	if (meridian_apply.stream->lost)
		set_lost(false);
}

/* ----------------------------------------------------------------
 * a stream begins
 * ----------------------------------------------------------------
 */

static void
start_streaming(const char *slot)
{
	StringInfoData cmd;

	initStringInfo(&cmd);
	appendStringInfo(&cmd, "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 "
					 "(\"wire\" '%d', \"region\" %s, \"own_from\" '%X/%X'",
					 slot, MERIDIAN_WIRE_VERSION,
					 meridian_link_literal(meridian_apply.conn, meridian_region),
					 LSN_FORMAT_ARGS(meridian_own->done_lsn));
	if (meridian_compression)
		appendStringInfoString(&cmd, ", \"compression\" 'zstd'");
	if (meridian_apply.full_images)
		appendStringInfoString(&cmd, ", \"images\" 'full'");
	for (int i = 1; i < meridian_part_count; i++)
		appendStringInfo(&cmd, "%s%s=%X/%X", i == 1 ? ", \"forward\" '" : ",",
						 meridian_parts[i].region, LSN_FORMAT_ARGS(meridian_parts[i].done_lsn));
	appendStringInfoString(&cmd, meridian_part_count > 1 ? "')" : ")");
	PQclear(meridian_link_exec(meridian_apply.conn, cmd.data, PGRES_COPY_BOTH));
	pfree(cmd.data);
}

/* On a new connection, or on the spare with the slot as the stream before left it. */
static void
begin_stream(const char *slot)
{
	RepOriginId id = meridian_own->id;

	meridian_apply_reset();
	StartTransactionCommand();
	meridian_origin_use(id);
	meridian_part_begin_own(id);
	meridian_forwards_begin();
	meridian_origin_use(id);
	CommitTransactionCommand();
	MemoryContextSwitchTo(meridian_apply.context);
	meridian_positions_begin();
	start_streaming(slot);
	meridian_repairs_begin();
	meridian_positions_publish();
}

/*
 * Another stream is wanted: on the spare connection if there is one, since a
 * commit at a home that was just promoted may wait for it.
 */
static void
change_over(void)
{
	meridian_positions_report();	/* somebody may wait for what has just become durable */
	meridian_apply.conn = meridian_link_change_over(meridian_apply.conn);
}

static void
disconnect(void)
{
	if (meridian_apply.conn != NULL)
		PQfinish(meridian_apply.conn);
	meridian_apply.conn = NULL;
}

/* ----------------------------------------------------------------
 * the worker
 * ----------------------------------------------------------------
 */

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
	meridian_copier_abandon();
	for (int i = 0; i < meridian_part_count; i++)
	{
		MeridianPart *p = &meridian_parts[i];

		p->durable_lsn = Max(p->durable_lsn, replorigin_get_progress(p->id, true));
	}
	meridian_positions_publish();
	for (int i = 1; i < meridian_part_count; i++)
		meridian_forward_close(&meridian_parts[i]);
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (joining)
		meridian_streams->recalled = false;
	if (meridian_apply.stream->pid == MyProcPid)
		meridian_apply.stream->pid = 0;
	LWLockRelease(meridian_streams->lock);
}

/*
 * The log has a failure once, and every minute while it lasts; that it lasts is
 * in meridian.links.
 */
static bool
is_news(const char *error)
{
	MeridianStream *s = meridian_apply.stream;
	TimestampTz now = meridian_instant();
	uint64		unsaid;
	bool		again;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	again = strncmp(s->said, error, MERIDIAN_ERROR_MAX - 1) == 0;
	if (again && !TimestampDifferenceExceeds(s->said_at, now, SAY_AGAIN_MS))
	{
		s->unsaid++;
		LWLockRelease(meridian_streams->lock);
		return false;
	}
	unsaid = again ? s->unsaid : 0;
	strlcpy(s->said, error, sizeof(s->said));
	s->said_at = now;
	s->unsaid = 0;
	LWLockRelease(meridian_streams->lock);
	if (unsaid > 0)
		ereport(LOG,
				(errmsg("what follows has happened " UINT64_FORMAT " times since it was last logged",
						unsaid)));
	return true;
}

/*
 * Remember why this try failed, and what the next one must do otherwise.  true:
 * the log should have it, too.
 */
static bool
note_failure(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData  *e = CopyErrorData();
	bool		news;

	HOLD_INTERRUPTS();
	meridian_apply_abandon();
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (e->sqlerrcode == ERRCODE_UNIQUE_VIOLATION || e->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION)
		meridian_apply.stream->careful_until =
			Max(meridian_apply.stream->careful_until, meridian_apply.xact.local_lsn);
	LWLockRelease(meridian_streams->lock);
	/* what keepalives brought counts for a refusal, even if none of us runs then */
	if (meridian_apply.streaming)
		meridian_receive_stop();
	meridian_stream_state(meridian_apply.stream, MERIDIAN_STREAM_WAITING, e->message);
	news = e->elevel != ERROR || is_news(e->message);
	MemoryContextSwitchTo(old);
	RESUME_INTERRUPTS();
	return news;
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

/* Of a worker that applies a stream, or copies for one (copier.c) */
void
meridian_worker_prepare(void)
{
	bool		installed;

	prepare_session();
	meridian_apply.context = AllocSetContextCreate(TopMemoryContext, "meridian apply message",
												   ALLOCSET_DEFAULT_SIZES);
	meridian_rows_init();
	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("meridian", true));
	CommitTransactionCommand();
	MemoryContextSwitchTo(meridian_apply.context);
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

	meridian_worker_prepare();
	meridian_stream_name(meridian_region, slot, sizeof(slot));
	while (!meridian_apply.leave)
	{
		meridian_unfenced_settle();
		MemoryContextSwitchTo(meridian_apply.context);
		if (meridian_apply.conn == NULL)
			connect_stream(slot);
		begin_stream(slot);
		meridian_receive();
		meridian_receive_stop();
		if (meridian_apply.leave)
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
		if (note_failure())
			PG_RE_THROW();		/* which ends the process */
		FlushErrorState();
	}
	PG_END_TRY();
	proc_exit(0);
}
