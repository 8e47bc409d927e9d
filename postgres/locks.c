/*-------------------------------------------------------------------------
 *
 * locks.c
 *	  Who holds a lock that other regions' changes wait for.
 *
 * A replica yields to the home, as a standby's queries do to recovery: a client's
 * session whose lock an apply worker has waited for too long is ended, and so is, much
 * sooner, a copy (copier.c).  Until then, and where nobody is ended
 * (meridian.lock_wait is -1), the stream's state says who it is.
 *
 * The launcher looks ten times a second whether a worker waits, and since when; who
 * is asked for the state looks who holds it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "streams.h"

#define COPY_YIELDS_MS 1000		/* to those who wait for its locks */
#define SAY_WHO_MS 1000			/* a wait that long is worth a word in links */

/* ----------------------------------------------------------------
 * an end is made of it
 * ----------------------------------------------------------------
 */

/*
 * For how long has this worker been waiting for a lock?  0: it is not.  The server
 * notes by the wall clock when a wait began: that tells one wait from the next,
 * but not how long it has been, because that clock may step.
 */
static int64
waits_for_ms(MeridianLockWait *w, const PGPROC *proc)
{
	uint64		start = 0;

	if (proc->waitStatus == PROC_WAIT_STATUS_WAITING)
		start = pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, &proc->waitStart));
	if (start != w->start)
	{
		w->start = start;
		w->since = meridian_instant();
	}
	return start == 0 ? 0 : (meridian_instant() - w->since) / 1000;
}

/*
 * The table whose lock, or one of whose rows, the worker waits for.  A row is
 * waited for by its writer's transaction, with the row itself locked meanwhile.
 */
static Oid
waited_table(const PGPROC *worker)
{
	LockData   *all = GetLockStatusData();
	Oid			ret = InvalidOid;

	for (int i = 0; i < all->nelements && !OidIsValid(ret); i++)
	{
		const LockInstanceData *l = &all->locks[i];

		if (l->pid == worker->pid && l->locktag.locktag_field1 == worker->databaseId &&
			(l->locktag.locktag_type == LOCKTAG_TUPLE ||
			 (l->locktag.locktag_type == LOCKTAG_RELATION && l->waitLockMode != NoLock)))
			ret = l->locktag.locktag_field2;
	}
	pfree(all->locks);
	pfree(all);
	return ret;
}

/* false: it is none */
static bool
end_copier(pid_t pid)
{
	for (int i = 0; i < MRD_REGIONS_MAX; i++)
	{
		MeridianStream *s = &meridian_streams->streams[i];

		if (s->copier != pid)
			continue;
		s->copier_yielded = pid;
		(void) kill(pid, SIGTERM);
		return true;
	}
	return false;
}

static void
end_blocker(const MeridianStream *s, const PGPROC *worker, PGPROC *proc)
{
	pid_t		pid = proc->pid;
	Oid			who = proc->roleId;
	Oid			table = waited_table(worker);	/* now: once that session is gone, it waits no more */

	if (!meridian_end_session(proc))
		return;
	ereport(LOG,
			(errmsg("ending the session of process %d, for whose lock the changes of region \"%s\" have waited for %d ms",
					(int) pid, s->origin, meridian_lock_wait_ms)));
	meridian_audit(who, table,
				   "event=session.ended region=%s pid=%d reason=\"its lock held up the changes of %s for %d ms\"",
				   meridian_region, (int) pid, s->origin, meridian_lock_wait_ms);
}

/*
 * End those that hold it up: clients' sessions after meridian.lock_wait, and soon
 * a copy, which can begin again.  Other apply workers come to an end by themselves,
 * autovacuum gives way, and a prepared transaction cannot have touched an attached
 * table.
 */
