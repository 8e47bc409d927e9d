/*
 * `meridian reconcile`: writes that a dead region acknowledged and nobody else had.
 *
 * What counts is the queue at the present home of a row's partition: decisions are taken there,
 * and the returned region itself may hold nothing of its own tail. Where several agents can be
 * reached, as in a lab, the command learns the homes from the first that answers and asks each
 * for its own; otherwise it asks the one agent it has, names it, and the agent's refusal names
 * the home.
 */
#include <cli.h>
#include <client.h>
#include <table.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 160

#define HOMES_MAX 64
#define LIMIT_MAX 1000

struct reconcile {
    struct cli_place place;
    const char *status, *limit;
    bool force;
    unsigned long long shown_max;
    /* Regions to ask, each for the rows that are at home there; none: the agent at hand. */
    char homes[HOMES_MAX][128];
    unsigned home_count;
};

/** ORIGIN:LSN or ORIGIN:LSN:SEQ; only what a path may carry without escapes. */
static bool valid_id(const char *id)
{
    size_t n = strlen(id);
    return n > 0 && n < ID_MAX && strchr(id, ':') != NULL &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF-_:/") == n;
}

/* ---- whom to ask ---- */

static void note_home(struct reconcile *r, const char *name)
{
    for (unsigned i = 0; i < r->home_count; i++) {
        if (strcmp(r->homes[i], name) == 0) {
            return;
        }
    }
    if (r->home_count < HOMES_MAX && strlen(name) < sizeof(r->homes[0])) {
        snprintf(r->homes[r->home_count++], sizeof(r->homes[0]), "%s", name);
    }
}

/** The present homes that can be asked from here. */
static int find_homes(struct reconcile *r)
{
    json_t *answer;
    size_t i, k;
    const json_t *c, *p;
    int rc = cli_ask(&r->place, "/v1/classes", NULL, &answer);

    if (rc != 0) {
        return rc;
    }
    json_array_foreach(cli_list(answer, "classes"), i, c)
    {
        json_array_foreach(cli_list(c, "partitions"), k, p)
        {
            const char *home = cli_text(p, "home");
            if (home[0] != '\0' && cli_lab_has(&r->place, home)) {
                note_home(r, home);
            }
        }
    }
    json_decref(answer);
    return 0;
}

/** Move to @rows those of @answer that are at home at @home; NULL: all. Returns how many. */
static long long keep_rows(const json_t *answer, const char *home, json_t *rows)
{
    size_t i;
    const json_t *row;
    long long kept = 0;

    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        if (home == NULL || strcmp(cli_text(row, "home"), home) == 0) {
            json_array_append_new(rows, json_deep_copy(row));
            kept++;
        }
    }
    return kept;
}

/** What one region holds, added to @all; @home NULL: the agent at hand, everything. */
static int fetch_from(const struct reconcile *r, const char *home, const char *id,
                      const char *status, json_t *all)
{
    struct cli_place place = r->place;
    char path[ID_MAX + 128];
    json_t *answer;

    if (home != NULL) {
        place.region = home;
    }
    snprintf(path, sizeof(path), "/v1/reconcile?status=%s&limit=%d%s%s", status, LIMIT_MAX,
             id != NULL ? "&id=" : "", id != NULL ? id : "");
    int rc = cli_ask(&place, path, NULL, &answer);
    if (rc != 0) {
        return rc;
    }
    long long kept = keep_rows(answer, home, json_object_get(all, "rows"));
    long long total = cli_int(answer, "total");
    /* Beyond the limit, which of the rest are its own is not known; it may be all. */
    total = total > LIMIT_MAX ? total - LIMIT_MAX + kept : kept;
    json_object_set_new(all, "total", json_integer(cli_int(all, "total") + total));
    json_array_append(json_object_get(all, "asked"), json_object_get(answer, "region"));
    json_object_set(all, "answered_wall_ms", json_object_get(answer, "answered_wall_ms"));
    json_decref(answer);
    return 0;
}

/**
 * Ask every home, or the agent at hand. @ret is one answer as an agent would give it; `region`
 * is null when several were asked, and `asked` names them. Set also when some could not be
 * asked, which is said and makes the result 1.
 */
static int fetch(struct reconcile *r, const char *id, const char *status, json_t **ret)
{
    int rc = find_homes(r), worst = 0;
    json_t *asked = json_array();

    if (rc != 0) {
        *ret = NULL;
        json_decref(asked);
        return rc;
    }
    *ret = json_pack("{s:n, s:I, s:o, s:I, s:[]}", "region", "answered_wall_ms", (json_int_t)0,
                     "asked", asked, "total", (json_int_t)0, "rows");
    if (r->home_count == 0) {
        worst = fetch_from(r, NULL, id, status, *ret);
    }
    for (unsigned i = 0; i < r->home_count; i++) {
        rc = fetch_from(r, r->homes[i], id, status, *ret);
        worst = rc != 0 ? rc : worst;
    }
    if (json_array_size(asked) == 1) {
        json_object_set(*ret, "region", json_array_get(asked, 0));
    }
    return worst;
}

