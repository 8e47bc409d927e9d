/*
 * The coordination store: transactions, limits, and its two byte formats.
 */
#include "unit.h"

#include <mrd/store.h>
#include <mrd/store_memory.h>

#define KEEP UINT64_MAX /* no compare */

struct op {
    const char *key, *value; /* value NULL: delete */
    uint64_t compare;
};

static int apply(struct mrd_store *s, const struct op *ops, size_t n, uint64_t *revision)
{
    struct mrd_txn *txn = calloc(1, sizeof(*txn));
    int rc;

    for (size_t i = 0; i < n; i++) {
        struct mrd_put *p = &txn->puts[txn->put_count++];
        snprintf(p->key, sizeof(p->key), "%s", ops[i].key);
        p->value = (const uint8_t *)ops[i].value;
        p->len = ops[i].value != NULL ? strlen(ops[i].value) : 0;
        if (ops[i].compare != KEEP) {
            struct mrd_compare *c = &txn->compares[txn->compare_count++];
            snprintf(c->key, sizeof(c->key), "%s", ops[i].key);
            c->revision = ops[i].compare;
        }
    }
    rc = mrd_store_apply(s, txn, revision);
    free(txn);
    return rc;
}

static void transactions(void **state)
{
    static const struct {
        const char *name;
        struct op ops[2];
        size_t n;
        int rc;
        const char *a, *b; /* afterwards; NULL: absent */
    } rows[] = {
        {"first put", {{"a", "1", 0}}, 1, 0, "1", NULL},
        {"must not exist, but does", {{"a", "2", 0}}, 1, MRD_ECONFLICT, "1", NULL},
        {"older revision", {{"a", "2", 7}}, 1, MRD_ECONFLICT, "1", NULL},
        {"right revision", {{"a", "2", 1}}, 1, 0, "2", NULL},
        {"one of two compares fails",
         {{"a", "3", 2}, {"b", "3", 9}},
         2,
         MRD_ECONFLICT,
         "2",
         NULL},
        {"both together", {{"a", "4", 2}, {"b", "4", 0}}, 2, 0, "4", "4"},
        {"unconditional", {{"b", "5", KEEP}}, 1, 0, "4", "5"},
        {"empty value", {{"b", "", KEEP}}, 1, 0, "4", ""},
        {"delete", {{"b", NULL, KEEP}}, 1, 0, "4", NULL},
        {"delete what is absent", {{"b", NULL, 0}}, 1, 0, "4", NULL},
        {"one key twice", {{"a", "x", KEEP}, {"a", "y", KEEP}}, 2, MRD_EINVAL, "4", NULL},
        {"empty key", {{"", "x", KEEP}}, 1, MRD_EINVAL, "4", NULL},
        {"unprintable key", {{"a\n", "x", KEEP}}, 1, MRD_EINVAL, "4", NULL},
        {"blank in a key", {{"a b", "x", KEEP}}, 1, MRD_EINVAL, "4", NULL},
    };
    struct mrd_store *s = mrd_store_new();

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        const char *expected[2] = {rows[i].a, rows[i].b};
        static const char *const keys[2] = {"a", "b"};
        uint64_t before = mrd_store_revision(s);
        ROW(rows[i].name);
        assert_int_equal(apply(s, rows[i].ops, rows[i].n, NULL), rows[i].rc);
        assert_int_equal(mrd_store_revision(s), before + (rows[i].rc == 0));
        for (size_t k = 0; k < 2; k++) {
            struct mrd_entry e;
            int rc = mrd_store_get(s, keys[k], &e);
            assert_int_equal(rc, expected[k] != NULL ? 0 : MRD_ENOTFOUND);
            if (rc == 0) {
                assert_int_equal(e.len, strlen(expected[k]));
                assert_memory_equal(e.value, expected[k], e.len);
            }
        }
    }
    mrd_store_free(s);
}

