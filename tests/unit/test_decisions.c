/*
 * Single decisions on a store that the test wrote itself: for states that a story could only
 * reach by a chain of coincidences.
 *
 * A desk is one store with a coordinator in front of it. A test lays records on it, lets time
 * pass, and reads what the coordinator says: the events of each transaction it commits, in
 * order. Regions are us, eu, ap (and r3, r4 of five); classes orders (quorum) and events
 * (async), both home us.
 */
#include "unit.h"

#include <mrd/control.h>

enum { US, EU, AP };

struct desk {
    struct mrd_config config;
    struct mrd_store *store;
    struct mrd_coordinator coordinator;
    struct mrd_proposal proposal;
    struct mrd_session_record sessions[MRD_REGIONS_MAX];
    uint64_t now_ms;
    size_t said_len;
    char said[8192];
};

static const char *const names[] = {"us", "eu", "ap", "r3", "r4"};

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

static void desk_put(struct desk *d, const char *key, const uint8_t *value, size_t len)
{
    static struct mrd_txn txn;

    txn.compare_count = 0;
    txn.put_count = 1;
    snprintf(txn.puts[0].key, MRD_KEY_MAX, "%s", key);
    txn.puts[0].value = value;
    txn.puts[0].len = len;
    assert_int_equal(mrd_store_apply(d->store, &txn, NULL), 0);
}

#define PUT(d, key, encode, record)                                                            \
    do {                                                                                       \
        static uint8_t bytes_[16384];                                                          \
        struct mrd_buf out_ = mrd_buf_writer(bytes_, sizeof(bytes_));                          \
        assert_int_equal(encode(record, &out_), 0);                                            \
        desk_put(d, key, bytes_, out_.pos);                                                    \
    } while (0)

/* The region renews: what it says of itself and others is d->sessions[i]. */
static void renew(struct desk *d, unsigned i)
{
    char key[MRD_KEY_MAX];

    d->sessions[i].seq++;
    d->sessions[i].wall_ms = d->now_ms;
    snprintf(key, sizeof(key), "session/%s", names[i]);
    PUT(d, key, mrd_session_record_encode, &d->sessions[i]);
}

static struct mrd_peer_report *report(struct desk *d, unsigned by, unsigned about)
{
    return &d->sessions[by].peers[about];
}

static void put_authority(struct desk *d, const char *class_name,
                          const struct mrd_authority_record *a)
{
    char key[MRD_KEY_MAX];

    snprintf(key, sizeof(key), "authority/%s/all", class_name);
    PUT(d, key, mrd_authority_record_encode, a);
}

static void get_authority(struct desk *d, const char *class_name,
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

/* All regions are live, see each other, and have applied 0/100 of everybody. */
static struct desk *desk_new(unsigned regions)
{
    static const char *const classes[] = {"orders", "events"};
    struct desk *d = calloc(1, sizeof(*d));
    struct mrd_config *c = &d->config;

    c->region_count = (uint8_t)regions;
    for (unsigned i = 0; i < regions; i++) {
        snprintf(c->regions[i].name, MRD_NAME_MAX, "%s", names[i]);
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
            snprintf(report(d, i, j)->region, MRD_NAME_MAX, "%s", names[j]);
            report(d, i, j)->reachable = 7;
            report(d, i, j)->applied_lsn = 0x100;
        }
        renew(d, i);
    }
    for (unsigned k = 0; k < c->class_count; k++) {
        put_authority(
            d, classes[k],
            &(struct mrd_authority_record){.region = "us", .epoch = 1, .state = MRD_AUTH_OPEN});
    }
    mrd_coordinator_lead(&d->coordinator, true, 1);
    return d;
}

static void desk_free(struct desk *d)
{
    mrd_store_free(d->store);
    free(d);
}

static void step(struct desk *d)
{
    mrd_coordinator_step(&d->coordinator, &d->config, d->store, d->now_ms * 1000000, d->now_ms,
                         &d->proposal);
    if (d->proposal.wanted) {
        assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    }
}

/* Time passes; the regions in @alive renew every half second, and the coordinator steps. */
static void pass(struct desk *d, uint64_t ms, unsigned alive)
{
    for (uint64_t t = 0; t < ms; t += 100) {
        d->now_ms += 100;
        for (unsigned i = 0; t % 500 == 0 && i < d->config.region_count; i++) {
            if ((alive >> i & 1) != 0) {
                renew(d, i);
            }
        }
        step(d);
    }
}

/* Nobody in @by reaches @t any more. */
static void lose(struct desk *d, unsigned t, unsigned by)
{
    for (unsigned i = 0; i < d->config.region_count; i++) {
        if ((by >> i & 1) != 0) {
            report(d, i, t)->reachable = 0;
        }
    }
}

/* A region obeys the present failover of @t, having applied @lsn. */
static void refuse(struct desk *d, unsigned by, unsigned t, mrd_lsn lsn)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    struct mrd_buf b;
    struct mrd_failover_record f;

    snprintf(key, sizeof(key), "failover/%s", names[t]);
    assert_int_equal(mrd_store_get(d->store, key, &e), 0);
    b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_failover_record_decode(&b, &f), 0);
    report(d, by, t)->applied_lsn = lsn;
    snprintf(key, sizeof(key), "fence/%s/%s", names[t], names[by]);
    PUT(d, key, mrd_fence_record_encode,
        (&(struct mrd_fence_record){.failover_id = f.id, .applied_lsn = lsn}));
}

static void expect(struct desk *d, const char *said)
{
    if (strcmp(d->said, said) != 0) {
        fprintf(stderr, "--- said:\n%s--- expected:\n%s", d->said, said);
        abort();
    }
    d->said_len = 0;
    d->said[0] = '\0';
}

static int stream_at(struct desk *d, unsigned self, unsigned origin)
{
    static struct mrd_snapshot s;
    static struct mrd_local local;
    struct mrd_region_state r = {.self = (mrd_region)self};

    mrd_region_snapshot(&r, &d->config, d->store, &local, d->now_ms * 1000000, d->now_ms, &s);
    return s.regions[origin].stream;
}

/*
 * us learns from the store what was taken from it, and looks again 20 ms later, when a canary
 * is there that was sent @after_ms later and is @settled or not. Does it open a session?
 */
