/*
 * The workload (workload.h): clients in every region, each with its own connection, following
 * the home where it goes.
 *
 * One thread per client, in its region and class, over SQL or HTTP. Before a write is sent the
 * ledger has it; after the answer the ledger has that. A client that is refused (SQLSTATE
 * 25006) goes to the region that DETAIL names; one that loses its server tries the next
 * region. A write whose answer never came is unknown, and over SQL tried again with the same
 * id until an answer comes. Repeating is safe and still honest: the statement rewrites the row
 * when it is already there, so that the acknowledgement waits for the same durability as the
 * first attempt would have. Over HTTP the application decides what a repetition means, so an
 * unknown write stays unknown.
 *
 * Per class and partition the longest time between two accepted writes is kept: with a steady
 * rate that is the outage which a fault caused, as a client saw it.
 */
#include "workload.h"

#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "daemon.h"
#include "ledger.h"
#include "link.h"
#include "verify.h"

#define CLIENTS_MAX 512
#define GIVE_UP_MS 60000 /* one write, all attempts */
#define GRACE_MS 15000   /* after the end, for writes under way */
#define LATENCY_BUCKETS 24

enum answer { ANSWER_YES, ANSWER_NO, ANSWER_NONE }; /* accepted, certainly not, unknown */

struct where {
    char name[MRD_NAME_MAX];
    char dsn[512];
    char url[128];
};

/* One class, or one partition of orders. */
struct track {
    uint64_t accepted, last_us, gap_us, gap_began_wall_ms;
    unsigned last_region, gap_before, gap_after;
    uint64_t latency[LATENCY_BUCKETS]; /* bucket i: below 2^i * 100 us */
    uint64_t latency_max_us;
};

struct load {
    const char *dir, *ledger_path;
    uint64_t duration_ms, timeout_ms, settle_ms;
    double rate;
    unsigned clients; /* per class, region and way */
    bool json, check, sql, http;
    unsigned class_mask;
    char *region_names[MRD_REGIONS_MAX];
    unsigned region_name_count;

    struct where regions[MRD_REGIONS_MAX];
    unsigned region_count;
    uint16_t from; /* regions with clients */
    struct lab_ledger *ledger;
    unsigned client_count;
    uint64_t end_us;

    pthread_mutex_t mutex;
    struct track tracks[LAB_CLASSES][MRD_REGIONS_MAX];
};

