/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  What the files of an apply worker share: apply.c (the stream and its
 *	  transactions), link.c (the connection), rows.c (changes of rows), join.c
 *	  (the first copy) and tail.c (what is put aside, and repairs).
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_APPLY_H
#define MERIDIAN_APPLY_H

#include "libpq-fe.h"

#include "replication/origin.h"

#include "streams.h"

/* The remote transaction at hand. */
typedef struct MeridianXact
{
	bool		open;			/* between begin and commit */
	bool		started;		/* a local transaction is running for it */
	bool		careful;		/* look before each insert */
	bool		tail;			/* not applied but put aside */
	char		origin[MRD_NAME_MAX];
	RepOriginId origin_id;
	XLogRecPtr	lsn;			/* end of its commit at the origin */
	XLogRecPtr	local_lsn;		/* end of its commit at the sender */
	TimestampTz commit_time;
	uint64		number;			/* of this worker's transactions */
	MeridianWireStamp stamps;	/* all of them, collected */
} MeridianXact;

typedef struct MeridianApply
{
	MeridianStream *stream;		/* our entry in shared memory */
	char		origin[MRD_NAME_MAX];
	PGconn	   *conn;
	bool		full_images;
	MeridianXact xact;
} MeridianApply;

extern MeridianApply meridian_apply;

typedef struct MeridianApplyRel MeridianApplyRel;

/* apply.c */
extern void meridian_apply_start(void); /* a local transaction, if none runs */
extern void meridian_apply_heed(void);	/* does not return when the order has changed */
extern void meridian_apply_put_aside(const char *why) pg_attribute_noreturn();
extern void meridian_apply_count(const char *schema_name, const char *table_name,
								 const char *kind);

/* link.c: errors are ereport()ed with class 08 */
extern PGconn *meridian_link_open(const char *conninfo, bool replication);
extern PGresult *meridian_link_exec(PGconn *conn, const char *command, ExecStatusType expected);
extern char *meridian_link_conninfo(const char *region);
extern void meridian_link_wait(PGconn *conn, int events, long timeout_ms);
extern char *meridian_link_literal(PGconn *conn, const char *value);
extern void meridian_link_tend_spare(const char *conninfo);
extern bool meridian_link_has_spare(void);
extern PGconn *meridian_link_change_over(PGconn *conn);	/* taken */

/* rows.c */
extern void meridian_rows_init(void);
extern void meridian_rows_forget(void); /* a new stream: relations are told again */
extern void meridian_rows_learn(const MeridianWireRelation *def);
extern void meridian_rows_change(const MeridianWireMsg *msg);
extern void meridian_rows_truncate(const MeridianWireMsg *msg);
extern void meridian_rows_close(void);	/* before commit and before DDL */
extern void meridian_rows_abandon(void);	/* after an abort */

/*
 * rows.c, for tail.c: a relation the stream told of, open in the present
 * transaction; its slot filled from a tuple (columns that did not travel are
 * taken from rest, or NULL when there is none); the local row with the same
 * identity, or NULL.
 */
extern MeridianApplyRel *meridian_rows_open(uint32 id);
extern Relation meridian_rows_relation(MeridianApplyRel *r);
extern const MeridianWireRelation *meridian_rows_definition(MeridianApplyRel *r);
extern bool meridian_rows_stamped(MeridianApplyRel *r, const MeridianWireTuple *tuple,
								  const char **partition, uint64 *epoch);
extern TupleTableSlot *meridian_rows_fill(MeridianApplyRel *r, const MeridianWireTuple *tuple,
										  const MeridianWireTuple *rest);
extern TupleTableSlot *meridian_rows_find(MeridianApplyRel *r, const MeridianWireTuple *key);
extern void meridian_rows_set(MeridianApplyRel *r, const MeridianWireTuple *key,
							  const MeridianWireTuple *image);
extern void meridian_rows_done(MeridianApplyRel *r);

/* join.c: returns once the region has a copy and a position of the origin */
extern void meridian_join(MeridianApply *a, const char *conninfo, const char *slot);

/* tail.c */
extern void meridian_tail_begin(void);
extern void meridian_tail_change(const MeridianWireMsg *msg);
extern void meridian_tail_statement(const MeridianWireMsg *msg);
extern void meridian_tail_commit(void);
extern void meridian_tail_abandon(void);
extern void meridian_repair(const void *payload, size_t len);
extern void meridian_resolve(const void *payload, size_t len);

#endif							/* MERIDIAN_APPLY_H */
