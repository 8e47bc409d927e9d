/*
 * `meridian route`: where would this request go, and why?
 *
 * Reads the snapshot file itself and asks the same mrd_route that answers in DNS and at the
 * edge. It needs no agent: like them it works on when the agent is dead.
 */
#include <cli.h>
#include <client.h>
#include <table.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <load.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <mrd/route.h>

struct question {
    const char *client, *key, *class_name, *snapshot;
    bool write, strong, explain, json;
};

/* ---- the snapshot ---- */

static int cannot_read(const char *path, const char *why)
{
    return cli_fail("Its agent publishes it; see: meridian status.",
                    "could not read the snapshot \"%s\": %s", path, why);
}

static int map_and_read(const char *path, int fd, struct mrd_snapshot *ret)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size <= 0) {
        return cannot_read(path, "it is empty");
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return cannot_read(path, strerror(errno));
    }
    int rc = mrd_snapshot_check(map, (size_t)st.st_size);
    if (rc == 0) {
        rc = mrd_snapshot_read(map, ret);
    }
    munmap(map, (size_t)st.st_size);
    return rc < 0 ? cannot_read(path, mrd_strerror(rc)) : 0;
}

static int read_snapshot(const char *path, struct mrd_snapshot *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cannot_read(path, strerror(errno));
    }
    int rc = map_and_read(path, fd, ret);
    close(fd);
    return rc;
}

/* ---- the request ---- */

static bool set_client(const struct mrd_snapshot *s, const char *text, struct mrd_request *r)
{
    uint8_t addr[16];
    int family = strchr(text, ':') != NULL ? 6 : 4, prefix = 0;

    if (inet_pton(family == 6 ? AF_INET6 : AF_INET, text, addr) != 1) {
        return false;
    }
    r->near = mrd_route_near(s, family, addr, &prefix);
    r->client_hash = mrd_client_hash(family, addr);
    return true;
}

static int set_data(const struct mrd_snapshot *s, const struct question *q,
                    struct mrd_request *r)
{
    r->class_index = r->partition = -1;
    if (q->class_name == NULL) {
        return 0;
    }
    r->class_index = mrd_snapshot_class(s, q->class_name);
    if (r->class_index < 0) {
        const char *words[MRD_CLASSES_MAX + 1] = {NULL};
        char hint[CLI_HINT_MAX];
        for (unsigned i = 0; i < s->class_count; i++) {
            words[i] = s->classes[i].name;
        }
        return cli_fail(mrd_config_hint(q->class_name, words,
                                        "List them with: meridian classes.", hint,
                                        sizeof(hint)),
                        "there is no class \"%s\"", q->class_name);
    }
    r->partition = mrd_snapshot_partition(s, r->class_index, q->key);
    if (r->partition < 0 && (q->key != NULL || q->write || q->strong)) {
        return cli_fail(
            "Name one of its partitions with --key; list them with: meridian classes.",
            q->key != NULL ? "class \"%s\" has no partition \"%s\""
                           : "class \"%s\" is partitioned, so this needs a key",
            q->class_name, q->key);
    }
    return 0;
}

/* ---- the answer ---- */

static const char *sentence(enum mrd_route_why why)
{
    switch (why) {
    case MRD_ROUTE_NEAREST:
        return "nearest region that may serve";
    case MRD_ROUTE_HOME:
        return "home of the data";
    case MRD_ROUTE_FAIL_OPEN:
        return "no region is healthy: the nearest anyway";
    case MRD_ROUTE_NO_HOME:
        return "nobody may write this data now";
    default:
        return mrd_route_why_name(why); /* the rest needs a token, which nobody gives here */
    }
}

static json_t *names(const struct mrd_snapshot *s, const struct mrd_route *route)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < route->count; i++) {
        json_array_append_new(list, json_string(s->regions[route->regions[i]].name));
    }
    return list;
}

static json_t *near_json(const struct mrd_snapshot *s, mrd_region near)
{
    return near < s->region_count ? json_string(s->regions[near].name) : json_null();
}

static int print_as_json(const struct mrd_snapshot *s, const struct mrd_request *r,
                         const struct mrd_route *route, uint64_t age_ms)
{
    json_t *dropped = json_array();
    for (unsigned i = 0; i < route->dropped_count; i++) {
        json_array_append_new(dropped, json_pack("{s:s, s:s}", "region",
                                                 s->regions[route->dropped[i].region].name,
                                                 "reason", route->dropped[i].reason));
    }
    return cli_print_json(json_pack("{s:s, s:o, s:s, s:o, s:o, s:I, s:I, s:b}", "region",
                                    s->regions[s->self].name, "near", near_json(s, r->near),
                                    "why", mrd_route_why_name(route->why), "regions",
                                    names(s, route), "dropped", dropped, "snapshot_generation",
                                    (json_int_t)s->generation, "snapshot_age_ms",
                                    (json_int_t)age_ms, "stale", age_ms > s->stale_after_ms),
                          false);
}

/** What the authority's state means for a write that arrives now; "" when all is well. */
static const char *state_words(const struct mrd_authority *a)
{
    switch (a->state) {
    case MRD_AUTH_FROZEN:
        return ", frozen: writes wait for a planned move";
    case MRD_AUTH_FENCING:
        return ", fencing: its home is being replaced";
    case MRD_AUTH_VACANT:
        return ", vacant: nobody may write it";
    default:
        return "";
    }
}

