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
#include "storage/shmem.h"
#include "utils/guc.h"

#include "meridian.h"

PG_MODULE_MAGIC;

extern void _PG_init(void);

char	   *meridian_snapshot_file;
char	   *meridian_region;
char	   *meridian_database;
int			meridian_freeze_wait_ms = 10000;
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
	MarkGUCPrefixReserved("meridian");
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"meridian\" must be loaded when the server starts"),
				 errhint("Add \"meridian\" to shared_preload_libraries and restart.")));

	define_settings();
}
