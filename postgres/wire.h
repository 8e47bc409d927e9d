/*-------------------------------------------------------------------------
 *
 * wire.h
 *	  What travels between two regions' PostgreSQL servers.
 *
 * The stream is a sequence of frames, one per CopyData message of the
 * replication protocol; a frame holds whole messages.  docs/internals/wire.md
 * describes the format.  The limits are here, frames in wire.c, the reader of
 * their messages in wire_read.c and the writer in wire_write.c.  These know
 * nothing of PostgreSQL so that a fuzzer can reach them: they are plain C on
 * core's mrd_buf, and every byte they read may come from an enemy.
 *
 * The reader checks form: bounds, counts, names, and that changes stand
 * between a begin and a commit.  What the names and values mean is checked by
 * those who use them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_WIRE_H
#define MERIDIAN_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrd/buf.h>
#include <mrd/topology.h>

#define MERIDIAN_WIRE_VERSION 1
#define MERIDIAN_WIRE_PAYLOAD_VERSION 1 /* a payload's first byte */
#define MERIDIAN_WIRE_ATTRS_MAX 1600	/* PostgreSQL's own limit of columns */
#define MERIDIAN_WIRE_RELS_MAX 4096 /* relations in one TRUNCATE */
#define MERIDIAN_WIRE_QUALIFIED_MAX (4 * MRD_NAME_MAX + 8)	/* "schema"."table" */
#define MERIDIAN_WIRE_STAMPS_MAX MRD_PARTITIONS_MAX
#define MERIDIAN_WIRE_FRAME_MAX ((size_t) 0x3fff0000)	/* below palloc's 1 GB */
#define MERIDIAN_WIRE_WINDOW_LOG 20 /* zstd window, 1 MiB on either side */

#define MERIDIAN_STAMP_PREFIX "meridian.stamp"
#define MERIDIAN_HEARTBEAT_PREFIX "meridian.heartbeat"
#define MERIDIAN_DDL_PREFIX "meridian.ddl"
#define MERIDIAN_REPAIR_PREFIX "meridian.repair"
#define MERIDIAN_RESOLVE_PREFIX "meridian.resolve"
#define MERIDIAN_ENTRY_PREFIX "meridian.entry"
#define MERIDIAN_LEFT_OUT_PREFIX "meridian.left_out"
#define MERIDIAN_KEPT_PREFIX "meridian.kept"

/*
 * A buffer that grows.  grow() makes room for at least need bytes in all, or
 * returns false (or does not return), after which nothing more is written.
 */
typedef struct MeridianWireOut
{
	uint8_t    *data;
	size_t		len;
	size_t		cap;
	bool		failed;
	bool		(*grow) (struct MeridianWireOut *out, size_t need);
} MeridianWireOut;

typedef enum MeridianWireType
{
	MERIDIAN_WIRE_HELLO = 'h',
	MERIDIAN_WIRE_BEGIN = 'B',
	MERIDIAN_WIRE_COMMIT = 'C',
	MERIDIAN_WIRE_RELATION = 'R',
	MERIDIAN_WIRE_INSERT = 'I',
	MERIDIAN_WIRE_UPDATE = 'U',
	MERIDIAN_WIRE_DELETE = 'D',
	MERIDIAN_WIRE_TRUNCATE = 'T',
	MERIDIAN_WIRE_STAMP = 'S',
	MERIDIAN_WIRE_DDL = 'L',
	MERIDIAN_WIRE_REPAIR = 'P',
	MERIDIAN_WIRE_RESOLVE = 'V',
	MERIDIAN_WIRE_ENTRY = 'E',
	MERIDIAN_WIRE_LEFT_OUT = 'M',
	MERIDIAN_WIRE_HEARTBEAT = 'H',
	MERIDIAN_WIRE_ORIGIN = 'O',
	MERIDIAN_WIRE_POSITION = 'N'
} MeridianWireType;

/* What a column's value looks like */
#define MERIDIAN_COL_NULL 'n'
#define MERIDIAN_COL_UNCHANGED 'u'	/* out of line and not changed */
#define MERIDIAN_COL_BINARY 'b' /* by the type's send function */
#define MERIDIAN_COL_TEXT 't'	/* by the type's output function */

#define MERIDIAN_ATTR_KEY 1		/* belongs to the row's identity */
#define MERIDIAN_TRUNCATE_CASCADE 1
#define MERIDIAN_TRUNCATE_RESTART 2

typedef struct MeridianWireTuple
{
	int			natts;
	uint8_t		kind[MERIDIAN_WIRE_ATTRS_MAX];
	uint32_t	len[MERIDIAN_WIRE_ATTRS_MAX];
	const uint8_t *value[MERIDIAN_WIRE_ATTRS_MAX];	/* borrowed from the frame */
} MeridianWireTuple;

typedef struct MeridianWireAttr
{
	char		name[MRD_NAME_MAX];
	char		type_name[2 * MRD_NAME_MAX];	/* for messages to people */
	uint8_t		flags;
	uint32_t	type;			/* built-in base type sent in binary, 0: text */
} MeridianWireAttr;

