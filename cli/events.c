/*
 * `meridian events`: the audit events in the order of their ids, and with --watch each new one
 * as it comes. Who asks for none in particular wants the newest, and to know that there are
 * older ones; a program gets them all.
 */
#include <cli.h>
#include <client.h>
#include <table.h>

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define SCREEN 50    /* events that somebody reads who did not say how many */
#define PAGES_MAX 16 /* more than any agent keeps */

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

/**
 * All events after *@after, page by page, in one answer; *@after moves on, to the last that is
 * in it. Silent when @quiet.
 *
 * Returns 0, or 1 after a message.
 */
static int collect(const struct cli_place *place, unsigned long long *after, bool quiet,
                   json_t **ret)
{
    char path[64];
    json_t *answer = NULL, *all = json_array();
    unsigned long long from = 0, last = *after;

    for (unsigned pages = 0; pages == 0 || (last > from && pages < PAGES_MAX); pages++) {
        from = last;
        json_decref(answer);
        answer = NULL;
        snprintf(path, sizeof(path), "/v1/events?after=%llu", from);
        int rc = quiet ? cli_try(place, path, &answer) : cli_ask(place, path, NULL, &answer);
        if (rc != 0) {
            json_decref(all);
            return rc;
        }
        long long newest = cli_int(answer, "last");
        if (newest > 0 && (unsigned long long)newest > from) {
            last = (unsigned long long)newest;
            json_array_extend(all, json_object_get(answer, "events"));
        }
    }
    *after = last;
    json_object_set_new(answer, "events", all);
    *ret = answer;
    return 0;
}

/** Leave the newest @limit (0: all) of those before @before (0: no end). How many older ones
 *  there are. */
static size_t choose(json_t *answer, unsigned long long before, unsigned long long limit)
{
    json_t *events = json_object_get(answer, "events");
    size_t older = 0;

    while (before > 0 && json_array_size(events) > 0 &&
           cli_int(json_array_get(events, json_array_size(events) - 1), "id") >=
               (long long)before) {
        json_array_remove(events, json_array_size(events) - 1);
    }
    while (limit > 0 && json_array_size(events) > limit) {
        json_array_remove(events, 0);
        older++;
    }
    return older;
}

/* On stderr, so that what counts or searches events sees only events. */
static void say_older(const json_t *answer, size_t older)
{
    const json_t *first = json_array_get(cli_list(answer, "events"), 0);

    if (older > 0) {
        fflush(stdout);
        fprintf(stderr,
                "%zu older %s kept: meridian events --before %lld, or --after 0 for all\n",
                older, older == 1 ? "event is" : "events are", cli_int(first, "id"));
    }
}

struct range {
    unsigned long long after, before, limit;
    bool say_older; /* what the limit leaves out was not asked for */
};

static int show(const struct cli_place *place, struct range *r, bool quiet)
{
    json_t *answer;
    int rc = collect(place, &r->after, quiet, &answer);

    if (rc != 0) {
        return rc;
    }
    size_t older = choose(answer, r->before, r->limit);
    if (place->json) {
        return json_array_size(json_object_get(answer, "events")) == 0 && quiet
                   ? (json_decref(answer), 0)
                   : cli_print_json(answer, quiet);
    }
    print_events(answer);
    say_older(answer, r->say_older ? older : 0);
    json_decref(answer);
    return fflush(stdout) == 0 ? 0 : 1;
}

int cli_events(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *after = NULL, *before = NULL, *limit = NULL;
    struct range r = {0};
    int count = 0;
    bool watch = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--after", "N", &after, "only events with a larger id; 0: all that are kept"},
        {"--before", "N", &before, "only events with a smaller id"},
        {"--limit", "N", &limit, "only the newest N of them"},
        {"--watch", NULL, &watch, "then each new one as it comes, until interrupted"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "events [--after N] [--before N] [--limit N] [--json] [--watch]",
        "What was decided, when and why, in the order of the ids,\n"
        "in which it was decided: the newest is last. Without --after\n"
        "and --limit the newest 50 (with --json all), and how many\n"
        "older ones there are. Times are those of the region that\n"
        "said it.",
        options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (after != NULL && !cli_number(after, INT64_MAX, &r.after)) {
        return cli_misuse(&usage, "--after takes the id of an event, not \"%s\"", after);
    }
    if (before != NULL && (!cli_number(before, INT64_MAX, &r.before) || r.before == 0)) {
        return cli_misuse(&usage, "--before takes the id of an event, not \"%s\"", before);
    }
    if (limit != NULL && (!cli_number(limit, INT64_MAX, &r.limit) || r.limit == 0)) {
        return cli_misuse(&usage, "--limit takes how many events, not \"%s\"", limit);
    }
    if (watch && before != NULL) {
        return cli_misuse(&usage, "--watch shows what is new, and --before what is old");
    }
    if (limit == NULL && after == NULL && !place.json) {
        r.limit = SCREEN;
        r.say_older = true;
    }
    rc = show(&place, &r, false);
    r.limit = 0;
    while (watch && rc == 0) {
        sleep(1);
        show(&place, &r, true); /* an agent that is away may come back */
        rc = ferror(stdout) ? 1 : 0;
    }
    return rc;
}
