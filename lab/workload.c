/*
 * `meridian lab load`: clients in every region, each with its own connection, following
 * the home where it goes (client.h); then the check (verify.h) and the report.
 *
 * One thread per client, in its region and class, over SQL or HTTP. Per class and partition the
 * longest time between two accepted writes is kept: with a steady rate that is the outage which
 * a fault caused, as a client saw it.
 *
 * A lab that goes down ends the load: there is nobody left to write to and nothing to compare.
 */
#include "front.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <client.h> /* of cli/ */
#include <compare.h>
#include <table.h>

#include "client.h"
#include "daemon.h"
#include "link.h"
#include "verify.h"

#define RATE_MAX 100000

static void on_signal(int signal)
{
    (void)signal;
    lab_interrupted = 1;
}

/* ---- all clients ---- */

static unsigned make_clients(struct lab_load *l, struct lab_client *clients)
{
    unsigned n = 0;
    uint64_t base = 0;

    mrd_assert(getrandom(&base, 5, 0) == 5);
    for (unsigned k = 0; k < LAB_CLASSES; k++) {
        for (unsigned r = 0; r < l->region_count; r++) {
            for (unsigned i = 0; i < 2 * l->clients; i++) {
                bool http = i >= l->clients;

                if ((l->class_mask & 1u << k) == 0 || (l->from & 1u << r) == 0 ||
                    !(http ? l->http : l->sql) || n == LAB_CLIENTS_MAX) {
                    continue;
                }
                clients[n] = (struct lab_client){.load = l,
                                                 .class = (enum lab_class)k,
                                                 .region = r,
                                                 .http = http,
                                                 .number = n,
                                                 .target = r,
                                                 .product = (1ull << 52) + base * 1024 + n};
                n++;
            }
        }
    }
    return n;
}

static json_t *fetch_status(const struct lab_load *l, struct mrd_err *err)
{
    return lab_request(l->dir, json_pack("{ss}", "command", "status"), err);
}

/* Only when nobody listens any more; a daemon that is slow is there. */
static bool lab_is_gone(const struct lab_load *l)
{
    struct mrd_err err = {.code = 0};
    json_t *status = fetch_status(l, &err);

    json_decref(status);
    return status == NULL && err.code == MRD_EUNAVAILABLE;
}

static void show_progress(struct lab_load *l, uint64_t start_us)
{
    uint64_t accepted = 0;

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    for (unsigned k = 0; k < LAB_CLASSES; k++) {
        for (unsigned p = 0; p < l->region_count; p++) {
            accepted += l->tracks[k][p].accepted;
        }
    }
    pthread_mutex_unlock(&l->mutex);
    fprintf(stderr, "\r%llu s of %llu s, %llu writes acknowledged ",
            (unsigned long long)(lab_now_us() - start_us) / 1000000,
            (unsigned long long)l->duration_ms / 1000, (unsigned long long)accepted);
}

/* Until the time is over, somebody interrupts, or the lab is taken down. */
static void watch(struct lab_load *l)
{
    uint64_t start_us = lab_now_us();

    while (!lab_interrupted && lab_now_us() < l->end_us) {
        uint64_t left_us = l->end_us - lab_now_us();

        poll(NULL, 0, left_us < 500000 ? (int)(left_us / 1000) + 1 : 500);
        show_progress(l, start_us);
        if (!lab_interrupted && lab_is_gone(l)) {
            l->gone = true;
            lab_interrupted = 1;
        }
    }
    if (isatty(STDERR_FILENO)) {
        fputc('\n', stderr);
    }
}

static void run_clients(struct lab_load *l)
{
    static struct lab_client clients[LAB_CLIENTS_MAX];

    l->client_count = make_clients(l, clients);
    l->end_us = lab_now_us() + l->duration_ms * 1000;
    for (unsigned i = 0; i < l->client_count; i++) {
        clients[i].curl = clients[i].http ? curl_easy_init() : NULL;
        mrd_assert(pthread_create(&clients[i].thread, NULL, lab_client_run, &clients[i]) == 0);
    }
    watch(l);
    for (unsigned i = 0; i < l->client_count; i++) {
        pthread_join(clients[i].thread, NULL);
        curl_easy_cleanup(clients[i].curl);
    }
}

/* ---- reports ---- */

