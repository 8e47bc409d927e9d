/*
 * The desk (desk.h).
 */
#include "desk.h"

const char *const desk_names[] = {"us", "eu", "ap", "r3", "r4"};

static void on_change(void *ctx, const struct mrd_entry *e)
{
    struct desk *d = ctx;

    mrd_coordinator_observe(&d->coordinator, &d->config, e, d->now_ms * 1000000);
    if (strncmp(e->key, "event/", 6) == 0 && e->value != NULL) {
        const char *text = memchr(e->value, ' ', e->len);
        size_t head = (size_t)(text + 7 - (const char *)e->value); /* " event=" */
        d->said_len +=
            (size_t)snprintf(d->said + d->said_len, sizeof(d->said) - d->said_len, "%.*s\n",
                             (int)(e->len - head), (const char *)e->value + head);
    }
}

static void add_class(struct mrd_config *c, const char *name, enum mrd_durability durability)
{
    struct mrd_conf_class *k = &c->classes[c->class_count++];

    snprintf(k->name, sizeof(k->name), "%s", name);
    k->posture = MRD_READ_LOCAL;
    k->durability = durability;
    k->home = US;
    k->replicas = k->allowed = (mrd_regions)((1u << c->region_count) - 1);
}

void desk_put(struct desk *d, const char *key, const uint8_t *value, size_t len)
{
    static struct mrd_txn txn;

    txn.compare_count = 0;
    txn.put_count = 1;
    snprintf(txn.puts[0].key, MRD_KEY_MAX, "%s", key);
    txn.puts[0].value = value;
    txn.puts[0].len = len;
    assert_int_equal(mrd_store_apply(d->store, &txn, NULL), 0);
}

void desk_renew(struct desk *d, unsigned i)
{
    char key[MRD_KEY_MAX];

    d->sessions[i].seq++;
    d->sessions[i].wall_ms = d->now_ms;
    snprintf(key, sizeof(key), "session/%s", desk_names[i]);
    PUT(d, key, mrd_session_record_encode, &d->sessions[i]);
}

struct mrd_peer_report *desk_report(struct desk *d, unsigned by, unsigned about)
{
    return &d->sessions[by].peers[about];
}

void desk_put_authority(struct desk *d, const char *class_name,
                        const struct mrd_authority_record *a)
{
    char key[MRD_KEY_MAX];

    snprintf(key, sizeof(key), "authority/%s/all", class_name);
    PUT(d, key, mrd_authority_record_encode, a);
}

void desk_get_authority(struct desk *d, const char *class_name,
                        struct mrd_authority_record *ret)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    struct mrd_buf b;

    snprintf(key, sizeof(key), "authority/%s/all", class_name);
    assert_int_equal(mrd_store_get(d->store, key, &e), 0);
    b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_authority_record_decode(&b, ret), 0);
}

struct desk *desk_new(unsigned regions)
{
    static const char *const classes[] = {"orders", "events"};
    struct desk *d = calloc(1, sizeof(*d));
    struct mrd_config *c = &d->config;

    c->region_count = (uint8_t)regions;
    for (unsigned i = 0; i < regions; i++) {
        snprintf(c->regions[i].name, MRD_NAME_MAX, "%s", desk_names[i]);
    }
    add_class(c, classes[0], MRD_QUORUM);
    add_class(c, classes[1], MRD_ASYNC);
    c->lease_ms = 4000;
    c->lease_margin_ms = 500;
    c->renew_ms = 500;
    c->probe_interval_ms = 500;
    c->probe_threshold = 3;
    d->now_ms = 100000;
    d->store = mrd_store_new();
    mrd_store_watch(d->store, on_change, d);
    for (unsigned i = 0; i < regions; i++) {
        d->sessions[i] = (struct mrd_session_record){
            .session = 1, .ready = 7, .wal_lsn = 0x100, .peer_count = (uint8_t)regions};
        for (unsigned j = 0; j < regions; j++) {
            snprintf(desk_report(d, i, j)->region, MRD_NAME_MAX, "%s", desk_names[j]);
            desk_report(d, i, j)->reachable = 7;
            desk_report(d, i, j)->applied_lsn = 0x100;
        }
        desk_renew(d, i);
    }
    for (unsigned k = 0; k < c->class_count; k++) {
        desk_put_authority(
            d, classes[k],
            &(struct mrd_authority_record){.region = "us", .epoch = 1, .state = MRD_AUTH_OPEN});
    }
    mrd_coordinator_lead(&d->coordinator, true, 1);
    return d;
}

void desk_free(struct desk *d)
{
    mrd_store_free(d->store);
    free(d);
}

void desk_step(struct desk *d)
{
    mrd_coordinator_step(&d->coordinator, &d->config, d->store, d->now_ms * 1000000, d->now_ms,
                         &d->proposal);
    if (d->proposal.wanted) {
        assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    }
}