static bool opens(struct desk *d, struct mrd_region_state *us, struct mrd_local *local,
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

/*
 * us was replaced and has not come back with that knowledge. A second failover begins, because
 * something can be taken now that could not before, and is cancelled: us lives. The first one
 * still stands, and so does what the others refuse.
 */
static void a_cancelled_failover_leaves_the_one_before_in_force(void **state)
{
    struct desk *d = desk_new(3);
    struct mrd_failover_record first = {0x500,         0, "us", 1, 1, MRD_FAILOVER_DONE, 6,
                                        "unreachable", 1, 2};
    struct mrd_region_state us = {.self = US, .session = 1};
    struct mrd_local local = {.canary_ok = true};

    (void)state;
    put_authority(d, "orders",
                  &(struct mrd_authority_record){
                      .last_region = "us", .epoch = 1, .state = MRD_AUTH_VACANT, .why = "x"});
    put_authority(
        d, "events",
        &(struct mrd_authority_record){.region = "eu", .epoch = 2, .state = MRD_AUTH_OPEN});
    PUT(d, "failover/us", mrd_failover_record_encode, &first);
    assert_int_equal(stream_at(d, EU, US), MRD_STREAM_REFUSE);
    lose(d, US, 6);
    pass(d, 1800, 6);
    expect(d, "failover.started region=us observers=eu,ap reason=successor\n");
    renew(d, US);
    step(d);
    expect(d, "failover.cancelled region=us\n");
    assert_int_equal(stream_at(d, EU, US), MRD_STREAM_REFUSE);

    /* It opens a session that knows of the first one, and its stream runs again. */
    local.report = d->sessions[US];
    assert_true(opens(d, &us, &local, 1, true));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_int_equal(stream_at(d, EU, US), MRD_STREAM_RUN);
    desk_free(d);
}

/* Its position says that nothing more of the old epochs can come, so nothing more can. */
static void a_replaced_region_returns_when_its_commits_have_ended(void **state)
{
    static const struct {
        const char *name;
        unsigned after_ms;
        bool settled, returns;
    } rows[] = {
        {"all have ended", 1, true, true},
        {"one is past its last check", 1, false, false},
        {"all had, before the region knew that it was replaced", 0, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk *d = desk_new(3);
        struct mrd_failover_record f = {0x500,         0, "us", 1, 1, MRD_FAILOVER_DONE, 6,
                                        "unreachable", 1, 2};
        struct mrd_region_state us = {.self = US, .session = 1};
        struct mrd_local local = {.canary_ok = true};
        PUT(d, "failover/us", mrd_failover_record_encode, &f);
        renew(d, US);
        local.report = d->sessions[US];
        if (opens(d, &us, &local, rows[i].after_ms, rows[i].settled) != rows[i].returns) {
            fail_msg("%s", rows[i].name);
        }
        desk_free(d);
    }
}

/* ---- who can take over, and what is said when nobody can ---- */

#define ONLY_EVENTS(d)                                                                         \
    ((d)->config.class_count = 1, (d)->config.classes[0] = (d)->config.classes[1])

/* us failed before: eu was given epoch 2 from cut 0/200 on, us has not returned. */
static void after_first_failover(struct desk *d, const char *class_name, bool opened)
{
    struct mrd_authority_record a = {.region = "eu", .epoch = 2, .state = MRD_AUTH_OPEN};
    struct mrd_receipt_record r = {.id = 0x300, .kind = "failover", .epoch = 2};
    struct mrd_failover_record f = {0x300,         0, "us", 1, 1, MRD_FAILOVER_DONE, 6,
                                    "unreachable", 1, 2};

    a.history_count = 1;
    a.history[0] = (struct mrd_closed_record){1, "us", 0x200, 1, 1, "failover", 0x300, 0, 1};
    r.opened_ms = opened ? 5 : 0;
    put_authority(d, class_name, &a);
    PUT(d, "receipt/0000000000000300", mrd_receipt_record_encode, &r);
    PUT(d, "failover/us", mrd_failover_record_encode, &f);
    d->sessions[US].expired = true;
    d->sessions[US].expired_ms = 3;
    renew(d, US);
    for (unsigned i = 1; i < d->config.region_count; i++) {
        report(d, i, US)->applied_lsn = 0x200;
        renew(d, i);
    }
}

/* eu, the second home, dies too. What each of the others has of us and of eu decides. */
static void a_second_failover_prefers_who_can_open(void **state)
{
    static const struct {
        const char *name;
        mrd_lsn us[5], eu[5]; /* applied at ap, r3, r4 (from index 2) */
        const char *granted;  /* the end of the story */
    } rows[] = {
        {"all have all: who is furthest in eu's",
         {0, 0, 0x200, 0x200, 0x200},
         {0, 0, 0x300, 0x310, 0x300},
         "authority.granted class=events partition=all region=r3 epoch=3 prev=eu "
         "reason=failover cut=0/310 unfenced=us held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=r3 epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"who is furthest lacks the end of us's",
         {0, 0, 0x200, 0x1f0, 0x200},
         {0, 0, 0x300, 0x310, 0x305},
         "authority.granted class=events partition=all region=r4 epoch=3 prev=eu "
         "reason=failover cut=0/310 unfenced=us held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=r4 epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"nobody has the end of us's",
         {0, 0, 0x1f0, 0x1f0, 0x1f0},
         {0, 0, 0x300, 0x310, 0x305},
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" "
         "wrote last is only in regions that are down\"\nfailover.done region=eu\n"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(5);
        const char *end;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        after_first_failover(d, "events", true);
        for (unsigned b = AP; b < 5; b++) {
            report(d, b, US)->applied_lsn = rows[i].us[b];
        }
        lose(d, EU, 0x1c);
        pass(d, 1800, 0x1c);
        if (strstr(d->said, "vacated") == NULL) {
            expect(d, "failover.started region=eu observers=ap,r3,r4 reason=unreachable\n");
            for (unsigned b = AP; b < 5; b++) {
                refuse(d, b, EU, rows[i].eu[b]);
            }
            pass(d, 6000, 0x1c);
        }
        end = strstr(d->said, "authority.");
        if (end == NULL || strcmp(end, rows[i].granted) != 0) {
            fail_msg("said:\n%s", d->said);
        }
        /* us returns, and can hand over what is missing. */
        d->said_len = 0;
        d->said[0] = '\0';
        d->sessions[US].expired = false;
        d->sessions[US].session++;
        d->sessions[US].after_failover = 0x300;
        pass(d, 500, 0x1d);
        expect(d, strstr(rows[i].granted, "vacated") == NULL
                      ? ""
                      : "failover.started region=eu observers=ap,r3,r4 reason=successor\n");
        desk_free(d);
    }
}

/* The receipt of us's first failover says: the home of @epoch repaired its tail before @lsn. */
static void put_taken(struct desk *d, const char *class_name, mrd_epoch epoch, mrd_lsn lsn)
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

/* us, replaced by eu, has returned with the knowledge of that. */
static void us_is_back(struct desk *d)
{
    d->sessions[US].expired = false;
    d->sessions[US].session++;
    d->sessions[US].after_failover = 0x300;
    d->sessions[US].opened_lsn = 0x280;
    renew(d, US);
}

/*
 * us came back with a lost tail, and eu, its successor, dies: ap lives or not. us holds rows
 * that nobody else has, unless eu's repair of them lies before the cut.
 */
static void a_home_that_lost_writes_is_not_home_again_before_they_are_repaired(void **state)
{
    static const struct {
        const char *name;
        mrd_epoch epoch;
        mrd_lsn lsn;     /* where eu repaired it */
        unsigned others; /* who lives besides us */
        const char *end;
    } rows[] = {
        {"not repaired: the other one is preferred, though us is as far", 0, 0, 1u << AP,
         "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=ap epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"repaired before the cut: us is first in the configuration", 2, 0x310, 1u << AP,
         "authority.granted class=events partition=all region=us epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=us epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"repaired past the cut, which counts nowhere", 2, 0x311, 1u << AP,
         "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=ap epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"not repaired, and nobody else", 0, 0, 0,
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" lost "
         "is not repaired there, and nobody else can take it\"\nfailover.done region=eu\n"
         "session.expired region=eu session=1 seq=2\n"},
        {"repaired past the cut, and nobody else", 2, 0x311, 0,
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" lost "
         "is not repaired there, and nobody else can take it\"\nfailover.done region=eu\n"
         "session.expired region=eu session=1 seq=2\n"},
        {"repaired before the cut, and nobody else", 2, 0x310, 0,
         "authority.granted class=events partition=all region=us epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=us epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(4); /* r3 votes, and may not be home */
        unsigned alive = 1u << US | 1u << 3 | rows[i].others;
        const char *end;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        d->config.classes[0].allowed = (mrd_regions)(1u << US | 1u << EU | rows[i].others);
        alive |= 1u << AP;
        after_first_failover(d, "events", true);
        put_taken(d, "events", rows[i].epoch, rows[i].lsn);
        us_is_back(d);
        lose(d, EU, alive);
        pass(d, 1800, alive);
        if (strstr(d->said, "vacated") == NULL) {
            refuse(d, US, EU, 0x310);
            refuse(d, AP, EU, 0x310);
            refuse(d, 3, EU, 0x300);
        }
        pass(d, 6000, alive);
        end = strstr(d->said, "authority.");
        if (end == NULL || strcmp(end, rows[i].end) != 0) {
            fail_msg("said:\n%s", d->said);
        }
        /* What is vacant is not asked about again and again. */
        d->said_len = 0;
        d->said[0] = '\0';
        pass(d, 3000, alive);
        expect(d, "");
        desk_free(d);
    }
}

/* A planned move to us waits, with the home open, and ends when that takes too long. */
static void a_move_waits_until_the_target_is_repaired(void **state)
{
    static const bool repaired[] = {true, false};

    (void)state;
    for (size_t i = 0; i < ROWS(repaired); i++) {
        struct desk *d = desk_new(3);
        struct mrd_authority_record a;

        ONLY_EVENTS(d);
        after_first_failover(d, "events", true);
        put_taken(d, "events", 0, 0);
        us_is_back(d);
        assert_int_equal(mrd_move_request(&d->config, d->store, "events", NULL, "us", "anna",
                                          d->now_ms, &d->proposal, NULL),
                         0);
        assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
        pass(d, 20000, 7);
        expect(d, "move.requested class=events partition=all from=eu to=us who=\"anna\"\n");
        get_authority(d, "events", &a);
        assert_int_equal(a.state, MRD_AUTH_OPEN);
        if (repaired[i]) {
            put_taken(d, "events", 2, 0x310);
            pass(d, 100, 7);
            get_authority(d, "events", &a);
            assert_int_equal(a.state, MRD_AUTH_FROZEN);
            pass(d, 25000, 7); /* each step gets the whole bound */
            expect(d, "");
        } else {
            pass(d, 15000, 7);
            expect(d, "move.aborted class=events partition=all from=eu to=us "
                      "why=\"what the target lost was not repaired there in time\"\n");
            get_authority(d, "events", &a);
            assert_int_equal(a.state, MRD_AUTH_OPEN);
        }
        desk_free(d);
    }
}

/* us reads as recovering for as long as it holds rows of its lost tail, and no longer. */
static void a_region_recovers_until_its_tail_is_repaired(void **state)
{
    static const char unsettled[] = "\"eu\" has not settled yet what it lost of events/all";
    static const struct {
        const char *name;
        mrd_epoch epoch;
        mrd_lsn lsn;     /* where eu, home of epoch 2, repaired it */
        mrd_lsn applied; /* of eu, by us */
        enum mrd_health health;
        const char *why;
    } rows[] = {
        {"filed, not repaired", 0, 0, 0x310, MRD_RECOVERING, unsettled},
        {"repaired, and not yet there", 2, 0x311, 0x310, MRD_RECOVERING, unsettled},
        {"repaired there", 2, 0x310, 0x310, MRD_HEALTHY, ""},
        {"by a home that nobody remembers", 7, 0x310, 0x310, MRD_RECOVERING, unsettled},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        enum mrd_health health[MRD_REGIONS_MAX];
        char why[MRD_WHY_MAX];
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        after_first_failover(d, "events", true);
        put_taken(d, "events", rows[i].epoch, rows[i].lsn);
        d->sessions[EU].peers[US].applied_lsn = 0x280; /* all that us wrote before it is back */
        renew(d, EU);
        d->sessions[US].peers[EU].applied_lsn = rows[i].applied;
        us_is_back(d);
        mrd_health_of(&d->config, d->store, health);
        assert_int_equal(health[US], rows[i].health);
        mrd_health_why(&d->config, d->store, US, why);
        assert_string_equal(why, rows[i].why);
        assert_int_equal(health[AP], MRD_HEALTHY);
        desk_free(d);
    }
}

/* What is said of a region's health is what the health was made of. */
static void health_says_why(void **state)
{
    static const struct {
        const char *name;
        uint8_t ready, eu_sees, ap_sees; /* of us */
        bool expired;
        enum mrd_health health;
        const char *why;
    } rows[] = {
        {"all is well", 7, 7, 7, false, MRD_HEALTHY, ""},
        {"one misses its edge", 7, 3, 7, false, MRD_SUSPECT, "its edge is not reached by eu"},
        {"both miss something", 7, 3, 1, false, MRD_DEGRADED,
         "its PostgreSQL is not reached by ap; its edge is not reached by eu,ap"},
        {"it admits it", 5, 7, 7, false, MRD_DEGRADED,
         "it says itself that its PostgreSQL does not serve"},
        {"its edge", 3, 7, 7, false, MRD_DEGRADED,
         "it says itself that its edge does not serve"},
        {"its lease is over", 7, 7, 7, true, MRD_DOWN,
         "its lease expired: it renewed it no more"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        enum mrd_health health[MRD_REGIONS_MAX];
        char why[MRD_WHY_MAX];
        ROW(rows[i].name);
        d->sessions[US].ready = rows[i].ready;
        d->sessions[US].expired = rows[i].expired;
        d->sessions[EU].peers[US].reachable = rows[i].eu_sees;
        d->sessions[AP].peers[US].reachable = rows[i].ap_sees;
        renew(d, US);
        renew(d, EU);
        renew(d, AP);
        mrd_health_of(&d->config, d->store, health);
        assert_int_equal(health[US], rows[i].health);
        mrd_health_why(&d->config, d->store, US, why);
        assert_string_equal(why, rows[i].why);
        desk_free(d);
    }
}

/*
 * eu counts us's tail at once, and says that it is repaired when it is. When eu was replaced
 * before that counted, its successor says so again, and the receipt stays as it was else.
 */
static void the_home_says_when_a_tail_is_repaired(void **state)
{
    static const struct {
        const char *name;
        unsigned unrepaired;
        mrd_epoch was_epoch; /* taken before */
        mrd_lsn was_lsn;
        bool wanted;
        mrd_epoch epoch;
        mrd_lsn lsn;
    } rows[] = {
        {"some rows are not yet sent", 1, 0, 0, false, 0, 0},
        {"all are", 0, 0, 0, true, 3, 0x700},
        {"the home before did it, and it counts", 0, 2, 0x400, false, 2, 0x400},
        {"the home before did it in vain", 0, 2, 0x401, true, 3, 0x700},
        {"in vain, and not yet again", 2, 2, 0x401, false, 2, 0x401},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_region_state ap = {.self = AP, .session = 1};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_receipt_record r;
        struct mrd_duty duties[MRD_PARTITIONS_MAX];
        struct mrd_authority_record a;
        struct mrd_entry e;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        after_first_failover(d, "events", true);
        get_authority(d, "events", &a);
        snprintf(a.region, MRD_NAME_MAX, "ap");
        a.epoch = 3;
        a.history_count = 2;
        a.history[1] =
            (struct mrd_closed_record){2, "eu", 0x400, 1, 1, "failover", 0x500, 0, 1};
        put_authority(d, "events", &a);
        put_taken(d, "events", rows[i].was_epoch, rows[i].was_lsn);
        us_is_back(d);
        local->report = d->sessions[AP];
        local->report.peers[US].applied_lsn = 0x280;
        local->opened_epoch[0] = 3;
        local->through_lsn = 0x700;
        local->tail[0] = (struct mrd_tail_count){1, 9, 9, 9, rows[i].unrepaired};
        mrd_region_duties(&ap, &d->config, d->store, local, duties);
        assert_int_equal(duties[0].tail_epoch, rows[i].was_lsn == 0x400 ? 0 : 1);
        mrd_region_step(&ap, &d->config, d->store, local, d->now_ms * 1000000, 9, &d->proposal);
        assert_int_equal(d->proposal.wanted, rows[i].wanted);
        if (d->proposal.wanted) {
            assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
        }
        expect(d, "");
        assert_int_equal(mrd_store_get(d->store, "receipt/0000000000000300", &e), 0);
        struct mrd_buf b = mrd_buf_reader(e.value, e.len);
        assert_int_equal(mrd_receipt_record_decode(&b, &r), 0);
        assert_int_equal(r.taken_epoch, rows[i].epoch);
        assert_int_equal(r.taken_lsn, rows[i].lsn);
        assert_int_equal(r.returned_ms, 7);
        assert_int_equal(r.tail_rows, 0);
        free(local);
        desk_free(d);
    }
}

/* eu was given the partition and has not opened it. What does it do? */
static void a_new_home_opens_when_nothing_is_missing(void **state)
{
    static const struct {
        const char *name;
        mrd_lsn applied; /* of us, which wrote up to 0/200 */
        bool lacks;
        enum mrd_duty_kind duty;
        const char *why;
    } rows[] = {
        {"all is there", 0x200, false, MRD_DUTY_PROMOTE, ""},
        {"the last writes are not", 0x1f0, false, MRD_DUTY_NONE,
         "the new home is fetching what \"us\" wrote last"},
        {"its position was lost", 0, false, MRD_DUTY_NONE,
         "the new home is fetching what \"us\" wrote last"},
        {"its position began again, without the rows before it", 0x300, true, MRD_DUTY_NONE,
         "the new home lacks rows, and does not open without them"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_region_state eu = {.self = EU, .session = 1};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_duty duties[MRD_PARTITIONS_MAX];
        char why[128];
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        after_first_failover(d, "events", false);
        report(d, EU, US)->applied_lsn = rows[i].applied;
        mrd_set_lacks(&d->sessions[EU], 0, rows[i].lacks);
        renew(d, EU);
        local->report = d->sessions[EU];
        mrd_region_duties(&eu, &d->config, d->store, local, duties);
        assert_int_equal(duties[0].kind, rows[i].duty);
        mrd_partition_why(&d->config, d->store, 0, why);
        assert_string_equal(why, rows[i].why);
        free(local);
        desk_free(d);
    }
}

/* ap joined after us was lost, and has its copy from eu: that is whole without us's stream. */
static void a_copy_from_the_present_home_needs_no_earlier_stream(void **state)
{
    struct desk *d = desk_new(3);
    struct mrd_region_state ap = {.self = AP, .session = 1};
    struct mrd_local *local = calloc(1, sizeof(*local));
    struct mrd_authority_record a;
    struct mrd_move_record m = {
        .id = 0x900, .from = "eu", .to = "ap", .epoch = 2, .state = MRD_MOVE_FROZEN};

    (void)state;
    ONLY_EVENTS(d);
    after_first_failover(d, "events", true);
    get_authority(d, "events", &a);
    a.state = MRD_AUTH_FROZEN;
    put_authority(d, "events", &a);
    m.final_lsn = 0x300;
    m.final_boot_ms = UINT64_MAX;
    PUT(d, "move/events/all", mrd_move_record_encode, &m);
    report(d, AP, US)->applied_lsn = 0;
    report(d, AP, EU)->applied_lsn = 0x300;
    renew(d, AP);
    local->report = d->sessions[AP];
    ap.deadline_ns = UINT64_MAX; /* its lease is fresh */
    mrd_region_step(&ap, &d->config, d->store, local, d->now_ms * 1000000, 9, &d->proposal);
    assert_true(d->proposal.wanted);
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    get_authority(d, "events", &a);
    assert_string_equal(a.region, "ap");
    free(local);
    desk_free(d);
}

/* Who was to hand over the last writes dies before the new home has them. */
static void a_home_that_cannot_open_is_vacant_and_resumes(void **state)
{
    struct desk *d = desk_new(5);
    struct mrd_authority_record a;
    char why[128];

    (void)state;
    ONLY_EVENTS(d);
    after_first_failover(d, "events", false);
    report(d, EU, US)->applied_lsn = 0x1f0;
    report(d, 3, US)->applied_lsn = report(d, 4, US)->applied_lsn = 0x1f0;
    pass(d, 1000, 0x1e);
    expect(d, ""); /* ap has it, and will hand it over */
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "the new home is fetching what \"us\" wrote last");
    pass(d, 6000, 0x1a);
    expect(d, "session.expired region=ap session=1 seq=4\n"
              "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" "
              "wrote last is only in regions that are down\"\n");
    pass(d, 3000, 0x1a);
    expect(d, "");
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "what \"us\" wrote last is only in regions that are down");
    /* It returns: eu may go on fetching. */
    d->sessions[AP].session++;
    pass(d, 500, 0x1e);
    expect(d, "authority.resumed class=events partition=all region=eu epoch=2\n");
    get_authority(d, "events", &a);
    assert_string_equal(a.region, "eu");
    assert_int_equal(a.epoch, 2);
    pass(d, 3000, 0x1e);
    expect(d, "");
    desk_free(d);
}

/* The furthest refuser dies before the grant: the others are enough, and it is named. */
static void a_refuser_that_died_draws_no_cut_alone(void **state)
{
    struct desk *d = desk_new(5);
    struct mrd_authority_record a;
    char why[128];

    (void)state;
    d->config.class_count = 1; /* orders: two of four acknowledge, three must refuse */
    lose(d, US, 0x1e);
    pass(d, 1800, 0x1e);
    expect(d, "failover.started region=us observers=eu,ap,r3,r4 reason=unreachable\n");
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "\"eu\" has not yet refused the stream of \"us\"");
    refuse(d, EU, US, 0x180);
    refuse(d, AP, US, 0x100);
    pass(d, 6000, 0x1a); /* ap refused, and is not heard of again */
    refuse(d, 3, US, 0x110);
    refuse(d, 4, US, 0x120);
    d->sessions[EU].expired = true; /* the furthest of them dies, too */
    renew(d, EU);
    d->said_len = 0;
    d->said[0] = '\0';
    d->sessions[AP].session++;
    renew(d, AP);
    step(d);
    expect(d, "authority.granted class=orders partition=all region=r4 epoch=2 prev=us "
              "reason=failover cut=0/120 unfenced=eu\n");
    get_authority(d, "orders", &a);
    assert_int_equal(a.history[0].unfenced, 1u << EU);
    desk_free(d);
}

/* A region is back from its failover: a session that knows of it. */
static void come_back(struct desk *d, unsigned i)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    struct mrd_buf b;
    struct mrd_failover_record f;

    snprintf(key, sizeof(key), "failover/%s", names[i]);
    assert_int_equal(mrd_store_get(d->store, key, &e), 0);
    b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_failover_record_decode(&b, &f), 0);
    d->sessions[i].session++;
    d->sessions[i].after_failover = f.id;
    renew(d, i);
}

/* us and eu, each home of one class, fell silent one after the other, refused each other, and
 * live again. Each is the only one who could replace the other. */
static void two_that_are_replaced_do_not_wait_for_each_other(void **state)
{
    struct desk *d = desk_new(3);
    const struct mrd_failover_record f = {.session = 1, .reason = "unreachable", .fault_ms = 1};
    struct mrd_failover_record us = f, eu = f;
    struct mrd_authority_record a;

    (void)state;
    d->config.regions[AP].witness = true;
    for (unsigned k = 0; k < 2; k++) {
        d->config.classes[k].replicas = d->config.classes[k].allowed = 1u << US | 1u << EU;
    }
    put_authority(
        d, "events",
        &(struct mrd_authority_record){.region = "eu", .epoch = 1, .state = MRD_AUTH_OPEN});
    memcpy(us.region, "us", 3);
    memcpy(eu.region, "eu", 3);
    us.id = 0x300;
    eu.id = 0x400;
    PUT(d, "failover/us", mrd_failover_record_encode, &us);
    PUT(d, "failover/eu", mrd_failover_record_encode, &eu);
    refuse(d, EU, US, 0x100);
    refuse(d, US, EU, 0x100);
    pass(d, 10000, 7);
    expect(d, "authority.vacated class=orders partition=all prev=us epoch=1 why=\"every other "
              "live region that may hold it is being replaced itself\"\n"
              "failover.done region=us\n"
              "authority.granted class=events partition=all region=us epoch=2 prev=eu "
              "reason=failover cut=0/100 held=yes\n"
              "authority.released class=events partition=all region=us epoch=2 prev=eu "
              "reason=lease_over\n"
              "failover.done region=eu\n");
    come_back(d, US);
    come_back(d, EU);
    pass(d, 1000, 7);
    expect(d, "authority.resumed class=orders partition=all region=us epoch=1\n");
    get_authority(d, "orders", &a);
    assert_string_equal(a.region, "us");
    desk_free(d);
}

/* ---- who should lead the store ---- */

static void the_lead_goes_where_it_helps(void **state)
{
    static const struct {
        const char *name;
        const char *home; /* of both classes */
        unsigned eu_rtt;  /* from eu to the others; us has 100 */
        bool moving;
        int want;
    } rows[] = {
        {"the leader homes everything", "us", 100, false, EU},
        {"a move is under way", "us", 50, true, US},
        {"somebody else does, and we are as near as others", "ap", 100, false, US},
        {"another is a little nearer", "ap", 80, false, US},
        {"another is clearly nearer", "ap", 70, false, EU},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_authority_record a = {.epoch = 1, .state = MRD_AUTH_OPEN};
        struct mrd_move_record m = {.id = 1, .from = "us", .to = "eu", .epoch = 1};
        ROW(rows[i].name);
        snprintf(a.region, sizeof(a.region), "%s", rows[i].home);
        put_authority(d, "orders", &a);
        put_authority(d, "events", &a);
        m.state = rows[i].moving ? MRD_MOVE_FREEZE : MRD_MOVE_DONE;
        PUT(d, "move/orders/all", mrd_move_record_encode, &m);
        for (unsigned r = 0; r < 3; r++) {
            for (unsigned o = 0; o < 3; o++) {
                report(d, r, o)->rtt_us = r == o ? 0 : r == EU ? rows[i].eu_rtt : 100;
            }
            renew(d, r);
        }
        assert_int_equal(mrd_coordinator_preferred_leader(&d->config, d->store, US),
                         rows[i].want);
        desk_free(d);
    }
}

/*
 * ap lacks what us wrote up to the cut of orders. A position in us's WAL is one for all
 * classes: a survivor that does not carry events, which us and ap share, cannot bring ap
 * forward, or us's last events would be in nobody's reconcile queue when it returns.
 */
static void what_is_handed_on_has_no_gaps(void **state)
{
    static const struct {
        const char *name;
        mrd_regions events;
        uint8_t stream, via;
    } rows[] = {
        {"the new home carries both", 0x1f, MRD_STREAM_FORWARD, EU},
        {"another region carries both", 0x1d, MRD_STREAM_FORWARD, 3},
        {"nobody else carries events", 0x05, MRD_STREAM_REFUSE, MRD_REGION_NONE},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(5);
        struct mrd_region_state ap = {.self = AP, .session = 1};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_snapshot *s = calloc(1, sizeof(*s));
        ROW(rows[i].name);
        d->config.classes[1].replicas = d->config.classes[1].allowed = rows[i].events;
        after_first_failover(d, "orders", true);
        report(d, AP, US)->applied_lsn = 0x180;
        renew(d, AP);
        local->report = d->sessions[AP];
        mrd_region_snapshot(&ap, &d->config, d->store, local, 1, 1, s);
        assert_int_equal(s->regions[US].stream, rows[i].stream);
        assert_int_equal(s->regions[US].via, rows[i].via);
        free(s);
        free(local);
        desk_free(d);
    }
}

/* ---- a region that begins again ---- */

static void anew(struct desk *d, uint64_t life)
{
    mrd_anew_request(&d->config, d->store, US, life, d->now_ms, &d->proposal);
    if (d->proposal.wanted) {
        assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    }
}

/* us, with a database whose WAL ends at @wal_lsn, tries to open a session. */
static bool us_opens(struct desk *d, mrd_lsn wal_lsn)
{
    struct mrd_region_state us = {.self = US};
    struct mrd_local local = {.canary_ok = true};

    local.report = d->sessions[US];
    local.report.wal_lsn = wal_lsn;
    return opens(d, &us, &local, 1, true);
}

static const char *why(struct desk *d, mrd_lsn wal_lsn)
{
    return mrd_anew_why(&d->config, d->store, US, wal_lsn);
}

/* Its WAL begins beyond all that anybody remembers of it, whoever that is. */
static void a_new_life_begins_beyond_the_old_one(void **state)
{
    static const struct {
        const char *name;
        mrd_lsn wal, applied, cut, begins;
    } rows[] = {
        {"its own word", 0x123456789abc, 0x200, 0x200, 0x140000000000},
        {"a survivor's position", 0x100, 0x323456789abc, 0x200, 0x340000000000},
        {"a cut", 0x100, 0x200, 0x523456789abc, 0x540000000000},
    };
    mrd_lsn begins;

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_authority_record a = {.region = "eu", .epoch = 2, .state = MRD_AUTH_OPEN};
        ROW(rows[i].name);
        assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_LOST);
        d->sessions[US].wal_lsn = rows[i].wal;
        renew(d, US);
        anew(d, 7);
        assert_false(d->proposal.wanted); /* it lives: it is not lost */
        d->sessions[US].expired = true;
        renew(d, US);
        report(d, AP, US)->applied_lsn = rows[i].applied;
        renew(d, AP);
        a.history_count = 1;
        a.history[0] =
            (struct mrd_closed_record){1, "us", rows[i].cut, 1, 1, "failover", 0x300, 0, 1};
        put_authority(d, "orders", &a);
        anew(d, 7);
        assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_ANEW);
        assert_int_equal(begins, rows[i].begins);
        anew(d, 7);
        assert_false(d->proposal.wanted); /* once for each life */
        anew(d, 9);
        assert_false(d->proposal.wanted); /* at most one in ten seconds */
        d->now_ms += 10000;
        anew(d, 9); /* lost again before it opened a session */
        assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_ANEW);
        assert_true(begins > rows[i].begins);
        desk_free(d);
    }
}

