/*
 * The snapshot file: what is published is read; a writer that dies anywhere, a damaged or
 * foreign file and a racing writer never yield anything but a whole snapshot or an error.
 */
#include "unit.h"

#include <pthread.h>

#include <mrd/snapshot.h>

/* Three regions, two classes, three partitions, with something in every kind of field. */
static void fill(struct mrd_snapshot *s, uint64_t mark)
{
    memset(s, 0, sizeof(*s));
    s->published_ns = 1000 + mark;
    s->published_ms = mark;
    s->session = mark;
    s->lease_deadline_ns = mark;
    s->commit_margin_ms = 300;
    s->stale_after_ms = 5000;
    s->dns_ttl_s = 30;
    s->region_count = 3;
    s->class_count = 2;
    s->partition_count = 3;
    for (uint8_t i = 0; i < 3; i++) {
        struct mrd_snap_region *r = &s->regions[i];

        snprintf(r->name, sizeof(r->name), "r%u", i);
        r->dial_percent = 100;
        r->via = MRD_REGION_NONE;
        for (uint8_t k = 0; k < 3; k++) {
            r->rank[k] = (uint8_t)((i + k) % 3);
        }
        r->network_count = 1;
        r->networks[0] = (struct mrd_network){.family = 4, .prefix = 16, .addr = {10, i}};
        r->applied_lsn = mark;
        snprintf(s->partitions[i].name, MRD_NAME_MAX, i == 0 ? "all" : "r%u", i);
        s->partitions[i].class_index = i == 0 ? 0 : 1;
        s->partitions[i].authority.region = i;
        s->partitions[i].authority.epoch = mark;
        s->partitions[i].authority.history_count = 1;
        s->partitions[i].authority.history[0].cut = mark;
    }
    snprintf(s->classes[0].name, MRD_NAME_MAX, "schema");
    s->classes[0].count = 1;
    snprintf(s->classes[1].name, MRD_NAME_MAX, "orders");
    s->classes[1].posture = MRD_PARTITIONED;
    s->classes[1].first = 1;
    s->classes[1].count = 2;
}

/* Everything that carries the mark carries the same one: a copy is of one piece. */
static void assert_whole(const struct mrd_snapshot *s)
{
    uint64_t mark = s->published_ms;

    assert_int_equal(s->published_ns, 1000 + mark);
    assert_int_equal(s->lease_deadline_ns, mark);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(s->regions[i].applied_lsn, mark);
        assert_int_equal(s->partitions[i].authority.epoch, mark);
        assert_int_equal(s->partitions[i].authority.history[0].cut, mark);
    }
}

static struct mrd_snapshot given, copy;

static void *new_file(void)
{
    size_t size = mrd_snapshot_file_size();
    void *map = aligned_alloc(64, size);

    assert_non_null(map);
    memset(map, 0, size);
    mrd_snapshot_format(map);
    return map;
}

static void put(void *map, uint64_t mark)
{
    fill(&given, mark);
    mrd_snapshot_publish(map, &given);
}

static void test_publish_and_read(void **state)
{
    void *map = new_file();

    (void)state;
    memset(&copy, 0, sizeof(copy));
    assert_int_equal(mrd_snapshot_check(map, mrd_snapshot_file_size()), 0);
    assert_int_equal(mrd_snapshot_read(map, &copy), MRD_EUNAVAILABLE);
    for (uint64_t mark = 1; mark < 10; mark++) {
        put(map, mark);
        assert_int_equal(given.generation, mark);
        assert_int_equal(mrd_snapshot_read(map, &copy), 1);
        assert_int_equal(copy.generation, mark);
        assert_memory_equal(&copy, &given, sizeof(copy));
        assert_int_equal(mrd_snapshot_read(map, &copy), 0);
    }
    free(map);
}

static void test_largest_and_smallest(void **state)
{
    void *map = new_file();

    (void)state;
    fill(&given, 1);
    given.partition_count = MRD_PARTITIONS_MAX;
    mrd_snapshot_publish(map, &given);
    memset(&copy, 0, sizeof(copy));
    assert_int_equal(mrd_snapshot_read(map, &copy), 1);
    assert_memory_equal(&copy, &given, sizeof(copy));
    given.class_count = 0;
    given.partition_count = 0;
    mrd_snapshot_publish(map, &given);
    assert_int_equal(mrd_snapshot_read(map, &copy), 1);
    assert_int_equal(copy.partition_count, 0);
    free(map);
}

