/*
 * The decision loop (mrd/node.h): in which order a round acts, what a proposal's answer leads
 * to, and what a new process does before it decides anything.
 */
#include "unit.h"

#include <mrd/node.h>

#define MS 1000000ull

struct at {
    struct mrd_config config;
    struct mrd_store *store;
    struct mrd_node node;
    struct mrd_node_now now;
    struct mrd_buf sent; /* the last proposal, as it goes into the log */
    uint8_t bytes[MRD_TXN_MAX];
};

static void on_change(void *ctx, const struct mrd_entry *e)
{
    struct at *t = ctx;

    mrd_node_observe(&t->node, e, t->now.boot_ns);
}

/* Region "us" of us and eu; its store led by @leader. */
static struct at *begin(mrd_region leader)
{
    struct at *t = calloc(1, sizeof(*t));
    struct mrd_conf_class *k = &t->config.classes[t->config.class_count++];
    struct mrd_session_record *r = &t->node.local.report;

    t->config.region_count = 2;
    snprintf(t->config.regions[0].name, MRD_NAME_MAX, "us");
    snprintf(t->config.regions[1].name, MRD_NAME_MAX, "eu");
    snprintf(k->name, sizeof(k->name), "orders");
    k->posture = MRD_ACTIVE_PASSIVE;
    k->replicas = k->allowed = 3;
    t->config.lease_ms = 4000;
    t->config.lease_margin_ms = 500;
    t->config.renew_ms = 500;
    t->config.probe_interval_ms = 500;
    t->config.probe_threshold = 3;
    t->store = mrd_store_new();
    mrd_store_watch(t->store, on_change, t);
    mrd_node_init(&t->node, &t->config, t->store, 0);
    memset(t->node.coordinator.seed, 7, sizeof(t->node.coordinator.seed));
    r->peer_count = 1;
    snprintf(r->peers[0].region, MRD_NAME_MAX, "eu");
    r->peers[0].reachable = MRD_SEES_AGENT;
    t->now = (struct mrd_node_now){
        .boot_ns = 1000 * MS, .wall_ms = 1000, .leader = leader, .leads = leader == 0};
    if (leader == 0) {
        mrd_node_lead(&t->node, true, t->now.boot_ns);
    }
    return t;
}

static void end(struct at *t)
{
    mrd_store_free(t->store);
    free(t);
}

/*
 * One round. Appends what it did to @told, as letters: P publish, D duties, B barrier, R
 * region, U duty, C coordinator, H hand-over, ! complaint. Keeps the last proposal's flight.
 */
static uint64_t run(struct at *t, char told[16])
{
    static const char roles[] = "BRUC";
    struct mrd_node_act act;
    uint64_t flight = 0;
    size_t n = 0;

    mrd_node_begin(&t->node, &t->now);
    while (mrd_node_next(&t->node, &act)) {
        assert_true(n < 15);
        switch (act.kind) {
        case MRD_DO_NOTHING:
            fail();
            break;
        case MRD_DO_COMPLAIN:
            told[n++] = '!';
            break;
        case MRD_DO_PUBLISH:
            told[n++] = 'P';
            mrd_node_published(&t->node, t->now.boot_ns);
            break;
        case MRD_DO_DUTIES:
            told[n++] = 'D';
            break;
        case MRD_DO_PROPOSE:
            told[n++] = roles[act.role];
            assert_int_equal(act.to, t->now.leader);
            flight = act.flight;
            t->sent = mrd_buf_writer(t->bytes, sizeof(t->bytes));
            assert_int_equal(mrd_txn_encode(&t->node.proposal.txn, &t->sent), 0);
            break;
        case MRD_DO_HAND_OVER:
            told[n++] = 'H';
            break;
        }
    }
    told[n] = '\0';
    return flight;
}

static void pass(struct at *t, uint64_t ms)
{
    t->now.boot_ns += ms * MS;
    t->now.wall_ms += ms;
}

/* The store accepts what was proposed last, and our copy has it at once. */
static void commit(struct at *t, enum mrd_flight_role role, uint64_t flight)
{
    struct mrd_txn *txn = calloc(1, sizeof(*txn));
    struct mrd_buf in = mrd_buf_reader(t->bytes, t->sent.pos);
    uint64_t revision = 0;
    int rc;

    assert_int_equal(mrd_txn_decode(&in, txn), 0);
    rc = mrd_store_apply(t->store, txn, &revision);
    free(txn);
    mrd_node_answer(&t->node, role, flight, rc, revision, t->now.boot_ns);
}