/* ---- list ---- */

static void print_asked(const json_t *answer, bool homes)
{
    size_t i;
    const json_t *name;

    printf("asked");
    json_array_foreach(cli_list(answer, "asked"), i, name)
    {
        const char *text = json_string_value(name);
        printf("%s %s", i > 0 ? "," : "", text != NULL ? text : "?");
    }
    printf("%s\n", homes ? ", where this data is at home now"
                         : "; decisions are taken at each row's home");
}

static void print_rows(const json_t *answer)
{
    static const char *const titles[] = {"ID",   "COMMITTED", "CLASS/PARTITION",
                                         "HOME", "CHANGE",    NULL};
    struct cli_table *t = cli_table_new(titles);
    char time[40];
    size_t i;
    const json_t *row;

    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        cli_cell(t, "%s", cli_text(row, "id"));
        cli_cell(t, "%s", cli_time(cli_int(row, "commit_wall_ms"), time));
        cli_cell(t, "%s/%s", cli_text(row, "class"), cli_text(row, "partition"));
        cli_cell(t, "%s", cli_text(row, "home"));
        const char *status = cli_text(row, "status");
        bool open = strcmp(status, "open") == 0;
        cli_cell(t, "%s %s%s%s", cli_text(row, "operation"), cli_text(row, "relation"),
                 open ? "" : ", ", open ? "" : status);
    }
    cli_table_print(t, "nothing to reconcile\n");
}

static int list(struct reconcile *r)
{
    json_t *answer, *rows;
    int rc = fetch(r, NULL, r->status != NULL ? r->status : "open", &answer);

    if (answer == NULL || json_array_size(json_object_get(answer, "asked")) == 0) {
        json_decref(answer);
        return rc;
    }
    rows = json_object_get(answer, "rows");
    while (json_array_size(rows) > r->shown_max) {
        json_array_remove(rows, json_array_size(rows) - 1);
    }
    if (r->place.json) {
        return cli_print_json(answer, false) != 0 ? 1 : rc;
    }
    print_rows(answer);
    if (cli_int(answer, "total") > (long long)json_array_size(rows)) {
        printf("%zu of %lld; show more with --limit\n", json_array_size(rows),
               cli_int(answer, "total"));
    }
    print_asked(answer, r->home_count > 0);
    json_decref(answer);
    return rc;
}

/* ---- show ---- */

static void print_image(const char *what, const json_t *image)
{
    char *text = image == NULL || json_is_null(image)
                     ? NULL
                     : json_dumps(image, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    printf("  %-10s %s\n", what, text != NULL ? text : "-");
    free(text);
}

static void print_one(const json_t *row)
{
    char time[40];
    printf("%s: %s on %s, committed %s at epoch %lld, %s\n", cli_text(row, "id"),
           cli_text(row, "operation"), cli_text(row, "relation"),
           cli_time(cli_int(row, "commit_wall_ms"), time), cli_int(row, "epoch"),
           cli_text(row, "status"));
    printf("  %-10s %s/%s, now at home in %s\n", "class", cli_text(row, "class"),
           cli_text(row, "partition"),
           cli_known(row, "home") ? cli_text(row, "home") : "no region");
    print_image("before", json_object_get(row, "before"));
    print_image("after", json_object_get(row, "after"));
}

/** The rows of @id, or a message that there are none. */
static int find_rows(struct reconcile *r, const char *id, json_t **ret)
{
    int rc = fetch(r, id, "all", ret);

    if (rc == 0 && json_array_size(json_object_get(*ret, "rows")) == 0) {
        rc = cli_fail("List them with: meridian reconcile list --status all.",
                      "there is no reconcile row \"%s\"%s", id,
                      r->home_count > 0 ? " at any home" : " in the region that was asked");
    }
    if (rc != 0) {
        json_decref(*ret);
        *ret = NULL;
    }
    return rc;
}

static int show(struct reconcile *r, const char *id)
{
    json_t *answer;
    size_t i;
    const json_t *row;
    int rc = find_rows(r, id, &answer);

    if (rc != 0 || r->place.json) {
        return rc != 0 ? rc : cli_print_json(answer, false);
    }
    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        print_one(row);
    }
    print_asked(answer, r->home_count > 0);
    json_decref(answer);
    return 0;
}

/* ---- apply, discard ---- */

static bool any_open(const json_t *answer)
{
    size_t i;
    const json_t *row;

    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        if (strcmp(cli_text(row, "status"), "open") == 0) {
            return true;
        }
    }
    return false;
}

