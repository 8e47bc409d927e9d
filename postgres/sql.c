/*-------------------------------------------------------------------------
 *
 * sql.c
 *	  Statements on the extension's own tables, as an apply worker runs them.
 *
 * Between meridian_sql_begin() and meridian_sql_end() is a transaction of its own,
 * connected to SPI.  run, text and datum want that connection, or another; any and
 * write want a transaction that runs, and connect for themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"

#include "apply.h"

/* The time of the transaction is that of its beginning, however old the worker is. */
void
meridian_sql_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

void
meridian_sql_end(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Does the query have a row, in the active snapshot? */
bool
meridian_sql_any(const char *query)
{
	bool		ret;

	SPI_connect();
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", query);
	ret = SPI_processed == 1;
	SPI_finish();
	return ret;
}

/* In the SPI connection at hand; how many rows it was about */
int
meridian_sql_run(const char *sql, int n, Oid *types, Datum *values)
{
	int			rc = SPI_execute_with_args(sql, n, types, values, NULL, false, 0);

	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(rc));
	return (int) SPI_processed;
}

/* Of the last query: a column of a row as text; NULL where there is none */
char *
meridian_sql_text(int row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

/* 0 where there is none */
Datum
meridian_sql_datum(int row, int column)
{
	bool		isnull;
	Datum		ret = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? (Datum) 0 : ret;
}

/* One statement of the transaction at hand, which sees what that has done before */
void
meridian_sql_write(const char *sql, int n, Oid *types, Datum *values, const char *nulls,
				   int expected)
{
	int			rc;

	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	rc = SPI_execute_with_args(sql, n, types, values, nulls, false, 0);
	if (rc != expected)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(rc));
	SPI_finish();
	PopActiveSnapshot();
	CommandCounterIncrement();
}