static void test_check(void **state)
{
    static const struct {
        const char *name;
        size_t at, size; /* a byte to spoil; SIZE_MAX: none. 0: the whole file */
        int want;
    } rows[] = {
        {"right", SIZE_MAX, 0, 0},
        {"empty file", SIZE_MAX, 1, MRD_ESHORT},
        {"half a header", SIZE_MAX, 12, MRD_ESHORT},
        {"a header and nothing else", SIZE_MAX, 64, MRD_ESHORT},
        {"another magic", 0, 0, MRD_EFORMAT},
        {"another version", 4, 0, MRD_EVERSION},
        {"another file size", 8, 0, MRD_EVERSION},
        {"another body size", 16, 0, MRD_EVERSION},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        uint8_t *map = new_file();

        ROW(rows[i].name);
        if (rows[i].at != SIZE_MAX) {
            map[rows[i].at] ^= 0x55;
        }
        assert_int_equal(mrd_snapshot_check(map, rows[i].size != 0 ? rows[i].size
                                                                   : mrd_snapshot_file_size()),
                         rows[i].want);
        assert_int_equal(mrd_snapshot_check(map, mrd_snapshot_file_size() - 1) < 0, true);
        free(map);
    }
}

/* The order of the writer's stores: generation 0, then the slot from front to back without its
 * generation, then the generation. Stop after each byte of it. */
static void test_writer_killed_at_every_byte(void **state)
{
    size_t size = mrd_snapshot_file_size(), slot_size = (size - 64) / 2;
    uint8_t *before = new_file(), *after = new_file(), *killed = new_file(), *slot = NULL;
    size_t from = 64, used = 0;

    (void)state;
    put(before, 1);
    put(before, 2);
    memcpy(after, before, size);
    put(after, 3);
    /* Which slot the third went to, and how far it differs. */
    from = memcmp(before + 64, after + 64, slot_size) != 0 ? 64 : 64 + slot_size;
    for (size_t i = 0; i < slot_size; i++) {
        used = before[from + i] != after[from + i] ? i + 1 : used;
    }
    assert_true(used > 1000);
    memcpy(killed, before, size);
    slot = killed + from;
    memset(slot, 0, 8);
    for (size_t n = 8; n <= used; n++) {
        memset(&copy, 0, sizeof(copy));
        assert_int_equal(mrd_snapshot_read(killed, &copy), 1);
        assert_int_equal(copy.generation, 2);
        assert_whole(&copy);
        assert_int_equal(mrd_snapshot_read(killed, &copy), 0);
        slot[n] = after[from + n];
    }
    /* The next agent goes on with the file. */
    memcpy(after, killed, size);
    put(after, 4);
    assert_int_equal(given.generation, 3);
    assert_int_equal(mrd_snapshot_read(after, &copy), 1);
    assert_int_equal(copy.published_ms, 4);
    /* The last store: torn or whole, nothing but 2 or 3 comes out. */
    for (size_t n = 0; n < 8; n++) {
        slot[n] = (uint8_t)(UINT64_C(3) >> (8 * n));
        memset(&copy, 0, sizeof(copy));
        assert_int_equal(mrd_snapshot_read(killed, &copy), 1);
        assert_int_equal(copy.generation, 3);
        assert_whole(&copy);
    }
    free(before);
    free(after);
    free(killed);
}

/* The same without the protocol: the new generation stands first, the rest comes byte by byte,
 * as when the file is copied while it is written. */
static void test_torn_copy(void **state)
{
    size_t size = mrd_snapshot_file_size();
    uint8_t *before = new_file(), *after = new_file();
    unsigned seen[4] = {0};

    (void)state;
    put(before, 1);
    put(before, 2);
    memcpy(after, before, size);
    put(after, 3);
    for (size_t n = 0; n < size; n++) {
        if (before[n] == after[n]) {
            continue;
        }
        before[n] = after[n];
        memset(&copy, 0, sizeof(copy));
        assert_int_equal(mrd_snapshot_read(before, &copy), 1);
        assert_true(copy.generation == 2 || copy.generation == 3);
        assert_whole(&copy);
        seen[copy.generation]++;
    }
    assert_true(seen[2] > 0 && seen[3] == 1);
    free(before);
    free(after);
}

/* Any single byte wrong anywhere in the newest slot: the older one is handed out. */
static void test_flipped_bytes(void **state)
{
    size_t size = mrd_snapshot_file_size(), slot_size = (size - 64) / 2;
    uint8_t *map = new_file();
    size_t newest = 0;

    (void)state;
    put(map, 1);
    put(map, 2);
    newest = map[64] == 2 ? 64 : 64 + slot_size;
    assert_int_equal(map[newest], 2);
    for (size_t at = newest + 1; at < newest + 64 + 3000; at++) {
        bool unused = at >= newest + 24 && at < newest + 64;

        map[at] ^= 0x20;
        memset(&copy, 0, sizeof(copy));
        assert_int_equal(mrd_snapshot_read(map, &copy), 1);
        assert_int_equal(copy.generation, unused ? 2 : 1);
        assert_whole(&copy);
        map[at] ^= 0x20;
    }
    free(map);
}