typedef struct MeridianWireRelation
{
	uint32_t	id;				/* the sender's OID */
	char		schema_name[MRD_NAME_MAX];
	char		table_name[MRD_NAME_MAX];
	char		class_name[MRD_NAME_MAX];
	int			partition_att;	/* index into attrs, -1: not partitioned */
	int			natts;
	MeridianWireAttr attrs[MERIDIAN_WIRE_ATTRS_MAX];
} MeridianWireRelation;

typedef struct MeridianWireStampEntry
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	uint64_t	epoch;
} MeridianWireStampEntry;

typedef struct MeridianWireStamp
{
	int			count;
	MeridianWireStampEntry entries[MERIDIAN_WIRE_STAMPS_MAX];
} MeridianWireStamp;

typedef struct MeridianWireDdl
{
	char		role[MRD_NAME_MAX];
	const char *search_path;	/* borrowed, not terminated */
	size_t		search_path_len;
	const char *text;			/* borrowed, not terminated */
	size_t		text_len;
} MeridianWireDdl;

/* Rows of one partition of one table; all of them when partition is empty */
typedef struct MeridianWireLeftOut
{
	char		class_name[MRD_NAME_MAX];
	char		schema_name[MRD_NAME_MAX];
	char		table_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
} MeridianWireLeftOut;

/* A change of a row behind the message that describes its relation, as both came */
typedef struct MeridianWireKept
{
	uint32_t	rel;
	char		class_name[MRD_NAME_MAX];
	const uint8_t *messages;	/* borrowed */
	size_t		len;
} MeridianWireKept;

typedef struct MeridianWireResolve
{
	char		origin[MRD_NAME_MAX];
	uint64_t	commit_lsn;
	uint32_t	seq;
	char		status[16];
	char		who[2 * MRD_NAME_MAX];
} MeridianWireResolve;

/* A repair's head; its rows follow one by one in rows. */
typedef struct MeridianWireRepair
{
	char		class_name[MRD_NAME_MAX];
	char		target[MRD_NAME_MAX];
	char		schema_name[MRD_NAME_MAX];
	char		table_name[MRD_NAME_MAX];
	int			natts;
	MeridianWireAttr attrs[MERIDIAN_WIRE_ATTRS_MAX];
	struct mrd_buf rows;
} MeridianWireRepair;

/*
 * One entry of the reconcile queue, as the home tells the others of it.  Images
 * are JSON text, borrowed and not terminated; NULL when there is none.
 */
typedef struct MeridianWireEntry
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	char		origin[MRD_NAME_MAX];
	uint64_t	commit_lsn;
	uint32_t	seq;
	uint64_t	epoch;
	int64_t		committed_at;	/* PostgreSQL's microseconds since 2000 */
	char		relation[MERIDIAN_WIRE_QUALIFIED_MAX];	/* quoted where needed */
	char		operation[16];
	char		status[16];
	char		who[2 * MRD_NAME_MAX];	/* decided it; empty while open */
	int64_t		decided_at;		/* 0 while open */
	const char *before;
	size_t		before_len;
	const char *after;
	size_t		after_len;
} MeridianWireEntry;

typedef struct MeridianWireMsg
{
	MeridianWireType type;

	/* hello, begin, origin */
	char		region[MRD_NAME_MAX];	/* begin: empty is the sender itself */
	char		encoding[MRD_NAME_MAX];
	uint32_t	pg_version;

	/*
	 * begin: lsn is the end of the commit in the origin's WAL, local_lsn its
	 * end in the sender's.  origin: everything of region up to lsn stands
	 * before local_lsn.  heartbeat, position, commit: local_lsn.
	 */
	uint64_t	lsn;
	uint64_t	local_lsn;
	int64_t		commit_time;	/* PostgreSQL's microseconds since 2000 */
	uint32_t	xid;
	uint64_t	session;
	uint64_t	boot_ms;

	/* insert, update, delete, truncate */
	uint32_t	rel;
	bool		has_old;
	MeridianWireTuple old_tuple;
	MeridianWireTuple new_tuple;
	uint8_t		truncate_flags;
	int			nrels;
	uint32_t	rels[MERIDIAN_WIRE_RELS_MAX];

	MeridianWireRelation relation;

	/* stamp, ddl, repair, resolve, entry: the logical message's own payload */
	const uint8_t *payload;
	size_t		payload_len;

	/* the message as it came, borrowed from the frame */
	const uint8_t *raw;
	size_t		raw_len;
} MeridianWireMsg;

typedef struct MeridianWireReader
{
	struct mrd_buf buf;
	bool		greeted;		/* hello has been read */
	bool		in_xact;
} MeridianWireReader;

/* A cursor over the next room bytes; end takes what was written. */
extern struct mrd_buf meridian_wire_out_begin(MeridianWireOut *out, size_t room);
extern void meridian_wire_out_end(MeridianWireOut *out, const struct mrd_buf *b);