static double latency_ms(const struct lab_track *t, double percent)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i + 1 < LAB_LATENCY_BUCKETS; i++) {
        seen += t->latency[i];
        if ((double)seen >= (double)t->accepted * percent / 100) {
            return (double)(100ull << i) / 1e3;
        }
    }
    return (double)t->latency_max_us / 1e3;
}

static json_t *track_json(const struct lab_load *l, unsigned class, unsigned partition)
{
    const struct lab_track *t = &l->tracks[class][partition];

    return json_pack("{ss ss sI sf sf sf sf sI ss ss}", "class", lab_class_name(class),
                     "partition", class == LAB_ORDERS ? l->regions[partition].name : "all",
                     "accepted", (json_int_t)t->accepted, "latency_ms_p50", latency_ms(t, 50),
                     "latency_ms_p99", latency_ms(t, 99), "latency_ms_max",
                     (double)t->latency_max_us / 1e3, "longest_gap_ms", (double)t->gap_us / 1e3,
                     "gap_began_wall_ms", (json_int_t)t->gap_began_wall_ms, "gap_before",
                     l->regions[t->gap_before].name, "gap_after",
                     l->regions[t->gap_after].name);
}

static json_t *tracks_json(const struct lab_load *l)
{
    json_t *list = json_array();

    for (unsigned k = 0; k < LAB_CLASSES; k++) {
        for (unsigned p = 0; p < l->region_count; p++) {
            if (l->tracks[k][p].accepted > 0) {
                json_array_append_new(list, track_json(l, k, p));
            }
        }
    }
    return list;
}

static void print_tracks(json_t *tracks)
{
    static const char *const titles[] = {"CLASS/PARTITION", ">ACCEPTED",         ">P50", ">P99",
                                         ">LONGEST GAP",    "BEFORE > AFTER IT", NULL};
    struct cli_table *t = cli_table_new(titles);
    json_t *row;
    size_t i;

    json_array_foreach(tracks, i, row)
    {
        cli_cell(t, "%s/%s", cli_text(row, "class"), cli_text(row, "partition"));
        cli_cell(t, "%lld", cli_int(row, "accepted"));
        cli_cell(t, "%.1f ms", json_real_value(json_object_get(row, "latency_ms_p50")));
        cli_cell(t, "%.1f ms", json_real_value(json_object_get(row, "latency_ms_p99")));
        cli_cell(t, "%lld ms", cli_int(row, "longest_gap_ms"));
        cli_cell(t, "%s > %s", cli_text(row, "gap_before"), cli_text(row, "gap_after"));
    }
    cli_table_print(t, NULL);
}

static void print_names(const char *title, json_t *names)
{
    json_t *name;
    size_t i;

    printf("%s", title);
    json_array_foreach(names, i, name)
    {
        printf("%s%s", i > 0 ? ", " : " ", json_string_value(name));
    }
    printf("%s\n", json_array_size(names) == 0 ? " none" : "");
}

static void print_counts(const struct lab_counts *n, json_t *verdict)
{
    print_names("\nregions read:", json_object_get(verdict, "regions_read"));
    if (json_array_size(json_object_get(verdict, "regions_skipped")) > 0) {
        print_names("regions not read:", json_object_get(verdict, "regions_skipped"));
    }
    printf("acknowledged          %8lu\n"
           "  present everywhere  %8lu\n"
           "  in reconcile        %8lu\n"
           "  missing             %8lu%s\n"
           "  unjudged            %8lu\n"
           "duplicated            %8lu\n"
           "unknown               %8lu   (of which present: %lu)\n"
           "refused               %8lu   (of which present: %lu)\n",
           n->acknowledged, n->present, n->in_reconcile, n->missing,
           n->partial > 0 ? "   (some are in some regions)" : "", n->unjudged, n->duplicated,
           n->unknown, n->unknown_present, n->refused, n->refused_present);
}

/* What the counts come to: exit status and words. */
enum judgement { SOUND, LOST, UNLIKE, OPEN };

static enum judgement weigh(const struct lab_counts *n, const json_t *verdict)
{
    return n->missing > 0 || n->duplicated > 0 ? LOST
           : cli_true(verdict, "ok")           ? SOUND
           : cli_true(verdict, "differ")       ? UNLIKE
                                               : OPEN;
}

