/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  The write guard: nothing commits here that this region may not write.
 *
 * Two checks against the agent's snapshot surround every write: when a
 * transaction first touches a partition, and again just before it commits.
 * Core decides (mrd_guard, mrd_guard_commit); this file makes sure the question
 * is asked, and that nobody can answer around it.
 *
 * The first check counts the transaction in before it reads the snapshot; see
 * guard_shared.c for why a planned move can rely on that.
 *
 * Stamps.  The first touch writes a transactional logical message that names
 * the partition and the epoch; whoever decodes the transaction learns it before
 * the first row.  A stamp written in a subtransaction dies with it, so each
 * touch remembers its subtransaction and is stamped again when touched next.
 *
 * From the last check to the end of the transaction SIGINT is blocked: a
 * cancelled wait for synchronous replication would report success for a commit
 * that exists nowhere else (syncrep.c, SyncRepWaitForLSN).  SIGTERM still ends
 * the session, without an answer to the client.
 *
 * Durability is per transaction: synchronous_commit is changed through its own
 * assign hook, because the wait mode that SyncRepWaitForLSN uses is set there
 * and nowhere else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/socket.h>

#include "access/xact.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include <mrd/buf.h>

#include "compat.h"
#include "guard.h"
#include "meridian.h"

#define FREEZE_POLL_MS 10

/* One partition that this transaction touched. */
typedef struct Touch
{
	GuardSlot  *slot;
	SubTransactionId subid;		/* that stamped it; Invalid: no stamp is left */
	mrd_epoch	epoch;			/* of that stamp */
	uint32		drains;
	bool		in_flight;
	bool		committing;
	bool		quorum;			/* as of the last check */
	unsigned	remote_acks;
} Touch;

bool		meridian_applying = false;

static Touch *touches;			/* in TopTransactionContext */
static int	touch_count;
static int	touch_max;
static int	saved_synchronous_commit = -1;	/* -1: not changed */
static bool sigint_blocked;
static emit_log_hook_type previous_emit_log_hook;

/*
 * Asking
 */

/* The snapshot, if it is this region's. */
static const struct mrd_snapshot *
guard_snapshot(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	if (s == NULL)
		return NULL;
	if (s->self >= s->region_count ||
		strcmp(s->regions[s->self].name, meridian_region) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("snapshot file \"%s\" belongs to another region",
						meridian_snapshot_file),
				 errdetail("This server's region is \"%s\".", meridian_region),
				 errhint("Make meridian.region and meridian.snapshot_file name the same region.")));
	return s;
}

/*
 * A row whose value names no partition of a class that has some: no home will
 * ever take it, so it is no matter of where to write, and not worth repeating.
 */
static void
refuse_value(const struct mrd_snapshot *s, int c, const char *partition)
{
	const struct mrd_snap_class *class = &s->classes[c];
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < class->count; i++)
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "",
						 s->partitions[class->first + i].name);
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("cannot write %s/%s: %s", class->name, partition,
					mrd_reason_sentence(MRD_WHY_UNKNOWN_PARTITION)),
			 errdetail("the partitions of %s are %s", class->name, names.data),
			 errhint("%s", mrd_reason_hint(MRD_WHY_UNKNOWN_PARTITION))));
}

static struct
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	struct mrd_verdict v;
}			refused;			/* last by this process */

static void
refuse(const struct mrd_snapshot *s, const char *class_name, const char *partition,
	   struct mrd_verdict v)
{
	const char *hint = mrd_reason_hint(v.why);
	bool		has_home = s != NULL && v.why != MRD_WHY_VACANT &&
		v.home < s->region_count;
	int			c = s != NULL ? mrd_snapshot_class(s, class_name) : -1;

