/*
 * The stream between regions: what is written is read back, through both kinds of frame; what
 * stands where it may not, lies about its length or has an unknown kind ends the stream.
 */
#include "unit.h"

#include <mrd/err.h>

#include "wire.h"

static bool grow(MeridianWireOut *out, size_t need)
{
    size_t cap = need < 4096 ? 4096 : need * 2;

    out->data = realloc(out->data, cap);
    out->cap = cap;
    return out->data != NULL;
}

static void out_init(MeridianWireOut *out)
{
    memset(out, 0, sizeof(*out));
    out->grow = grow;
}

/* ---- one word of a script is one message ---- */

static void put(MeridianWireOut *out, char word)
{
    static const uint32_t ids[] = {7, 8};

    switch (word) {
    case 'h':
        meridian_wire_put_hello(out, "us-east-1", "UTF8", 150020);
        break;
    case 'B':
        meridian_wire_put_begin(out, "", 100, 100, 1234567, 42);
        break;
    case 'F':
        meridian_wire_put_begin(out, "eu-west-1", 90, 100, 1234567, 43);
        break;
    case 'C':
        meridian_wire_put_commit(out, 100);
        break;
    case 'R':
        meridian_wire_put_relation(out, 7, "shop", "orders", "orders", 0, 2);
        meridian_wire_put_attr(out, "home", "text", MERIDIAN_ATTR_KEY, 25);
        meridian_wire_put_attr(out, "mood", "shop.mood", 0, 0);
        break;
    case 'I':
        meridian_wire_put_insert(out, 7);
        meridian_wire_put_natts(out, 2);
        meridian_wire_put_col(out, MERIDIAN_COL_BINARY, "us", 2);
        meridian_wire_put_col(out, MERIDIAN_COL_TEXT, "happy", 5);
        break;
    case 'U':
        meridian_wire_put_update(out, 7, true);
        meridian_wire_put_natts(out, 2);
        meridian_wire_put_col(out, MERIDIAN_COL_BINARY, "us", 2);
        meridian_wire_put_col(out, MERIDIAN_COL_NULL, NULL, 0);
        meridian_wire_put_natts(out, 2);
        meridian_wire_put_col(out, MERIDIAN_COL_BINARY, "eu", 2);
        meridian_wire_put_col(out, MERIDIAN_COL_UNCHANGED, NULL, 0);
        break;
    case 'D':
        meridian_wire_put_delete(out, 7);
        meridian_wire_put_natts(out, 1);
        meridian_wire_put_col(out, MERIDIAN_COL_BINARY, "", 0);
        break;
    case 'T':
        meridian_wire_put_truncate(out, MERIDIAN_TRUNCATE_RESTART, 2, ids);
        break;
    case 'S':
        meridian_wire_put_payload(out, MERIDIAN_WIRE_STAMP, "stamp", 5);
        break;
    case 'H':
        meridian_wire_put_heartbeat(out, 110, 5, 777);
        break;
    case 'O':
        meridian_wire_put_origin(out, "ap", 55, 105);
        break;
    case 'N':
        meridian_wire_put_position(out, 120);
        break;
    case '?':
        meridian_wire_put_payload(out, (MeridianWireType)'?', "x", 1);
        break;
    default:
        fail_msg("no such word: %c", word);
    }
}

static int read_all(const void *content, size_t len, char *types)
{
    static MeridianWireMsg msg;
    MeridianWireReader reader = {0};
    int rc;

    meridian_wire_feed(&reader, content, len);
    while ((rc = meridian_wire_next(&reader, &msg)) == 1) {
        *types++ = (char)msg.type;
    }
    *types = '\0';
    return rc;
}

static void test_order(void **state)
{
    static const struct {
        const char *name, *script, *read;
        int rc;
    } rows[] = {
        {"a transaction", "hBSRIUDTC", "hBSRIUDTC", 0},
        {"a forwarded one, then others", "hFRICBIC", "hBRICBIC", 0},
        {"heartbeats and notes between", "hOHBCHN", "hOHBCHN", 0},
        {"nothing", "", "", 0},
        {"no greeting", "B", "", MRD_EFORMAT},
        {"two greetings", "hh", "h", MRD_EFORMAT},
        {"a row outside", "hI", "h", MRD_EFORMAT},
        {"a stamp outside", "hS", "h", MRD_EFORMAT},
        {"begin twice", "hBB", "hB", MRD_EFORMAT},
        {"commit without begin", "hC", "h", MRD_EFORMAT},
        {"heartbeat inside", "hBH", "hB", MRD_EFORMAT},
        {"note inside", "hBO", "hB", MRD_EFORMAT},
        {"unknown", "hB?", "hB", MRD_EFORMAT},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        MeridianWireOut out;
        char types[32];

        ROW(rows[i].name);
        out_init(&out);
        for (const char *w = rows[i].script; *w != '\0'; w++) {
            put(&out, *w);
        }
        assert_false(out.failed);
        assert_int_equal(read_all(out.data, out.len, types), rows[i].rc);
        assert_string_equal(types, rows[i].read);
        /* cut anywhere, it is never read as more than it was */
        for (size_t cut = 0; cut < out.len; cut++) {
            char fewer[32];

            (void)read_all(out.data, cut, fewer);
            assert_true(strlen(fewer) <= strlen(rows[i].read));
            assert_memory_equal(fewer, types, strlen(fewer));
        }
        free(out.data);
    }
}