static void catch_up(struct at *t)
{
    char told[16];
    uint64_t flight = run(t, told);

    assert_string_equal(told, "PB");
    mrd_node_answer(&t->node, MRD_FLIGHT_BARRIER, flight, 0, 0, t->now.boot_ns);
    assert_true(t->node.caught_up);
}

static void nothing_is_decided_before_the_store_has_caught_up(void **state)
{
    struct at *t = begin(0);
    char told[16];
    uint64_t flight;

    (void)state;
    t->now.leader = MRD_REGION_NONE;
    t->now.leads = false;
    (void)run(t, told);
    assert_string_equal(told, "P");
    t->now.leader = 0;
    t->now.leads = true;
    pass(t, 50);
    flight = run(t, told);
    assert_string_equal(told, "B");
    assert_int_equal(t->node.proposal.txn.put_count, 0);
    /* Committed somewhere ahead of our copy: that is what it was for, however long it takes. */
    mrd_node_answer(&t->node, MRD_FLIGHT_BARRIER, flight, 0, 1, t->now.boot_ns);
    pass(t, 10000);
    (void)run(t, told);
    assert_string_equal(told, "P");
    assert_false(t->node.caught_up);
    end(t);
}

static void a_round_publishes_before_it_proposes(void **state)
{
    struct at *t = begin(0);
    char told[16];
    uint64_t flight;

    (void)state;
    catch_up(t);
    t->node.local.canary_ok = true;
    t->node.local.canary_ns = t->now.boot_ns;
    flight = run(t, told);
    assert_string_equal(told, "PDCR");
    /* The region's came last: it opens a session, and uses no canary up. */
    assert_true(t->node.local.canary_ok);
    commit(t, MRD_FLIGHT_REGION, flight);
    assert_int_equal(t->node.region.session, 1);
    pass(t, 10);
    flight = run(t, told);
    assert_string_equal(told, "PDR"); /* the coordinator's is still on its way */
    assert_false(t->node.local.canary_ok);
    commit(t, MRD_FLIGHT_REGION, flight);
    assert_int_equal(t->node.region.deadline_ns, t->now.boot_ns + 4000 * MS);
    end(t);
}

static void a_lost_answer_is_given_up_and_a_late_one_ignored(void **state)
{
    struct at *t = begin(1);
    char told[16];
    uint64_t first;

    (void)state;
    first = run(t, told);
    assert_string_equal(told, "PB");
    pass(t, MRD_NODE_FLIGHT_MS);
    (void)run(t, told);
    assert_string_equal(told, "!P");
    mrd_node_answer(&t->node, MRD_FLIGHT_BARRIER, first, 0, 0, t->now.boot_ns);
    assert_false(t->node.caught_up);
    pass(t, 100);
    (void)run(t, told);
    assert_string_equal(told, "PB");
    end(t);
}

static void a_new_leader_ends_what_went_to_the_old_one(void **state)
{
    struct at *t = begin(1);
    char told[16];

    (void)state;
    (void)run(t, told);
    t->now.leader = MRD_REGION_NONE; /* nobody leads: it may still come back */
    pass(t, 50);
    (void)run(t, told);
    assert_string_equal(told, "");
    t->now.leader = 0;
    pass(t, 10);
    (void)run(t, told);
    assert_string_equal(told, "!");
    end(t);
}

static void a_full_disk_renews_nothing_and_leads_nothing(void **state)
{
    struct at *t = begin(0);
    char told[16];
    uint64_t flight;

    (void)state;
    catch_up(t);
    flight = run(t, told);
    assert_string_equal(told, "PDC");
    commit(t, MRD_FLIGHT_COORDINATOR, flight);
    t->node.local.canary_ok = true;
    t->node.local.canary_ns = t->now.boot_ns;
    t->now.store_full = true;
    pass(t, 6000);
    (void)run(t, told);
    assert_string_equal(told, "PDH");
    end(t);
}