	if (v.why == MRD_WHY_UNKNOWN_PARTITION && c >= 0 &&
		s->classes[c].posture == MRD_PARTITIONED && s->classes[c].count > 0)
		refuse_value(s, c, partition);
	strlcpy(refused.class_name, class_name, MRD_NAME_MAX);
	strlcpy(refused.partition, partition, MRD_NAME_MAX);
	refused.v = v;
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot write %s/%s: %s", class_name, partition,
					mrd_reason_sentence(v.why)),
			 has_home ? errdetail("the home of %s/%s is \"%s\" (epoch " UINT64_FORMAT ")",
								  class_name, partition,
								  s->regions[v.home].name, (uint64) v.epoch) :
			 errdetail("the home of %s/%s is not known here", class_name, partition),
			 *hint != '\0' ? errhint("%s", hint) : 0));
}

/*
 * A refusal is the answer to whoever wrote.  To the server's log it is news once:
 * applications try again, and where a home is lost all of them do.
 */
static void
log_refusal_once(ErrorData *e)
{
	uint32		more;

	if (e->elevel == ERROR && e->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION &&
		e->funcname != NULL && strcmp(e->funcname, "refuse") == 0 &&
		strcmp(e->filename, "guard.c") == 0)
	{
		if (!meridian_guard_says(refused.class_name, refused.partition, &refused.v, &more))
			e->output_to_server = false;
		else if (more > 0)
			e->detail_log = psprintf("%s; %u more refusals were not logged", e->detail, more);
	}
	if (previous_emit_log_hook != NULL)
		previous_emit_log_hook(e);
}

static void
note_class(Touch *t, const struct mrd_snapshot *s, int partition)
{
	const struct mrd_snap_class *c = &s->classes[s->partitions[partition].class_index];

	t->quorum = c->durability == MRD_QUORUM && c->remote_acks > 0;
	t->remote_acks = c->remote_acks;
}

/*
 * Touching
 */

static void
leave(Touch *t)
{
	if (t->committing)
		pg_atomic_fetch_sub_u32(&t->slot->committing, 1);
	if (t->in_flight)
		pg_atomic_fetch_sub_u32(&t->slot->in_flight, 1);
	t->committing = t->in_flight = false;
}

static void
enter(Touch *t)
{
	if (t->in_flight)
		return;
	pg_atomic_fetch_add_u32(&t->slot->in_flight, 1);
	t->in_flight = true;
	t->drains = pg_atomic_read_u32(&t->slot->drains);
}

static Touch *
touch_find(const char *class_name, const char *partition)
{
	for (int i = 0; i < touch_count; i++)
		if (strcmp(touches[i].slot->partition, partition) == 0 &&
			strcmp(touches[i].slot->class_name, class_name) == 0)
			return &touches[i];
	return NULL;
}

static Touch *
touch_add(const char *class_name, const char *partition)
{
	GuardSlot  *slot = meridian_guard_slot(class_name, partition);
	Touch	   *t;

	if (touches == NULL)
	{
		touch_max = 4;
		touches = MemoryContextAlloc(TopTransactionContext, touch_max * sizeof(Touch));
	}
	else if (touch_count == touch_max)
	{
		touches = repalloc(touches, 2 * touch_max * sizeof(Touch));
		touch_max *= 2;
	}
	t = &touches[touch_count];
	memset(t, 0, sizeof(*t));
	t->slot = slot;
	t->subid = InvalidSubTransactionId;
	touch_count++;
	return t;
}

static void
stamp(const GuardSlot *slot, mrd_epoch epoch)
{
	uint8_t		bytes[16 + 2 * MRD_NAME_MAX];
	struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));

	mrd_buf_put_u8(&b, 1);
	mrd_buf_put_u16(&b, 1);
	mrd_buf_put_str(&b, slot->class_name);
	mrd_buf_put_str(&b, slot->partition);
	mrd_buf_put_u64(&b, epoch);
	Assert(!b.failed);
	LogLogicalMessage("meridian.stamp", (const char *) bytes, b.pos, true);
}

/*
 * Waiting for one move while holding up another could only end by timeout:
 * each drain waits for a transaction that waits for the other.
 */