static void test_fields(void **state)
{
    static MeridianWireMsg msg;
    MeridianWireReader reader = {0};
    MeridianWireOut out;

    (void)state;
    out_init(&out);
    for (const char *w = "hFRUTCHO"; *w != '\0'; w++) {
        put(&out, *w);
    }
    meridian_wire_feed(&reader, out.data, out.len);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_string_equal(msg.region, "us-east-1");
    assert_string_equal(msg.encoding, "UTF8");
    assert_int_equal(msg.pg_version, 150020);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_string_equal(msg.region, "eu-west-1");
    assert_true(msg.lsn == 90 && msg.local_lsn == 100 && msg.commit_time == 1234567 &&
                msg.xid == 43);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_string_equal(msg.relation.schema_name, "shop");
    assert_string_equal(msg.relation.class_name, "orders");
    assert_true(msg.relation.natts == 2 && msg.relation.partition_att == 0);
    assert_string_equal(msg.relation.attrs[1].type_name, "shop.mood");
    assert_true(msg.relation.attrs[0].flags == MERIDIAN_ATTR_KEY &&
                msg.relation.attrs[0].type == 25);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_true(msg.has_old && msg.rel == 7 && msg.new_tuple.natts == 2);
    assert_true(msg.new_tuple.kind[0] == 'b' && msg.new_tuple.len[0] == 2);
    assert_memory_equal(msg.new_tuple.value[0], "eu", 2);
    assert_true(msg.new_tuple.kind[1] == 'u' && msg.old_tuple.kind[1] == 'n');
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_true(msg.nrels == 2 && msg.rels[1] == 8 && msg.truncate_flags == 2);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_true(msg.local_lsn == 110 && msg.session == 5 && msg.boot_ms == 777);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_true(msg.lsn == 55 && msg.local_lsn == 105);
    free(out.data);
}

/* One compression context for many frames, each readable when it arrives. */
static void test_frames(void **state)
{
    struct ZSTD_CCtx_s *c = meridian_wire_compressor();
    struct ZSTD_DCtx_s *d = meridian_wire_decompressor();
    MeridianWireOut content, first, frame, back;

    (void)state;
    out_init(&content);
    out_init(&first);
    out_init(&frame);
    out_init(&back);
    for (int i = 0; i < 200; i++) {
        content.len = frame.len = back.len = 0;
        for (const char *w = i == 0 ? "hBRIC" : "BIUIDC"; *w != '\0'; w++) {
            put(&content, *w);
        }
        assert_int_equal(meridian_wire_pack(i % 50 == 49 ? NULL : c, &content, &frame), 0);
        if (i == 0) {
            assert_true(first.grow(&first, frame.len));
            memcpy(first.data, frame.data, first.len = frame.len);
        }
        assert_int_equal(meridian_wire_unpack(d, frame.data, frame.len, &back), 0);
        assert_int_equal(back.len, content.len);
        assert_memory_equal(back.data, content.data, content.len);
    }
    assert_true(frame.len > 0);
    /* a frame without its context, an unknown kind, none at all */
    assert_int_equal(meridian_wire_unpack(NULL, "\001x", 2, &back), MRD_EFORMAT);
    assert_int_equal(meridian_wire_unpack(d, "\002x", 2, &back), MRD_EVERSION);
    assert_int_equal(meridian_wire_unpack(d, "", 0, &back), MRD_ESHORT);
    assert_int_equal(meridian_wire_unpack(d, "\001garbage", 8, &back), MRD_EFORMAT);
    /* less than there should be: the rest would be taken from the next frame, whenever that
     * comes */
    meridian_wire_decompressor_free(d);
    d = meridian_wire_decompressor();
    back.len = 0;
    assert_int_equal(meridian_wire_unpack(d, first.data, first.len / 2, &back), MRD_ESHORT);
    meridian_wire_compressor_free(c);
    meridian_wire_decompressor_free(d);
    free(content.data);
    free(first.data);
    free(frame.data);
    free(back.data);
}

