/*
 * The store read as records (view.h).
 */
#include "mutant.h"
#include "view.h"

#include <stdio.h>
#include <string.h>

/* "KIND/NAME" or "KIND/CLASS/PARTITION" (@b empty: the former). Names fit by their limits. */
static const char *key_of(char out[MRD_KEY_MAX], const char *kind, const char *a, const char *b)
{
    char *at = stpcpy(out, kind);

    *at++ = '/';
    at = stpcpy(at, a);
    if (b[0] != '\0') {
        *at++ = '/';
        stpcpy(at, b);
    }
    return out;
}

/* A record where the store keeps it: decoded once for as long as its key does not change. */
#define LOOK(noun)                                                                             \
    static int decode_##noun(struct mrd_buf *in, void *ret)                                    \
    {                                                                                          \
        return mrd_##noun##_record_decode(in, ret);                                            \
    }                                                                                          \
    static const struct mrd_##noun##_record *look_##noun(const struct mrd_store *s,            \
                                                         const char *key, uint64_t *revision)  \
    {                                                                                          \
        return mrd_store_decoded(s, key, decode_##noun, sizeof(struct mrd_##noun##_record),    \
                                 revision);                                                    \
    }
/* And a copy of it, which is looked for only once. */
#define FIND(noun)                                                                             \
    LOOK(noun)                                                                                 \
    static uint64_t find_##noun(const struct mrdi_view *v, struct mrdi_found *f,               \
                                const char *a, const char *b, struct mrd_##noun##_record *ret, \
                                bool *ok)                                                      \
    {                                                                                          \
        char key[MRD_KEY_MAX];                                                                 \
        if (!f->looked) {                                                                      \
            f->record = look_##noun(v->store, key_of(key, #noun, a, b), &f->revision);         \
            f->looked = true;                                                                  \
        }                                                                                      \
        *ok = f->record != NULL;                                                               \
        if (f->record != NULL) {                                                               \
            *ret = *(const struct mrd_##noun##_record *)f->record;                             \
        }                                                                                      \
        return f->revision;                                                                    \
    }
LOOK(session)
LOOK(failover)
LOOK(authority)
LOOK(dial)
LOOK(receipt)
FIND(move)
FIND(fence)
FIND(approval)
FIND(anew)
#undef FIND
#undef LOOK

static const struct mrd_session_record no_session;
static const struct mrd_failover_record no_failover;

static struct mrdi_under under(const struct mrd_config *config)
{
    return (struct mrdi_under){config, config->version, config->region_count,
                               config->class_count};
}

static bool is_under(const struct mrdi_under *u, const struct mrd_config *config)
{
    return u->config == config && u->version == config->version &&
           u->region_count == config->region_count && u->class_count == config->class_count;
}

static void settle_region(const struct mrdi_view *v, unsigned i)
{
    struct mrdi_region_view *r = &v->settled->regions[i];
    const struct mrd_dial_record *dial;
    char key[MRD_KEY_MAX];

    r->failover = look_failover(v->store, key_of(key, "failover", mrdi_name(v, i), ""),
                                &r->failover_revision);
    r->has_failover = r->failover != NULL;
    r->failover = r->has_failover ? r->failover : &no_failover;
    dial = look_dial(v->store, key_of(key, "dial", mrdi_name(v, i), ""), &r->dial_revision);
    r->dial = dial != NULL ? *dial : (struct mrd_dial_record){.percent = 100};
}

static void settle_partition(const struct mrdi_view *v, unsigned i)
{
    struct mrdi_partition *p = &v->settled->partitions[i];
    struct mrdi_authority_view *a = &v->settled->authorities[i];
    char key[MRD_KEY_MAX];

    p->index = i;
    p->class = mrd_partition_at(v->config, i, &p->name);
    a->record = look_authority(v->store, key_of(key, "authority", p->class->name, p->name),
                               &a->revision);
}

static void settle(const struct mrdi_view *v)
{
    unsigned count = mrd_partition_count(v->config);

    *v->settled = (struct mrdi_settled){.under = under(v->config)};
    for (unsigned i = 0; i < v->config->region_count; i++) {
        settle_region(v, i);
    }
    for (unsigned i = 0; i < count; i++) {
        settle_partition(v, i);
    }
}

static void know_region(const struct mrdi_view *v, unsigned i)
{
    struct mrdi_region_view *r = &v->known->regions[i];
    char key[MRD_KEY_MAX];

    *r = v->settled->regions[i];
    r->session = look_session(v->store, key_of(key, "session", mrdi_name(v, i), ""),
                              &r->session_revision);
    r->has_session = r->session != NULL;
    r->session = r->has_session ? r->session : &no_session;
}

void mrdi_view_load(struct mrdi_view *v, const struct mrd_config *config,
                    const struct mrd_store *store)
{
    struct mrdi_settled *settled = mrd_store_memo(store, MRD_MEMO_SELDOM, sizeof(*settled));
    struct mrdi_known *k = mrd_store_memo(store, MRD_MEMO_ALL, sizeof(*k));

    *v = (struct mrdi_view){config, store, k->regions, settled->authorities, settled, k};
    if (!is_under(&settled->under, config)) {
        settle(v);
    }
    if (!is_under(&k->under, config)) {
        *k = (struct mrdi_known){.under = under(config)};
        for (unsigned i = 0; i < config->region_count; i++) {
            know_region(v, i);
        }
    }
}

const char *mrdi_name(const struct mrdi_view *v, unsigned region)
{
    return v->config->regions[region].name;
}

void mrdi_names(const struct mrdi_view *v, mrd_regions set, char *out, size_t cap)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < v->config->region_count; i++) {
        if ((set >> i & 1u) != 0 && used < cap) {
            int n =
                snprintf(out + used, cap - used, "%s%s", used > 0 ? "," : "", mrdi_name(v, i));
            used += n > 0 ? (size_t)n : 0;
        }
    }
}

