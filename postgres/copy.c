/*-------------------------------------------------------------------------
 *
 * copy.c
 *	  Copying definitions and rows out of another region, in one snapshot of it.
 *
 * Who calls decides what the snapshot means: join.c has one that was exported
 * with a new slot, cover.c one that it knows to hold exactly what its stream
 * has applied.  Everything is read on one connection in one read-only
 * transaction, and written in the caller's.
 *
 * Rows come only from the home of their partition, and only once that home has
 * all that the homes before it wrote: it has opened the partition under the
 * present epoch, in the very snapshot that is read.  (Or they are lent to a home
 * that has not opened; lend.c has asked whether they are whole.)  Rows of an
 * earlier copy are removed first, so only in favour of a region that has a mark
 * for that very table and partition: a home may have opened the partition and got
 * the table later.
 *
 * A table that is made here by copying its definition, in a partition that this
 * region is home of, brings its rows from there, too: nobody but this region may
 * write them, and without the table it has not.
 *
 * The transaction that writes a copy must carry DoNotReplicateId: these rows
 * are other regions' to get from their home, and a region that hands over a
 * dead region's changes must not hand over its own copy of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply.h"

static PGconn *source;
static PGresult *tables;		/* attached there: schema, name, class, partition column, marks */
static PGresult *opened;
static char *row;				/* of a COPY, not yet handed on */
static int	row_len;
static int	row_used;

/* ----------------------------------------------------------------
 * the connection and its snapshot
 * ----------------------------------------------------------------
 */

static void need_configured(void);
static void learn_attached(void);
static void learn_opened(void);

PGconn *
meridian_copy_open(const char *conninfo)
{
	meridian_copy_close();
	source = meridian_link_open(conninfo, false);
	return source;
}

/* snapshot NULL: the origin's present one */
void
meridian_copy_begin(const char *snapshot)
{
	PQclear(meridian_link_exec(source, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
							   PGRES_COMMAND_OK));
	if (snapshot != NULL)
		PQclear(meridian_link_exec(source, psprintf("SET TRANSACTION SNAPSHOT '%s'", snapshot),
								   PGRES_COMMAND_OK));
	need_configured();
	PQclear(tables);
	PQclear(opened);
	tables = opened = NULL;
	learn_attached();
	learn_opened();
}

void
meridian_copy_end(void)
{
	PQclear(meridian_link_exec(source, "COMMIT", PGRES_COMMAND_OK));
}

void
meridian_copy_close(void)
{
	PQclear(tables);
	PQclear(opened);
	PQfinish(source);
	tables = opened = NULL;
	source = NULL;
}

/* ----------------------------------------------------------------
 * definitions
 * ----------------------------------------------------------------
 */

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

/* The tables that the origin attached, and the partitions of each that it has marked, in its snapshot. */
static void
learn_attached(void)
{
	tables = meridian_link_exec(source,
								"SELECT n.nspname, c.relname, a.class, a.partition_by, "
								"(SELECT pg_catalog.string_agg(pg_catalog.format(E'%s%s\\n', "
								"CASE WHEN m.epoch < 0 THEN '-' ELSE '+' END, m.partition), '') "
								"FROM meridian.copied m WHERE m.relid = a.relid) "
								"FROM meridian.attachment a "
								"JOIN pg_catalog.pg_class c ON c.oid = a.relid "
								"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
								"ORDER BY 1, 2", PGRES_TUPLES_OK);
}

/* The epochs that it was fit to write under, in its snapshot. */
static void
learn_opened(void)
{
	opened = meridian_link_exec(source,
								"SELECT class, partition, opened_epoch FROM meridian.promotion",
								PGRES_TUPLES_OK);
}

/* The table of that name; InvalidOid when there is none, nor perhaps the schema */
Oid
meridian_table(const char *schema_name, const char *table_name)
{
	Oid			nsp = get_namespace_oid(schema_name, true);

	return OidIsValid(nsp) ? get_relname_relid(table_name, nsp) : InvalidOid;
}

