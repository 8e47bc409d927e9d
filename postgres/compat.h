/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the server versions that we build for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_COMPAT_H
#define MERIDIAN_COMPAT_H

#include "postgres.h"

#include "replication/walsender_private.h"

/*
 * Do committing backends wait for anybody?  The May 2025 minor releases (and
 * 18) replaced the flag by two bits, of which one says that the other counts.
 */
#if PG_VERSION_NUM >= 180000 || \
	(PG_VERSION_NUM >= 170005 && PG_VERSION_NUM < 180000) || \
	(PG_VERSION_NUM >= 160009 && PG_VERSION_NUM < 170000) || \
	(PG_VERSION_NUM >= 150013 && PG_VERSION_NUM < 160000)
#define meridian_sync_standbys_defined() \
	((((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_status & \
	  SYNC_STANDBY_DEFINED) != 0)
#else
#define meridian_sync_standbys_defined() \
	(((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_defined)
#endif

/* A number below MaxBackends that is this backend's own. */
#if PG_VERSION_NUM >= 170000
#include "storage/procnumber.h"
#define meridian_backend_index() MyProcNumber
#else
#include "storage/backendid.h"
#define meridian_backend_index() (MyBackendId - 1)
#endif

/* A server that gcc built tells clang of an archetype that clang does not know. */
#ifdef __clang__
#undef PG_PRINTF_ATTRIBUTE
#define PG_PRINTF_ATTRIBUTE printf
#endif

#endif							/* MERIDIAN_COMPAT_H */
