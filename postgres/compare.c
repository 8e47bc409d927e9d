/*-------------------------------------------------------------------------
 *
 * compare.c
 *	  Are tables defined here as they are at the schema's home?
 *
 * A region whose slot there was lost copies rows, but what it missed were
 * statements as well.  The definitions that it has are not the home's any more,
 * rows would be copied into columns that are not meant, and the first statement
 * that builds on a missed one would stop the stream.  Nobody can tell from the two
 * definitions what was run (a column renamed, or one dropped and one added), so the
 * copy is refused and a person repeats it.
 *
 * Both sides describe each table by the same query, in lines: columns,
 * constraints, indexes, triggers, and the labels of enumerations.  Owners and
 * privileges are each region's own affair here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "apply.h"

/* %s: schema, table, as literals; search_path is empty on both sides */
static const char describe[] =
"WITH rel AS (SELECT c.oid FROM pg_catalog.pg_class c "
"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s), "
"columns AS (SELECT a.* FROM pg_catalog.pg_attribute a JOIN rel ON a.attrelid = rel.oid "
"WHERE a.attnum > 0 AND NOT a.attisdropped), "
"lines AS (SELECT pg_catalog.format('column %%I %%s%%s%%s%%s%%s', a.attname, "
"pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END, "
"' generated ' || nullif(a.attgenerated::pg_catalog.text, ''), ' identity ' || nullif(a.attidentity::pg_catalog.text, ''), "
"' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid)) AS line "
"FROM columns a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
"UNION ALL SELECT pg_catalog.format('constraint %%I %%s', k.conname, pg_catalog.pg_get_constraintdef(k.oid)) "
"FROM pg_catalog.pg_constraint k JOIN rel ON k.conrelid = rel.oid "
"UNION ALL SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i JOIN rel ON i.indrelid = rel.oid "
"WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid) "
"UNION ALL SELECT pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t JOIN rel ON t.tgrelid = rel.oid "
"WHERE NOT t.tgisinternal AND t.tgname !~ '^meridian_guard' "
"UNION ALL SELECT pg_catalog.format('type %%s %%s', pg_catalog.format_type(e.enumtypid, NULL), "
"pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)) "
"FROM pg_catalog.pg_enum e WHERE e.enumtypid IN (SELECT atttypid FROM columns) GROUP BY e.enumtypid) "
"SELECT line FROM lines ORDER BY line COLLATE \"C\"";

static List *
described_here(const char *sql)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *ret = NIL;

	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read a table's definition");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *line = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(caller);

		ret = lappend(ret, pstrdup(line));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return ret;
}

static List *
described_there(PGconn *source, const char *sql)
{
	PGresult   *res = meridian_link_exec(source, sql, PGRES_TUPLES_OK);
	List	   *ret = NIL;

	for (int i = 0; i < PQntuples(res); i++)
		ret = lappend(ret, pstrdup(PQgetvalue(res, i, 0)));
	PQclear(res);
	return ret;
}

/* The first line that only one of them has; NULL: none */
static const char *
only_in(List *one, List *other)
{
	ListCell   *lc;
	ListCell   *lo;

	foreach(lc, one)
	{
		bool		found = false;

		foreach(lo, other)
			found |= strcmp(lfirst(lc), lfirst(lo)) == 0;
		if (!found)
			return lfirst(lc);
	}
	return NULL;
}

/* ERROR when they differ: the table exists on both sides. */
void
meridian_compare_definition(PGconn *source, const char *schema_name, const char *table_name)
{
	char	   *sql = psprintf(describe, meridian_link_literal(source, schema_name),
							   meridian_link_literal(source, table_name));
	List	   *here = described_here(sql);
	List	   *there = described_there(source, sql);
	const char *more = only_in(there, here);
	const char *less = only_in(here, there);

	if (more == NULL && less == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s.%s\" is defined otherwise than at region \"%s\", whose statements this region missed",
					schema_name, table_name, meridian_apply.origin),
			 errdetail("Only there: %s. Only here: %s.", more == NULL ? "nothing" : more, less == NULL ? "nothing" : less),
			 errhint("Repeat here what was run there, as superuser with meridian.restoring on; the copy then goes on by itself.")));
}