void desk_pass(struct desk *d, uint64_t ms, unsigned alive)
{
    for (uint64_t t = 0; t < ms; t += 100) {
        d->now_ms += 100;
        for (unsigned i = 0; t % 500 == 0 && i < d->config.region_count; i++) {
            if ((alive >> i & 1) != 0) {
                desk_renew(d, i);
            }
        }
        desk_step(d);
    }
}

void desk_until(struct desk *d, const char *event, uint64_t most_ms, unsigned alive)
{
    for (uint64_t t = 0; strstr(d->said, event) == NULL; t += 100) {
        assert_true(t < most_ms);
        desk_pass(d, 100, alive);
    }
}

void desk_lose(struct desk *d, unsigned t, unsigned by)
{
    for (unsigned i = 0; i < d->config.region_count; i++) {
        if ((by >> i & 1) != 0) {
            desk_report(d, i, t)->reachable = 0;
        }
    }
}

struct mrd_failover_record desk_failover(struct desk *d, unsigned t)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    struct mrd_buf b;
    struct mrd_failover_record f;

    snprintf(key, sizeof(key), "failover/%s", desk_names[t]);
    assert_int_equal(mrd_store_get(d->store, key, &e), 0);
    b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_failover_record_decode(&b, &f), 0);
    return f;
}

void desk_refuse(struct desk *d, unsigned by, unsigned t, mrd_lsn lsn)
{
    struct mrd_failover_record f = desk_failover(d, t);
    char key[MRD_KEY_MAX];

    desk_report(d, by, t)->applied_lsn = lsn;
    snprintf(key, sizeof(key), "fence/%s/%s", desk_names[t], desk_names[by]);
    PUT(d, key, mrd_fence_record_encode,
        (&(struct mrd_fence_record){.failover_id = f.id, .applied_lsn = lsn}));
}

void desk_expect(struct desk *d, const char *said)
{
    if (strcmp(d->said, said) != 0) {
        fprintf(stderr, "--- said:\n%s--- expected:\n%s", d->said, said);
        abort();
    }
    d->said_len = 0;
    d->said[0] = '\0';
}

bool desk_opens(struct desk *d, struct mrd_region_state *us, struct mrd_local *local,
                unsigned after_ms, bool settled)
{
    mrd_boot_ns knew_ns = d->now_ms * 1000000;

    local->canary_ns = knew_ns - 1;
    local->canary_settled = true;
    mrd_region_step(us, &d->config, d->store, local, knew_ns, 0, &d->proposal);
    if (us->opening != 0) {
        return true;
    }
    local->canary_ns = knew_ns + after_ms * 1000000;
    local->canary_settled = settled;
    mrd_region_step(us, &d->config, d->store, local, knew_ns + 20000000, 0, &d->proposal);
    return d->proposal.wanted && us->opening != 0;
}

void desk_after_failover(struct desk *d, const char *class_name, bool opened)
{
    struct mrd_authority_record a = {.region = "eu", .epoch = 2, .state = MRD_AUTH_OPEN};
    struct mrd_receipt_record r = {.id = 0x300, .kind = "failover", .epoch = 2};
    struct mrd_failover_record f = {0x300,         0, "us", 1, 1, MRD_FAILOVER_DONE, 6,
                                    "unreachable", 1, 2};

    a.history_count = 1;
    a.history[0] = (struct mrd_closed_record){1, "us", 0x200, 1, 1, "failover", 0x300, 0, 1};
    r.opened_ms = opened ? 5 : 0;
    desk_put_authority(d, class_name, &a);
    PUT(d, "receipt/0000000000000300", mrd_receipt_record_encode, &r);
    PUT(d, "failover/us", mrd_failover_record_encode, &f);
    d->sessions[US].expired = true;
    d->sessions[US].expired_ms = 3;
    desk_renew(d, US);
    for (unsigned i = 1; i < d->config.region_count; i++) {
        desk_report(d, i, US)->applied_lsn = 0x200;
        desk_renew(d, i);
    }
}

void desk_put_taken(struct desk *d, const char *class_name, mrd_epoch epoch, mrd_lsn lsn)
{
    struct mrd_receipt_record r = {.id = 0x300,
                                   .kind = "failover",
                                   .partition = "all",
                                   .from = "us",
                                   .to = "eu",
                                   .epoch = 2,
                                   .opened_ms = 5,
                                   .first_write_ms = 6,
                                   .returned_ms = 7,
                                   .taken_epoch = epoch,
                                   .taken_lsn = lsn};

    snprintf(r.class_name, MRD_NAME_MAX, "%s", class_name);
    PUT(d, "receipt/0000000000000300", mrd_receipt_record_encode, &r);
}

void desk_us_is_back(struct desk *d)
{
    d->sessions[US].expired = false;
    d->sessions[US].session++;
    d->sessions[US].after_failover = 0x300;
    d->sessions[US].opened_lsn = 0x280;
    desk_renew(d, US);
}
