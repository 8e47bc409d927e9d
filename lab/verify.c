/*
 * The check behind the verdict (verify.h).
 *
 * The rows of a run carry its tag, so one query per class and region finds them; they are
 * matched against the sorted ledger. What stands in the way of a judgement, a region that is
 * away or cannot be read, a cut link, a table that is gone, is noted in each round. Products
 * are one row per client whose price only grows, so a price write is present when the price is
 * at least as high.
 */
#include "verify.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include <client.h> /* these of cli/ */
#include <compare.h>

#include "daemon.h"

#define PRODUCTS_MAX 4096
#define SAMPLE_MAX 10
#define POLL_MS 500

struct product {
    char id[24];
    unsigned long long price;
};

struct check {
    struct lab_write *writes;
    size_t count;
    const char *tag;
    uint16_t read;                  /* regions read in this round */
    uint16_t read_of[LAB_CLASSES];  /* those of them that have the class's table */
    bool used[LAB_CLASSES];         /* the ledger has writes of it */
    unsigned acks[LAB_CLASSES];     /* other regions that had to have a write of it */
    unsigned away;                  /* data regions that were not read */
    bool held_up;                   /* changes cannot get everywhere */
    uint64_t ends[MRD_REGIONS_MAX]; /* a WAL position of each behind all of the ledger; 0: none
                                       yet */
    uint16_t passed; /* regions that have applied all of these, and lack no rows */
    int16_t homes[LAB_CLASSES][MRD_REGIONS_MAX]; /* of each partition; -1: not known */
    json_t *why; /* sentences about all of that, of this round */
    struct product products[PRODUCTS_MAX];
    size_t product_count;
};

static const char *const queries[LAB_CLASSES] = {
    "SELECT id::text, price_cents FROM shop.products WHERE name = $1",
    "SELECT id::text, 1 FROM shop.accounts WHERE name = $1",
    /* An order without its line is a torn transaction, and so not there. */
    ("SELECT o.id::text, (SELECT count(*) FROM shop.order_lines l WHERE l.order_id = o.id) "
     "FROM shop.orders o WHERE o.account = $1::uuid"),
    "SELECT id::text, 1 FROM shop.events WHERE kind = $1",
};

static const char *const tables[LAB_CLASSES] = {"shop.products", "shop.accounts", "shop.orders",
                                                "shop.events"};

static const char reconcile_query[] =
    "SELECT coalesce(after, before) ->> 'id', after ->> 'price_cents', relation "
    "FROM meridian.reconcile "
    "WHERE $1 IN (coalesce(after, before) ->> 'name', coalesce(after, before) ->> 'kind', "
    "             coalesce(after, before) ->> 'account')";

/* Of the other regions' changes, how far they are here; and what is not copied yet. */
static const char links_query[] =
    "SELECT region, (applied_lsn - '0/0')::bigint FROM meridian.links"
    " UNION ALL SELECT '', count(*) FROM meridian.gaps";

/* ---- one region ---- */

static void note_price(struct check *c, const char *id, unsigned long long price)
{
    if (c->product_count < PRODUCTS_MAX) {
        struct product *p = &c->products[c->product_count++];

        snprintf(p->id, sizeof(p->id), "%s", id);
        p->price = price;
    }
}

static unsigned long long price_of(const struct check *c, const char *id, size_t len)
{
    unsigned long long price = 0;

    for (size_t i = 0; i < c->product_count; i++) {
        if (strlen(c->products[i].id) == len && memcmp(c->products[i].id, id, len) == 0 &&
            c->products[i].price > price) {
            price = c->products[i].price;
        }
    }
    return price;
}

/* Mark every catalog write whose price this region has reached. */
static void mark_prices(struct check *c, unsigned region, bool reconcile)
{
    for (size_t i = 0; i < c->count; i++) {
        struct lab_write *w = &c->writes[i];
        const char *colon = strchr(w->id, ':');

        if (w->class_index != LAB_CATALOG || colon == NULL ||
            price_of(c, w->id, (size_t)(colon - w->id)) < strtoull(colon + 1, NULL, 10)) {
            continue;
        }
        if (reconcile) {
            w->reconcile = 1;
        } else {
            w->present |= (uint16_t)(1u << region);
        }
    }
}

