/*-------------------------------------------------------------------------
 *
 * wire_write.c
 *	  Writer of the messages in the stream between regions.
 *
 * The writer never looks at what it was given: who calls it keeps the limits of
 * wire.h.  What does not fit into a frame is not written, nor is anything after
 * it (failed), and the frame is never sent (meridian_wire_pack).
 *
 * What it writes, wire_read.c reads, in the same order.
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <string.h>

static size_t
str_room(const char *s)
{
	return 2 + strlen(s);
}

/* ---------------------------------------------------------------------
 * messages
 * ---------------------------------------------------------------------
 */

void
meridian_wire_put_hello(MeridianWireOut *out, const char *region, const char *encoding,
						uint32_t pg_version)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + 2 + str_room(region) + str_room(encoding) + 4);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_HELLO);
	mrd_buf_put_u16(&b, MERIDIAN_WIRE_VERSION);
	mrd_buf_put_str(&b, region);
	mrd_buf_put_str(&b, encoding);
	mrd_buf_put_u32(&b, pg_version);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_begin(MeridianWireOut *out, const char *origin, uint64_t lsn,
						uint64_t local_lsn, int64_t commit_time, uint32_t xid)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + str_room(origin) + 3 * 8 + 4);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_BEGIN);
	mrd_buf_put_str(&b, origin);
	mrd_buf_put_u64(&b, lsn);
	mrd_buf_put_u64(&b, local_lsn);
	mrd_buf_put_u64(&b, (uint64_t) commit_time);
	mrd_buf_put_u32(&b, xid);
	meridian_wire_out_end(out, &b);
}

static void
put_lsn_message(MeridianWireOut *out, MeridianWireType type, uint64_t local_lsn)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 9);

	mrd_buf_put_u8(&b, (uint8_t) type);
	mrd_buf_put_u64(&b, local_lsn);
	meridian_wire_out_end(out, &b);
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
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + 4 + str_room(schema_name) + str_room(table_name) +
											   str_room(class_name) + 4);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_RELATION);
	mrd_buf_put_u32(&b, id);
	mrd_buf_put_str(&b, schema_name);
	mrd_buf_put_str(&b, table_name);
	mrd_buf_put_str(&b, class_name);
	mrd_buf_put_u16(&b, partition_att < 0 ? UINT16_MAX : (uint16_t) partition_att);
	mrd_buf_put_u16(&b, (uint16_t) natts);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_attr(MeridianWireOut *out, const char *name, const char *type_name,
					   uint8_t flags, uint32_t type)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + str_room(name) + str_room(type_name) + 4);

	mrd_buf_put_u8(&b, flags);
	mrd_buf_put_str(&b, name);
	mrd_buf_put_str(&b, type_name);
	mrd_buf_put_u32(&b, type);
	meridian_wire_out_end(out, &b);
}