static void put(struct at *t, const char *key, const struct mrd_buf *value)
{
    struct mrd_txn *txn = calloc(1, sizeof(*txn));

    txn->put_count = 1;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "%s", key);
    txn->puts[0].value = value->data;
    txn->puts[0].len = value->pos;
    assert_int_equal(mrd_store_apply(t->store, txn, NULL), 0);
    free(txn);
}

static void put_failover(struct at *t, const char *region, enum mrd_failover_state state)
{
    struct mrd_failover_record f = {.id = 0x300, .session = 1, .state = (uint8_t)state};
    uint8_t bytes[1024];
    struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));
    char key[MRD_KEY_MAX];

    snprintf(f.region, MRD_NAME_MAX, "%s", region);
    snprintf(f.reason, sizeof(f.reason), "unreachable");
    snprintf(key, sizeof(key), "failover/%s", region);
    assert_int_equal(mrd_failover_record_encode(&f, &b), 0);
    put(t, key, &b);
}

static void canary(struct at *t)
{
    pass(t, 10);
    t->node.local.canary_ok = true;
    t->node.local.canary_ns = t->now.boot_ns;
}

/* us, led by eu, has a session, and its first renewal is on its way; @ret_sent holds it. */
static uint64_t renewal_in_flight(struct at *t, uint8_t *ret_sent, size_t *ret_len)
{
    char told[16];
    uint64_t flight;

    catch_up(t);
    canary(t);
    flight = run(t, told);
    commit(t, MRD_FLIGHT_REGION, flight);
    assert_int_equal(t->node.region.session, 1);
    canary(t);
    flight = run(t, told);
    assert_non_null(strchr(told, 'R'));
    assert_int_equal(t->node.region.pending_seq, 1);
    memcpy(ret_sent, t->bytes, t->sent.pos);
    *ret_len = t->sent.pos;
    return flight;
}

static void stored_session(struct at *t, struct mrd_session_record *ret)
{
    struct mrd_entry e;
    struct mrd_buf in;

    assert_int_equal(mrd_store_get(t->store, "session/us", &e), 0);
    in = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_session_record_decode(&in, ret), 0);
}

static void a_duty_that_lost_its_race_leaves_the_renewal_on_its_way(void **state)
{
    static uint8_t sent[MRD_TXN_MAX];
    struct at *t = begin(1);
    char told[16];
    size_t len;
    uint64_t renewal = renewal_in_flight(t, sent, &len), duty;
    mrd_boot_ns sent_ns = t->now.boot_ns;

    (void)state;
    put_failover(t, "eu", MRD_FAILOVER_FENCE);
    (void)run(t, told);
    mrd_node_refused(&t->node, 1, true, t->now.boot_ns + 1);
    pass(t, 10);
    duty = run(t, told);
    assert_non_null(strchr(told, 'U'));
    mrd_node_answer(&t->node, MRD_FLIGHT_DUTY, duty, MRD_ECONFLICT, 0, t->now.boot_ns);
    memcpy(t->bytes, sent, len);
    t->sent.pos = len;
    commit(t, MRD_FLIGHT_REGION, renewal);
    assert_int_equal(t->node.region.deadline_ns, sent_ns + 4000 * MS);
    end(t);
}

/* Until the database has said what it lacks, a session that is open already claims nothing. */
static void a_session_is_not_whole_before_the_database_says_so(void **state)
{
    static uint8_t sent[MRD_TXN_MAX];
    struct at *t = begin(1);
    struct mrd_session_record s;
    size_t len;
    uint64_t renewal = renewal_in_flight(t, sent, &len);

    (void)state;
    commit(t, MRD_FLIGHT_REGION, renewal);
    stored_session(t, &s);
    assert_int_equal(s.seq, 1);
    assert_true(mrd_lacks(&s, 0));
    mrd_set_lacks(&t->node.local.report, 0, false);
    canary(t);
    pass(t, 500);
    commit(t, MRD_FLIGHT_REGION, run(t, (char[16]){0}));
    stored_session(t, &s);
    assert_int_equal(s.seq, 2);
    assert_false(mrd_lacks(&s, 0));
    end(t);
}

