/*
 * The workload (workload.h): clients in every region, each with its own connection, following
 * the home where it goes (client.h); then the check (verify.h) and the report.
 *
 * One thread per client, in its region and class, over SQL or HTTP. Per class and partition the
 * longest time between two accepted writes is kept: with a steady rate that is the outage which
 * a fault caused, as a client saw it.
 */
#include "workload.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client.h"
#include "daemon.h"
#include "link.h"
#include "verify.h"

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

static void run_clients(struct lab_load *l)
{
    static struct lab_client clients[LAB_CLIENTS_MAX];

    l->client_count = make_clients(l, clients);
    l->end_us = lab_now_us() + l->duration_ms * 1000;
    for (unsigned i = 0; i < l->client_count; i++) {
        clients[i].curl = clients[i].http ? curl_easy_init() : NULL;
        mrd_assert(pthread_create(&clients[i].thread, NULL, lab_client_run, &clients[i]) == 0);
    }
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
    json_t *t;
    size_t i;

    if (json_array_size(tracks) == 0) {
        return;
    }
    printf("%-26s %9s %10s %10s %12s  %s\n", "class/partition", "accepted", "p50", "p99",
           "longest gap", "accepted before and after it by");
    json_array_foreach(tracks, i, t)
    {
        char name[2 * MRD_NAME_MAX];

        snprintf(name, sizeof(name), "%s/%s", json_string_value(json_object_get(t, "class")),
                 json_string_value(json_object_get(t, "partition")));
        printf("%-26s %9lld %7.1f ms %7.1f ms %9.0f ms  %s, %s\n", name,
               (long long)json_integer_value(json_object_get(t, "accepted")),
               json_real_value(json_object_get(t, "latency_ms_p50")),
               json_real_value(json_object_get(t, "latency_ms_p99")),
               json_real_value(json_object_get(t, "longest_gap_ms")),
               json_string_value(json_object_get(t, "gap_before")),
               json_string_value(json_object_get(t, "gap_after")));
    }
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

static void print_verdict(const struct lab_load *l, const struct lab_counts *n, json_t *verdict)
{
    print_names("\nregions read:", json_object_get(verdict, "regions_read"));
    if (json_array_size(json_object_get(verdict, "regions_skipped")) > 0) {
        print_names("regions not running, not read:",
                    json_object_get(verdict, "regions_skipped"));
    }
    printf("acknowledged          %8lu\n"
           "  present everywhere  %8lu\n"
           "  in reconcile        %8lu\n"
           "  missing             %8lu%s\n"
           "duplicated            %8lu\n"
           "unknown               %8lu   (of which present: %lu)\n"
           "refused               %8lu   (of which present: %lu)\n"
           "ledger: %s\n"
           "verdict: %s\n",
           n->acknowledged, n->present, n->in_reconcile, n->missing,
           n->partial > 0 ? "   (some are in some regions)" : "", n->duplicated, n->unknown,
           n->unknown_present, n->refused, n->refused_present, l->ledger_path,
           json_is_true(json_object_get(verdict, "ok"))
               ? "nothing acknowledged is lost"
               : "ACKNOWLEDGED WRITES ARE MISSING OR REPEATED");
}

/* ---- start and end ---- */

static json_t *fetch_status(const struct lab_load *l, struct mrd_err *err)
{
    return lab_request(l->dir, json_pack("{ss}", "command", "status"), err);
}

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
    for (unsigned n = 0; n < l->region_name_count; n++) {
        unsigned r = 0;

        while (r < l->region_count && strcmp(l->regions[r].name, l->region_names[n]) != 0) {
            r++;
        }
        if (r == l->region_count) {
            return mrd_err_set(err, MRD_ENOTFOUND, "no region \"%s\"", l->region_names[n]);
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
    struct lab_counts counts;
    json_t *verdict = NULL;
    json_t *tracks = tracks_json(l);
    json_t *status = fetch_status(l, err); /* again: regions may have come and gone */
    int code = status == NULL ? err->code
                              : lab_verify(l->ledger, status, (unsigned)l->settle_ms, &counts,
                                           &verdict, err);

    json_decref(status);
    if (code != 0) {
        json_decref(tracks);
        return code;
    }
    if (l->json) {
        json_t *all = json_pack("{ss ss so sO}", "run", lab_ledger_tag(l->ledger), "ledger",
                                l->ledger_path, "classes", tracks, "verdict", verdict);

        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else {
        print_tracks(tracks);
        print_verdict(l, &counts, verdict);
        json_decref(tracks);
    }
    code = json_is_true(json_object_get(verdict, "ok")) ? 0 : 1;
    json_decref(verdict);
    return code;
}

static const char usage_text[] =
    "usage: meridian lab load [--duration 60s] [--class C ...] [--region R ...] [--rate N]\n"
    "                         [--clients N] [--via sql|http|both] [--timeout 5s] [--settle "
    "60s]\n"
    "                         [--ledger FILE] [--json]\n"
    "       meridian lab load --check --ledger FILE [--settle 60s] [--json]\n"
    "  --rate     writes per second over all clients (default 50)\n"
    "  --clients  per class, region and way (default 1)\n"
    "  --check    write nothing; hold an earlier ledger against the regions as they are now\n"
    "Exit status 1 when anything acknowledged is neither present in every running region nor\n"
    "in a reconcile queue, or is there twice.\n";

static int take_time(const char *text, uint64_t *ret_ms)
{
    uint64_t ns;

    if (lab_parse_duration(text, &ns) != 0) {
        fprintf(stderr, "meridian lab: \"%s\" is not a time; try 60s\n", text);
        return -1;
    }
    *ret_ms = ns / LAB_NS_PER_MS;
    return 0;
}

static int take_class(struct lab_load *l, const char *name)
{
    enum lab_class c = lab_class_parse(name);

    if (c == LAB_CLASSES) {
        fprintf(stderr,
                "meridian lab: no class \"%s\"; the shop has catalog, accounts, orders "
                "and events\n",
                name);
        return -1;
    }
    l->class_mask |= 1u << c;
    return 0;
}

static int take_via(struct lab_load *l, const char *via)
{
    l->sql = strcmp(via, "http") != 0;
    l->http = strcmp(via, "sql") != 0;
    return strcmp(via, "sql") == 0 || strcmp(via, "http") == 0 || strcmp(via, "both") == 0 ? 0
                                                                                           : -1;
}

static int take_option(struct lab_load *l, int c, char *text)
{
    switch (c) {
    case 'd':
        return take_time(text, &l->duration_ms);
    case 't':
        return take_time(text, &l->timeout_ms);
    case 's':
        return take_time(text, &l->settle_ms);
    case 'c':
        return take_class(l, text);
    case 'r':
        l->region_names[l->region_name_count] = text;
        return ++l->region_name_count < MRD_REGIONS_MAX ? 0 : -1;
    case 'R':
        l->rate = strtod(text, NULL);
        return l->rate > 0 && l->rate <= 100000 ? 0 : -1;
    case 'n':
        l->clients = (unsigned)strtoul(text, NULL, 10);
        return l->clients >= 1 && l->clients <= LAB_CLIENTS_MAX ? 0 : -1;
    case 'v':
        return take_via(l, text);
    case 'l':
        l->ledger_path = text;
        return 0;
    case 'j':
        l->json = true;
        return 0;
    case 'C':
        l->check = true;
        return 0;
    default:
        return -1;
    }
}

static int parse(struct lab_load *l, int argc, char **argv)
{
    static const struct option options[] = {
        {"duration", required_argument, NULL, 'd'}, {"timeout", required_argument, NULL, 't'},
        {"settle", required_argument, NULL, 's'},   {"class", required_argument, NULL, 'c'},
        {"region", required_argument, NULL, 'r'},   {"rate", required_argument, NULL, 'R'},
        {"clients", required_argument, NULL, 'n'},  {"via", required_argument, NULL, 'v'},
        {"ledger", required_argument, NULL, 'l'},   {"json", no_argument, NULL, 'j'},
        {"check", no_argument, NULL, 'C'},          {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (take_option(l, c, optarg) != 0) {
            return -1;
        }
    }
    if (l->class_mask == 0) {
        l->class_mask = (1u << LAB_CLASSES) - 1;
    }
    return optind == argc && !(l->check && l->ledger_path == NULL) ? 0 : -1;
}

int lab_load(const char *dir, int argc, char **argv)
{
    static struct lab_load l;
    struct sigaction act = {.sa_handler = on_signal};
    struct mrd_err err = {.code = 0};
    json_t *status;
    int code;

    l = (struct lab_load){.dir = dir,
                          .duration_ms = 60000,
                          .timeout_ms = 5000,
                          .settle_ms = 60000,
                          .rate = 50,
                          .clients = 1,
                          .sql = true,
                          .http = true};
    pthread_mutex_init(&l.mutex, NULL);
    if (parse(&l, argc, argv) != 0) {
        fputs(usage_text, stderr);
        return 2;
    }
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    status = fetch_status(&l, &err);
    code = status == NULL ? err.code : learn_regions(&l, status, &err);
    json_decref(status);
    if (code == 0) {
        code = open_ledger(&l, &err);
    }
    if (code == 0 && !l.check) {
        run_clients(&l);
    }
    if (code == 0) {
        code = judge(&l, &err);
    }
    if (code < 0) {
        fprintf(stderr, "meridian lab: %s\n", err.text);
        if (err.hint[0] != '\0') {
            fprintf(stderr, "hint: %s\n", err.hint);
        }
    }
    lab_ledger_free(l.ledger);
    return code == 0 ? 0 : 1;
}
