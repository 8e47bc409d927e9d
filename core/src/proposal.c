/*
 * Proposals written as records (view.h, mrd/control.h).
 *
 * A proposal that outgrows its storage is remembered as overflown and never wanted: half of a
 * decision must not be committed. Steps that may touch many partitions therefore ask
 * mrdi_room() before each, and leave the rest to the next step.
 */
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RECORD_BYTES 4096 /* no record that a batch puts is longer */

void mrdi_begin(struct mrd_proposal *p)
{
    p->wanted = false;
    p->overflow = false;
    p->txn.compare_count = p->txn.put_count = 0;
    p->used = 0;
    p->what[0] = '\0';
    p->event_count = 0;
}

bool mrdi_room(const struct mrd_proposal *p, size_t puts)
{
    return p->txn.put_count + puts <= MRD_TXN_OPS_MAX &&
           p->txn.compare_count + puts <= MRD_TXN_OPS_MAX &&
           p->used + puts * RECORD_BYTES <= sizeof(p->bytes);
}

void mrdi_compare(struct mrd_proposal *p, uint64_t revision, const char *fmt, ...)
{
    char key[MRD_KEY_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(key, sizeof(key), fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < p->txn.compare_count; i++) {
        if (strcmp(p->txn.compares[i].key, key) == 0) {
            return;
        }
    }
    if (p->txn.compare_count == MRD_TXN_OPS_MAX) {
        p->overflow = true;
        return;
    }
    memcpy(p->txn.compares[p->txn.compare_count].key, key, sizeof(key));
    p->txn.compares[p->txn.compare_count].revision = revision;
    p->txn.compare_count++;
}

static struct mrd_buf value_begin(struct mrd_proposal *p)
{
    return mrd_buf_writer(p->bytes + p->used, sizeof(p->bytes) - p->used);
}

static void value_end(struct mrd_proposal *p, const char *key, const struct mrd_buf *b, int rc)
{
    struct mrd_put *put = &p->txn.puts[p->txn.put_count];

    if (rc != 0 || b->failed || p->txn.put_count == MRD_TXN_OPS_MAX) {
        p->overflow = true;
        return;
    }
    snprintf(put->key, sizeof(put->key), "%s", key);
    put->value = b->data;
    put->len = b->pos;
    p->used += b->pos;
    p->txn.put_count++;
}

void mrdi_put_bytes(struct mrd_proposal *p, const char *key, const void *data, size_t len)
{
    struct mrd_buf b = value_begin(p);

    mrd_buf_put_bytes(&b, data, len);
    value_end(p, key, &b, 0);
}

void mrdi_delete(struct mrd_proposal *p, const char *key)
{
    if (p->txn.put_count == MRD_TXN_OPS_MAX) {
        p->overflow = true;
        return;
    }
    snprintf(p->txn.puts[p->txn.put_count].key, MRD_KEY_MAX, "%s", key);
    p->txn.puts[p->txn.put_count].value = NULL;
    p->txn.puts[p->txn.put_count].len = 0;
    p->txn.put_count++;
}

void mrdi_put_session(struct mrd_proposal *p, const char *region,
                      const struct mrd_session_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "session/%s", region);
    value_end(p, key, &b, mrd_session_record_encode(r, &b));
}

void mrdi_put_anew(struct mrd_proposal *p, const char *region, const struct mrd_anew_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "anew/%s", region);
    value_end(p, key, &b, mrd_anew_record_encode(r, &b));
}

void mrdi_put_failover(struct mrd_proposal *p, const struct mrd_failover_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "failover/%s", r->region);
    value_end(p, key, &b, mrd_failover_record_encode(r, &b));
}

void mrdi_put_fence(struct mrd_proposal *p, const char *region, const char *by,
                    const struct mrd_fence_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "fence/%s/%s", region, by);
    value_end(p, key, &b, mrd_fence_record_encode(r, &b));
}

void mrdi_put_approval(struct mrd_proposal *p, const struct mrd_approval_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "approval/%s", r->region);
    value_end(p, key, &b, mrd_approval_record_encode(r, &b));
}

void mrdi_put_dial(struct mrd_proposal *p, const char *region, const struct mrd_dial_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "dial/%s", region);
    value_end(p, key, &b, mrd_dial_record_encode(r, &b));
}

void mrdi_put_authority(struct mrd_proposal *p, const struct mrdi_partition *at,
                        const struct mrd_authority_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "authority/%s/%s", at->class->name, at->name);
    value_end(p, key, &b, mrd_authority_record_encode(r, &b));
}

void mrdi_put_move(struct mrd_proposal *p, const struct mrdi_partition *at,
                   const struct mrd_move_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "move/%s/%s", at->class->name, at->name);
    value_end(p, key, &b, mrd_move_record_encode(r, &b));
}

void mrdi_put_receipt(struct mrd_proposal *p, const struct mrd_receipt_record *r)
{
    char key[MRD_KEY_MAX];
    struct mrd_buf b = value_begin(p);

    snprintf(key, sizeof(key), "receipt/%016llx", (unsigned long long)r->id);
    value_end(p, key, &b, mrd_receipt_record_encode(r, &b));
}

void mrd_proposal_event(struct mrd_proposal *p, const struct mrd_store *store,
                        mrd_wall_ms wall_ms, const char *fmt, ...)
{
    char text[512], key[MRD_KEY_MAX];
    int head = snprintf(text, sizeof(text), "at_ms=%llu ", (unsigned long long)wall_ms);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text + head, sizeof(text) - (size_t)head, fmt, ap);
    va_end(ap);
    snprintf(key, sizeof(key), "event/%016" PRIx64, mrdi_next_id(store) + p->event_count);
    /* Two deciders who start from the same revision must not write over each other's words. */
    mrdi_compare(p, 0, "%s", key);
    mrdi_put_bytes(p, key, text, strlen(text));
    if (p->event_count++ == 0) {
        snprintf(p->what, sizeof(p->what), "%.*s", (int)sizeof(p->what) - 1, text + head);
    }
}

void mrd_audit_request(const struct mrd_store *store, const char *line, mrd_wall_ms wall_ms,
                       struct mrd_proposal *ret)
{
    mrdi_begin(ret);
    mrd_proposal_event(ret, store, wall_ms, "%s", line);
    mrdi_end(ret);
}

void mrdi_end(struct mrd_proposal *p)
{
    p->wanted = !p->overflow && p->txn.put_count > 0;
}
