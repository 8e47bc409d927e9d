/*
 * The snapshot file: two slots, one writer, any number of readers (mrd/snapshot.h).
 *
 *     file   := header slot slot            each part a multiple of 64 bytes
 *     header := magic abi file_size body_size
 *     slot   := generation length checksum body
 *
 * The protocol is a sequence lock per slot, made safe for a writer that dies at any moment.
 * The writer takes the slot that is not the newest good one, stores generation 0, a release
 * fence, the contents word by word, then the new generation with release order. A reader loads
 * the generation with acquire order, copies word by word, and after an acquire fence loads the
 * generation again: unchanged means that the copy is of one piece (Boehm, "Can seqlocks get
 * along with programming language memory models?", 2012). The words are relaxed atomics, so
 * that the race is defined behaviour and a sanitizer agrees.
 *
 * Nothing that a reader loads is trusted. The checksum covers generation, length and body, so
 * a slot that was damaged, or copied out of a file in pieces, does not check out; lengths are
 * bounded before they are used; contents are validated before a copy is handed out. A slot
 * that is stable and wrong is not tried again, so garbage costs a reader one pass over each
 * slot; only a slot that moved under the reader is, MRDI_TRIES times.
 *
 * The one thing no code here can survive is a file that shrinks while it is mapped. A reader
 * that must survive it as well reads the file into memory and passes that as the map.
 */
#include <mrd/snapshot.h>

#include <string.h>

#define MRDI_TRIES 8
#define MRDI_LINE 64u
#define MRDI_ROUND(n) (((n) + MRDI_LINE - 1) / MRDI_LINE * MRDI_LINE)
#define MRDI_BODY MRDI_ROUND(sizeof(struct mrd_snapshot))
#define MRDI_SLOT (MRDI_LINE + MRDI_BODY)
#define MRDI_FILE (MRDI_LINE + 2 * MRDI_SLOT)
#define MRDI_HEAD offsetof(struct mrd_snapshot, partitions)

struct file_header {
    uint32_t magic, abi;
    uint64_t file_size, body_size;
};

struct slot {
    uint64_t generation; /* 0: empty, or being written */
    uint64_t length;     /* bytes of the body that are used */
    uint64_t checksum;
    uint64_t unused[5];
    uint64_t body[]; /* a struct mrd_snapshot up to the last used partition */
};

_Static_assert(sizeof(struct file_header) <= MRDI_LINE, "the header fits its line");
_Static_assert(sizeof(struct slot) == MRDI_LINE, "the body begins on a line");
_Static_assert(MRDI_HEAD % 8 == 0, "the head is whole words");
_Static_assert(sizeof(struct mrd_snap_partition) % 8 == 0, "a partition is whole words");

enum taken { TAKEN, TAKEN_RACED, TAKEN_BAD };

/* ---- layout ---- */

static const struct slot *slot_of(const void *map, unsigned i)
{
    return (const struct slot *)(const void *)((const char *)map + MRDI_LINE + i * MRDI_SLOT);
}

static struct slot *slot_of_rw(void *map, unsigned i)
{
    return (struct slot *)(void *)((char *)map + MRDI_LINE + i * MRDI_SLOT);
}

/* Acquire: what the slot holds is read only after this. */
static uint64_t generation_of(const void *map, unsigned i)
{
    return __atomic_load_n(&slot_of(map, i)->generation, __ATOMIC_ACQUIRE);
}

static uint64_t used_length(unsigned partitions)
{
    return MRDI_HEAD + partitions * sizeof(struct mrd_snap_partition);
}

size_t mrd_snapshot_file_size(void)
{
    return MRDI_FILE;
}

void mrd_snapshot_format(void *map)
{
    struct file_header h = {
        .magic = MRD_SNAPSHOT_MAGIC,
        .abi = MRD_SNAPSHOT_ABI,
        .file_size = MRDI_FILE,
        .body_size = sizeof(struct mrd_snapshot),
    };
    memcpy(map, &h, sizeof(h));
}

