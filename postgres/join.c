/*-------------------------------------------------------------------------
 *
 * join.c
 *	  The first copy: what an origin had before its stream begins.
 *
 * The slot is created with an exported snapshot, and everything is read in that
 * snapshot: the copy ends exactly where the stream starts.  From the schema's
 * home come the definitions of tables that do not exist here; from every origin
 * the rows of the partitions that it is home of.
 *
 * All of it is one local transaction, which also creates the replication origin
 * at the consistent point.  Until it commits there is no origin, and a region
 * without the origin joins; so whatever interrupts a join, it starts over with
 * nothing left behind but a slot, which is dropped first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/wait.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply.h"

static PGconn *source;			/* reads in the exported snapshot */
static char *row;				/* of a COPY, not yet handed on */
static int	row_len;
static int	row_used;

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
	bool		error = false;

	if (PQntuples(res) != 1 || PQnfields(res) < 3)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" did not describe the slot it created", meridian_apply.origin)));
	point = pg_lsn_in_internal(PQgetvalue(res, 0, 1), &error);
	*snapshot = pstrdup(PQgetvalue(res, 0, 2));
	PQclear(res);
	if (error || strspn(*snapshot, "0123456789ABCDEF-") != strlen(*snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed position or snapshot", meridian_apply.origin)));
	return point;
}

static void
open_source(const char *conninfo, const char *snapshot)
{
	source = meridian_link_open(conninfo, false);
	PQclear(meridian_link_exec(source, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
							   PGRES_COMMAND_OK));
	PQclear(meridian_link_exec(source, psprintf("SET TRANSACTION SNAPSHOT '%s'", snapshot),
							   PGRES_COMMAND_OK));
}

/* ----------------------------------------------------------------
 * definitions
 * ----------------------------------------------------------------
 */

static bool
is_schema_home(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			region = s == NULL ? -1 : mrd_snapshot_region(s, meridian_apply.origin);
	int			class = s == NULL ? -1 : mrd_snapshot_class(s, MRD_CLASS_SCHEMA);
	int			n = class < 0 ? -1 : mrd_snapshot_partition(s, class, NULL);

	return n >= 0 && s->partitions[n].authority.region == region;
}

/*
 * Before its agent has configured it, an origin has attached nothing, and what
 * it attaches later would not be copied.
 */
static void
need_configured(void)
{
	PGresult   *res = meridian_link_exec(source, "SELECT FROM meridian.config", PGRES_TUPLES_OK);
	bool		configured = PQntuples(res) == 1;

	PQclear(res);
	if (!configured)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" is not configured yet", meridian_apply.origin)));
}

/* The tables that the origin attached and their classes, in its snapshot. */
static PGresult *
attached_tables(void)
{
	return meridian_link_exec(source,
							  "SELECT n.nspname, c.relname, a.class, a.partition_by "
							  "FROM meridian.attachment a "
							  "JOIN pg_catalog.pg_class c ON c.oid = a.relid "
							  "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
							  "ORDER BY 1, 2", PGRES_TUPLES_OK);
}

static bool
table_exists(const char *schema_name, const char *table_name)
{
	Oid			nsp = get_namespace_oid(schema_name, true);

	return OidIsValid(nsp) && OidIsValid(get_relname_relid(table_name, nsp));
}

static void
append_shell_word(StringInfo out, const char *word)
{
	appendStringInfoString(out, " '");
	for (const char *p = word; *p != '\0'; p++)
	{
		if (*p == '\'')
			appendStringInfoString(out, "'\\''");
		else
			appendStringInfoChar(out, *p);
	}
	appendStringInfoChar(out, '\'');
}

/* A name as pg_dump's patterns take it: literally */
static void
append_pattern(StringInfo out, const char *option, const char *schema_name, const char *table_name)
{
	StringInfoData pattern;

	initStringInfo(&pattern);
	appendStringInfoString(&pattern, quote_identifier(schema_name));
	if (table_name != NULL)
		appendStringInfo(&pattern, ".%s", quote_identifier(table_name));
	appendStringInfo(out, " %s", option);
	append_shell_word(out, pattern.data);
	pfree(pattern.data);
}

/*
 * Whole schemas where we have none of that name, single tables elsewhere.
 * Returns how many patterns there are.
 */
static int
append_wanted(StringInfo cmd, PGresult *tables)
{
	List	   *schemas = NIL;
	int			n = 0;

	for (int i = 0; i < PQntuples(tables); i++)
	{
		const char *schema_name = PQgetvalue(tables, i, 0);
		bool		named = false;
		ListCell   *lc;

		if (table_exists(schema_name, PQgetvalue(tables, i, 1)))
			continue;
		if (OidIsValid(get_namespace_oid(schema_name, true)))
		{
			append_pattern(cmd, "--table", schema_name, PQgetvalue(tables, i, 1));
			n++;
			continue;
		}
		foreach(lc, schemas)
			named |= strcmp(lfirst(lc), schema_name) == 0;
		if (!named)
		{
			append_pattern(cmd, "--schema", schema_name, NULL);
			schemas = lappend(schemas, pstrdup(schema_name));
			n++;
		}
	}
	return n;
}