static void a_renewal_that_failed_leaves_the_opening_on_its_way(void **state)
{
    static uint8_t sent[MRD_TXN_MAX];
    struct at *t = begin(1);
    char told[16];
    size_t len;
    uint64_t renewal = renewal_in_flight(t, sent, &len), opening;

    (void)state;
    put_failover(t, "us", MRD_FAILOVER_DONE); /* lived through: a new session says so */
    (void)run(t, told);
    pass(t, 10);
    canary(t); /* and counts on a canary that was sent when that was known */
    t->node.local.canary_settled = true;
    opening = run(t, told);
    assert_non_null(strchr(told, 'U'));
    assert_int_equal(t->node.region.opening, 2);
    mrd_node_answer(&t->node, MRD_FLIGHT_REGION, renewal, MRD_EUNAVAILABLE, 0, t->now.boot_ns);
    commit(t, MRD_FLIGHT_DUTY, opening);
    assert_int_equal(t->node.region.session, 2);
    end(t);
}

/* eu renews: it is live, and homes nothing. */
static void eu_renews(struct at *t)
{
    static uint64_t seq;
    struct mrd_txn *txn = calloc(1, sizeof(*txn));
    struct mrd_session_record r = {.session = 1, .seq = ++seq};
    uint8_t bytes[1024];
    struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));

    assert_int_equal(mrd_session_record_encode(&r, &b), 0);
    txn->put_count = 1;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "session/eu");
    txn->puts[0].value = bytes;
    txn->puts[0].len = b.pos;
    assert_int_equal(mrd_store_apply(t->store, txn, NULL), 0);
    free(txn);
}

static bool hands_over(struct at *t, uint64_t after_ms)
{
    char told[16];

    pass(t, after_ms);
    eu_renews(t);
    (void)run(t, told);
    return strchr(told, 'H') != NULL;
}

/* us homes everything, so eu should lead, but not two leaders in half a minute. */
static void the_lead_changes_at_most_every_half_minute(void **state)
{
    struct at *t = begin(0);
    char told[16];
    uint64_t flight;

    (void)state;
    catch_up(t);
    flight = run(t, told);
    assert_string_equal(told, "PDC");
    commit(t, MRD_FLIGHT_COORDINATOR, flight);
    assert_false(hands_over(t, 4000));
    assert_true(hands_over(t, 2000)); /* the first one need not wait */
    t->now.leader = 1;
    t->now.leads = false;
    mrd_node_lead(&t->node, false, t->now.boot_ns);
    (void)run(t, told);
    pass(t, 1000);
    t->now.leader = 0;
    t->now.leads = true;
    mrd_node_lead(&t->node, true, t->now.boot_ns);
    assert_false(hands_over(t, 0));
    assert_false(hands_over(t, 29000));
    assert_true(hands_over(t, 1500));
    end(t);
}

static void refusals_count_when_asked_after_the_order_was_published(void **state)
{
    struct at *t = begin(0);
    struct mrd_peer_report *eu = &t->node.local.report.peers[0];

    (void)state;
    mrd_node_refused(&t->node, 1, true, t->now.boot_ns);
    assert_false(eu->refused); /* nobody ordered it */
    t->node.snapshot.regions[1].stream = MRD_STREAM_REFUSE;
    mrd_node_published(&t->node, t->now.boot_ns);
    assert_true(mrd_node_refusal_waits(&t->node));
    mrd_node_refused(&t->node, 1, true, t->now.boot_ns);
    assert_false(eu->refused); /* asked before the order could be read */
    mrd_node_refused(&t->node, 1, true, t->now.boot_ns + 1);
    assert_true(eu->refused);
    assert_false(mrd_node_refusal_waits(&t->node));
    t->node.snapshot.regions[1].stream = MRD_STREAM_RUN;
    mrd_node_published(&t->node, t->now.boot_ns + 2);
    assert_false(eu->refused);
    end(t);
}

/* What the process before us promised: @home of orders at epoch 1, its lease until @until_ms.
 */
static void leave_snapshot(struct at *t, mrd_region home, uint64_t until_ms)
{
    struct mrd_snapshot *s = &t->node.snapshot;

    s->region_count = 2;
    s->class_count = 1;
    s->partition_count = 1;
    s->published_ns = t->now.boot_ns - 500 * MS;
    s->session = 3;
    memcpy(s->regions[0].name, "us", 3);
    memcpy(s->regions[1].name, "eu", 3);
    memcpy(s->classes[0].name, "orders", 7);
    memcpy(s->partitions[0].name, "all", 4);
    s->partitions[0].authority =
        (struct mrd_authority){.region = home, .epoch = 1, .state = MRD_AUTH_OPEN};
    s->lease_deadline_ns = until_ms * MS;
    mrd_node_inherit(&t->node);
}

