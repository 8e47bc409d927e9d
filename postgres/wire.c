/*-------------------------------------------------------------------------
 *
 * wire.c
 *	  Reader and writer of the stream between regions.
 *
 * One file holds both directions and the limits, so that they cannot drift
 * apart.  The writer never looks at what it was given; the reader trusts
 * nothing.  A message is parsed completely before any of it is handed out,
 * and whoever sends a malformed one loses the connection: after an error a
 * stream has no next message.
 *
 * Frames are compressed with one zstd context for the life of the stream, so
 * that the hundredth INSERT into a table costs a few bytes of what it repeats.
 * Each frame ends with a flush and can be decoded when it has arrived.  What a
 * frame may grow to is bounded before memory is taken for it.
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <string.h>

#include <zstd.h>

#include <mrd/err.h>

#define FRAME_PLAIN 0
#define FRAME_ZSTD 1
#define PAYLOAD_VERSION 1

/* ---------------------------------------------------------------------
 * the growing buffer
 * ---------------------------------------------------------------------
 */

static bool
out_reserve(MeridianWireOut *out, size_t more)
{
	if (out->failed)
		return false;
	if (more > MERIDIAN_WIRE_FRAME_MAX || out->len > MERIDIAN_WIRE_FRAME_MAX - more)
	{
		out->failed = true;
		return false;
	}
	if (out->len + more > out->cap && !out->grow(out, out->len + more))
	{
		out->failed = true;
		return false;
	}
	return true;
}

/* A cursor over the next room bytes; out_end() takes what was written. */
static struct mrd_buf
out_begin(MeridianWireOut *out, size_t room)
{
	/* For nothing there may be no memory yet, and NULL + 0 is undefined in C. */
	if (!out_reserve(out, room) || room == 0)
		return mrd_buf_writer(NULL, 0);
	return mrd_buf_writer(out->data + out->len, room);
}

static void
out_end(MeridianWireOut *out, const struct mrd_buf *b)
{
	if (out->failed)
		return;
	if (b->failed)
		out->failed = true;
	else
		out->len += b->pos;
}

static size_t
str_room(const char *s)
{
	return 2 + strlen(s);
}

/* ---------------------------------------------------------------------
 * frames
 * ---------------------------------------------------------------------
 */

struct ZSTD_CCtx_s *
meridian_wire_compressor(void)
{
	ZSTD_CCtx  *ctx = ZSTD_createCCtx();

	if (ctx == NULL)
		return NULL;
	if (ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, 1)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, MERIDIAN_WIRE_WINDOW_LOG)))
	{
		ZSTD_freeCCtx(ctx);
		return NULL;
	}
	return ctx;
}

struct ZSTD_DCtx_s *
meridian_wire_decompressor(void)
{
	ZSTD_DCtx  *ctx = ZSTD_createDCtx();

	if (ctx != NULL &&
		ZSTD_isError(ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, MERIDIAN_WIRE_WINDOW_LOG)))
	{
		ZSTD_freeDCtx(ctx);
		return NULL;
	}
	return ctx;
}

void
meridian_wire_compressor_free(struct ZSTD_CCtx_s *ctx)
{
	ZSTD_freeCCtx(ctx);
}

void
meridian_wire_decompressor_free(struct ZSTD_DCtx_s *ctx)
{
	ZSTD_freeDCtx(ctx);
}

static int
pack_zstd(ZSTD_CCtx *ctx, const MeridianWireOut *content, MeridianWireOut *frame)
{
	ZSTD_inBuffer in = {content->data, content->len, 0};
	size_t		left;

	do
	{
		ZSTD_outBuffer out;

		/* compressed content may be a little larger than the content */
		if (!out_reserve(frame, content->len - in.pos + content->len / 128 + 1024))
			return MRD_ETOOBIG;
		out.dst = frame->data + frame->len;
		out.size = frame->cap - frame->len;
		out.pos = 0;
		left = ZSTD_compressStream2(ctx, &out, &in, ZSTD_e_flush);
		if (ZSTD_isError(left))
			return MRD_EFORMAT;
		frame->len += out.pos;
	} while (left > 0);
	return MRD_OK;
}

