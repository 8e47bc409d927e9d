/*
 * `meridian verify CLASS`: do the regions hold the same rows? (compare.h)
 *
 * Which tables, partitions and homes there are comes from an agent; the rows are read from each
 * region's PostgreSQL. Where that is comes from the lab; else from the configuration by way of
 * the agent, with libpq's own ways for user and password; --dsn says it instead.
 */
#include <cli.h>
#include <client.h>
#include <compare.h>
#include <table.h>

#include <stdio.h>
#include <string.h>

#define SITES_MAX 16
#define NAMED 10 /* keys that are printed per table and region */

/* ---- what was found ---- */

static void print_count(struct cli_table *t, const json_t *o)
{
    if (cli_known(o, "rows")) {
        cli_cell(t, "%lld", cli_int(o, "rows"));
    } else {
        cli_cell(t, "%s", "");
    }
}

static void print_region(struct cli_table *t, const json_t *table, const json_t *r)
{
    cli_cell(t, "%s", cli_text(table, "table"));
    cli_cell(t, "%s", cli_text(table, "partition"));
    cli_cell(t, "%s", cli_text(r, "region"));
    print_count(t, r);
    const char *state = cli_text(r, "state");
    if (strcmp(state, "differs") == 0) {
        cli_cell(t, "DIFFERS: %lld row%s%s", cli_int(r, "differing"),
                 cli_int(r, "differing") == 1 ? "" : "s",
                 cli_true(r, "more") ? " or more" : "");
    } else {
        cli_cell(t, "%s%s%s", state, cli_text(r, "why")[0] != '\0' ? ": " : "",
                 cli_text(r, "why"));
    }
}

static void print_keys(const json_t *table, const json_t *r)
{
    size_t i;
    const json_t *k;
    char key[200];

    json_array_foreach(cli_list(r, "keys"), i, k)
    {
        if (i == NAMED) {
            printf("  and %lld more; --json names up to 100\n",
                   cli_int(r, "differing") - NAMED);
            break;
        }
        const char *what = cli_text(k, "what");
        printf("  %s %s %s in %s\n", cli_text(table, "table"),
               cli_clean(cli_text(k, "key"), key, sizeof(key)),
               strcmp(what, "differs") == 0   ? "is different"
               : strcmp(what, "missing") == 0 ? "is missing"
                                              : "is not at home but",
               cli_text(r, "region"));
    }
}

/* Counts are of the moment in which each region was read, while customers go on writing. */
static bool counts_moved(const json_t *c)
{
    size_t i, k;
    const json_t *table, *r;

    json_array_foreach(cli_list(c, "tables"), i, table)
    {
        json_array_foreach(cli_list(table, "regions"), k, r)
        {
            if (strcmp(cli_text(r, "state"), "equal") == 0 &&
                cli_int(r, "rows") != cli_int(table, "rows")) {
                return true;
            }
        }
    }
    return false;
}

void cli_print_comparison(const json_t *c)
{
    static const char *const titles[] = {"TABLE", "PARTITION", "REGION",
                                         ">ROWS", "STATE",     NULL};
    struct cli_table *t = cli_table_new(titles);
    size_t i, k;
    const json_t *table, *r;

    json_array_foreach(cli_list(c, "tables"), i, table)
    {
        cli_cell(t, "%s", cli_text(table, "table"));
        cli_cell(t, "%s", cli_text(table, "partition"));
        cli_cell(t, "%s", cli_text(table, "home"));
        print_count(t, table);
        cli_cell(t, "home%s%s", cli_text(table, "why")[0] != '\0' ? ", not compared: " : "",
                 cli_text(table, "why"));
        json_array_foreach(cli_list(table, "regions"), k, r)
        {
            print_region(t, table, r);
        }
    }
    cli_table_print(t, "the class has no tables\n");
    json_array_foreach(cli_list(c, "tables"), i, table)
    {
        json_array_foreach(cli_list(table, "regions"), k, r)
        {
            print_keys(table, r);
        }
    }
    if (counts_moved(c)) {
        puts("ROWS were counted at different moments: where they differ and the state is "
             "equal, the "
             "rows in\nbetween were still arriving. Only DIFFERS means that a row that stood "
             "still "
             "is not the same.");
    }
}

/* ---- whom to ask ---- */