static void
put_change(MeridianWireOut *out, MeridianWireType type, uint32_t rel)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 5);

	mrd_buf_put_u8(&b, (uint8_t) type);
	mrd_buf_put_u32(&b, rel);
	meridian_wire_out_end(out, &b);
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
	struct mrd_buf b = meridian_wire_out_begin(out, 1);

	mrd_buf_put_u8(&b, flag ? 1 : 0);
	meridian_wire_out_end(out, &b);
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
	struct mrd_buf b = meridian_wire_out_begin(out, 6 + 4 * (size_t) nrels);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_TRUNCATE);
	mrd_buf_put_u8(&b, flags);
	mrd_buf_put_u32(&b, (uint32_t) nrels);
	for (int i = 0; i < nrels; i++)
		mrd_buf_put_u32(&b, rels[i]);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_payload(MeridianWireOut *out, MeridianWireType type, const void *payload,
						  size_t len)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 5 + len);

	mrd_buf_put_u8(&b, (uint8_t) type);
	mrd_buf_put_u32(&b, (uint32_t) len);
	mrd_buf_put_bytes(&b, payload, len);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_messages(MeridianWireOut *out, const MeridianWireKept *kept)
{
	struct mrd_buf b = meridian_wire_out_begin(out, kept->len);

	mrd_buf_put_bytes(&b, kept->messages, kept->len);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_heartbeat(MeridianWireOut *out, uint64_t local_lsn, uint64_t session,
							uint64_t boot_ms)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 25);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_HEARTBEAT);
	mrd_buf_put_u64(&b, local_lsn);
	mrd_buf_put_u64(&b, session);
	mrd_buf_put_u64(&b, boot_ms);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_origin(MeridianWireOut *out, const char *region, uint64_t lsn,
						 uint64_t local_lsn)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + str_room(region) + 16);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_ORIGIN);
	mrd_buf_put_str(&b, region);
	mrd_buf_put_u64(&b, lsn);
	mrd_buf_put_u64(&b, local_lsn);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_natts(MeridianWireOut *out, int natts)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 2);

	mrd_buf_put_u16(&b, (uint16_t) natts);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_col(MeridianWireOut *out, uint8_t kind, const void *value, size_t len)
{
	bool		sized = kind == MERIDIAN_COL_BINARY || kind == MERIDIAN_COL_TEXT;
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + (sized ? 4 + len : 0));

	mrd_buf_put_u8(&b, kind);
	if (sized)
	{
		mrd_buf_put_u32(&b, (uint32_t) len);
		mrd_buf_put_bytes(&b, value, len);
	}
	meridian_wire_out_end(out, &b);
}

/* ---------------------------------------------------------------------
 * payloads
 * ---------------------------------------------------------------------
 */

void
meridian_wire_put_kept(MeridianWireOut *out, const void *relation, size_t relation_len,
					   const MeridianWireMsg *change)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + relation_len + change->raw_len);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_PAYLOAD_VERSION);
	mrd_buf_put_bytes(&b, relation, relation_len);
	mrd_buf_put_bytes(&b, change->raw, change->raw_len);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_stamp(MeridianWireOut *out, const MeridianWireStamp *stamp)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 3);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_PAYLOAD_VERSION);
	mrd_buf_put_u16(&b, (uint16_t) stamp->count);
	meridian_wire_out_end(out, &b);
	for (int i = 0; i < stamp->count; i++)
	{
		b = meridian_wire_out_begin(out, str_room(stamp->entries[i].class_name) +
									str_room(stamp->entries[i].partition) + 8);
		mrd_buf_put_str(&b, stamp->entries[i].class_name);
		mrd_buf_put_str(&b, stamp->entries[i].partition);
		mrd_buf_put_u64(&b, stamp->entries[i].epoch);
		meridian_wire_out_end(out, &b);
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
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + str_room(entry->class_name) +
											   str_room(entry->partition) + str_room(entry->origin) +
											   str_room(entry->relation) + str_room(entry->operation) +
											   str_room(entry->status) + str_room(entry->who) + 4 * 8 + 4 +
											   2 * 5 + entry->before_len + entry->after_len);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_PAYLOAD_VERSION);
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
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_repair(MeridianWireOut *out, const char *class_name, const char *target,
						 const char *schema_name, const char *table_name, int natts)
{
	struct mrd_buf b = meridian_wire_out_begin(out, 1 + str_room(class_name) + str_room(target) +
											   str_room(schema_name) + str_room(table_name) + 2);

	mrd_buf_put_u8(&b, MERIDIAN_WIRE_PAYLOAD_VERSION);
	mrd_buf_put_str(&b, class_name);
	mrd_buf_put_str(&b, target);
	mrd_buf_put_str(&b, schema_name);
	mrd_buf_put_str(&b, table_name);
	mrd_buf_put_u16(&b, (uint16_t) natts);
	meridian_wire_out_end(out, &b);
}

void
meridian_wire_put_repair_image(MeridianWireOut *out, bool has_image)
{
	put_flag(out, has_image);
}
