/*
 * snapwrite FILE [--keep]   < description
 *
 * Writes a snapshot file from a few lines of text, through the same mrd_snapshot_publish that
 * the agent uses, so that tests of nginx, knotd and PostgreSQL can put a region into any state.
 * A file that is already a snapshot is published into, as a running agent would; anything else
 * is replaced by rename. --keep publishes again every 100 ms until it is killed.
 *
 *     self us-east-1                      whose snapshot this is (default: the first region)
 *     ttl 30 | stale_ms 5000 | age_ms 0   age_ms: published that long ago
 *     session 7 | lease_ms 4000 | margin_ms 300 | config 1 | key 64-hex-digits
 *     region NAME [country=US] [continent=NA] [health=down] [dial=50] [v4=A[,B]] [v6=A[,B]]
 *            [edge=ADDR:PORT] [weight=N] [rtt_us=N] [net=A/BITS]... [rank=R,R,...] [witness=1]
 *            [alive=0] [stream=none|run|refuse|forward] [via=R] [session=N] [lsn=N] [lag=N]
 *            [applied=SESSION:BOOT_MS]
 *     class NAME POSTURE DURABILITY [replicas=R,...] [allowed=R,...] [acks=N]
 *     partition CLASS NAME [home=R] [epoch=N] [state=open|frozen|fencing|vacant]
 *            [closed=EPOCH:REGION:LSN:SESSION:BOOT_MS[:UNFENCED,...]]...
 *
 * Partitions of one class stand together, after their class. "#" begins a comment. Prints the
 * generation. Exits 2 when the description is wrong, 1 when the file cannot be written.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <mrd/snapshot.h>

#define LINES_MAX 512
#define WORDS_MAX 64

struct line {
    unsigned number, count;
    char *words[WORDS_MAX];
};

static struct line lines[LINES_MAX];
static unsigned line_count;
static const struct line *at;
static struct mrd_snapshot snap;
static uint64_t age_ms, lease_ms;

__attribute__((noreturn)) static void wrong(const char *what, const char *word)
{
    fprintf(stderr, "snapwrite: line %u: %s: %s\n", at != NULL ? at->number : 0, what, word);
    exit(2);
}

static uint64_t clock_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* ---- words ---- */

static uint64_t number(const char *s, uint64_t max)
{
    char *end = NULL;
    uint64_t v = 0;

    errno = 0;
    v = strtoull(s, &end, 0);
    if (*s < '0' || *s > '9' || *end != '\0' || errno != 0 || v > max) {
        wrong("not a number in range", s);
    }
    return v;
}

static void name(char *to, size_t cap, const char *from)
{
    if (strlen(from) >= cap) {
        wrong("too long", from);
    }
    strcpy(to, from);
}

static mrd_region region(const char *s)
{
    int r = mrd_snapshot_region(&snap, s);

    if (r < 0) {
        wrong("no such region", s);
    }
    return (mrd_region)r;
}

/* Cut the next item off a list. */
static char *item(char **list, const char *separators)
{
    char *s = strsep(list, separators);

    return s != NULL ? s : "";
}

static mrd_regions region_set(char *list)
{
    mrd_regions set = 0;

    while (list != NULL) {
        set |= (mrd_regions)(1u << region(item(&list, ",")));
    }
    return set;
}