static int add_site(const struct cli_usage *usage, struct cli_site *sites, unsigned *count,
                    const char *word)
{
    const char *equals = strchr(word, '=');
    size_t n = equals != NULL ? (size_t)(equals - word) : 0;
    struct cli_site *s = &sites[*count];

    if (n == 0 || n >= sizeof(s->name) || strlen(equals + 1) >= sizeof(s->dsn)) {
        return cli_misuse(usage, "--dsn takes REGION=CONNINFO, not \"%s\"", word);
    }
    snprintf(s->name, sizeof(s->name), "%.*s", (int)n, word);
    snprintf(s->dsn, sizeof(s->dsn), "%s", equals + 1);
    ++*count;
    return -1;
}

/** The regions of @class in the lab at hand. */
static void add_lab(const struct cli_place *place, const json_t *class, struct cli_site *sites,
                    unsigned *count)
{
    size_t i;
    const json_t *v;
    json_array_foreach(cli_list(class, "replicas"), i, v)
    {
        const char *name = json_string_value(v);
        struct cli_site *s = &sites[*count];
        if (name != NULL && *count < SITES_MAX &&
            cli_lab_dsn(place, name, s->dsn, sizeof(s->dsn))) {
            snprintf(s->name, sizeof(s->name), "%s", name);
            ++*count;
        }
    }
}

/** The configuration's addresses, as the agent tells them: "host:port/name". */
static int add_configured(const struct cli_place *place, const json_t *class,
                          struct cli_site *sites, unsigned *count)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                ".-_:/[]";
    json_t *answer;
    int rc = cli_ask(place, "/v1/regions", NULL, &answer);
    size_t i, k;
    const json_t *r, *v;

    if (rc != 0) {
        return rc;
    }
    json_array_foreach(cli_list(answer, "regions"), i, r)
    {
        const char *at = cli_text(r, "database"), *name = cli_text(r, "name");
        json_array_foreach(cli_list(class, "replicas"), k, v)
        {
            struct cli_site *s = &sites[*count];
            if (*count == SITES_MAX || at[0] == '\0' || at[strspn(at, plain)] != '\0' ||
                json_string_value(v) == NULL || strcmp(json_string_value(v), name) != 0) {
                continue;
            }
            snprintf(s->name, sizeof(s->name), "%s", name);
            snprintf(s->dsn, sizeof(s->dsn), "postgresql://%s", at);
            ++*count;
        }
    }
    json_decref(answer);
    return 0;
}

/* What the user asked for. */
struct wish {
    bool repair;
    struct cli_repair_wish how;
};

/** Compare, and with repair again what was copied; @ret_failed: something could not be. */
static json_t *look(const json_t *class, struct cli_site *sites, unsigned count,
                    const struct wish *wish, bool *ret_failed)
{
    json_t *c = cli_compare(class, sites, count, wish->how.timeout_ms);

    *ret_failed = false;
    if (wish->repair && !cli_true(c, "equal")) {
        struct cli_repairs r = cli_repair(c, sites, count, &wish->how);
        *ret_failed = r.failed > 0 || r.homeless > 0;
        if (r.done > 0) {
            json_decref(c);
            c = cli_compare(class, sites, count, wish->how.timeout_ms);
        }
    }
    return c;
}

/* Is there a table that its home itself cannot show? */
static bool not_compared(const json_t *c)
{
    size_t i;
    const json_t *table;

    json_array_foreach(cli_list(c, "tables"), i, table)
    {
        if (cli_text(table, "why")[0] != '\0') {
            return true;
        }
    }
    return false;
}

/* Was any copy seen to differ? */
static bool differs(const json_t *c)
{
    size_t i, k;
    const json_t *table, *region;

    json_array_foreach(cli_list(c, "tables"), i, table)
    {
        json_array_foreach(cli_list(table, "regions"), k, region)
        {
            if (strcmp(cli_text(region, "state"), "differs") == 0) {
                return true;
            }
        }
    }
    return false;
}