int
meridian_wire_pack(struct ZSTD_CCtx_s *ctx, const MeridianWireOut *content, MeridianWireOut *frame)
{
	struct mrd_buf b;

	if (content->failed)
		return MRD_ETOOBIG;
	b = out_begin(frame, 1 + (ctx == NULL ? content->len : 0));
	mrd_buf_put_u8(&b, ctx == NULL ? FRAME_PLAIN : FRAME_ZSTD);
	if (ctx == NULL)
		mrd_buf_put_bytes(&b, content->data, content->len);
	out_end(frame, &b);
	if (frame->failed)
		return MRD_ETOOBIG;
	return ctx == NULL ? MRD_OK : pack_zstd(ctx, content, frame);
}

static int
unpack_zstd(ZSTD_DCtx *ctx, const uint8_t *data, size_t len, MeridianWireOut *content)
{
	ZSTD_inBuffer in = {data, len, 0};

	for (;;)
	{
		ZSTD_outBuffer out;
		size_t		ret;

		if (!out_reserve(content, ZSTD_BLOCKSIZE_MAX))
			return MRD_ETOOBIG;
		out.dst = content->data + content->len;
		out.size = content->cap - content->len;
		if (out.size > MERIDIAN_WIRE_FRAME_MAX - content->len)
			out.size = MERIDIAN_WIRE_FRAME_MAX - content->len;
		out.pos = 0;
		ret = ZSTD_decompressStream(ctx, &out, &in);
		if (ZSTD_isError(ret) || ret == 0)
			return MRD_EFORMAT; /* the stream's one zstd frame never ends */
		content->len += out.pos;
		if (in.pos == in.size && out.pos < out.size)
			return content->len > 0 ? MRD_OK : MRD_ESHORT;	/* it waits for bytes that were to be here */
	}
}

int
meridian_wire_unpack(struct ZSTD_DCtx_s *ctx, const void *frame, size_t len,
					 MeridianWireOut *content)
{
	const uint8_t *data = frame;
	struct mrd_buf b;

	if (len < 1)
		return MRD_ESHORT;
	if (data[0] == FRAME_ZSTD)
		return ctx == NULL ? MRD_EFORMAT : unpack_zstd(ctx, data + 1, len - 1, content);
	if (data[0] != FRAME_PLAIN)
		return MRD_EVERSION;
	b = out_begin(content, len - 1);
	mrd_buf_put_bytes(&b, data + 1, len - 1);
	out_end(content, &b);
	return content->failed ? MRD_ETOOBIG : MRD_OK;
}

/* ---------------------------------------------------------------------
 * reading messages
 * ---------------------------------------------------------------------
 */

void
meridian_wire_feed(MeridianWireReader *r, const void *content, size_t len)
{
	r->buf = mrd_buf_reader(content, len);
}

static void
read_tuple(struct mrd_buf *b, MeridianWireTuple *t)
{
	t->natts = mrd_buf_get_u16(b);
	if (t->natts > MERIDIAN_WIRE_ATTRS_MAX)
	{
		b->failed = true;
		t->natts = 0;
	}
	for (int i = 0; i < t->natts && !b->failed; i++)
	{
		t->kind[i] = mrd_buf_get_u8(b);
		t->len[i] = 0;
		t->value[i] = NULL;
		switch (t->kind[i])
		{
			case MERIDIAN_COL_NULL:
			case MERIDIAN_COL_UNCHANGED:
				break;
			case MERIDIAN_COL_BINARY:
			case MERIDIAN_COL_TEXT:
				t->len[i] = mrd_buf_get_u32(b);
				t->value[i] = mrd_buf_get_bytes(b, t->len[i]);
				break;
			default:
				b->failed = true;
		}
	}
}

static void
read_attr(struct mrd_buf *b, MeridianWireAttr *a)
{
	a->flags = mrd_buf_get_u8(b);
	mrd_buf_get_str(b, a->name, sizeof(a->name));
	mrd_buf_get_str(b, a->type_name, sizeof(a->type_name));
	a->type = mrd_buf_get_u32(b);
	if (a->name[0] == '\0' || (a->flags & ~MERIDIAN_ATTR_KEY) != 0)
		b->failed = true;
}

static int
read_attrs(struct mrd_buf *b, MeridianWireAttr *attrs)
{
	int			natts = mrd_buf_get_u16(b);

	if (natts > MERIDIAN_WIRE_ATTRS_MAX)
		b->failed = true;
	for (int i = 0; i < natts && !b->failed; i++)
		read_attr(b, &attrs[i]);
	return b->failed ? 0 : natts;
}

