/*
 * The coordination store's state machine (mrd/store.h).
 *
 * One array of entries, sorted by key: lookups are a binary search, a prefix is a run of
 * neighbours, and two replicas that applied the same transactions dump the same bytes. A
 * transaction first checks everything that could refuse it and allocates everything it needs,
 * and only then changes anything, so that a refusal leaves no trace.
 *
 * Every limit is a matter of the transactions applied so far, never of this host, because all
 * replicas must refuse the same ones. The exception is memory: MRD_ENOMEM means that this
 * replica can no longer follow, and its host must stop it.
 *
 * Single-threaded: the caller serialises.
 */
#include <mrd/store.h>

#include <stdlib.h>
#include <string.h>

#define TXN_VERSION 1u
#define DUMP_MAGIC 0x5344524du /* "MRDS" */
#define DUMP_VERSION 1u
#define HINTS 256u

struct item {
    char *key;
    uint8_t *value;
    size_t len;
    uint64_t revision;
    void *decoded; /* what mrd_store_decoded() made of the value, or NULL */
};

struct mrd_store {
    struct item *items; /* sorted by key */
    size_t count, room;
    size_t bytes; /* of all keys and values */
    uint64_t revision;
    mrd_watch_fn watch;
    void *watch_ctx;
    bool watching;   /* inside the watcher: it must not change the store */
    uint32_t *hints; /* HINTS of them: where a key was found last */
};

static const uint8_t empty_value[1];

struct mrd_store *mrd_store_new(void)
{
    struct mrd_store *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->hints = calloc(HINTS, sizeof(*s->hints));
        if (s->hints == NULL) {
            free(s);
            s = NULL;
        }
    }
    return s;
}

static void item_fini(struct item *it)
{
    free(it->key);
    free(it->value);
    free(it->decoded);
    *it = (struct item){0};
}

static void items_free(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        item_fini(&items[i]);
    }
    free(items);
}

void mrd_store_free(struct mrd_store *s)
{
    if (s != NULL) {
        items_free(s->items, s->count);
        free(s->hints);
        free(s);
    }
}

uint64_t mrd_store_revision(const struct mrd_store *s)
{
    return s->revision;
}

void mrd_store_watch(struct mrd_store *s, mrd_watch_fn fn, void *ctx)
{
    s->watch = fn;
    s->watch_ctx = ctx;
}

/* Index of the first entry that is not before @key; *found says whether it is @key. */
static size_t find(const struct item *items, size_t count, const char *key, bool *found)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(items[mid].key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *found = low < count && strcmp(items[low].key, key) == 0;
    return low;
}

/* Is @at where @key is, or would be? */
static bool here(const struct mrd_store *s, size_t at, const char *key, bool *found)
{
    int order = at < s->count ? strcmp(s->items[at].key, key) : 1;

    *found = order == 0;
    return order == 0 || (order > 0 && (at == 0 || strcmp(s->items[at - 1].key, key) < 0));
}

/* The decisions ask for the same few keys again and again: try where it was last. */
static struct item *look_up(const struct mrd_store *s, const char *key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    bool found;

    for (const char *p = key; *p != '\0'; p++) {
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    }
    uint32_t *hint = &s->hints[hash % HINTS];
    if (*hint <= s->count && here(s, *hint, key, &found)) {
        return found ? &s->items[*hint] : NULL;
    }
    *hint = (uint32_t)find(s->items, s->count, key, &found);
    return found ? &s->items[*hint] : NULL;
}

static void to_entry(const struct item *it, struct mrd_entry *ret)
{
    *ret = (struct mrd_entry){it->key, it->value, it->len, it->revision};
}

int mrd_store_get(const struct mrd_store *s, const char *key, struct mrd_entry *ret)
{
    const struct item *it = look_up(s, key);

    if (it == NULL) {
        return MRD_ENOTFOUND;
    }
    to_entry(it, ret);
    return 0;
}

const void *mrd_store_decoded(const struct mrd_store *s, const char *key, mrd_decode_fn decode,
                              size_t size, uint64_t *ret_revision)
{
    struct item *it = look_up(s, key);

    *ret_revision = it != NULL ? it->revision : 0;
    if (it != NULL && it->decoded == NULL) {
        struct mrd_buf in = mrd_buf_reader(it->value, it->len);
        void *fresh = malloc(size);
        if (fresh != NULL && decode(&in, fresh) == 0) {
            it->decoded = fresh;
        } else {
            free(fresh);
        }
    }
    return it != NULL ? it->decoded : NULL;
}