static void print_unjudged(const struct lab_load *l, const json_t *verdict)
{
    const json_t *why;
    size_t i;

    json_array_foreach(cli_list(verdict, "hindered_by"), i, why)
    {
        printf("unjudged: %s\n", json_string_value(why));
    }
    printf("judge later: meridian lab load --check --ledger %s --dir %s\n", l->ledger_path,
           l->dir);
}

static void print_verdict(const struct lab_load *l, const struct lab_counts *n, json_t *verdict)
{
    static const char *const words[] = {
        [SOUND] = "nothing acknowledged is lost",
        [LOST] = "ACKNOWLEDGED WRITES ARE MISSING OR REPEATED",
        [UNLIKE] = "NOTHING ACKNOWLEDGED IS LOST, BUT REGIONS HOLD DIFFERENT ROWS",
        [OPEN] = "NOTHING IS KNOWN TO BE LOST, BUT NOT ALL COULD BE JUDGED",
    };

    printf("ledger: %s\n", l->ledger_path);
    if (n->unjudged > 0 || json_array_size(cli_list(verdict, "regions_read")) == 0) {
        print_unjudged(l, verdict);
    }
    printf("verdict: %s\n", words[weigh(n, verdict)]);
}

/* ---- the regions with each other ---- */

#define COMPARE_MS 15000
#define AWAY "it is away: "

static unsigned list_sites(const json_t *status, struct cli_site *sites)
{
    const json_t *region;
    size_t i;
    unsigned n = 0;

    json_array_foreach(cli_list(status, "regions"), i, region)
    {
        const char *state = cli_text(region, "state");
        bool runs = strcmp(state, "running") == 0;

        if (n < MRD_REGIONS_MAX && !cli_true(region, "witness")) {
            struct cli_site *s = &sites[n++];

            snprintf(s->name, sizeof(s->name), "%s", cli_text(region, "name"));
            snprintf(s->dsn, sizeof(s->dsn), "%s",
                     runs ? cli_text(json_object_get(region, "pg"), "dsn") : "");
            snprintf(s->error, sizeof(s->error), AWAY "%s", runs ? "" : state);
        }
    }
    return n;
}

static json_t *compare_classes(const struct lab_load *l, const json_t *answer,
                               struct cli_site *sites, unsigned n)
{
    uint64_t limit = l->settle_ms < COMPARE_MS ? l->settle_ms : COMPARE_MS;
    json_t *list = json_array();
    const json_t *class;
    size_t i;

    json_array_foreach(cli_list(answer, "classes"), i, class)
    {
        enum lab_class c = lab_class_parse(cli_text(class, "name"));

        if (c != LAB_CLASSES && (l->class_mask & 1u << c) != 0) {
            json_array_append_new(list, cli_compare(class, sites, n, (unsigned)limit));
        }
    }
    return list;
}

/* Whatever the ledger says: do the regions hold the same rows? An empty list: nobody knows. */
static json_t *compare_regions(const struct lab_load *l)
{
    static struct cli_site sites[MRD_REGIONS_MAX];
    struct cli_place place = {.dir = l->dir};
    struct mrd_err err;
    json_t *status = fetch_status(l, &err);
    unsigned n = list_sites(status, sites);
    json_t *answer = NULL;
    json_t *list = NULL;

    if (status != NULL && cli_try(&place, "/v1/classes", &answer) == 0) {
        list = compare_classes(l, answer, sites, n);
    }
    for (unsigned i = 0; i < n; i++) {
        cli_site_close(&sites[i]);
    }
    json_decref(answer);
    json_decref(status);
    return list != NULL ? list : json_array();
}