static uint8_t choice(const char *s, const char *const names[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i], s) == 0) {
            return (uint8_t)i;
        }
    }
    wrong("unknown word", s);
}
#define CHOICE(s, ...)                                                                         \
    choice((s), (const char *const[]){__VA_ARGS__},                                            \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* "key=value" when @word has that key. */
static char *value(char *word, const char *key)
{
    size_t len = strlen(key);

    return strncmp(word, key, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

/* ---- regions ---- */

static uint8_t addresses(int family, char *list, void *to, size_t size)
{
    uint8_t n = 0;

    while (list != NULL) {
        char *s = item(&list, ",");

        if (n == MRD_ADDRESSES_MAX || inet_pton(family, s, (char *)to + n * size) != 1) {
            wrong("not an address, or too many", s);
        }
        n++;
    }
    return n;
}

static void network(struct mrd_snap_region *r, char *s)
{
    struct mrd_network *n = &r->networks[r->network_count];
    char *addr = item(&s, "/");

    if (r->network_count == MRD_NETWORKS_MAX || s == NULL) {
        wrong("not a network, or too many", addr);
    }
    n->family = strchr(addr, ':') != NULL ? 6 : 4;
    n->prefix = (uint8_t)number(s, n->family == 6 ? 128 : 32);
    if (inet_pton(n->family == 6 ? AF_INET6 : AF_INET, addr, n->addr) != 1) {
        wrong("not a network", addr);
    }
    r->network_count++;
}

static void ranking(struct mrd_snap_region *r, char *list)
{
    for (unsigned i = 0; list != NULL && i < MRD_REGIONS_MAX; i++) {
        r->rank[i] = region(item(&list, ","));
    }
}

static void region_word(struct mrd_snap_region *r, char *word)
{
    char *v = NULL;

    if ((v = value(word, "country")) != NULL) {
        name(r->country, sizeof(r->country), v);
    } else if ((v = value(word, "continent")) != NULL) {
        name(r->continent, sizeof(r->continent), v);
    } else if ((v = value(word, "health")) != NULL) {
        r->health = CHOICE(v, "healthy", "suspect", "degraded", "down", "recovering");
    } else if ((v = value(word, "dial")) != NULL) {
        r->dial_percent = (uint8_t)number(v, 100);
    } else if ((v = value(word, "v4")) != NULL) {
        r->has_v4 = addresses(AF_INET, v, r->v4, 4);
    } else if ((v = value(word, "v6")) != NULL) {
        r->has_v6 = addresses(AF_INET6, v, r->v6, 16);
    } else if ((v = value(word, "edge")) != NULL) {
        addresses(AF_INET, item(&v, ":"), r->edge_v4, 4);
        r->edge_port = (uint16_t)number(v != NULL ? v : "", 65535);
    } else if ((v = value(word, "weight")) != NULL) {
        r->weight = (uint32_t)number(v, UINT32_MAX);
    } else if ((v = value(word, "rtt_us")) != NULL) {
        r->rtt_us = (uint32_t)number(v, UINT32_MAX);
    } else if ((v = value(word, "net")) != NULL) {
        network(r, v);
    } else if ((v = value(word, "rank")) != NULL) {
        ranking(r, v);
    } else if ((v = value(word, "witness")) != NULL) {
        r->witness = (uint8_t)number(v, 1);
    } else if ((v = value(word, "alive")) != NULL) {
        r->alive = (uint8_t)number(v, 1);
    } else if ((v = value(word, "stream")) != NULL) {
        r->stream = CHOICE(v, "none", "run", "refuse", "forward");
    } else if ((v = value(word, "via")) != NULL) {
        r->via = region(v);
    } else if ((v = value(word, "session")) != NULL) {
        r->session = number(v, UINT64_MAX);
    } else if ((v = value(word, "lsn")) != NULL) {
        r->applied_lsn = number(v, UINT64_MAX);
    } else if ((v = value(word, "lag")) != NULL) {
        r->lag_bytes = number(v, UINT64_MAX);
    } else if ((v = value(word, "applied")) != NULL) {
        r->applied_session = number(item(&v, ":"), UINT64_MAX);
        r->applied_boot_ms = number(v != NULL ? v : "", UINT64_MAX);
    } else {
        wrong("unknown word", word);
    }
}

/* First pass: names, so that lines may mention regions that come later. */
static void region_name(const struct line *l)
{
    struct mrd_snap_region *r = &snap.regions[snap.region_count];

    if (snap.region_count == MRD_REGIONS_MAX || l->count < 2) {
        wrong("a region without a name, or too many", l->words[0]);
    }
    name(r->name, sizeof(r->name), l->words[1]);
    r->alive = 1;
    r->dial_percent = 100;
    r->weight = 100;
    r->via = MRD_REGION_NONE;
    snap.region_count++;
}

static void region_line(const struct line *l)
{
    mrd_region self = region(l->words[1]);
    struct mrd_snap_region *r = &snap.regions[self];
    unsigned n = 0;

    r->rank[n++] = self;
    for (unsigned i = 0; i < snap.region_count; i++) {
        if (i != self) {
            r->rank[n++] = (mrd_region)i;
        }
    }
    for (unsigned i = 2; i < l->count; i++) {
        region_word(r, l->words[i]);
    }
}

/* ---- classes and partitions ---- */

static void class_line(const struct line *l)
{
    struct mrd_snap_class *c = &snap.classes[snap.class_count];
    char *v = NULL;

    if (snap.class_count == MRD_CLASSES_MAX || l->count < 4) {
        wrong("class NAME POSTURE DURABILITY, or too many", l->words[0]);
    }
    name(c->name, sizeof(c->name), l->words[1]);
    c->posture =
        CHOICE(l->words[2], "single-region", "active-passive", "read-local", "partitioned");
    c->durability = CHOICE(l->words[3], "async", "quorum");
    c->replicas = (mrd_regions)((1u << snap.region_count) - 1);
    c->allowed = c->replicas;
    c->first = snap.partition_count;
    for (unsigned i = 4; i < l->count; i++) {
        if ((v = value(l->words[i], "replicas")) != NULL) {
            c->replicas = region_set(v);
        } else if ((v = value(l->words[i], "allowed")) != NULL) {
            c->allowed = region_set(v);
        } else if ((v = value(l->words[i], "acks")) != NULL) {
            c->remote_acks = (uint8_t)number(v, MRD_REGIONS_MAX);
        } else {
            wrong("unknown word", l->words[i]);
        }
    }
    snap.class_count++;
}

static void closed_epoch(struct mrd_authority *a, char *v)
{
    struct mrd_closed_epoch *c = &a->history[a->history_count];

    if (a->history_count == MRD_HISTORY_MAX) {
        wrong("too many closed epochs", v);
    }
    c->epoch = number(item(&v, ":"), UINT64_MAX);
    c->region = region(item(&v, ":"));
    c->cut = number(item(&v, ":"), UINT64_MAX);
    c->cut_session = number(item(&v, ":"), UINT64_MAX);
    c->cut_boot_ms = number(item(&v, ":"), UINT64_MAX);
    if (v != NULL) {
        c->unfenced = region_set(v);
    }
    a->history_count++;
}

static void partition_line(const struct line *l)
{
    struct mrd_snap_partition *p = &snap.partitions[snap.partition_count];
    struct mrd_authority *a = &p->authority;
    char *v = NULL;
    int class = l->count > 2 ? mrd_snapshot_class(&snap, l->words[1]) : -1;

    if (class < 0 || class != snap.class_count - 1 ||
        snap.partition_count == MRD_PARTITIONS_MAX) {
        wrong("partition LAST-CLASS NAME, or too many", l->words[0]);
    }
    p->class_index = (uint8_t) class;
    name(p->name, sizeof(p->name), l->words[2]);
    a->region = MRD_REGION_NONE;
    a->epoch = 1;
    for (unsigned i = 3; i < l->count; i++) {
        if ((v = value(l->words[i], "home")) != NULL) {
            a->region = region(v);
        } else if ((v = value(l->words[i], "epoch")) != NULL) {
            a->epoch = number(v, UINT64_MAX);
        } else if ((v = value(l->words[i], "state")) != NULL) {
            a->state =
                (enum mrd_authority_state)CHOICE(v, "open", "frozen", "fencing", "vacant");
        } else if ((v = value(l->words[i], "closed")) != NULL) {
            closed_epoch(a, v);
        } else {
            wrong("unknown word", l->words[i]);
        }
    }
    snap.partition_count++;
    snap.classes[class].count++;
}

/* ---- the rest ---- */

static void token_key(const char *s)
{
    for (unsigned i = 0; i < sizeof(snap.token_key); i++) {
        unsigned byte = 0;

        if (strlen(s) != 2 * sizeof(snap.token_key) || sscanf(s + 2 * i, "%2x", &byte) != 1) {
            wrong("not 64 hexadecimal digits", s);
        }
        snap.token_key[i] = (uint8_t)byte;
    }
}

static void setting_line(const struct line *l)
{
    const char *key = l->words[0], *v = l->count == 2 ? l->words[1] : "";

    if (strcmp(key, "self") == 0) {
        snap.self = region(v);
    } else if (strcmp(key, "ttl") == 0) {
        snap.dns_ttl_s = (uint32_t)number(v, UINT32_MAX);
    } else if (strcmp(key, "stale_ms") == 0) {
        snap.stale_after_ms = (uint32_t)number(v, UINT32_MAX);
    } else if (strcmp(key, "age_ms") == 0) {
        age_ms = number(v, UINT32_MAX);
    } else if (strcmp(key, "lease_ms") == 0) {
        lease_ms = number(v, UINT32_MAX);
    } else if (strcmp(key, "margin_ms") == 0) {
        snap.commit_margin_ms = (uint32_t)number(v, UINT32_MAX);
    } else if (strcmp(key, "session") == 0) {
        snap.session = number(v, UINT64_MAX);
    } else if (strcmp(key, "config") == 0) {
        snap.config_version = number(v, UINT64_MAX);
    } else if (strcmp(key, "key") == 0) {
        token_key(v);
    } else {
        wrong("unknown line", key);
    }
}

static void read_lines(void)
{
    char *text = NULL, *line = NULL, *word = NULL, *rest = NULL;
    size_t cap = 0;

    for (unsigned n = 1; getline(&text, &cap, stdin) > 0; n++) {
        struct line *l = &lines[line_count];

        text[strcspn(text, "#\n")] = '\0';
        line = rest = strdup(text);
        while (line != NULL && (word = strsep(&rest, " \t")) != NULL) {
            if (*word != '\0' && l->count < WORDS_MAX) {
                l->words[l->count++] = word;
            }
        }
        l->number = n;
        if (l->count == 0) {
            free(line);
        } else if (++line_count == LINES_MAX) {
            wrong("too many lines", text);
        }
    }
    free(text);
}

static void describe(void)
{
    for (unsigned i = 0; i < line_count; i++) {
        at = &lines[i];
        if (strcmp(at->words[0], "region") == 0) {
            region_name(at);
        }
    }
    for (unsigned i = 0; i < line_count; i++) {
        at = &lines[i];
        if (strcmp(at->words[0], "region") == 0) {
            region_line(at);
        } else if (strcmp(at->words[0], "class") == 0) {
            class_line(at);
        } else if (strcmp(at->words[0], "partition") == 0) {
            partition_line(at);
        } else {
            setting_line(at);
        }
    }
}

/* ---- the file ---- */

/* The existing snapshot, mapped, or NULL. */
static void *map_old(const char *path)
{
    size_t size = mrd_snapshot_file_size();
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    void *map = NULL;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < (off_t)size) {
        map = MAP_FAILED;
    } else {
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    return map != MAP_FAILED && mrd_snapshot_check(map, size) == 0 ? map : NULL;
}

/* A new one, mapped, under a name that is not yet the final one. */
static void *map_new(const char *path)
{
    size_t size = mrd_snapshot_file_size();
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    void *map = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0) {
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (map == MAP_FAILED) {
        fprintf(stderr, "snapwrite: could not write \"%s\": %s\n", path, strerror(errno));
        exit(1);
    }
    close(fd);
    mrd_snapshot_format(map);
    return map;
}

static void publish(void *map)
{
    uint64_t now_ms = clock_ms(CLOCK_BOOTTIME);
    struct mrd_err err;

    snap.published_ns = (now_ms > age_ms ? now_ms - age_ms : 0) * 1000000u;
    snap.published_ms = clock_ms(CLOCK_REALTIME) - age_ms;
    snap.lease_deadline_ns = lease_ms != 0 ? (now_ms + lease_ms) * 1000000u : 0;
    if (mrd_snapshot_validate(&snap, &err) != 0) {
        fprintf(stderr, "snapwrite: %s\n", err.text);
        exit(2);
    }
    mrd_snapshot_publish(map, &snap);
}

int main(int argc, char **argv)
{
    char fresh[4096];
    void *map = NULL;

    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "--keep") != 0)) {
        fprintf(stderr, "usage: snapwrite FILE [--keep] < description\n");
        return 2;
    }
    snap.dns_ttl_s = 30;
    snap.stale_after_ms = 5000;
    snap.commit_margin_ms = 300;
    snap.config_version = 1;
    read_lines();
    describe();
    snprintf(fresh, sizeof(fresh), "%s.new", argv[1]);
    map = map_old(argv[1]);
    if (map != NULL) {
        publish(map);
    } else {
        publish(map = map_new(fresh));
        if (rename(fresh, argv[1]) != 0) {
            fprintf(stderr, "snapwrite: could not rename to \"%s\": %s\n", argv[1],
                    strerror(errno));
            return 1;
        }
    }
    printf("%" PRIu64 "\n", snap.generation);
    fflush(stdout);
    while (argc == 3) {
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        publish(map);
    }
    return 0;
}
