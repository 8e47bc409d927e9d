/*
 * `meridian approve ID` and `meridian reject ID`: an operator's word on a promotion that waits,
 * in the failover modes manual and two-person.
 *
 * Who the operator is, the agent takes from the socket, not from us: in two-person mode the
 * same Unix user counts once. What waits, `meridian pending` lists (views.c).
 */
#include <cli.h>
#include <client.h>
#include <views.h>

#include <stdio.h>
#include <string.h>

static void print_word(const json_t *row)
{
    const char *state = cli_text(row, "state"), *region = cli_text(row, "region");
    size_t given = json_array_size(cli_list(row, "approved_by"));

    if (strcmp(state, "approved") == 0) {
        printf("the promotion away from %s begins; follow it with: meridian events\n", region);
    } else if (strcmp(state, "rejected") == 0) {
        printf("nothing is promoted; it is not asked again while %s stays silent\n", region);
    } else {
        printf("noted: %zu of %lld; another operator must approve it, too\n", given,
               cli_int(row, "needed"));
    }
}

static int decide(const char *verb, const struct cli_place *place, const char *id)
{
    char path[32];
    json_t *answer = NULL, *body = json_pack("{s:s}", "id", id);
    int rc;

    if (body == NULL) {
        return cli_fail("An id is hex digits; list what waits with: meridian pending.",
                        "could not encode the request");
    }
    snprintf(path, sizeof(path), "/v1/%s", verb);
    rc = cli_ask(place, path, body, &answer);
    json_decref(body);
    if (rc != 0) {
        return rc;
    }
    if (place->json) {
        return cli_print_json(answer, false);
    }
    print_word(json_object_get(answer, "approval"));
    json_decref(answer);
    return 0;
}

static int run(const char *verb, const char *synopsis, const char *text, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {synopsis, text, options, 1, 1};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    return rc >= 0 ? rc : decide(verb, &place, words[0]);
}

int cli_approve(int argc, char **argv)
{
    return run("approve", "approve ID [--json]",
               "Let a promotion run that waits in failover mode manual or two-person. In\n"
               "two-person mode two Unix users must approve it.",
               argc, argv);
}

int cli_reject(int argc, char **argv)
{
    return run("reject", "reject ID [--json]",
               "Refuse a promotion that waits. It is not asked again before the region has\n"
               "lived and failed anew; it may still be approved by the same id.",
               argc, argv);
}