static bool
holds_frozen(const struct mrd_snapshot *s, const Touch *except)
{
	for (int i = 0; i < touch_count; i++)
	{
		const Touch *t = &touches[i];
		int			p = mrd_snapshot_find(s, t->slot->class_name, t->slot->partition);

		if (t != except && t->in_flight && p >= 0 &&
			s->partitions[p].authority.state == MRD_AUTH_FROZEN)
			return true;
	}
	return false;
}

static void
nap(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 FREEZE_POLL_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static struct mrd_verdict
ask(Touch *t, TimestampTz wait_until)
{
	const struct mrd_snapshot *s;
	struct mrd_verdict v;
	int			p;

	for (;;)
	{
		enter(t);
		s = guard_snapshot();
		p = mrd_snapshot_find(s, t->slot->class_name, t->slot->partition);
		v = mrd_guard(s, p, meridian_boot_ns());
		if (v.allow)
		{
			note_class(t, s, p);
			return v;
		}
		leave(t);
		if (v.why != MRD_WHY_FROZEN || meridian_instant() >= wait_until ||
			holds_frozen(s, t))
			refuse(s, t->slot->class_name, t->slot->partition, v);
		nap();
	}
}

/* Names come from users: one that does not exist must not take a slot. */
static void
check_known(const char *class_name, const char *partition)
{
	const struct mrd_snapshot *s = guard_snapshot();
	int			p = mrd_snapshot_find(s, class_name, partition);

	if (p < 0)
		refuse(s, class_name, partition, mrd_guard(s, p, meridian_boot_ns()));
}

/*
 * Replicas that could acknowledge a commit now.  Those that are connected but
 * have nothing to report yet do not count, as they do not for the core.
 */
static int
connected_replicas(void)
{
	SyncRepStandbyData *standbys;
	int			n = SyncRepGetCandidateStandbys(&standbys);

	pfree(standbys);
	return n;
}

/*
 * A commit that nobody can acknowledge waits for ever, with a transaction id
 * that every new slot must wait for: a region that would join, and so could
 * acknowledge it, would wait for it in turn.  So wait here, before the
 * transaction has written anything, and not for ever.
 */
static void
await_replicas(const Touch *t)
{
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(),
													meridian_quorum_wait_ms);
	int			have;

	/* an unset list has its own refusal, at commit */
	if (!t->quorum || !meridian_sync_standbys_defined() || SyncRepConfig == NULL)
		return;
	while ((have = connected_replicas()) < (int) t->remote_acks)
	{
		if (meridian_instant() >= until)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot write \"%s\" now: it needs %u other regions to acknowledge and %d are connected",
							t->slot->class_name, t->remote_acks, have),
					 errhint("See the streams with: meridian links.")));
		nap();
	}
}

void
meridian_touch(const char *class_name, const char *partition)
{
	struct mrd_verdict v;
	Touch	   *t;

	if (meridian_guard_idle())
		return;
	if (partition == NULL)
		partition = MRD_PARTITION_ALL;
	t = touch_find(class_name, partition);
	if (t != NULL && t->subid != InvalidSubTransactionId)
		return;
	if (t == NULL)
		check_known(class_name, partition);
	if (t == NULL)
		t = touch_add(class_name, partition);
	v = ask(t, TimestampTzPlusMilliseconds(meridian_instant(),
										   meridian_freeze_wait_ms));
	await_replicas(t);
	meridian_fault("after-touch");
	stamp(t->slot, v.epoch);
	t->epoch = v.epoch;
	t->subid = GetCurrentSubTransactionId();
}

bool
meridian_guard_idle(void)
{
	return meridian_applying || meridian_region[0] == '\0';
}

/* TRUNCATE takes the rows of every partition, so it needs all of them. */
void
meridian_touch_class(const char *class_name)
{
	const struct mrd_snapshot *s = guard_snapshot();
	int			c = s == NULL ? -1 : mrd_snapshot_class(s, class_name);
	char		names[MRD_PARTITIONS_MAX][MRD_NAME_MAX];
	int			count = 0;

	if (c < 0)
	{
		meridian_touch(class_name, NULL);
		return;
	}
	/* touching reads the snapshot again, which may replace the copy */
	for (int i = 0; i < s->classes[c].count; i++)
		strlcpy(names[count++], s->partitions[s->classes[c].first + i].name,
				MRD_NAME_MAX);
	for (int i = 0; i < count; i++)
		meridian_touch(class_name, names[i]);
}