static void a_restart_leaves_the_running_promise_alone(void **state)
{
    struct at *t = begin(1);
    char told[16];

    (void)state;
    leave_snapshot(t, 0, 3000);
    (void)run(t, told);
    assert_string_equal(told, "B");
    assert_int_equal(t->node.snapshot.lease_deadline_ns, 3000 * MS);
    end(t);
}

/* Nobody leads the store: what was known goes on to stand, without the lease, and ages. */
static void a_restart_without_a_quorum_keeps_what_was_known(void **state)
{
    struct at *t = begin(MRD_REGION_NONE);
    const struct mrd_snapshot *s = &t->node.snapshot;
    mrd_boot_ns was_ns;
    char told[16];
    uint64_t flight;

    (void)state;
    leave_snapshot(t, 1, 3000);
    was_ns = s->published_ns;
    (void)run(t, told);
    assert_string_equal(told, "");
    pass(t, 2000); /* the lease has ended */
    (void)run(t, told);
    assert_string_equal(told, "P");
    assert_int_equal(s->session, 0);
    assert_int_equal(s->lease_deadline_ns, 0);
    assert_int_equal(s->published_ns, was_ns);
    assert_int_equal(s->partitions[0].authority.region, 1);
    assert_int_equal(s->partitions[0].authority.state, MRD_AUTH_OPEN);
    pass(t, 60000);
    (void)run(t, told);
    assert_string_equal(told, "");
    assert_int_equal(mrd_node_stale_ns(&t->node, t->now.boot_ns), 62500 * MS);
    /* A leader is found, and only once our copy has caught up does it speak for itself. */
    t->now.leader = 1;
    flight = run(t, told);
    assert_string_equal(told, "B");
    assert_true(mrd_node_stale_ns(&t->node, t->now.boot_ns) > 0);
    mrd_node_answer(&t->node, MRD_FLIGHT_BARRIER, flight, 0, 0, t->now.boot_ns);
    (void)run(t, told);
    assert_string_equal(told, "PD");
    assert_int_equal(s->published_ns, t->now.boot_ns);
    assert_int_equal(mrd_node_stale_ns(&t->node, t->now.boot_ns), 0);
    end(t);
}

/* Does the leader propose its own file's text? */
static bool proposes_config(struct at *t, uint64_t *ret_flight, char told[16])
{
    const struct mrd_txn *txn = &t->node.proposal.txn;

    *ret_flight = run(t, told);
    return strchr(told, 'C') != NULL && strcmp(txn->puts[0].key, "config") == 0;
}

/* Its own is version 7, and the bootstrap of authorities is over. */
static void the_stored_configuration_is_replaced_by_a_newer_one_alone(void **state)
{
    static const struct {
        const char *name;
        bool stored, readable;
        uint64_t version;
        bool replaced;
    } rows[] = {
        {"none is stored", false, false, 0, true},
        {"an older one", true, true, 6, true},
        {"the same", true, true, 7, false},
        {"a newer one", true, true, 8, false},
        {"one that cannot be read", true, false, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct at *t = begin(0);
        uint64_t flight;
        char told[16];
        bool proposed = false;
        ROW(rows[i].name);
        catch_up(t);
        t->config.version = 7;
        t->node.config_text = (const uint8_t *)"v7";
        t->node.config_len = 2;
        if (rows[i].stored) {
            mrd_node_config(&t->node, 99, rows[i].readable ? &rows[i].version : NULL);
        }
        for (unsigned round = 0; round < 4 && !proposed; round++) {
            pass(t, 50);
            proposed = proposes_config(t, &flight, told);
            if (!proposed && strchr(told, 'C') != NULL) {
                commit(t, MRD_FLIGHT_COORDINATOR, flight);
            }
        }
        assert_int_equal(proposed, rows[i].replaced);
        if (proposed) {
            assert_int_equal(t->node.proposal.txn.compares[0].revision,
                             rows[i].stored ? 99 : 0);
        }
        end(t);
    }
}

/* The configuration has changed meanwhile: indices would mean something else. */
static void a_snapshot_of_another_map_is_not_kept(void **state)
{
    struct at *t = begin(MRD_REGION_NONE);
    char told[16];

    (void)state;
    leave_snapshot(t, 1, 500);
    memcpy(t->node.snapshot.regions[1].name, "ap", 3);
    mrd_node_inherit(&t->node);
    (void)run(t, told);
    assert_string_equal(told, "P");
    assert_int_equal(t->node.snapshot.partitions[0].authority.state, MRD_AUTH_VACANT);
    assert_true(mrd_node_stale_ns(&t->node, t->now.boot_ns) == UINT64_MAX);
    end(t);
}

/* The store says who is home of orders. */
static void grant(struct at *t, const char *region, mrd_epoch epoch)
{
    struct mrd_authority_record a = {.epoch = epoch, .state = MRD_AUTH_OPEN};
    struct mrd_txn *txn = calloc(1, sizeof(*txn));
    uint8_t bytes[4096];
    struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));

    assert_non_null(txn);
    snprintf(a.region, sizeof(a.region), "%s", region);
    assert_int_equal(mrd_authority_record_encode(&a, &b), 0);
    txn->put_count = 1;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "authority/orders/all");
    txn->puts[0].value = bytes;
    txn->puts[0].len = b.pos;
    assert_int_equal(mrd_store_apply(t->store, txn, NULL), 0);
    free(txn);
}