/* An empty database must not open as anybody's home, nor cut off who still hands on the old. */
static void a_new_life_waits_until_nothing_names_it(void **state)
{
    struct desk *d = desk_new(3);
    mrd_lsn begins;
    const mrd_lsn beyond = (mrd_lsn)2 << 40 | 0x1000;

    (void)state;
    ONLY_EVENTS(d);
    d->sessions[US].expired = true;
    renew(d, US);
    anew(d, 7);
    expect(d, "region.anew region=us session=1 begins=200/0\n");
    assert_false(us_opens(d, beyond));
    assert_string_equal(why(d, beyond),
                        "it is still named as home, and has nothing of what it was home of");
    put_authority(d, "events",
                  &(struct mrd_authority_record){
                      .last_region = "us", .epoch = 1, .state = MRD_AUTH_VACANT, .why = "x"});
    assert_false(us_opens(d, beyond));

    after_first_failover(d, "events", false);
    assert_false(us_opens(d, beyond));
    assert_string_equal(why(d, beyond), "a home that took over from it is not open yet");

    after_first_failover(d, "events", true);
    assert_false(us_opens(d, 0x300)); /* made by hand, and not told where to begin */
    assert_non_null(why(d, 0x300));
    assert_null(why(d, beyond));
    assert_true(us_opens(d, beyond));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_LOST);
    desk_free(d);
}

