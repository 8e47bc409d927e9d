/*-------------------------------------------------------------------------
 *
 * unfenced_outcome.c
 *	  What follows from what this region has past a cut.
 *
 * What was found (unfenced_wal.c) is filed already.  All regions are told of it, so
 * that they have the same queue.  The partitions that it touched are gaps from now
 * on (gaps.c), so the present home's rows replace ours.  Where our WAL does not show
 * that there was nothing, the partition is copied as well: it shows that only if it
 * reaches back to the cut.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "replication/message.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "plugin.h"
#include "unfenced.h"

/* In what is told of an entry, its stamp is missing: it is of nobody's present epoch. */
bool
meridian_unfenced_may_tell(const struct mrd_snapshot *s, const char *teller, const char *origin,
						   const char *class_name, const char *partition, uint64 epoch)
{
	int			n = mrd_snapshot_find(s, class_name, partition);
	int			by = n < 0 ? -1 : mrd_snapshot_region(s, teller);
	int			of = n < 0 ? -1 : mrd_snapshot_region(s, origin);

	return by >= 0 && of >= 0 && by != of &&
		(s->classes[s->partitions[n].class_index].replicas >> by & 1) != 0 &&
		mrd_authority_accepts(&s->partitions[n].authority, (mrd_region) of, epoch,
							  PG_UINT64_MAX) != MRD_ACCEPT;
}

/* The entry in this row of the last query */
static void
tell_entry(const struct mrd_snapshot *s, const char *origin, int row)
{
	MeridianWireEntry *e = palloc0(sizeof(*e));
	MeridianWireOut out;

	strlcpy(e->origin, origin, sizeof(e->origin));
	strlcpy(e->class_name, meridian_sql_text(row, 1), sizeof(e->class_name));
	strlcpy(e->partition, meridian_sql_text(row, 2), sizeof(e->partition));
	e->commit_lsn = DatumGetLSN(meridian_sql_datum(row, 3));
	e->seq = (uint32) DatumGetInt32(meridian_sql_datum(row, 4));
	e->epoch = (uint64) DatumGetInt64(meridian_sql_datum(row, 5));
	e->committed_at = DatumGetTimestampTz(meridian_sql_datum(row, 6));
	strlcpy(e->relation, meridian_sql_text(row, 7), sizeof(e->relation));
	strlcpy(e->operation, meridian_sql_text(row, 8), sizeof(e->operation));
	strlcpy(e->status, "open", sizeof(e->status));
	e->before = meridian_sql_text(row, 9);
	e->before_len = e->before == NULL ? 0 : strlen(e->before);
	e->after = meridian_sql_text(row, 10);
	e->after_len = e->after == NULL ? 0 : strlen(e->after);
	if (meridian_unfenced_may_tell(s, meridian_region, origin, e->class_name, e->partition, e->epoch))
	{
		meridian_wire_out_init(&out);
		meridian_wire_put_entry(&out, e);
		if (out.failed)
			ereport(LOG,
					(errmsg("an entry of table %s is too long to be told: only this region has it in meridian.reconcile",
							e->relation)));
		else
			(void) LogLogicalMessage(MERIDIAN_ENTRY_PREFIX, (char *) out.data, out.len, true);
		pfree(out.data);
	}
	pfree(e);
}

/* All regions have the same queue. */
static void
tell_entries(const struct mrd_snapshot *s, const MeridianPasts *found)
{
	ListCell   *lc;

	foreach(lc, found->lost)
	{
		SPI_execute(psprintf("SELECT class, partition, commit_lsn, seq, epoch, committed_at, relation, operation, "
							 "before::text, after::text FROM meridian.reconcile_entry "
							 "WHERE origin = %s AND commit_lsn = '%X/%X' AND status = 'open' ORDER BY seq",
							 quote_literal_cstr(found->origin), LSN_FORMAT_ARGS(*(XLogRecPtr *) lfirst(lc))), false, 0);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char	   *class_name = meridian_sql_text((int) i, 1);
			char	   *partition = meridian_sql_text((int) i, 2);
			ListCell   *of;

			tell_entry(s, found->origin, (int) i);
			foreach(of, found->pasts)
			{
				MeridianPast *p = lfirst(of);

				p->rows += strcmp(p->class_name, class_name) == 0 && strcmp(p->partition, partition) == 0;
			}
		}
	}
}

