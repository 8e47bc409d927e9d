/*-------------------------------------------------------------------------
 *
 * wire_read.c
 *	  Reader of the messages in the stream between regions.
 *
 * The reader trusts nothing.  A message is parsed completely before any of it
 * is handed out, and whoever sends a malformed one loses the connection: after
 * an error a stream has no next message.  Payloads are those of logical
 * messages in the WAL; what another region wrote there is trusted no more.
 *
 * It reads what wire_write.c writes.  The limits of both are in wire.h, and
 * tests/unit/test_wire.c lets what one wrote through the other.
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <string.h>

#include <mrd/err.h>

/* ---------------------------------------------------------------------
 * messages
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
 * payloads
 * ---------------------------------------------------------------------
 */

static int
payload_begin(struct mrd_buf *b, const void *data, size_t len)
{
	*b = mrd_buf_reader(data, len);
	return mrd_buf_get_u8(b) == MERIDIAN_WIRE_PAYLOAD_VERSION ? MRD_OK : MRD_EVERSION;
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