int mrd_snapshot_check(const void *map, size_t size)
{
    struct file_header h;

    if (size < sizeof(h)) {
        return MRD_ESHORT;
    }
    memcpy(&h, map, sizeof(h));
    if (h.magic != MRD_SNAPSHOT_MAGIC || (uintptr_t)map % sizeof(uint64_t) != 0) {
        return MRD_EFORMAT;
    }
    if (h.abi != MRD_SNAPSHOT_ABI || h.file_size != MRDI_FILE ||
        h.body_size != sizeof(struct mrd_snapshot)) {
        return MRD_EVERSION;
    }
    return size < MRDI_FILE ? MRD_ESHORT : 0;
}

/* ---- checksum ---- */

/* One step of FNV-1a on words instead of bytes, with a shift added so that high bits spread
 * downwards too. Every step is a bijection of both inputs: a single changed word always shows.
 */
static uint64_t fold(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x100000001b3u;
    return h ^ (h >> 29);
}

/* Four lanes, because the multiplications of one lane wait for each other. */
static uint64_t checksum(uint64_t generation, uint64_t length, const void *body)
{
    uint64_t lane[4] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u, generation, length};
    const unsigned char *at = body;
    uint64_t word = 0;

    for (size_t i = 0; i < length / 8; i++) {
        memcpy(&word, at + i * 8, 8);
        lane[i % 4] = fold(lane[i % 4], word);
    }
    return fold(fold(fold(lane[0], lane[1]), lane[2]), lane[3]);
}

/* ---- validation: what a reader may rely on ---- */

static bool is_string(const char *s, size_t cap)
{
    return memchr(s, '\0', cap) != NULL;
}

static bool is_region_or_none(const struct mrd_snapshot *s, mrd_region r)
{
    return r < s->region_count || r == MRD_REGION_NONE;
}

static bool networks_valid(const struct mrd_snap_region *r)
{
    if (r->network_count > MRD_NETWORKS_MAX) {
        return false;
    }
    for (unsigned i = 0; i < r->network_count; i++) {
        const struct mrd_network *n = &r->networks[i];
        unsigned bits = n->family == 4 ? 32 : n->family == 6 ? 128 : 0;

        if ((bits == 0 && n->family != 0) || n->prefix > bits) {
            return false;
        }
    }
    return true;
}

static const char *region_problem(const struct mrd_snapshot *s, const struct mrd_snap_region *r)
{
    if (!is_string(r->name, sizeof(r->name)) || !is_string(r->country, sizeof(r->country)) ||
        !is_string(r->continent, sizeof(r->continent))) {
        return "a name without an end";
    }
    if (r->health > MRD_RECOVERING || r->stream > MRD_STREAM_FORWARD || r->witness > 1 ||
        r->alive > 1 || r->dial_percent > 100) {
        return "a state out of range";
    }
    if (r->has_v4 > MRD_ADDRESSES_MAX || r->has_v6 > MRD_ADDRESSES_MAX) {
        return "too many addresses";
    }
    for (unsigned i = 0; i < s->region_count; i++) {
        if (r->rank[i] >= s->region_count) {
            return "a rank that is no region";
        }
    }
    if (!is_region_or_none(s, r->via)) {
        return "a stream via no region";
    }
    return networks_valid(r) ? NULL : "a malformed client network";
}

static const char *class_problem(const struct mrd_snapshot *s, const struct mrd_snap_class *c)
{
    if (!is_string(c->name, sizeof(c->name))) {
        return "a name without an end";
    }
    if (c->posture > MRD_PARTITIONED || c->durability > MRD_QUORUM) {
        return "a posture or durability out of range";
    }
    if ((unsigned)c->first + c->count > s->partition_count) {
        return "partitions beyond the table";
    }
    return NULL;
}

static const char *partition_problem(const struct mrd_snapshot *s,
                                     const struct mrd_snap_partition *p)
{
    const struct mrd_authority *a = &p->authority;
    uint32_t state = 0;

    if (!is_string(p->name, sizeof(p->name))) {
        return "a name without an end";
    }
    /* Read as a number: an enumeration with a foreign value may not be looked at as one. */
    memcpy(&state, &a->state, sizeof(state));
    if (p->class_index >= s->class_count || state > MRD_AUTH_VACANT ||
        a->history_count > MRD_HISTORY_MAX || !is_region_or_none(s, a->region)) {
        return "an index or state out of range";
    }
    for (unsigned i = 0; i < a->history_count; i++) {
        if (!is_region_or_none(s, a->history[i].region)) {
            return "a closed epoch of no region";
        }
    }
    return NULL;
}

