/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  What the files of an apply worker share: apply.c (the stream's transactions;
 *	  its own loop is in worker.h), link.c (the connection), sql.c (statements on
 *	  our own tables), rows.c (changes of rows), missing.c (what is left out of
 *	  them), join.c (the first copy), copy.c, gaps.c, lend.c and cover.c (copies,
 *	  and what lacks one), tail.c (what is put aside), repair.c and repaired.c (what
 *	  follows from that) and settled.c (which epochs are behind us).
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
	uint32		xid;			/* at the sender */
	uint64		number;			/* of this worker's transactions */
	MeridianWireStamp stamps;	/* all of them, collected */
} MeridianXact;

typedef struct MeridianApply
{
	MeridianStream *stream;		/* our entry in shared memory */
	char		origin[MRD_NAME_MAX];
	PGconn	   *conn;
	char	   *conninfo;		/* as of the last connection */
	bool		full_images;
	MeridianXact xact;
	MemoryContext context;		/* one message */
	const struct mrd_snapshot *present; /* as of the last begin or commit */
	XLogRecPtr	frame_end;		/* what the frame at hand says of itself */
	TimestampTz began;			/* this stream */
	TimestampTz last_heard;
	bool		streaming;		/* orders are heeded between messages */
	bool		leave;			/* fenced or re-ordered: stop after this message */
	bool		reconnect;		/* connect again, with other options */
} MeridianApply;

extern MeridianApply meridian_apply;

typedef struct MeridianApplyRel MeridianApplyRel;

/* orders.c: does not return when the order has changed */
extern void meridian_apply_heed(void);

/* apply.c */
extern void meridian_apply_start(void); /* a local transaction, if none runs */
extern void meridian_apply_put_aside(const char *why) pg_attribute_noreturn();
extern bool meridian_apply_stay(void);	/* between steps of long work; false: leave it */
extern void meridian_apply_count(const char *schema_name, const char *table_name,
								 const char *kind);

/* positions.c: how far the stream has told of a region so far */
extern XLogRecPtr meridian_apply_noted(const char *region);

/* link.c: errors are ereport()ed with class 08 */
extern PGconn *meridian_link_open(const char *conninfo, bool replication);
extern PGresult *meridian_link_exec(PGconn *conn, const char *command, ExecStatusType expected);
extern char *meridian_link_conninfo(const char *region);
extern bool meridian_link_wait(PGconn *conn, int events, long timeout_ms);
extern char *meridian_link_literal(PGconn *conn, const char *value);
extern PGresult *meridian_link_row(PGconn *conn, const char *sql);
extern XLogRecPtr meridian_link_position(const char *text);
extern char *meridian_link_snapshot(const char *text);
extern void meridian_link_tend_spare(const char *conninfo);
extern bool meridian_link_has_spare(void);
extern PGconn *meridian_link_change_over(PGconn *conn);	/* taken */

/* sql.c */
extern void meridian_sql_begin(void);	/* a transaction of its own */
extern void meridian_sql_end(void);
extern bool meridian_sql_any(const char *query);
extern int	meridian_sql_run(const char *sql, int n, Oid *types, Datum *values);
extern char *meridian_sql_text(int row, int column);	/* of the last query */
extern Datum meridian_sql_datum(int row, int column);
extern void meridian_sql_write(const char *sql, int n, Oid *types, Datum *values,
							   const char *nulls, int expected);

/* rows.c and rows_tables.c, which share rows.h */
extern void meridian_rows_init(void);
extern void meridian_rows_forget(void); /* a new stream: relations are told again */
extern void meridian_rows_learn(const MeridianWireRelation *def, const uint8_t *raw, size_t raw_len);
extern void meridian_rows_change(const MeridianWireMsg *msg);
extern void meridian_rows_redo(const MeridianWireMsg *msg);
extern void meridian_rows_truncate(const MeridianWireMsg *msg);
extern void meridian_rows_close(void);	/* before commit and before DDL */
extern void meridian_rows_abandon(void);	/* after an abort */

/*
 * For tail.c and repaired.c: a relation that the stream told of, perhaps
 * unknown here; what it told; an ERROR for a tuple with other columns, or for a
 * column with other bytes than its type has; the stamp that covers a row.
 */