static void test_keeps_what_it_has(void **state)
{
    size_t size = mrd_snapshot_file_size(), slot_size = (size - 64) / 2;
    uint8_t *map = new_file();

    (void)state;
    put(map, 1);
    put(map, 2);
    memset(&copy, 0, sizeof(copy));
    assert_int_equal(mrd_snapshot_read(map, &copy), 1);
    put(map, 3);
    memset(map + (map[64] == 3 ? 64 : 64 + slot_size) + 200, 0xff, 100);
    assert_int_equal(mrd_snapshot_read(map, &copy), 0); /* 3 is damaged, 2 is what we have */
    assert_int_equal(copy.generation, 2);
    memset(map + 64 + 200, 0xff, 100);
    memset(map + 64 + slot_size + 200, 0xff, 100);
    copy.generation = 0;
    assert_int_equal(mrd_snapshot_read(map, &copy), MRD_ECHECKSUM);
    assert_whole(&copy);
    put(map, 9); /* a restarted agent heals it */
    assert_int_equal(given.generation, 1);
    assert_int_equal(mrd_snapshot_read(map, &copy), 1);
    assert_int_equal(copy.published_ms, 9);
    free(map);
}

/* A file that was made anew begins again at generation 1; the later clock wins. */
static void test_file_made_anew(void **state)
{
    void *old = new_file(), *anew = new_file();

    (void)state;
    memset(&copy, 0, sizeof(copy));
    for (uint64_t mark = 1; mark < 6; mark++) {
        put(old, mark);
    }
    assert_int_equal(mrd_snapshot_read(old, &copy), 1);
    put(anew, 3);
    assert_int_equal(mrd_snapshot_read(anew, &copy), 0); /* older than what we have */
    assert_int_equal(copy.published_ms, 5);
    put(anew, 7);
    assert_int_equal(mrd_snapshot_read(anew, &copy), 1);
    assert_int_equal(copy.published_ms, 7);
    assert_int_equal(copy.generation, 2);
    free(old);
    free(anew);
}

static void test_garbage(void **state)
{
    size_t size = mrd_snapshot_file_size();
    uint8_t *map = new_file();
    uint64_t x = 88172645463325252u;

    (void)state;
    memset(&copy, 0, sizeof(copy));
    for (unsigned round = 0; round < 50; round++) {
        for (size_t i = 64; i < size; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            map[i] = (uint8_t)x;
        }
        assert_int_equal(mrd_snapshot_read(map, &copy), MRD_ECHECKSUM);
        assert_int_equal(copy.generation, 0);
    }
    memset(map + 64, 0xff, size - 64);
    assert_int_equal(mrd_snapshot_read(map, &copy), MRD_ECHECKSUM);
    put(map, 5);
    assert_int_equal(mrd_snapshot_read(map, &copy), 1);
    free(map);
}

/* Rightly signed and wrong inside: refused by name, and never handed out. */
#define BAD(field, value)                                                                      \
    {                                                                                          \
#field " = " #value, offsetof(struct mrd_snapshot, field), sizeof(given.field), value  \
    }
static void test_out_of_range(void **state)
{
    static const struct {
        const char *name;
        size_t at, size;
        uint64_t value;
    } rows[] = {
        BAD(region_count, 0),
        BAD(region_count, MRD_REGIONS_MAX + 1),
        BAD(class_count, MRD_CLASSES_MAX + 1),
        BAD(self, 3),
        BAD(self, 0xff),
        BAD(regions[2].health, 5),
        BAD(regions[2].stream, 4),
        BAD(regions[2].via, 3),
        BAD(regions[2].witness, 2),
        BAD(regions[2].dial_percent, 101),
        BAD(regions[2].has_v4, MRD_ADDRESSES_MAX + 1),
        BAD(regions[2].has_v6, 255),
        BAD(regions[2].rank[2], 3),
        BAD(regions[2].network_count, MRD_NETWORKS_MAX + 1),
        BAD(regions[2].networks[0].prefix, 33),
        BAD(regions[2].networks[0].family, 5),
        BAD(classes[1].posture, 4),
        BAD(classes[1].durability, 2),
        BAD(classes[1].first, 2),
        BAD(classes[1].count, 65535),
        BAD(partitions[2].class_index, 2),
        BAD(partitions[2].authority.region, 3),
        BAD(partitions[2].authority.state, 4),
        BAD(partitions[2].authority.state, 0xffffffff),
        BAD(partitions[2].authority.history_count, MRD_HISTORY_MAX + 1),
        BAD(partitions[2].authority.history[0].region, 3),
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        void *map = new_file();
        struct mrd_err err = {0};

        ROW(rows[i].name);
        put(map, 1);
        fill(&given, 2);
        assert_int_equal(mrd_snapshot_validate(&given, NULL), 0);
        memcpy((uint8_t *)&given + rows[i].at, &rows[i].value, rows[i].size);
        assert_int_equal(mrd_snapshot_validate(&given, &err), MRD_EFORMAT);
        assert_true(err.text[0] != '\0');
        if (given.region_count <= MRD_REGIONS_MAX && given.class_count <= MRD_CLASSES_MAX) {
            mrd_snapshot_publish(map, &given);
            memset(&copy, 0, sizeof(copy));
            assert_int_equal(mrd_snapshot_read(map, &copy), 1);
            assert_int_equal(copy.published_ms, 1);
        }
        free(map);
    }
}