void
meridian_touch_value(const char *class_name, const char *data, size_t len)
{
	char		name[MRD_NAME_MAX + 1];

	/* most rows of a statement are of the partition before */
	if (touch_count > 0)
	{
		const Touch *t = &touches[touch_count - 1];

		if (t->subid != InvalidSubTransactionId && len < MRD_NAME_MAX &&
			memcmp(t->slot->partition, data, len) == 0 &&
			t->slot->partition[len] == '\0' &&
			strcmp(t->slot->class_name, class_name) == 0)
			return;
	}
	len = Min(len, MRD_NAME_MAX);	/* too long is unknown */
	memcpy(name, data, len);
	name[len] = '\0';
	meridian_touch(class_name, name);
}

/*
 * Committing
 */

static void
block_sigint(bool block)
{
	sigset_t	set;

	if (block == sigint_blocked)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	sigint_blocked = block;
}

static void
check_touch_at_commit(Touch *t)
{
	const struct mrd_snapshot *s;
	struct mrd_verdict v;
	int			p;

	pg_atomic_fetch_add_u32(&t->slot->committing, 1);
	t->committing = true;
	s = guard_snapshot();
	p = mrd_snapshot_find(s, t->slot->class_name, t->slot->partition);
	v = mrd_guard_commit(s, p, t->epoch, meridian_boot_ns());
	/* a move that ran out of patience took our right to commit */
	if (v.allow && v.why == MRD_WHY_FROZEN &&
		t->drains != pg_atomic_read_u32(&t->slot->drains))
		v.allow = false;
	if (!v.allow)
		refuse(s, t->slot->class_name, t->slot->partition, v);
	note_class(t, s, p);
}

/* Would a commit wait for anybody?  An unset list would wait for nobody. */
static void
check_quorum_possible(unsigned acks)
{
	int			waits_for = 0;

	if (max_wal_senders > 0 && meridian_sync_standbys_defined() && SyncRepConfig != NULL)
		waits_for = SyncRepConfig->num_sync;
	if (waits_for >= (int) acks)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot commit: the data class needs %u remote acknowledgements but the server waits for %d",
					acks, waits_for),
			 errhint("Set synchronous_standby_names to 'ANY %u (...)' with the names of the other regions' streams.",
					 acks)));
}