/* frames; a NULL context means uncompressed.  0 or a negative MRD_E… code. */
struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;
extern struct ZSTD_CCtx_s *meridian_wire_compressor(void);
extern struct ZSTD_DCtx_s *meridian_wire_decompressor(void);
extern void meridian_wire_compressor_free(struct ZSTD_CCtx_s *ctx);
extern void meridian_wire_decompressor_free(struct ZSTD_DCtx_s *ctx);
extern int	meridian_wire_pack(struct ZSTD_CCtx_s *ctx, const MeridianWireOut *content,
							   MeridianWireOut *frame);
extern int	meridian_wire_unpack(struct ZSTD_DCtx_s *ctx, const void *frame, size_t len,
								 MeridianWireOut *content);

/*
 * Reading.  feed() starts on a frame's content, which must stay where it is
 * while its messages are used.  next() returns 1 with a message, 0 at the end
 * of the frame, or a negative MRD_E… code, after which the stream is lost.
 */
extern void meridian_wire_feed(MeridianWireReader *r, const void *content, size_t len);
extern int	meridian_wire_next(MeridianWireReader *r, MeridianWireMsg *msg);

/* payloads of the logical messages: 0 or a negative MRD_E… code */
extern int	meridian_wire_read_stamp(const void *data, size_t len, MeridianWireStamp *ret);
extern int	meridian_wire_read_heartbeat(const void *data, size_t len,
										 uint64_t *session, uint64_t *boot_ms);
extern int	meridian_wire_read_ddl(const void *data, size_t len, MeridianWireDdl *ret);
extern int	meridian_wire_read_resolve(const void *data, size_t len, MeridianWireResolve *ret);
extern int	meridian_wire_read_left_out(const void *data, size_t len, MeridianWireLeftOut *ret);
extern int	meridian_wire_read_kept(const void *data, size_t len, MeridianWireMsg *scratch,
									MeridianWireKept *ret);
extern int	meridian_wire_read_entry(const void *data, size_t len, MeridianWireEntry *ret);
extern int	meridian_wire_read_repair(const void *data, size_t len, MeridianWireRepair *ret);
extern int	meridian_wire_read_repair_row(MeridianWireRepair *repair, MeridianWireTuple *key,
										  bool *has_image, MeridianWireTuple *image);

/* The class that the payload of a repair, an entry or of what was left out is about. */
extern int	meridian_wire_read_class(const void *data, size_t len, char ret[MRD_NAME_MAX]);

/* writing: messages */
extern void meridian_wire_put_hello(MeridianWireOut *out, const char *region,
									const char *encoding, uint32_t pg_version);
extern void meridian_wire_put_begin(MeridianWireOut *out, const char *origin, uint64_t lsn,
									uint64_t local_lsn, int64_t commit_time, uint32_t xid);
extern void meridian_wire_put_commit(MeridianWireOut *out, uint64_t local_lsn);
extern void meridian_wire_put_relation(MeridianWireOut *out, uint32_t id, const char *schema_name,
									   const char *table_name, const char *class_name,
									   int partition_att, int natts);
extern void meridian_wire_put_attr(MeridianWireOut *out, const char *name, const char *type_name,
								   uint8_t flags, uint32_t type);
extern void meridian_wire_put_insert(MeridianWireOut *out, uint32_t rel);
extern void meridian_wire_put_update(MeridianWireOut *out, uint32_t rel, bool has_old);
extern void meridian_wire_put_delete(MeridianWireOut *out, uint32_t rel);
extern void meridian_wire_put_truncate(MeridianWireOut *out, uint8_t flags, int nrels,
									   const uint32_t *rels);
extern void meridian_wire_put_payload(MeridianWireOut *out, MeridianWireType type,
									  const void *payload, size_t len);
extern void meridian_wire_put_kept(MeridianWireOut *out, const void *relation, size_t relation_len,
								   const MeridianWireMsg *change);
extern void meridian_wire_put_messages(MeridianWireOut *out, const MeridianWireKept *kept);
extern void meridian_wire_put_heartbeat(MeridianWireOut *out, uint64_t local_lsn,
										uint64_t session, uint64_t boot_ms);
extern void meridian_wire_put_origin(MeridianWireOut *out, const char *region, uint64_t lsn,
									 uint64_t local_lsn);
extern void meridian_wire_put_position(MeridianWireOut *out, uint64_t local_lsn);

/* writing: the columns of a tuple, after insert, update, delete or a repair's row */
extern void meridian_wire_put_natts(MeridianWireOut *out, int natts);
extern void meridian_wire_put_col(MeridianWireOut *out, uint8_t kind, const void *value,
								  size_t len);

/* writing: a stamp's payload */
extern void meridian_wire_put_stamp(MeridianWireOut *out, const MeridianWireStamp *stamp);

/* writing: an entry's payload */
extern void meridian_wire_put_entry(MeridianWireOut *out, const MeridianWireEntry *entry);

/* writing: a repair's payload; rows are put as key, whether there is an image, image */
extern void meridian_wire_put_repair(MeridianWireOut *out, const char *class_name,
									 const char *target, const char *schema_name,
									 const char *table_name, int natts);
extern void meridian_wire_put_repair_image(MeridianWireOut *out, bool has_image);

#endif							/* MERIDIAN_WIRE_H */