static void
read_relation(struct mrd_buf *b, MeridianWireRelation *rel)
{
	int			partition_att;

	rel->id = mrd_buf_get_u32(b);
	mrd_buf_get_str(b, rel->schema_name, sizeof(rel->schema_name));
	mrd_buf_get_str(b, rel->table_name, sizeof(rel->table_name));
	mrd_buf_get_str(b, rel->class_name, sizeof(rel->class_name));
	partition_att = mrd_buf_get_u16(b);
	rel->partition_att = partition_att == UINT16_MAX ? -1 : partition_att;
	rel->natts = read_attrs(b, rel->attrs);
	if (rel->partition_att >= rel->natts)
		b->failed = true;
}

static void
read_truncate(struct mrd_buf *b, MeridianWireMsg *msg)
{
	uint32_t	n;

	msg->truncate_flags = mrd_buf_get_u8(b);
	n = mrd_buf_get_u32(b);
	if (n > MERIDIAN_WIRE_RELS_MAX)
	{
		b->failed = true;
		n = 0;
	}
	msg->nrels = (int) n;
	for (int i = 0; i < msg->nrels; i++)
		msg->rels[i] = mrd_buf_get_u32(b);
}

static void
read_begin(struct mrd_buf *b, MeridianWireMsg *msg)
{
	mrd_buf_get_str(b, msg->region, sizeof(msg->region));
	msg->lsn = mrd_buf_get_u64(b);
	msg->local_lsn = mrd_buf_get_u64(b);
	msg->commit_time = (int64_t) mrd_buf_get_u64(b);
	msg->xid = mrd_buf_get_u32(b);
	if (msg->lsn == 0 || msg->local_lsn == 0)
		b->failed = true;
}

static void
read_hello(struct mrd_buf *b, MeridianWireMsg *msg)
{
	if (mrd_buf_get_u16(b) != MERIDIAN_WIRE_VERSION)
		b->failed = true;
	mrd_buf_get_str(b, msg->region, sizeof(msg->region));
	mrd_buf_get_str(b, msg->encoding, sizeof(msg->encoding));
	msg->pg_version = mrd_buf_get_u32(b);
}

static void
read_change(struct mrd_buf *b, MeridianWireMsg *msg)
{
	msg->rel = mrd_buf_get_u32(b);
	msg->has_old = msg->type == MERIDIAN_WIRE_DELETE;
	if (msg->type == MERIDIAN_WIRE_UPDATE)
	{
		uint8_t		flag = mrd_buf_get_u8(b);

		if (flag > 1)
			b->failed = true;
		msg->has_old = flag == 1;
	}
	msg->old_tuple.natts = msg->new_tuple.natts = 0;
	if (msg->has_old)
		read_tuple(b, &msg->old_tuple);
	if (msg->type != MERIDIAN_WIRE_DELETE)
		read_tuple(b, &msg->new_tuple);
}

static void
read_payload(struct mrd_buf *b, MeridianWireMsg *msg)
{
	msg->payload_len = mrd_buf_get_u32(b);
	msg->payload = mrd_buf_get_bytes(b, msg->payload_len);
}

static void
read_body(struct mrd_buf *b, MeridianWireMsg *msg)
{
	switch (msg->type)
	{
		case MERIDIAN_WIRE_HELLO:
			read_hello(b, msg);
			break;
		case MERIDIAN_WIRE_BEGIN:
			read_begin(b, msg);
			break;
		case MERIDIAN_WIRE_COMMIT:
		case MERIDIAN_WIRE_POSITION:
			msg->local_lsn = mrd_buf_get_u64(b);
			break;
		case MERIDIAN_WIRE_RELATION:
			read_relation(b, &msg->relation);
			break;
		case MERIDIAN_WIRE_INSERT:
		case MERIDIAN_WIRE_UPDATE:
		case MERIDIAN_WIRE_DELETE:
			read_change(b, msg);
			break;
		case MERIDIAN_WIRE_TRUNCATE:
			read_truncate(b, msg);
			break;
		case MERIDIAN_WIRE_STAMP:
		case MERIDIAN_WIRE_DDL:
		case MERIDIAN_WIRE_REPAIR:
		case MERIDIAN_WIRE_RESOLVE:
		case MERIDIAN_WIRE_ENTRY:
		case MERIDIAN_WIRE_LEFT_OUT:
			read_payload(b, msg);
			break;
		case MERIDIAN_WIRE_HEARTBEAT:
			msg->local_lsn = mrd_buf_get_u64(b);
			msg->session = mrd_buf_get_u64(b);
			msg->boot_ms = mrd_buf_get_u64(b);
			break;
		case MERIDIAN_WIRE_ORIGIN:
			mrd_buf_get_str(b, msg->region, sizeof(msg->region));
			msg->lsn = mrd_buf_get_u64(b);
			msg->local_lsn = mrd_buf_get_u64(b);
			break;
		default:
			b->failed = true;
	}
}