/* The dump as one string, without psql's own commands (\restrict). */
static char *
read_dump(const char *command)
{
	FILE	   *pipe = OpenPipeStream(command, "r");
	StringInfoData line;
	StringInfoData text;
	int			status;

	if (pipe == NULL)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not start pg_dump: %m")));
	initStringInfo(&line);
	initStringInfo(&text);
	for (int c = 0; c != EOF;)
	{
		resetStringInfo(&line);
		while ((c = fgetc(pipe)) != EOF && c != '\n')
			appendStringInfoChar(&line, (char) c);
		if (strncmp(line.data, "\\restrict", 9) == 0 || strncmp(line.data, "\\unrestrict", 11) == 0)
			continue;
		appendBinaryStringInfo(&text, line.data, line.len);
		appendStringInfoChar(&text, '\n');
		CHECK_FOR_INTERRUPTS();
	}
	status = ClosePipeStream(pipe);
	if (status != 0)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not copy the schema of region \"%s\": pg_dump failed (%s)",
						meridian_apply.origin, wait_result_to_str(status)),
				 errhint("Its messages are in the server's log.")));
	return text.data;
}

static void
restore(const char *sql)
{
	bool		saved = meridian_restoring;
	int			nest = NewGUCNestLevel();

	meridian_restoring = true;
	PG_TRY();
	{
		SPI_connect();
		if (SPI_execute(sql, false, 0) < 0)
			elog(ERROR, "could not restore the schema of region \"%s\"", meridian_apply.origin);
		SPI_finish();
	}
	PG_FINALLY();
	{
		meridian_restoring = saved;
	}
	PG_END_TRY();
	AtEOXact_GUC(true, nest);
	SetConfigOption("search_path", "", PGC_SUSET, PGC_S_OVERRIDE);
	CommandCounterIncrement();
}

static void
copy_definitions(PGresult *tables, const char *conninfo, const char *snapshot)
{
	char		pg_dump[MAXPGPATH];
	char		backend_dir[MAXPGPATH];
	StringInfoData cmd;

	strlcpy(backend_dir, my_exec_path, sizeof(backend_dir));
	get_parent_directory(backend_dir);
	snprintf(pg_dump, sizeof(pg_dump), "%s/pg_dump", backend_dir);
	initStringInfo(&cmd);
	append_shell_word(&cmd, pg_dump);
	appendStringInfo(&cmd, " --schema-only --no-publications --no-subscriptions --snapshot=%s",
					 snapshot);
	if (append_wanted(&cmd, tables) == 0)
		return;
	appendStringInfoString(&cmd, " -d");
	append_shell_word(&cmd, conninfo);
	restore(read_dump(cmd.data));
	meridian_attach_all();
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------
 * rows
 * ----------------------------------------------------------------
 */

/* Which of the table's rows is the origin home of?  NULL: of none. */
static char *
home_condition(const char *class_name, const char *partition_by)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			region = mrd_snapshot_region(s, meridian_apply.origin);
	int			class = mrd_snapshot_class(s, class_name);
	StringInfoData out;
	int			n = 0;

	if (region < 0 || class < 0 || (s->classes[class].replicas & (1u << s->self)) == 0)
		return NULL;
	initStringInfo(&out);
	if (partition_by != NULL)
		appendStringInfo(&out, "%s IN (", quote_identifier(partition_by));
	for (int i = s->classes[class].first; i < s->classes[class].first + s->classes[class].count; i++)
	{
		if (s->partitions[i].authority.region != region)
			continue;
		if (partition_by == NULL)
			return pstrdup("true");
		appendStringInfo(&out, "%s%s", n++ == 0 ? "" : ", ",
						 quote_literal_cstr(s->partitions[i].name));
	}
	appendStringInfoChar(&out, ')');
	return n > 0 ? out.data : NULL;
}

/* COPY FROM asks for bytes; the origin's COPY TO has them. */
static int
next_bytes(void *out, int min, int max)
{
	int			copied = 0;

	while (copied < min)
	{
		int			n;

		if (row == NULL)
		{
			row_len = PQgetCopyData(source, &row, 1);
			row_used = 0;
			if (row_len == -1)
				break;
			if (row_len < 0)
				ereport(ERROR,
						(errcode(ERRCODE_CONNECTION_FAILURE),
						 errmsg("lost region \"%s\" during the copy: %s", meridian_apply.origin,
								pchomp(PQerrorMessage(source)))));
			if (row_len == 0)
			{
				row = NULL;
				meridian_link_wait(source, WL_SOCKET_READABLE, 50);
				if (!PQconsumeInput(source))
					ereport(ERROR,
							(errcode(ERRCODE_CONNECTION_FAILURE),
							 errmsg("lost region \"%s\" during the copy: %s", meridian_apply.origin,
									pchomp(PQerrorMessage(source)))));
				continue;
			}
		}
		n = Min(max - copied, row_len - row_used);
		memcpy((char *) out + copied, row + row_used, n);
		copied += n;
		row_used += n;
		if (row_used == row_len)
		{
			PQfreemem(row);
			row = NULL;
		}
	}
	return copied;
}

