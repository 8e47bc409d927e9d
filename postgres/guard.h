/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What the guard's files share: guard.c, guard_shared.c, guard_trigger.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_GUARD_H
#define MERIDIAN_GUARD_H

#include "postgres.h"

#include "port/atomics.h"

#include "meridian.h"

/* One partition, in shared memory; names never change once set. */
typedef struct GuardSlot
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	pg_atomic_uint32 in_flight;
	pg_atomic_uint32 committing;
	pg_atomic_uint32 drains;
	pg_atomic_uint32 in_doubt;	/* commits whose outcome could not be reported */
	pg_atomic_uint64 first_write_epoch;
	pg_atomic_uint64 first_write_ms;
	pg_atomic_uint64 refused_why;	/* what the log said last of refusals, 0: nothing, ... */
	pg_atomic_uint64 refused_at;	/* ... when, as an instant, ... */
	pg_atomic_uint32 refused_more;	/* ... and how many there were since */
} GuardSlot;

/* The partition's slot; made when it is new, ERROR when there is no room. */
extern GuardSlot *meridian_guard_slot(const char *class_name, const char *partition);

/* A transaction that wrote under this epoch has committed. */
extern void meridian_guard_first_write(GuardSlot *slot, mrd_epoch epoch, uint64 wall_ms);

/*
 * This process is about to commit what waits for acknowledgements, under this
 * epoch of the partition; any number of them until meridian_guard_waited().
 */
extern void meridian_guard_waits(GuardSlot *slot, mrd_epoch epoch);
extern void meridian_guard_waited(void);

/*
 * Should the log have this refusal?  It has the first for a reason, and one
 * every minute while that lasts; *more is how many it did not have before.
 */
extern bool meridian_guard_says(const char *class_name, const char *partition,
								const struct mrd_verdict *v, uint32 *more);

/* Does this process write freely: an apply worker, or a server without a region? */
extern bool meridian_guard_idle(void);

/* meridian_touch for every partition of the class. */
extern void meridian_touch_class(const char *class_name);

/* meridian_touch for a value that need not end in NUL; cheap when it is repeated. */
extern void meridian_touch_value(const char *class_name, const char *data, size_t len);

#endif							/* MERIDIAN_GUARD_H */