/* May this message stand here?  Moves the reader's state when it may. */
static bool
in_order(MeridianWireReader *r, MeridianWireType type)
{
	if (!r->greeted)
	{
		r->greeted = type == MERIDIAN_WIRE_HELLO;
		return r->greeted;
	}
	switch (type)
	{
		case MERIDIAN_WIRE_HELLO:
			return false;
		case MERIDIAN_WIRE_BEGIN:
			if (r->in_xact)
				return false;
			r->in_xact = true;
			return true;
		case MERIDIAN_WIRE_COMMIT:
			if (!r->in_xact)
				return false;
			r->in_xact = false;
			return true;
		case MERIDIAN_WIRE_HEARTBEAT:
		case MERIDIAN_WIRE_ORIGIN:
		case MERIDIAN_WIRE_POSITION:
			return !r->in_xact;
		default:
			return r->in_xact;
	}
}

int
meridian_wire_next(MeridianWireReader *r, MeridianWireMsg *msg)
{
	if (r->buf.failed)
		return MRD_EFORMAT;
	if (mrd_buf_left(&r->buf) == 0)
		return 0;
	msg->raw = r->buf.data + r->buf.pos;
	msg->type = (MeridianWireType) mrd_buf_get_u8(&r->buf);
	read_body(&r->buf, msg);
	msg->raw_len = (size_t) (r->buf.data + r->buf.pos - msg->raw);
	if (r->buf.failed)
		return MRD_EFORMAT;
	if (!in_order(r, msg->type))
	{
		r->buf.failed = true;
		return MRD_EFORMAT;
	}
	return 1;
}

/* ---------------------------------------------------------------------
 * reading payloads
 * ---------------------------------------------------------------------
 */

static int
payload_begin(struct mrd_buf *b, const void *data, size_t len)
{
	*b = mrd_buf_reader(data, len);
	return mrd_buf_get_u8(b) == PAYLOAD_VERSION ? MRD_OK : MRD_EVERSION;
}

int
meridian_wire_read_stamp(const void *data, size_t len, MeridianWireStamp *ret)
{
	struct mrd_buf b;
	int			count;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	count = mrd_buf_get_u16(&b);
	if (count > MERIDIAN_WIRE_STAMPS_MAX)
		return MRD_ETOOBIG;
	for (int i = 0; i < count; i++)
	{
		mrd_buf_get_str(&b, ret->entries[i].class_name, sizeof(ret->entries[i].class_name));
		mrd_buf_get_str(&b, ret->entries[i].partition, sizeof(ret->entries[i].partition));
		ret->entries[i].epoch = mrd_buf_get_u64(&b);
	}
	ret->count = count;
	return mrd_buf_done(&b) ? MRD_OK : MRD_EFORMAT;
}

int
meridian_wire_read_heartbeat(const void *data, size_t len, uint64_t *session, uint64_t *boot_ms)
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	*session = mrd_buf_get_u64(&b);
	*boot_ms = mrd_buf_get_u64(&b);
	return mrd_buf_done(&b) ? MRD_OK : MRD_EFORMAT;
}

int
meridian_wire_read_ddl(const void *data, size_t len, MeridianWireDdl *ret)
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	mrd_buf_get_str(&b, ret->role, sizeof(ret->role));
	ret->search_path_len = mrd_buf_get_u16(&b);
	ret->search_path = (const char *) mrd_buf_get_bytes(&b, ret->search_path_len);
	ret->text_len = mrd_buf_get_u32(&b);
	ret->text = (const char *) mrd_buf_get_bytes(&b, ret->text_len);
	if (!mrd_buf_done(&b))
		return MRD_EFORMAT;
	if (memchr(ret->search_path, '\0', ret->search_path_len) != NULL ||
		memchr(ret->text, '\0', ret->text_len) != NULL)
		return MRD_EFORMAT;
	return MRD_OK;
}

