/*-------------------------------------------------------------------------
 *
 * orders.c
 *	  What the snapshot has an apply worker do: its own order, its region's lease,
 *	  and whose changes the region it is connected to hands over.
 *
 * Without a lease the worker pauses, connected.  An order that is not to run any
 * more ends it; it must not end late, because cuts are decided on what refused
 * streams report, so whoever waits heeds the orders meanwhile.  A worker that is
 * held up by a lock or a long statement cannot look; the launcher ends it.
 *
 * An origin is handed over only once its own worker has ended, and its positions
 * go on where that one left them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "worker.h"

#define SPARE_WAIT_MS 10000		/* for a spare connection, when nothing presses */

enum mrd_stream_order
meridian_order(const struct mrd_snapshot *s)
{
	int			n = s == NULL ? -1 : mrd_snapshot_region(s, meridian_apply.origin);

	return n < 0 ? MRD_STREAM_NONE : (enum mrd_stream_order) s->regions[n].stream;
}

/*
 * Called wherever we wait for another region outside the stream itself.  A
 * region that is being given up is often one that does not answer; whoever
 * waits for our refusal must not wait for that, too.
 */
void
meridian_apply_heed(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (!meridian_apply.streaming && s != NULL && meridian_order(s) != MRD_STREAM_RUN)
		proc_exit(0);
	meridian_copier_heed();
}

void
meridian_orders_state(MeridianStreamState state)
{
	if (meridian_apply.stream->state != state || meridian_apply.stream->error[0] != '\0')
		meridian_stream_state(meridian_apply.stream, state, NULL);
}

/* Nothing is applied meanwhile, but what is due is said. */
void
meridian_orders_wait(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	(void) meridian_positions_report_due();
}

/*
 * Wait until the region's own lease lets us apply; the snapshot that says so.
 * NULL: the order is not to run any more.
 */
const struct mrd_snapshot *
meridian_orders_go_on(void)
{
	for (;;)
	{
		const struct mrd_snapshot *s = meridian_snapshot_lately();

		if (s != NULL && meridian_order(s) != MRD_STREAM_RUN)
		{
			meridian_apply.leave = true;
			return NULL;
		}
		if (s != NULL && mrd_may_apply(s, meridian_boot_ns()))
			return s;
		meridian_orders_state(MERIDIAN_STREAM_PAUSED);
		meridian_orders_wait(20);
	}
}

/* ----------------------------------------------------------------
 * handed over
 * ----------------------------------------------------------------
 */

/* Is the region at index to be handed over by the one we are connected to? */
static bool
ordered_from_us(const struct mrd_snapshot *s, int index)
{
	return index >= 0 && s->regions[index].stream == MRD_STREAM_FORWARD &&
		s->regions[index].via == mrd_snapshot_region(s, meridian_apply.origin);
}

bool
meridian_forward_allowed(const MeridianPart *f, const struct mrd_snapshot *s)
{
	return !f->closed && (s == NULL || ordered_from_us(s, mrd_snapshot_region(s, f->region)));
}

/* Is the transaction at hand one that this stream should bring? */
bool
meridian_orders_still_ours(const struct mrd_snapshot *s)
{
	const MeridianXact *x = &meridian_apply.xact;

	return x->origin_id == meridian_own->id ||
		meridian_forward_allowed(meridian_part_forwarded(x->origin), s);
}

/*
 * Which origins are to be handed over by the region we are connected to?  Those
 * whose own workers have ended, as the launcher says, and of which something is
 * missing.
 */
static int
forward_list(const struct mrd_snapshot *s, const char *names[])
{
	int			n = 0;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	for (int i = 0; i < s->region_count; i++)
	{
		const MeridianStream *stream = meridian_stream_find(s->regions[i].name);

		if (ordered_from_us(s, i) && stream != NULL &&
			stream->state == MERIDIAN_STREAM_FORWARDED &&
			/* never copied from: what it wrote is in its successor's copy */
			stream->applied_lsn != InvalidXLogRecPtr &&
			stream->applied_lsn < meridian_furthest_cut(s, stream->origin))
			names[n++] = s->regions[i].name;
	}
	LWLockRelease(meridian_streams->lock);
	return n;
}

/* Is an origin to be handed over that this stream was not asked for? */
bool
meridian_forwards_wanted(const struct mrd_snapshot *s)
{
	const char *names[MRD_REGIONS_MAX];
	int			n = forward_list(s, names);

	for (int i = 0; i < n; i++)
	{
		const MeridianPart *f = meridian_part_forwarded(names[i]);

		if (f == NULL || f->closed)
			return true;
	}
	return false;
}

/* From now on this process applies nothing of the origin; its positions stand. */
void
meridian_forward_close(MeridianPart *f)
{
	MeridianStream *s;

	if (f->closed)
		return;
	f->closed = true;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(f->region);
	if (s != NULL && s->forwarder == MyProcPid)
		s->forwarder = 0;
	LWLockRelease(meridian_streams->lock);
}

/*
 * Let go of what is not to be handed over any more.  That needs no new
 * connection, and a pause in this stream is a pause for those who commit at its
 * home: it can wait for a spare one.  true: connect again.
 */
bool
meridian_forwards_left(const struct mrd_snapshot *s)
{
	bool		any = false;

	for (int i = 1; i < meridian_part_count; i++)
	{
		if (!meridian_parts[i].closed && !meridian_forward_allowed(&meridian_parts[i], s))
		{
			meridian_positions_flush();
			meridian_forward_close(&meridian_parts[i]);
		}
		any = any || meridian_parts[i].closed;
	}
	return any && (meridian_link_has_spare() ||
				   TimestampDifferenceExceeds(meridian_apply.began, meridian_instant(), SPARE_WAIT_MS));
}

static void
begin_forward(const char *region)
{
	MeridianPart *f = &meridian_parts[meridian_part_count];
	MeridianStream *s;

	memset(f, 0, sizeof(*f));
	f->id = meridian_stream_origin(region);
	if (f->id == InvalidRepOriginId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot take the changes of region \"%s\" from \"%s\": it was never copied here",
						region, meridian_apply.origin)));
	strlcpy(f->region, region, MRD_NAME_MAX);
	meridian_origin_use(f->id);
	f->done_lsn = f->durable_lsn = replorigin_session_get_progress(true);
	meridian_part_count++;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(region);
	if (s != NULL)
		s->forwarder = MyProcPid;
	LWLockRelease(meridian_streams->lock);
}

/*
 * The launcher takes an origin that nobody forwards for one that nobody applies,
 * so the order is looked at again after we have said that we do.
 */
void
meridian_forwards_begin(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	const char *names[MRD_REGIONS_MAX];
	int			n = s == NULL ? 0 : forward_list(s, names);

	for (int i = 0; i < n; i++)
		begin_forward(pstrdup(names[i]));
	s = meridian_snapshot();
	for (int i = 1; i < meridian_part_count; i++)
	{
		if (!meridian_forward_allowed(&meridian_parts[i], s))
			meridian_forward_close(&meridian_parts[i]);
	}
}
