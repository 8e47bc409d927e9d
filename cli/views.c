/*
 * The read-only commands: status, regions, classes, links, leases, moves, receipts.
 *
 * Each is one request and one or two tables; --json passes the agent's answer through. What an
 * operator asks first decides the order of columns: is it well, who is home, how far behind.
 */
#include <cli.h>
#include <client.h>
#include <table.h>
#include <views.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct view {
    const char *synopsis, *text, *path;
    void (*print)(const json_t *answer);
};

/** The strings of a list, however many, with a space between; malloc'd, NULL without memory. */
static char *joined(const json_t *list)
{
    char *text = NULL;
    size_t i, len;
    const json_t *v;
    FILE *f = open_memstream(&text, &len);

    json_array_foreach(list, i, v)
    {
        const char *s = json_string_value(v);
        if (s != NULL && f != NULL) {
            fprintf(f, "%s%s", i > 0 ? " " : "", s);
        }
    }
    if (f == NULL || fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static void list_cell(struct cli_table *t, const json_t *list)
{
    char *text = joined(list);
    cli_cell(t, "%s", text != NULL ? text : "?");
    free(text);
}

/* What a row says was so when its agent last knew. */
static const char *was(const json_t *row)
{
    return cli_known(row, "stale_s") ? "was " : "";
}

static void print_stale(const json_t *answer)
{
    char span[32];

    if (cli_known(answer, "stale_s")) {
        printf(
            "NOT CURRENT: %s reaches no leader of the store; what follows is as of %s ago\n\n",
            cli_text(answer, "region"), cli_span(cli_int(answer, "stale_s") * 1000, span));
    }
}

static char *rtt(const json_t *object, char out[32])
{
    if (!cli_known(object, "rtt_us") || cli_int(object, "rtt_us") == 0) {
        snprintf(out, 32, "-");
    } else {
        snprintf(out, 32, "%.1f ms", (double)cli_int(object, "rtt_us") / 1000.0);
    }
    return out;
}

/* ---- regions ---- */

static const char *role(const json_t *r)
{
    return cli_true(r, "witness") ? "witness" : cli_true(r, "primary") ? "primary" : "data";
}

/* Why a region is not as it should be, below the table: sentences do not fit a column. */
static void print_whys(const json_t *answer)
{
    size_t i;
    const json_t *r;

    json_array_foreach(cli_list(answer, "regions"), i, r)
    {
        if (cli_text(r, "why")[0] != '\0') {
            cli_labelled(cli_text(r, "name"), cli_text(r, "why"));
        }
    }
}

static void print_regions(const json_t *answer)
{
    static const char *const titles[] = {"REGION", "HEALTH", ">TRAFFIC", "ROLE",    "LEASE",
                                         ">HOMES", ">RTT",   "SERVES",   "REACHED", NULL};
    struct cli_table *t = cli_table_new(titles);
    char time[32];
    size_t i;
    const json_t *r;

    json_array_foreach(cli_list(answer, "regions"), i, r)
    {
        cli_cell(t, "%s", cli_text(r, "name"));
        cli_cell(t, "%s%s", was(r), cli_text(r, "health"));
        if (cli_true(r, "witness")) {
            cli_cell(t, "%s", "");
        } else if (cli_true(r, "drained")) {
            cli_cell(t, "%s", "drained");
        } else {
            cli_cell(t, "%lld%%", cli_int(r, "dial_percent"));
        }
        cli_cell(t, "%s%s", role(r), cli_true(r, "leader") ? ", leads" : "");
        cli_cell(t, "%s%s", was(r), cli_true(r, "alive") ? "live" : "none");
        cli_cell(t, "%lld", cli_int(r, "homes"));
        cli_cell(t, "%s", rtt(r, time));
        bool all = json_equal(cli_list(r, "ready"), cli_list(r, "reachable"));
        list_cell(t, cli_list(r, "ready"));
        if (all && json_array_size(cli_list(r, "reachable")) > 0) {
            cli_cell(t, "all of it");
        } else {
            list_cell(t, cli_list(r, "reachable"));
        }
    }
    cli_table_print(t, "no regions\n");
    print_whys(answer);
    printf("seen from %s\n", cli_text(answer, "region"));
}

/* ---- classes ---- */

static void print_partitions(const json_t *answer, bool only_short)
{
    static const char *const titles[] = {"CLASS/PARTITION", "HOME", ">EPOCH", "STATE",
                                         "PROMISE",         "WHY",  NULL};
    struct cli_table *t = cli_table_new(titles);
    size_t i, k;
    const json_t *c, *p;

    json_array_foreach(cli_list(answer, "classes"), i, c)
    {
        json_array_foreach(cli_list(c, "partitions"), k, p)
        {
            cli_cell(t, "%s/%s", cli_text(c, "name"), cli_text(p, "name"));
            cli_cell(t, "%s", cli_text(p, "home"));
            cli_cell(t, "%lld", cli_int(p, "epoch"));
            cli_cell(t, "%s%s", was(p), cli_text(p, "state"));
            cli_cell(t, "%s %s", cli_text(c, "posture"), cli_text(c, "durability"));
            cli_cell(t, "%s", cli_text(p, "why"));
        }
    }
    cli_table_print(t, only_short ? NULL : "no partitions yet: no leader has created them\n");
}

static void print_classes(const json_t *answer)
{
    static const char *const titles[] = {"CLASS", "COPIES IN", "TABLES", NULL};
    struct cli_table *t = cli_table_new(titles);
    size_t i;
    const json_t *c;

    print_partitions(answer, false);
    putchar('\n');
    json_array_foreach(cli_list(answer, "classes"), i, c)
    {
        cli_cell(t, "%s", cli_text(c, "name"));
        list_cell(t, cli_list(c, "replicas"));
        list_cell(t, cli_list(c, "tables"));
    }
    cli_table_print(t, "no classes\n");
}

/* ---- links ---- */

#define STANDS_MS 5000 /* below, nothing may have been due */

#define TREND 0.1 /* s/s: what changes less stays as it is */

/* How far behind in time, and where that goes: a lag that falls has an end. */
static void lag_cell(struct cli_table *t, const json_t *l)
{
    bool known = cli_known(l, "lag_change");
    double change = json_number_value(json_object_get(l, "lag_change"));
    char lag[32], left[32];

    cli_span(cli_int(l, "lag_ms"), lag);
    if (!cli_true(l, "behind")) {
        cli_cell(t, "%s", lag);
    } else if (known && change < -TREND) {
        cli_cell(t, "%s, behind, %s to go", lag,
                 cli_span((int64_t)((double)cli_int(l, "lag_ms") / -change), left));
    } else {
        cli_cell(t, "%s, behind%s", lag, known && change > TREND ? ", grows" : "");
    }
}

static void print_link(struct cli_table *t, const json_t *l)
{
    const json_t *stream = json_object_get(l, "stream");
    char span[32];

    cli_cell(t, "%s > %s", cli_text(l, "from"), cli_text(l, "to"));
    list_cell(t, cli_list(l, "reachable"));
    cli_cell(t, "%s", rtt(l, span));
    if (!cli_known(l, "lag_ms") && cli_int(l, "standing_ms") >= STANDS_MS) {
        cli_cell(t, "stands, %s", cli_span(cli_int(l, "standing_ms"), span));
    } else if (!cli_known(l, "lag_ms")) {
        cli_cell(t, "%s", "");
    } else {
        lag_cell(t, l);
    }
    cli_cell(t, "%s",
             cli_known(l, "applied_lsn") && cli_known(l, "lag_bytes")
                 ? cli_bytes(cli_int(l, "lag_bytes"), span)
                 : "");
    cli_cell(t, "%s", cli_text(l, "applied_lsn"));
    cli_cell(t, "%s",
             cli_true(l, "refused") && cli_text(stream, "error")[0] == '\0'
                 ? "refused (fenced)"
                 : cli_text(stream, "state"));
}

/* Why a stream stands, below the table: it may be a long story. */
static void print_complaints(const json_t *answer)
{
    size_t i;
    const json_t *l;

    json_array_foreach(cli_list(answer, "links"), i, l)
    {
        const char *error = cli_text(json_object_get(l, "stream"), "error");
        if (error[0] != '\0') {
            char pair[160];
            snprintf(pair, sizeof(pair), "%s > %s", cli_text(l, "from"), cli_text(l, "to"));
            cli_labelled(pair, error);
        }
    }
}

static bool is_old(const json_t *link)
{
    return cli_int(link, "reported_ms_ago") >= STANDS_MS;
}

/* What a region that is away said last still stands in its rows. */
static void print_old(const json_t *answer)
{
    size_t i, k;
    const json_t *l;

    json_array_foreach(cli_list(answer, "links"), i, l)
    {
        const char *to = cli_text(l, "to");
        char span[32], text[120];
        bool said = strcmp(to, cli_text(answer, "region")) == 0;

        for (k = 0; k < i && !said; k++) {
            const json_t *earlier = json_array_get(cli_list(answer, "links"), k);
            said = strcmp(cli_text(earlier, "to"), to) == 0 && is_old(earlier);
        }
        if (!said && is_old(l)) {
            snprintf(text, sizeof(text), "the links into it are as it last reported, %s ago",
                     cli_span(cli_int(l, "reported_ms_ago"), span));
            cli_labelled(to, text);
        }
    }
}

static void print_links(const json_t *answer)
{
    static const char *const titles[] = {"FROM > TO",  "REACHED",  ">RTT",   ">LAG",
                                         ">LAG BYTES", ">APPLIED", "STREAM", NULL};
    struct cli_table *t = cli_table_new(titles);
    size_t i;
    const json_t *l;

    json_array_foreach(cli_list(answer, "links"), i, l)
    {
        print_link(t, l);
    }
    cli_table_print(t, "no links: no two regions share a class\n");
    print_complaints(answer);
    if (!cli_known(answer, "stale_s")) {
        print_old(answer);
    }
    printf("seen from %s, which alone knows its own streams\n", cli_text(answer, "region"));
}

/* ---- leases ---- */

static void print_leases(const json_t *answer)
{
    static const char *const titles[] = {"REGION", ">SESSION", "LEASE",  ">RENEWED", ">LEFT",
                                         ">SEQ",   ">WAL",     "SERVES", NULL};
    struct cli_table *t = cli_table_new(titles);
    char span[32], lease[32];
    size_t i;
    const json_t *l;

    json_array_foreach(cli_list(answer, "leases"), i, l)
    {
        cli_cell(t, "%s", cli_text(l, "name"));
        cli_cell(t, "%lld", cli_int(l, "session"));
        cli_cell(t, "%s",
                 cli_int(l, "session") == 0 ? "never joined"
                 : cli_true(l, "live")      ? "live"
                 : cli_true(l, "expired")   ? "expired"
                                            : "late");
        cli_cell(t, "%s%s",
                 cli_known(l, "renewed_ms_ago") ? cli_span(cli_int(l, "renewed_ms_ago"), span)
                                                : "",
                 cli_known(l, "renewed_ms_ago") ? " ago" : "");
        cli_cell(t, "%s",
                 cli_known(l, "left_ms") && cli_int(l, "session") > 0
                     ? cli_span(cli_int(l, "left_ms"), span)
                     : "");
        cli_cell(t, "%lld", cli_int(l, "seq"));
        cli_cell(t, "%s", cli_text(l, "wal_lsn"));
        list_cell(t, cli_list(l, "ready"));
    }
    cli_table_print(t, "no leases\n");
    printf("lease %s + %s margin; only %s knows what is left of its own\n",
           cli_span(cli_int(answer, "lease_ms"), lease),
           cli_span(cli_int(answer, "lease_margin_ms"), span), cli_text(answer, "region"));
}

/* ---- status ---- */

static void print_problems(const json_t *answer)
{
    size_t i;
    const json_t *p;
    json_array_foreach(cli_list(answer, "problems"), i, p)
    {
        const char *s = json_string_value(p);
        printf("%s", i == 0 ? "problems:\n" : "");
        cli_paragraph(s != NULL ? s : "?", 2);
    }
}

static void print_store(const json_t *store)
{
    const char *leader = cli_text(store, "leader");
    long long term = cli_int(store, "term"), alive = cli_int(store, "voters_alive"),
              voters = cli_int(store, "voters");

    if (leader[0] != '\0') {
        printf("store: led by %s, term %lld, %lld of %lld voters live\n", leader, term, alive,
               voters);
    } else if (cli_true(store, "quorum")) {
        printf("store: this region knows of no leader, term %lld (%lld of %lld voters reached: "
               "an election\n       is under way, or it is cut off one way)\n",
               term, alive, voters);
    } else {
        printf("store: no leader, term %lld, %lld of %lld voters reached: NO QUORUM, nothing "
               "can be decided here\n",
               term, alive, voters);
    }
}

static void print_status(const json_t *answer)
{
    const json_t *store = json_object_get(answer, "store");
    const json_t *lease = json_object_get(answer, "lease");
    char span[32];

    printf("%s, configuration %lld, seen from %s\n", cli_text(answer, "deployment"),
           cli_int(answer, "config_version"), cli_text(answer, "region"));
    print_store(store);
    printf("lease of %s: %s%s\n\n", cli_text(answer, "region"),
           cli_true(lease, "held") ? "held, left " : "none, it takes no writes",
           cli_true(lease, "held") ? cli_span(cli_int(lease, "left_ms"), span) : "");
    print_regions(answer);
    putchar('\n');
    print_partitions(answer, true);
    print_problems(answer);
}

/* ---- promotions that wait ---- */

static void print_pending(const json_t *answer)
{
    static const char *const titles[] = {">ID",      "AWAY FROM",  "STATE", "ASKED",
                                         "APPROVED", "PARTITIONS", NULL};
    struct cli_table *t = cli_table_new(titles);
    char time[40];
    size_t i;
    const json_t *p;

    json_array_foreach(cli_list(answer, "pending"), i, p)
    {
        const json_t *by = cli_list(p, "approved_by");
        cli_cell(t, "%s", cli_short_id(cli_text(p, "id")));
        cli_cell(t, "%s", cli_text(p, "region"));
        cli_cell(t, "%s%s%s", cli_text(p, "state"), cli_known(p, "rejected_by") ? " by " : "",
                 cli_text(p, "rejected_by"));
        cli_cell(t, "%s", cli_time(cli_int(p, "asked_wall_ms"), time));
        char *names = joined(by);
        cli_cell(t, "%zu of %lld%s%s", json_array_size(by), cli_int(p, "needed"),
                 json_array_size(by) > 0 ? ": " : "", names != NULL ? names : "?");
        free(names);
        list_cell(t, cli_list(p, "partitions"));
    }
    cli_table_print(t, "nothing waits for approval\n");
    printf("failover mode: %s\n", cli_text(answer, "mode"));
}

/* ---- moves and receipts ---- */

static void print_moves(const json_t *answer)
{
    static const char *const titles[] = {
        ">ID", "ASKED", "CLASS/PARTITION", "FROM > TO", ">EPOCH", "STATE", "WHY", NULL};
    struct cli_table *t = cli_table_new(titles);
    char time[40];
    size_t i;
    const json_t *m;

    json_array_foreach(cli_list(answer, "moves"), i, m)
    {
        cli_cell(t, "%s", cli_short_id(cli_text(m, "id")));
        cli_cell(t, "%s", cli_time(cli_int(m, "started_wall_ms"), time));
        cli_cell(t, "%s/%s", cli_text(m, "class"), cli_text(m, "partition"));
        cli_cell(t, "%s > %s", cli_text(m, "from"), cli_text(m, "to"));
        cli_cell(t, "%lld", cli_int(m, "epoch"));
        cli_cell(t, "%s", cli_text(m, "state"));
        cli_cell(t, "%s", cli_text(m, "why"));
    }
    cli_table_print(t, "no moves\n");
}

/** One of: under way, why nothing moved, open until the old home returns, final. */
static const char *outcome(const json_t *r)
{
    const char *note = cli_text(r, "note");
    if (!cli_known(r, "granted_wall_ms")) {
        return note[0] != '\0' ? note : "under way";
    }
    return cli_true(r, "final") ? "final" : "waits for the old home";
}

static void print_receipts(const json_t *answer)
{
    static const char *const titles[] = {">ID",        "KIND",       "CLASS/PARTITION",
                                         "FROM > TO",  ">RTO/PAUSE", ">OPENED",
                                         ">LOST TAIL", "STATE",      NULL};
    struct cli_table *t = cli_table_new(titles);
    char span[32];
    size_t i;
    const json_t *r;

    json_array_foreach(cli_list(answer, "receipts"), i, r)
    {
        cli_cell(t, "%s", cli_short_id(cli_text(r, "id")));
        cli_cell(t, "%s", cli_text(r, "kind"));
        cli_cell(t, "%s/%s", cli_text(r, "class"), cli_text(r, "partition"));
        cli_cell(t, "%s > %s", cli_text(r, "from"), cli_text(r, "to"));
        cli_cell(t, "%s",
                 cli_known(r, "first_write_wall_ms") || cli_int(r, "rto_ms") > 0
                     ? cli_span(cli_int(r, "rto_ms"), span)
                     : "");
        long long base = cli_int(
            r, strcmp(cli_text(r, "kind"), "move") == 0 ? "detected_wall_ms" : "fault_wall_ms");
        bool opened = base > 0 && cli_int(r, "opened_wall_ms") >= base;
        cli_cell(t, "%s", opened ? cli_span(cli_int(r, "opened_wall_ms") - base, span) : "");
        cli_cell(t, cli_true(r, "tail_gone") ? "%lld rows, the rest gone" : "%lld rows",
                 cli_int(r, "tail_rows"));
        cli_cell(t, "%s", outcome(r));
    }
    cli_table_print(t, "no receipts: nothing has moved yet\n");
}

static void moment(const char *what, const json_t *r, const char *key, const char *base_key)
{
    long long at = cli_int(r, key), base = cli_int(r, base_key);
    char time[40], span[32];

    if (!cli_known(r, key) || at == 0) {
        printf("  %-30s -\n", what);
    } else if (base > 0 && at >= base) {
        printf("  %-30s %s  (+%s)\n", what, cli_time(at, time), cli_span(at - base, span));
    } else {
        printf("  %-30s %s\n", what, cli_time(at, time));
    }
}

void cli_print_receipt(const json_t *r)
{
    bool move = strcmp(cli_text(r, "kind"), "move") == 0;
    /* The lease of a home that was replaced ends before the grant, or before what it held
     * opens. */
    bool held = cli_int(r, "expired_wall_ms") > cli_int(r, "granted_wall_ms");
    const char *base = move ? "detected_wall_ms" : "fault_wall_ms";
    char span[32], rpo[32];

    printf("receipt %s: %s of %s/%s from %s to %s, epoch %lld\n",
           cli_short_id(cli_text(r, "id")), cli_text(r, "kind"), cli_text(r, "class"),
           cli_text(r, "partition"), cli_text(r, "from"), cli_text(r, "to"),
           cli_int(r, "epoch"));
    printf("  %-30s %s\n", move ? "asked for by" : "decided by", cli_text(r, "observers"));
    if (!move) {
        moment("last sign of life", r, "fault_wall_ms", "");
    }
    moment(move ? "asked for" : "detection", r, "detected_wall_ms", move ? "" : base);
    if (!move && !held) {
        moment("expiry of the lease", r, "expired_wall_ms", base);
    }
    moment(move ? "writers drained" : "old home refused by survivors", r, "fenced_wall_ms",
           base);
    moment(move ? "authority granted" : "promotion", r, "granted_wall_ms", base);
    if (!move && held) {
        moment("expiry of the lease", r, "expired_wall_ms", base);
    }
    moment("new home open", r, "opened_wall_ms", base);
    moment("first write", r, "first_write_wall_ms", base);
    if (!move) {
        moment(cli_true(r, "tail_gone") ? "old home made anew" : "old home's tail taken", r,
               "returned_wall_ms", "");
    }
    bool quiet =
        cli_known(r, "rto_ms") &&
        cli_int(r, "first_write_wall_ms") != cli_int(r, "fault_wall_ms") + cli_int(r, "rto_ms");
    printf("  %-30s %s\n",
           move    ? "pause"
           : quiet ? "RTO, until it took writes"
                   : "RTO, to the first write",
           cli_known(r, "rto_ms") ? cli_span(cli_int(r, "rto_ms"), span)
                                  : "- (nothing was written since)");
    printf("  %-30s %s\n", "outcome", outcome(r));
    printf("  %-30s %lld transactions, %lld rows, %s%s\n", "RPO (lost tail)",
           cli_int(r, "tail_transactions"), cli_int(r, "tail_rows"),
           cli_span(cli_int(r, "rpo_ms"), rpo),
           cli_true(r, "tail_gone") ? "; what else there was is gone with the old home's disk"
           : cli_true(r, "final")   ? ""
                                    : "; not final until the old home returns");
    printf("  %-30s %s\n", "cut", cli_text(r, "cut_lsn"));
}

const char *cli_short_id(const char *id)
{
    while (id[0] == '0' && id[1] != '\0') {
        id++;
    }
    return id;
}

const json_t *cli_find_id(const json_t *answer, const char *list, const char *id)
{
    size_t i;
    const json_t *v;
    json_array_foreach(cli_list(answer, list), i, v)
    {
        if (strcmp(cli_short_id(cli_text(v, "id")), cli_short_id(id)) == 0) {
            return v;
        }
    }
    return NULL;
}

static int show_receipt(const struct cli_place *place, const char *id)
{
    json_t *answer;
    int rc = cli_ask(place, "/v1/receipts", NULL, &answer);
    const json_t *r = rc == 0 ? cli_find_id(answer, "receipts", id) : NULL;

    if (rc == 0 && r == NULL) {
        rc = cli_fail("List them with: meridian receipts.", "no receipt \"%s\"", id);
    } else if (rc == 0 && place->json) {
        rc = cli_print_json(json_deep_copy(r), false);
    } else if (rc == 0) {
        cli_print_receipt(r);
    }
    json_decref(answer);
    return rc;
}

/* ---- running a view ---- */

static int show_once(const struct view *v, const struct cli_place *place, bool compact)
{
    json_t *answer;
    int rc = cli_ask(place, v->path, NULL, &answer);
    if (rc != 0) {
        return rc;
    }
    if (place->json) {
        return cli_print_json(answer, compact);
    }
    print_stale(answer);
    v->print(answer);
    json_decref(answer);
    return fflush(stdout) == 0 ? 0 : 1;
}

/** Once a second until interrupted; an agent that does not answer now may answer next time. */
static int watch(const struct view *v, const struct cli_place *place)
{
    for (;;) {
        if (!place->json && isatty(STDOUT_FILENO)) {
            fputs("\033[H\033[2J", stdout);
        }
        if (show_once(v, place, true) != 0 && ferror(stdout)) {
            return 1;
        }
        sleep(1);
    }
}

static int run_view(const struct view *v, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    bool again = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--watch", NULL, &again, "every second, until interrupted"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {v->synopsis, v->text, options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    return again ? watch(v, &place) : show_once(v, &place, false);
}

int cli_status(int argc, char **argv)
{
    static const struct view v = {"status [--json] [--watch]",
                                  "The whole deployment as one region sees it.", "/v1/status",
                                  print_status};
    return run_view(&v, argc, argv);
}

int cli_regions(int argc, char **argv)
{
    static const struct view v = {
        "regions [--json] [--watch]",
        "Health of each region, what it serves and what of it the answering\n"
        "region reaches.",
        "/v1/regions", print_regions};
    return run_view(&v, argc, argv);
}

int cli_classes(int argc, char **argv)
{
    static const struct view v = {
        "classes [--json] [--watch]",
        "Each partition's home and epoch, and what its class promises.", "/v1/classes",
        print_classes};
    return run_view(&v, argc, argv);
}

int cli_links(int argc, char **argv)
{
    static const struct view v = {
        "links [--json] [--watch]",
        "Each direction of replication: round trip, lag, and why a stream "
        "stands.",
        "/v1/links", print_links};
    return run_view(&v, argc, argv);
}

int cli_leases(int argc, char **argv)
{
    static const struct view v = {"leases [--json] [--watch]",
                                  "Which regions may write now, and since when not.",
                                  "/v1/leases", print_leases};
    return run_view(&v, argc, argv);
}

int cli_moves(int argc, char **argv)
{
    static const struct view v = {
        "moves [--json] [--watch]",
        "Planned moves and where they stand, oldest first: the newest\n"
        "is last, as in a log. The receipt has the same ID.",
        "/v1/moves", print_moves};
    return run_view(&v, argc, argv);
}

int cli_pending(int argc, char **argv)
{
    static const struct view v = {
        "pending [--json] [--watch]",
        "Promotions that a verdict asks for and that an operator must approve\n"
        "(failover.mode manual or two-person).",
        "/v1/pending", print_pending};
    return run_view(&v, argc, argv);
}

int cli_receipts(int argc, char **argv)
{
    static const struct view v = {"receipts", NULL, "/v1/receipts", print_receipts};
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    bool again = false;
    struct cli_place place = {0};
    const struct cli_option options[] = {
        {"--watch", NULL, &again, "every second, until interrupted"},
        CLI_PLACE_OPTIONS(&place),
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "receipts [show ID] [--json] [--watch]",
        "What each failover and move took, and what became of the lost tail, oldest first: "
        "the\n"
        "newest is last, as in a log. RTO is the time from the last sign of life to the first\n"
        "write at the new home, or until it would have taken one where nobody wrote; a move "
        "has\n"
        "the pause of the writers instead. OPENED is after how long the new home was open.",
        options, 0, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (count > 0 && again) {
        return cli_misuse(&usage, "--watch belongs to the list");
    }
    if (count > 0) {
        return strcmp(words[0], "show") == 0 && count == 2
                   ? show_receipt(&place, words[1])
                   : cli_misuse(&usage,
                                count == 2 ? "no such action: \"%s\"" : "which receipt?",
                                words[0]);
    }
    return again ? watch(&v, &place) : show_once(&v, &place, false);
}