int
meridian_wire_read_resolve(const void *data, size_t len, MeridianWireResolve *ret)
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	mrd_buf_get_str(&b, ret->origin, sizeof(ret->origin));
	ret->commit_lsn = mrd_buf_get_u64(&b);
	ret->seq = mrd_buf_get_u32(&b);
	mrd_buf_get_str(&b, ret->status, sizeof(ret->status));
	mrd_buf_get_str(&b, ret->who, sizeof(ret->who));
	return mrd_buf_done(&b) ? MRD_OK : MRD_EFORMAT;
}

int
meridian_wire_read_left_out(const void *data, size_t len, MeridianWireLeftOut *ret)
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	mrd_buf_get_str(&b, ret->class_name, sizeof(ret->class_name));
	mrd_buf_get_str(&b, ret->schema_name, sizeof(ret->schema_name));
	mrd_buf_get_str(&b, ret->table_name, sizeof(ret->table_name));
	mrd_buf_get_str(&b, ret->partition, sizeof(ret->partition));
	return mrd_buf_done(&b) ? MRD_OK : MRD_EFORMAT;
}

/* scratch is only to save its memory. */
int
meridian_wire_read_kept(const void *data, size_t len, MeridianWireMsg *scratch,
						MeridianWireKept *ret)
{
	MeridianWireReader r = {.greeted = true, .in_xact = true};
	int			rc = payload_begin(&r.buf, data, len);

	if (rc != MRD_OK)
		return rc;
	ret->messages = r.buf.data + r.buf.pos;
	ret->len = mrd_buf_left(&r.buf);
	if (meridian_wire_next(&r, scratch) != 1 || scratch->type != MERIDIAN_WIRE_RELATION)
		return MRD_EFORMAT;
	ret->rel = scratch->relation.id;
	memcpy(ret->class_name, scratch->relation.class_name, sizeof(ret->class_name));
	if (meridian_wire_next(&r, scratch) != 1 || scratch->rel != ret->rel ||
		(scratch->type != MERIDIAN_WIRE_INSERT && scratch->type != MERIDIAN_WIRE_UPDATE &&
		 scratch->type != MERIDIAN_WIRE_DELETE))
		return MRD_EFORMAT;
	return mrd_buf_left(&r.buf) == 0 ? MRD_OK : MRD_EFORMAT;
}

int
meridian_wire_read_class(const void *data, size_t len, char ret[MRD_NAME_MAX])
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	mrd_buf_get_str(&b, ret, MRD_NAME_MAX);
	return b.failed ? MRD_EFORMAT : MRD_OK;
}

/* An image: whether there is one, its length, its text. */
static void
read_image(struct mrd_buf *b, const char **image, size_t *len)
{
	uint8_t		flag = mrd_buf_get_u8(b);

	*image = NULL;
	*len = 0;
	if (flag > 1)
		b->failed = true;
	if (flag != 1)
		return;
	*len = mrd_buf_get_u32(b);
	*image = (const char *) mrd_buf_get_bytes(b, *len);
	if (*image != NULL && memchr(*image, '\0', *len) != NULL)
		b->failed = true;
}

int
meridian_wire_read_entry(const void *data, size_t len, MeridianWireEntry *ret)
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	mrd_buf_get_str(&b, ret->class_name, sizeof(ret->class_name));
	mrd_buf_get_str(&b, ret->partition, sizeof(ret->partition));
	mrd_buf_get_str(&b, ret->origin, sizeof(ret->origin));
	ret->commit_lsn = mrd_buf_get_u64(&b);
	ret->seq = mrd_buf_get_u32(&b);
	ret->epoch = mrd_buf_get_u64(&b);
	ret->committed_at = (int64_t) mrd_buf_get_u64(&b);
	mrd_buf_get_str(&b, ret->relation, sizeof(ret->relation));
	mrd_buf_get_str(&b, ret->operation, sizeof(ret->operation));
	mrd_buf_get_str(&b, ret->status, sizeof(ret->status));
	mrd_buf_get_str(&b, ret->who, sizeof(ret->who));
	ret->decided_at = (int64_t) mrd_buf_get_u64(&b);
	read_image(&b, &ret->before, &ret->before_len);
	read_image(&b, &ret->after, &ret->after_len);
	return mrd_buf_done(&b) ? MRD_OK : MRD_EFORMAT;
}

