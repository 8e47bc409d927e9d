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
 * Waiting commits.  A commit that waits for acknowledgements cannot look up, and
 * at a home that was replaced, or cut off, it would wait for ever.  So it leaves
 * word under which epochs it commits, and the launcher looks for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit.h"
#include "compat.h"
#include "guard.h"
#include "meridian.h"

#define GUARD_SLOTS_MAX (2 * MRD_PARTITIONS_MAX)	/* room for renamed ones */
#define DRAIN_POLL_MS 2
#define REFUSED_AGAIN_US (60 * USECS_PER_SEC)

#define GUARD_WAITS_MAX 8		/* of one transaction; the others share its home's fate */

/*
 * One backend's waiting commit.  Only the backend writes; count is written last
 * and cleared first, and who reads a mixture sends a signal too many to somebody
 * who is waiting at a home that has just lost something.
 */
typedef struct GuardWaiter
{
	pid_t		pid;
	pg_atomic_uint32 count;
	struct
	{
		int			slot;
		mrd_epoch	epoch;
	}			under[GUARD_WAITS_MAX];
} GuardWaiter;

typedef struct GuardShared
{
	LWLock	   *lock;			/* protects adding slots and the first write */
	pg_atomic_uint64 lease_end_ns;	/* of the last lease seen, by the launcher or a waiting commit */
	pg_atomic_uint32 count;
	GuardSlot	slots[GUARD_SLOTS_MAX];
	GuardWaiter waiters[FLEXIBLE_ARRAY_MEMBER]; /* by backend */
} GuardShared;

static GuardShared *shared;

Size
meridian_guard_shmem_size(void)
{
	return add_size(offsetof(GuardShared, waiters), mul_size(MaxBackends, sizeof(GuardWaiter)));
}

void
meridian_guard_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("meridian guard", meridian_guard_shmem_size(), &found);
	if (!found)
	{
		memset(shared, 0, meridian_guard_shmem_size());
		shared->lock = &GetNamedLWLockTranche("meridian")->lock;
		pg_atomic_init_u32(&shared->count, 0);
		pg_atomic_init_u64(&shared->lease_end_ns, 0);
		for (int i = 0; i < GUARD_SLOTS_MAX; i++)
		{
			pg_atomic_init_u32(&shared->slots[i].in_flight, 0);
			pg_atomic_init_u32(&shared->slots[i].committing, 0);
			pg_atomic_init_u32(&shared->slots[i].drains, 0);
			pg_atomic_init_u32(&shared->slots[i].in_doubt, 0);
			pg_atomic_init_u64(&shared->slots[i].first_write_epoch, 0);
			pg_atomic_init_u64(&shared->slots[i].first_write_ms, 0);
			pg_atomic_init_u64(&shared->slots[i].refused_why, 0);
			pg_atomic_init_u64(&shared->slots[i].refused_at, 0);
			pg_atomic_init_u32(&shared->slots[i].refused_more, 0);
		}
		for (int i = 0; i < MaxBackends; i++)
			pg_atomic_init_u32(&shared->waiters[i].count, 0);
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
 * Refusals
 */

bool
meridian_guard_says(const char *class_name, const char *partition, const struct mrd_verdict *v,
					uint32 *more)
{
	GuardSlot  *slot = slot_find(class_name, partition);
	uint64		why = (v->epoch << 8 | v->why) + 1;
	uint64		now = (uint64) meridian_instant();
	uint64		at;

	*more = 0;
	if (slot == NULL)
		return true;			/* of a name that was never guarded */
	at = pg_atomic_read_u64(&slot->refused_at);
	if ((pg_atomic_read_u64(&slot->refused_why) == why && now - at < REFUSED_AGAIN_US) ||
		!pg_atomic_compare_exchange_u64(&slot->refused_at, &at, now))
	{
		pg_atomic_fetch_add_u32(&slot->refused_more, 1);
		return false;
	}
	pg_atomic_write_u64(&slot->refused_why, why);
	*more = pg_atomic_exchange_u32(&slot->refused_more, 0);
	return true;
}

/*
 * Waiting for acknowledgements
 */

/*
 * A session that has ended, or has only just begun, has no lease; the commits
 * that wait began under the one before, and their time counts from its end.
 */
static void
remember_lease(const struct mrd_snapshot *s)
{
	if (s->lease_deadline_ns != 0)
		pg_atomic_write_u64(&shared->lease_end_ns, s->lease_deadline_ns);
	else if (pg_atomic_read_u64(&shared->lease_end_ns) == 0)
		pg_atomic_write_u64(&shared->lease_end_ns, meridian_boot_ns());
}

void
meridian_guard_waits(GuardSlot *slot, mrd_epoch epoch)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	GuardWaiter *w = &shared->waiters[meridian_backend_index()];
	uint32		n = pg_atomic_read_u32(&w->count);

	/* the launcher may look only when that lease is gone again */
	if (s != NULL)
		remember_lease(s);
	if (n == GUARD_WAITS_MAX)
		return;
	w->pid = MyProcPid;
	w->under[n].slot = (int) (slot - shared->slots);
	w->under[n].epoch = epoch;
	pg_write_barrier();
	pg_atomic_write_u32(&w->count, n + 1);
}

void
meridian_guard_waited(void)
{
	pg_atomic_write_u32(&shared->waiters[meridian_backend_index()].count, 0);
}

/* Has the partition another epoch by now? */
static bool
is_replaced(const struct mrd_snapshot *s, const GuardSlot *slot, mrd_epoch epoch)
{
	int			p = mrd_snapshot_find(s, slot->class_name, slot->partition);

	return p < 0 || s->partitions[p].authority.epoch != epoch;
}

/* Why the wait cannot end well, or NULL. */
static const char *
hopeless(const struct mrd_snapshot *s, const GuardWaiter *w, uint32 count)
{
	mrd_boot_ns wait_ns = (mrd_boot_ns) meridian_quorum_wait_ms * 1000000;

	for (uint32 i = 0; i < count; i++)
	{
		if (is_replaced(s, &shared->slots[w->under[i].slot], w->under[i].epoch))
			return "another region was granted the write authority";
	}
	if (meridian_boot_ns() > pg_atomic_read_u64(&shared->lease_end_ns) + wait_ns)
		return "this region's lease has ended";
	return NULL;
}

/*
 * SIGTERM is what a wait for acknowledgements heeds: the session ends without an
 * answer, so its client knows that it does not know.  While the authority is
 * still ours, a lost lease may come back, and its waiters are given as long as
 * a write waits for replicas.
 */
void
meridian_guard_end_waits(const struct mrd_snapshot *s)
{
	remember_lease(s);
	for (int i = 0; i < MaxBackends; i++)
	{
		GuardWaiter *w = &shared->waiters[i];
		uint32		count = pg_atomic_read_u32(&w->count);
		const char *why = NULL;
		PGPROC	   *proc;

		if (count == 0)
			continue;
		pg_read_barrier();
		why = hopeless(s, w, count);
		proc = why == NULL ? NULL : BackendPidGetProc(w->pid);
		if (proc == NULL || proc->syncRepState != SYNC_REP_WAITING || !meridian_end_session(proc))
			continue;
		ereport(LOG,
				(errmsg("ending the session of process %d, whose commit waits for acknowledgements: %s",
						(int) w->pid, why)));
		meridian_audit(proc->roleId, InvalidOid,
					   "event=session.ended region=%s pid=%d reason=\"its commit waited for acknowledgements: %s\"",
					   meridian_region, (int) w->pid, why);
	}
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
	ret->in_doubt = pg_atomic_read_u32(&slot->in_doubt);
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