static void a_restart_that_learns_of_its_replacement_says_so_at_once(void **state)
{
    struct at *t = begin(1);
    char told[16];
    uint64_t flight;

    (void)state;
    leave_snapshot(t, 0, 3000);
    flight = run(t, told);
    grant(t, "eu", 2);
    (void)run(t, told);
    assert_string_equal(told, ""); /* half a log proves nothing */
    mrd_node_answer(&t->node, MRD_FLIGHT_BARRIER, flight, 0, 1, t->now.boot_ns);
    (void)run(t, told);
    assert_string_equal(told, "PD");
    assert_int_equal(t->node.snapshot.partitions[0].authority.region, 1);
    end(t);
}

/* Our homes are as they were; or the old snapshot is of another class, whose home we may not be
 * any more. Others take our stream once our session is open, and by then what we know counts.
 */
static void a_restart_holds_the_promise_only_while_it_can_be_compared(void **state)
{
    static const struct {
        const char *name, *class, *told;
    } rows[] = {{"the same class", "orders", "D"}, {"another class", "events", "PD"}};

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct at *t = begin(1);
        char told[16];
        uint64_t flight;

        ROW(rows[i].name);
        leave_snapshot(t, 0, 3000);
        memcpy(t->node.snapshot.classes[0].name, rows[i].class, 7);
        mrd_node_inherit(&t->node);
        flight = run(t, told);
        assert_string_equal(told, "B");
        grant(t, "us", 1);
        mrd_node_answer(&t->node, MRD_FLIGHT_BARRIER, flight, 0, 1, t->now.boot_ns);
        (void)run(t, told);
        assert_string_equal(told, rows[i].told);
        end(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_decided_before_the_store_has_caught_up),
        cmocka_unit_test(a_round_publishes_before_it_proposes),
        cmocka_unit_test(a_session_is_not_whole_before_the_database_says_so),
        cmocka_unit_test(a_lost_answer_is_given_up_and_a_late_one_ignored),
        cmocka_unit_test(a_new_leader_ends_what_went_to_the_old_one),
        cmocka_unit_test(a_full_disk_renews_nothing_and_leads_nothing),
        cmocka_unit_test(a_duty_that_lost_its_race_leaves_the_renewal_on_its_way),
        cmocka_unit_test(a_renewal_that_failed_leaves_the_opening_on_its_way),
        cmocka_unit_test(the_lead_changes_at_most_every_half_minute),
        cmocka_unit_test(refusals_count_when_asked_after_the_order_was_published),
        cmocka_unit_test(a_restart_leaves_the_running_promise_alone),
        cmocka_unit_test(a_restart_without_a_quorum_keeps_what_was_known),
        cmocka_unit_test(the_stored_configuration_is_replaced_by_a_newer_one_alone),
        cmocka_unit_test(a_snapshot_of_another_map_is_not_kept),
        cmocka_unit_test(a_restart_that_learns_of_its_replacement_says_so_at_once),
        cmocka_unit_test(a_restart_holds_the_promise_only_while_it_can_be_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