int
meridian_wire_read_repair(const void *data, size_t len, MeridianWireRepair *ret)
{
	struct mrd_buf b;
	int			rc = payload_begin(&b, data, len);

	if (rc != MRD_OK)
		return rc;
	mrd_buf_get_str(&b, ret->class_name, sizeof(ret->class_name));
	mrd_buf_get_str(&b, ret->target, sizeof(ret->target));
	mrd_buf_get_str(&b, ret->schema_name, sizeof(ret->schema_name));
	mrd_buf_get_str(&b, ret->table_name, sizeof(ret->table_name));
	ret->natts = read_attrs(&b, ret->attrs);
	ret->rows = b;
	return b.failed ? MRD_EFORMAT : MRD_OK;
}

/* 1 with the next row, 0 after the last, or a negative code */
int
meridian_wire_read_repair_row(MeridianWireRepair *repair, MeridianWireTuple *key,
							  bool *has_image, MeridianWireTuple *image)
{
	struct mrd_buf *b = &repair->rows;
	uint8_t		flag;

	if (mrd_buf_left(b) == 0)
		return b->failed ? MRD_EFORMAT : 0;
	read_tuple(b, key);
	flag = mrd_buf_get_u8(b);
	image->natts = 0;
	if (flag == 1)
		read_tuple(b, image);
	if (b->failed || flag > 1 || key->natts != repair->natts ||
		(flag == 1 && image->natts != repair->natts))
		return MRD_EFORMAT;
	*has_image = flag == 1;
	return 1;
}

/* ---------------------------------------------------------------------
 * writing
 * ---------------------------------------------------------------------
 */

void
meridian_wire_put_hello(MeridianWireOut *out, const char *region, const char *encoding,
						uint32_t pg_version)
{
	struct mrd_buf b = out_begin(out, 1 + 2 + str_room(region) + str_room(encoding) + 4);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_HELLO);
	mrd_buf_put_u16(&b, MERIDIAN_WIRE_VERSION);
	mrd_buf_put_str(&b, region);
	mrd_buf_put_str(&b, encoding);
	mrd_buf_put_u32(&b, pg_version);
	out_end(out, &b);
}

void
meridian_wire_put_begin(MeridianWireOut *out, const char *origin, uint64_t lsn,
						uint64_t local_lsn, int64_t commit_time, uint32_t xid)
{
	struct mrd_buf b = out_begin(out, 1 + str_room(origin) + 3 * 8 + 4);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_BEGIN);
	mrd_buf_put_str(&b, origin);
	mrd_buf_put_u64(&b, lsn);
	mrd_buf_put_u64(&b, local_lsn);
	mrd_buf_put_u64(&b, (uint64_t) commit_time);
	mrd_buf_put_u32(&b, xid);
	out_end(out, &b);
}

static void
put_lsn_message(MeridianWireOut *out, MeridianWireType type, uint64_t local_lsn)
{
	struct mrd_buf b = out_begin(out, 9);

	mrd_buf_put_u8(&b, (uint8_t) type);
	mrd_buf_put_u64(&b, local_lsn);
	out_end(out, &b);
}

void
meridian_wire_put_commit(MeridianWireOut *out, uint64_t local_lsn)
{
	put_lsn_message(out, MERIDIAN_WIRE_COMMIT, local_lsn);
}

void
meridian_wire_put_position(MeridianWireOut *out, uint64_t local_lsn)
{
	put_lsn_message(out, MERIDIAN_WIRE_POSITION, local_lsn);
}

void
meridian_wire_put_relation(MeridianWireOut *out, uint32_t id, const char *schema_name,
						   const char *table_name, const char *class_name, int partition_att,
						   int natts)
{
	struct mrd_buf b = out_begin(out, 1 + 4 + str_room(schema_name) + str_room(table_name) +
								 str_room(class_name) + 4);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_RELATION);
	mrd_buf_put_u32(&b, id);
	mrd_buf_put_str(&b, schema_name);
	mrd_buf_put_str(&b, table_name);
	mrd_buf_put_str(&b, class_name);
	mrd_buf_put_u16(&b, partition_att < 0 ? UINT16_MAX : (uint16_t) partition_att);
	mrd_buf_put_u16(&b, (uint16_t) natts);
	out_end(out, &b);
}

