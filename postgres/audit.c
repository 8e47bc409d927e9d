/*-------------------------------------------------------------------------
 *
 * audit.c
 *	  What this server did, or was asked for, that people in every region should
 *	  be able to read: `meridian events`.
 *
 * The launcher and the guard have no way into the store, and what they do to
 * a session its client only learns as "terminating connection".  They leave a
 * line here, in shared memory; the agent takes the lines and makes an event of
 * each.  The log has them as well, so one that is lost with the server, or
 * pushed out because no agent came for it, is not lost to a person who looks.
 *
 * The launcher cannot read catalogs, so a line holds oids, and who takes it
 * resolves them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "meridian.h"

#define TRANCHE "meridian_audit"
#define LINES_MAX 32
#define TEXT_MAX 256
#define SIGNAL_AGAIN_MS 5000

PG_FUNCTION_INFO_V1(meridian_audit_waits);
PG_FUNCTION_INFO_V1(meridian_audit_note);
PG_FUNCTION_INFO_V1(meridian_take_audit);

typedef struct AuditLine
{
	char		text[TEXT_MAX]; /* event=NAME key=value ... */
	Oid			role;			/* who; InvalidOid: nobody in particular */
	Oid			relid;			/* InvalidOid: no table, or none that is known */
} AuditLine;

typedef struct Audit
{
	LWLock	   *lock;
	uint64		begin,			/* lines [begin, end) wait, line n in n % LINES_MAX */
				end;
	AuditLine	lines[LINES_MAX];
} Audit;

static Audit *audit;

void
meridian_audit_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Audit)));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

void
meridian_audit_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	audit = ShmemInitStruct("meridian audit", sizeof(Audit), &found);
	if (!found)
	{
		memset(audit, 0, sizeof(*audit));
		audit->lock = &(GetNamedLWLockTranche(TRANCHE))->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
meridian_audit(Oid role, Oid relid, const char *fmt,...)
{
	AuditLine  *line;
	va_list		ap;

	LWLockAcquire(audit->lock, LW_EXCLUSIVE);
	if (audit->end - audit->begin == LINES_MAX)
		audit->begin++;
	line = &audit->lines[audit->end++ % LINES_MAX];
	va_start(ap, fmt);
	vsnprintf(line->text, sizeof(line->text), fmt, ap);
	va_end(ap);
	line->role = role;
	line->relid = relid;
	LWLockRelease(audit->lock);
}

/*
 * What was ended is remembered by the server's slot for it, and known again by
 * its process and transaction: neither alone tells it from a later session.
 */
bool
meridian_end_session(const PGPROC *proc)
{
	static struct
	{
		pid_t		pid;
		LocalTransactionId transaction;
		TimestampTz signaled_at;
	}		   *ended = NULL;
	int			slot = (int) (proc - ProcGlobal->allProcs);
	VirtualTransactionId vxid;
	bool		again;

	if (slot < 0 || slot >= MaxBackends || proc->pid == 0)
		return false;			/* no client's */
	if (ended == NULL)
		ended = MemoryContextAllocZero(TopMemoryContext, mul_size(MaxBackends, sizeof(*ended)));
	GET_VXID_FROM_PGPROC(vxid, *proc);
	again = ended[slot].pid == proc->pid && ended[slot].transaction == vxid.localTransactionId;
	if (again && !TimestampDifferenceExceeds(ended[slot].signaled_at, meridian_instant(),
											 SIGNAL_AGAIN_MS))
		return false;
	ended[slot].pid = proc->pid;
	ended[slot].transaction = vxid.localTransactionId;
	ended[slot].signaled_at = meridian_instant();
	(void) kill(proc->pid, SIGTERM);
	return !again;
}

/* A value in double quotes may hold anything but those. */
static void
append_quoted(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, " %s=\"", key);
	for (const char *p = value; *p != '\0'; p++)
		appendStringInfoChar(out, *p == '"' || (unsigned char) *p < 0x20 ? '?' : *p);
	appendStringInfoChar(out, '"');
}

static char *
line_text(const AuditLine *line)
{
	StringInfoData out;
	char	   *who = OidIsValid(line->role) ? GetUserNameFromId(line->role, true) : NULL;
	char	   *table = OidIsValid(line->relid) ? get_rel_name(line->relid) : NULL;

	initStringInfo(&out);
	appendStringInfoString(&out, line->text);
	if (table != NULL)
		append_quoted(&out, "table",
					  psprintf("%s.%s", get_namespace_name(get_rel_namespace(line->relid)), table));
	if (who != NULL)
		append_quoted(&out, "who", who);
	return out.data;
}

/* How many lines wait. */
Datum
meridian_audit_waits(PG_FUNCTION_ARGS)
{
	uint64		n;

	LWLockAcquire(audit->lock, LW_SHARED);
	n = audit->end - audit->begin;
	LWLockRelease(audit->lock);
	PG_RETURN_INT32((int32) n);
}

/* Leave a line in the session user's name. */
Datum
meridian_audit_note(PG_FUNCTION_ARGS)
{
	meridian_audit(GetSessionUserId(), InvalidOid, "%s",
				   text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* All lines that wait; they are gone from here then. */
Datum
meridian_take_audit(PG_FUNCTION_ARGS)
{
	AuditLine  *copy = palloc(sizeof(audit->lines));
	Datum	   *texts = palloc(LINES_MAX * sizeof(Datum));
	int			n = 0;

	LWLockAcquire(audit->lock, LW_EXCLUSIVE);
	while (audit->begin < audit->end)
		copy[n++] = audit->lines[audit->begin++ % LINES_MAX];
	LWLockRelease(audit->lock);
	for (int i = 0; i < n; i++)
		texts[i] = CStringGetTextDatum(line_text(&copy[i]));
	PG_RETURN_ARRAYTYPE_P(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}
