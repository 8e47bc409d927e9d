/*
 * `meridian move CLASS[/PARTITION] --to REGION`: ask for a planned move, and with --wait see it
 * through to its receipt. `meridian failback CLASS[/PARTITION]`: the same, to the configured
 * home.
 *
 * The move itself needs nobody to watch it: whoever stops waiting has not stopped the move.
 */
#include <cli.h>
#include <client.h>
#include <table.h>
#include <views.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 200

struct target {
    char class_name[128];
    const char *partition; /* NULL: the only one */
};

static bool parse_target(const char *text, struct target *ret)
{
    const char *slash = strchr(text, '/');
    size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);

    if (n == 0 || n >= sizeof(ret->class_name) || (slash != NULL && slash[1] == '\0')) {
        return false;
    }
    memcpy(ret->class_name, text, n);
    ret->class_name[n] = '\0';
    ret->partition = slash != NULL ? slash + 1 : NULL;
    return true;
}

/** 1 when the move is over and @receipt is its receipt, 0 not yet, -1 aborted (said why). */
static int look(const struct cli_place *place, const char *id, json_t **receipt)
{
    json_t *moves, *receipts;
    int state = 0;

    if (cli_try(place, "/v1/moves", &moves) == 0) {
        const json_t *m = cli_find_id(moves, "moves", id);
        if (strcmp(cli_text(m, "state"), "aborted") == 0) {
            cli_fail("Nothing has moved. See: meridian events.", "the move was aborted: %s",
                     cli_text(m, "why"));
            state = -1;
        }
        json_decref(moves);
    }
    if (state == 0 && cli_try(place, "/v1/receipts", &receipts) == 0) {
        const json_t *r = cli_find_id(receipts, "receipts", id);
        if (cli_known(r, "opened_wall_ms")) {
            *receipt = json_deep_copy(r);
            state = 1;
        }
        json_decref(receipts);
    }
    return state;
}

static int wait_for(const struct cli_place *place, const char *id, unsigned long long timeout_s,
                    json_t **receipt)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};

    for (unsigned long long i = 0; i < timeout_s * 1000 / POLL_MS; i++) {
        int state = look(place, id, receipt);
        if (state != 0) {
            return state > 0 ? 0 : 1;
        }
        nanosleep(&pause, NULL);
    }
    return cli_fail("It goes on by itself. Follow it with: meridian moves --watch.",
                    "the move is not complete after %llu s", timeout_s);
}

static int start(const struct cli_place *place, const struct target *target, const char *to,
                 json_t **ret)
{
    json_t *body = json_pack("{s:s, s:s?, s:s?}", "class", target->class_name, "partition",
                             target->partition, "to", to);
    if (body == NULL) {
        return cli_fail("Names must be UTF-8.", "could not encode the request");
    }
    int rc = cli_ask(place, "/v1/move", body, ret);
    json_decref(body);
    return rc;
}

/* It is the operator's to decide, but not without knowing. */
static void warn_of(const struct cli_place *place, const char *to)
{
    json_t *answer;

    if (cli_try(place, "/v1/regions", &answer) != 0) {
        return;
    }
    const json_t *r = cli_named(answer, "regions", to);
    const char *health = cli_text(r, "health");
    if (r != NULL && strcmp(health, "healthy") != 0) {
        char text[1024];
        fprintf(stderr, "warning: %s is %s%s%s\n", to, health,
                cli_text(r, "why")[0] != '\0' ? ": " : "",
                cli_clean(cli_text(r, "why"), text, sizeof(text)));
    }
    json_decref(answer);
}

static int finish(const struct cli_place *place, json_t *answer, bool wait,
                  unsigned long long timeout_s)
{
    const json_t *m = json_object_get(answer, "move");
    json_t *receipt = NULL;

    if (!wait) {
        if (place->json) {
            return cli_print_json(json_incref(answer), false);
        }
        printf("move %s of %s/%s to %s has begun; follow it with: meridian moves\n",
               cli_short_id(cli_text(m, "id")), cli_text(m, "class"), cli_text(m, "partition"),
               cli_text(m, "to"));
        return 0;
    }
    int rc = wait_for(place, cli_text(m, "id"), timeout_s, &receipt);
    if (rc == 0 && place->json) {
        return cli_print_json(receipt, false);
    }
    if (rc == 0) {
        cli_print_receipt(receipt);
    }
    json_decref(receipt);
    return rc;
}

/* @to NULL: to the configured home. */
static int run(const struct cli_usage *usage, const struct cli_place *place, const char *what,
               const char *to, bool wait, const char *timeout)
{
    unsigned long long timeout_s = 60;
    struct target target;
    json_t *answer = NULL;

    if (!parse_target(what, &target)) {
        return cli_misuse(usage, "\"%s\" is not CLASS or CLASS/PARTITION", what);
    }
    if (timeout != NULL && !wait) {
        return cli_misuse(usage, "--timeout belongs to --wait");
    }
    if (timeout != NULL && (!cli_number(timeout, 86400, &timeout_s) || timeout_s == 0)) {
        return cli_misuse(usage, "--timeout takes seconds, not \"%s\"", timeout);
    }
    int rc = start(place, &target, to, &answer);
    if (rc == 0) {
        warn_of(place, cli_text(json_object_get(answer, "move"), "to"));
        rc = finish(place, answer, wait, timeout_s);
        json_decref(answer);
    }
    return rc;
}

int cli_move(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *to = NULL, *timeout = NULL;
    int count = 0;
    bool wait = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--to", "REGION", &to, "the new home"},
        {"--wait", NULL, &wait, "until the new home is open; then print the receipt"},
        {"--timeout", "SECONDS", &timeout, "for --wait; default 60"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "move CLASS[/PARTITION] --to REGION [--wait] [--json]",
        "Move the home of a class or partition without losing a write. Writers wait for the\n"
        "moment it takes; nothing is refused that was acknowledged.",
        options, 1, 1};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    return to != NULL && to[0] != '\0'
               ? run(&usage, &place, words[0], to, wait, timeout)
               : cli_misuse(&usage, "--to is missing: where should it move?");
}

int cli_failback(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *timeout = NULL;
    int count = 0;
    bool wait = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--wait", NULL, &wait, "until the home is open again; then print the receipt"},
        {"--timeout", "SECONDS", &timeout, "for --wait; default 60"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "failback CLASS[/PARTITION] [--wait] [--json]",
        "Move a class or partition to the home that the configuration gives it, without "
        "losing\n"
        "a write: after a failover, or after a drained region was let in again.",
        options, 1, 1};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    return rc >= 0 ? rc : run(&usage, &place, words[0], NULL, wait, timeout);
}