extern MeridianApplyRel *meridian_rows_told(uint32 id);
extern const MeridianWireRelation *meridian_rows_definition(MeridianApplyRel *r);
extern void meridian_rows_check(MeridianApplyRel *r, const MeridianWireTuple *tuple);
extern void meridian_rows_malformed(const MeridianWireRelation *def, int i);
extern bool meridian_rows_stamped(MeridianApplyRel *r, const MeridianWireTuple *tuple,
								  const char **partition, uint64 *epoch);

/* The same, open in the present transaction; its row with that identity made equal to image. */
extern MeridianApplyRel *meridian_rows_open(uint32 id);
extern void meridian_rows_set(MeridianApplyRel *r, const MeridianWireTuple *key,
							  const MeridianWireTuple *image);
extern void meridian_rows_done(MeridianApplyRel *r);

/* One partition of one table, whole (or to be) as of this epoch of its home */
typedef struct MeridianCopied
{
	Oid			relid;
	char		missing[4 * NAMEDATALEN + 8];	/* its quoted name, if it does not exist here */
	bool		lent;			/* we are the home, and get it from whoever holds it */
	bool		along;			/* likewise, but from where the schema is defined, if we have none */
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	uint64		epoch;
} MeridianCopied;

/*
 * copy.c: one connection, one snapshot at a time.  begin takes the name of an
 * exported snapshot, or NULL for the present one.
 */
extern PGconn *meridian_copy_open(const char *conninfo);
extern void meridian_copy_begin(const char *snapshot);
extern void meridian_copy_end(void);
extern void meridian_copy_close(void);
extern Oid	meridian_table(const char *schema_name, const char *table_name);
extern bool meridian_copy_lacks_tables(void);
extern bool meridian_copy_misses_in_vain(bool forget);
extern void meridian_copy_compare(void);
extern void meridian_copy_definitions(const char *conninfo, const char *snapshot);
extern List *meridian_copy_choose(List *only);
extern List *meridian_copy_rows(bool all, List *only);

/* dump.c: options choose what of it; the result is SQL */
extern char *meridian_dump(const char *conninfo, const char *snapshot, List *options);

/* compare.c */
extern void meridian_compare_definition(PGconn *source, const char *schema_name,
										const char *table_name);

/*
 * gaps.c: has this region all that the homes before the present one wrote, as far
 * as it has their streams (what origin wrote comes in its own)?  Is origin the
 * home, too?  Which gaps are there; with from, only those that could be copied
 * from there now.
 */
extern bool meridian_has_past(const struct mrd_snapshot *s, const struct mrd_authority *a,
							  mrd_region origin);
extern bool meridian_takeable(const struct mrd_snapshot *s, int i, const char *origin);
extern bool meridian_is_defining(void);
extern List *meridian_find_gaps(const char *from);

/* gaps.c: marks */
extern MeridianCopied *meridian_copied_new(Oid relid, const char *class_name,
										   const char *partition, uint64 epoch, bool lent);
extern List *meridian_copied_keep(List *copied);
extern void meridian_mark_now(List *copied);
extern void meridian_mark_copied(List *copied); /* taken */
extern void meridian_forget_copied(const char *origin);
extern void meridian_unmark(List *copied);
extern bool meridian_copied_stands(const struct mrd_snapshot *s, const MeridianCopied *c);
extern void meridian_forget_partition(const struct mrd_snapshot *s, const char *class_name,
									  const char *partition, uint64 epoch);
extern bool meridian_copy_lock(void);
extern bool meridian_past_cut_lock(void);

/* lend.c: does the region that we stream from lend that to us, its home? */
extern bool meridian_lends(PGconn *source, const MeridianCopied *c);
extern void meridian_lends_reset(void);

/* copier.c: copying by a worker of its own */
typedef enum MeridianCopierState
{
	MERIDIAN_COPIER_STARTING,
	MERIDIAN_COPIER_BEGUN,		/* it has the snapshot */
	MERIDIAN_COPIER_DONE,		/* what it copied is on disk */
	MERIDIAN_COPIER_BUSY,		/* another copy is being made here */
	MERIDIAN_COPIER_FAILED
} MeridianCopierState;

extern bool meridian_copier_start(const char *snapshot, List *what);
extern MeridianCopierState meridian_copier_state(const char **error);
extern bool meridian_copier_has(const MeridianCopied *c);
extern void meridian_copier_end(void);