bool mrdi_live(const struct mrdi_view *v, unsigned region)
{
    const struct mrdi_region_view *r = &v->regions[region];

    return r->has_session && !r->session->expired;
}

bool mrdi_fencing(const struct mrdi_view *v, unsigned region)
{
    const struct mrdi_region_view *r = &v->regions[region];

    return r->has_failover && r->failover->state == MRD_FAILOVER_FENCE;
}

bool mrdi_lives_since_verdict(const struct mrdi_view *v, unsigned region)
{
    const struct mrdi_region_view *r = &v->regions[region];

    if (!mrdi_live(v, region)) {
        return false;
    }
    return !r->has_failover || r->session->session > r->failover->session ||
           (r->session->session == r->failover->session && r->session->seq > r->failover->seq);
}

uint64_t mrdi_failover_in_force(const struct mrdi_view *v, unsigned region)
{
    const struct mrdi_region_view *r = &v->regions[region];

    if (!r->has_failover) {
        return 0;
    }
    return mrdi_same(r->failover->reason, "cancelled") ? r->failover->before : r->failover->id;
}

bool mrdi_returned(const struct mrdi_view *v, unsigned region)
{
    uint64_t id = mrdi_failover_in_force(v, region);

    return mrdi_live(v, region) && (id == 0 || MRDI_MUTANT(RETURN_TOO_SOON) ||
                                    v->regions[region].session->after_failover == id);
}

bool mrdi_shut_out(const struct mrdi_view *v, unsigned region)
{
    return mrdi_failover_in_force(v, region) != 0 && !mrdi_returned(v, region);
}

const struct mrd_peer_report *mrdi_peer(const struct mrd_session_record *s, const char *region)
{
    for (unsigned i = 0; i < s->peer_count && i < MRD_REGIONS_MAX; i++) {
        if (mrdi_same(s->peers[i].region, region)) {
            return &s->peers[i];
        }
    }
    return NULL;
}

bool mrdi_drained(const struct mrdi_view *v, unsigned region)
{
    return v->regions[region].dial.drained;
}

const struct mrd_peer_report *mrdi_report(const struct mrdi_view *v, unsigned by,
                                          unsigned about)
{
    const struct mrd_session_record *s = v->regions[by].session;
    unsigned likely = about - (about > by); /* all but itself, in the configuration's order */

    if (likely < s->peer_count && mrdi_same(s->peers[likely].region, mrdi_name(v, about))) {
        return &s->peers[likely];
    }
    return mrdi_peer(s, mrdi_name(v, about));
}

uint32_t mrdi_rtt_us(const struct mrdi_view *v, unsigned a, unsigned b)
{
    const struct mrd_peer_report *r = mrdi_report(v, a, b);

    if (r == NULL || r->rtt_us == 0) {
        r = mrdi_report(v, b, a);
    }
    return r != NULL && r->rtt_us != 0 ? r->rtt_us : UINT32_MAX;
}

/* ---- partitions ---- */

static unsigned class_partitions(const struct mrd_conf_class *c)
{
    return c->posture == MRD_PARTITIONED ? c->partition_count : 1;
}

unsigned mrd_partition_count(const struct mrd_config *config)
{
    unsigned n = 0;

    for (unsigned i = 0; i < config->class_count; i++) {
        n += class_partitions(&config->classes[i]);
    }
    return n < MRD_PARTITIONS_MAX ? n : MRD_PARTITIONS_MAX;
}

const struct mrd_conf_class *mrd_partition_at(const struct mrd_config *config, unsigned i,
                                              const char **ret_name)
{
    unsigned k = 0;

    while (i >= class_partitions(&config->classes[k])) {
        i -= class_partitions(&config->classes[k]);
        k++;
        mrd_assert(k < config->class_count);
    }
    *ret_name = config->classes[k].posture == MRD_PARTITIONED ? config->classes[k].partitions[i]
                                                              : MRD_PARTITION_ALL;
    return &config->classes[k];
}

