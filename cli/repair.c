/*
 * `meridian verify --repair`: what a comparison found to differ is copied again from its home.
 *
 * The replica's PostgreSQL is told to forget that it has that partition of that table; then the
 * home's stream replaces the rows there while both are written (postgres/cover.c), and the
 * replica is not chosen as that partition's home until it has them. So one copy is made at a
 * time, only while another replica could take over (--force: all the same), and the first that
 * does not become whole ends it all. Nothing else is touched, and nothing where the home is not
 * known: there is nothing to copy from. The extension leaves the audit event.
 */
#include <client.h>
#include <compare.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 300
/* $1 is "schema.table" as the configuration writes it, in any case of letters */
#define TABLE "format('%I.%I', split_part($1, '.', 1), split_part($1, '.', 2))::regclass"

/* One pair to copy again. */
struct pair {
    const char *class, *table, *partition, *home;
    struct cli_site *site; /* the replica that differs */
    uint64_t end_ms;
};

/** Does the site hold all of the partition? False when it cannot be asked, too. */
static bool is_whole(struct cli_site *s, const struct pair *p)
{
    const char *params[] = {p->class, p->partition};
    PGresult *r = cli_site_ask(s, p->end_ms,
                               "SELECT FROM meridian.gaps WHERE class = $1 AND partition = $2",
                               2, params);
    bool whole = r != NULL && PQntuples(r) == 0;

    PQclear(r);
    return whole;
}

/**
 * Is there somebody who could take over while this replica has no whole copy? One that has
 * none as it is gives nothing up.
 */
static bool is_safe(const struct pair *p, const json_t *table, struct cli_site *sites,
                    unsigned count)
{
    size_t i;
    const json_t *region;

    json_array_foreach(cli_list(table, "regions"), i, region)
    {
        struct cli_site *s = cli_site_find(sites, count, cli_text(region, "region"));
        if (s != NULL && s != p->site && s->dsn[0] != '\0' && is_whole(s, p)) {
            return true;
        }
    }
    p->site->error[0] = '\0';
    return !is_whole(p->site, p) && p->site->error[0] == '\0';
}

static bool begin(const struct pair *p)
{
    const char *params[] = {p->table, p->partition};
    /* The session that compares is read-only. */
    PGresult *r = cli_site_ask(
        p->site, p->end_ms, "SELECT set_config('default_transaction_read_only', 'off', false)",
        0, NULL);
    bool done = false;

    if (r != NULL) {
        PQclear(r);
        r = cli_site_ask(p->site, p->end_ms, "SELECT meridian.copy_again(" TABLE ", $2)", 2,
                         params);
        done = r != NULL;
    }
    PQclear(r);
    return done;
}

/** Until the replica has the partition again; false when time is up or it cannot be asked. */
static bool await_copy(const struct pair *p)
{
    const char *params[] = {p->table, p->partition};
    struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    struct cli_site *s = p->site;

    for (;;) {
        /* There the name is text, because of tables that do not exist yet. */
        PGresult *r = cli_site_ask(s, p->end_ms,
                                   "SELECT why FROM meridian.gaps"
                                   " WHERE relation = " TABLE "::text AND partition = $2",
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
        if (whole || cli_mono_ms() >= p->end_ms) {
            return whole;
        }
        nanosleep(&pause, NULL);
    }
}

static void refuse(const struct pair *p, struct cli_repairs *ret)
{
    ret->failed++;
    cli_fail(
        "See SELECT * FROM meridian.gaps in the others, and bring back those that are away; "
        "--force copies all the same.",
        "cannot copy %s, %s, again to %s: no other region that answers has a whole copy, so "
        "that nobody could take over if %s were lost meanwhile",
        p->table, p->partition, p->site->name, p->home);
}

/** False: it may be without its copy now, and nothing more is to be taken away. */
static bool repair_one(const struct pair *p, struct cli_repairs *ret)
{
    fprintf(stderr, "copying %s, %s, again from %s to %s\n", p->table, p->partition, p->home,
            p->site->name);
    if (begin(p) && await_copy(p)) {
        ret->done++;
        return true;
    }
    ret->failed++;
    cli_fail(
        "It takes a superuser, as the owner of the copies; what a copy waits for is in the "
        "view meridian.gaps there. Nothing else is copied until it is whole.",
        "could not repair %s, %s, in %s: %s", p->table, p->partition, p->site->name,
        p->site->error);
    return false;
}

/** The replicas of one table's partition; false as repair_one. */
static bool repair_table(const json_t *table, struct pair p, struct cli_site *sites,
                         unsigned count, const struct cli_repair_wish *wish,
                         struct cli_repairs *ret)
{
    size_t i;
    const json_t *region;
    bool go_on = true;

    p.table = cli_text(table, "table");
    p.partition = cli_text(table, "partition");
    p.home = cli_text(table, "home");
    json_array_foreach(cli_list(table, "regions"), i, region)
    {
        /* What differs was asked, so it is among them. */
        p.site = cli_site_find(sites, count, cli_text(region, "region"));
        p.end_ms = cli_mono_ms() + wish->timeout_ms;
        if (!go_on || p.site == NULL || strcmp(cli_text(region, "state"), "differs") != 0) {
            continue;
        }
        if (!wish->force && !is_safe(&p, table, sites, count)) {
            refuse(&p, ret);
        } else {
            go_on = repair_one(&p, ret);
        }
    }
    return go_on;
}

struct cli_repairs cli_repair(const json_t *comparison, struct cli_site *sites, unsigned count,
                              const struct cli_repair_wish *wish)
{
    struct cli_repairs ret = {0, 0, 0};
    const struct pair of_class = {.class = cli_text(comparison, "class")};
    bool go_on = true;
    size_t i;
    const json_t *table;

    json_array_foreach(cli_list(comparison, "tables"), i, table)
    {
        if (!cli_known(table, "home")) {
            ret.homeless++;
            cli_fail(
                "Nobody can say which rows are right until there is one: meridian classes.",
                "cannot repair %s, %s: it has no home now", cli_text(table, "table"),
                cli_text(table, "partition"));
        }
        go_on = go_on && repair_table(table, of_class, sites, count, wish, &ret);
    }
    return ret;
}