static int compare(const struct cli_place *place, const json_t *class, struct cli_site *sites,
                   unsigned count, const struct wish *wish)
{
    bool failed;
    json_t *c = look(class, sites, count, wish, &failed);
    int rc = cli_true(c, "equal") && !failed ? 0 : 1;

    if (place->json) {
        return cli_print_json(c, false) != 0 ? 1 : rc;
    }
    cli_print_comparison(c);
    if (rc == 0) {
        printf("every region holds the same rows of %s\n", cli_text(class, "name"));
    } else {
        cli_fail(
            not_compared(c) ? "A table that cannot be compared at its home cannot be repaired: "
                              "meridian status says what is wrong with it."
            : wish->repair || !differs(c)
                ? "Regions that are away are in: meridian regions; streams that stand, in: "
                  "meridian links."
                : "Copy what differs again from its home with --repair. Rows of a "
                  "lost tail are in: meridian reconcile list; streams that stand, "
                  "in: meridian links.",
            "it could not be shown that every region holds the same rows of \"%s\"",
            cli_text(class, "name"));
    }
    json_decref(c);
    return rc;
}

static int verify(const struct cli_place *place, const char *name, struct cli_site *sites,
                  unsigned count, const struct wish *wish)
{
    json_t *answer;
    int rc = cli_ask(place, "/v1/classes", NULL, &answer);
    const json_t *class = rc == 0 ? cli_named(answer, "classes", name) : NULL;

    if (rc != 0) {
        return rc;
    }
    if (class == NULL) {
        char hint[CLI_HINT_MAX];
        const char *slash = strchr(name, '/');
        if (slash != NULL) {
            snprintf(hint, sizeof(hint), "Try: meridian verify %.*s.", (int)(slash - name),
                     name);
            json_decref(answer);
            return cli_fail(hint, "verify takes a class, all its partitions: not \"%s\"", name);
        }
        rc = cli_fail(
            cli_hint(answer, "classes", name, "List them with: meridian classes.", hint),
            "there is no class \"%s\"", name);
    } else {
        if (count == 0) {
            add_lab(place, class, sites, &count);
        }
        if (count == 0) {
            rc = add_configured(place, class, sites, &count);
        }
        rc = rc != 0     ? rc
             : count > 0 ? compare(place, class, sites, count, wish)
                         : cli_fail("Give each region's with --dsn REGION=CONNINFO.",
                                    "it is not known where the regions' PostgreSQL is");
    }
    json_decref(answer);
    return rc;
}

int cli_verify(int argc, char **argv)
{
    static struct cli_site sites[SITES_MAX];
    const char *words[CLI_POSITIONAL_MAX], *timeout = NULL;
    unsigned long long timeout_s = 30;
    unsigned count = 0;
    int word_count = 0;
    struct cli_words dsns = {.count = 0};
    struct wish wish = {.repair = false};
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--repair", NULL, &wish.repair, "copy what differs again from its home"},
        {"--force", NULL, &wish.how.force,
         "with --repair: also while no other region could take over"},
        {"--timeout", "SECONDS", &timeout,
         "for each replica to catch up, and for a copy; default 30"},
        {"--dsn", "REGION=CONNINFO...", &dsns,
         "a region's PostgreSQL; else the lab's, or where\n"
         "                     the configuration has them (user, password: PGUSER, "
         "PGPASSFILE)"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "verify CLASS [--repair [--force]] [--timeout SECONDS] [--dsn R=CONNINFO...] [--json]",
        "Compare the rows of every replica with those of their home, while they are written.\n"
        "Exit status 1 when a region differs or could not be compared; the keys are named.\n"
        "With --repair each partition of a table that differs is copied again from its home, "
        "with\n"
        "an audit event, and compared once more. That takes a superuser there. Until the copy "
        "is\n"
        "whole the region cannot take over; so one is made at a time, and none while no other\n"
        "region has a whole copy.",
        options, 1, 1};
    int rc = cli_parse(&usage, argc, argv, words, &word_count);

    if (rc < 0 && timeout != NULL && !cli_number(timeout, 86400, &timeout_s)) {
        rc = cli_misuse(&usage, "--timeout takes seconds, not \"%s\"", timeout);
    }
    if (rc < 0 && wish.how.force && !wish.repair) {
        rc = cli_misuse(&usage, "--force says how to --repair, and is nothing without it");
    }
    for (int i = 0; rc < 0 && i < dsns.count; i++) {
        rc = add_site(&usage, sites, &count, dsns.word[i]);
    }
    if (rc >= 0) {
        return rc;
    }
    wish.how.timeout_ms = (unsigned)timeout_s * 1000;
    rc = verify(&place, words[0], sites, count, &wish);
    for (unsigned i = 0; i < SITES_MAX; i++) {
        cli_site_close(&sites[i]);
    }
    return rc;
}
