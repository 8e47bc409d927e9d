/*-------------------------------------------------------------------------
 *
 * accept.c
 *	  Does a remote transaction count, and is all here that it builds on?
 *
 * The authority of every partition that it was stamped for says whether it
 * counts, is lost tail, or cannot be told.  Its first changes may be faster than
 * the last ones of the home before it, which come another way: the older value
 * would win, so they wait for those.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "worker.h"

#define SAY_WHY_MS 1000			/* a wait that long is worth a word in links */

static int
partition_of(const struct mrd_snapshot *s, const MeridianWireStampEntry *stamp)
{
	int			n = mrd_snapshot_find(s, stamp->class_name, stamp->partition);

	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition %s/%s is not known here yet", stamp->class_name,
						stamp->partition)));
	return n;
}

/*
 * The epoch is older than is remembered.  Where all that counts of the epochs
 * before a later one is here already, what still comes of it is past its cut.
 * Elsewhere it may count, or not: nobody knows any more, so neither do we guess.
 */
static enum mrd_accept
forgotten(const MeridianWireStampEntry *stamp)
{
	if (meridian_settled_before(stamp->class_name, stamp->partition, stamp->epoch))
		return MRD_ACCEPT_TAIL;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("region \"%s\" sent a change of %s/%s from epoch " UINT64_FORMAT ", older than is remembered",
					meridian_apply.xact.origin, stamp->class_name, stamp->partition, stamp->epoch),
			 errhint("Copy it anew with: SELECT meridian.copy_again('%s').", meridian_apply.xact.origin)));
}

/* What the authorities in s say of the transaction's stamps, the worst of all. */
enum mrd_accept
meridian_accept_verdict(const struct mrd_snapshot *s)
{
	int			region = s == NULL ? -1 : mrd_snapshot_region(s, meridian_apply.xact.origin);
	enum mrd_accept worst = MRD_ACCEPT;

	if (region < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("region \"%s\" is not in the snapshot", meridian_apply.xact.origin)));
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		int			n = partition_of(s, &meridian_apply.xact.stamps.entries[i]);
		enum mrd_accept a;

		a = mrd_authority_accepts(&s->partitions[n].authority, (mrd_region) region,
								  meridian_apply.xact.stamps.entries[i].epoch,
								  meridian_apply.xact.lsn);
		if (a == MRD_ACCEPT_GONE)
			a = forgotten(&meridian_apply.xact.stamps.entries[i]);
		worst = Max(worst, a);
	}
	return worst;
}

/*
 * Our positions of all regions, by index in s; 0 where there never was a stream.
 * What the sender forwards stands before its own changes in its WAL if it does
 * in time, and a home writes nothing before it has the past itself: in its own
 * transactions everything forwarded is here, whatever position we know.
 */
static void
positions(const struct mrd_snapshot *s, mrd_lsn ret[MRD_REGIONS_MAX])
{
	memset(ret, 0, sizeof(mrd_lsn) * MRD_REGIONS_MAX);
	for (int i = 0; i < s->region_count; i++)
	{
		MeridianPart *f = meridian_part_forwarded(s->regions[i].name);

		if (f != NULL && meridian_apply.xact.origin_id == meridian_own->id)
			ret[i] = PG_UINT64_MAX;
		else
			ret[i] = Max(meridian_stream_applied(s->regions[i].name), f == NULL ? 0 : f->done_lsn);
	}
}

/* Is all here that the transaction's epochs begin from, and known how they end? */
bool
meridian_accept_past_is_here(const struct mrd_snapshot *s)
{
	MeridianWireStamp *all = &meridian_apply.xact.stamps;
	int			origin = mrd_snapshot_region(s, meridian_apply.xact.origin);
	mrd_lsn		applied[MRD_REGIONS_MAX];
	bool		known = false;

	for (int i = 0; i < all->count; i++)
	{
		const struct mrd_authority *a = &s->partitions[partition_of(s, &all->entries[i])].authority;

		if (!mrd_authority_settled(a, (mrd_region) origin, all->entries[i].epoch))
			return false;
		if (a->history_count == 0 && all->entries[i].epoch <= a->epoch)
			continue;			/* the usual case, for nothing */
		if (!known)
			positions(s, applied);
		known = true;
		if (!mrd_authority_complete(a, s->self, (mrd_region) origin, all->entries[i].epoch, applied))
			return false;
	}
	return true;
}

/*
 * A new home's first changes may be here before the last ones of the home
 * before it, which come another way: wait for those.  They may also be meant to
 * come by this very stream, started anew.  false: this transaction must end here.
 */
bool
meridian_accept_wait(void)
{
	TimestampTz since = meridian_instant();

	if (meridian_positions_dirty())
		meridian_positions_flush(); /* of what came before */
	while (!meridian_accept_past_is_here(meridian_apply.present))
	{
		meridian_apply.present = meridian_orders_go_on();
		if (meridian_apply.present == NULL)
			return false;
		if (meridian_forwards_wanted(meridian_apply.present) ||
			!meridian_orders_still_ours(meridian_apply.present))
		{
			meridian_apply.reconnect = true;
			return false;
		}
		if (TimestampDifferenceExceeds(since, meridian_instant(), SAY_WHY_MS) &&
			meridian_apply.stream->state != MERIDIAN_STREAM_WAITING)
			meridian_stream_state(meridian_apply.stream, MERIDIAN_STREAM_WAITING,
								  "what an earlier home wrote is not here, or not decided, yet");
		meridian_orders_wait(10);
	}
	meridian_orders_state(MERIDIAN_STREAM_RUNNING);
	return true;
}
