/*
 * `meridian events`: the audit events, oldest first, and with --watch each new one as it comes.
 */
#include <cli.h>
#include <client.h>
#include <table.h>

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static void print_events(const json_t *answer)
{
    char time[40], text[2048], name[128];
    size_t i;
    const json_t *e;

    json_array_foreach(cli_list(answer, "events"), i, e)
    {
        printf("%8lld  %s  %s  %s\n", cli_int(e, "id"), cli_time(cli_int(e, "wall_ms"), time),
               cli_clean(cli_text(e, "event"), name, sizeof(name)),
               cli_clean(cli_text(e, "text"), text, sizeof(text)));
    }
}

/** The newest @limit events after @after, page by page. */
static int show_newest(const struct cli_place *place, unsigned long long *after,
                       unsigned long long limit)
{
    char path[64];
    json_t *answer = NULL, *kept = json_array();
    size_t got;

    do {
        json_decref(answer);
        snprintf(path, sizeof(path), "/v1/events?after=%llu", *after);
        int rc = cli_ask(place, path, NULL, &answer);
        if (rc != 0) {
            json_decref(kept);
            return rc;
        }
        json_t *page = json_object_get(answer, "events");
        got = json_array_size(page);
        json_array_extend(kept, page);
        while (json_array_size(kept) > limit) {
            json_array_remove(kept, 0);
        }
        unsigned long long last = (unsigned long long)cli_int(answer, "last");
        if (cli_int(answer, "last") <= 0 || last <= *after) {
            break;
        }
        *after = last;
    } while (got > 0);
    json_object_set_new(answer, "events", kept);
    if (place->json) {
        return cli_print_json(answer, false);
    }
    print_events(answer);
    json_decref(answer);
    return fflush(stdout) == 0 ? 0 : 1;
}

/** Everything newer than @after, which moves on. */
static int show(const struct cli_place *place, unsigned long long *after, bool quiet)
{
    char path[64];
    json_t *answer;

    snprintf(path, sizeof(path), "/v1/events?after=%llu", *after);
    int rc = quiet ? cli_try(place, path, &answer) : cli_ask(place, path, NULL, &answer);
    if (rc != 0) {
        return rc;
    }
    if (cli_int(answer, "last") > 0 && (unsigned long long)cli_int(answer, "last") > *after) {
        *after = (unsigned long long)cli_int(answer, "last");
    }
    if (place->json) {
        return json_array_size(json_object_get(answer, "events")) == 0 && quiet
                   ? (json_decref(answer), 0)
                   : cli_print_json(answer, quiet);
    }
    print_events(answer);
    json_decref(answer);
    return fflush(stdout) == 0 ? 0 : 1;
}

int cli_events(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *after_text = NULL, *limit_text = NULL;
    unsigned long long after = 0, limit = 0;
    int count = 0;
    bool watch = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--after", "N", &after_text, "only events with a larger id"},
        {"--limit", "N", &limit_text, "only the newest N"},
        {"--watch", NULL, &watch, "then each new one as it comes, until interrupted"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {"events [--after N] [--limit N] [--json] [--watch]",
                                    "What was decided, when and why, in the order of the ids,\n"
                                    "in which it was decided: the newest is last. Times are\n"
                                    "those of the region that said it.",
                                    options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (after_text != NULL && !cli_number(after_text, INT64_MAX, &after)) {
        return cli_misuse(&usage, "--after takes the id of an event, not \"%s\"", after_text);
    }
    if (limit_text != NULL && (!cli_number(limit_text, INT64_MAX, &limit) || limit == 0)) {
        return cli_misuse(&usage, "--limit takes how many events, not \"%s\"", limit_text);
    }
    rc = limit > 0 ? show_newest(&place, &after, limit) : show(&place, &after, false);
    while (watch && rc == 0) {
        sleep(1);
        show(&place, &after, true); /* an agent that is away may come back */
        rc = ferror(stdout) ? 1 : 0;
    }
    return rc;
}