int mrd_partition_index(const struct mrd_config *config, const char *class_name,
                        const char *partition)
{
    unsigned count = mrd_partition_count(config);

    for (unsigned i = 0; i < count; i++) {
        const char *name;
        const struct mrd_conf_class *c = mrd_partition_at(config, i, &name);
        if (mrdi_same(c->name, class_name) && mrdi_same(name, partition)) {
            return (int)i;
        }
    }
    return -1;
}

mrd_region mrdi_configured_home(const struct mrdi_partition *p)
{
    if (p->class->posture != MRD_PARTITIONED) {
        return p->class->home;
    }
    for (unsigned i = 0; i < p->class->partition_count; i++) {
        if (p->name == p->class->partitions[i]) {
            return p->class->partition_home[i];
        }
    }
    return MRD_REGION_NONE;
}

uint64_t mrdi_authority(const struct mrdi_view *v, const struct mrdi_partition *p,
                        struct mrd_authority_record *ret, bool *ok)
{
    const struct mrd_authority_record *r = v->authorities[p->index].record;

    *ok = r != NULL;
    if (r != NULL) {
        *ret = *r;
    }
    return v->authorities[p->index].revision;
}

uint64_t mrdi_move(const struct mrdi_view *v, const struct mrdi_partition *p,
                   struct mrd_move_record *ret, bool *ok)
{
    return find_move(v, &v->settled->moves[p->index], p->class->name, p->name, ret, ok);
}

uint64_t mrdi_fence(const struct mrdi_view *v, unsigned lost, unsigned by,
                    struct mrd_fence_record *ret, bool *ok)
{
    return find_fence(v, &v->settled->fences[lost][by], mrdi_name(v, lost), mrdi_name(v, by),
                      ret, ok);
}

uint64_t mrdi_approval(const struct mrdi_view *v, unsigned region,
                       struct mrd_approval_record *ret, bool *ok)
{
    return find_approval(v, &v->settled->approvals[region], mrdi_name(v, region), "", ret, ok);
}

uint64_t mrdi_anew(const struct mrdi_view *v, unsigned region, struct mrd_anew_record *ret,
                   bool *ok)
{
    return find_anew(v, &v->settled->anews[region], mrdi_name(v, region), "", ret, ok);
}

/* "receipt/%016llx", which is asked for too often for printf. */
static const char *key_of_receipt(char out[MRD_KEY_MAX], uint64_t id)
{
    char *at = stpcpy(out, "receipt/");

    for (unsigned shift = 64; shift > 0;) {
        shift -= 4;
        *at++ = "0123456789abcdef"[id >> shift & 15u];
    }
    *at = '\0';
    return out;
}

static const struct mrdi_found *find_receipt(const struct mrdi_view *v, uint64_t id)
{
    /* An id is a revision and, in its low bits, a partition. */
    struct mrdi_found *f = &v->settled->receipts[(id ^ id >> 8) % MRDI_RECEIPTS];
    char key[MRD_KEY_MAX];

    if (!f->looked || f->id != id) {
        f->record = look_receipt(v->store, key_of_receipt(key, id), &f->revision);
        f->id = id;
        f->looked = true;
    }
    return f;
}

uint64_t mrdi_receipt(const struct mrdi_view *v, uint64_t id, struct mrd_receipt_record *ret,
                      bool *ok)
{
    const struct mrdi_found *f = find_receipt(v, id);

    *ok = f->record != NULL;
    if (f->record != NULL) {
        *ret = *(const struct mrd_receipt_record *)f->record;
    }
    return f->revision;
}

const struct mrd_receipt_record *mrdi_receipt_at(const struct mrdi_view *v, uint64_t id)
{
    return find_receipt(v, id)->record;
}

bool mrdi_unopened(const struct mrdi_view *v, const struct mrd_authority_record *a)
{
    const struct mrd_receipt_record *r;

    if (a->history_count == 0) {
        return false;
    }
    r = mrdi_receipt_at(v, a->history[a->history_count - 1].receipt);
    return r != NULL && r->epoch == a->epoch && r->opened_ms == 0;
}

bool mrdi_held(const struct mrd_authority_record *a)
{
    return a->held && !MRDI_MUTANT(OPEN_HELD);
}

bool mrdi_move_active(const struct mrd_move_record *m)
{
    return m->state == MRD_MOVE_WAIT || m->state == MRD_MOVE_FREEZE ||
           m->state == MRD_MOVE_FROZEN;
}

uint64_t mrdi_next_id(const struct mrd_store *s)
{
    return (mrd_store_revision(s) + 1) << 8;
}