static bool
table_exists(const char *schema_name, const char *table_name)
{
	return OidIsValid(meridian_table(schema_name, table_name));
}

/* Without that it would not be attached, and its rows could not be applied. */
static bool
is_configured(const char *schema_name, const char *table_name)
{
	return meridian_sql_any(psprintf("SELECT FROM meridian.table_config WHERE schema_name = %s AND table_name = %s",
									 quote_literal_cstr(schema_name), quote_literal_cstr(table_name)));
}

static bool
is_missing(const char *schema_name, const char *table_name)
{
	return meridian_sql_any(psprintf("SELECT FROM meridian.missing WHERE schema_name = %s AND table_name = %s",
									 quote_literal_cstr(schema_name), quote_literal_cstr(table_name)));
}

/*
 * Not before the snapshot knows its class: nobody could say whose rows it has to get.
 * And when this region is the schema's home, only what a transaction that counts told
 * of: another table there may be of a statement that was lost.
 */
static bool
is_acceptable(int i)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	const char *schema_name = PQgetvalue(tables, i, 0);
	const char *table_name = PQgetvalue(tables, i, 1);

	return s != NULL && mrd_snapshot_class(s, PQgetvalue(tables, i, 2)) >= 0 &&
		is_configured(schema_name, table_name) &&
		(!meridian_is_schema_home(meridian_region) || is_missing(schema_name, table_name));
}

/* A name as pg_dump's patterns take it: literally */
static char *
pattern(const char *option, const char *schema_name, const char *table_name)
{
	return psprintf("%s=%s%s%s", option, quote_identifier(schema_name),
					table_name == NULL ? "" : ".",
					table_name == NULL ? "" : quote_identifier(table_name));
}

/* Whole schemas where we have none of that name, single tables elsewhere; options of pg_dump */
static List *
wanted(void)
{
	List	   *schemas = NIL;
	List	   *ret = NIL;

	for (int i = 0; i < PQntuples(tables); i++)
	{
		const char *schema_name = PQgetvalue(tables, i, 0);
		bool		named = false;
		ListCell   *lc;

		if (table_exists(schema_name, PQgetvalue(tables, i, 1)) || !is_acceptable(i))
			continue;
		if (OidIsValid(get_namespace_oid(schema_name, true)))
		{
			ret = lappend(ret, pattern("--table", schema_name, PQgetvalue(tables, i, 1)));
			continue;
		}
		foreach(lc, schemas)
			named |= strcmp(lfirst(lc), schema_name) == 0;
		if (!named)
		{
			ret = lappend(ret, pattern("--schema", schema_name, NULL));
			schemas = lappend(schemas, pstrdup(schema_name));
		}
	}
	return ret;
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
		AtEOXact_GUC(true, nest);
		SetConfigOption("search_path", "", PGC_SUSET, PGC_S_OVERRIDE);
		CommandCounterIncrement();
		/* still restoring: what is new here is not therefore empty at its home */
		meridian_attach_all();
	}
	PG_FINALLY();
	{
		meridian_restoring = saved;
	}
	PG_END_TRY();
	CommandCounterIncrement();
}

/* Are the tables that are here the home's? */
void
meridian_copy_compare(void)
{
	for (int i = 0; i < PQntuples(tables); i++)
	{
		const char *schema_name = PQgetvalue(tables, i, 0);
		const char *table_name = PQgetvalue(tables, i, 1);

		if (table_exists(schema_name, table_name) && is_configured(schema_name, table_name))
			meridian_compare_definition(source, schema_name, table_name);
	}
}

/* Bring what the schema's home defines and this region has not; attach it. */
void
meridian_copy_definitions(const char *conninfo, const char *snapshot)
{
	List	   *options = wanted();

	if (options != NIL)
		restore(meridian_dump(conninfo, snapshot, options));
}

/* Has the origin attached a table that does not exist here, but should? */
bool
meridian_copy_lacks_tables(void)
{
	for (int i = 0; i < PQntuples(tables); i++)
	{
		if (!table_exists(PQgetvalue(tables, i, 0), PQgetvalue(tables, i, 1)) && is_acceptable(i))
			return true;
	}
	return false;
}

