/*-------------------------------------------------------------------------
 *
 * settled.c
 *	  Which epochs of a partition are behind us.
 *
 * The snapshot remembers how the last MRD_HISTORY_MAX epochs of each partition
 * ended.  A region that returns after more than that still has its lost tail,
 * and nobody can look up the cut.  But who once had everything that counts of
 * all epochs before some later one needs no cut: what still comes of them is
 * past it.  So each region writes down, per partition, the epoch up to which
 * it is complete, while the history still tells.
 *
 * A region that was away while more epochs passed than are remembered cannot
 * know that of the forgotten ones.  Its note stays where it was, and a change
 * of an epoch after it that is not remembered stops the stream (apply.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "apply.h"

static uint64 noted_version;	/* of the configuration that noted[] goes by */
static mrd_epoch noted[MRD_PARTITIONS_MAX];

/*
 * Our note of a partition moves on to its present epoch, unless epochs between
 * the two are forgotten.
 */
static void
note(const char *class_name, const char *partition, mrd_epoch epoch, mrd_epoch oldest)
{
	static const char upsert[] =
	"INSERT INTO meridian.settled AS s (class, partition, epoch) VALUES ($1, $2, $3) "
	"ON CONFLICT (class, partition) DO UPDATE SET epoch = excluded.epoch "
	"WHERE s.epoch < excluded.epoch AND s.epoch >= $4";
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, INT8OID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(class_name);
	values[1] = CStringGetTextDatum(partition);
	values[2] = Int64GetDatum((int64) epoch);
	values[3] = Int64GetDatum((int64) oldest);
	meridian_sql_begin();
	if (SPI_execute_with_args(upsert, 4, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.settled");
	meridian_sql_end();
}

void
meridian_settled_note(const struct mrd_snapshot *s, const mrd_lsn applied[MRD_REGIONS_MAX])
{
	if (noted_version != s->config_version)
		memset(noted, 0, sizeof(noted));
	noted_version = s->config_version;
	for (int i = 0; i < s->partition_count; i++)
	{
		struct mrd_authority a = s->partitions[i].authority;

		if (noted[i] >= a.epoch || a.state == MRD_AUTH_FENCING ||
			!mrd_authority_complete(&a, s->self, MRD_REGION_NONE, a.epoch, applied))
			continue;
		note(s->classes[s->partitions[i].class_index].name, s->partitions[i].name, a.epoch,
			 a.history_count == 0 ? 0 : a.history[0].epoch);
		noted[i] = a.epoch;
	}
}

bool
meridian_settled_before(const char *class_name, const char *partition, mrd_epoch epoch)
{
	static const char query[] =
	"SELECT FROM (SELECT epoch FROM meridian.settled WHERE class = $1 AND partition = $2 "
	"UNION ALL SELECT opened_epoch FROM meridian.promotion WHERE class = $1 AND partition = $2) AS x "
	"WHERE epoch > $3";
	bool		own_xact = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;
	Oid			types[3] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[3];
	bool		ret;

	if (own_xact)
		StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	values[0] = CStringGetTextDatum(class_name);
	values[1] = CStringGetTextDatum(partition);
	values[2] = Int64GetDatum((int64) epoch);
	if (SPI_execute_with_args(query, 3, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.settled");
	ret = SPI_processed > 0;
	SPI_finish();
	PopActiveSnapshot();
	if (own_xact)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return ret;
}
