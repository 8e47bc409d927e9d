/*
 * The stream between regions, as an enemy might send it. The first byte says which reader gets
 * the rest: a stream of frames (each a 16-bit length and that many bytes), one frame's
 * content, or the payload of one kind of message. Everything that is handed out is touched.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define CONTENT_MAX (16u << 20) /* what a frame may grow to here */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t touched;

static bool grow(MeridianWireOut *out, size_t need)
{
    size_t cap = need < 65536 ? 65536 : need * 2;

    if (need > CONTENT_MAX) {
        return false;
    }
    out->data = realloc(out->data, cap);
    out->cap = cap;
    return out->data != NULL;
}

static void touch(const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        touched += ((const uint8_t *)bytes)[i];
    }
}

static void touch_tuple(const MeridianWireTuple *t)
{
    assert(t->natts >= 0 && t->natts <= MERIDIAN_WIRE_ATTRS_MAX);
    for (int i = 0; i < t->natts; i++) {
        if (t->kind[i] == MERIDIAN_COL_BINARY || t->kind[i] == MERIDIAN_COL_TEXT) {
            touch(t->value[i], t->len[i]);
        }
    }
}

static void touch_message(const MeridianWireMsg *msg)
{
    switch (msg->type) {
    case MERIDIAN_WIRE_INSERT:
    case MERIDIAN_WIRE_UPDATE:
    case MERIDIAN_WIRE_DELETE:
        touch_tuple(&msg->old_tuple);
        touch_tuple(&msg->new_tuple);
        break;
    case MERIDIAN_WIRE_RELATION:
        assert(msg->relation.partition_att < msg->relation.natts);
        for (int i = 0; i < msg->relation.natts; i++) {
            assert(strlen(msg->relation.attrs[i].name) < MRD_NAME_MAX);
        }
        break;
    case MERIDIAN_WIRE_TRUNCATE:
        assert(msg->nrels <= MERIDIAN_WIRE_RELS_MAX);
        break;
    case MERIDIAN_WIRE_STAMP:
    case MERIDIAN_WIRE_DDL:
    case MERIDIAN_WIRE_REPAIR:
    case MERIDIAN_WIRE_RESOLVE:
    case MERIDIAN_WIRE_ENTRY:
    case MERIDIAN_WIRE_LEFT_OUT:
        touch(msg->payload, msg->payload_len);
        break;
    default:
        break;
    }
}

static int read_content(MeridianWireReader *reader, const uint8_t *data, size_t size)
{
    static MeridianWireMsg msg;
    int rc;

    meridian_wire_feed(reader, data, size);
    while ((rc = meridian_wire_next(reader, &msg)) == 1) {
        touch_message(&msg);
    }
    return rc;
}

static void read_frames(const uint8_t *data, size_t size)
{
    struct ZSTD_DCtx_s *d = meridian_wire_decompressor();
    MeridianWireReader reader = {0};
    MeridianWireOut content = {.grow = grow};
    int rc = 0;

    while (size >= 2 && rc == 0) {
        size_t len = (size_t)data[0] | (size_t)data[1] << 8;

        len = len < size - 2 ? len : size - 2;
        content.len = 0;
        rc = meridian_wire_unpack(d, data + 2, len, &content);
        if (rc == 0) {
            rc = read_content(&reader, content.data, content.len);
        }
        data += 2 + len;
        size -= 2 + len;
    }
    meridian_wire_decompressor_free(d);
    free(content.data);
}

static void read_repair(const uint8_t *data, size_t size)
{
    static MeridianWireRepair repair;
    static MeridianWireTuple key, image;
    bool has_image;

    if (meridian_wire_read_repair(data, size, &repair) != 0) {
        return;
    }
    while (meridian_wire_read_repair_row(&repair, &key, &has_image, &image) == 1) {
        touch_tuple(&key);
        touch_tuple(&image);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static MeridianWireStamp stamp;
    static MeridianWireMsg scratch;
    MeridianWireReader reader = {0};
    MeridianWireKept kept;
    MeridianWireDdl ddl;
    MeridianWireResolve resolve;
    MeridianWireEntry entry;
    MeridianWireLeftOut left_out;
    uint64_t a, b;

    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case 'f':
        read_frames(data + 1, size - 1);
        break;
    case 's':
        (void)meridian_wire_read_stamp(data + 1, size - 1, &stamp);
        break;
    case 'd':
        if (meridian_wire_read_ddl(data + 1, size - 1, &ddl) == 0) {
            touch(ddl.text, ddl.text_len);
            touch(ddl.search_path, ddl.search_path_len);
        }
        break;
    case 'r':
        (void)meridian_wire_read_resolve(data + 1, size - 1, &resolve);
        break;
    case 'p':
        read_repair(data + 1, size - 1);
        break;
    case 'e':
        if (meridian_wire_read_entry(data + 1, size - 1, &entry) == 0) {
            touch(entry.before, entry.before_len);
            touch(entry.after, entry.after_len);
        }
        break;
    case 'm':
        (void)meridian_wire_read_left_out(data + 1, size - 1, &left_out);
        break;
    case 'k':
        (void)meridian_wire_read_kept(data + 1, size - 1, &scratch, &kept);
        break;
    case 'b':
        (void)meridian_wire_read_heartbeat(data + 1, size - 1, &a, &b);
        break;
    default:
        (void)read_content(&reader, data + 1, size - 1);
    }
    return 0;
}