/* us was lost, then eu before it had opened, and ap is the third home: it may still fetch what
 * us wrote from r3, which would begin us's stream again as soon as us takes part. */
static void a_new_life_waits_for_every_home_after_it(void **state)
{
    static const struct {
        const char *name;
        enum mrd_authority_state state;
        bool opened;
        const char *why;
    } rows[] = {
        {"the last home is open", MRD_AUTH_OPEN, true, NULL},
        {"it is not", MRD_AUTH_OPEN, false, "a home that took over from it is not open yet"},
        {"nor while a move wants it elsewhere", MRD_AUTH_FROZEN, false,
         "a home that took over from it is not open yet"},
        {"it was stranded", MRD_AUTH_VACANT, false,
         "what it was home of has no home now, and may need what it wrote"},
        {"it was open, and nobody can follow it", MRD_AUTH_VACANT, true,
         "what it was home of has no home now, and may need what it wrote"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(4);
        struct mrd_authority_record a = {.epoch = 3, .state = (uint8_t)rows[i].state};
        struct mrd_receipt_record r = {.id = 0x400, .kind = "failover", .epoch = 3};
        const char *said;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        after_first_failover(d, "events", false);
        anew(d, 7);
        snprintf(a.state == MRD_AUTH_VACANT ? a.last_region : a.region, MRD_NAME_MAX, "ap");
        a.history_count = 2;
        a.history[0] =
            (struct mrd_closed_record){1, "us", 0x200, 1, 1, "failover", 0x300, 0, 1};
        a.history[1] =
            (struct mrd_closed_record){2, "eu", 0x150, 1, 1, "failover", 0x400, 0, 1};
        put_authority(d, "events", &a);
        r.opened_ms = rows[i].opened ? 5 : 0;
        PUT(d, "receipt/0000000000000400", mrd_receipt_record_encode, &r);
        said = why(d, (mrd_lsn)2 << 40 | 0x1000);
        assert_int_equal(us_opens(d, (mrd_lsn)2 << 40 | 0x1000), rows[i].why == NULL);
        assert_string_equal(said != NULL ? said : "", rows[i].why != NULL ? rows[i].why : "");
        desk_free(d);
    }
}

/* us takes part again, but has nothing of its old life. Only eu, the home, has the end of that,
 * and is lost: ap must not take over from it. */
static void a_new_life_has_nothing_of_the_old_one(void **state)
{
    struct desk *d = desk_new(3);

    (void)state;
    ONLY_EVENTS(d);
    after_first_failover(d, "events", true);
    report(d, AP, US)->applied_lsn = 0x1f0;
    renew(d, AP);
    anew(d, 7);
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    d->sessions[US].expired = false;
    d->sessions[US].session = 2;
    d->sessions[US].after_failover = 0x300;
    mrd_set_lacks(&d->sessions[US], 0, true);
    lose(d, EU, 1u << US | 1u << AP);
    d->said_len = 0;
    pass(d, 8000, 1u << US | 1u << AP);
    expect(d, "failover.started region=eu observers=us,ap reason=unreachable\n"
              "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" "
              "wrote last is only in regions that are down\"\n"
              "failover.done region=eu\n"
              "session.expired region=eu session=1 seq=2\n");
    desk_free(d);
}

/* What nobody has is gone: the region does not wait for a successor. */
static void a_new_life_does_not_wait_for_what_nobody_has(void **state)
{
    struct desk *d = desk_new(3);

    (void)state;
    ONLY_EVENTS(d);
    d->config.classes[0].replicas = 1u << US;
    d->sessions[US].expired = true;
    renew(d, US);
    anew(d, 7);
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));

    d->config.classes[0].replicas = 1u << US | 1u << EU;
    assert_false(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    d->sessions[EU].expired = true;
    renew(d, EU);
    assert_false(us_opens(d, (mrd_lsn)2 << 40 | 0x1000)); /* eu may return with it */
    mrd_anew_request(&d->config, d->store, EU, 8, d->now_ms, &d->proposal);
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    desk_free(d);
}