/* image.c: a snapshot of another region, as cover.c has it, and transactions there */
extern uint64 meridian_image_number(PGresult *res, int column);
extern void meridian_image_look(PGconn *source);
extern void meridian_image_take(PGconn *source);
extern const char *meridian_image_name(void);
extern XLogRecPtr meridian_image_end(void);
extern bool meridian_image_has(uint32 xid);
extern bool meridian_image_remember(uint32 xid);
extern void meridian_image_forget(void);
extern uint32 meridian_image_lacks(void);

/* kept.c: changes that are done after a copy */
extern void meridian_kept_reset(void);
extern void meridian_kept_add(const MeridianWireMsg *msg);
extern uint64 meridian_kept_size(void);	/* bytes on disk */
extern bool meridian_kept_do(int ms);

/* cover.c: what is to be done with a change */
typedef enum MeridianCover
{
	MERIDIAN_COVER_NONE,		/* no copy is concerned */
	MERIDIAN_COVER_COPIED,		/* it is in the copy */
	MERIDIAN_COVER_BEHIND		/* it has to wait for the copy */
} MeridianCover;

/* cover.c: closing gaps from a running stream */
extern void meridian_cover_reset(void);
extern void meridian_cover_tend(const char *conninfo, XLogRecPtr applied, bool forwarding);
extern void meridian_cover_touch(Oid relid);
extern void meridian_cover_disturb(Oid relid);
extern void meridian_cover_redefine(Oid relid);
extern MeridianCover meridian_cover_of(Oid relid, const char *partition, size_t len);
extern bool meridian_cover_holds(Oid relid);
extern void meridian_cover_outdate(void);
extern bool meridian_cover_is_behind(void);
extern void meridian_cover_applied(uint32 xid);
extern bool meridian_cover_due(XLogRecPtr next, bool applied);
extern void meridian_cover_copy(const char *conninfo);

/* missing.c: what the transaction at hand leaves out here, and where it was handed over from */
extern void meridian_left_out(const void *payload, size_t len);

/* join.c: returns once the region has a copy and a position of the origin */
extern void meridian_join(MeridianApply *a, const char *conninfo, const char *slot);

/* tail.c */
extern void meridian_tail_begin(int first_seq);
extern void meridian_tail_change(const MeridianWireMsg *msg);
extern void meridian_tail_statement(const MeridianWireMsg *msg);

/*
 * unfenced.c: what was applied past a cut that we had not heard of.  settle is for
 * a worker that applies nothing at the moment; may_tell: is it a region's to tell
 * of such an entry, of which it is not home?
 */
extern bool meridian_unfenced(const struct mrd_snapshot *s, const struct mrd_authority *a);
extern bool meridian_unfenced_news(const struct mrd_snapshot *s);
extern void meridian_unfenced_settle(void);
extern bool meridian_unfenced_may_tell(const struct mrd_snapshot *s, const char *teller,
									   const char *origin, const char *class_name,
									   const char *partition, uint64 epoch);

/* reach.c: what of the others' WAL was here when a slot was made; when more was, less is shown */
extern void meridian_reach_note(const struct mrd_snapshot *s);
extern bool meridian_reach_covers(const char *slot, const char *origin, XLogRecPtr lsn);

/* repair.c: what is sent by the home, between transactions of the stream */
extern void meridian_repairs_begin(void);	/* a new stream: look at everything again */
extern void meridian_repairs_expect(const char *origin);	/* an entry was filed */
extern bool meridian_repairs_due(const struct mrd_snapshot *s);
extern void meridian_repairs_send(void);
extern Datum meridian_text_array(const char **names, int n);

/* repaired.c: what arrives from it */
extern void meridian_repair(const void *payload, size_t len);
extern void meridian_entry(const void *payload, size_t len);
extern void meridian_resolve(const void *payload, size_t len);

/* settled.c: the last epoch of a partition before which all that counts is here */
extern void meridian_settled_note(const struct mrd_snapshot *s,
								  const mrd_lsn applied[MRD_REGIONS_MAX]);
extern bool meridian_settled_before(const char *class_name, const char *partition, mrd_epoch epoch);

#endif							/* MERIDIAN_APPLY_H */