/*
 * Is anything remembered as missing that the origin, the schema's home, has not
 * attached any more, nor lacks itself?  With forget: in its snapshot, which is where
 * our stream is.  When we are the schema's home, attach.c decides that.
 */
bool
meridian_copy_misses_in_vain(bool forget)
{
	static const char lacking[] =
	"SELECT schema_name, table_name FROM meridian.missing UNION "
	"SELECT schema_name, table_name FROM meridian.table_config t WHERE pg_catalog.to_regclass("
	"pg_catalog.format('%I.%I', schema_name, table_name)) IS NULL AND NOT EXISTS ("
	"SELECT FROM meridian.dropped d WHERE (d.schema_name, d.table_name) = (t.schema_name, t.table_name))";
	PGresult   *lacks;
	StringInfoData sql;
	bool		ret;

	if (!meridian_is_schema_home(meridian_apply.origin))
		return false;
	lacks = meridian_link_exec(source, lacking, PGRES_TUPLES_OK);
	initStringInfo(&sql);
	appendStringInfo(&sql, "%s FROM meridian.missing WHERE pg_catalog.format('%%I.%%I', "
					 "schema_name, table_name) <> ALL (ARRAY[", forget ? "DELETE" : "SELECT");
	for (int i = 0; i < PQntuples(tables) + PQntuples(lacks); i++)
	{
		PGresult   *of = i < PQntuples(tables) ? tables : lacks;
		int			n = of == tables ? i : i - PQntuples(tables);

		appendStringInfo(&sql, "%s%s", i == 0 ? "" : ", ",
						 quote_literal_cstr(quote_qualified_identifier(PQgetvalue(of, n, 0),
																	   PQgetvalue(of, n, 1))));
	}
	appendStringInfoString(&sql, "]::pg_catalog.text[])");
	PQclear(lacks);
	SPI_connect();
	if (SPI_execute(sql.data, !forget, 0) < 0)
		elog(ERROR, "could not look at meridian.missing");
	ret = SPI_processed > 0;
	SPI_finish();
	return ret;
}

/* ----------------------------------------------------------------
 * rows
 * ----------------------------------------------------------------
 */

/* Has this epoch's home, in its snapshot, all that the homes before it wrote? */
static bool
has_opened(const char *class_name, const char *partition, const struct mrd_authority *a)
{
	if (a->history_count == 0)
		return true;			/* nobody before it had any */
	for (int i = 0; i < PQntuples(opened); i++)
	{
		if (strcmp(PQgetvalue(opened, i, 0), class_name) == 0 &&
			strcmp(PQgetvalue(opened, i, 1), partition) == 0)
			return strtoull(PQgetvalue(opened, i, 2), NULL, 10) >= a->epoch;
	}
	return false;
}

static const MeridianCopied *
wanted_of(List *only, Oid relid, const char *partition)
{
	ListCell   *lc;

	foreach(lc, only)
	{
		MeridianCopied *c = lfirst(lc);

		if (c->relid == relid && strcmp(c->partition, partition) == 0)
			return c;
	}
	return NULL;
}

/* Has the origin marked the partition of its table n, as held (+) or as to come (-)? */
static bool
has_mark(int n, char sign, const char *partition)
{
	const char *list = psprintf("\n%s", PQgetvalue(tables, n, 4));

	return strstr(list, psprintf("\n%c%s\n", sign, partition)) != NULL;
}

/*
 * Does the origin hold it whole?  Before the first home nobody had any of it, so
 * there it needs no mark.
 */
static bool
is_marked(const struct mrd_snapshot *s, int n, const struct mrd_snap_partition *p)
{
	const struct mrd_authority *a = &p->authority;

	return has_mark(n, '+', p->name) ||
		(a->history_count == 0 && a->region == mrd_snapshot_region(s, meridian_apply.origin) &&
		 !has_mark(n, '-', p->name));
}