static void limits(void **state)
{
    static uint8_t big[MRD_VALUE_MAX + 1];
    struct mrd_store *s = mrd_store_new();
    struct mrd_txn *txn = calloc(1, sizeof(*txn));
    int rc = 0;

    (void)state;
    txn->put_count = 1;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "a");
    txn->puts[0].value = big;
    txn->puts[0].len = sizeof(big);
    assert_int_equal(mrd_store_apply(s, txn, NULL), MRD_ETOOBIG);
    txn->puts[0].len = MRD_VALUE_MAX;
    for (unsigned i = 0; rc == 0 && i < 1000; i++) {
        snprintf(txn->puts[0].key, MRD_KEY_MAX, "big/%u", i);
        rc = mrd_store_apply(s, txn, NULL);
    }
    assert_int_equal(rc, MRD_EFULL);
    assert_true(mrd_store_dump_size(s) < MRD_STORE_BYTES_MAX + 100000);
    txn->put_count = MRD_TXN_OPS_MAX + 1;
    assert_int_equal(mrd_store_apply(s, txn, NULL), MRD_ETOOBIG);
    free(txn);
    mrd_store_free(s);

    s = mrd_store_new();
    for (unsigned i = 0; i < MRD_STORE_KEYS_MAX; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%05u", (i * 2741u) % MRD_STORE_KEYS_MAX);
        assert_int_equal(apply(s, (struct op[]){{key, "v", 0}}, 1, NULL), 0);
    }
    assert_int_equal(apply(s, (struct op[]){{"one more", "v", 0}}, 1, NULL), MRD_EINVAL);
    assert_int_equal(apply(s, (struct op[]){{"one-more", "v", 0}}, 1, NULL), MRD_EFULL);
    assert_int_equal(apply(s, (struct op[]){{"k00000", "w", KEEP}}, 1, NULL), 0);
    mrd_store_free(s);
}

static int collect(void *ctx, const struct mrd_entry *e)
{
    strcat(ctx, e->key);
    strcat(ctx, " ");
    return strcmp(e->key, "m/stop") == 0 ? 42 : 0;
}

static void scans(void **state)
{
    struct mrd_store *s = mrd_store_new();
    char seen[128] = "";

    (void)state;
    apply(s, (struct op[]){{"m/b", "", KEEP}, {"m/a", "", KEEP}}, 2, NULL);
    apply(s, (struct op[]){{"l", "", KEEP}, {"n", "", KEEP}}, 2, NULL);
    assert_int_equal(mrd_store_scan(s, "m/", collect, seen), 0);
    assert_string_equal(seen, "m/a m/b ");
    seen[0] = '\0';
    assert_int_equal(mrd_store_scan(s, "x", collect, seen), 0);
    assert_string_equal(seen, "");
    apply(s, (struct op[]){{"m/stop", "", KEEP}, {"m/z", "", KEEP}}, 2, NULL);
    assert_int_equal(mrd_store_scan(s, "m/", collect, seen), 42);
    assert_string_equal(seen, "m/a m/b m/stop ");
    mrd_store_free(s);
}

static void note(void *ctx, const struct mrd_entry *e)
{
    char line[64];

    snprintf(line, sizeof(line), "%s=%.*s@%u ", e->key, (int)e->len,
             e->value != NULL ? (const char *)e->value : "", (unsigned)e->revision);
    strcat(ctx, line);
}

static void dump_of(struct mrd_store *s, uint8_t *bytes, size_t cap, struct mrd_buf *ret)
{
    *ret = mrd_buf_writer(bytes, cap);
    assert_int_equal(mrd_store_dump(s, ret), 0);
    assert_int_equal(ret->pos, mrd_store_dump_size(s));
}

static void watching_and_restoring(void **state)
{
    struct mrd_store *a = mrd_store_new(), *b = mrd_store_new();
    char seen[512] = "";
    uint8_t bytes[512], again[512];
    struct mrd_buf out, in;

    (void)state;
    apply(a, (struct op[]){{"x", "1", 0}, {"y", "2", 0}}, 2, NULL);
    mrd_store_watch(b, note, seen);
    apply(b, (struct op[]){{"x", "1", 0}, {"y", "2", 0}}, 2, NULL);
    apply(b, (struct op[]){{"z", "3", 0}, {"x", NULL, KEEP}}, 2, NULL);
    apply(b, (struct op[]){{"x", NULL, KEEP}}, 1, NULL);
    assert_string_equal(seen, "x=1@1 y=2@1 z=3@2 x=@2 ");
    seen[0] = '\0';
    dump_of(a, bytes, sizeof(bytes), &out);
    in = mrd_buf_reader(bytes, out.pos);
    assert_int_equal(mrd_store_restore(b, &in), 0);
    /* Gone, come back; what did not differ is not told. */
    assert_string_equal(seen, "z=@1 x=1@1 ");
    dump_of(b, again, sizeof(again), &in);
    assert_int_equal(in.pos, out.pos);
    assert_memory_equal(again, bytes, out.pos);
    mrd_store_free(a);
    mrd_store_free(b);
}

