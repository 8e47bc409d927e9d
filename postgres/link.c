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
 * Except at the sender of a stream: a receiver that is there and does not read,
 * because its changes wait for a copy, is as silent to the kernel, which ends a
 * connection whose window has been closed for tcp_user_timeout.  A receiver that
 * has gone while bytes were on their way to it is noticed when it comes back
 * (find_slot), or when the kernel has tried for long enough; nobody relies on it
 * until then.
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
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "apply.h"

#define CONNECT_TIMEOUT_MS 5000
#define WAKE_MS 50				/* to see whether the order has changed */
#define END_COPY_TIMEOUT_MS 3000	/* connecting anew does not take longer */
#define SPARE_EVERY_MS 2000		/* between tries to have one */

/*
 * Text values must mean the same at both ends.  The walsender must outlast a
 * long statement here; no timeout at all would make it look for replies after
 * each message it sends.
 */
#define SESSION_OPTIONS \
	"-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 " \
	"-c search_path= -c row_security=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 " \
	"-c idle_session_timeout=0 -c lock_timeout=0 -c wal_sender_timeout=1h " \
	"-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3 "
#define SENDER_OPTIONS SESSION_OPTIONS "-c tcp_user_timeout=0"
#define QUERY_OPTIONS SESSION_OPTIONS "-c tcp_user_timeout=15000"

static char *
link_error(PGconn *conn)
{
	char	   *text = pchomp(PQerrorMessage(conn));

	return text[0] == '\0' ? pstrdup("the connection was closed") : text;
}

/*
 * Wake on the latch, the socket (events, WL_SOCKET_...), or the time.  True when
 * it was the socket.
 */