static void explain_data(const struct mrd_snapshot *s, const struct mrd_request *r)
{
    if (r->class_index < 0) {
        printf("data:      none; any region with an edge\n");
        return;
    }
    const struct mrd_snap_class *class = &s->classes[r->class_index];
    printf("data:      class %s, %s, %s\n", class->name, mrd_posture_name(class->posture),
           mrd_durability_name(class->durability));
    if (r->partition >= 0) {
        const struct mrd_snap_partition *p = &s->partitions[r->partition];
        const struct mrd_authority *a = &p->authority;
        printf("partition: %s, home %s, epoch %llu%s\n", p->name,
               a->region < s->region_count ? s->regions[a->region].name : "none",
               (unsigned long long)a->epoch, state_words(a));
    }
}

static void explain(const struct mrd_snapshot *s, const struct mrd_request *r, bool given,
                    const struct mrd_route *route, uint64_t age_ms)
{
    char span[32];
    printf("snapshot:  the one of %s, generation %llu, %s old%s\n", s->regions[s->self].name,
           (unsigned long long)s->generation, cli_span((long long)age_ms, span),
           age_ms > s->stale_after_ms ? " (stale: health is frozen as it was)" : "");
    if (r->near < s->region_count) {
        printf("client:    nearest to %s by its network\n", s->regions[r->near].name);
    } else {
        printf("client:    %s; taken as nearest to %s\n",
               given ? "in no known network" : "not given", s->regions[s->self].name);
    }
    explain_data(s, r);
    for (unsigned i = 0; i < route->count; i++) {
        const struct mrd_snap_region *g = &s->regions[route->regions[i]];
        printf("%s%u. %s (%s)\n", i == 0 ? "answer:    " : "           ", i + 1, g->name,
               mrd_health_name(g->health));
    }
    for (unsigned i = 0; i < route->dropped_count; i++) {
        printf("%s%s: %s\n", i == 0 ? "left out:  " : "           ",
               s->regions[route->dropped[i].region].name, route->dropped[i].reason);
    }
    printf("because:   %s\n", sentence(route->why));
}

static int answer(const struct mrd_snapshot *s, const struct question *q,
                  const struct mrd_request *r)
{
    struct mrd_route route;
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    mrd_boot_ns now = (mrd_boot_ns)ts.tv_sec * 1000000000u + (mrd_boot_ns)ts.tv_nsec;
    uint64_t age_ms = now > s->published_ns ? (now - s->published_ns) / 1000000u : 0;
    mrd_route(s, r, now, &route);
    if (q->json) {
        return print_as_json(s, r, &route, age_ms);
    }
    if (q->explain) {
        explain(s, r, q->client != NULL, &route, age_ms);
        return 0;
    }
    if (route.count == 0) {
        printf("no region: %s\n", sentence(route.why));
    } else {
        printf("%s: %s\n", s->regions[route.regions[0]].name, sentence(route.why));
    }
    return 0;
}

static int decide(const struct cli_usage *usage, const struct cli_place *place,
                  const struct question *q)
{
    struct mrd_request r = {.near = MRD_REGION_NONE, .write = q->write, .strong = q->strong};
    struct mrd_snapshot *s = calloc(1, sizeof(*s));
    char *path = cli_snapshot_path(place, q->snapshot);
    int rc = 1;

    if (s == NULL || path == NULL) {
        goto out;
    }
    rc = read_snapshot(path, s);
    if (rc == 0 && s->self >= s->region_count) {
        rc = cannot_read(path, "it names no region as its own");
    }
    if (rc == 0 && q->client != NULL && !set_client(s, q->client, &r)) {
        rc = cli_misuse(usage, "--client takes an address, not \"%s\"", q->client);
    }
    if (rc == 0) {
        rc = set_data(s, q, &r);
    }
    if (rc == 0) {
        rc = answer(s, q, &r);
    }
out:
    free(path);
    free(s);
    return rc;
}

int cli_route(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    struct question q = {0};
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--client", "IP", &q.client, "the client's address; else one nearest to this region"},
        {"--class", "C", &q.class_name, "the data; else any region with an edge"},
        {"--key", "K", &q.key, "the partition of a partitioned class"},
        {"--write", NULL, &q.write, "it writes"},
        {"--strong", NULL, &q.strong, "it reads and must see the latest"},
        {"--explain", NULL, &q.explain, "who was considered, who was left out, why"},
        {"--json", NULL, &q.json, "the decision as JSON"},
        {"--snapshot", "FILE", &q.snapshot, "decide by this file"},
        {"--region", "NAME", &place.region, "decide as this region of a lab"},
        {"--dir", "DIR", &place.dir, "the lab; else $MERIDIAN_LAB or /var/tmp/meridian-lab"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "route [--client IP] [--class C [--key K]] [--write] [--explain] [--json]",
        "Where would this request go? The same function answers in DNS and at the edge.",
        options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (q.class_name == NULL && (q.key != NULL || q.write || q.strong)) {
        return cli_misuse(&usage, "%s needs --class",
                          q.key != NULL ? "--key"
                          : q.write     ? "--write"
                                        : "--strong");
    }
    return decide(&usage, &place, &q);
}
