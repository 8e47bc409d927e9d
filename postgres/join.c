/*-------------------------------------------------------------------------
 *
 * join.c
 *	  The first copy: what an origin had before its stream begins.
 *
 * The slot is created with an exported snapshot, and everything is read in that
 * snapshot: the copy ends exactly where the stream starts.  From the schema's
 * home come the definitions of tables that do not exist here (those that do must
 * be its own, compare.c); from every origin
 * the rows of the partitions that it is home of.  What another region becomes
 * home of meanwhile, cover.c copies afterwards.
 *
 * All of it is one local transaction, which also creates the replication origin
 * at the consistent point.  Until it commits there is no origin, and a region
 * without the origin joins; so whatever interrupts a join, it starts over with
 * nothing left behind but a slot, which is dropped first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"

#include "apply.h"

/* ----------------------------------------------------------------
 * the slot and its snapshot
 * ----------------------------------------------------------------
 */

static void
drop_slot(PGconn *conn, const char *slot)
{
	char	   *sql = psprintf("SELECT pg_catalog.pg_drop_replication_slot(slot_name) "
							   "FROM pg_catalog.pg_replication_slots "
							   "WHERE slot_name = %s AND NOT active",
							   meridian_link_literal(conn, slot));

	PQclear(meridian_link_exec(conn, sql, PGRES_TUPLES_OK));
}

static XLogRecPtr
create_slot(PGconn *conn, const char *slot, char **snapshot)
{
	char	   *sql = psprintf("CREATE_REPLICATION_SLOT \"%s\" LOGICAL meridian (SNAPSHOT 'export')",
							   slot);
	PGresult   *res = meridian_link_exec(conn, sql, PGRES_TUPLES_OK);
	XLogRecPtr	point;

	if (PQntuples(res) != 1 || PQnfields(res) < 3 || PQgetisnull(res, 0, 1) ||
		PQgetisnull(res, 0, 2))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" did not describe the slot it created", meridian_apply.origin)));
	point = meridian_link_position(PQgetvalue(res, 0, 1));
	*snapshot = meridian_link_snapshot(PQgetvalue(res, 0, 2));
	PQclear(res);
	return point;
}

/* ----------------------------------------------------------------
 * all of it
 * ----------------------------------------------------------------
 */

/*
 * The position is in WAL before the commit record that makes the origin exist.
 * An aborted join may have left one under the same number, hence go_backward.
 */
static void
create_origin(XLogRecPtr point)
{
	char		name[NAMEDATALEN];
	RepOriginId id;

	meridian_stream_name(meridian_apply.origin, name, sizeof(name));
	id = replorigin_create(name);
	replorigin_advance(id, point, InvalidXLogRecPtr, true, true);
	replorigin_session_origin = DoNotReplicateId;
}

/* What people read while a join lasts. */
static void
say(const char *text)
{
	meridian_stream_state(meridian_apply.stream, MERIDIAN_STREAM_JOINING, text);
}

/* One copy at a time: another stream's may be long. */
static void
wait_for_turn(void)
{
	while (!meridian_copy_lock())
	{
		say("waits until another region's copy into this one has ended");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		meridian_apply_heed();
	}
}

static void
need_snapshot(void)
{
	if (meridian_snapshot() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not join region \"%s\": this region's agent has published nothing yet",
						meridian_apply.origin)));
}

/* Any step may be the last: see the head of this file. */
void
meridian_join(MeridianApply *a, const char *conninfo, const char *slot)
{
	List	   *copied;
	char	   *snapshot;
	XLogRecPtr	point;

	say(NULL);
	need_snapshot();
	/* what it wrote in earlier epochs will not come by this stream either */
	meridian_forget_copied(a->origin);

	StartTransactionCommand();
	/* before there is a snapshot there, so that the slot keeps no WAL while we wait */
	wait_for_turn();
	drop_slot(a->conn, slot);
	say(psprintf("waits for the transactions that run at \"%s\" to end, also those that wait for acknowledgements",
				 a->origin));
	point = create_slot(a->conn, slot, &snapshot);
	say("copies what is there");
	meridian_fault("join-slot");
	(void) meridian_copy_open(conninfo);
	meridian_copy_begin(snapshot);

	PushActiveSnapshot(GetTransactionSnapshot());
	create_origin(point);
	if (meridian_is_schema_home(a->origin))
	{
		meridian_copy_compare();
		meridian_copy_definitions(conninfo, snapshot);
	}
	meridian_fault("join-defined");
	copied = meridian_copy_rows(true, NIL);
	copied = meridian_copied_keep(copied);
	PopActiveSnapshot();
	meridian_fault("join-copied");
	CommitTransactionCommand();
	XLogFlush(XactLastCommitEnd);
	meridian_mark_copied(copied);
	replorigin_session_origin = InvalidRepOriginId;
	meridian_copy_close();
}
