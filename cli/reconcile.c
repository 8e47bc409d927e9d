/*
 * `meridian reconcile`: writes that a dead region acknowledged and nobody else had.
 *
 * Rows can be listed in every region, but applied or discarded only at the home of their
 * partition. In a lab the command goes there by itself; elsewhere the agent's refusal names the
 * home.
 */
#include <cli.h>
#include <client.h>
#include <table.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 160

struct reconcile {
    struct cli_place place;
    const char *status, *limit;
    bool force;
    char home[128]; /* of the rows, once it is known */
};

/** ORIGIN:LSN or ORIGIN:LSN:SEQ; only what a path may carry without escapes. */
static bool valid_id(const char *id)
{
    size_t n = strlen(id);
    return n > 0 && n < ID_MAX && strchr(id, ':') != NULL &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF-_:/") == n;
}

static int fetch(const struct reconcile *r, const char *id, const char *status, json_t **ret)
{
    char path[ID_MAX + 128];
    snprintf(path, sizeof(path), "/v1/reconcile?status=%s&limit=%s%s%s", status,
             r->limit != NULL ? r->limit : "100", id != NULL ? "&id=" : "",
             id != NULL ? id : "");
    return cli_ask(&r->place, path, NULL, ret);
}

/* ---- list ---- */

static void print_list(const json_t *answer)
{
    static const char *const titles[] = {"ID", "COMMITTED", "CLASS/PARTITION", "CHANGE", NULL};
    struct cli_table *t = cli_table_new(titles);
    long long total = cli_int(answer, "total");
    char time[40];
    size_t i, shown = json_array_size(json_object_get(answer, "rows"));
    const json_t *row;

    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        cli_cell(t, "%s", cli_text(row, "id"));
        cli_cell(t, "%s", cli_time(cli_int(row, "commit_wall_ms"), time));
        cli_cell(t, "%s/%s", cli_text(row, "class"), cli_text(row, "partition"));
        const char *status = cli_text(row, "status");
        bool open = strcmp(status, "open") == 0;
        cli_cell(t, "%s %s%s%s", cli_text(row, "operation"), cli_text(row, "relation"),
                 open ? "" : ", ", open ? "" : status);
    }
    cli_table_print(t, "nothing to reconcile\n");
    if ((size_t)total > shown) {
        printf("%zu of %lld; show more with --limit\n", shown, total);
    }
}

static int list(const struct reconcile *r)
{
    json_t *answer;
    int rc = fetch(r, NULL, r->status != NULL ? r->status : "open", &answer);
    if (rc != 0) {
        return rc;
    }
    if (r->place.json) {
        return cli_print_json(answer, false);
    }
    print_list(answer);
    json_decref(answer);
    return 0;
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

static int show(const struct reconcile *r, const char *id)
{
    json_t *answer;
    size_t i;
    const json_t *row;
    int rc = fetch(r, id, "all", &answer);

    if (rc != 0) {
        return rc;
    }
    if (json_array_size(json_object_get(answer, "rows")) == 0) {
        rc = cli_fail("List them with: meridian reconcile list --status all.",
                      "no reconcile row \"%s\" here", id);
    } else if (r->place.json) {
        return cli_print_json(answer, false);
    }
    json_array_foreach(cli_list(answer, "rows"), i, row)
    {
        print_one(row);
    }
    json_decref(answer);
    return rc;
}

/* ---- apply, discard ---- */

/** In a lab: the region that is home of the rows, so that the request goes there. */
static void go_home(struct reconcile *r, const char *id)
{
    char path[ID_MAX + 64];
    json_t *answer;

    snprintf(path, sizeof(path), "/v1/reconcile?status=all&limit=1&id=%s", id);
    if (cli_try(&r->place, path, &answer) != 0) {
        return;
    }
    const json_t *row = json_array_get(json_object_get(answer, "rows"), 0);
    snprintf(r->home, sizeof(r->home), "%s", cli_text(row, "home"));
    if (r->home[0] != '\0' && cli_lab_has(&r->place, r->home)) {
        r->place.region = r->home;
    }
    json_decref(answer);
}

static int settle(struct reconcile *r, const char *action, const char *id)
{
    json_t *answer,
        *body = json_pack("{s:s, s:s, s:b}", "action", action, "id", id, "force", r->force);
    if (body == NULL) {
        return cli_fail(NULL, "out of memory");
    }
    go_home(r, id);
    int rc = cli_ask(&r->place, "/v1/reconcile", body, &answer);
    json_decref(body);
    if (rc != 0) {
        return rc;
    }
    if (r->place.json) {
        return cli_print_json(answer, false);
    }
    printf("%s %lld row%s of %s at %s\n",
           strcmp(action, "apply") == 0 ? "applied" : "discarded", cli_int(answer, "rows"),
           cli_int(answer, "rows") == 1 ? "" : "s", id, cli_text(answer, "region"));
    json_decref(answer);
    return 0;
}

/* ---- the command ---- */

static int check_options(const struct cli_usage *usage, const struct reconcile *r)
{
    unsigned long long limit;
    static const char *const all[] = {"open", "applied", "discarded", "all"};
    bool known = r->status == NULL;

    for (size_t i = 0; !known && i < sizeof(all) / sizeof(all[0]); i++) {
        known = strcmp(r->status, all[i]) == 0;
    }
    if (!known) {
        return cli_misuse(usage, "--status is open, applied, discarded or all, not \"%s\"",
                          r->status);
    }
    if (r->limit != NULL && (!cli_number(r->limit, 1000, &limit) || limit == 0)) {
        return cli_misuse(usage, "--limit takes 1 to 1000, not \"%s\"", r->limit);
    }
    return -1;
}

static int dispatch(const struct cli_usage *usage, struct reconcile *r, const char **words,
                    int count)
{
    const char *action = words[0], *id = count > 1 ? words[1] : NULL;

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
    struct reconcile r = {0};
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
        "ID is ORIGIN:LSN for a whole transaction or ORIGIN:LSN:SEQ for one row.",
        options, 1, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc < 0) {
        rc = check_options(&usage, &r);
    }
    return rc >= 0 ? rc : dispatch(&usage, &r, words, count);
}
