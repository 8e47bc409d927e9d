/*
 * The coordination store's state machine (mrd/store.h).
 *
 * One array of entries, sorted by key: a prefix is a run of neighbours, and two replicas that
 * applied the same transactions dump the same bytes. Beside it the same entries hang in chains
 * by the hash of their key, because the decisions ask for single keys all the time. A
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

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TXN_VERSION 1u
#define DUMP_MAGIC 0x5344524du /* "MRDS" */
#define DUMP_VERSION 1u
#define ROOM_FIRST 64u /* a power of two, as every room after it */

struct item {
    struct item *next; /* in its chain */
    uint64_t hash;
    char *key; /* key and value lie behind the item, in one block with it */
    uint8_t *value;
    size_t len, room; /* of the value: what it is, what it may become in place */
    uint64_t revision;
    void *decoded;   /* what mrd_store_decoded() made of a value, or NULL */
    bool is_decoded; /* of this value */
};

/* What others worked out from the state, as it is now or (@stale) was. */
struct memo {
    bool stale;
    max_align_t bytes[MRD_STORE_MEMO / sizeof(max_align_t)];
};

struct mrd_store {
    struct item **items;  /* sorted by key */
    struct item **chains; /* as many as there is room for items */
    size_t count, room;
    size_t bytes; /* of all keys and values */
    uint64_t revision;
    mrd_watch_fn watch;
    void *watch_ctx;
    struct memo *memos; /* by enum mrd_memo */
    bool watching;      /* inside the watcher: it must not change the store */
};

static const uint8_t empty_value[1];

struct mrd_store *mrd_store_new(void)
{
    struct mrd_store *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->memos = calloc(MRD_MEMO_SELDOM + 1, sizeof(*s->memos));
        if (s->memos == NULL) {
            free(s);
            s = NULL;
        }
    }
    return s;
}

static void item_free(struct item *it)
{
    if (it != NULL) {
        free(it->decoded);
        free(it);
    }
}

static void items_free(struct item **items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        item_free(items[i]);
    }
    free(items);
}

