/*-------------------------------------------------------------------------
 *
 * meridian.h
 *	  What the files of the extension share.
 *
 * Two halves meet here: the write side (guard, attachment, DDL capture, the
 * agent's SQL) and the stream side (output plugin, apply workers, join, lost
 * tail).  Core's headers give the formats and the decisions; this room only
 * translates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_H
#define MERIDIAN_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "lib/stringinfo.h"
#include "utils/relcache.h"

#include <mrd/snapshot.h>
#include <mrd/verdict.h>

/* settings (main.c) */
extern char *meridian_snapshot_file;
extern char *meridian_region;
extern char *meridian_database;
extern int	meridian_freeze_wait_ms;
extern int	meridian_quorum_wait_ms;
extern int	meridian_lock_wait_ms;
extern int	meridian_kept_limit_mb;
extern bool meridian_compression;
extern bool meridian_restoring;	/* a copied schema is being restored: DDL passes */

/*
 * snap.c: this process's copy of the snapshot, brought up to date; NULL while
 * there is none.  Cheap enough for every statement.  Valid until the next call.
 */
extern const struct mrd_snapshot *meridian_snapshot(void);
extern mrd_boot_ns meridian_boot_ns(void);

/*
 * An instant to measure waits and intervals from, in microseconds as a
 * TimestampTz is, but since boot: the wall clock may step by minutes.
 */
#define meridian_instant()	((TimestampTz) (meridian_boot_ns() / 1000))

/*
 * fault.c: a place where a test can make this process wait; see there.
 */
extern void meridian_fault(const char *place);
extern void meridian_fault_init(void);

/*
 * apply.c: where the transaction that is being applied was made, and the end of
 * its commit there.
 */
extern const char *meridian_apply_origin(XLogRecPtr *lsn);

/* guard.c */
extern bool meridian_applying;	/* set by apply workers: guard and DDL capture let pass */
extern void meridian_guard_init(void);
extern void meridian_guard_trigger_init(void);
extern Size meridian_guard_shmem_size(void);
extern void meridian_guard_shmem_startup(void);

/*
 * The transaction is about to write this partition: refuse with an ERROR, or
 * wait out a planned move, or register and stamp it.  NULL is the partition of
 * a class that has only one.
 */
extern void meridian_touch(const char *class_name, const char *partition);

/* What the agent asks of the guard about one partition. */
typedef struct MeridianGuardState
{
	uint32		in_flight;		/* transactions that touched it and have not ended */
	uint32		in_doubt;		/* commits since the start whose outcome is not known */
	uint64		first_write_epoch;	/* 0: none since the server started */
	uint64		first_write_ms; /* wall clock of the first commit under that epoch */
} MeridianGuardState;

extern void meridian_guard_state(const char *class_name, const char *partition,
								 MeridianGuardState *ret);

/*
 * Is a commit of this partition past its last check and not ended, perhaps
 * waiting for its acknowledgements?  Once the snapshot says that the partition
 * is another region's, no further one can get there.
 */
extern bool meridian_guard_committing(const char *class_name, const char *partition);

/*
 * End the sessions whose commits wait for acknowledgements that can no longer
 * mean success: the launcher calls this regularly.
 */
extern void meridian_guard_end_waits(const struct mrd_snapshot *s);

/*
 * Wait until nothing that touched this frozen partition can commit any more.
 * After wait_ms the transactions that are left lose their right to commit;
 * false when one of them is committing at this moment.
 */
extern bool meridian_guard_drain(const char *class_name, const char *partition,
								 int wait_ms);

/*
 * attach.c: class and partition column of an attached relation, from the user
 * catalog table meridian.attachment; false when it is not attached.  Works
 * under a historic snapshot too.  The strings live in CurrentMemoryContext.
 */
typedef struct MeridianAttachment
{
	char		class_name[MRD_NAME_MAX];
	char		partition_by[NAMEDATALEN];	/* empty: not partitioned */
	AttrNumber	partition_attno;	/* 0: not partitioned */
} MeridianAttachment;

extern bool meridian_attachment(Relation rel, MeridianAttachment *ret);

/* gaps.c: is the built-in class "schema" this region's? */
extern bool meridian_is_schema_home(const char *region);

/* Attach every table that the stored configuration names and that exists. */
extern void meridian_attach_all(void);

/* streams.c: launcher and worker registration, shared state of the streams */
extern void meridian_streams_init(void);
extern Size meridian_streams_shmem_size(void);
extern void meridian_streams_shmem_startup(void);

/* For meridian.agent_status(): JSON arrays as documented in docs/internals/postgres.md */
extern void meridian_streams_json(StringInfo out);
extern void meridian_slots_json(StringInfo out);
extern void meridian_tail_json(StringInfo out);

#endif							/* MERIDIAN_H */
