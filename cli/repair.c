/*
 * `meridian verify --repair`: what a comparison found to differ is copied again from its home.
 *
 * The replica's PostgreSQL is told to forget that it has that partition of that table; then the
 * home's stream replaces the rows there while both are written (postgres/cover.c), and the
 * replica is not chosen as that partition's home until it has them. Nothing else is touched,
 * and nothing where the home is not known: there is nothing to copy from. The extension leaves
 * the audit event.
 */
#include <client.h>
#include <compare.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 300

static bool begin(struct cli_site *s, const char *table, const char *partition, uint64_t end_ms)
{
    const char *params[] = {table, partition};
    /* The session that compares is read-only. */
    PGresult *r = cli_site_ask(
        s, end_ms, "SELECT set_config('default_transaction_read_only', 'off', false)", 0, NULL);
    bool done = false;

    if (r != NULL) {
        PQclear(r);
        r = cli_site_ask(s, end_ms, "SELECT meridian.copy_again($1::regclass, $2)", 2, params);
        done = r != NULL;
    }
    PQclear(r);
    return done;
}

/** Until the replica has the partition again; false when time is up or it cannot be asked. */
static bool await_copy(struct cli_site *s, const char *table, const char *partition,
                       uint64_t end_ms)
{
    const char *params[] = {table, partition};
    struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};

    for (;;) {
        PGresult *r = cli_site_ask(s, end_ms,
                                   "SELECT why FROM meridian.gaps"
                                   " WHERE relation = $1::regclass AND partition = $2",
                                   2, params);
        if (r == NULL) {
            return false;
        }
        bool whole = PQntuples(r) == 0;
        if (!whole) {
            snprintf(s->error, sizeof(s->error), "the copy is not there yet: %s",
                     PQgetvalue(r, 0, 0));
        }
        PQclear(r);
        if (whole || cli_mono_ms() >= end_ms) {
            return whole;
        }
        nanosleep(&pause, NULL);
    }
}

static struct cli_site *find(struct cli_site *sites, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(sites[i].name, name) == 0) {
            return &sites[i];
        }
    }
    return NULL;
}

static void repair_one(const json_t *table, const json_t *region, struct cli_site *sites,
                       unsigned count, uint64_t end_ms, struct cli_repairs *ret)
{
    const char *name = cli_text(table, "table"), *partition = cli_text(table, "partition");
    const char *where = cli_text(region, "region"), *home = cli_text(table, "home");
    struct cli_site *s = find(sites, count, where);

    if (s == NULL) {
        return; /* what differs was asked, so it is among them */
    }
    fprintf(stderr, "copying %s, %s, again from %s to %s\n", name, partition, home, where);
    if (begin(s, name, partition, end_ms) && await_copy(s, name, partition, end_ms)) {
        ret->done++;
        return;
    }
    ret->failed++;
    cli_fail(
        "It takes a superuser, as the owner of the copies; what a copy waits for is in the "
        "view meridian.gaps there.",
        "could not repair %s, %s, in %s: %s", name, partition, where, s->error);
}

struct cli_repairs cli_repair(const json_t *comparison, struct cli_site *sites, unsigned count,
                              unsigned timeout_ms)
{
    struct cli_repairs ret = {0, 0, 0};
    size_t i, k;
    const json_t *table, *region;

    json_array_foreach(cli_list(comparison, "tables"), i, table)
    {
        if (!cli_known(table, "home")) {
            ret.homeless++;
            cli_fail(
                "Nobody can say which rows are right until there is one: meridian classes.",
                "cannot repair %s, %s: it has no home now", cli_text(table, "table"),
                cli_text(table, "partition"));
        }
        json_array_foreach(cli_list(table, "regions"), k, region)
        {
            if (strcmp(cli_text(region, "state"), "differs") == 0) {
                repair_one(table, region, sites, count, cli_mono_ms() + timeout_ms, &ret);
            }
        }
    }
    return ret;
}