/* The others begin its stream again once it takes part, and its receipts wait for nothing. */
static void the_others_follow_a_new_life(void **state)
{
    struct desk *d = desk_new(3);
    struct mrd_local local = {.canary_ok = false};
    struct mrd_region_state eu = {.self = EU, .session = 1};
    struct mrd_entry e;
    mrd_lsn begins;
    struct mrd_receipt_record r;

    (void)state;
    ONLY_EVENTS(d);
    after_first_failover(d, "events", true);
    PUT(d, "receipt/0000000000000300", mrd_receipt_record_encode,
        (&(struct mrd_receipt_record){.id = 0x300,
                                      .kind = "failover",
                                      .class_name = "events",
                                      .partition = "all",
                                      .from = "us",
                                      .to = "eu",
                                      .epoch = 2,
                                      .opened_ms = 5,
                                      .first_write_ms = 6}));
    local.report = d->sessions[EU];
    anew(d, 7);
    assert_false(mrd_anew_stream(&d->config, d->store, &local, US, &begins));
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_true(mrd_anew_stream(&d->config, d->store, &local, US, &begins));
    assert_int_equal(begins, (mrd_lsn)2 << 40);
    assert_false(mrd_anew_stream(&d->config, d->store, &local, AP, &begins));

    local.opened_epoch[0] = 2;
    local.tail[0].epoch = 1;
    mrd_region_step(&eu, &d->config, d->store, &local, d->now_ms * 1000000, 9, &d->proposal);
    assert_false(d->proposal.wanted); /* its position is still of the old life */
    local.report.peers[US].applied_lsn = (mrd_lsn)2 << 40 | 0x2000;
    assert_false(mrd_anew_stream(&d->config, d->store, &local, US, &begins));
    mrd_region_step(&eu, &d->config, d->store, &local, d->now_ms * 1000000, 9, &d->proposal);
    assert_true(d->proposal.wanted);
    d->said_len = 0;
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    expect(d, "receipt.final id=0000000000000300 class=events partition=all from=us to=eu "
              "tail_transactions=0 tail_rows=0 tail=gone\n");
    assert_int_equal(mrd_store_get(d->store, "receipt/0000000000000300", &e), 0);
    struct mrd_buf b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_receipt_record_decode(&b, &r), 0);
    assert_true(r.tail_gone);
    desk_free(d);
}