void mrd_store_free(struct mrd_store *s)
{
    if (s != NULL) {
        items_free(s->items, s->count);
        free(s->chains);
        free(s->memos);
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

/* ---- finding ---- */

/* Index of the first entry that is not before @key; *found says whether it is @key. */
static size_t find(struct item *const *items, size_t count, const char *key, bool *found)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(items[mid]->key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *found = low < count && strcmp(items[low]->key, key) == 0;
    return low;
}

/* FNV-1a by words instead of bytes. Only where a key lies depends on it, never what is said. */
static uint64_t hash_of(const char *key)
{
    size_t n = strlen(key), at = 0;
    uint64_t hash = 14695981039346656037ull ^ n, word;

    for (; n - at > 8; at += 8) {
        memcpy(&word, key + at, 8);
        hash = (hash ^ word) * 1099511628211ull;
    }
    if (n >= 8) { /* the last eight, of which some may be known already */
        memcpy(&word, key + n - 8, 8);
        hash = (hash ^ word) * 1099511628211ull;
    }
    for (; n < 8 && at < n; at++) {
        hash = (hash ^ (uint8_t)key[at]) * 1099511628211ull;
    }
    return hash ^ hash >> 32;
}

static struct item *look_up(const struct mrd_store *s, const char *key)
{
    uint64_t hash = hash_of(key);
    struct item *it = s->room > 0 ? s->chains[hash & (s->room - 1)] : NULL;

    while (it != NULL && (it->hash != hash || strcmp(it->key, key) != 0)) {
        it = it->next;
    }
    return it;
}

static void link_in(struct mrd_store *s, struct item *it)
{
    struct item **chain = &s->chains[it->hash & (s->room - 1)];

    it->next = *chain;
    *chain = it;
}

static void unlink_from(struct mrd_store *s, struct item *it)
{
    struct item **at = &s->chains[it->hash & (s->room - 1)];

    while (*at != it) {
        at = &(*at)->next;
    }
    *at = it->next;
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
    if (it != NULL && !it->is_decoded) {
        struct mrd_buf in = mrd_buf_reader(it->value, it->len);
        it->decoded = it->decoded != NULL ? it->decoded : malloc(size);
        it->is_decoded = it->decoded != NULL && decode(&in, it->decoded) == 0;
    }
    return it != NULL && it->is_decoded ? it->decoded : NULL;
}

void *mrd_store_memo(const struct mrd_store *s, enum mrd_memo which, size_t size)
{
    struct memo *m = &s->memos[which];

    mrd_assert(size <= sizeof(m->bytes));
    if (m->stale) {
        memset(m->bytes, 0, size);
        m->stale = false;
    }
    return m->bytes;
}

int mrd_store_scan(const struct mrd_store *s, const char *prefix,
                   int (*fn)(void *ctx, const struct mrd_entry *e), void *ctx)
{
    size_t n = strlen(prefix);
    bool found;

    for (size_t i = find(s->items, s->count, prefix, &found); i < s->count; i++) {
        struct mrd_entry e;
        int rc;
        if (strncmp(s->items[i]->key, prefix, n) != 0) {
            break;
        }
        to_entry(s->items[i], &e);
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
        const struct item *it = look_up(s, txn->compares[i].key);
        uint64_t revision = it != NULL ? it->revision : 0;
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
        const struct item *it = look_up(s, p->key);
        size_t key_len = strlen(p->key);
        if (it != NULL) {
            count--;
            bytes -= key_len + it->len;
        }
        if (p->value != NULL) {
            count++;
            bytes += key_len + p->len;
        }
    }
    return count > MRD_STORE_KEYS_MAX || bytes > MRD_STORE_BYTES_MAX ? MRD_EFULL : 0;
}

/* NULL when out of memory. */
static struct item *item_make(const char *key, const uint8_t *value, size_t len,
                              uint64_t revision)
{
    size_t key_size = strlen(key) + 1;
    struct item *it = malloc(sizeof(*it) + key_size + len + 1);

    if (it == NULL) {
        return NULL;
    }
    *it = (struct item){.hash = hash_of(key), .len = len, .room = len, .revision = revision};
    it->key = (char *)(it + 1);
    it->value = (uint8_t *)it->key + key_size;
    memcpy(it->key, key, key_size);
    if (len > 0) {
        memcpy(it->value, value, len);
    }
    it->value[len] = 0; /* text values may be read as strings */
    return it;
}

/* Both arrays grow, or neither is used: the old room then still holds. */
static int reserve(struct mrd_store *s, size_t more)
{
    size_t room = s->room > 0 ? s->room : ROOM_FIRST;
    struct item **items, **chains;

    while (room < s->count + more) {
        room *= 2;
    }
    if (room == s->room) {
        return 0;
    }
    items = realloc(s->items, room * sizeof(struct item *));
    s->items = items != NULL ? items : s->items;
    chains = calloc(room, sizeof(struct item *));
    if (items == NULL || chains == NULL) {
        free(chains);
        return MRD_ENOMEM;
    }
    free(s->chains);
    s->chains = chains;
    s->room = room;
    for (size_t i = 0; i < s->count; i++) {
        link_in(s, s->items[i]);
    }
    return 0;
}

static void remove_key(struct mrd_store *s, const char *key)
{
    bool found;
    size_t at = find(s->items, s->count, key, &found);
    struct item *it;

    if (found) {
        it = s->items[at];
        s->bytes -= strlen(it->key) + it->len;
        unlink_from(s, it);
        item_free(it);
        s->count--;
        memmove(&s->items[at], &s->items[at + 1], (s->count - at) * sizeof(struct item *));
    }
}

/* Most values that change stay as long as they are, and take the place of the one before. */
static bool replace(struct mrd_store *s, struct item *fresh)
{
    struct item *old = look_up(s, fresh->key);

    if (old == NULL || old->room < fresh->len) {
        return false;
    }
    s->bytes += fresh->len - old->len; /* may wrap, and back */
    memcpy(old->value, fresh->value, fresh->len + 1);
    old->len = fresh->len;
    old->revision = fresh->revision;
    old->is_decoded = false;
    item_free(fresh);
    return true;
}

static void insert(struct mrd_store *s, struct item *fresh)
{
    bool found;
    size_t at = find(s->items, s->count, fresh->key, &found);

    if (found) {
        s->bytes -= strlen(fresh->key) + s->items[at]->len;
        unlink_from(s, s->items[at]);
        item_free(s->items[at]);
    } else {
        memmove(&s->items[at + 1], &s->items[at], (s->count - at) * sizeof(struct item *));
        s->count++;
    }
    s->bytes += strlen(fresh->key) + fresh->len;
    s->items[at] = fresh;
    link_in(s, fresh);
}

static void tell(struct mrd_store *s, const struct mrd_entry *e)
{
    if (s->watch != NULL) {
        s->watching = true;
        s->watch(s->watch_ctx, e);
        s->watching = false;
    }
}

/* Keys that change with every renewal and everything that happens. */
static bool changes_often(const char *key)
{
    return strncmp(key, "session/", 8) == 0 || strncmp(key, "event/", 6) == 0;
}

/* Allocations are done and every check passed: from here nothing can fail. */
static void commit(struct mrd_store *s, const struct mrd_txn *txn, struct item **fresh)
{
    bool changed[MRD_TXN_OPS_MAX];
    size_t count = txn->put_count;

    s->revision++;
    s->memos[MRD_MEMO_ALL].stale = true;
    for (size_t i = 0; i < count; i++) {
        if (!changes_often(txn->puts[i].key)) {
            s->memos[MRD_MEMO_SELDOM].stale = true;
        }
        changed[i] = fresh[i] != NULL || look_up(s, txn->puts[i].key) != NULL;
        if (fresh[i] == NULL) {
            remove_key(s, txn->puts[i].key);
        } else if (!replace(s, fresh[i])) {
            insert(s, fresh[i]);
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
    struct item *fresh[MRD_TXN_OPS_MAX] = {0};
    int rc = check_form(txn);

    mrd_assert(!s->watching);
    rc = rc != 0 ? rc : check_compares(s, txn);
    rc = rc != 0 ? rc : check_room(s, txn);
    rc = rc != 0 ? rc : reserve(s, txn->put_count);
    for (size_t i = 0; rc == 0 && i < txn->put_count; i++) {
        const struct mrd_put *p = &txn->puts[i];
        if (p->value != NULL) {
            fresh[i] = item_make(p->key, p->value, p->len, s->revision + 1);
            rc = fresh[i] != NULL ? 0 : MRD_ENOMEM;
        }
    }
    if (rc != 0) {
        for (size_t i = 0; i < MRD_TXN_OPS_MAX; i++) {
            item_free(fresh[i]);
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
        const struct item *it = s->items[i];
        mrd_buf_put_str(out, it->key);
        mrd_buf_put_u64(out, it->revision);
        put_value(out, it->value, it->len);
    }
    return out->failed ? MRD_ETOOBIG : 0;
}

static int restore_item(struct mrd_buf *in, struct mrd_store *fresh)
{
    char key[MRD_KEY_MAX];
    uint64_t revision;
    const uint8_t *value;
    struct item *it;
    size_t len;
    int rc;

    mrd_buf_get_str(in, key, sizeof(key));
    revision = mrd_buf_get_u64(in);
    value = get_value(in, &len);
    if (in->failed || !key_ok(key) || revision == 0 || revision > fresh->revision) {
        return MRD_EFORMAT;
    }
    /* Strictly ascending keys: sorted already, and none twice. */
    if (fresh->count > 0 && strcmp(fresh->items[fresh->count - 1]->key, key) >= 0) {
        return MRD_EFORMAT;
    }
    if (fresh->bytes + strlen(key) + len > MRD_STORE_BYTES_MAX) {
        return MRD_EFORMAT;
    }
    it = item_make(key, value, len, revision);
    rc = it != NULL ? reserve(fresh, 1) : MRD_ENOMEM;
    if (rc != 0) {
        item_free(it);
        return rc;
    }
    fresh->items[fresh->count++] = it;
    fresh->bytes += strlen(key) + len;
    link_in(fresh, it);
    return 0;
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
static void tell_restored(struct mrd_store *s, struct item *const *old, size_t old_count)
{
    for (size_t i = 0; i < old_count; i++) {
        struct mrd_entry e = {old[i]->key, NULL, 0, s->revision}, now;
        if (mrd_store_get(s, old[i]->key, &now) != 0) {
            tell(s, &e);
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        struct mrd_entry e;
        bool found;
        size_t at = find(old, old_count, s->items[i]->key, &found);
        if (!found || old[at]->revision != s->items[i]->revision) {
            to_entry(s->items[i], &e);
            tell(s, &e);
        }
    }
}

int mrd_store_restore(struct mrd_store *s, struct mrd_buf *in)
{
    struct mrd_store fresh = {0};
    struct item **old = s->items;
    size_t old_count = s->count;
    int rc;

    mrd_assert(!s->watching);
    rc = restore_all(in, &fresh);
    if (rc != 0) {
        items_free(fresh.items, fresh.count);
        free(fresh.chains);
        return rc;
    }
    free(s->chains);
    s->items = fresh.items;
    s->chains = fresh.chains;
    s->count = fresh.count;
    s->room = fresh.room;
    s->bytes = fresh.bytes;
    s->revision = fresh.revision;
    s->memos[MRD_MEMO_ALL].stale = s->memos[MRD_MEMO_SELDOM].stale = true;
    tell_restored(s, old, old_count);
    items_free(old, old_count);
    return 0;
}