static void mark_rows(struct check *c, PGresult *r, enum lab_class class, unsigned region)
{
    c->product_count = 0;
    for (int i = 0; i < PQntuples(r); i++) {
        const char *id = PQgetvalue(r, i, 0);
        unsigned long number = strtoul(PQgetvalue(r, i, 1), NULL, 10);
        struct lab_write *w = lab_ledger_find(c->writes, c->count, id);

        if (class == LAB_CATALOG) {
            note_price(c, id, number);
        } else if (w != NULL && number > 0) {
            unsigned rows = (w->present & (1u << region)) != 0 ? 2 : (unsigned)number;

            w->present |= (uint16_t)(1u << region);
            w->copies = rows > w->copies ? (uint8_t)(rows > 255 ? 255 : rows) : w->copies;
        }
    }
    if (class == LAB_CATALOG) {
        mark_prices(c, region, false);
    }
}

static void mark_reconcile(struct check *c, PGresult *r, unsigned region)
{
    c->product_count = 0;
    for (int i = 0; i < PQntuples(r); i++) {
        struct lab_write *w = lab_ledger_find(c->writes, c->count, PQgetvalue(r, i, 0));

        if (strstr(PQgetvalue(r, i, 2), "products") != NULL) {
            note_price(c, PQgetvalue(r, i, 0), strtoull(PQgetvalue(r, i, 1), NULL, 10));
        } else if (w != NULL) {
            w->reconcile = 1;
        }
    }
    mark_prices(c, region, true);
}

