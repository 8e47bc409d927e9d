/*-------------------------------------------------------------------------
 *
 * receive.c
 *	  A running stream: bytes from the sender, and what is due between them.
 *
 * The loop takes what has arrived, and when nothing has, says how far we are and
 * looks at the orders; a busy stream looks at them every few milliseconds all
 * the same.  A sender that says nothing at all for long is taken for gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "worker.h"

#define NAP_MS 50				/* between looks at the orders while idle */
#define NOTE_SLOTS_MS 2000		/* between looks for slots that were made */
#define SILENT_MS 15000			/* no byte for so long: the link is dead */

/* ----------------------------------------------------------------
 * what arrives
 * ----------------------------------------------------------------
 */

/*
 * A sender that wants an answer at once is shutting down.  It stays until our
 * discard position is the end of its WAL, which may be never: notes hold it
 * back.  But it has sent all that it has, and we know; so the connection ends.
 */
static void
on_farewell(XLogRecPtr end)
{
	meridian_positions_flush();
	if (meridian_positions_held_back(end))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("region \"%s\" is shutting down", meridian_apply.origin)));
}

static void
on_keepalive(XLogRecPtr end, bool asked)
{
	meridian_positions_heard(end);
	if (meridian_apply.xact.open)
		return;
	meridian_positions_kept_alive(end);
	if (asked)
		on_farewell(end);
}

static void
on_copy_data(char *data, int len)
{
	StringInfoData s;
	XLogRecPtr	lsn;

	if (len < 1)
		meridian_apply_malformed(MRD_ESHORT);
	/* only read: what libpq handed out, for as long as the call lasts */
	s.data = data;
	s.len = s.maxlen = len;
	s.cursor = 0;
	switch (pq_getmsgbyte(&s))
	{
		case 'w':
			(void) pq_getmsgint64(&s);
			lsn = (XLogRecPtr) pq_getmsgint64(&s);
			(void) pq_getmsgint64(&s);
			meridian_positions_heard(lsn);
			meridian_apply.frame_end = lsn;
			meridian_apply_frame(data + s.cursor, (size_t) (len - s.cursor));
			break;
		case 'k':
			lsn = (XLogRecPtr) pq_getmsgint64(&s);
			(void) pq_getmsgint64(&s);
			on_keepalive(lsn, pq_getmsgbyte(&s) != 0);
			break;
		default:
			meridian_apply_malformed(MRD_EFORMAT);
	}
}

static void
lost(void)
{
	char	   *why = pchomp(PQerrorMessage(meridian_apply.conn));

	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("lost region \"%s\": %s", meridian_apply.origin,
					why[0] == '\0' ? "it closed the connection" : why)));
}

/* PostgreSQL's own errors do not say where what they refuse came from. */
static void
say_whose(void *arg)
{
	errcontext("changes of region \"%s\"", meridian_apply.origin);
}

/* true: something was read */
static bool
read_one(void)
{
	ErrorContextCallback whose = {.callback = say_whose, .previous = error_context_stack};
	char	   *data = NULL;
	int			len = PQgetCopyData(meridian_apply.conn, &data, 1);

	if (len == 0)
	{
		if (!PQconsumeInput(meridian_apply.conn))
			lost();
		len = PQgetCopyData(meridian_apply.conn, &data, 1);
	}
	if (len == 0)
		return false;
	if (len < 0)
		lost();
	meridian_apply.last_heard = meridian_instant();
	error_context_stack = &whose;
	on_copy_data(data, len);	/* an error ends the process */
	error_context_stack = whose.previous;
	PQfreemem(data);
	return true;
}

/* ----------------------------------------------------------------
 * the loop
 * ----------------------------------------------------------------
 */

static void
look_at_orders(void)
{
	static TimestampTz noted_slots = 0;
	const struct mrd_snapshot *s = meridian_snapshot();

	if (s == NULL)
		return;
	if (meridian_order(s) != MRD_STREAM_RUN)
		meridian_apply.leave = true;
	else if (meridian_apply.xact.open)
	{
		if (!meridian_orders_still_ours(s))
			meridian_apply.reconnect = true;	/* which abandons it */
	}
	else if (meridian_forwards_left(s) || meridian_forwards_wanted(s) || meridian_unfenced_news(s))
		meridian_apply.reconnect = true;
	else if (mrd_may_apply(s, meridian_boot_ns()))
	{
		meridian_orders_state(MERIDIAN_STREAM_RUNNING);
		meridian_apply_tend(s);
	}
	if (!meridian_apply.xact.open &&
		TimestampDifferenceExceeds(noted_slots, meridian_instant(), NOTE_SLOTS_MS))
	{
		meridian_reach_note(s);
		noted_slots = meridian_instant();
	}
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Nothing has arrived.  Someone may wait for our word on what we have, unless
 * the sender is catching up: then it has first what it can send at once.
 */
static void
idle(bool waited)
{
	TimestampTz now = meridian_instant();

	if (meridian_positions_dirty() && (waited || !meridian_positions_backlog()))
		meridian_positions_flush();
	else if (meridian_positions_report_due())
		meridian_positions_publish();
	if (TimestampDifferenceExceeds(meridian_apply.last_heard, now, SILENT_MS))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("lost region \"%s\": it has been silent for %d s", meridian_apply.origin,
						SILENT_MS / 1000)));
	look_at_orders();
	if (!meridian_apply.leave && !meridian_apply.reconnect)
		meridian_link_wait(meridian_apply.conn, WL_SOCKET_READABLE,
						   meridian_positions_dirty() ? MERIDIAN_FLUSH_AFTER_MS : NAP_MS);
}

/* Until the order has changed or another stream is wanted */
void
meridian_receive(void)
{
	TimestampTz looked = 0;
	int			waits = 0;

	meridian_apply.leave = meridian_apply.reconnect = false;
	meridian_apply.streaming = true;
	meridian_apply.began = meridian_instant();
	meridian_apply.last_heard = meridian_instant();
	while (!meridian_apply.leave && !meridian_apply.reconnect)
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_one())
			idle(waits++ > 0);
		else
		{
			waits = 0;
			meridian_positions_flush_due();
		}
		if (TimestampDifferenceExceeds(looked, meridian_instant(), NAP_MS))
		{
			look_at_orders();
			meridian_positions_follow();
			meridian_link_tend_spare(meridian_apply.conninfo);
			meridian_apply_tend_cover();
			looked = meridian_instant();
		}
	}
}

/* The order has changed, or the connection has failed: what is applied becomes durable. */
void
meridian_receive_stop(void)
{
	if (meridian_apply.xact.open)
		meridian_apply_abandon();
	meridian_positions_durable();
	meridian_positions_publish();
	for (int i = 1; i < meridian_part_count; i++)
		meridian_forward_close(&meridian_parts[i]);
	meridian_apply.streaming = false;
}