static bool class_differs(const json_t *class)
{
    const json_t *table, *region;
    size_t j, k;

    json_array_foreach(cli_list(class, "tables"), j, table)
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

static bool any_differs(const json_t *comparison)
{
    const json_t *class;
    size_t i;

    json_array_foreach(comparison, i, class)
    {
        if (class_differs(class)) {
            return true;
        }
    }
    return false;
}

/* Once for each reason: a region that is away is so for every table. */
static void add_once(json_t *list, json_t *text)
{
    const json_t *old;
    size_t i;

    json_array_foreach(list, i, old)
    {
        if (json_equal(old, text)) {
            json_decref(text);
            return;
        }
    }
    json_array_append_new(list, text);
}

static void note_unknown(json_t *list, const json_t *class)
{
    const json_t *table, *region;
    size_t j, k;

    json_array_foreach(cli_list(class, "tables"), j, table)
    {
        const char *name = cli_text(table, "table"), *part = cli_text(table, "partition");

        if (cli_text(table, "why")[0] != '\0') {
            add_once(list, json_sprintf("%s, %s: %s", name, part, cli_text(table, "why")));
        }
        json_array_foreach(cli_list(table, "regions"), k, region)
        {
            const char *where = cli_text(region, "region"), *why = cli_text(region, "why");

            if (strcmp(cli_text(region, "state"), "unknown") == 0) {
                add_once(list, strncmp(why, AWAY, sizeof(AWAY) - 1) == 0
                                   ? json_sprintf("%s: %s", where, why)
                                   : json_sprintf("%s, %s, in %s: %s", name, part, where, why));
            }
        }
    }
}

/* A table for each class that differs; a line for each thing that could not be compared. */
static void print_comparisons(const json_t *comparison)
{
    json_t *unknown = json_array();
    const json_t *class, *text;
    size_t i;
    bool equal = json_array_size(comparison) > 0;

    json_array_foreach(comparison, i, class)
    {
        equal = equal && cli_true(class, "equal");
        if (class_differs(class)) {
            cli_print_comparison(class);
        } else {
            note_unknown(unknown, class);
        }
    }
    json_array_foreach(unknown, i, text)
    {
        printf("not compared: %s\n", json_string_value(text));
    }
    json_decref(unknown);
    printf("regions compared with each other: %s\n", equal ? "the same rows everywhere"
                                                     : any_differs(comparison)
                                                         ? "THEY DIFFER, see above"
                                                         : "not all could be compared");
}

/* ---- start and end ---- */

static int learn_regions(struct lab_load *l, json_t *status, struct mrd_err *err)
{
    json_t *region;
    size_t i;

    json_array_foreach(json_object_get(status, "regions"), i, region)
    {
        struct lab_where *w = &l->regions[l->region_count];

        if (i >= MRD_REGIONS_MAX || json_is_true(json_object_get(region, "witness"))) {
            continue;
        }
        snprintf(w->name, sizeof(w->name), "%s",
                 json_string_value(json_object_get(region, "name")));
        snprintf(w->dsn, sizeof(w->dsn), "%s",
                 json_string_value(json_object_get(json_object_get(region, "pg"), "dsn")));
        snprintf(w->url, sizeof(w->url), "%s",
                 json_string_value(json_object_get(region, "http_url")));
        l->region_count++;
    }
    for (int n = 0; n < l->region_names.count; n++) {
        unsigned r = 0;

        while (r < l->region_count &&
               strcmp(l->regions[r].name, l->region_names.word[n]) != 0) {
            r++;
        }
        if (r == l->region_count) {
            char hint[CLI_HINT_MAX];

            mrd_err_set(err, MRD_ENOTFOUND, "there is no region \"%s\" with data",
                        l->region_names.word[n]);
            cli_hint(status, "regions", l->region_names.word[n],
                     "List the regions with: meridian lab status.", hint);
            mrd_err_hint(err, "%s", hint);
            return MRD_ENOTFOUND;
        }
        l->from |= (uint16_t)(1u << r);
    }
    if (l->from == 0) {
        l->from = (uint16_t)((1u << l->region_count) - 1);
    }
    return 0;
}

static int open_ledger(struct lab_load *l, struct mrd_err *err)
{
    static char path[LAB_PATH];
    char tag[LAB_TAG_MAX];

    if (l->check) {
        l->ledger = lab_ledger_load(l->ledger_path, err);
    } else {
        lab_make_uuid(tag);
        if (l->ledger_path == NULL) {
            snprintf(path, sizeof(path), "%s/ledger-%.8s.txt", l->dir, tag);
            l->ledger_path = path;
        }
        l->ledger = lab_ledger_new(l->ledger_path, tag, err);
    }
    return l->ledger != NULL ? 0 : err->code;
}

static int judge(struct lab_load *l, struct mrd_err *err)
{
    static const int exit_status[] = {[SOUND] = 0, [LOST] = 1, [UNLIKE] = 1, [OPEN] = 3};
    struct lab_counts counts;
    json_t *verdict = NULL;
    json_t *tracks = tracks_json(l);
    int code = lab_verify(l->ledger, l->dir, (unsigned)l->settle_ms, &counts, &verdict, err);

    if (code != 0) {
        json_decref(tracks);
        return code;
    }
    json_t *comparison = compare_regions(l);
    bool differ = any_differs(comparison);
    json_object_set_new(verdict, "differ", json_boolean(differ));
    if (differ) {
        json_object_set_new(verdict, "ok", json_false());
    }
    json_object_set(verdict, "comparison", comparison);
    if (l->json) {
        json_t *all = json_pack("{ss ss so sO}", "run", lab_ledger_tag(l->ledger), "ledger",
                                l->ledger_path, "classes", tracks, "verdict", verdict);

        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else {
        print_tracks(tracks);
        print_counts(&counts, verdict);
        print_comparisons(comparison);
        print_verdict(l, &counts, verdict);
        json_decref(tracks);
    }
    json_decref(comparison);
    code = exit_status[weigh(&counts, verdict)];
    json_decref(verdict);
    return code;
}

struct load_words {
    const char *duration, *timeout, *settle, *rate, *clients, *via;
    struct cli_words classes;
};

static int take_time(const struct cli_usage *u, const char *name, const char *text,
                     uint64_t *ret_ms)
{
    uint64_t ns;

    if (text == NULL) {
        return -1;
    }
    if (lab_parse_duration(text, &ns) != 0 || ns < LAB_NS_PER_MS) {
        return cli_misuse(u, "%s takes a time such as 60s, not \"%s\"", name, text);
    }
    *ret_ms = ns / LAB_NS_PER_MS;
    return -1;
}

static int take_rate(const struct cli_usage *u, const char *text, double *ret)
{
    char *end = NULL;
    double rate = text != NULL ? strtod(text, &end) : *ret;

    /* Written so that NaN does not pass. */
    if (text != NULL && (end == text || *end != '\0' || !(rate > 0 && rate <= RATE_MAX))) {
        return cli_misuse(u,
                          "--rate takes writes per second, more than 0 and at most %d, not "
                          "\"%s\"",
                          RATE_MAX, text);
    }
    *ret = rate;
    return -1;
}

static int take_clients(const struct cli_usage *u, const char *text, unsigned *ret)
{
    unsigned long long n = *ret;

    if (text != NULL && (!cli_number(text, LAB_CLIENTS_MAX, &n) || n == 0)) {
        return cli_misuse(u, "--clients takes 1 to %d, not \"%s\"", LAB_CLIENTS_MAX, text);
    }
    *ret = (unsigned)n;
    return -1;
}

static int take_classes(const struct cli_usage *u, const struct cli_words *names, unsigned *ret)
{
    *ret = names->count == 0 ? (1u << LAB_CLASSES) - 1 : 0;
    for (int i = 0; i < names->count; i++) {
        const char *word = names->word[i];

        do { /* "catalog,events" names two */
            char name[32];
            size_t len = strcspn(word, ",");
            snprintf(name, sizeof(name), "%.*s", len < sizeof(name) ? (int)len : 0, word);
            enum lab_class c = lab_class_parse(name);
            if (c == LAB_CLASSES) {
                return cli_misuse(u,
                                  "no class \"%.*s\"; the shop has catalog, accounts, orders "
                                  "and events",
                                  (int)len, word);
            }
            *ret |= 1u << c;
            word += len + (word[len] == ',');
        } while (word[0] != '\0');
    }
    return -1;
}

static int take_via(const struct cli_usage *u, const char *via, struct lab_load *l)
{
    l->sql = via == NULL || strcmp(via, "http") != 0;
    l->http = via == NULL || strcmp(via, "sql") != 0;
    if (l->sql && l->http && via != NULL && strcmp(via, "both") != 0) {
        return cli_misuse(u, "--via is sql, http or both, not \"%s\"", via);
    }
    return -1;
}

static int take_all(const struct cli_usage *u, const struct load_words *w, struct lab_load *l)
{
    int rc = take_time(u, "--duration", w->duration, &l->duration_ms);

    rc = rc >= 0 ? rc : take_time(u, "--timeout", w->timeout, &l->timeout_ms);
    rc = rc >= 0 ? rc : take_time(u, "--settle", w->settle, &l->settle_ms);
    rc = rc >= 0 ? rc : take_rate(u, w->rate, &l->rate);
    rc = rc >= 0 ? rc : take_clients(u, w->clients, &l->clients);
    rc = rc >= 0 ? rc : take_classes(u, &w->classes, &l->class_mask);
    rc = rc >= 0 ? rc : take_via(u, w->via, l);
    if (rc < 0 && l->check && l->ledger_path == NULL) {
        rc = cli_misuse(u, "--check needs --ledger FILE: which ledger?");
    }
    return rc;
}

static int parse(struct lab_load *l, int argc, char **argv)
{
    struct load_words w = {0};
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    const struct cli_option options[] = {
        {"--duration", "TIME", &w.duration, "default 60s"},
        {"--class", "C...", &w.classes,
         "catalog, accounts, orders, events, or several with commas"},
        {"--region", "R...", &l->region_names, "where the customers are; default: everywhere"},
        {"--rate", "N", &w.rate, "writes per second over all clients; default 50"},
        {"--clients", "N", &w.clients, "per class, region and way; default 1"},
        {"--via", "WAY", &w.via, "sql, http or both; default both"},
        {"--timeout", "TIME", &w.timeout, "of one attempt; default 5s"},
        {"--settle", "TIME", &w.settle, "how long all may take to arrive; default 60s"},
        {"--ledger", "FILE", &l->ledger_path, "default: a new file in the lab's directory"},
        {"--check", NULL, &l->check, "write nothing; judge an earlier ledger again"},
        {"--json", NULL, &l->json, "the verdict as JSON"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "lab load [OPTION...] | lab load --check --ledger FILE",
        "Customers write through SQL and HTTP, each write with a receipt in a ledger. At the "
        "end\n"
        "every running region is read. Exit status 1 when anything acknowledged is neither in\n"
        "every running region nor in a reconcile queue, or is there twice, or regions differ; "
        "3\n"
        "when nothing is known to be lost and not all could be judged, as while a region is "
        "away.",
        options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    return rc >= 0 ? rc : take_all(&usage, &w, l);
}

/* The lab went while we were busy: what is left to the user is the ledger. */
static int say_gone(const struct lab_load *l)
{
    char hint[LAB_PATH + 128];

    snprintf(hint, sizeof(hint),
             access(l->ledger_path, R_OK) == 0
                 ? "Boot it again, then: meridian lab load --check --ledger %s --dir %s."
                 : "Its ledger, %s, went with the directory %s.",
             l->ledger_path, l->dir);
    return cli_fail(hint,
                    "the lab in \"%s\" went down before the load was over, so nothing "
                    "was compared",
                    l->dir);
}

static int run(struct lab_load *l, struct mrd_err *err)
{
    json_t *status = fetch_status(l, err);
    int code = status == NULL ? err->code : learn_regions(l, status, err);

    json_decref(status);
    if (code == 0) {
        code = open_ledger(l, err);
    }
    if (code != 0) {
        return lab_fail(err);
    }
    if (!l->check) {
        if (!l->json) {
            printf("%g writes per second for %g s; ledger: %s\n", l->rate,
                   (double)l->duration_ms / 1e3, l->ledger_path);
            fflush(stdout);
        }
        run_clients(l);
    }
    code = l->gone ? MRD_EUNAVAILABLE : judge(l, err);
    if (code < 0) {
        return l->gone || lab_is_gone(l) ? say_gone(l) : lab_fail(err);
    }
    return code;
}

int lab_load(const char *dir, int argc, char **argv)
{
    static struct lab_load l;
    struct sigaction act = {.sa_handler = on_signal};
    struct mrd_err err = {.code = 0};
    int code;

    l = (struct lab_load){.dir = dir,
                          .duration_ms = 60000,
                          .timeout_ms = 5000,
                          .settle_ms = 60000,
                          .rate = 50,
                          .clients = 1};
    code = parse(&l, argc, argv);
    if (code >= 0) {
        return code;
    }
    pthread_mutex_init(&l.mutex, NULL);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    code = run(&l, &err);
    lab_ledger_free(l.ledger);
    return code;
}