static void
end_blockers(const MeridianStream *s, const PGPROC *worker, bool sessions)
{
	ArrayType  *pids = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids,
															  Int32GetDatum((int32) worker->pid)));
	int			n = ArrayGetNItems(ARR_NDIM(pids), ARR_DIMS(pids));

	for (int i = 0; i < n; i++)
	{
		pid_t		pid = (pid_t) ((int32 *) ARR_DATA_PTR(pids))[i];
		PGPROC	   *proc = pid == 0 ? NULL : BackendPidGetProc(pid);

		if (proc == NULL || (proc->statusFlags & PROC_IS_AUTOVACUUM))
			continue;
		if (!end_copier(pid) && sessions && !proc->isBackgroundWorker)
			end_blocker(s, worker, proc);
	}
	pfree(pids);
}

static void
end_blockers_of(const MeridianStream *s, pid_t pid, MeridianLockWait *w)
{
	PGPROC	   *proc = pid == 0 ? NULL : BackendPidGetProc(pid);
	int64		ms = proc == NULL ? 0 : waits_for_ms(w, proc);
	bool		sessions = meridian_lock_wait_ms >= 0 && ms > meridian_lock_wait_ms;

	if (sessions || ms > COPY_YIELDS_MS)
		end_blockers(s, proc, sessions);
}

/* The launcher calls this regularly. */
void
meridian_locks_tend(void)
{
	for (int i = 0; i < MRD_REGIONS_MAX; i++)
	{
		MeridianStream *s = &meridian_streams->streams[i];

		end_blockers_of(s, s->pid, &s->waits);
		end_blockers_of(s, s->copier, &s->copier_waits);
	}
}

/* ----------------------------------------------------------------
 * it is said
 * ----------------------------------------------------------------
 */

/* Text in the caller's memory; about one of those in whose way the process is, the oldest */
static char *
read_blocker(pid_t pid, const char *relation, MemoryContext caller)
{
	static const char query[] =
	"SELECT pg_catalog.format('process %s (%s%s%s) holds a lock%s', pid, "
	"coalesce(nullif(application_name, ''), backend_type, 'of another user'), "
	"pg_catalog.to_char(query_start, '\", query of \"YYYY-MM-DD HH24:MI:SSOF'), "
	"CASE WHEN n > 1 THEN pg_catalog.format('; %s more', n - 1) END, $2) "
	"FROM (SELECT *, pg_catalog.count(*) OVER () AS n FROM pg_catalog.pg_stat_activity "
	"WHERE pid = ANY (pg_catalog.pg_blocking_pids($1))) a ORDER BY xact_start LIMIT 1";
	Oid			types[2] = {INT4OID, TEXTOID};
	Datum		values[2] = {Int32GetDatum((int32) pid), CStringGetTextDatum(relation)};
	char	   *ret = NULL;

	SPI_connect();
	if (SPI_execute_with_args(query, 2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look who holds a lock");
	if (SPI_processed == 1)
		ret = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return ret;
}

/* "" unless the process has been waiting for a while, as the launcher has seen */
static const char *
blocked_by(pid_t pid, const MeridianLockWait *w)
{
	PGPROC	   *proc = pid == 0 ? NULL : BackendPidGetProc(pid);
	Oid			relid;
	char	   *relation = NULL;
	char	   *text;

	if (proc == NULL || w->start == 0 || proc->waitStatus != PROC_WAIT_STATUS_WAITING ||
		!TimestampDifferenceExceeds(w->since, meridian_instant(), SAY_WHO_MS))
		return "";
	relid = waited_table(proc);
	if (OidIsValid(relid))
		relation = get_rel_name(relid);
	if (relation != NULL)
		relation = psprintf(" on %s", quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
																 relation));
	text = read_blocker(pid, relation == NULL ? " that is needed" : relation, CurrentMemoryContext);
	return text == NULL ? "" : text;	/* it has just ended, or is a prepared transaction */
}

/* Who holds up the stream, or else the copy that is made for it?  "": nobody.  Needs a transaction. */
const char *
meridian_blocked(const MeridianStream *s)
{
	const char *ret = blocked_by(s->pid, &s->waits);

	return ret[0] != '\0' ? ret : blocked_by(s->copier, &s->copier_waits);
}
