/*
 * Snapshot files from a hostile or broken writer. The first byte says how the rest is used:
 *
 *   even  the rest is the file, from its first byte
 *   odd   the rest is a list of {u16 offset, u8 value} changes to a sound snapshot, which is
 *         then published with a right checksum: damage that only validation can catch
 *
 * Whatever a reader is given is then used by everything that uses snapshots.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/buf.h>
#include <mrd/route.h>
#include <mrd/verdict.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mrd_snapshot sound, copy;

static void make_sound(struct mrd_snapshot *s)
{
    memset(s, 0, sizeof(*s));
    s->region_count = 3;
    s->class_count = 2;
    s->partition_count = 3;
    s->published_ns = 1;
    for (unsigned i = 0; i < 3; i++) {
        struct mrd_snap_region *r = &s->regions[i];

        r->name[0] = (char)('a' + i);
        r->dial_percent = 100;
        r->network_count = 2;
        r->networks[0] = (struct mrd_network){.family = 4, .prefix = 16, .addr = {10, 1}};
        r->networks[1] = (struct mrd_network){.family = 6, .prefix = 64, .addr = {0xfd}};
        s->partitions[i].name[0] = (char)('a' + i);
        s->partitions[i].class_index = i > 0;
        s->partitions[i].authority.epoch = 2;
        s->partitions[i].authority.history_count = 1;
        s->partitions[i].authority.history[0].epoch = 1;
    }
    s->classes[0].count = 1;
    s->classes[0].replicas = 7;
    s->classes[1].posture = MRD_PARTITIONED;
    s->classes[1].first = 1;
    s->classes[1].count = 2;
    s->classes[1].replicas = 0xffff;
}

static void use_route(const struct mrd_snapshot *s, int class_index, int partition,
                      unsigned how)
{
    struct mrd_token token = {.home = "a", .epoch = 1, .session = 1, .boot_ms = 1};
    struct mrd_request r = {.class_index = class_index,
                            .partition = partition,
                            .write = how == 1,
                            .strong = how == 2,
                            .near = (mrd_region)(how * 85),
                            .client_hash = how,
                            .token = how == 3 ? &token : NULL};
    struct mrd_route route;

    mrd_route(s, &r, 0, &route);
    assert(route.count <= s->region_count && route.dropped_count <= s->region_count);
    for (unsigned i = 0; i < route.count; i++) {
        assert(route.regions[i] < s->region_count);
    }
}

static void use(const struct mrd_snapshot *s)
{
    static const uint8_t addr[16] = {10, 1, 2, 3};
    int scope = 0;

    assert(mrd_snapshot_validate(s, NULL) == 0);
    for (int p = -1; p <= s->partition_count; p++) {
        mrd_guard(s, p, 0);
        for (int c = -1; c <= s->class_count; c++) {
            for (unsigned how = 0; how < 4; how++) {
                use_route(s, c, p, how);
            }
        }
    }
    for (unsigned p = 0; p < s->partition_count; p++) {
        for (mrd_epoch e = 0; e < 4; e++) {
            mrd_authority_accepts(&s->partitions[p].authority, 0, e, 1);
        }
    }
    mrd_route_near(s, 4, addr, &scope);
    assert(scope >= 0 && scope <= 32);
    mrd_route_near(s, 6, addr, &scope);
    assert(scope >= 0 && scope <= 128);
    mrd_route_near_country(s, "US", "NA");
    mrd_snapshot_region(s, "c");
    mrd_snapshot_find(s, "x", NULL);
}

static void change(struct mrd_snapshot *s, const uint8_t *data, size_t size)
{
    struct mrd_buf b = mrd_buf_reader(data, size);

    while (mrd_buf_left(&b) >= 3) {
        size_t at = mrd_buf_get_u16(&b);
        uint8_t value = mrd_buf_get_u8(&b);

        if (at < sizeof(*s)) {
            ((uint8_t *)s)[at] = value;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *map;
    size_t file = mrd_snapshot_file_size();

    if (map == NULL && (map = aligned_alloc(64, file)) == NULL) {
        abort();
    }
    memset(map, 0, file);
    memset(&copy, 0, sizeof(copy));
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        memcpy(map, data + 1, size - 1 < file ? size - 1 : file);
        if (mrd_snapshot_check(map, file) != 0) {
            mrd_snapshot_format(map);
        }
    } else {
        mrd_snapshot_format(map);
        make_sound(&sound);
        change(&sound, data + 1, size - 1);
        if (sound.region_count > MRD_REGIONS_MAX || sound.class_count > MRD_CLASSES_MAX ||
            sound.partition_count > MRD_PARTITIONS_MAX) {
            return 0;
        }
        mrd_snapshot_publish(map, &sound);
    }
    if (mrd_snapshot_read(map, &copy) == 1) {
        use(&copy);
    } else {
        assert(copy.generation == 0);
    }
    return 0;
}
