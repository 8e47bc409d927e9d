/*
 * The check behind the verdict (verify.h).
 *
 * The rows of a run carry its tag, so one query per class and region finds them; they are
 * matched against the sorted ledger. Products are one row per client whose price only grows,
 * so a price write is present when the price is at least as high.
 */
#include "verify.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libpq-fe.h>

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
    uint16_t read; /* regions read in this round */
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

static const char reconcile_query[] =
    "SELECT coalesce(after, before) ->> 'id', after ->> 'price_cents', relation "
    "FROM meridian.reconcile "
    "WHERE $1 IN (coalesce(after, before) ->> 'name', coalesce(after, before) ->> 'kind', "
    "             coalesce(after, before) ->> 'account')";

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

static int read_region(struct check *c, unsigned region, const char *name, const char *dsn,
                       struct mrd_err *err)
{
    char conninfo[512];
    const char *params[] = {c->tag};
    PGconn *conn;
    int code = 0;

    snprintf(conninfo, sizeof(conninfo), "%s connect_timeout=5 application_name=lab", dsn);
    conn = PQconnectdb(conninfo);
    for (unsigned k = 0; k <= LAB_CLASSES && code == 0; k++) {
        PGresult *r = PQexecParams(conn, k < LAB_CLASSES ? queries[k] : reconcile_query, 1,
                                   NULL, params, NULL, NULL, 0);

        if (PQresultStatus(r) != PGRES_TUPLES_OK) {
            code = mrd_err_set(err, MRD_EUNAVAILABLE, "could not read region \"%s\": %s", name,
                               PQerrorMessage(conn));
            err->text[strcspn(err->text, "\n")] = '\0';
            mrd_err_hint(err, "See whether it runs with: meridian lab status.");
        } else if (k < LAB_CLASSES) {
            mark_rows(c, r, (enum lab_class)k, region);
        } else {
            mark_reconcile(c, r, region);
        }
        PQclear(r);
    }
    PQfinish(conn);
    return code;
}

/* ---- all regions ---- */

static bool readable(json_t *region)
{
    const char *state = json_string_value(json_object_get(region, "state"));

    return state != NULL && strcmp(state, "running") == 0 &&
           !json_is_true(json_object_get(region, "witness"));
}

static int read_all(struct check *c, json_t *regions, struct mrd_err *err)
{
    json_t *region;
    size_t i;
    int code = 0;

    c->read = 0;
    for (size_t k = 0; k < c->count; k++) {
        c->writes[k].present = 0;
        c->writes[k].copies = 0;
        c->writes[k].reconcile = 0;
    }
    json_array_foreach(regions, i, region)
    {
        json_t *pg = json_object_get(region, "pg");

        if (code == 0 && readable(region) && i < MRD_REGIONS_MAX) {
            c->read |= (uint16_t)(1u << i);
            code =
                read_region(c, (unsigned)i, json_string_value(json_object_get(region, "name")),
                            json_string_value(json_object_get(pg, "dsn")), err);
        }
    }
    return code;
}

static void count(const struct check *c, struct lab_counts *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < c->count; i++) {
        const struct lab_write *w = &c->writes[i];
        bool everywhere = w->present == c->read && c->read != 0;

        ret->duplicated += w->copies > 1;
        if (w->outcome == LAB_ACKED) {
            ret->acknowledged++;
            ret->present += everywhere;
            ret->in_reconcile += !everywhere && w->reconcile;
            ret->missing += !everywhere && !w->reconcile;
            ret->partial += !everywhere && !w->reconcile && w->present != 0;
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
    return n->missing == 0;
}

static json_t *region_names(json_t *regions, bool read)
{
    json_t *names = json_array();
    json_t *region;
    size_t i;

    json_array_foreach(regions, i, region)
    {
        if (readable(region) == read && !json_is_true(json_object_get(region, "witness"))) {
            json_array_append(names, json_object_get(region, "name"));
        }
    }
    return names;
}

static json_t *sample(const struct check *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->count && json_array_size(list) < SAMPLE_MAX; i++) {
        const struct lab_write *w = &c->writes[i];

        if (w->outcome == LAB_ACKED && w->present != c->read && !w->reconcile) {
            json_array_append_new(list,
                                  json_pack("{ss ss si}", "id", w->id, "class",
                                            lab_class_name((enum lab_class)w->class_index),
                                            "present_mask", (int)w->present));
        }
    }
    return list;
}

static uint64_t mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Read everything until it is settled or time is up; @ret_status is that of the last round. */
static int settle(struct check *c, const char *dir, uint64_t end_ms, struct lab_counts *ret,
                  bool *ret_converged, json_t **ret_status, struct mrd_err *err)
{
    int code;

    *ret_converged = false;
    do {
        json_decref(*ret_status);
        *ret_status = lab_request(dir, json_pack("{ss}", "command", "status"), err);
        if (*ret_status == NULL) {
            return err->code;
        }
        code = read_all(c, json_object_get(*ret_status, "regions"), err);
        if (code == 0) {
            count(c, ret);
            *ret_converged = settled(c, ret);
        }
        if (!*ret_converged) {
            poll(NULL, 0, POLL_MS);
        }
    } while (!*ret_converged && mono_ms() < end_ms);
    return code;
}

int lab_verify(struct lab_ledger *l, const char *dir, unsigned settle_ms,
               struct lab_counts *ret, json_t **ret_json, struct mrd_err *err)
{
    static struct check c;
    json_t *status = NULL;
    uint64_t start = mono_ms();
    bool converged;
    int code;

    c.writes = lab_ledger_sorted(l, &c.count);
    c.tag = lab_ledger_tag(l);
    code = settle(&c, dir, start + settle_ms, ret, &converged, &status, err);
    if (code == 0) {
        json_t *regions = json_object_get(status, "regions");

        *ret_json = json_pack(
            "{sb sb sI sI sI sI sI sI sI sI sI sI sI so so so}", "ok",
            ret->missing == 0 && ret->duplicated == 0 && c.read != 0, "converged", converged,
            "settle_ms", (json_int_t)(mono_ms() - start), "acknowledged",
            (json_int_t)ret->acknowledged, "present", (json_int_t)ret->present, "in_reconcile",
            (json_int_t)ret->in_reconcile, "missing", (json_int_t)ret->missing,
            "missing_partial", (json_int_t)ret->partial, "duplicated",
            (json_int_t)ret->duplicated, "unknown", (json_int_t)ret->unknown, "unknown_present",
            (json_int_t)ret->unknown_present, "refused", (json_int_t)ret->refused,
            "refused_present", (json_int_t)ret->refused_present, "regions_read",
            region_names(regions, true), "regions_skipped", region_names(regions, false),
            "missing_sample", sample(&c));
    }
    json_decref(status);
    return code;
}
