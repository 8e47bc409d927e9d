/*
 * `meridian drain REGION`, `meridian undrain REGION` and `meridian dial REGION PERCENT`: how
 * much of the traffic a region gets, and whether it may be anybody's home.
 *
 * The region is not touched by us: the agents publish the new share, and the coordinator moves
 * the homes. With --wait we only watch until none is left.
 */
#include <cli.h>
#include <client.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 500

/** How many homes the region has; -1 when no agent answers. */
static long long homes(const struct cli_place *place, const char *region)
{
    json_t *answer;

    if (cli_try(place, "/v1/regions", &answer) != 0) {
        return -1;
    }
    const json_t *r = cli_named(answer, "regions", region);
    long long n = r != NULL ? cli_int(r, "homes") : -1;
    json_decref(answer);
    return n;
}

/** Until the region is nobody's home. */
static int wait_empty(const struct cli_place *place, const char *region,
                      unsigned long long timeout_s)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    long long left = -1;

    for (unsigned long long i = 0; i <= timeout_s * 1000 / POLL_MS; i++) {
        left = homes(place, region);
        if (left == 0) {
            return 0;
        }
        nanosleep(&pause, NULL);
    }
    return cli_fail(
        "They leave when another region may and can take them. See: meridian moves, "
        "meridian classes.",
        left < 0 ? "could not see after %llu s whether %s is still a home"
                 : "after %llu s %s is still a home",
        timeout_s, region);
}

/** Send the request; its body is taken. */
static int ask(const struct cli_place *place, const char *path, json_t *body, json_t **ret)
{
    *ret = NULL;
    if (body == NULL) {
        return cli_fail("Names must be UTF-8.", "could not encode the request");
    }
    int rc = cli_ask(place, path, body, ret);
    json_decref(body);
    return rc;
}

static int set_drained(const struct cli_place *place, const char *region, bool drained)
{
    json_t *answer;
    int rc = ask(place, "/v1/drain",
                 json_pack("{s:s, s:b}", "region", region, "drained", (int)drained), &answer);

    if (rc != 0) {
        return rc;
    }
    long long percent = cli_int(json_object_get(answer, "traffic"), "percent");
    if (place->json) {
        return cli_print_json(answer, false);
    }
    if (drained) {
        printf(
            "%s gets no traffic, and its homes move away; follow them with: meridian moves\n",
            region);
    } else {
        printf("%s gets %lld%% of its traffic; homes come back with: meridian failback\n",
               region, percent);
    }
    json_decref(answer);
    return 0;
}

int cli_drain(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *timeout = NULL;
    unsigned long long timeout_s = 120;
    int count = 0;
    bool wait = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--wait", NULL, &wait, "until the region is nobody's home"},
        {"--timeout", "SECONDS", &timeout, "for --wait; default 120"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "drain REGION [--wait] [--json]",
        "Send a region's traffic elsewhere and move every home away from it, without losing a\n"
        "write: before maintenance. It goes on replicating. It stays drained until undrain.",
        options, 1, 1};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc < 0 && timeout != NULL && !wait) {
        rc = cli_misuse(&usage, "--timeout belongs to --wait");
    }
    if (rc < 0 && timeout != NULL &&
        (!cli_number(timeout, 86400, &timeout_s) || timeout_s == 0)) {
        rc = cli_misuse(&usage, "--timeout takes seconds, not \"%s\"", timeout);
    }
    if (rc >= 0) {
        return rc;
    }
    rc = set_drained(&place, words[0], true);
    if (rc == 0 && wait) {
        rc = wait_empty(&place, words[0], timeout_s);
        if (rc == 0 && !place.json) {
            printf("%s is nobody's home now\n", words[0]);
        }
    }
    return rc;
}

int cli_undrain(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {"undrain REGION [--json]",
                                    "Let a drained region serve again, as its dial says. No "
                                    "home comes back by itself; see\n"
                                    "meridian failback.",
                                    options, 1, 1};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    return rc >= 0 ? rc : set_drained(&place, words[0], false);
}

int cli_dial(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    unsigned long long percent = 0;
    int count = 0;
    struct cli_place place = {0};
    json_t *answer;
    const struct cli_option options[] = {
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {"dial REGION PERCENT [--json]",
                                    "Give a region only a share of the clients that it would "
                                    "get; the others go to the next\n"
                                    "nearest. A client stays on its side. What needs the "
                                    "region as its home still goes there.",
                                    options, 2, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (!cli_number(words[1], 100, &percent)) {
        return cli_misuse(&usage, "PERCENT is a whole number from 0 to 100, not \"%s\"",
                          words[1]);
    }
    rc = ask(&place, "/v1/dial",
             json_pack("{s:s, s:I}", "region", words[0], "percent", (json_int_t)percent),
             &answer);
    if (rc != 0) {
        return rc;
    }
    if (place.json) {
        return cli_print_json(answer, false);
    }
    printf("%s gets %llu%% of its traffic\n", words[0], percent);
    json_decref(answer);
    return 0;
}