/* ---- a home that is granted, and held until the old lease has ended ---- */

/* us is lost, and everybody else has refused its stream: eu, who is furthest, is granted. */
static struct desk *held_by_us(unsigned regions)
{
    struct desk *d = desk_new(regions);
    unsigned others = ((1u << regions) - 1) & ~(1u << US);
    struct mrd_authority_record a;

    ONLY_EVENTS(d);
    lose(d, US, others);
    pass(d, 1800, others);
    for (unsigned i = 1; i < regions; i++) {
        refuse(d, i, US, i == EU ? 0x210 : 0x200);
    }
    pass(d, 100, others);
    get_authority(d, "events", &a);
    assert_string_equal(a.region, "eu");
    assert_true(a.held);
    d->said_len = 0;
    d->said[0] = '\0';
    return d;
}

static void until(struct desk *d, const char *event, uint64_t most_ms, unsigned alive)
{
    for (uint64_t t = 0; strstr(d->said, event) == NULL; t += 100) {
        assert_true(t < most_ms);
        pass(d, 100, alive);
    }
}

/* eu dies before it may open. Nobody is granted anything while us's lease may run: only eu's
 * would be waited for then. */
static void a_held_home_is_replaced_after_its_release(void **state)
{
    struct desk *d = held_by_us(4);
    unsigned left = 1u << AP | 1u << 3;
    struct mrd_authority_record a;

    (void)state;
    lose(d, EU, left);
    until(d, "failover.started region=eu", 3000, left);
    for (unsigned i = AP; i <= 3; i++) {
        refuse(d, i, EU, 0x100);
        report(d, i, US)->applied_lsn = 0x210;
    }
    pass(d, 14000, left); /* us was lost with eu, and is waited for */
    expect(d, "failover.started region=eu observers=ap,r3 reason=unreachable\n"
              "session.expired region=us session=1 seq=1\n"
              "authority.released class=events partition=all region=eu epoch=2 prev=us "
              "reason=lease_expired\n"
              "failover.done region=us\n"
              "session.expired region=eu session=1 seq=6\n"
              "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
              "reason=failover cut=0/100 unfenced=us\n"
              "failover.done region=eu\n");
    get_authority(d, "events", &a);
    assert_false(a.held);
    desk_free(d);
}