int mrd_store_scan(const struct mrd_store *s, const char *prefix,
                   int (*fn)(void *ctx, const struct mrd_entry *e), void *ctx)
{
    size_t n = strlen(prefix);
    bool found;

    for (size_t i = find(s->items, s->count, prefix, &found); i < s->count; i++) {
        struct mrd_entry e;
        int rc;
        if (strncmp(s->items[i].key, prefix, n) != 0) {
            break;
        }
        to_entry(&s->items[i], &e);
        rc = fn(ctx, &e);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Keys are printable: they appear in logs and in tools. */
static bool key_ok(const char *key)
{
    size_t n = strnlen(key, MRD_KEY_MAX);

    if (n == 0 || n == MRD_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c <= 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* One key twice in a transaction would make its meaning depend on the order of its parts. */
static bool puts_distinct(const struct mrd_txn *txn)
{
    for (size_t i = 1; i < txn->put_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(txn->puts[i].key, txn->puts[j].key) == 0) {
                return false;
            }
        }
    }
    return true;
}

static int check_form(const struct mrd_txn *txn)
{
    if (txn->compare_count > MRD_TXN_OPS_MAX || txn->put_count > MRD_TXN_OPS_MAX) {
        return MRD_ETOOBIG;
    }
    for (size_t i = 0; i < txn->compare_count; i++) {
        if (!key_ok(txn->compares[i].key)) {
            return MRD_EINVAL;
        }
    }
    for (size_t i = 0; i < txn->put_count; i++) {
        if (!key_ok(txn->puts[i].key)) {
            return MRD_EINVAL;
        }
        if (txn->puts[i].value != NULL && txn->puts[i].len > MRD_VALUE_MAX) {
            return MRD_ETOOBIG;
        }
    }
    return puts_distinct(txn) ? 0 : MRD_EINVAL;
}

static int check_compares(const struct mrd_store *s, const struct mrd_txn *txn)
{
    for (size_t i = 0; i < txn->compare_count; i++) {
        bool found;
        size_t at = find(s->items, s->count, txn->compares[i].key, &found);
        uint64_t revision = found ? s->items[at].revision : 0;
        if (revision != txn->compares[i].revision) {
            return MRD_ECONFLICT;
        }
    }
    return 0;
}

/* Would the store be within its limits afterwards? */
static int check_room(const struct mrd_store *s, const struct mrd_txn *txn)
{
    size_t count = s->count, bytes = s->bytes;

    for (size_t i = 0; i < txn->put_count; i++) {
        const struct mrd_put *p = &txn->puts[i];
        bool found;
        size_t at = find(s->items, s->count, p->key, &found);
        size_t key_len = strlen(p->key);
        if (found) {
            count--;
            bytes -= key_len + s->items[at].len;
        }
        if (p->value != NULL) {
            count++;
            bytes += key_len + p->len;
        }
    }
    return count > MRD_STORE_KEYS_MAX || bytes > MRD_STORE_BYTES_MAX ? MRD_EFULL : 0;
}

static int item_make(const char *key, const uint8_t *value, size_t len, uint64_t revision,
                     struct item *ret)
{
    struct item it = {strdup(key), malloc(len + 1), len, revision, NULL};

    if (it.key == NULL || it.value == NULL) {
        item_fini(&it);
        return MRD_ENOMEM;
    }
    if (len > 0) {
        memcpy(it.value, value, len);
    }
    it.value[len] = 0; /* text values may be read as strings */
    *ret = it;
    return 0;
}

static int reserve(struct mrd_store *s, size_t more)
{
    size_t room = s->room > 0 ? s->room : 64;
    struct item *grown;

    while (room < s->count + more) {
        room *= 2;
    }
    if (room == s->room) {
        return 0;
    }
    grown = realloc(s->items, room * sizeof(*grown));
    if (grown == NULL) {
        return MRD_ENOMEM;
    }
    s->items = grown;
    s->room = room;
    return 0;
}

static void remove_at(struct mrd_store *s, size_t at)
{
    s->bytes -= strlen(s->items[at].key) + s->items[at].len;
    item_fini(&s->items[at]);
    memmove(&s->items[at], &s->items[at + 1], (s->count - at - 1) * sizeof(s->items[0]));
    s->count--;
}

static void insert(struct mrd_store *s, struct item fresh)
{
    bool found;
    size_t at = find(s->items, s->count, fresh.key, &found);

    if (found) {
        s->bytes -= strlen(s->items[at].key) + s->items[at].len;
        item_fini(&s->items[at]);
    } else {
        memmove(&s->items[at + 1], &s->items[at], (s->count - at) * sizeof(s->items[0]));
        s->count++;
    }
    s->bytes += strlen(fresh.key) + fresh.len;
    s->items[at] = fresh;
}

static void tell(struct mrd_store *s, const struct mrd_entry *e)
{
    if (s->watch != NULL) {
        s->watching = true;
        s->watch(s->watch_ctx, e);
        s->watching = false;
    }
}

/* Allocations are done and every check passed: from here nothing can fail. */
static void commit(struct mrd_store *s, const struct mrd_txn *txn, struct item *fresh)
{
    bool changed[MRD_TXN_OPS_MAX];
    size_t count = txn->put_count;

    s->revision++;
    for (size_t i = 0; i < count; i++) {
        bool found;
        size_t at = find(s->items, s->count, txn->puts[i].key, &found);
        changed[i] = fresh[i].key != NULL || found;
        if (fresh[i].key != NULL) {
            insert(s, fresh[i]);
        } else if (found) {
            remove_at(s, at);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct mrd_entry e = {txn->puts[i].key, NULL, 0, s->revision};
        if (changed[i]) {
            (void)mrd_store_get(s, txn->puts[i].key, &e);
            tell(s, &e);
        }
    }
}

int mrd_store_apply(struct mrd_store *s, const struct mrd_txn *txn, uint64_t *ret_revision)
{
    struct item fresh[MRD_TXN_OPS_MAX] = {0};
    int rc = check_form(txn);

    mrd_assert(!s->watching);
    rc = rc != 0 ? rc : check_compares(s, txn);
    rc = rc != 0 ? rc : check_room(s, txn);
    rc = rc != 0 ? rc : reserve(s, txn->put_count);
    for (size_t i = 0; rc == 0 && i < txn->put_count; i++) {
        const struct mrd_put *p = &txn->puts[i];
        if (p->value != NULL) {
            rc = item_make(p->key, p->value, p->len, s->revision + 1, &fresh[i]);
        }
    }
    if (rc != 0) {
        for (size_t i = 0; i < MRD_TXN_OPS_MAX; i++) {
            item_fini(&fresh[i]);
        }
        return rc;
    }
    commit(s, txn, fresh);
    if (ret_revision != NULL) {
        *ret_revision = s->revision;
    }
    return 0;
}

/* ---- transactions as bytes ---- */

static void put_value(struct mrd_buf *out, const uint8_t *value, size_t len)
{
    mrd_buf_put_u32(out, (uint32_t)len);
    if (len > 0) {
        mrd_buf_put_bytes(out, value, len);
    }
}

static const uint8_t *get_value(struct mrd_buf *in, size_t *ret_len)
{
    size_t len = mrd_buf_get_u32(in);

    if (len > MRD_VALUE_MAX) {
        in->failed = true;
        len = 0;
    }
    *ret_len = len;
    return len > 0 ? mrd_buf_get_bytes(in, len) : empty_value;
}

int mrd_txn_encode(const struct mrd_txn *txn, struct mrd_buf *out)
{
    size_t start = out->pos;

    if (txn->compare_count > MRD_TXN_OPS_MAX || txn->put_count > MRD_TXN_OPS_MAX) {
        return MRD_ETOOBIG;
    }
    mrd_buf_put_u8(out, TXN_VERSION);
    mrd_buf_put_u16(out, (uint16_t)txn->compare_count);
    for (size_t i = 0; i < txn->compare_count; i++) {
        mrd_buf_put_str(out, txn->compares[i].key);
        mrd_buf_put_u64(out, txn->compares[i].revision);
    }
    mrd_buf_put_u16(out, (uint16_t)txn->put_count);
    for (size_t i = 0; i < txn->put_count; i++) {
        const struct mrd_put *p = &txn->puts[i];
        if (p->len > MRD_VALUE_MAX) {
            return MRD_ETOOBIG;
        }
        mrd_buf_put_str(out, p->key);
        mrd_buf_put_u8(out, p->value != NULL);
        if (p->value != NULL) {
            put_value(out, p->value, p->len);
        }
    }
    return out->failed || out->pos - start > MRD_TXN_MAX ? MRD_ETOOBIG : 0;
}

static void decode_put(struct mrd_buf *in, struct mrd_put *ret)
{
    uint8_t present;

    mrd_buf_get_str(in, ret->key, sizeof(ret->key));
    present = mrd_buf_get_u8(in);
    if (present > 1) {
        in->failed = true;
    }
    ret->value = NULL;
    ret->len = 0;
    if (present == 1) {
        ret->value = get_value(in, &ret->len);
    }
}

/* A count from outside: above the limit the input is malformed, and nothing is looped over. */
static size_t get_count(struct mrd_buf *in)
{
    size_t n = mrd_buf_get_u16(in);

    if (n > MRD_TXN_OPS_MAX) {
        in->failed = true;
        return 0;
    }
    return n;
}

int mrd_txn_decode(struct mrd_buf *in, struct mrd_txn *ret)
{
    uint8_t version = mrd_buf_get_u8(in);

    if (!in->failed && version != TXN_VERSION) {
        return MRD_EVERSION;
    }
    ret->compare_count = get_count(in);
    for (size_t i = 0; i < ret->compare_count && !in->failed; i++) {
        mrd_buf_get_str(in, ret->compares[i].key, sizeof(ret->compares[i].key));
        ret->compares[i].revision = mrd_buf_get_u64(in);
    }
    ret->put_count = get_count(in);
    for (size_t i = 0; i < ret->put_count && !in->failed; i++) {
        decode_put(in, &ret->puts[i]);
    }
    if (in->failed || !mrd_buf_done(in) || check_form(ret) != 0) {
        ret->compare_count = ret->put_count = 0;
        return MRD_EFORMAT;
    }
    return 0;
}

/* ---- the whole state ---- */

size_t mrd_store_dump_size(const struct mrd_store *s)
{
    return 4 + 1 + 8 + 4 + s->bytes + s->count * (2 + 8 + 4);
}

int mrd_store_dump(const struct mrd_store *s, struct mrd_buf *out)
{
    mrd_buf_put_u32(out, DUMP_MAGIC);
    mrd_buf_put_u8(out, DUMP_VERSION);
    mrd_buf_put_u64(out, s->revision);
    mrd_buf_put_u32(out, (uint32_t)s->count);
    for (size_t i = 0; i < s->count; i++) {
        mrd_buf_put_str(out, s->items[i].key);
        mrd_buf_put_u64(out, s->items[i].revision);
        put_value(out, s->items[i].value, s->items[i].len);
    }
    return out->failed ? MRD_ETOOBIG : 0;
}

static int restore_item(struct mrd_buf *in, struct mrd_store *fresh)
{
    char key[MRD_KEY_MAX];
    uint64_t revision;
    const uint8_t *value;
    size_t len;
    int rc;

    mrd_buf_get_str(in, key, sizeof(key));
    revision = mrd_buf_get_u64(in);
    value = get_value(in, &len);
    if (in->failed || !key_ok(key) || revision == 0 || revision > fresh->revision) {
        return MRD_EFORMAT;
    }
    /* Strictly ascending keys: sorted already, and none twice. */
    if (fresh->count > 0 && strcmp(fresh->items[fresh->count - 1].key, key) >= 0) {
        return MRD_EFORMAT;
    }
    if (fresh->bytes + strlen(key) + len > MRD_STORE_BYTES_MAX) {
        return MRD_EFORMAT;
    }
    rc = reserve(fresh, 1);
    rc = rc != 0 ? rc : item_make(key, value, len, revision, &fresh->items[fresh->count]);
    if (rc == 0) {
        fresh->bytes += strlen(key) + len;
        fresh->count++;
    }
    return rc;
}

static int restore_all(struct mrd_buf *in, struct mrd_store *fresh)
{
    uint32_t magic = mrd_buf_get_u32(in);
    uint8_t version = mrd_buf_get_u8(in);
    uint32_t count;
    int rc = 0;

    if (in->failed || magic != DUMP_MAGIC) {
        return MRD_EFORMAT;
    }
    if (version != DUMP_VERSION) {
        return MRD_EVERSION;
    }
    fresh->revision = mrd_buf_get_u64(in);
    count = mrd_buf_get_u32(in);
    if (count > MRD_STORE_KEYS_MAX) {
        return MRD_EFORMAT;
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = restore_item(in, fresh);
    }
    return rc == 0 && !mrd_buf_done(in) ? MRD_EFORMAT : rc;
}

/* A restore is a change of many keys at once: the watcher hears of each. */
static void tell_restored(struct mrd_store *s, const struct item *old, size_t old_count)
{
    for (size_t i = 0; i < old_count; i++) {
        struct mrd_entry e = {old[i].key, NULL, 0, s->revision}, now;
        if (mrd_store_get(s, old[i].key, &now) != 0) {
            tell(s, &e);
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        struct mrd_entry e;
        bool found;
        size_t at = find(old, old_count, s->items[i].key, &found);
        if (!found || old[at].revision != s->items[i].revision) {
            to_entry(&s->items[i], &e);
            tell(s, &e);
        }
    }
}

int mrd_store_restore(struct mrd_store *s, struct mrd_buf *in)
{
    struct mrd_store fresh = {0};
    struct item *old = s->items;
    size_t old_count = s->count;
    int rc;

    mrd_assert(!s->watching);
    rc = restore_all(in, &fresh);
    if (rc != 0) {
        items_free(fresh.items, fresh.count);
        return rc;
    }
    s->items = fresh.items;
    s->count = fresh.count;
    s->room = fresh.room;
    s->bytes = fresh.bytes;
    s->revision = fresh.revision;
    tell_restored(s, old, old_count);
    items_free(old, old_count);
    return 0;
}