struct client {
    struct load *load;
    enum lab_class class;
    unsigned region; /* where the customer is, and the partition of its orders */
    bool http;
    unsigned number;
    unsigned target; /* where it writes now */
    PGconn *conn;
    CURL *curl;
    pthread_t thread;
    uint64_t product, seq;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sleep_us(uint64_t us)
{
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    nanosleep(&t, NULL);
}

/* RFC 9562, 5.4: version 4. */
static void make_uuid(char ret[LAB_TAG_MAX])
{
    uint8_t b[16];

    mrd_assert(getrandom(b, sizeof(b), 0) == (ssize_t)sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(ret, LAB_TAG_MAX,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

/* ---- over SQL ---- */

static void next_region(struct client *c)
{
    PQfinish(c->conn);
    c->conn = NULL;
    c->target = (c->target + 1) % c->load->region_count;
}

static bool sql_connect(struct client *c)
{
    char conninfo[600];

    if (c->conn != NULL && PQstatus(c->conn) == CONNECTION_OK) {
        return true;
    }
    PQfinish(c->conn);
    snprintf(conninfo, sizeof(conninfo), "%s connect_timeout=2 application_name=lab-load",
             c->load->regions[c->target].dsn);
    c->conn = PQconnectdb(conninfo);
    return PQstatus(c->conn) == CONNECTION_OK;
}

/* DETAIL: the home of CLASS/PARTITION is "REGION" (epoch N) */
static void follow_home(struct client *c, const PGresult *r)
{
    const char *detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL);
    const char *name = detail != NULL ? strstr(detail, " is \"") : NULL;
    size_t len;

    if (name == NULL) {
        return;
    }
    name += 5;
    len = strcspn(name, "\"");
    for (unsigned i = 0; i < c->load->region_count; i++) {
        if (i != c->target && strlen(c->load->regions[i].name) == len &&
            memcmp(c->load->regions[i].name, name, len) == 0) {
            PQfinish(c->conn);
            c->conn = NULL;
            c->target = i;
            return;
        }
    }
}

/* The result of what was sent, or NULL when time is up or the connection is lost. */
static PGresult *sql_await(struct client *c)
{
    uint64_t end = now_us() + c->load->timeout_ms * 1000;
    struct pollfd p = {.fd = PQsocket(c->conn), .events = POLLIN};
    PGresult *first = NULL;

    while (PQconsumeInput(c->conn) == 1) {
        uint64_t now = now_us();

        while (!PQisBusy(c->conn)) {
            PGresult *r = PQgetResult(c->conn);

            if (r == NULL) {
                return first;
            }
            if (first == NULL) {
                first = r;
            } else {
                PQclear(r);
            }
        }
        if (now >= end) {
            break;
        }
        poll(&p, 1, (int)((end - now) / 1000) + 1);
    }
    PQclear(first);
    return NULL;
}

static const char *const statements[LAB_CLASSES] = {
    "INSERT INTO shop.products (id, name, price_cents) VALUES ($1, $2, $3) "
    "ON CONFLICT (id) DO UPDATE "
    "SET price_cents = greatest(products.price_cents, excluded.price_cents), updated_at = "
    "now()",
    "INSERT INTO shop.accounts (id, name) VALUES ($1, $2) "
    "ON CONFLICT (id) DO UPDATE SET updated_at = now()",
    "WITH o AS (INSERT INTO shop.orders (home_region, id, account, total_cents) "
    "           VALUES ($3, $1, $2, 100) "
    "           ON CONFLICT (home_region, id) DO UPDATE SET total_cents = 100 "
    "           RETURNING home_region, id) "
    "INSERT INTO shop.order_lines (home_region, order_id, line, product, quantity, "
    "price_cents) "
    "SELECT home_region, id, 1, 1, 1, 100 FROM o ON CONFLICT DO NOTHING",
    "INSERT INTO shop.events (id, kind) VALUES ($1, $2) "
    "ON CONFLICT (id) DO UPDATE SET kind = excluded.kind",
};

static bool sql_send(struct client *c, const char *id)
{
    char product[24], seq[24];
    const char *params[3] = {id, lab_ledger_tag(c->load->ledger), NULL};
    int count = 2;

    if (c->class == LAB_CATALOG) {
        snprintf(product, sizeof(product), "%llu", (unsigned long long)c->product);
        snprintf(seq, sizeof(seq), "%llu", (unsigned long long)c->seq);
        params[0] = product;
        params[2] = seq;
        count = 3;
    } else if (c->class == LAB_ORDERS) {
        params[2] = c->load->regions[c->region].name;
        count = 3;
    }
    return PQsendQueryParams(c->conn, statements[c->class], count, NULL, params, NULL, NULL,
                             0) == 1;
}

static enum answer sql_attempt(struct client *c, const char *id)
{
    PGresult *r;
    const char *state;
    enum answer answer = ANSWER_NO;

    if (!sql_connect(c)) {
        next_region(c);
        sleep_us(50000);
        return ANSWER_NO;
    }
    if (!sql_send(c, id)) {
        next_region(c);
        return ANSWER_NONE;
    }
    r = sql_await(c);
    state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    if (r == NULL) {
        next_region(c);
        answer = ANSWER_NONE;
    } else if (PQresultStatus(r) == PGRES_COMMAND_OK) {
        answer = ANSWER_YES;
    } else if (PQstatus(c->conn) != CONNECTION_OK) {
        /* It may have ended between the commit and its acknowledgement. */
        next_region(c);
        answer = ANSWER_NONE;
    } else {
        if (state != NULL && strcmp(state, "25006") == 0) {
            follow_home(c, r);
        }
        sleep_us(50000);
    }
    PQclear(r);
    return answer;
}

/* ---- over HTTP ---- */

static size_t swallow(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

static void http_describe(const struct client *c, const char *id, char *url, size_t url_cap,
                          char *body, size_t body_cap, const char **method)
{
    const struct where *at = &c->load->regions[c->target];
    const char *tag = lab_ledger_tag(c->load->ledger);

    *method = "POST";
    switch (c->class) {
    case LAB_CATALOG:
        *method = "PUT";
        snprintf(url, url_cap, "%s/products/%llu", at->url, (unsigned long long)c->product);
        snprintf(body, body_cap, "{\"price_cents\": %llu}", (unsigned long long)c->seq);
        break;
    case LAB_ACCOUNTS:
        snprintf(url, url_cap, "%s/accounts", at->url);
        snprintf(body, body_cap, "{\"id\": \"%s\", \"name\": \"%s\"}", id, tag);
        break;
    case LAB_ORDERS:
        snprintf(url, url_cap, "%s/orders/%s", at->url, c->load->regions[c->region].name);
        snprintf(body, body_cap,
                 "{\"id\": \"%s\", \"account\": \"%s\", "
                 "\"lines\": [{\"product\": 1, \"quantity\": 1}]}",
                 id, tag);
        break;
    default:
        snprintf(url, url_cap, "%s/events", at->url);
        snprintf(body, body_cap, "{\"id\": \"%s\", \"kind\": \"%s\"}", id, tag);
        break;
    }
}

static enum answer http_attempt(struct client *c, const char *id)
{
    char url[256], body[512];
    const char *method;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURLcode code;
    long status = 0;

    http_describe(c, id, url, sizeof(url), body, sizeof(body), &method);
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)c->load->timeout_ms);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, swallow);
    code = curl_easy_perform(c->curl);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    /* The shop answers 200 to a POST that found its row there: then somebody on the way sent it
     * twice, and nobody waited for the first one's durability. */
    if (code == CURLE_OK && (status == 201 || (status == 200 && c->class == LAB_CATALOG))) {
        return ANSWER_YES;
    }
    if (code == CURLE_OK && status >= 400 && status < 500) {
        sleep_us(50000);
        return ANSWER_NO;
    }
    c->target = (c->target + 1) % c->load->region_count;
    sleep_us(50000);
    return code == CURLE_COULDNT_CONNECT ? ANSWER_NO : ANSWER_NONE;
}

/* ---- a client ---- */

static void note_accepted(struct client *c, uint64_t began_us)
{
    struct load *l = c->load;
    struct track *t = &l->tracks[c->class][c->class == LAB_ORDERS ? c->region : 0];
    uint64_t now = now_us();
    uint64_t took = now - began_us;
    unsigned bucket = 0;

    while (bucket + 1 < LATENCY_BUCKETS && took >= (100ull << bucket)) {
        bucket++;
    }
    pthread_mutex_lock(&l->mutex);
    if (t->accepted > 0 && now - t->last_us > t->gap_us) {
        t->gap_us = now - t->last_us;
        t->gap_began_wall_ms = wall_ms() - t->gap_us / 1000;
        t->gap_before = t->last_region;
        t->gap_after = c->target;
    }
    t->accepted++;
    t->last_us = now;
    t->last_region = c->target;
    t->latency[bucket]++;
    t->latency_max_us = took > t->latency_max_us ? took : t->latency_max_us;
    pthread_mutex_unlock(&l->mutex);
}

static bool keep_trying(const struct client *c, uint64_t began_us)
{
    uint64_t now = now_us();

    return !interrupted && now - began_us < GIVE_UP_MS * 1000ull &&
           now < c->load->end_us + GRACE_MS * 1000ull;
}

/* One write with all its attempts. Returns false when the ledger cannot be kept. */
static bool write_once(struct client *c, const char *id)
{
    struct load *l = c->load;
    uint64_t began_us = now_us();
    long number =
        lab_ledger_intend(l->ledger, c->class, c->class == LAB_ORDERS ? c->region : 0, id);
    enum lab_outcome outcome = LAB_REFUSED;

    if (number < 0) {
        return false;
    }
    do {
        enum answer a = c->http ? http_attempt(c, id) : sql_attempt(c, id);

        if (a == ANSWER_YES) {
            outcome = LAB_ACKED;
            note_accepted(c, began_us);
        } else if (a == ANSWER_NONE) {
            outcome = LAB_UNKNOWN;
        }
    } while (outcome != LAB_ACKED && !(c->http && outcome == LAB_UNKNOWN) &&
             keep_trying(c, began_us));
    return lab_ledger_outcome(l->ledger, number, outcome, l->regions[c->target].name) == 0;
}

static void next_id(struct client *c, char ret[LAB_ID_MAX])
{
    if (c->class == LAB_CATALOG) {
        c->seq++;
        snprintf(ret, LAB_ID_MAX, "%llu:%llu", (unsigned long long)c->product,
                 (unsigned long long)c->seq);
    } else {
        make_uuid(ret);
    }
}

static void *client_run(void *arg)
{
    struct client *c = arg;
    struct load *l = c->load;
    uint64_t step_us = (uint64_t)(1e6 * l->client_count / l->rate);
    uint64_t next = now_us() + step_us * c->number / l->client_count;
    char id[LAB_ID_MAX];

    if (c->http && c->class == LAB_CATALOG) {
        /* HTTP changes prices; the product itself comes by SQL. */
        c->http = false;
        next_id(c, id);
        if (!write_once(c, id)) {
            interrupted = 1;
        }
        c->http = true;
        c->target = c->region;
    }
    while (!interrupted && now_us() < l->end_us) {
        uint64_t now = now_us();

        if (now < next) {
            sleep_us(next - now < 100000 ? next - now : 100000);
            continue;
        }
        /* After an outage customers do not catch up on what they would have bought. */
        next = next + step_us > now ? next + step_us : now + step_us;
        next_id(c, id);
        if (!write_once(c, id)) {
            fprintf(stderr, "meridian lab: could not write the ledger: %s\n", strerror(errno));
            interrupted = 1;
        }
    }
    PQfinish(c->conn);
    return NULL;
}

/* ---- all clients ---- */

static unsigned make_clients(struct load *l, struct client *clients)
{
    unsigned n = 0;
    uint64_t base = 0;

    mrd_assert(getrandom(&base, 5, 0) == 5);
    for (unsigned k = 0; k < LAB_CLASSES; k++) {
        for (unsigned r = 0; r < l->region_count; r++) {
            for (unsigned i = 0; i < 2 * l->clients; i++) {
                bool http = i >= l->clients;

                if ((l->class_mask & 1u << k) == 0 || (l->from & 1u << r) == 0 ||
                    !(http ? l->http : l->sql) || n == CLIENTS_MAX) {
                    continue;
                }
                clients[n] = (struct client){.load = l,
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

static void run_clients(struct load *l)
{
    static struct client clients[CLIENTS_MAX];

    l->client_count = make_clients(l, clients);
    l->end_us = now_us() + l->duration_ms * 1000;
    for (unsigned i = 0; i < l->client_count; i++) {
        clients[i].curl = clients[i].http ? curl_easy_init() : NULL;
        mrd_assert(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) == 0);
    }
    for (unsigned i = 0; i < l->client_count; i++) {
        pthread_join(clients[i].thread, NULL);
        curl_easy_cleanup(clients[i].curl);
    }
}

/* ---- reports ---- */

static double latency_ms(const struct track *t, double percent)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        seen += t->latency[i];
        if ((double)seen >= (double)t->accepted * percent / 100) {
            return (double)(100ull << i) / 1e3;
        }
    }
    return (double)t->latency_max_us / 1e3;
}

static json_t *track_json(const struct load *l, unsigned class, unsigned partition)
{
    const struct track *t = &l->tracks[class][partition];

    return json_pack("{ss ss sI sf sf sf sf sI ss ss}", "class", lab_class_name(class),
                     "partition", class == LAB_ORDERS ? l->regions[partition].name : "all",
                     "accepted", (json_int_t)t->accepted, "latency_ms_p50", latency_ms(t, 50),
                     "latency_ms_p99", latency_ms(t, 99), "latency_ms_max",
                     (double)t->latency_max_us / 1e3, "longest_gap_ms", (double)t->gap_us / 1e3,
                     "gap_began_wall_ms", (json_int_t)t->gap_began_wall_ms, "gap_before",
                     l->regions[t->gap_before].name, "gap_after",
                     l->regions[t->gap_after].name);
}

static json_t *tracks_json(const struct load *l)
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

static void print_verdict(const struct load *l, const struct lab_counts *n, json_t *verdict)
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

static json_t *fetch_status(const struct load *l, struct mrd_err *err)
{
    return lab_request(l->dir, json_pack("{ss}", "command", "status"), err);
}

static int learn_regions(struct load *l, json_t *status, struct mrd_err *err)
{
    json_t *region;
    size_t i;

    json_array_foreach(json_object_get(status, "regions"), i, region)
    {
        struct where *w = &l->regions[l->region_count];

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

static int open_ledger(struct load *l, struct mrd_err *err)
{
    static char path[LAB_PATH];
    char tag[LAB_TAG_MAX];

    if (l->check) {
        l->ledger = lab_ledger_load(l->ledger_path, err);
    } else {
        make_uuid(tag);
        if (l->ledger_path == NULL) {
            snprintf(path, sizeof(path), "%s/ledger-%.8s.txt", l->dir, tag);
            l->ledger_path = path;
        }
        l->ledger = lab_ledger_new(l->ledger_path, tag, err);
    }
    return l->ledger != NULL ? 0 : err->code;
}

static int judge(struct load *l, struct mrd_err *err)
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

static int take_class(struct load *l, const char *name)
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

static int take_via(struct load *l, const char *via)
{
    l->sql = strcmp(via, "http") != 0;
    l->http = strcmp(via, "sql") != 0;
    return strcmp(via, "sql") == 0 || strcmp(via, "http") == 0 || strcmp(via, "both") == 0 ? 0
                                                                                           : -1;
}

static int take_option(struct load *l, int c, char *text)
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
        return l->clients >= 1 && l->clients <= CLIENTS_MAX ? 0 : -1;
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

static int parse(struct load *l, int argc, char **argv)
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
    static struct load l;
    struct sigaction act = {.sa_handler = on_signal};
    struct mrd_err err = {.code = 0};
    json_t *status;
    int code;

    l = (struct load){.dir = dir,
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