/** Choose the region that decides: the one home of all rows, when it can be asked from here. */
static int go_home(struct reconcile *r, const char *id)
{
    json_t *answer;
    size_t i;
    const json_t *row;
    const char *first = NULL;
    int rc = find_rows(r, id, &answer);

    if (rc != 0) {
        return rc;
    }
    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        const char *home = cli_text(row, "home");
        if (first != NULL && strcmp(first, home) != 0) {
            rc = cli_fail("Decide row by row; see: meridian reconcile show ID.",
                          "the rows of %s are at home in different regions, %s and %s", id,
                          first, home);
            break;
        }
        first = home;
    }
    if (rc == 0 && !any_open(answer)) {
        row = json_array_get(json_object_get(answer, "rows"), 0);
        rc = cli_fail("Nothing is done twice. See: meridian reconcile show ID.",
                      "%s is already %s%s%s", id, cli_text(row, "status"),
                      cli_text(row, "resolved_by")[0] != '\0' ? ", by " : "",
                      cli_text(row, "resolved_by"));
    }
    for (unsigned k = 0; rc == 0 && first != NULL && k < r->home_count; k++) {
        if (strcmp(r->homes[k], first) == 0) {
            r->place.region = r->homes[k];
        }
    }
    json_decref(answer);
    return rc;
}

static int settle(struct reconcile *r, const char *action, const char *id)
{
    json_t *answer, *body;
    int rc = go_home(r, id);

    if (rc != 0) {
        return rc;
    }
    body = json_pack("{s:s, s:s, s:b}", "action", action, "id", id, "force", r->force);
    if (body == NULL) {
        return cli_fail(NULL, "out of memory");
    }
    rc = cli_ask(&r->place, "/v1/reconcile", body, &answer);
    json_decref(body);
    if (rc != 0) {
        return rc;
    }
    if (r->place.json) {
        return cli_print_json(answer, false);
    }
    char there[48] = "";
    if (cli_int(answer, "already_there") > 0) {
        snprintf(there, sizeof(there), "; already there: %lld",
                 cli_int(answer, "already_there"));
    }
    printf("%s %lld row%s of %s at %s%s\n",
           strcmp(action, "apply") == 0 ? "applied" : "discarded", cli_int(answer, "rows"),
           cli_int(answer, "rows") == 1 ? "" : "s", id, cli_text(answer, "region"), there);
    json_decref(answer);
    return 0;
}

/* ---- the command ---- */

static int check_options(const struct cli_usage *usage, struct reconcile *r)
{
    static const char *const all[] = {"open", "applied", "discarded", "all"};
    bool known = r->status == NULL;

    for (size_t i = 0; !known && i < sizeof(all) / sizeof(all[0]); i++) {
        known = strcmp(r->status, all[i]) == 0;
    }
    if (!known) {
        return cli_misuse(usage, "--status is open, applied, discarded or all, not \"%s\"",
                          r->status);
    }
    r->shown_max = 100;
    if (r->limit != NULL &&
        (!cli_number(r->limit, LIMIT_MAX, &r->shown_max) || r->shown_max == 0)) {
        return cli_misuse(usage, "--limit takes 1 to 1000, not \"%s\"", r->limit);
    }
    return -1;
}

static int dispatch(const struct cli_usage *usage, struct reconcile *r, const char **words,
                    int count)
{
    const char *action = words[0], *id = count > 1 ? words[1] : NULL;

    if (r->force && strcmp(action, "apply") != 0) {
        return cli_misuse(usage, "--force belongs to apply");
    }
    if ((r->status != NULL || r->limit != NULL) && strcmp(action, "list") != 0) {
        return cli_misuse(usage, "%s belongs to list",
                          r->status != NULL ? "--status" : "--limit");
    }
    if (strcmp(action, "list") == 0) {
        return id == NULL ? list(r) : cli_misuse(usage, "list takes no id; use: show %s", id);
    }
    if (strcmp(action, "show") != 0 && strcmp(action, "apply") != 0 &&
        strcmp(action, "discard") != 0) {
        return cli_misuse(usage, "no such action: \"%s\"", action);
    }
    if (id == NULL || !valid_id(id)) {
        return cli_misuse(usage,
                          "%s needs an id: ORIGIN:LSN for a transaction or ORIGIN:LSN:SEQ "
                          "for a row",
                          action);
    }
    return strcmp(action, "show") == 0 ? show(r, id) : settle(r, action, id);
}

int cli_reconcile(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    static struct reconcile r;
    const struct cli_option options[] = {
        {"--status", "STATUS", &r.status, "for list: open (default), applied, discarded, all"},
        {"--limit", "N", &r.limit, "at most N rows, up to 1000; default 100"},
        {"--force", NULL, &r.force, "apply over rows that were changed since"},
        CLI_PLACE_OPTIONS(&r.place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "reconcile list | show ID | apply ID [--force] | discard ID",
        "Writes that a lost region had acknowledged and not yet sent, found when it came "
        "back.\n"
        "In a lab every home is asked for its own, and apply and discard go there.\n"
        "ID is ORIGIN:LSN for a whole transaction or ORIGIN:LSN:SEQ for one row.",
        options, 1, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc < 0) {
        rc = check_options(&usage, &r);
    }
    return rc >= 0 ? rc : dispatch(&usage, &r, words, count);
}