/* What each region makes of it: eu does nothing, nobody may write, and a move is refused. */
static void what_is_held_is_open_nowhere(void **state)
{
    struct desk *d = held_by_us(3);
    struct mrd_region_state eu = {.self = EU, .session = 1};
    struct mrd_local local = {.report = d->sessions[EU]};
    static struct mrd_snapshot s;
    struct mrd_authority_record a;
    static struct mrd_duty duties[MRD_PARTITIONS_MAX];
    struct mrd_err err = {0};
    char why[128];

    (void)state;
    local.opened_epoch[0] = 2; /* whatever PostgreSQL says */
    for (unsigned i = 0; i < 3; i++) {
        struct mrd_region_state r = {.self = (mrd_region)i, .session = 1};
        mrd_region_snapshot(&r, &d->config, d->store, &local, 1, 1, &s);
        assert_int_equal(s.partitions[0].authority.region, EU);
        assert_int_equal(s.partitions[0].authority.state, MRD_AUTH_FENCING);
    }
    local.opened_epoch[0] = 1;
    report(d, EU, US)->applied_lsn = 0x210;
    local.report = d->sessions[EU];
    mrd_region_duties(&eu, &d->config, d->store, &local, duties);
    assert_int_equal(duties[0].kind, MRD_DUTY_NONE);
    assert_int_equal(mrd_move_request(&d->config, d->store, "events", NULL, "ap", "anna",
                                      d->now_ms, &d->proposal, &err),
                     MRD_EUNAVAILABLE);
    assert_string_equal(err.text, "the new home \"eu\" of events/all is not open yet");
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "the lease of \"us\" has not certainly ended yet");

    get_authority(d, "events", &a);
    a.held = false;
    put_authority(d, "events", &a);
    mrd_region_duties(&eu, &d->config, d->store, &local, duties);
    assert_int_equal(duties[0].kind, MRD_DUTY_PROMOTE);
    desk_free(d);
}