static int invalid(struct mrd_err *err, const char *what, unsigned index, const char *problem)
{
    return mrd_err_set(err, MRD_EFORMAT, "snapshot: %s %u: %s", what, index, problem);
}

int mrd_snapshot_validate(const struct mrd_snapshot *s, struct mrd_err *err)
{
    const char *problem = NULL;

    if (s->region_count == 0 || s->region_count > MRD_REGIONS_MAX ||
        s->class_count > MRD_CLASSES_MAX || s->partition_count > MRD_PARTITIONS_MAX) {
        return mrd_err_set(err, MRD_EFORMAT, "snapshot: a count out of range");
    }
    if (s->self >= s->region_count) {
        return mrd_err_set(err, MRD_EFORMAT, "snapshot: it belongs to no region");
    }
    for (unsigned i = 0; i < s->region_count; i++) {
        if ((problem = region_problem(s, &s->regions[i])) != NULL) {
            return invalid(err, "region", i, problem);
        }
    }
    for (unsigned i = 0; i < s->class_count; i++) {
        if ((problem = class_problem(s, &s->classes[i])) != NULL) {
            return invalid(err, "class", i, problem);
        }
    }
    for (unsigned i = 0; i < s->partition_count; i++) {
        if ((problem = partition_problem(s, &s->partitions[i])) != NULL) {
            return invalid(err, "partition", i, problem);
        }
    }
    return 0;
}

/* ---- reading ---- */

static void copy_out(void *to, const uint64_t *from, uint64_t length)
{
    unsigned char *at = to;

    for (size_t i = 0; i < length / 8; i++) {
        uint64_t word = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
        memcpy(at + i * 8, &word, 8);
    }
}

/* Is what stands in @ret a whole, right snapshot of that generation? */
static bool intact(const struct mrd_snapshot *ret, uint64_t generation, uint64_t length,
                   uint64_t sum)
{
    return checksum(generation, length, ret) == sum && ret->generation == generation &&
           generation <= INT64_MAX && ret->partition_count <= MRD_PARTITIONS_MAX &&
           length == used_length(ret->partition_count) && mrd_snapshot_validate(ret, NULL) == 0;
}

/*
 * Copy the slot that was seen with @generation, not 0; any other by now means that the writer
 * came by. @ret is scratch: filled also when the answer is no.
 */
static enum taken take(const struct slot *slot, uint64_t generation, struct mrd_snapshot *ret)
{
    uint64_t length = __atomic_load_n(&slot->length, __ATOMIC_RELAXED);
    uint64_t sum = __atomic_load_n(&slot->checksum, __ATOMIC_RELAXED);
    bool fits = length >= MRDI_HEAD && length <= sizeof(*ret) && length % 8 == 0;

    ret->generation = 0;
    ret->partition_count = 0;
    if (fits) {
        copy_out(ret, slot->body, length);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&slot->generation, __ATOMIC_RELAXED) != generation) {
        return TAKEN_RACED;
    }
    return fits && intact(ret, generation, length, sum) ? TAKEN : TAKEN_BAD;
}

/* Hand @fresh out, unless @copy is later: generations of one file only grow, but a file that
 * was made anew begins again, and its first snapshot is then the later one by its clock. */
static int hand_out(const struct mrd_snapshot *fresh, struct mrd_snapshot *copy)
{
    if (fresh->generation <= copy->generation && fresh->published_ns <= copy->published_ns) {
        return 0;
    }
    memcpy(copy, fresh, used_length(fresh->partition_count));
    return 1;
}

