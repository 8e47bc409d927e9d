/*-------------------------------------------------------------------------
 *
 * main.c
 *	  Loading the extension: settings, shared memory, and both halves' hooks.
 *
 * The library works only from shared_preload_libraries, because the guard
 * counts transactions in flight in shared memory and the launcher is a static
 * background worker.  Loaded any other way it refuses, rather than letting
 * writes pass that nobody counts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "ddl.h"
#include "audit.h"
#include "meridian.h"

PG_MODULE_MAGIC;

extern void _PG_init(void);

char	   *meridian_snapshot_file;
char	   *meridian_region;
char	   *meridian_database;
int			meridian_freeze_wait_ms = 10000;
int			meridian_quorum_wait_ms = 5000;
int			meridian_lock_wait_ms = 10000;
int			meridian_kept_limit_mb = 1024;
bool		meridian_compression = true;
bool		meridian_restoring = false;

static void
define_settings(void)
{
	DefineCustomStringVariable("meridian.snapshot_file",
							   "File through which the region's agent publishes its decisions.",
							   NULL,
							   &meridian_snapshot_file,
							   "/run/meridian/snapshot",
							   PGC_POSTMASTER, 0,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("meridian.region",
							   "Name of this region.",
							   "Empty: the extension only watches.",
							   &meridian_region,
							   "",
							   PGC_POSTMASTER, 0,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("meridian.database",
							   "Database that holds the extension and the data classes.",
							   NULL,
							   &meridian_database,
							   "app",
							   PGC_POSTMASTER, 0,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("meridian.freeze_wait",
							"How long a write waits for a planned move to finish.",
							NULL,
							&meridian_freeze_wait_ms,
							10000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("meridian.quorum_wait",
							"How long a write to a quorum class waits for enough replicas to be connected.",
							NULL,
							&meridian_quorum_wait_ms,
							5000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meridian.lock_wait",
							"How long other regions' changes wait for a lock that a session here holds.",
							"Then that session is ended.  -1: they wait for ever.",
							&meridian_lock_wait_ms,
							10000, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meridian.kept_limit",
							"How much of what changes in tables that are being copied is kept for later.",
							"On disk.  Then the stream that brings it waits for the copy.",
							&meridian_kept_limit_mb,
							1024, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("meridian.compression",
							 "Compresses the streams between regions.",
							 NULL,
							 &meridian_compression,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("meridian.restoring",
							 "Lets a copied schema be restored: DDL is neither captured, nor refused, nor attached.",
							 "Rows stay guarded.  Call meridian.attach_all() afterwards.",
							 &meridian_restoring,
							 false,
							 PGC_SUSET, GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
}

static shmem_request_hook_type prev_shmem_request_hook;
static shmem_startup_hook_type prev_shmem_startup_hook;

static void
meridian_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(meridian_guard_shmem_size());
	RequestNamedLWLockTranche("meridian", 1);
	RequestAddinShmemSpace(meridian_streams_shmem_size());
	RequestNamedLWLockTranche("meridian_streams", 1);
	meridian_audit_shmem_request();
}

static void
meridian_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	meridian_guard_shmem_startup();
	meridian_streams_shmem_startup();
	meridian_audit_shmem_startup();
}

/* A broken invariant of ours must not take the whole server down. */
static void
meridian_panic(const char *expr, const char *file, int line)
{
	elog(ERROR, "broken invariant: %s at %s:%d", expr, file, line);
	pg_unreachable();
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"meridian\" must be loaded when the server starts"),
				 errhint("Add \"meridian\" to shared_preload_libraries and restart.")));

	mrd_panic_set(meridian_panic);
	define_settings();
	meridian_fault_init();
	MarkGUCPrefixReserved("meridian");

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = meridian_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = meridian_shmem_startup;
	meridian_guard_init();
	meridian_guard_trigger_init();
	meridian_ddl_init();
	meridian_streams_init();
}