/* What ends it. Every agent began anew meanwhile: nobody remembers since when us is silent. */
static void a_home_is_held_until_the_lease_is_certainly_over(void **state)
{
    static const struct {
        const char *name;
        unsigned alive;
        bool again;          /* us opened another session, knowing of its failover */
        uint64_t not_before; /* the release, after the new coordinator's first step */
        const char *reason;
    } rows[] = {
        {"us says nothing: expired", 6, false, 4500, "lease_expired"},
        {"us renews what it has: over by the clock", 7, false, 4500, "lease_over"},
        {"us began anew", 6, true, 0, "lease_over"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = held_by_us(3);
        struct mrd_authority_record a;
        char released[160];
        ROW(rows[i].name);
        memset(&d->coordinator, 0, sizeof(d->coordinator));
        mrd_coordinator_lead(&d->coordinator, true, 1);
        if (rows[i].again) {
            d->sessions[US].session++;
            renew(d, US);
        }
        step(d);
        if (rows[i].not_before > 0) {
            pass(d, rows[i].not_before - 100, rows[i].alive);
            get_authority(d, "events", &a);
            assert_true(a.held);
        }
        pass(d, 300, rows[i].alive);
        get_authority(d, "events", &a);
        assert_false(a.held);
        snprintf(released, sizeof(released),
                 "authority.released class=events partition=all region=eu epoch=2 prev=us "
                 "reason=%s\n",
                 rows[i].reason);
        assert_non_null(strstr(d->said, released));
        desk_free(d);
    }
}

/* eu cannot get what us wrote last, and then can: it is held all the while. */
static void a_held_home_that_is_stranded_stays_held(void **state)
{
    struct desk *d = held_by_us(3);
    struct mrd_authority_record a;

    (void)state;
    get_authority(d, "events", &a);
    a.history[0].cut = 0x220; /* which only ap has, and ap is gone */
    put_authority(d, "events", &a);
    report(d, AP, US)->applied_lsn = 0x220;
    d->sessions[AP].expired = true;
    renew(d, AP);
    until(d, "authority.vacated", 500, 1u << EU);
    get_authority(d, "events", &a);
    assert_true(a.held && a.state == MRD_AUTH_VACANT);
    d->sessions[AP].expired = false;
    d->sessions[AP].session++;
    until(d, "authority.resumed", 1000, 1u << EU | 1u << AP);
    get_authority(d, "events", &a);
    assert_true(a.held && a.state == MRD_AUTH_OPEN);
    until(d, "authority.released", 5000, 1u << EU | 1u << AP);
    desk_free(d);
}

/* An agent that does not know what held means may have ended the failover that holds it. */
static void held_without_a_failover_is_released(void **state)
{
    struct desk *d = held_by_us(3);
    struct mrd_failover_record f;
    struct mrd_entry e;
    struct mrd_buf b;

    (void)state;
    assert_int_equal(mrd_store_get(d->store, "failover/us", &e), 0);
    b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_failover_record_decode(&b, &f), 0);
    f.state = MRD_FAILOVER_DONE;
    PUT(d, "failover/us", mrd_failover_record_encode, &f);
    pass(d, 1000, 7);
    expect(d, "");
    until(d, "authority.released", 5000, 7);
    desk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_failover_leaves_the_one_before_in_force),
        cmocka_unit_test(a_replaced_region_returns_when_its_commits_have_ended),
        cmocka_unit_test(a_second_failover_prefers_who_can_open),
        cmocka_unit_test(a_home_that_lost_writes_is_not_home_again_before_they_are_repaired),
        cmocka_unit_test(a_move_waits_until_the_target_is_repaired),
        cmocka_unit_test(a_region_recovers_until_its_tail_is_repaired),
        cmocka_unit_test(health_says_why),
        cmocka_unit_test(the_home_says_when_a_tail_is_repaired),
        cmocka_unit_test(a_new_home_opens_when_nothing_is_missing),
        cmocka_unit_test(a_copy_from_the_present_home_needs_no_earlier_stream),
        cmocka_unit_test(a_home_that_cannot_open_is_vacant_and_resumes),
        cmocka_unit_test(a_refuser_that_died_draws_no_cut_alone),
        cmocka_unit_test(two_that_are_replaced_do_not_wait_for_each_other),
        cmocka_unit_test(the_lead_goes_where_it_helps),
        cmocka_unit_test(what_is_handed_on_has_no_gaps),
        cmocka_unit_test(a_new_life_begins_beyond_the_old_one),
        cmocka_unit_test(a_new_life_waits_until_nothing_names_it),
        cmocka_unit_test(a_new_life_waits_for_every_home_after_it),
        cmocka_unit_test(a_new_life_has_nothing_of_the_old_one),
        cmocka_unit_test(a_new_life_does_not_wait_for_what_nobody_has),
        cmocka_unit_test(the_others_follow_a_new_life),
        cmocka_unit_test(a_held_home_is_replaced_after_its_release),
        cmocka_unit_test(what_is_held_is_open_nowhere),
        cmocka_unit_test(a_home_is_held_until_the_lease_is_certainly_over),
        cmocka_unit_test(a_held_home_that_is_stranded_stays_held),
        cmocka_unit_test(held_without_a_failover_is_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