/* Has this region, which is home, no row of it?  Then it has none until we are done. */
static bool
is_bare(int n, Oid relid, const char *partition)
{
	const char *name = quote_qualified_identifier(PQgetvalue(tables, n, 0), PQgetvalue(tables, n, 1));
	const char *where = PQgetisnull(tables, n, 3) ? "true" :
		psprintf("%s = %s", quote_identifier(PQgetvalue(tables, n, 3)), quote_literal_cstr(partition));

	bool		ret;

	if (!ConditionalLockRelationOid(relid, ShareRowExclusiveLock))
		return false;
	PushActiveSnapshot(GetLatestSnapshot());
	ret = !meridian_sql_any(psprintf("SELECT FROM ONLY %s WHERE %s LIMIT 1", name, where));
	PopActiveSnapshot();
	return ret;
}

static bool
is_made_here(Oid relid)
{
	Relation	rel = OidIsValid(relid) ? table_open(relid, AccessShareLock) : NULL;
	bool		ret = rel != NULL && rel->rd_createSubid != InvalidSubTransactionId;

	if (rel != NULL)
		table_close(rel, AccessShareLock);
	return ret;
}

/* Is it open here, and nothing that the origin wrote of it lost tail that is still there? */
static bool
is_open_here(const char *class_name, const struct mrd_snap_partition *p)
{
	const char *class = quote_literal_cstr(class_name);
	const char *partition = quote_literal_cstr(p->name);

	return meridian_sql_any(psprintf("SELECT FROM meridian.promotion WHERE class = %s AND partition = %s "
									 "AND opened_epoch >= " UINT64_FORMAT " AND NOT EXISTS ("
									 "SELECT FROM meridian.reconcile_entry WHERE origin = %s AND class = %s "
									 "AND partition = %s AND repaired_epoch IS NULL)",
									 class, partition, p->authority.epoch,
									 quote_literal_cstr(meridian_apply.origin), class, partition));
}

/*
 * Do the rows of a table that was just made here come with its definition, because
 * this region is their home?  What of them is lost tail is known only where the
 * stream has come to, that is not in a join.
 */
static bool
comes_along(const struct mrd_snapshot *s, const char *class_name,
			const struct mrd_snap_partition *p, bool joining)
{
	const struct mrd_authority *a = &p->authority;

	return a->region == s->self && a->state != MRD_AUTH_VACANT &&
		(a->history_count == 0 || (!joining && is_open_here(class_name, p)));
}

/*
 * The partitions of the origin's table n that are to be copied, as MeridianCopied;
 * NIL: none.  all: in a join.  The snapshot is not looked at again before they are
 * all listed.
 */
static List *
choose_partitions(int n, Oid relid, bool all, List *only)
{
	const char *class_name = PQgetvalue(tables, n, 2);
	bool		defines = meridian_is_schema_home(meridian_apply.origin);
	bool		made = is_made_here(relid);
	const struct mrd_snapshot *s = meridian_snapshot();
	int			class = s == NULL ? -1 : mrd_snapshot_class(s, class_name);
	List	   *ret = NIL;

	if (class < 0 || (s->classes[class].replicas & (1u << s->self)) == 0)
		return NIL;
	for (int i = s->classes[class].first; i < s->classes[class].first + s->classes[class].count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		const MeridianCopied *want = wanted_of(only, relid, p->name);
		bool		marked = is_marked(s, n, p);
		bool		lent = want != NULL && want->lent;
		bool		along = made && (defines || marked) && comes_along(s, class_name, p, all);

		if (want != NULL && want->along)
			along = defines && is_bare(n, relid, p->name);
		else
			lent = lent && marked;
		if (!along && !(lent && !want->along) &&
			!(marked && (all || (want != NULL && !want->lent)) && meridian_takeable(s, i, meridian_apply.origin) &&
			  has_opened(class_name, p->name, &p->authority)))
			continue;
		ret = lappend(ret, meridian_copied_new(relid, class_name, p->name,
											   lent ? want->epoch : p->authority.epoch, lent || along));
	}
	return ret;
}