static void
set_durability(bool quorum)
{
	int			level = synchronous_commit;

	if (quorum)
		level = SYNCHRONOUS_COMMIT_REMOTE_WRITE;
	else if (level > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		level = SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
	if (level == synchronous_commit)
		return;
	saved_synchronous_commit = synchronous_commit;
	synchronous_commit = level;
	assign_synchronous_commit(level, NULL);
}

static void
restore_durability(void)
{
	if (saved_synchronous_commit < 0)
		return;
	synchronous_commit = saved_synchronous_commit;
	assign_synchronous_commit(saved_synchronous_commit, NULL);
	saved_synchronous_commit = -1;
}

static bool
anything_stamped(void)
{
	for (int i = 0; i < touch_count; i++)
		if (touches[i].subid != InvalidSubTransactionId)
			return true;
	return false;
}

static void
guard_before_commit(void)
{
	bool		quorum = false;
	unsigned	acks = 0;

	if (!anything_stamped())
		return;
	block_sigint(true);
	/* what arrived before it was blocked still counts */
	CHECK_FOR_INTERRUPTS();
	if (QueryCancelPending)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
	for (int i = 0; i < touch_count; i++)
	{
		Touch	   *t = &touches[i];

		if (t->subid == InvalidSubTransactionId)
			continue;
		check_touch_at_commit(t);
		quorum |= t->quorum;
		if (t->quorum)
			acks = Max(acks, t->remote_acks);
	}
	if (quorum)
		check_quorum_possible(acks);
	for (int i = 0; i < touch_count; i++)
		if (touches[i].subid != InvalidSubTransactionId && touches[i].quorum)
			meridian_guard_waits(touches[i].slot, touches[i].epoch);
	set_durability(quorum);
	meridian_fault("before-commit");
}

static uint64
wall_ms_now(void)
{
	return (uint64) (GetCurrentTimestamp() / 1000) +
		(uint64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
}

/*
 * Why a quorum commit's wait may have ended without its acknowledgements, or
 * NULL.  When the authority was taken away meanwhile, what ended the wait may have
 * been the arrival of the lost tail: the commit may exist nowhere else as what it
 * claims to be.  A missing snapshot tells nothing, and so is doubt as well.  And a
 * session that is told to end stops waiting.
 */
static const char *
in_doubt(const Touch *t)
{
	const struct mrd_snapshot *s;
	int			p;

	if (t->subid == InvalidSubTransactionId || !t->quorum)
		return NULL;
	s = meridian_snapshot();	/* not guard_snapshot(): an ERROR here would be a PANIC */
	p = mrd_snapshot_find(s, t->slot->class_name, t->slot->partition);
	if (p < 0 || s->partitions[p].authority.epoch != t->epoch)
		return "the write authority changed while it waited";
	return ProcDiePending ? "its session was ended while it waited" : NULL;
}

/*
 * The commit cannot be taken back any more, and ERROR or FATAL at this point
 * would be a PANIC.  So the connection is cut: the client learns the truth,
 * that the outcome is unknown, and the backend ends at its next read.
 */
static void
sever(const Touch *t, const char *why)
{
	pg_atomic_fetch_add_u32(&t->slot->in_doubt, 1);
	ereport(LOG,
			(errmsg("the outcome of the commit is in doubt: %s", why),
			 errdetail("Transaction %u wrote %s/%s under epoch " UINT64_FORMAT ".",
					   GetTopTransactionIdIfAny(), t->slot->class_name, t->slot->partition,
					   (uint64) t->epoch),
			 errhint("Look for the transaction in meridian.reconcile at the present home.")));
	if (MyProcPort != NULL)
		(void) shutdown(MyProcPort->sock, SHUT_RDWR);
}

static void
guard_at_end(bool committed)
{
	uint64		wall_ms = committed && touch_count > 0 ? wall_ms_now() : 0;

	restore_durability();
	if (touch_count > 0)
		meridian_guard_waited();
	for (int i = 0; committed && i < touch_count; i++)
	{
		const char *why = in_doubt(&touches[i]);

		if (why != NULL)
		{
			sever(&touches[i], why);
			break;
		}
	}
	for (int i = 0; i < touch_count; i++)
	{
		if (committed && touches[i].subid != InvalidSubTransactionId)
			meridian_guard_first_write(touches[i].slot, touches[i].epoch, wall_ms);
		leave(&touches[i]);
	}
	touches = NULL;
	touch_count = 0;
	block_sigint(false);
}

static void
guard_xact(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			guard_before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (anything_stamped())
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has written attached tables"),
						 errdetail("Nobody could check the write authority when it commits later."),
						 errhint("Use COMMIT.")));
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			guard_at_end(event == XACT_EVENT_COMMIT);
			break;
		case XACT_EVENT_ABORT:
			guard_at_end(false);
			break;
		default:				/* parallel workers write nothing */
			break;
	}
}

static void
guard_subxact(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
			  void *arg)
{
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = 0; i < touch_count; i++)
		if (touches[i].subid == mine)
			touches[i].subid = event == SUBXACT_EVENT_COMMIT_SUB ?
				parent : InvalidSubTransactionId;
}

void
meridian_guard_init(void)
{
	previous_emit_log_hook = emit_log_hook;
	emit_log_hook = log_refusal_once;
	RegisterXactCallback(guard_xact, NULL);
	RegisterSubXactCallback(guard_subxact, NULL);
}