static void test_entry(void **state)
{
    MeridianWireEntry entry = {.commit_lsn = 7, .seq = 3, .epoch = 2, .committed_at = -5};
    MeridianWireEntry back;
    MeridianWireOut out;

    (void)state;
    out_init(&out);
    snprintf(entry.class_name, sizeof(entry.class_name), "events");
    snprintf(entry.relation, sizeof(entry.relation), "shop.\"Odd\"");
    snprintf(entry.status, sizeof(entry.status), "open");
    entry.after = "{\"id\": 1}";
    entry.after_len = 9;
    meridian_wire_put_entry(&out, &entry);
    assert_int_equal(meridian_wire_read_entry(out.data, out.len, &back), 0);
    assert_string_equal(back.relation, entry.relation);
    assert_true(back.commit_lsn == 7 && back.seq == 3 && back.committed_at == -5);
    assert_null(back.before);
    assert_int_equal(back.after_len, 9);
    for (size_t cut = 0; cut < out.len; cut++) {
        assert_true(meridian_wire_read_entry(out.data, cut, &back) < 0);
    }
    entry.after = "{\"id\"\0 1}";
    out.len = 0;
    meridian_wire_put_entry(&out, &entry);
    assert_int_equal(meridian_wire_read_entry(out.data, out.len, &back), MRD_EFORMAT);
    free(out.data);
}

static void test_payloads(void **state)
{
    static MeridianWireStamp stamp, stamp_back;
    static MeridianWireRepair repair;
    static MeridianWireTuple key, image;
    MeridianWireDdl ddl;
    MeridianWireResolve resolve;
    MeridianWireLeftOut left_out;
    MeridianWireOut out;
    char class_name[MRD_NAME_MAX];
    uint64_t session, boot_ms;
    bool has_image;

    (void)state;
    out_init(&out);
    stamp.count = 1;
    snprintf(stamp.entries[0].class_name, MRD_NAME_MAX, "orders");
    snprintf(stamp.entries[0].partition, MRD_NAME_MAX, "eu");
    stamp.entries[0].epoch = 9;
    meridian_wire_put_stamp(&out, &stamp);
    assert_int_equal(meridian_wire_read_stamp(out.data, out.len, &stamp_back), 0);
    assert_memory_equal(&stamp, &stamp_back, sizeof(stamp.count) + sizeof(stamp.entries[0]));
    assert_int_equal(meridian_wire_read_stamp(out.data, out.len - 1, &stamp_back), MRD_EFORMAT);
    out.data[0] = 2;
    assert_int_equal(meridian_wire_read_stamp(out.data, out.len, &stamp_back), MRD_EVERSION);

    out.len = 0;
    meridian_wire_put_repair(&out, "orders", "us", "shop", "orders", 1);
    meridian_wire_put_attr(&out, "id", "bigint", MERIDIAN_ATTR_KEY, 0);
    for (int i = 0; i < 2; i++) {
        meridian_wire_put_natts(&out, 1);
        meridian_wire_put_col(&out, MERIDIAN_COL_TEXT, "17", 2);
        meridian_wire_put_repair_image(&out, i == 0);
        if (i == 0) {
            meridian_wire_put_natts(&out, 1);
            meridian_wire_put_col(&out, MERIDIAN_COL_TEXT, "17", 2);
        }
    }
    assert_int_equal(meridian_wire_read_repair(out.data, out.len, &repair), 0);
    assert_string_equal(repair.target, "us");
    assert_int_equal(meridian_wire_read_class(out.data, out.len, class_name), 0);
    assert_string_equal(class_name, "orders");
    assert_int_equal(meridian_wire_read_repair_row(&repair, &key, &has_image, &image), 1);
    assert_true(has_image && image.natts == 1 && key.len[0] == 2);
    assert_int_equal(meridian_wire_read_repair_row(&repair, &key, &has_image, &image), 1);
    assert_false(has_image);
    assert_int_equal(meridian_wire_read_repair_row(&repair, &key, &has_image, &image), 0);
    assert_int_equal(meridian_wire_read_repair(out.data, out.len - 1, &repair), 0);
    assert_int_equal(meridian_wire_read_repair_row(&repair, &key, &has_image, &image), 1);
    assert_int_equal(meridian_wire_read_repair_row(&repair, &key, &has_image, &image),
                     MRD_EFORMAT);

    assert_int_equal(meridian_wire_read_heartbeat("\1\5\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0", 17,
                                                  &session, &boot_ms),
                     0);
    assert_true(session == 5 && boot_ms == 7);
    assert_int_equal(meridian_wire_read_ddl("\1\1\0r\1\0p\4\0\0\0DROP", 15, &ddl), 0);
    assert_memory_equal(ddl.text, "DROP", ddl.text_len);
    assert_int_equal(meridian_wire_read_ddl("\1\1\0r\1\0p\4\0\0\0D\0OP", 15, &ddl),
                     MRD_EFORMAT);
    assert_int_equal(meridian_wire_read_ddl("\1\1\0r\1\0p\377\377\377\377DROP", 15, &ddl),
                     MRD_EFORMAT);
    assert_int_equal(meridian_wire_read_resolve("\1\2\0us\1\0\0\0\0\0\0\0\3\0\0\0\4\0open\1\0w",
                                                26, &resolve),
                     0);
    assert_true(resolve.commit_lsn == 1 && resolve.seq == 3);
    assert_int_equal(meridian_wire_read_left_out("\1\1\0c\1\0s\1\0t\0\0", 12, &left_out), 0);
    assert_string_equal(left_out.table_name, "t");
    assert_int_equal(meridian_wire_read_left_out("\1\1\0c\1\0s\1\0t\0\0", 11, &left_out),
                     MRD_EFORMAT);
    free(out.data);
}

