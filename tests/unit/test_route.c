/*
 * Routing told as rows: a world of three regions, one thing changed per row, and the answer as
 * the words an operator reads: "why: regions; dropped".
 *
 * The world: us (self), eu, ap, and a witness w. Class 0 "catalog" is everywhere with its home
 * in us; class 1 "ledger" lives in eu and ap only, home eu; class 2 "orders" has a partition
 * per region. Region us was home of catalog in epoch 3 and eu in epoch 4, cut at session 5,
 * 1000 ms.
 */
#include "unit.h"

#include <mrd/route.h>

enum { US, EU, AP, W };
enum { CATALOG, LEDGER, ORDERS };
enum { P_CATALOG, P_LEDGER, P_US, P_EU, P_AP };

static struct mrd_snapshot world;

static void add_region(const char *name, const char *country, const char *continent,
                       const uint8_t rank[4])
{
    struct mrd_snap_region *r = &world.regions[world.region_count++];

    snprintf(r->name, sizeof(r->name), "%s", name);
    snprintf(r->country, sizeof(r->country), "%s", country);
    snprintf(r->continent, sizeof(r->continent), "%s", continent);
    r->dial_percent = 100;
    r->via = MRD_REGION_NONE;
    memcpy(r->rank, rank, 4);
}

static void add_class(const char *name, enum mrd_posture posture, mrd_regions replicas)
{
    struct mrd_snap_class *c = &world.classes[world.class_count++];

    snprintf(c->name, sizeof(c->name), "%s", name);
    c->posture = (uint8_t)posture;
    c->replicas = replicas;
    c->allowed = replicas;
    c->first = world.partition_count;
}

static void add_partition(const char *name, mrd_region home)
{
    struct mrd_snap_partition *p = &world.partitions[world.partition_count++];

    snprintf(p->name, sizeof(p->name), "%s", name);
    p->class_index = (uint8_t)(world.class_count - 1);
    p->authority.region = home;
    p->authority.epoch = 5;
    world.classes[world.class_count - 1].count++;
}

static void make_world(void)
{
    struct mrd_authority *a = NULL;

    memset(&world, 0, sizeof(world));
    world.generation = 1;
    add_region("us", "US", "NA", (const uint8_t[]){US, EU, AP, W});
    add_region("eu", "DE", "EU", (const uint8_t[]){EU, W, US, AP});
    add_region("ap", "JP", "AS", (const uint8_t[]){AP, US, EU, W});
    add_region("w", "FR", "EU", (const uint8_t[]){W, EU, US, AP});
    world.regions[W].witness = 1;
    add_class("catalog", MRD_READ_LOCAL, 0x7);
    add_partition("all", US);
    add_class("ledger", MRD_ACTIVE_PASSIVE, 0x6);
    add_partition("all", EU);
    add_class("orders", MRD_PARTITIONED, 0x7);
    add_partition("us", US);
    add_partition("eu", EU);
    add_partition("ap", AP);
    a = &world.partitions[P_CATALOG].authority;
    a->history_count = 2;
    a->history[0] = (struct mrd_closed_epoch){3, US, 10, 2, 500, 0};
    a->history[1] = (struct mrd_closed_epoch){4, EU, 20, 5, 1000, 0};
    world.regions[EU].applied_session = 5;
    world.regions[EU].applied_boot_ms = 2000;
    world.regions[AP].applied_session = 1;
    world.regions[AP].applied_boot_ms = 50;
}

static const char *answer(const struct mrd_request *r)
{
    static char text[512];
    struct mrd_route route;
    size_t n = 0;

    memset(&route, 0xee, sizeof(route));
    mrd_route(&world, r, 0, &route);
    n = (size_t)snprintf(text, sizeof(text), "%s:", mrd_route_why_name(route.why));
    for (unsigned i = 0; i < route.count; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, " %s",
                              world.regions[route.regions[i]].name);
    }
    for (unsigned i = 0; i < route.dropped_count; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "; %s %s",
                              world.regions[route.dropped[i].region].name,
                              route.dropped[i].reason);
    }
    return text;
}

/* ---- where, by state ---- */