void
meridian_wire_put_attr(MeridianWireOut *out, const char *name, const char *type_name,
					   uint8_t flags, uint32_t type)
{
	struct mrd_buf b = out_begin(out, 1 + str_room(name) + str_room(type_name) + 4);

	mrd_buf_put_u8(&b, flags);
	mrd_buf_put_str(&b, name);
	mrd_buf_put_str(&b, type_name);
	mrd_buf_put_u32(&b, type);
	out_end(out, &b);
}

static void
put_change(MeridianWireOut *out, MeridianWireType type, uint32_t rel)
{
	struct mrd_buf b = out_begin(out, 5);

	mrd_buf_put_u8(&b, (uint8_t) type);
	mrd_buf_put_u32(&b, rel);
	out_end(out, &b);
}

void
meridian_wire_put_insert(MeridianWireOut *out, uint32_t rel)
{
	put_change(out, MERIDIAN_WIRE_INSERT, rel);
}

void
meridian_wire_put_delete(MeridianWireOut *out, uint32_t rel)
{
	put_change(out, MERIDIAN_WIRE_DELETE, rel);
}

static void
put_flag(MeridianWireOut *out, bool flag)
{
	struct mrd_buf b = out_begin(out, 1);

	mrd_buf_put_u8(&b, flag ? 1 : 0);
	out_end(out, &b);
}

void
meridian_wire_put_update(MeridianWireOut *out, uint32_t rel, bool has_old)
{
	put_change(out, MERIDIAN_WIRE_UPDATE, rel);
	put_flag(out, has_old);
}

void
meridian_wire_put_truncate(MeridianWireOut *out, uint8_t flags, int nrels, const uint32_t *rels)
{
	struct mrd_buf b = out_begin(out, 6 + 4 * (size_t) nrels);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_TRUNCATE);
	mrd_buf_put_u8(&b, flags);
	mrd_buf_put_u32(&b, (uint32_t) nrels);
	for (int i = 0; i < nrels; i++)
		mrd_buf_put_u32(&b, rels[i]);
	out_end(out, &b);
}

void
meridian_wire_put_payload(MeridianWireOut *out, MeridianWireType type, const void *payload,
						  size_t len)
{
	struct mrd_buf b = out_begin(out, 5 + len);

	mrd_buf_put_u8(&b, (uint8_t) type);
	mrd_buf_put_u32(&b, (uint32_t) len);
	mrd_buf_put_bytes(&b, payload, len);
	out_end(out, &b);
}

void
meridian_wire_put_kept(MeridianWireOut *out, const void *relation, size_t relation_len,
					   const MeridianWireMsg *change)
{
	struct mrd_buf b = out_begin(out, 1 + relation_len + change->raw_len);

	mrd_buf_put_u8(&b, 1);
	mrd_buf_put_bytes(&b, relation, relation_len);
	mrd_buf_put_bytes(&b, change->raw, change->raw_len);
	out_end(out, &b);
}

void
meridian_wire_put_messages(MeridianWireOut *out, const MeridianWireKept *kept)
{
	struct mrd_buf b = out_begin(out, kept->len);

	mrd_buf_put_bytes(&b, kept->messages, kept->len);
	out_end(out, &b);
}

void
meridian_wire_put_heartbeat(MeridianWireOut *out, uint64_t local_lsn, uint64_t session,
							uint64_t boot_ms)
{
	struct mrd_buf b = out_begin(out, 25);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_HEARTBEAT);
	mrd_buf_put_u64(&b, local_lsn);
	mrd_buf_put_u64(&b, session);
	mrd_buf_put_u64(&b, boot_ms);
	out_end(out, &b);
}

void
meridian_wire_put_origin(MeridianWireOut *out, const char *region, uint64_t lsn,
						 uint64_t local_lsn)
{
	struct mrd_buf b = out_begin(out, 1 + str_room(region) + 16);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_ORIGIN);
	mrd_buf_put_str(&b, region);
	mrd_buf_put_u64(&b, lsn);
	mrd_buf_put_u64(&b, local_lsn);
	out_end(out, &b);
}

