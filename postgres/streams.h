/*-------------------------------------------------------------------------
 *
 * streams.h
 *	  What the files of the stream side share: the output plugin's (plugin.h), the
 *	  launcher's (streams.c) and the apply workers' (apply.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_STREAMS_H
#define MERIDIAN_STREAMS_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/execnodes.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "storage/lwlock.h"
#include "utils/relcache.h"

#include "meridian.h"
#include "wire.h"

#define MERIDIAN_NOTES_MAX 256
#define MERIDIAN_ERROR_MAX 1024

typedef enum MeridianStreamState
{
	MERIDIAN_STREAM_IDLE,		/* nothing is asked of it */
	MERIDIAN_STREAM_CONNECTING,
	MERIDIAN_STREAM_JOINING,	/* copying what the origin had before */
	MERIDIAN_STREAM_RUNNING,
	MERIDIAN_STREAM_PAUSED,		/* connected, our own lease has ended */
	MERIDIAN_STREAM_WAITING,	/* cannot go on; retried; error says why */
	MERIDIAN_STREAM_REFUSED,	/* fenced by order */
	MERIDIAN_STREAM_FORWARDED	/* its changes come by way of another region */
} MeridianStreamState;

/*
 * "Everything of region up to lsn stands before at in this stream": until our
 * own position of that region has reached lsn, the slot must keep what stands
 * from at on.
 */
typedef struct MeridianNote
{
	char		region[MRD_NAME_MAX];
	XLogRecPtr	lsn;
	XLogRecPtr	at;
} MeridianNote;

/* A wait for a lock, as the server knows it, and when we first saw that */
typedef struct MeridianLockWait
{
	uint64		start;			/* 0: none */
	TimestampTz since;
} MeridianLockWait;

/* One origin's stream, in shared memory; the lock is MeridianStreams->lock. */
typedef struct MeridianStream
{
	char		origin[MRD_NAME_MAX];	/* empty: unused */
	char		via[MRD_NAME_MAX];	/* FORWARD: who hands its changes over */
	pid_t		pid;			/* of the worker, 0 when there is none */
	pid_t		forwarder;		/* of another origin's worker that applies its changes, or 0 */
	pid_t		copier;			/* of the worker that copies for it (copier.c), or 0 */
	pid_t		copier_yielded;	/* of the last one that had to give way (locks.c) */
	MeridianStreamState state;
	bool		refused;		/* fenced: not one more change will be applied */
	XLogRecPtr	applied_lsn;	/* durable here, in the origin's WAL, also after a crash */
	XLogRecPtr	reached_lsn;	/* there is nothing to apply before this */
	XLogRecPtr	received_lsn;	/* end of the origin's WAL as last heard */
	uint64		through_session;
	uint64		through_boot_ms;
	uint64		transactions;
	uint64		lost_slots;		/* how often its slot was found to be lost */
	bool		lost;			/* and the copy that this asks for is not made yet */
	XLogRecPtr	careful_until;	/* apply with checks before each insert up to here */
	char		tail_origin[MRD_NAME_MAX];	/* the transaction to put aside whole, once: */
	XLogRecPtr	tail_lsn;		/* whose it is, and where it ends there */
	bool		repairs;		/* entries of the origin's tail may wait for repair.c */
	bool		full_images;	/* ask for full before images */
	char		error[MERIDIAN_ERROR_MAX];
	char		said[MERIDIAN_ERROR_MAX];	/* the last that was logged, while nothing gets on, ... */
	TimestampTz said_at;		/* ... when, ... */
	uint64		unsaid;			/* ... and how often it came again since */
	char		copying[MRD_NAME_MAX + 100];	/* what a copy in its midst waits for */
	bool		lends_not;		/* the region does not hold what we, as home, lack */
	TimestampTz since;			/* when state last changed */

	/* launcher's own */
	TimestampTz obey_by;		/* who goes on against the order is ended then; 0: nobody */
	TimestampTz start_after;
	int			backoff_ms;
	MeridianLockWait waits;		/* of its worker */
	MeridianLockWait copier_waits;
} MeridianStream;

typedef struct MeridianStreams
{
	LWLock	   *lock;
	bool		recalled;		/* positions from before the start are in streams */
	MeridianStream streams[MRD_REGIONS_MAX];
} MeridianStreams;

extern MeridianStreams *meridian_streams;

/* streams.c */
extern PGDLLEXPORT void meridian_launcher_main(Datum arg);
extern PGDLLEXPORT void meridian_recall_main(Datum arg);
extern PGDLLEXPORT void meridian_apply_main(Datum arg);
extern PGDLLEXPORT void meridian_copier_main(Datum arg);
extern bool meridian_register_worker(const char *function, const char *name, Datum arg,
									 BackgroundWorkerHandle **handle);
extern MeridianStream *meridian_stream_find(const char *origin);
extern XLogRecPtr meridian_stream_applied(const char *origin);

/*
 * How far another region may hand over this origin's changes: up to the furthest
 * of the cuts that the snapshot knows; PG_UINT64_MAX when it knows none.  What
 * the origin did past its cut has to come from itself.
 */
extern XLogRecPtr meridian_furthest_cut(const struct mrd_snapshot *s, const char *origin);

/* The snapshot as of at most a clock tick (4 ms) ago, without a system call. */
extern const struct mrd_snapshot *meridian_snapshot_lately(void);
extern void meridian_stream_state(MeridianStream *s, MeridianStreamState state, const char *error);

/* locks.c */
extern void meridian_locks_tend(void);
extern const char *meridian_blocked(const MeridianStream *s);

/* "eu-west-1" -> "meridian_eu_west_1": slot, application and origin names */
extern void meridian_stream_name(const char *region, char *ret, Size size);

/* InvalidRepOriginId: there is none, nothing of the region was ever copied here */
extern RepOriginId meridian_stream_origin(const char *region);

/*
 * plugin_rows.c: the index whose columns identify a row of rel, the primary key or
 * else the oldest unique index that every row is in exactly once; InvalidOid
 * when there is none.
 */
extern Oid	meridian_identity_index(Relation rel);

/*
 * Is a type's binary form the same in every cluster?  Returns the built-in
 * base type, or InvalidOid when its text form must travel.
 */
extern Oid	meridian_binary_type(Oid type);

/* plugin.c: a growing buffer whose memory is palloc'd in the present context. */
extern void meridian_wire_out_init(MeridianWireOut *out);

#endif							/* MERIDIAN_STREAMS_H */