/* The newest slot that checks out, else why there is none. Kept out of line for its frame. */
__attribute__((noinline)) static int read_slots(const void *map, struct mrd_snapshot *copy)
{
    struct mrd_snapshot fresh;

    for (unsigned tries = 0; tries < MRDI_TRIES; tries++) {
        uint64_t g[2] = {generation_of(map, 0), generation_of(map, 1)};
        unsigned newest = g[1] > g[0];
        enum taken got = TAKEN_BAD;

        if (g[0] == 0 && g[1] == 0) {
            return MRD_EUNAVAILABLE;
        }
        for (unsigned k = 0; k < 2 && got == TAKEN_BAD; k++) {
            unsigned i = k == 0 ? newest : !newest;

            if (g[i] != 0 && g[i] == copy->generation) {
                return 0;
            }
            got = g[i] != 0 ? take(slot_of(map, i), g[i], &fresh) : TAKEN_BAD;
        }
        if (got == TAKEN) {
            return hand_out(&fresh, copy);
        }
        if (got == TAKEN_BAD) {
            break;
        }
    }
    return MRD_ECHECKSUM;
}

int mrd_snapshot_read(const void *map, struct mrd_snapshot *copy)
{
    uint64_t g0 = generation_of(map, 0), g1 = generation_of(map, 1);

    if (copy->generation != 0 && (g0 > g1 ? g0 : g1) == copy->generation) {
        return 0;
    }
    return read_slots(map, copy);
}

/* ---- writing ---- */

/* The slot to overwrite, and the generation of the one to keep (0: neither is good). */
__attribute__((noinline)) static unsigned victim(const void *map, uint64_t *newest_ret)
{
    struct mrd_snapshot scratch;
    uint64_t g[2] = {generation_of(map, 0), generation_of(map, 1)};

    for (unsigned i = 0; i < 2; i++) {
        if (g[i] != 0 && take(slot_of(map, i), g[i], &scratch) != TAKEN) {
            g[i] = 0;
        }
    }
    *newest_ret = g[1] > g[0] ? g[1] : g[0];
    return g[1] > g[0] ? 0 : 1;
}

static void copy_in(uint64_t *to, const void *from, uint64_t length)
{
    const unsigned char *at = from;
    uint64_t word = 0;

    for (size_t i = 0; i < length / 8; i++) {
        memcpy(&word, at + i * 8, 8);
        __atomic_store_n(&to[i], word, __ATOMIC_RELAXED);
    }
}

void mrd_snapshot_publish(void *map, struct mrd_snapshot *s)
{
    uint64_t newest = 0, length = used_length(s->partition_count);
    struct slot *slot = slot_of_rw(map, victim(map, &newest));

    mrd_assert(s->region_count <= MRD_REGIONS_MAX && s->class_count <= MRD_CLASSES_MAX &&
               s->partition_count <= MRD_PARTITIONS_MAX);
    s->generation = newest + 1;
    __atomic_store_n(&slot->generation, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&slot->length, length, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->checksum, checksum(s->generation, length, s), __ATOMIC_RELAXED);
    copy_in(slot->body, s, length);
    __atomic_store_n(&slot->generation, s->generation, __ATOMIC_RELEASE);
}

/* ---- look-ups ---- */

int mrd_snapshot_region(const struct mrd_snapshot *s, const char *name)
{
    for (int i = 0; i < s->region_count; i++) {
        if (strcmp(s->regions[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int mrd_snapshot_class(const struct mrd_snapshot *s, const char *name)
{
    for (int i = 0; i < s->class_count; i++) {
        if (strcmp(s->classes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int mrd_snapshot_partition(const struct mrd_snapshot *s, int class_index, const char *partition)
{
    const struct mrd_snap_class *c = NULL;

    if (class_index < 0 || class_index >= s->class_count) {
        return -1;
    }
    c = &s->classes[class_index];
    if (partition == NULL) {
        return c->posture != MRD_PARTITIONED && c->count == 1 ? c->first : -1;
    }
    for (int i = c->first; i < c->first + c->count; i++) {
        if (strcmp(s->partitions[i].name, partition) == 0) {
            return i;
        }
    }
    return -1;
}

int mrd_snapshot_find(const struct mrd_snapshot *s, const char *class_name,
                      const char *partition)
{
    return s == NULL ? -1
                     : mrd_snapshot_partition(s, mrd_snapshot_class(s, class_name), partition);
}