bool
meridian_link_wait(PGconn *conn, int events, long timeout_ms)
{
	int			rc = WaitLatchOrSocket(MyLatch,
									   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events,
									   PQsocket(conn), timeout_ms, PG_WAIT_EXTENSION);

	if (rc & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	meridian_apply_heed();
	return (rc & events) != 0;
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

static PGconn *
link_start(const char *conninfo, bool replication)
{
	char		name[NAMEDATALEN];
	const char *keys[] = {"dbname", "replication", "application_name", "client_encoding",
		"options", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
	"tcp_user_timeout", NULL};
	const char *values[] = {conninfo, replication ? "database" : "false", name,
		GetDatabaseEncodingName(), replication ? SENDER_OPTIONS : QUERY_OPTIONS, "1", "5", "3", "3", "15000", NULL};
	PGconn	   *conn;

	meridian_stream_name(meridian_region, name, sizeof(name));
	conn = PQconnectStartParams(keys, values, 1);
	if (conn == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return conn;
}

PGconn *
meridian_link_open(const char *conninfo, bool replication)
{
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(), CONNECT_TIMEOUT_MS);
	PostgresPollingStatusType poll = PGRES_POLLING_WRITING;
	PGconn	   *conn = link_start(conninfo, replication);

	while (PQstatus(conn) != CONNECTION_BAD && poll != PGRES_POLLING_OK)
	{
		if (poll == PGRES_POLLING_FAILED)
			break;
		if (meridian_instant() > until)
			fail_connect(conn, "it took too long to connect");
		/* asked while the socket is not ready, libpq would itself wait for it, deaf to us */
		if (meridian_link_wait(conn, poll == PGRES_POLLING_READING ? WL_SOCKET_READABLE :
							   WL_SOCKET_WRITEABLE, WAKE_MS))
			poll = PQconnectPoll(conn);
	}
	if (PQstatus(conn) != CONNECTION_OK)
		fail_connect(conn, NULL);
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

/* Run one command; expected is the status that means success. */
PGresult *
meridian_link_exec(PGconn *conn, const char *command, ExecStatusType expected)
{
	PGresult   *res = NULL;

	if (PQsendQuery(conn, command))
		res = next_result(conn);
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

/* An answer of exactly one row */
PGresult *
meridian_link_row(PGconn *conn, const char *sql)
{
	PGresult   *res = meridian_link_exec(conn, sql, PGRES_TUPLES_OK);

	if (PQntuples(res) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" did not answer with one row", meridian_apply.origin)));
	return res;
}

XLogRecPtr
meridian_link_position(const char *text)
{
	bool		error = false;
	XLogRecPtr	lsn = pg_lsn_in_internal(text, &error);

	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed position", meridian_apply.origin)));
	return lsn;
}

/* The name of an exported snapshot, copied: it goes into commands as it is. */
char *
meridian_link_snapshot(const char *text)
{
	if (text[0] == '\0' || strspn(text, "0123456789ABCDEF-") != strlen(text))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed snapshot", meridian_apply.origin)));
	return pstrdup(text);
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

/*
 * End a COPY in both directions.  What is still on its way is thrown away; when
 * this returns true the other end has released the slot.
 */
static bool
end_copy(PGconn *conn)
{
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(), END_COPY_TIMEOUT_MS);
	PGresult   *res;
	char	   *data;
	int			len;

	if (PQputCopyEnd(conn, NULL) <= 0 || PQflush(conn) < 0)
		return false;
	while ((len = PQgetCopyData(conn, &data, 1)) >= 0)
	{
		if (len > 0)
		{
			PQfreemem(data);
			continue;
		}
		if (meridian_instant() > until)
			return false;
		meridian_link_wait(conn, WL_SOCKET_READABLE, 100);
		if (!PQconsumeInput(conn))
			return false;
	}
	while ((res = next_result(conn)) != NULL)
	{
		ExecStatusType status = PQresultStatus(res);

		PQclear(res);
		if (status != PGRES_COMMAND_OK)
			return false;
	}
	return PQstatus(conn) == CONNECTION_OK;
}

/* ----------------------------------------------------------------
 * the spare
 *
 * A walsender streams once in its life, so another stream means another
 * connection, and with TLS that is six round trips before the first command.
 * During a failover a new home's first commits would wait for them.  So each
 * worker keeps a second connection, ready but idle.
 * ----------------------------------------------------------------
 */

static PGconn *spare;
static PostgresPollingStatusType spare_poll;
static TimestampTz spare_tried;

static bool
socket_ready(PGconn *conn, int event)
{
	return (WaitLatchOrSocket(NULL, event | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							  PQsocket(conn), 0, PG_WAIT_EXTENSION) & event) != 0;
}

static void
spare_drop(void)
{
	PQfinish(spare);
	spare = NULL;
}

/* Does what can be done about the spare without waiting; call regularly. */
void
meridian_link_tend_spare(const char *conninfo)
{
	TimestampTz now = meridian_instant();

	if (spare == NULL)
	{
		if (!TimestampDifferenceExceeds(spare_tried, now, SPARE_EVERY_MS))
			return;
		spare = link_start(conninfo, true);
		spare_tried = now;
		spare_poll = PGRES_POLLING_WRITING;
	}
	else if (spare_poll == PGRES_POLLING_OK)
	{
		/* nothing is expected; its end may have come */
		if (socket_ready(spare, WL_SOCKET_READABLE) && !PQconsumeInput(spare))
			spare_drop();
	}
	else if (socket_ready(spare, spare_poll == PGRES_POLLING_READING ?
						  WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE))
		spare_poll = PQconnectPoll(spare);
	else if (TimestampDifferenceExceeds(spare_tried, now, CONNECT_TIMEOUT_MS))
		spare_drop();
	if (spare != NULL && (PQstatus(spare) == CONNECTION_BAD || spare_poll == PGRES_POLLING_FAILED))
		spare_drop();
}

bool
meridian_link_has_spare(void)
{
	return spare != NULL && spare_poll == PGRES_POLLING_OK;
}

/*
 * End the stream on this connection and hand out the spare instead, when the
 * other end has let go of the slot.  NULL: connect anew.
 */
PGconn *
meridian_link_change_over(PGconn *conn)
{
	PGconn	   *ret = NULL;

	if (meridian_link_has_spare() && end_copy(conn))
	{
		ret = spare;
		spare = NULL;
		spare_tried = 0;		/* the next one at once */
	}
	PQfinish(conn);
	return ret;
}
