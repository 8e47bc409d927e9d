/*
 * The coordination store: a small key-value state machine with revisions.
 *
 * One transaction is the unit: if every compare holds, all puts and deletes happen at one new
 * revision, otherwise nothing does. This file is the deterministic machine itself; a backend
 * decides in which order transactions reach it (embedded Raft in agent/, in memory with
 * injected faults in core/src/store_memory.c) and every replica applies the same ones.
 *
 * Keys are text like "session/eu-west-1", values are bytes (see record.h). Both are copied.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <mrd/buf.h>
#include <mrd/err.h>

#define MRD_KEY_MAX 192                    /* with its NUL */
#define MRD_VALUE_MAX ((size_t)256 * 1024) /* a configuration fits */
#define MRD_TXN_MAX ((size_t)320 * 1024)   /* encoded size */
#define MRD_TXN_OPS_MAX 64
#define MRD_STORE_KEYS_MAX 8192
#define MRD_STORE_MEMO ((size_t)32 * 1024)
#define MRD_STORE_BYTES_MAX                                                                    \
    ((size_t)32 * 1024 * 1024) /* of keys and values; a Raft snapshot fits */

struct mrd_compare {
    char key[MRD_KEY_MAX];
    uint64_t revision; /* the key's revision of last change; 0: the key must not exist */
};

struct mrd_put {
    char key[MRD_KEY_MAX];
    const uint8_t *value; /* borrowed from the txn's owner; NULL deletes */
    size_t len;
};

struct mrd_txn {
    size_t compare_count, put_count;
    struct mrd_compare compares[MRD_TXN_OPS_MAX];
    struct mrd_put puts[MRD_TXN_OPS_MAX];
};

struct mrd_entry {
    const char *key;
    const uint8_t *value;
    size_t len;
    uint64_t revision; /* of its last change */
};

struct mrd_store; /* opaque; allocates with malloc */

struct mrd_store *mrd_store_new(void); /* NULL when out of memory */
void mrd_store_free(struct mrd_store *s);

uint64_t mrd_store_revision(const struct mrd_store *s); /* of the newest successful txn */

/**
 * Apply one transaction. Returns 0 and the new revision (@ret_revision may be NULL), or, with
 * nothing changed, and the same at every replica:
 *   MRD_ECONFLICT  a compare does not hold
 *   MRD_EINVAL     a key is empty, unprintable or put twice
 *   MRD_EFULL      MRD_STORE_KEYS_MAX or MRD_STORE_BYTES_MAX would be passed
 *   MRD_ETOOBIG    too many parts, or a value too long
 * or MRD_ENOMEM: this replica alone cannot follow; its host must stop it.
 */
int mrd_store_apply(struct mrd_store *s, const struct mrd_txn *txn, uint64_t *ret_revision);

/** Entry of @key, borrowed until the next apply; 0 or MRD_ENOTFOUND. */
int mrd_store_get(const struct mrd_store *s, const char *key, struct mrd_entry *ret);

/**
 * The value of @key as @decode understands it, @size bytes: decoded at first use, then kept
 * until the key changes. Borrowed until the next apply. NULL when there is no such key, or it
 * does not decode. *ret_revision is the key's in any case, 0 when there is none. One key is
 * always asked for with the same @decode.
 */
typedef int (*mrd_decode_fn)(struct mrd_buf *in, void *ret);
const void *mrd_store_decoded(const struct mrd_store *s, const char *key, mrd_decode_fn decode,
                              size_t size, uint64_t *ret_revision);

/**
 * Room for what is worked out from the state: @size bytes, the same for every caller and at
 * most MRD_STORE_MEMO; zeroed at first and whenever the store has changed, and otherwise as
 * they were left. Renewals and events make nearly all changes, so there is another room for
 * what depends on neither.
 */
enum mrd_memo {
    MRD_MEMO_ALL,
    MRD_MEMO_SELDOM, /* not zeroed by changes of keys under "session/" and "event/" */
};
void *mrd_store_memo(const struct mrd_store *s, enum mrd_memo which, size_t size);

/** Call @fn for each key with @prefix, in key order, until it returns non-zero; returns that.
 */
int mrd_store_scan(const struct mrd_store *s, const char *prefix,
                   int (*fn)(void *ctx, const struct mrd_entry *e), void *ctx);

/**
 * Called after each successful apply or restore, once per changed key (value NULL: deleted).
 * It must not change the store.
 */
typedef void (*mrd_watch_fn)(void *ctx, const struct mrd_entry *e);
void mrd_store_watch(struct mrd_store *s, mrd_watch_fn fn, void *ctx); /* one watcher */

/** Encode a transaction; 0 or MRD_ETOOBIG. */
int mrd_txn_encode(const struct mrd_txn *txn, struct mrd_buf *out);
/** Decode; values are borrowed from the input. 0, MRD_EFORMAT or MRD_EVERSION. */
int mrd_txn_decode(struct mrd_buf *in, struct mrd_txn *ret);

/**
 * The whole state for a Raft snapshot: size, write, and restore. Restoring replaces everything
 * or, on MRD_EFORMAT, MRD_EVERSION or MRD_ENOMEM, nothing; the watcher hears of every key that
 * differs, so whoever follows the store by watching needs no second way.
 */
size_t mrd_store_dump_size(const struct mrd_store *s);
int mrd_store_dump(const struct mrd_store *s, struct mrd_buf *out);
int mrd_store_restore(struct mrd_store *s, struct mrd_buf *in);