/* Every prefix and every changed byte of a dump is refused whole or gives a sound store. */
static void hostile_dumps(void **state)
{
    struct mrd_store *s = mrd_store_new(), *victim = mrd_store_new();
    uint8_t bytes[256], copy[256];
    struct mrd_buf out, in;
    struct mrd_entry e;

    (void)state;
    apply(s, (struct op[]){{"key/a", "value", 0}, {"key/b", "", 0}}, 2, NULL);
    apply(victim, (struct op[]){{"mine", "kept", 0}}, 1, NULL);
    dump_of(s, bytes, sizeof(bytes), &out);
    for (size_t len = 0; len < out.pos; len++) {
        in = mrd_buf_reader(bytes, len);
        assert_true(mrd_store_restore(victim, &in) != 0);
        assert_int_equal(mrd_store_get(victim, "mine", &e), 0);
    }
    for (size_t i = 0; i < out.pos * 8; i++) {
        memcpy(copy, bytes, out.pos);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        in = mrd_buf_reader(copy, out.pos);
        if (mrd_store_restore(victim, &in) != 0) {
            continue;
        }
        assert_true(mrd_store_dump_size(victim) <= out.pos);
    }
    mrd_store_free(s);
    mrd_store_free(victim);
}

static void transactions_as_bytes(void **state)
{
    struct mrd_txn *txn = calloc(1, sizeof(*txn)), *back = calloc(1, sizeof(*back));
    uint8_t bytes[512];
    struct mrd_buf out = mrd_buf_writer(bytes, sizeof(bytes)), in;

    (void)state;
    txn->compare_count = 1;
    snprintf(txn->compares[0].key, MRD_KEY_MAX, "session/eu");
    txn->compares[0].revision = 77;
    txn->put_count = 3;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "a");
    txn->puts[0].value = (const uint8_t *)"v";
    txn->puts[0].len = 1;
    snprintf(txn->puts[1].key, MRD_KEY_MAX, "b");
    txn->puts[1].value = (const uint8_t *)"";
    snprintf(txn->puts[2].key, MRD_KEY_MAX, "c");
    assert_int_equal(mrd_txn_encode(txn, &out), 0);
    in = mrd_buf_reader(bytes, out.pos);
    assert_int_equal(mrd_txn_decode(&in, back), 0);
    assert_int_equal(back->compares[0].revision, 77);
    assert_string_equal(back->puts[0].key, "a");
    assert_memory_equal(back->puts[0].value, "v", 1);
    assert_non_null(back->puts[1].value); /* empty is not absent */
    assert_int_equal(back->puts[1].len, 0);
    assert_null(back->puts[2].value);
    for (size_t len = 0; len < out.pos; len++) {
        in = mrd_buf_reader(bytes, len);
        assert_int_equal(mrd_txn_decode(&in, back), MRD_EFORMAT);
        assert_int_equal(back->put_count, 0);
    }
    bytes[0] = 2;
    in = mrd_buf_reader(bytes, out.pos);
    assert_int_equal(mrd_txn_decode(&in, back), MRD_EVERSION);
    out = mrd_buf_writer(bytes, 20);
    assert_int_equal(mrd_txn_encode(txn, &out), MRD_ETOOBIG);
    free(txn);
    free(back);
}

/* ---- the in-memory backend ---- */

#define AT(ms) ((uint64_t)(ms)*1000000u)

static int propose(struct mrd_memory *m, unsigned replica, const char *key, uint64_t now_ms)
{
    struct mrd_txn *txn = calloc(1, sizeof(*txn));
    uint64_t ticket;
    int rc = MRD_ETIMEDOUT;

    txn->compare_count = txn->put_count = 1;
    snprintf(txn->compares[0].key, MRD_KEY_MAX, "%s", key);
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "%s", key);
    txn->puts[0].value = (const uint8_t *)"x";
    txn->puts[0].len = 1;
    ticket = mrd_memory_propose(m, replica, txn, AT(now_ms));
    free(txn);
    for (uint64_t t = now_ms; ticket != 0 && t < now_ms + 500; t += 10) {
        mrd_memory_run(m, AT(t));
        if (mrd_memory_outcome(m, ticket, &rc)) {
            return rc;
        }
    }
    return rc;
}