static void say_why(struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void say_why(struct check *c, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    text[strcspn(text, "\n")] = '\0';
    json_array_append_new(c->why, json_string(text));
}

/* Somebody dropped or renamed it: its rows cannot be looked at, others' can. */
static bool is_gone(const PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

    return state != NULL && (strcmp(state, "42P01") == 0 || strcmp(state, "3F000") == 0);
}

/* The rows of one class, or for LAB_CLASSES the queue. False when the region is not readable.
 */
static bool read_class(struct check *c, PGconn *conn, unsigned region, unsigned class,
                       const char *name)
{
    const char *params[] = {c->tag};
    bool queue = class == LAB_CLASSES;
    PGresult *r = PQexecParams(conn, queue ? reconcile_query : queries[class], 1, NULL, params,
                               NULL, NULL, 0);
    bool rows = PQresultStatus(r) == PGRES_TUPLES_OK;
    bool gone = !rows && !queue && is_gone(r);

    if (rows && queue) {
        mark_reconcile(c, r, region);
    } else if (rows) {
        mark_rows(c, r, (enum lab_class) class, region);
        c->read_of[class] |= (uint16_t)(1u << region);
    } else if (gone && c->used[class]) {
        say_why(c, "%s has no table %s: it was dropped, or it is not there yet", name,
                tables[class]);
    } else if (!gone) {
        say_why(c, "%s cannot be read: %s", name, PQerrorMessage(conn));
    }
    PQclear(r);
    return rows || gone;
}

/* What was seen of a region that could then not be read to its end does not count. */
static void forget_region(struct check *c, unsigned region)
{
    uint16_t others = (uint16_t) ~(1u << region);

    for (size_t k = 0; k < c->count; k++) {
        c->writes[k].present &= others;
    }
    for (unsigned k = 0; k < LAB_CLASSES; k++) {
        c->read_of[k] &= others;
    }
}

static PGconn *connect_to(const char *dsn)
{
    char conninfo[512];

    snprintf(conninfo, sizeof(conninfo), "%s connect_timeout=5 application_name=lab", dsn);
    return PQconnectdb(conninfo);
}

/* Behind everything in the ledger, which was over before the check began. */
static void note_end(struct check *c, unsigned region, const char *dsn)
{
    PGconn *conn = connect_to(dsn);
    PGresult *r = PQexec(conn, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint");

    if (PQntuples(r) == 1) {
        c->ends[region] = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    }
    PQclear(r);
    PQfinish(conn);
}

/* Has it applied what every other region had? Asked before its rows are read. */
static void look_how_far(struct check *c, const json_t *status, unsigned region, PGconn *conn)
{
    const char *name = cli_text(json_array_get(cli_list(status, "regions"), region), "name");
    PGresult *r = PQexec(conn, links_query);
    bool all = PQntuples(r) > 0;

    for (int i = 0; i < PQntuples(r); i++) {
        const char *from = PQgetvalue(r, i, 0);
        uint64_t value = strtoull(PQgetvalue(r, i, 1), NULL, 10);
        const json_t *other;
        size_t k;

        if (from[0] == '\0' && value > 0) {
            say_why(c, "%s has not yet got a copy of everything; see: meridian.gaps", name);
            all = false;
        }
        json_array_foreach(cli_list(status, "regions"), k, other)
        {
            if (k >= MRD_REGIONS_MAX || strcmp(cli_text(other, "name"), from) != 0 ||
                (c->ends[k] != 0 && value >= c->ends[k])) {
                continue;
            }
            all = false;
            if (c->ends[k] != 0) { /* else it is away, which is said already */
                say_why(c, "%s has not applied what %s had; see: meridian links", name, from);
            }
        }
    }
    PQclear(r);
    c->passed |= (uint16_t)(all ? 1u << region : 0);
}

static void read_region(struct check *c, const json_t *status, unsigned region,
                        const char *name, const char *dsn)
{
    bool readable = true;
    PGconn *conn = connect_to(dsn);

    look_how_far(c, status, region, conn);
    for (unsigned k = 0; k <= LAB_CLASSES && readable; k++) {
        readable = read_class(c, conn, region, k, name);
    }
    PQfinish(conn);
    if (readable) {
        c->read |= (uint16_t)(1u << region);
    } else {
        forget_region(c, region);
        c->away++;
    }
}

/* ---- all regions ---- */

static void begin_round(struct check *c)
{
    json_decref(c->why);
    c->why = json_array();
    c->read = 0;
    c->away = 0;
    c->held_up = false;
    c->passed = 0;
    memset(c->read_of, 0, sizeof(c->read_of));
    for (size_t k = 0; k < c->count; k++) {
        c->writes[k].present = 0;
        c->writes[k].copies = 0;
        c->writes[k].reconcile = 0;
    }
}

static void note_ends(struct check *c, const json_t *status)
{
    const json_t *region;
    size_t i;

    json_array_foreach(cli_list(status, "regions"), i, region)
    {
        if (i < MRD_REGIONS_MAX && c->ends[i] == 0 && !cli_true(region, "witness") &&
            strcmp(cli_text(region, "state"), "running") == 0) {
            note_end(c, (unsigned)i, cli_text(json_object_get(region, "pg"), "dsn"));
        }
    }
}

static void read_all(struct check *c, const json_t *status)
{
    const json_t *region;
    size_t i;

    begin_round(c);
    note_ends(c, status);
    json_array_foreach(cli_list(status, "regions"), i, region)
    {
        const char *name = cli_text(region, "name"), *state = cli_text(region, "state");

        if (i >= MRD_REGIONS_MAX || cli_true(region, "witness")) {
            continue;
        }
        if (strcmp(state, "running") == 0) {
            read_region(c, status, (unsigned)i, name,
                        cli_text(json_object_get(region, "pg"), "dsn"));
        } else {
            say_why(c, "%s is away: %s", name, state);
            c->away++;
        }
    }
}

static bool is_witness(const json_t *status, const char *name)
{
    return cli_true(cli_named(status, "regions", name), "witness");
}

/* What keeps a write from regions that run. */
static void note_hindrances(struct check *c, const json_t *status, const json_t *health)
{
    const json_t *link, *region;
    size_t i;

    json_array_foreach(cli_list(status, "links"), i, link)
    {
        const char *from = cli_text(link, "from"), *to = cli_text(link, "to");

        if (cli_true(link, "cut") && !is_witness(status, from) && !is_witness(status, to)) {
            say_why(c, "the link %s > %s is cut", from, to);
            c->held_up = true;
        }
    }
    json_array_foreach(cli_list(health, "regions"), i, region)
    {
        const char *state = cli_text(region, "health"), *name = cli_text(region, "name");

        if (strcmp(cli_text(cli_named(status, "regions", name), "state"), "running") == 0 &&
            (strcmp(state, "recovering") == 0 || strcmp(state, "down") == 0)) {
            say_why(c, "%s is %s", name, state);
            c->held_up = true;
        }
    }
}

static int region_index(const json_t *status, const char *name)
{
    const json_t *region;
    size_t i;

    json_array_foreach(cli_list(status, "regions"), i, region)
    {
        if (i < MRD_REGIONS_MAX && strcmp(cli_text(region, "name"), name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Partitions of orders are named as regions, and a write has that region's index. */
static void learn_homes(struct check *c, const json_t *status, unsigned class,
                        const json_t *partitions)
{
    const json_t *p;
    size_t i;

    memset(c->homes[class], -1, sizeof(c->homes[class]));
    json_array_foreach(partitions, i, p)
    {
        int at = class == LAB_ORDERS ? region_index(status, cli_text(p, "name")) : 0;

        if (at >= 0 && strcmp(cli_text(p, "state"), "open") == 0) {
            c->homes[class][at] = (int16_t)region_index(status, cli_text(p, "home"));
        }
    }
}

static void learn_promises(struct check *c, const json_t *status, const json_t *classes)
{
    for (unsigned k = 0; k < LAB_CLASSES; k++) {
        const json_t *class = cli_named(classes, "classes", lab_class_name((enum lab_class)k));

        learn_homes(c, status, k, class != NULL ? cli_list(class, "partitions") : NULL);
        if (class != NULL) {
            c->acks[k] = (unsigned)cli_int(class, "remote_acks");
        }
    }
}

/* Nothing of this is known while no agent answers; then only what is away counts. */
static void ask_agents(struct check *c, const char *dir, const json_t *status)
{
    struct cli_place place = {.dir = dir, .json = true};
    json_t *health = NULL, *classes = NULL;

    cli_try(&place, "/v1/regions", &health);
    cli_try(&place, "/v1/classes", &classes);
    note_hindrances(c, status, health);
    learn_promises(c, status, classes);
    json_decref(health);
    json_decref(classes);
}

/* ---- judging ---- */

enum fate { PRESENT, IN_RECONCILE, MISSING, UNJUDGED };

/*
 * A write that some have is missing where a region lacks it that must have it by now: its home,
 * or one that has applied all that the others had. Of a write that nobody has who was asked, it
 * can be said that it is missing when fewer regions are away than had to have it: the home and
 * as many as its class waits for.
 */
static enum fate fate_of(const struct check *c, const struct lab_write *w)
{
    unsigned class = w->class_index;
    bool everywhere = c->read != 0 && c->read_of[class] == c->read && w->present == c->read;

    if (everywhere) {
        return PRESENT;
    }
    if (w->reconcile) {
        return IN_RECONCILE;
    }
    if (c->read == 0 || c->read_of[class] != c->read) {
        return UNJUDGED;
    }
    if (w->present == 0) {
        return c->away == 0 || c->away <= c->acks[class] ? MISSING : UNJUDGED;
    }
    if (c->away > 0 || c->held_up) {
        return UNJUDGED;
    }
    int home = c->homes[class][w->partition];
    unsigned sure = c->passed | (home >= 0 ? 1u << home : 0);
    return (sure & c->read & ~(unsigned)w->present) != 0 ? MISSING : UNJUDGED;
}

static void count(const struct check *c, struct lab_counts *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < c->count; i++) {
        const struct lab_write *w = &c->writes[i];

        ret->duplicated += w->copies > 1;
        if (w->outcome == LAB_ACKED) {
            enum fate fate = fate_of(c, w);

            ret->acknowledged++;
            ret->present += fate == PRESENT;
            ret->in_reconcile += fate == IN_RECONCILE;
            ret->missing += fate == MISSING;
            ret->unjudged += fate == UNJUDGED;
            ret->partial += fate == MISSING && w->present != 0;
        } else if (w->outcome == LAB_REFUSED) {
            ret->refused++;
            ret->refused_present += w->present != 0;
        } else {
            ret->unknown++;
            ret->unknown_present += w->present != 0;
        }
    }
}

/* Unacknowledged rows may be anywhere, but must in the end be everywhere or nowhere. */
static bool settled(const struct check *c, const struct lab_counts *n)
{
    for (size_t i = 0; i < c->count; i++) {
        uint16_t present = c->writes[i].present;

        if (present != 0 && present != c->read && !c->writes[i].reconcile) {
            return false;
        }
    }
    return n->missing == 0 && n->unjudged == 0;
}

/* Names of the data regions that were, or were not, read in the last round. */
static json_t *region_names(const struct check *c, const json_t *status, bool read)
{
    json_t *names = json_array();
    const json_t *region;
    size_t i;

    json_array_foreach(cli_list(status, "regions"), i, region)
    {
        if (i < MRD_REGIONS_MAX && !cli_true(region, "witness") &&
            ((c->read & 1u << i) != 0) == read) {
            json_array_append_new(names, json_string(cli_text(region, "name")));
        }
    }
    return names;
}

static json_t *sample(const struct check *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->count && json_array_size(list) < SAMPLE_MAX; i++) {
        const struct lab_write *w = &c->writes[i];

        if (w->outcome == LAB_ACKED && fate_of(c, w) == MISSING) {
            json_array_append_new(list,
                                  json_pack("{ss ss si}", "id", w->id, "class",
                                            lab_class_name((enum lab_class)w->class_index),
                                            "present_mask", (int)w->present));
        }
    }
    return list;
}

/* Read everything until it is settled or time is up; @ret_status is that of the last round. */
static int settle(struct check *c, const char *dir, uint64_t end_ms, struct lab_counts *ret,
                  bool *ret_converged, json_t **ret_status, struct mrd_err *err)
{
    do {
        json_decref(*ret_status);
        *ret_status = lab_request(dir, json_pack("{ss}", "command", "status"), err);
        if (*ret_status == NULL) {
            return err->code;
        }
        read_all(c, *ret_status);
        ask_agents(c, dir, *ret_status);
        count(c, ret);
        *ret_converged = settled(c, ret);
        if (!*ret_converged) {
            poll(NULL, 0, POLL_MS);
        }
    } while (!*ret_converged && cli_mono_ms() < end_ms);
    return 0;
}

static json_t *verdict_json(const struct check *c, const json_t *status,
                            const struct lab_counts *n, bool converged, uint64_t took_ms)
{
    bool ok = n->missing == 0 && n->duplicated == 0 && n->unjudged == 0 && c->read != 0;

    return json_pack("{sb sb sI sI sI sI sI sI sO sI sI sI sI sI sI so so so}", "ok", ok,
                     "converged", converged, "settle_ms", (json_int_t)took_ms, "acknowledged",
                     (json_int_t)n->acknowledged, "present", (json_int_t)n->present,
                     "in_reconcile", (json_int_t)n->in_reconcile, "missing",
                     (json_int_t)n->missing, "unjudged", (json_int_t)n->unjudged, "hindered_by",
                     c->why, "missing_partial", (json_int_t)n->partial, "duplicated",
                     (json_int_t)n->duplicated, "unknown", (json_int_t)n->unknown,
                     "unknown_present", (json_int_t)n->unknown_present, "refused",
                     (json_int_t)n->refused, "refused_present", (json_int_t)n->refused_present,
                     "regions_read", region_names(c, status, true), "regions_skipped",
                     region_names(c, status, false), "missing_sample", sample(c));
}

int lab_verify(struct lab_ledger *l, const char *dir, unsigned settle_ms,
               struct lab_counts *ret, json_t **ret_json, struct mrd_err *err)
{
    static struct check c;
    json_t *status = NULL;
    uint64_t start = cli_mono_ms();
    bool converged = false;

    memset(c.ends, 0, sizeof(c.ends));
    c.writes = lab_ledger_sorted(l, &c.count);
    c.tag = lab_ledger_tag(l);
    for (size_t i = 0; i < c.count; i++) {
        c.used[c.writes[i].class_index] = true;
    }
    int code = settle(&c, dir, start + settle_ms, ret, &converged, &status, err);
    if (code == 0) {
        *ret_json = verdict_json(&c, status, ret, converged, cli_mono_ms() - start);
    }
    json_decref(c.why);
    c.why = NULL;
    json_decref(status);
    return code;
}
