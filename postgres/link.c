/*-------------------------------------------------------------------------
 *
 * link.c
 *	  An apply worker's connections to another region.
 *
 * Plain libpq, used asynchronously so that the worker's latch always wakes it:
 * nothing here waits for the network without also waiting for a shutdown.  A
 * connection that goes silent is noticed by TCP itself; the limits below bound
 * that to about fifteen seconds in both directions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "apply.h"

#define CONNECT_TIMEOUT_MS 5000
#define WAKE_MS 50				/* to see whether the order has changed */
#define BUSY_TRIES 10
#define OBJECT_IN_USE "55006"

/*
 * Text values must mean the same at both ends.  The walsender must outlast a
 * long statement here; no timeout at all would make it look for replies after
 * each message it sends.
 */
#define SESSION_OPTIONS \
	"-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 " \
	"-c search_path= -c row_security=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 " \
	"-c idle_session_timeout=0 -c lock_timeout=0 -c wal_sender_timeout=1h " \
	"-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3 " \
	"-c tcp_user_timeout=15000"

static char *
link_error(PGconn *conn)
{
	char	   *text = pchomp(PQerrorMessage(conn));

	return text[0] == '\0' ? pstrdup("the connection was closed") : text;
}

/* Wake on the latch, the socket (events, WL_SOCKET_...), or the time. */
void
meridian_link_wait(PGconn *conn, int events, long timeout_ms)
{
	int			rc = WaitLatchOrSocket(MyLatch,
									   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events,
									   PQsocket(conn), timeout_ms, PG_WAIT_EXTENSION);

	if (rc & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	meridian_apply_heed();
}

static void
fail_connect(PGconn *conn, const char *why)
{
	char	   *text = why != NULL ? pstrdup(why) : link_error(conn);

	PQfinish(conn);
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("could not reach region \"%s\": %s", meridian_apply.origin, text)));
}

/* Begin to connect, without waiting. */
PGconn *
meridian_link_begin(const char *conninfo, bool replication)
{
	char		name[NAMEDATALEN];
	const char *keys[] = {"dbname", "replication", "application_name", "client_encoding",
		"options", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
	"tcp_user_timeout", NULL};
	const char *values[] = {conninfo, replication ? "database" : "false", name,
		GetDatabaseEncodingName(), SESSION_OPTIONS, "1", "5", "3", "3", "15000", NULL};
	PGconn	   *conn;

	meridian_stream_name(meridian_region, name, sizeof(name));
	conn = PQconnectStartParams(keys, values, 1);
	if (conn == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return conn;
}

static int
events_of(PostgresPollingStatusType poll)
{
	return poll == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE;
}

static bool
connecting(PGconn *conn, PostgresPollingStatusType poll)
{
	return PQstatus(conn) != CONNECTION_BAD && poll != PGRES_POLLING_OK &&
		poll != PGRES_POLLING_FAILED;
}

/* Go on connecting as far as it goes without waiting. */
void
meridian_link_advance(PGconn *conn, PostgresPollingStatusType *poll)
{
	while (connecting(conn, *poll) &&
		   (WaitLatchOrSocket(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events_of(*poll),
							  PQsocket(conn), 0, PG_WAIT_EXTENSION) & events_of(*poll)) != 0)
		*poll = PQconnectPoll(conn);
}

/* Wait until it is connected; an ERROR, and no connection any more, when it cannot be. */
void
meridian_link_finish(PGconn *conn, PostgresPollingStatusType poll)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CONNECT_TIMEOUT_MS);

	while (connecting(conn, poll))
	{
		if (GetCurrentTimestamp() > until)
			fail_connect(conn, "it took too long to connect");
		meridian_link_wait(conn, events_of(poll), WAKE_MS);
		meridian_link_advance(conn, &poll);
	}
	if (PQstatus(conn) != CONNECTION_OK)
		fail_connect(conn, NULL);
}

PGconn *
meridian_link_open(const char *conninfo, bool replication)
{
	PGconn	   *conn = meridian_link_begin(conninfo, replication);

	meridian_link_finish(conn, PGRES_POLLING_WRITING);
	return conn;
}

static PGresult *
next_result(PGconn *conn)
{
	while (PQisBusy(conn))
	{
		meridian_link_wait(conn, WL_SOCKET_READABLE, WAKE_MS);
		if (!PQconsumeInput(conn))
			return NULL;
	}
	return PQgetResult(conn);
}

/*
 * Run one command; expected is the status that means success.  While a slot is
 * still held by the connection before this one, which ends as we speak, the
 * command is tried again.
 */
PGresult *
meridian_link_exec(PGconn *conn, const char *command, ExecStatusType expected)
{
	PGresult   *res = NULL;

	for (int tries = 0; tries < BUSY_TRIES; tries++)
	{
		const char *state;

		res = PQsendQuery(conn, command) ? next_result(conn) : NULL;
		state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
		if (state == NULL || strcmp(state, OBJECT_IN_USE) != 0 || tries + 1 == BUSY_TRIES)
			break;
		do
			PQclear(res);
		while ((res = next_result(conn)) != NULL);
		pg_usleep(20000L);
	}
	if (res == NULL || PQresultStatus(res) != expected)
	{
		char	   *text = res == NULL ? link_error(conn) : pchomp(PQresultErrorMessage(res));

		PQclear(res);
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("region \"%s\" refused: %s", meridian_apply.origin, text)));
	}
	/* a COPY goes on; everything else is followed by its end */
	if (expected != PGRES_COPY_BOTH && expected != PGRES_COPY_OUT)
	{
		PGresult   *more;

		while ((more = next_result(conn)) != NULL)
			PQclear(more);
	}
	return res;
}

char *
meridian_link_literal(PGconn *conn, const char *value)
{
	char	   *quoted = PQescapeLiteral(conn, value, strlen(value));
	char	   *ret;

	if (quoted == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("%s", link_error(conn))));
	ret = pstrdup(quoted);
	PQfreemem(quoted);
	return ret;
}

/* How to reach a region, as the agent configured it; an ERROR when it has not. */
char *
meridian_link_conninfo(const char *region)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(region)};
	MemoryContext caller = CurrentMemoryContext;
	char	   *ret = NULL;

	SPI_connect();
	if (SPI_execute_with_args("SELECT conninfo FROM meridian.region_config WHERE name = $1",
							  1, types, values, NULL, true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
	{
		ret = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		if (ret != NULL)
			ret = MemoryContextStrdup(caller, ret);
	}
	SPI_finish();
	if (ret == NULL || ret[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" is not configured here yet", region),
				 errhint("The agent calls meridian.configure().")));
	return ret;
}