/* A change that is kept goes on as it came, behind the words that describe it. */
static void test_kept(void **state)
{
    static const struct {
        const char *name, *script;
        int rc;
    } rows[] = {
        {"an insert", "RI", 0},
        {"an update", "RU", 0},
        {"a delete", "RD", 0},
        {"nothing to change", "R", MRD_EFORMAT},
        {"nobody said what it is of", "I", MRD_EFORMAT},
        {"a statement", "RT", MRD_EFORMAT},
        {"two changes", "RII", MRD_EFORMAT},
        {"a stamp", "RS", MRD_EFORMAT},
        {"an end", "RC", MRD_EFORMAT},
    };
    static MeridianWireMsg msg, scratch;
    MeridianWireReader reader = {.greeted = true, .in_xact = true};
    MeridianWireOut words, change, payload, again;
    MeridianWireKept kept;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        out_init(&payload);
        assert_true(payload.grow(&payload, 1));
        payload.data[payload.len++] = 1;
        for (const char *word = rows[i].script; *word != '\0'; word++) {
            put(&payload, *word);
        }
        if (meridian_wire_read_kept(payload.data, payload.len, &scratch, &kept) != rows[i].rc) {
            fail_msg("%s", rows[i].name);
        }
        free(payload.data);
    }
    out_init(&words);
    out_init(&change);
    out_init(&payload);
    out_init(&again);
    put(&words, 'R');
    put(&change, 'U');
    meridian_wire_feed(&reader, change.data, change.len);
    assert_int_equal(meridian_wire_next(&reader, &msg), 1);
    assert_int_equal(msg.raw_len, change.len);
    meridian_wire_put_kept(&payload, words.data, words.len, &msg);
    assert_int_equal(meridian_wire_read_kept(payload.data, payload.len, &scratch, &kept), 0);
    assert_int_equal(kept.rel, 7);
    assert_string_equal(kept.class_name, "orders");
    meridian_wire_put_messages(&again, &kept);
    assert_int_equal(again.len, words.len + change.len);
    assert_memory_equal(again.data, words.data, words.len);
    assert_memory_equal(again.data + words.len, change.data, change.len);
    free(words.data);
    free(change.data);
    free(payload.data);
    free(again.data);
}

static bool grow_not(MeridianWireOut *out, size_t need)
{
    (void)out;
    (void)need;
    return false;
}

static void test_no_memory(void **state)
{
    MeridianWireOut out, frame;

    (void)state;
    memset(&out, 0, sizeof(out));
    out.grow = grow_not;
    for (const char *w = "hBSRIUDTCHON"; *w != '\0'; w++) {
        put(&out, *w);
    }
    assert_true(out.failed && out.len == 0);
    out_init(&frame);
    assert_int_equal(meridian_wire_pack(NULL, &out, &frame), MRD_ETOOBIG);
    free(frame.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),     cmocka_unit_test(test_fields),
        cmocka_unit_test(test_frames),    cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_kept),      cmocka_unit_test(test_entry),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
