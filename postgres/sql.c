/*-------------------------------------------------------------------------
 *
 * sql.c
 *	  Statements on the extension's own tables, as an apply worker runs them.
 *
 * Both want a transaction, and each connects to SPI for itself: whoever is
 * connected already runs its statements there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"

#include "apply.h"

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
