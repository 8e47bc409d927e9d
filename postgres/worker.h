/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What the files of an apply worker's own loop share: connect.c, receive.c,
 *	  apply.c, accept.c, orders.c and positions.c, each of which calls those that
 *	  come after it; and copier.c, the other worker that copies for it.  What they offer to rows.c, join.c, cover.c, tail.c and
 *	  repair.c is in apply.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_WORKER_H
#define MERIDIAN_WORKER_H

#include "apply.h"

/*
 * One origin's part of the stream, with positions in its own WAL.  The first is
 * the region we are connected to; the others are those that it hands over.
 */
typedef struct MeridianPart
{
	char		region[MRD_NAME_MAX];
	RepOriginId id;
	XLogRecPtr	done_lsn;		/* applied, perhaps not yet durable */
	XLogRecPtr	mark_lsn;		/* done_lsn when what follows the WAL writer last looked */
	XLogRecPtr	durable_lsn;
	bool		closed;			/* not to be handed over any more */
} MeridianPart;

extern int	meridian_part_count;
extern MeridianPart meridian_parts[MRD_REGIONS_MAX + 1];

#define MERIDIAN_FLUSH_AFTER_MS 5	/* what is applied, at the latest if nothing follows */

#define meridian_own (&meridian_parts[0])

/* connect.c */
extern void meridian_worker_prepare(void);

/* copier.c: the apply worker is on its way out; the copier looks whether it is still wanted */
extern void meridian_copier_abandon(void);
extern void meridian_copier_heed(void);

/* receive.c: returns when the order has changed or another stream is wanted */
extern void meridian_receive(void);
extern void meridian_receive_stop(void);

/* apply.c */
extern void meridian_apply_reset(void); /* a new stream */
extern void meridian_apply_malformed(int rc) pg_attribute_noreturn();
extern void meridian_apply_frame(const char *data, size_t len);
extern void meridian_apply_abandon(void);
extern void meridian_apply_tend(const struct mrd_snapshot *s);
extern void meridian_apply_tend_cover(void);

/* accept.c: of the transaction at hand, as stamped so far */
extern enum mrd_accept meridian_accept_verdict(const struct mrd_snapshot *s);
extern bool meridian_accept_past_is_here(const struct mrd_snapshot *s);
extern bool meridian_accept_wait(void); /* false: it must end here */

/* orders.c */
extern enum mrd_stream_order meridian_order(const struct mrd_snapshot *s);
extern void meridian_orders_state(MeridianStreamState state);
extern void meridian_orders_wait(long ms);

/* Waits for our own lease; NULL: the order is not to run any more. */
extern const struct mrd_snapshot *meridian_orders_go_on(void);

/* Is the transaction at hand one that this stream should bring? */
extern bool meridian_orders_still_ours(const struct mrd_snapshot *s);
extern bool meridian_forward_allowed(const MeridianPart *f, const struct mrd_snapshot *s);
extern void meridian_forward_close(MeridianPart *f);
extern bool meridian_forwards_wanted(const struct mrd_snapshot *s);
extern bool meridian_forwards_left(const struct mrd_snapshot *s);
extern void meridian_forwards_begin(void);

/* positions.c: the session's replication origin */
extern void meridian_origin_use(RepOriginId id);
extern void meridian_origin_drop(void);
extern void meridian_origin_advance(XLogRecPtr lsn);

/* positions.c: parts of the stream */
extern void meridian_part_begin_own(RepOriginId id);
extern MeridianPart *meridian_part_forwarded(const char *region);	/* NULL: it is not */
extern void meridian_part_reached(MeridianPart *part, XLogRecPtr lsn);

/* positions.c: what a connection and a stream begin from */
extern void meridian_positions_connected(void);
extern void meridian_positions_slot(XLogRecPtr confirmed);
extern void meridian_positions_begin(void);

/* positions.c: what arrives */
extern void meridian_positions_heard(XLogRecPtr end);	/* of the sender's WAL */
extern void meridian_positions_kept_alive(XLogRecPtr end);
extern void meridian_positions_applied(XLogRecPtr lsn); /* all before is here */
extern void meridian_positions_committed(XLogRecPtr local_end); /* in our WAL */
extern XLogRecPtr meridian_positions_done(void);
extern void meridian_positions_note(const char *region, XLogRecPtr lsn, XLogRecPtr at);
extern void meridian_positions_remember(const char *region, XLogRecPtr lsn);

/* positions.c: what is said of it */
extern bool meridian_positions_dirty(void);
extern bool meridian_positions_backlog(void);
extern void meridian_positions_durable(void);
extern void meridian_positions_publish(void);
extern void meridian_positions_report(void);
extern bool meridian_positions_report_due(void);	/* true: and it was said */
extern void meridian_positions_flush(void);
extern void meridian_positions_flush_due(void);
extern void meridian_positions_follow(void);
extern bool meridian_positions_held_back(XLogRecPtr end);

#endif							/* MERIDIAN_WORKER_H */