void
meridian_wire_put_natts(MeridianWireOut *out, int natts)
{
	struct mrd_buf b = out_begin(out, 2);

	mrd_buf_put_u16(&b, (uint16_t) natts);
	out_end(out, &b);
}

void
meridian_wire_put_col(MeridianWireOut *out, uint8_t kind, const void *value, size_t len)
{
	bool		sized = kind == MERIDIAN_COL_BINARY || kind == MERIDIAN_COL_TEXT;
	struct mrd_buf b = out_begin(out, 1 + (sized ? 4 + len : 0));

	mrd_buf_put_u8(&b, kind);
	if (sized)
	{
		mrd_buf_put_u32(&b, (uint32_t) len);
		mrd_buf_put_bytes(&b, value, len);
	}
	out_end(out, &b);
}

void
meridian_wire_put_stamp(MeridianWireOut *out, const MeridianWireStamp *stamp)
{
	struct mrd_buf b = out_begin(out, 3);

	mrd_buf_put_u8(&b, PAYLOAD_VERSION);
	mrd_buf_put_u16(&b, (uint16_t) stamp->count);
	out_end(out, &b);
	for (int i = 0; i < stamp->count; i++)
	{
		b = out_begin(out, str_room(stamp->entries[i].class_name) +
					  str_room(stamp->entries[i].partition) + 8);
		mrd_buf_put_str(&b, stamp->entries[i].class_name);
		mrd_buf_put_str(&b, stamp->entries[i].partition);
		mrd_buf_put_u64(&b, stamp->entries[i].epoch);
		out_end(out, &b);
	}
}

static void
put_image(struct mrd_buf *b, const char *image, size_t len)
{
	mrd_buf_put_u8(b, image != NULL ? 1 : 0);
	if (image == NULL)
		return;
	mrd_buf_put_u32(b, (uint32_t) len);
	mrd_buf_put_bytes(b, image, len);
}

void
meridian_wire_put_entry(MeridianWireOut *out, const MeridianWireEntry *entry)
{
	struct mrd_buf b = out_begin(out, 1 + str_room(entry->class_name) +
								 str_room(entry->partition) + str_room(entry->origin) +
								 str_room(entry->relation) + str_room(entry->operation) +
								 str_room(entry->status) + str_room(entry->who) + 4 * 8 + 4 +
								 2 * 5 + entry->before_len + entry->after_len);

	mrd_buf_put_u8(&b, PAYLOAD_VERSION);
	mrd_buf_put_str(&b, entry->class_name);
	mrd_buf_put_str(&b, entry->partition);
	mrd_buf_put_str(&b, entry->origin);
	mrd_buf_put_u64(&b, entry->commit_lsn);
	mrd_buf_put_u32(&b, entry->seq);
	mrd_buf_put_u64(&b, entry->epoch);
	mrd_buf_put_u64(&b, (uint64_t) entry->committed_at);
	mrd_buf_put_str(&b, entry->relation);
	mrd_buf_put_str(&b, entry->operation);
	mrd_buf_put_str(&b, entry->status);
	mrd_buf_put_str(&b, entry->who);
	mrd_buf_put_u64(&b, (uint64_t) entry->decided_at);
	put_image(&b, entry->before, entry->before_len);
	put_image(&b, entry->after, entry->after_len);
	out_end(out, &b);
}

void
meridian_wire_put_repair(MeridianWireOut *out, const char *class_name, const char *target,
						 const char *schema_name, const char *table_name, int natts)
{
	struct mrd_buf b = out_begin(out, 1 + str_room(class_name) + str_room(target) +
								 str_room(schema_name) + str_room(table_name) + 2);

	mrd_buf_put_u8(&b, PAYLOAD_VERSION);
	mrd_buf_put_str(&b, class_name);
	mrd_buf_put_str(&b, target);
	mrd_buf_put_str(&b, schema_name);
	mrd_buf_put_str(&b, table_name);
	mrd_buf_put_u16(&b, (uint16_t) natts);
	out_end(out, &b);
}

void
meridian_wire_put_repair_image(MeridianWireOut *out, bool has_image)
{
	put_flag(out, has_image);
}
