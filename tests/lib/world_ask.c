/*
 * What operators ask of the small world, and what a test asks about it.
 */
#include "world_parts.h"

#include <stdlib.h>
#include <string.h>

static unsigned first_up(const struct world *w)
{
    unsigned i = 0;

    while (!w->regions[i].up) {
        i++;
    }
    return i;
}

int world_drain(struct world *w, const char *region, bool drained, struct mrd_err *err)
{
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    unsigned asked = first_up(w);
    int rc = mrd_drain_request(w->config, mrd_memory_store(w->memory, asked), region, drained,
                               "anna", w->now_ms, p, err);

    if (rc == 0) {
        (void)mrd_memory_propose(w->memory, asked, &p->txn, w->now_ms * MS);
    }
    free(p);
    return rc;
}

int world_move(struct world *w, const char *class_name, const char *to, struct mrd_err *err)
{
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    unsigned asked = first_up(w);
    int rc;

    rc = mrd_move_request(w->config, mrd_memory_store(w->memory, asked), class_name, NULL, to,
                          "anna", w->now_ms, p, err);
    if (rc == 0) {
        (void)mrd_memory_propose(w->memory, asked, &p->txn, w->now_ms * MS);
    }
    free(p);
    return rc;
}

static int first_open(void *ctx, const struct mrd_entry *e)
{
    struct mrd_approval_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_approval_record_decode(&b, &r) == 0 && r.state != MRD_APPROVAL_OVER) {
        *(uint64_t *)ctx = r.id;
        return 1;
    }
    return 0;
}

int world_approve(struct world *w, const char *region, bool yes, const char *who,
                  struct mrd_err *err)
{
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    unsigned asked = world_region(w, region);
    struct mrd_store *store = mrd_memory_store(w->memory, asked);
    uint64_t id = 0;
    int rc;

    (void)mrd_store_scan(store, "approval/", first_open, &id);
    rc = mrd_approval_request(w->config, store, id, yes, who, w->now_ms, p, err);
    if (rc == 0) {
        (void)mrd_memory_propose(w->memory, asked, &p->txn, w->now_ms * MS);
    }
    free(p);
    return rc;
}

const char *world_home(struct world *w, const char *region, const char *class_name)
{
    struct mrd_snapshot *s = w->regions[world_region(w, region)].snapshot;
    int p = mrd_snapshot_find(s, class_name, NULL);
    const struct mrd_authority *a = &s->partitions[p].authority;

    return a->state == MRD_AUTH_VACANT ? "" : s->regions[a->region].name;
}

bool world_writable(struct world *w, const char *region, const char *class_name)
{
    unsigned i = world_region(w, region);
    struct mrd_snapshot *s = w->regions[i].snapshot;

    return w->regions[i].up &&
           mrd_guard(s, mrd_snapshot_find(s, class_name, NULL), world_clock_ns(w, i)).allow;
}

struct newest {
    const char *class_name;
    bool found;
    struct mrd_receipt_record *ret;
};

static int newest_receipt(void *ctx, const struct mrd_entry *e)
{
    struct newest *n = ctx;
    struct mrd_receipt_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_receipt_record_decode(&b, &r) == 0 && strcmp(r.class_name, n->class_name) == 0) {
        *n->ret = r;
        n->found = true;
    }
    return 0;
}

bool world_receipt(struct world *w, const char *region, const char *class_name,
                   struct mrd_receipt_record *ret)
{
    struct newest n = {class_name, false, ret};

    (void)mrd_store_scan(mrd_memory_store(w->memory, world_region(w, region)), "receipt/",
                         newest_receipt, &n);
    return n.found;
}

static int open_receipt(void *ctx, const struct mrd_entry *e)
{
    struct mrd_receipt_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    *(unsigned *)ctx += mrd_receipt_record_decode(&b, &r) == 0 &&
                        strcmp(r.kind, "failover") == 0 && r.returned_ms == 0;
    return 0;
}

unsigned world_open_receipts(struct world *w, const char *region)
{
    unsigned open = 0;

    (void)mrd_store_scan(mrd_memory_store(w->memory, world_region(w, region)), "receipt/",
                         open_receipt, &open);
    return open;
}