/* Columns that are stored, by the origin's own list */
static List *
stored_columns(const char *schema_name, const char *table_name)
{
	char	   *sql = psprintf("SELECT a.attname FROM pg_catalog.pg_attribute a "
							   "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
							   "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
							   "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 "
							   "AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum",
							   meridian_link_literal(source, schema_name),
							   meridian_link_literal(source, table_name));
	PGresult   *res = meridian_link_exec(source, sql, PGRES_TUPLES_OK);
	List	   *ret = NIL;

	for (int i = 0; i < PQntuples(res); i++)
		ret = lappend(ret, makeString(pstrdup(PQgetvalue(res, i, 0))));
	PQclear(res);
	return ret;
}

static char *
column_list(List *columns)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, columns)
		appendStringInfo(&out, "%s%s", out.len == 0 ? "" : ", ", quote_identifier(strVal(lfirst(lc))));
	return out.data;
}

static void
drain_copy(void)
{
	PGresult   *res;

	while ((res = PQgetResult(source)) != NULL)
	{
		bool		ok = PQresultStatus(res) == PGRES_COMMAND_OK;

		PQclear(res);
		if (!ok)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("lost region \"%s\" during the copy: %s", meridian_apply.origin,
							pchomp(PQerrorMessage(source)))));
	}
}

/* Of an earlier copy, when this region is copied anew */
static void
remove_rows(const char *name, const char *condition)
{
	SPI_connect();
	if (SPI_execute(psprintf("DELETE FROM ONLY %s WHERE %s", name, condition), false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not remove the rows of an earlier copy from %s", name);
	SPI_finish();
	CommandCounterIncrement();
}

static uint64
copy_rows(const char *schema_name, const char *table_name, const char *condition)
{
	RangeVar   *rv = makeRangeVar(pstrdup(schema_name), pstrdup(table_name), -1);
	List	   *columns = stored_columns(schema_name, table_name);
	char	   *name = quote_qualified_identifier(schema_name, table_name);
	Relation	rel = table_openrv_extended(rv, RowExclusiveLock, true);
	ParseState *pstate = make_parsestate(NULL);
	CopyFromState state;
	uint64		n;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist here yet", schema_name, table_name)));
	remove_rows(name, condition);
	PQclear(meridian_link_exec(source, psprintf("COPY (SELECT %s FROM ONLY %s WHERE %s) TO STDOUT",
												column_list(columns), name, condition),
							   PGRES_COPY_OUT));
	row = NULL;
	(void) addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	state = BeginCopyFrom(pstate, rel, NULL, NULL, false, next_bytes, columns, NIL);
	n = CopyFrom(state);
	EndCopyFrom(state);
	drain_copy();
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return n;
}

static void
copy_tables(PGresult *tables)
{
	uint64		rows = 0;

	for (int i = 0; i < PQntuples(tables); i++)
	{
		const char *by = PQgetisnull(tables, i, 3) ? NULL : PQgetvalue(tables, i, 3);
		char	   *condition = home_condition(PQgetvalue(tables, i, 2), by);

		if (condition != NULL)
			rows += copy_rows(PQgetvalue(tables, i, 0), PQgetvalue(tables, i, 1), condition);
	}
	if (rows > 0)
		ereport(LOG,
				(errmsg("copied " UINT64_FORMAT " rows from region \"%s\"", rows,
						meridian_apply.origin)));
}

/* ----------------------------------------------------------------
 * all of it
 * ----------------------------------------------------------------
 */

/* Inside the transaction: from here on its commit record carries the position. */
static void
create_origin(XLogRecPtr point)
{
	char		name[NAMEDATALEN];
	RepOriginId id;

	meridian_stream_name(meridian_apply.origin, name, sizeof(name));
	id = replorigin_create(name);
	/* an aborted join may have left a position under this number */
	replorigin_advance(id, point, InvalidXLogRecPtr, true, true);
	replorigin_session_setup(id);
	replorigin_session_origin = id;
	replorigin_session_origin_lsn = point;
	replorigin_session_origin_timestamp = GetCurrentTimestamp();
}

static void
finish_origin(void)
{
	replorigin_session_reset();
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

void
meridian_join(MeridianApply *a, const char *conninfo, const char *slot)
{
	PGresult   *tables;
	char	   *snapshot;
	XLogRecPtr	point;

	meridian_stream_state(a->stream, MERIDIAN_STREAM_JOINING, NULL);
	if (meridian_snapshot() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not join region \"%s\": this region's agent has published nothing yet",
						a->origin)));
	drop_slot(a->conn, slot);
	point = create_slot(a->conn, slot, &snapshot);
	open_source(conninfo, snapshot);
	need_configured();

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	create_origin(point);
	tables = attached_tables();
	if (is_schema_home())
		copy_definitions(tables, conninfo, snapshot);
	copy_tables(tables);
	PQclear(tables);
	PopActiveSnapshot();
	meridian_fault("join-copied");
	CommitTransactionCommand();
	XLogFlush(XactLastCommitEnd);
	finish_origin();
	PQfinish(source);
	source = NULL;
}
