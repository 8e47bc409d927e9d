/*-------------------------------------------------------------------------
 *
 * guard_shared.c
 *	  Who is writing which partition: the guard's counters in shared memory.
 *
 * A planned move must know that no commit of the old epoch is left.  So a
 * transaction counts itself in before it reads the snapshot: whoever reads
 * "open" was counted before the agent's "frozen" could be followed by a count
 * of zero.  The same order holds once more around the commit, with a second
 * counter: a drain that ran out of patience takes the right to commit from
 * those in flight (drains is how often that happened; a transaction remembers
 * the number it started with) and then has to wait only for those that are past
 * their last check.  Both increments are full barriers.
 *
 * A backend that ends takes itself out in its abort; one that is killed takes
 * the server's shared memory with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "guard.h"
#include "meridian.h"

#define GUARD_SLOTS_MAX (2 * MRD_PARTITIONS_MAX)	/* room for renamed ones */
#define DRAIN_POLL_MS 2

typedef struct GuardShared
{
	LWLock	   *lock;			/* protects adding slots and the first write */
	pg_atomic_uint32 count;
	GuardSlot	slots[GUARD_SLOTS_MAX];
} GuardShared;

static GuardShared *shared;

Size
meridian_guard_shmem_size(void)
{
	return sizeof(GuardShared);
}

void
meridian_guard_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("meridian guard", sizeof(GuardShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(GuardShared));
		shared->lock = &GetNamedLWLockTranche("meridian")->lock;
		pg_atomic_init_u32(&shared->count, 0);
		for (int i = 0; i < GUARD_SLOTS_MAX; i++)
		{
			pg_atomic_init_u32(&shared->slots[i].in_flight, 0);
			pg_atomic_init_u32(&shared->slots[i].committing, 0);
			pg_atomic_init_u32(&shared->slots[i].drains, 0);
			pg_atomic_init_u64(&shared->slots[i].first_write_epoch, 0);
			pg_atomic_init_u64(&shared->slots[i].first_write_ms, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

static GuardSlot *
slot_find(const char *class_name, const char *partition)
{
	uint32		count = pg_atomic_read_u32(&shared->count);

	pg_read_barrier();
	for (uint32 i = 0; i < count; i++)
	{
		GuardSlot  *slot = &shared->slots[i];

		if (strcmp(slot->class_name, class_name) == 0 &&
			strcmp(slot->partition, partition) == 0)
			return slot;
	}
	return NULL;
}

GuardSlot *
meridian_guard_slot(const char *class_name, const char *partition)
{
	GuardSlot  *slot = slot_find(class_name, partition);
	uint32		count;

	if (slot != NULL)
		return slot;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = slot_find(class_name, partition);
	count = pg_atomic_read_u32(&shared->count);
	if (slot == NULL && count < GUARD_SLOTS_MAX)
	{
		slot = &shared->slots[count];
		strlcpy(slot->class_name, class_name, MRD_NAME_MAX);
		strlcpy(slot->partition, partition, MRD_NAME_MAX);
		pg_write_barrier();
		pg_atomic_write_u32(&shared->count, count + 1);
	}
	LWLockRelease(shared->lock);
	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("cannot guard more than %d partitions since the server started",
						GUARD_SLOTS_MAX),
				 errhint("Restart the server to forget partitions that are no longer configured.")));
	return slot;
}

void
meridian_guard_first_write(GuardSlot *slot, mrd_epoch epoch, uint64 wall_ms)
{
	if (likely(pg_atomic_read_u64(&slot->first_write_epoch) >= epoch))
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&slot->first_write_epoch) < epoch)
	{
		pg_atomic_write_u64(&slot->first_write_ms, wall_ms);
		pg_atomic_write_u64(&slot->first_write_epoch, epoch);
	}
	LWLockRelease(shared->lock);
}

/*
 * For the agent
 */

void
meridian_guard_state(const char *class_name, const char *partition,
					 MeridianGuardState *ret)
{
	GuardSlot  *slot = slot_find(class_name, partition);

	memset(ret, 0, sizeof(*ret));
	if (slot == NULL)
		return;
	ret->in_flight = pg_atomic_read_u32(&slot->in_flight);
	LWLockAcquire(shared->lock, LW_SHARED);
	ret->first_write_epoch = pg_atomic_read_u64(&slot->first_write_epoch);
	ret->first_write_ms = pg_atomic_read_u64(&slot->first_write_ms);
	LWLockRelease(shared->lock);
}

bool
meridian_guard_committing(const char *class_name, const char *partition)
{
	GuardSlot  *slot = slot_find(class_name, partition);

	pg_memory_barrier();
	return slot != NULL && pg_atomic_read_u32(&slot->committing) > 0;
}

bool
meridian_guard_drain(const char *class_name, const char *partition, int wait_ms)
{
	GuardSlot  *slot = meridian_guard_slot(class_name, partition);
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(), wait_ms);

	for (;;)
	{
		pg_memory_barrier();
		if (pg_atomic_read_u32(&slot->in_flight) == 0)
			return true;
		if (meridian_instant() >= until)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 DRAIN_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	pg_atomic_fetch_add_u32(&slot->drains, 1);
	return pg_atomic_read_u32(&slot->committing) == 0;
}