/* Rows that were copied from the origin are not in our WAL as transactions of its. */
static bool
copied_past_cut(const MeridianPast *p)
{
	return meridian_sql_any(psprintf("SELECT FROM meridian.copied c JOIN meridian.attachment a USING (relid) "
									 "WHERE a.class = %s AND c.partition = %s AND c.epoch = " UINT64_FORMAT
									 " AND c.reached > '%X/%X'",
									 quote_literal_cstr(p->class_name), quote_literal_cstr(p->partition),
									 p->epoch, LSN_FORMAT_ARGS(p->cut)));
}

/*
 * Was all of it found?  Only if our WAL reaches back to the cut.  It does if the
 * present home's slot was there when we were (reach.c), as long as nobody takes the
 * lost home's stream again, and no other partition's cut let it go on further.
 */
static bool
is_complete(const struct mrd_snapshot *s, const char *from, const MeridianPast *p)
{
	int			n = mrd_snapshot_find(s, p->class_name, p->partition);
	int			origin = mrd_snapshot_region(s, from);
	mrd_region	home = n < 0 ? MRD_REGION_NONE : s->partitions[n].authority.region;
	char		slot[NAMEDATALEN];

	if (origin < 0 || home >= s->region_count || s->regions[origin].stream == MRD_STREAM_RUN ||
		meridian_furthest_cut(s, from) != p->cut || copied_past_cut(p))
		return false;
	meridian_stream_name(s->regions[home].name, slot, sizeof(slot));
	return meridian_reach_covers(slot, from, p->cut) &&
		meridian_sql_any(psprintf("SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %s "
								  "AND wal_status <> 'lost'", quote_literal_cstr(slot)));
}

static void
forget_marks(const struct mrd_snapshot *s, const MeridianPasts *found)
{
	ListCell   *lc;

	/* before the marks go, which it asks */
	foreach(lc, found->pasts)
		((MeridianPast *) lfirst(lc))->complete = is_complete(s, found->origin, lfirst(lc));
	foreach(lc, found->touched)
	{
		const MeridianWireStampEntry *e = lfirst(lc);

		meridian_forget_partition(s, e->class_name, e->partition, e->epoch);
	}
	foreach(lc, found->pasts)
	{
		MeridianPast *p = lfirst(lc);

		p->copied = p->transactions > 0 || !p->complete;
		if (p->copied)
			meridian_forget_partition(s, p->class_name, p->partition, p->epoch);
	}
}

static void
note_compared(const MeridianPasts *found)
{
	ListCell   *lc;

	foreach(lc, found->pasts)
	{
		MeridianPast *p = lfirst(lc);

		SPI_execute(psprintf("UPDATE meridian.past_cut SET compared_at = pg_catalog.now(), problem = NULL "
							 "WHERE class = %s AND partition = %s AND epoch = " UINT64_FORMAT,
							 quote_literal_cstr(p->class_name), quote_literal_cstr(p->partition),
							 p->epoch), false, 0);
	}
}

static void
say(const char *origin, const MeridianPast *p)
{
	meridian_audit(InvalidOid, InvalidOid,
				   "event=replica.past_cut region=%s class=%s partition=%s from=%s epoch=" UINT64_FORMAT
				   " cut=%X/%X reached=%X/%X transactions=" UINT64_FORMAT " rows=" UINT64_FORMAT
				   " complete=%s",
				   meridian_region, p->class_name, p->partition, origin, p->epoch,
				   LSN_FORMAT_ARGS(p->cut), LSN_FORMAT_ARGS(p->reached), p->transactions, p->rows,
				   p->complete ? "yes" : "no");
	ereport(LOG,
			(errmsg("this region held " UINT64_FORMAT " transactions of region \"%s\" that do not count in %s/%s: they are filed, and the partition is copied again",
					p->transactions, origin, p->class_name, p->partition),
			 p->complete ? 0 : errdetail("What of it this region's WAL may no longer have is not filed.")));
}

void
meridian_unfenced_conclude(const MeridianPasts *found)
{
	const struct mrd_snapshot *s = meridian_plugin_snapshot(); /* as of after the slot was copied */

	tell_entries(s, found);
	forget_marks(s, found);
	note_compared(found);
}

void
meridian_unfenced_say(const MeridianPasts *found)
{
	ListCell   *lc;

	foreach(lc, found->pasts)
	{
		if (((MeridianPast *) lfirst(lc))->copied)
			say(found->origin, lfirst(lc));
	}
}