/* The rows of these partitions, as a condition */
static char *
condition_of(List *partitions, const char *partition_by)
{
	StringInfoData out;
	ListCell   *lc;

	if (partition_by == NULL)
		return pstrdup("true");
	initStringInfo(&out);
	appendStringInfo(&out, "%s IN (", quote_identifier(partition_by));
	foreach(lc, partitions)
		appendStringInfo(&out, "%s%s", lc == list_head(partitions) ? "" : ", ",
						 quote_literal_cstr(((MeridianCopied *) lfirst(lc))->partition));
	appendStringInfoChar(&out, ')');
	return out.data;
}

static void
lost_source(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("lost region \"%s\" during the copy: %s", meridian_apply.origin,
					pchomp(PQerrorMessage(source)))));
}

/* COPY FROM asks for bytes; the origin's COPY TO has them. */
static int
next_bytes(void *out, int min, int max)
{
	static unsigned rows = 0;
	int			copied = 0;

	while (copied < min)
	{
		int			n;

		if (row == NULL)
		{
			/* a copy that never waits has to look up from its work, too */
			if (++rows % 64 == 0)
				meridian_apply_heed();
			row_len = PQgetCopyData(source, &row, 1);
			row_used = 0;
			if (row_len == -1)
				break;
			if (row_len < 0)
				lost_source();
			if (row_len == 0)
			{
				row = NULL;
				meridian_link_wait(source, WL_SOCKET_READABLE, 50);
				if (!PQconsumeInput(source))
					lost_source();
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
			lost_source();
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

/* What this region is home of may be written as soon as it is here. */
static List *
mark_own(List *copied)
{
	List	   *own = NIL;
	ListCell   *lc;

	foreach(lc, copied)
	{
		if (!((MeridianCopied *) lfirst(lc))->lent)
			continue;
		own = lappend(own, lfirst(lc));
		copied = foreach_delete_current(copied, lc);
	}
	meridian_mark_now(own);
	return copied;
}

static uint64
copy_rows(const char *schema_name, const char *table_name, const char *condition)
{
	RangeVar   *rv = makeRangeVar(pstrdup(schema_name), pstrdup(table_name), -1);
	List	   *columns = stored_columns(schema_name, table_name);
	char	   *name = quote_qualified_identifier(schema_name, table_name);
	Relation	rel = table_openrv(rv, RowExclusiveLock);
	ParseState *pstate = make_parsestate(NULL);
	CopyFromState state;
	uint64		n;

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

/* Which partitions are to be copied of those in only?  None that this region is home of. */
List *
meridian_copy_choose(List *only)
{
	List	   *ret = NIL;

	for (int i = 0; i < PQntuples(tables); i++)
	{
		Oid			relid = meridian_table(PQgetvalue(tables, i, 0), PQgetvalue(tables, i, 1));

		if (OidIsValid(relid))
			ret = list_concat(ret, choose_partitions(i, relid, false, only));
	}
	return ret;
}

/*
 * Replace the rows of the partitions that the origin is home of, or of those
 * among only, by the origin's.  Those that this region is home of are marked in the
 * same transaction.  Returns the others.
 */
List *
meridian_copy_rows(bool all, List *only)
{
	List	   *ret = NIL;
	uint64		rows = 0;

	for (int i = 0; i < PQntuples(tables); i++)
	{
		const char *schema_name = PQgetvalue(tables, i, 0);
		const char *table_name = PQgetvalue(tables, i, 1);
		const char *by = PQgetisnull(tables, i, 3) ? NULL : PQgetvalue(tables, i, 3);
		Oid			relid = meridian_table(schema_name, table_name);
		List	   *partitions = choose_partitions(i, relid, all, only);

		if (partitions == NIL)
			continue;
		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table \"%s.%s\" does not exist here yet", schema_name, table_name)));
		rows += copy_rows(schema_name, table_name, condition_of(partitions, by));
		ret = list_concat(ret, partitions);
	}
	if (ret != NIL)
		ereport(LOG,
				(errmsg("copied " UINT64_FORMAT " rows of %d partitions of tables from region \"%s\"",
						rows, list_length(ret), meridian_apply.origin)));
	return mark_own(ret);
}