enum { H = MRD_HEALTHY, S = MRD_SUSPECT, D = MRD_DEGRADED, X = MRD_DOWN, R = MRD_RECOVERING };

/* Rows stay rows. */
/* clang-format off */

static void test_no_data(void **state)
{
    static const struct {
        const char *name;
        mrd_region near;
        uint8_t health[3], dial[3];
        const char *want;
    } rows[] = {
        {"all well, near unknown", MRD_REGION_NONE, {H, H, H}, {100, 100, 100},
         "nearest: us eu ap; w witness"},
        {"near ap", AP, {H, H, H}, {100, 100, 100}, "nearest: ap us eu; w witness"},
        {"near a witness: its own order", W, {H, H, H}, {100, 100, 100},
         "nearest: eu us ap; w witness"},
        {"near out of range", 77, {H, H, H}, {100, 100, 100}, "nearest: us eu ap; w witness"},
        {"one down", MRD_REGION_NONE, {X, H, H}, {100, 100, 100},
         "nearest: eu ap; us down; w witness"},
        {"suspect moves nothing", MRD_REGION_NONE, {S, H, H}, {100, 100, 100},
         "nearest: us eu ap; w witness"},
        {"degraded leaves", MRD_REGION_NONE, {D, H, H}, {100, 100, 100},
         "nearest: eu ap; us degraded; w witness"},
        {"recovering has an edge", MRD_REGION_NONE, {R, H, H}, {100, 100, 100},
         "nearest: us eu ap; w witness"},
        {"drained", MRD_REGION_NONE, {H, H, H}, {0, 100, 100},
         "nearest: eu ap; us dialled out; w witness"},
        {"all down: fail open", AP, {X, X, X}, {100, 100, 100},
         "fail_open: ap us eu; ap down; us down; eu down; w witness"},
        {"down or drained: fail open", US, {X, X, H}, {100, 100, 0},
         "fail_open: us eu ap; us down; eu down; ap dialled out; w witness"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_request r = {.class_index = -1, .partition = -1, .near = rows[i].near};

        ROW(rows[i].name);
        make_world();
        for (unsigned k = 0; k < 3; k++) {
            world.regions[k].health = rows[i].health[k];
            world.regions[k].dial_percent = rows[i].dial[k];
        }
        assert_string_equal(answer(&r), rows[i].want);
        r.write = r.strong = true; /* without data there is no home to prefer */
        assert_string_equal(answer(&r), rows[i].want);
    }
}

static void test_reads(void **state)
{
    static const struct {
        const char *name;
        int class_index, partition;
        mrd_region near;
        uint8_t health[3];
        const char *want;
    } rows[] = {
        {"everywhere", CATALOG, P_CATALOG, EU, {H, H, H}, "nearest: eu us ap; w witness"},
        {"class without the partition named", CATALOG, -1, EU, {H, H, H},
         "nearest: eu us ap; w witness"},
        {"residency: only replicas", LEDGER, -1, US, {H, H, H},
         "nearest: eu ap; us holds no copy; w witness"},
        {"residency holds when failing open", LEDGER, -1, US, {H, X, X},
         "fail_open: eu ap; us holds no copy; eu down; ap down; w witness"},
        {"recovering serves no data", CATALOG, -1, EU, {H, R, H},
         "nearest: us ap; eu recovering; w witness"},
        {"recovering, but the home", LEDGER, -1, US, {H, R, H},
         "nearest: eu ap; us holds no copy; w witness"},
        {"degraded goes last", CATALOG, -1, US, {D, H, H}, "nearest: eu ap us; w witness"},
        {"two degraded keep their order", CATALOG, -1, US, {D, D, H},
         "nearest: ap us eu; w witness"},
        {"partition of a partitioned class", ORDERS, P_AP, AP, {H, H, H},
         "nearest: ap us eu; w witness"},
        {"across partitions", ORDERS, -1, AP, {H, H, H}, "nearest: ap us eu; w witness"},
        {"partition of another class: not known", CATALOG, P_AP, US, {H, H, H},
         "nearest: us eu ap; w witness"},
        {"class out of range: no data", 99, 0, US, {H, H, H}, "nearest: us eu ap; w witness"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_request r = {.class_index = rows[i].class_index,
                                .partition = rows[i].partition,
                                .near = rows[i].near};

        ROW(rows[i].name);
        make_world();
        for (unsigned k = 0; k < 3; k++) {
            world.regions[k].health = rows[i].health[k];
        }
        assert_string_equal(answer(&r), rows[i].want);
    }
}

static void test_home(void **state)
{
    static const struct {
        const char *name;
        int class_index, partition;
        enum mrd_authority_state authority;
        uint8_t home; /* 0: as it is, else region + 1 */
        const char *want;
    } rows[] = {
        {"the class's home", CATALOG, P_CATALOG, MRD_AUTH_OPEN, 0, "home: us"},
        {"partition not named", LEDGER, -1, MRD_AUTH_OPEN, 0, "home: eu"},
        {"the partition's home", ORDERS, P_AP, MRD_AUTH_OPEN, 0, "home: ap"},
        {"partitioned, no key", ORDERS, -1, MRD_AUTH_OPEN, 0, "no_home:"},
        {"partition of another class", ORDERS, P_CATALOG, MRD_AUTH_OPEN, 0, "no_home:"},
        {"partition beyond the table", ORDERS, 1000, MRD_AUTH_OPEN, 0, "no_home:"},
        {"moving: the old home holds it back", CATALOG, P_CATALOG, MRD_AUTH_FROZEN, 0,
         "home: us"},
        {"being replaced: the home refuses", CATALOG, P_CATALOG, MRD_AUTH_FENCING, 0,
         "home: us"},
        {"being replaced, elsewhere", LEDGER, P_LEDGER, MRD_AUTH_FENCING, 0, "home: eu"},
        {"vacant", CATALOG, P_CATALOG, MRD_AUTH_VACANT, 0, "no_home:"},
        {"open but of nobody", CATALOG, P_CATALOG, MRD_AUTH_OPEN, MRD_REGION_NONE, "no_home:"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_request r = {.class_index = rows[i].class_index,
                                .partition = rows[i].partition,
                                .near = AP,
                                .write = true};
        int p = rows[i].partition < 0 || rows[i].partition > P_AP ? 0 : rows[i].partition;

        ROW(rows[i].name);
        make_world();
        world.partitions[p].authority.state = rows[i].authority;
        if (rows[i].home != 0) {
            world.partitions[p].authority.region = MRD_REGION_NONE;
        }
        assert_string_equal(answer(&r), rows[i].want);
        r.write = false;
        r.strong = true;
        if (p == P_CATALOG && rows[i].authority == MRD_AUTH_FENCING) {
            assert_string_equal(answer(&r), "no_home:"); /* we know that it is not the latest */
            continue;
        }
        assert_string_equal(answer(&r), rows[i].want);
        world.regions[US].health = MRD_DOWN; /* the home is the home until it is replaced */
        assert_string_equal(answer(&r), rows[i].want);
    }
}

/* ---- read your writes ---- */

static void test_token(void **state)
{
    static const struct {
        const char *name;
        int class_index, partition;
        struct mrd_token token; /* home, epoch, session, boot_ms */
        uint8_t self_health;
        mrd_region self, authority; /* the partition's home */
        const char *want;
    } rows[] = {
        {"applied here", CATALOG, 0, {"eu", 5, 5, 1999}, H, US, US, "token_local: us"},
        {"applied to the millisecond", CATALOG, 0, {"eu", 5, 5, 2000}, H, US, US,
         "token_local: us"},
        {"an earlier session is applied", CATALOG, 0, {"eu", 5, 4, 99999}, H, US, US,
         "token_local: us"},
        {"not yet here", CATALOG, 0, {"eu", 5, 5, 2001}, H, US, EU, "token_home: eu"},
        {"a later session", CATALOG, 0, {"eu", 5, 6, 1}, H, US, EU, "token_home: eu"},
        {"local, the home behind it", CATALOG, 0, {"eu", 5, 5, 1}, H, US, EU,
         "token_local: us eu"},
        {"written here", CATALOG, 0, {"us", 5, 9, 99999}, H, US, US, "token_local: us"},
        {"written at the old home, up to the cut", CATALOG, 0, {"eu", 4, 5, 1000}, H, US, US,
         "token_local: us"},
        {"written at the old home, past the cut", CATALOG, 0, {"eu", 4, 5, 1001}, H, US, US,
         "token_lost: us"},
        {"past the cut by a session", CATALOG, 0, {"eu", 4, 6, 0}, H, US, US, "token_lost: us"},
        {"lost in an earlier turn of the present home", CATALOG, 0, {"us", 3, 2, 501}, H, US,
         US, "token_lost: us"},
        {"that epoch was not its own: judged by time", CATALOG, 0, {"us", 4, 9, 9}, H, US, US,
         "token_local: us"},
        {"another partition's epoch", ORDERS, P_EU, {"eu", 4, 5, 1500}, H, US, EU,
         "token_local: us eu"},
        {"we hold no copy", LEDGER, -1, {"eu", 5, 5, 1}, H, US, EU, "token_home: eu"},
        {"we are recovering", CATALOG, 0, {"eu", 5, 5, 1}, R, US, EU, "token_home: eu"},
        {"we are down", CATALOG, 0, {"eu", 5, 5, 1}, X, US, EU, "token_home: eu"},
        {"an epoch we have not heard of", CATALOG, 0, {"ap", 10, 5, 1}, H, US, US, "token_home: ap"},
        {"such an epoch, applied here once", CATALOG, 0, {"eu", 10, 5, 1}, H, US, US, "token_home: eu"},
        {"such an epoch, and it was our own", CATALOG, 0, {"us", 10, 5, 1}, H, US, US, "no_home:"},
        {"a region that is no more", CATALOG, 0, {"mars", 1, 1, 1}, H, US, US, "token_home: us"},
        {"not here and nobody is home", CATALOG, 0, {"eu", 5, 5, 2001}, H, US, MRD_REGION_NONE,
         "no_home:"},
        {"across partitions, applied", ORDERS, -1, {"eu", 5, 5, 1}, H, US, EU,
         "token_local: us eu"},
        {"across partitions, not applied", ORDERS, -1, {"ap", 5, 5, 1}, H, US, EU,
         "token_home: ap"},
        {"no data: no token", -1, -1, {"ap", 5, 5, 1}, H, US, US, "nearest: us eu ap; w witness"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_request r = {.class_index = rows[i].class_index,
                                .partition = rows[i].partition,
                                .near = MRD_REGION_NONE,
                                .token = &rows[i].token};

        ROW(rows[i].name);
        make_world();
        world.self = rows[i].self;
        world.regions[world.self].health = rows[i].self_health;
        if (rows[i].partition >= 0) {
            world.partitions[rows[i].partition].authority.region = rows[i].authority;
        }
        assert_string_equal(answer(&r), rows[i].want);
        r.write = true; /* a write does not care for tokens */
        if (rows[i].partition >= 0 && rows[i].authority != MRD_REGION_NONE) {
            assert_int_equal(strncmp(answer(&r), "home: ", 6), 0);
        }
    }
}

/* clang-format on */

/* We were granted the class but lack what the home before us wrote last. */
static void test_token_at_a_home_that_has_not_opened(void **state)
{
    struct mrd_token here = {"eu", 5, 5, 1999}, later = {"eu", 5, 5, 2001};
    struct mrd_request r = {.class_index = CATALOG, .near = MRD_REGION_NONE, .token = &later};

    (void)state;
    make_world();
    world.partitions[P_CATALOG].authority.state = MRD_AUTH_FENCING;
    assert_string_equal(answer(&r), "no_home:");
    r.token = &here;
    assert_string_equal(answer(&r), "token_local: us");
    world.partitions[P_CATALOG].authority.state = MRD_AUTH_OPEN;
    r.token = &later;
    assert_string_equal(answer(&r), "token_home: us");
}

/* ---- dial ---- */

static unsigned stays(uint8_t dial, uint64_t client)
{
    struct mrd_request r = {
        .class_index = -1, .partition = -1, .near = US, .client_hash = client};
    struct mrd_route route;

    world.regions[US].dial_percent = dial;
    mrd_route(&world, &r, 0, &route);
    return route.regions[0] == US;
}

static void test_dial(void **state)
{
    static const uint8_t dials[] = {0, 1, 10, 50, 90, 99, 100};
    unsigned before[2000] = {0};

    (void)state;
    make_world();
    for (size_t d = 0; d < ROWS(dials); d++) {
        unsigned in = 0;

        for (uint64_t client = 0; client < ROWS(before); client++) {
            unsigned now = stays(dials[d], client); /* poor hashes: small numbers */

            assert_int_equal(now, stays(dials[d], client)); /* it sticks */
            assert_true(now >= before[client]); /* raising the dial sends nobody away */
            before[client] = now;
            in += now;
        }
        /* Four standard deviations of a fair draw. */
        assert_in_range(in, dials[d] == 0 ? 0 : dials[d] * 20u - dials[d] * 20u / 4u,
                        dials[d] * 20u + (dials[d] == 0 || dials[d] == 100 ? 0 : 90));
    }
}

/* Those who leave one region are not the same as those who leave another. */
static void test_dial_is_drawn_per_region(void **state)
{
    unsigned both = 0;

    (void)state;
    make_world();
    world.regions[US].dial_percent = 50;
    world.regions[EU].dial_percent = 50;
    for (uint64_t client = 0; client < 1000; client++) {
        struct mrd_request r = {
            .class_index = -1, .partition = -1, .near = US, .client_hash = client};
        struct mrd_route route;

        mrd_route(&world, &r, 0, &route);
        both += route.count == 1;
    }
    assert_in_range(both, 190, 310);
}

/* ---- odd snapshots ---- */

static void test_broken_ranking(void **state)
{
    struct mrd_request r = {.class_index = -1, .partition = -1, .near = EU};

    (void)state;
    make_world();
    memset(world.regions[EU].rank, 0, sizeof(world.regions[EU].rank));
    assert_string_equal(answer(&r), "nearest: eu us ap; w witness");
    memset(world.regions[EU].rank, 0xff, sizeof(world.regions[EU].rank));
    assert_string_equal(answer(&r), "nearest: eu us ap; w witness");
    memset(&world, 0, sizeof(world));
    assert_string_equal(answer(&r), "no_home:");
}

static void test_most_regions(void **state)
{
    struct mrd_request r = {.class_index = -1, .partition = -1, .near = 15};
    struct mrd_route route;

    (void)state;
    memset(&world, 0, sizeof(world));
    world.region_count = MRD_REGIONS_MAX;
    for (unsigned i = 0; i < MRD_REGIONS_MAX; i++) {
        world.regions[i].health = MRD_DOWN;
        world.regions[i].dial_percent = 100;
    }
    mrd_route(&world, &r, 0, &route);
    assert_int_equal(route.why, MRD_ROUTE_FAIL_OPEN);
    assert_int_equal(route.count, MRD_REGIONS_MAX);
    assert_int_equal(route.dropped_count, MRD_REGIONS_MAX);
    assert_int_equal(route.regions[0], 15);
}

/* ---- nearest ---- */

static void network(mrd_region r, uint8_t family, uint8_t prefix, const char *bytes)
{
    struct mrd_network *n = &world.regions[r].networks[world.regions[r].network_count++];

    n->family = family;
    n->prefix = prefix;
    memcpy(n->addr, bytes, family == 4 ? 4 : 16);
}

static void test_near(void **state)
{
    static const struct {
        const char *name;
        int family;
        uint8_t addr[16];
        int want, scope;
    } rows[] = {
        {"in a network, away from others", 4, {10, 9, 0, 1}, EU, 13},
        {"the longer prefix wins", 4, {10, 1, 2, 3}, AP, 24},
        {"beside the longer prefix", 4, {10, 1, 3, 3}, EU, 24},
        {"last address of the longer prefix", 4, {10, 1, 2, 255}, AP, 24},
        {"a host", 4, {192, 0, 2, 1}, US, 32},
        {"beside the host", 4, {192, 0, 2, 0}, MRD_REGION_NONE, 32},
        {"in none", 4, {200, 0, 0, 1}, MRD_REGION_NONE, 5},
        {"all bits set", 4, {255, 255, 255, 255}, MRD_REGION_NONE, 3},
        {"IPv6", 6, {0x20, 0x01, 0x0d, 0xb8, 1}, US, 32},
        {"IPv6, in none", 6, {0x20, 0x01, 0x0d, 0xb9}, MRD_REGION_NONE, 32},
        {"IPv6 bytes of an IPv4 network", 6, {10, 9, 0, 1}, MRD_REGION_NONE, 3},
    };
    int scope = -1;

    (void)state;
    make_world();
    network(EU, 4, 8, "\x0a\x00\x00\x00");
    network(AP, 4, 24, "\x0a\x01\x02\x00");
    network(US, 4, 32, "\xc0\x00\x02\x01");
    network(US, 6, 32, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\0");
    network(AP, 0, 0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"); /* unused */
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        assert_int_equal(mrd_route_near(&world, rows[i].family, rows[i].addr, &scope),
                         rows[i].want);
        assert_int_equal(scope, rows[i].scope);
        assert_int_equal(mrd_route_near(&world, rows[i].family, rows[i].addr, NULL),
                         rows[i].want);
    }
    make_world();
    network(AP, 4, 0, "\0\0\0\0");
    assert_int_equal(mrd_route_near(&world, 4, rows[0].addr, &scope), AP);
    assert_int_equal(scope, 0);
}

/* The promise of the scope: nobody who shares these bits gets another answer. */
static void test_scope_is_honest(void **state)
{
    uint32_t x = 2463534242u;

    (void)state;
    make_world();
    for (unsigned i = 0; i < 3 * MRD_NETWORKS_MAX; i++) {
        uint8_t bytes[16] = {0};

        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[0] = 10;
        bytes[1] = (uint8_t)(x >> 28);
        bytes[2] = (uint8_t)(x >> 8);
        network((mrd_region)(i % 3), 4, (uint8_t)(8 + x % 17), (const char *)bytes);
    }
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t a[4] = {10, (uint8_t)(i % 16), (uint8_t)(i * 7), (uint8_t)(i * 13)}, b[4];
        int scope = 0;
        mrd_region want = mrd_route_near(&world, 4, a, &scope);

        assert_in_range(scope, 0, 32);
        for (int bit = scope; bit < 32; bit++) {
            x = x * 1664525u + 1013904223u;
            memcpy(b, a, 4);
            for (int k = bit; k < 32; k++) {
                b[k / 8] = (uint8_t)(b[k / 8] ^ ((x >> (k % 32) & 1u) << (7 - k % 8)));
            }
            assert_int_equal(mrd_route_near(&world, 4, b, NULL), want);
        }
    }
}

static void test_near_country(void **state)
{
    static const struct {
        const char *name, *country, *continent;
        int want;
    } rows[] = {
        {"country", "JP", "AS", AP},
        {"country before continent", "FR", "EU", W},
        {"continent", "ES", "EU", EU},
        {"country alone", "US", "", US},
        {"continent alone", "", "NA", US},
        {"neither known", "BR", "SA", MRD_REGION_NONE},
        {"nothing", "", "", MRD_REGION_NONE},
        {"longer than any", "USA", "NAM", MRD_REGION_NONE},
    };
    (void)state;
    make_world();
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        assert_int_equal(mrd_route_near_country(&world, rows[i].country, rows[i].continent),
                         rows[i].want);
    }
    world.regions[US].country[0] = world.regions[US].continent[0] = '\0';
    assert_int_equal(mrd_route_near_country(&world, "", ""), MRD_REGION_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_data),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_home),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_token_at_a_home_that_has_not_opened),
        cmocka_unit_test(test_dial),
        cmocka_unit_test(test_dial_is_drawn_per_region),
        cmocka_unit_test(test_broken_ranking),
        cmocka_unit_test(test_most_regions),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_scope_is_honest),
        cmocka_unit_test(test_near_country),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
