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
    const char *words[CLI_POSITIONAL_MAX], *after_text = NULL;
    unsigned long long after = 0;
    int count = 0;
    bool watch = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--after", "N", &after_text, "only events with a larger id"},
        {"--watch", NULL, &watch, "then each new one as it comes, until interrupted"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {"events [--after N] [--json] [--watch]",
                                    "What was decided, when and why, oldest first: the\n"
                                    "newest is last.",
                                    options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (after_text != NULL && !cli_number(after_text, INT64_MAX, &after)) {
        return cli_misuse(&usage, "--after takes the id of an event, not \"%s\"", after_text);
    }
    rc = show(&place, &after, false);
    while (watch && rc == 0) {
        sleep(1);
        show(&place, &after, true); /* an agent that is away may come back */
        rc = ferror(stdout) ? 1 : 0;
    }
    return rc;
}