static bool has(struct mrd_memory *m, unsigned replica, const char *key)
{
    struct mrd_entry e;

    return mrd_store_get(mrd_memory_store(m, replica), key, &e) == 0;
}

static void backend_needs_a_majority(void **state)
{
    struct mrd_memory *m = mrd_memory_new(3, 1000, 1);
    unsigned leader;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < 3; j++) {
            mrd_memory_link(m, i, j, i == j ? 0 : AT(40), true, 0);
        }
    }
    for (uint64_t t = 0; t < 2000; t += 10) {
        mrd_memory_run(m, AT(t));
    }
    assert_int_equal(propose(m, 0, "a", 2000), 0);
    assert_int_equal(propose(m, 1, "a", 2600), MRD_ECONFLICT);
    leader = (unsigned)mrd_memory_leader(m, 0);
    assert_true(mrd_memory_leads(m, leader));
    mrd_memory_up(m, (leader + 1) % 3, false, AT(3000));
    mrd_memory_up(m, (leader + 2) % 3, false, AT(3000));
    assert_int_equal(propose(m, leader, "b", 3200), MRD_ETIMEDOUT);
    assert_false(has(m, leader, "b"));
    mrd_memory_up(m, (leader + 1) % 3, true, AT(9000));
    mrd_memory_run(m, AT(9000));
    for (uint64_t t = 9000; t < 13000; t += 10) {
        mrd_memory_run(m, AT(t));
    }
    assert_int_equal(propose(m, (leader + 1) % 3, "c", 13000), 0);
    assert_true(has(m, leader, "c"));
    assert_false(has(m, (leader + 2) % 3, "c"));
    mrd_memory_up(m, (leader + 2) % 3, true, AT(14000));
    for (uint64_t t = 14000; t < 14200; t += 10) {
        mrd_memory_run(m, AT(t));
    }
    assert_true(has(m, (leader + 2) % 3, "c"));
    mrd_memory_free(m);
}

/* What was worked out stays until something changes that it may depend on. */
static void memos_last(void **state)
{
    static const struct {
        const char *name;
        struct op op;
        bool all, seldom; /* kept */
    } rows[] = {
        {"a renewal", {"session/eu", "1", KEEP}, false, true},
        {"an event", {"event/1", "x", KEEP}, false, true},
        {"an event is dropped", {"event/1", NULL, KEEP}, false, true},
        {"an authority", {"authority/orders/all", "1", KEEP}, false, false},
        {"a key that only begins alike", {"sessions", "1", KEEP}, false, false},
        {"refused", {"session/eu", "2", 77}, true, true},
    };
    struct mrd_store *s = mrd_store_new(), *other = mrd_store_new();
    uint8_t bytes[256];
    struct mrd_buf out, in;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *all = mrd_store_memo(s, MRD_MEMO_ALL, 8);
        uint8_t *seldom = mrd_store_memo(s, MRD_MEMO_SELDOM, 8);
        all[7] = seldom[7] = 1;
        (void)apply(s, &rows[i].op, 1, NULL);
        (void)mrd_store_memo(s, MRD_MEMO_ALL, 8);
        if ((all[7] != 0) != rows[i].all) {
            fail_msg("%s: what depends on everything is %skept", rows[i].name,
                     rows[i].all ? "not " : "");
        }
        (void)mrd_store_memo(s, MRD_MEMO_SELDOM, 8);
        if ((seldom[7] != 0) != rows[i].seldom) {
            fail_msg("%s: what changes seldom is %skept", rows[i].name,
                     rows[i].seldom ? "not " : "");
        }
        all[7] = seldom[7] = 1;
    }
    dump_of(other, bytes, sizeof(bytes), &out);
    in = mrd_buf_reader(bytes, out.pos);
    assert_int_equal(mrd_store_restore(s, &in), 0);
    assert_int_equal(((uint8_t *)mrd_store_memo(s, MRD_MEMO_ALL, 8))[7], 0);
    assert_int_equal(((uint8_t *)mrd_store_memo(s, MRD_MEMO_SELDOM, 8))[7], 0);
    mrd_store_free(s);
    mrd_store_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions),
        cmocka_unit_test(limits),
        cmocka_unit_test(scans),
        cmocka_unit_test(memos_last),
        cmocka_unit_test(watching_and_restoring),
        cmocka_unit_test(hostile_dumps),
        cmocka_unit_test(transactions_as_bytes),
        cmocka_unit_test(backend_needs_a_majority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
