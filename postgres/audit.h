/*-------------------------------------------------------------------------
 *
 * audit.h
 *	  Lines that the agent makes audit events of (audit.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_AUDIT_H
#define MERIDIAN_AUDIT_H

#include "storage/proc.h"

#include "compat.h"

extern void meridian_audit_shmem_request(void);
extern void meridian_audit_shmem_startup(void);

/*
 * Leave a line "event=NAME key=value ..."; the names are in
 * docs/internals/events.md.  Values with spaces stand in double quotes.  The role
 * and the relation, where they are valid, are added by name as who and table.
 * From any process that is attached to shared memory.
 */
extern void meridian_audit(Oid role, Oid relid, const char *fmt,...) pg_attribute_printf(3, 4);

/*
 * The launcher ends a client's session: SIGTERM, and again every few seconds, for
 * a process may be stopped or deep in something.  True the first time in this
 * transaction of it, when it is to be logged and told.
 */
extern bool meridian_end_session(const PGPROC *proc);

#endif							/* MERIDIAN_AUDIT_H */
