/*
 * How a client writes (client.h): attempts over SQL and HTTP, and what each answer means.
 *
 * Before a write is sent the ledger has it; after the answer the ledger has that. A client that
 * is refused (SQLSTATE 25006) goes to the region that DETAIL names; one that loses its server
 * tries the next region. A write whose answer never came is unknown, and over SQL tried again
 * with the same id until an answer comes. Repeating is safe and still honest: the statement
 * rewrites the row when it is already there, so that the acknowledgement waits for the same
 * durability as the first attempt would have. Over HTTP the application decides what a
 * repetition means, so an unknown write stays unknown.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define GIVE_UP_MS 60000 /* one write, all attempts */
#define GRACE_MS 15000   /* after the end, for writes under way */

enum answer { ANSWER_YES, ANSWER_NO, ANSWER_NONE }; /* accepted, certainly not, unknown */

volatile sig_atomic_t lab_interrupted;

uint64_t lab_now_us(void)
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
void lab_make_uuid(char ret[LAB_TAG_MAX])
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

static void next_region(struct lab_client *c)
{
    PQfinish(c->conn);
    c->conn = NULL;
    c->target = (c->target + 1) % c->load->region_count;
}

/* A server that goes down tells every client so; what came of each write is in the ledger. */
static void ignore_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static bool sql_connect(struct lab_client *c)
{
    char conninfo[600];

    if (c->conn != NULL && PQstatus(c->conn) == CONNECTION_OK) {
        return true;
    }
    PQfinish(c->conn);
    snprintf(conninfo, sizeof(conninfo), "%s connect_timeout=2 application_name=lab-load",
             c->load->regions[c->target].dsn);
    c->conn = PQconnectdb(conninfo);
    PQsetNoticeProcessor(c->conn, ignore_notice, NULL);
    return PQstatus(c->conn) == CONNECTION_OK;
}

/* DETAIL: the home of CLASS/PARTITION is "REGION" (epoch N) */
static void follow_home(struct lab_client *c, const PGresult *r)
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

/* Both are one statement's results: it may succeed and its commit fail. The failure counts. */
static PGresult *worse(PGresult *a, PGresult *b)
{
    bool keep_a = a != NULL && PQresultStatus(a) != PGRES_COMMAND_OK;

    PQclear(keep_a ? b : a);
    return keep_a ? a : b;
}

/*
 * The result of what was sent, or NULL when time is up or the connection is lost. A statement
 * sent with parameters reports its success before it commits: only when the server is ready for
 * the next one, and no error came in between, is it an acknowledgement.
 */
static PGresult *sql_await(struct lab_client *c)
{
    uint64_t end = lab_now_us() + c->load->timeout_ms * 1000;
    struct pollfd p = {.fd = PQsocket(c->conn), .events = POLLIN};
    PGresult *result = NULL;

    while (PQconsumeInput(c->conn) == 1) {
        uint64_t now = lab_now_us();

        while (!PQisBusy(c->conn)) {
            PGresult *r = PQgetResult(c->conn);

            if (r == NULL) {
                return result;
            }
            result = worse(result, r);
        }
        if (now >= end) {
            break;
        }
        poll(&p, 1, (int)((end - now) / 1000) + 1);
    }
    PQclear(result);
    return NULL;
}

static const char *const statements[LAB_CLASSES] = {
    ("INSERT INTO shop.products (id, name, price_cents) VALUES ($1, $2, $3) "
     "ON CONFLICT (id) DO UPDATE "
     "SET price_cents = greatest(products.price_cents, excluded.price_cents), "
     "    updated_at = now()"),
    ("INSERT INTO shop.accounts (id, name) VALUES ($1, $2) "
     "ON CONFLICT (id) DO UPDATE SET updated_at = now()"),
    ("WITH o AS (INSERT INTO shop.orders (home_region, id, account, total_cents) "
     "           VALUES ($3, $1, $2, 100) "
     "           ON CONFLICT (home_region, id) DO UPDATE SET total_cents = 100 "
     "           RETURNING home_region, id) "
     "INSERT INTO shop.order_lines (home_region, order_id, line, product, quantity, "
     "price_cents) "
     "SELECT home_region, id, 1, 1, 1, 100 FROM o ON CONFLICT DO NOTHING"),
    ("INSERT INTO shop.events (id, kind) VALUES ($1, $2) "
     "ON CONFLICT (id) DO UPDATE SET kind = excluded.kind"),
};

static bool sql_send(struct lab_client *c, const char *id)
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

static enum answer sql_attempt(struct lab_client *c, const char *id)
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
    if (PQresultStatus(r) == PGRES_COMMAND_OK) {
        answer = ANSWER_YES;
    } else if (r == NULL || PQstatus(c->conn) != CONNECTION_OK) {
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

static void http_describe(const struct lab_client *c, const char *id, char *url, size_t url_cap,
                          char *body, size_t body_cap, const char **method)
{
    const struct lab_where *at = &c->load->regions[c->target];
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

static enum answer http_attempt(struct lab_client *c, const char *id)
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

static void note_accepted(struct lab_client *c, uint64_t began_us)
{
    struct lab_load *l = c->load;
    struct lab_track *t = &l->tracks[c->class][c->class == LAB_ORDERS ? c->region : 0];
    uint64_t now, took;
    unsigned bucket = 0;

    /* The clock is read under the lock: clients of one track must not overtake each other. */
    pthread_mutex_lock(&l->mutex);
    now = lab_now_us();
    took = now - began_us;
    while (bucket + 1 < LAB_LATENCY_BUCKETS && took >= (100ull << bucket)) {
        bucket++;
    }
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

static bool keep_trying(const struct lab_client *c, uint64_t began_us)
{
    uint64_t now = lab_now_us();

    return !lab_interrupted && now - began_us < GIVE_UP_MS * 1000ull &&
           now < c->load->end_us + GRACE_MS * 1000ull;
}

/* One write with all its attempts. Returns false when the ledger cannot be kept. */
static bool write_once(struct lab_client *c, const char *id)
{
    struct lab_load *l = c->load;
    uint64_t began_us = lab_now_us();
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

static void next_id(struct lab_client *c, char ret[LAB_ID_MAX])
{
    if (c->class == LAB_CATALOG) {
        c->seq++;
        snprintf(ret, LAB_ID_MAX, "%llu:%llu", (unsigned long long)c->product,
                 (unsigned long long)c->seq);
    } else {
        lab_make_uuid(ret);
    }
}

void *lab_client_run(void *arg)
{
    struct lab_client *c = arg;
    struct lab_load *l = c->load;
    uint64_t step_us = (uint64_t)(1e6 * l->client_count / l->rate);
    uint64_t next = lab_now_us() + step_us * c->number / l->client_count;
    char id[LAB_ID_MAX];

    if (c->http && c->class == LAB_CATALOG) {
        /* HTTP changes prices; the product itself comes by SQL. */
        c->http = false;
        next_id(c, id);
        if (!write_once(c, id)) {
            lab_interrupted = 1;
        }
        c->http = true;
        c->target = c->region;
    }
    while (!lab_interrupted && lab_now_us() < l->end_us) {
        uint64_t now = lab_now_us();

        if (now < next) {
            sleep_us(next - now < 100000 ? next - now : 100000);
            continue;
        }
        /* After an outage customers do not catch up on what they would have bought. */
        next = next + step_us > now ? next + step_us : now + step_us;
        next_id(c, id);
        if (!write_once(c, id)) {
            cli_fail(NULL, "could not write the ledger: %s", strerror(errno));
            lab_interrupted = 1;
        }
    }
    PQfinish(c->conn);
    return NULL;
}