static void test_names_without_an_end(void **state)
{
    char *const names[] = {given.regions[1].name, given.classes[1].name,
                           given.partitions[1].name};

    (void)state;
    for (size_t i = 0; i < ROWS(names); i++) {
        fill(&given, 1);
        memset(names[i], 'a', MRD_NAME_MAX);
        assert_int_equal(mrd_snapshot_validate(&given, NULL), MRD_EFORMAT);
    }
    fill(&given, 1);
    memset(given.regions[0].country, 'a', sizeof(given.regions[0].country));
    assert_int_equal(mrd_snapshot_validate(&given, NULL), MRD_EFORMAT);
}

static void test_look_ups(void **state)
{
    (void)state;
    fill(&given, 1);
    assert_int_equal(mrd_snapshot_region(&given, "r2"), 2);
    assert_int_equal(mrd_snapshot_region(&given, "r3"), -1);
    assert_int_equal(mrd_snapshot_class(&given, "orders"), 1);
    assert_int_equal(mrd_snapshot_class(&given, ""), -1);
    assert_int_equal(mrd_snapshot_partition(&given, 0, NULL), 0);
    assert_int_equal(mrd_snapshot_partition(&given, 0, "all"), 0);
    assert_int_equal(mrd_snapshot_partition(&given, 1, "r2"), 2);
    assert_int_equal(mrd_snapshot_partition(&given, 1, "all"), -1);
    assert_int_equal(mrd_snapshot_partition(&given, 1, NULL), -1);
    assert_int_equal(mrd_snapshot_partition(&given, 2, "r2"), -1);
    assert_int_equal(mrd_snapshot_partition(&given, -1, "r2"), -1);
    assert_int_equal(mrd_snapshot_find(&given, "orders", "r2"), 2);
    assert_int_equal(mrd_snapshot_find(&given, "orders", "all"), -1);
    assert_int_equal(mrd_snapshot_find(&given, "nothing", "r2"), -1);
    assert_int_equal(mrd_snapshot_find(NULL, "orders", "r2"), -1);
}

/* A real race: one thread publishes without pause, this one reads. */
struct race {
    void *map;
    int stop;
};

static void *publisher(void *arg)
{
    struct race *race = arg;
    static struct mrd_snapshot s;

    for (uint64_t mark = 2; !__atomic_load_n(&race->stop, __ATOMIC_RELAXED); mark++) {
        fill(&s, mark);
        mrd_snapshot_publish(race->map, &s);
    }
    return NULL;
}

static void test_race(void **state)
{
    struct race race = {.map = new_file()};
    pthread_t thread;
    uint64_t last = 0;
    unsigned fresh = 0;

    (void)state;
    put(race.map, 1);
    memset(&copy, 0, sizeof(copy));
    assert_int_equal(pthread_create(&thread, NULL, publisher, &race), 0);
    for (unsigned i = 0; i < 20000; i++) {
        int got = mrd_snapshot_read(race.map, &copy);

        assert_true(got == 0 || got == 1 || (got == MRD_ECHECKSUM));
        fresh += got == 1;
        assert_true(copy.generation >= last);
        last = copy.generation;
        assert_whole(&copy);
    }
    __atomic_store_n(&race.stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_true(fresh > 0);
    assert_true(mrd_snapshot_read(race.map, &copy) >= 0);
    free(race.map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish_and_read),
        cmocka_unit_test(test_largest_and_smallest),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_writer_killed_at_every_byte),
        cmocka_unit_test(test_torn_copy),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_keeps_what_it_has),
        cmocka_unit_test(test_file_made_anew),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_names_without_an_end),
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
