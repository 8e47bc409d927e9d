/*
 * The shop's API: paths, and the statement behind each.
 *
 * PostgreSQL builds the JSON, so a handler is little more than its SQL. Writes take an optional
 * "id": the same id is the same row, and a repeated write answers 200 with what is there
 * instead of 201.
 *
 *     GET  /whoami
 *     GET  /products
 *     PUT  /products/ID           {price_cents}
 *     POST /accounts              {id?, name, balance_cents?}
 *     GET  /accounts/ID
 *     POST /accounts/ID/deposit   {id?, amount_cents}
 *     GET  /orders?region=R&limit=N, /orders/R, /orders/R/ID
 *     POST /orders, /orders/R     {id?, home_region, account?, lines: [{product, quantity}]}
 *     GET  /events?kind=K&limit=N, /events/ID
 *     POST /events                {id?, kind, payload?}
 */
#include "shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 100
#define LIST_MAX 1000

typedef void handler_fn(const struct shop_call *call, struct shop_reply *ret);

/* ---- answers ---- */

void shop_fail(struct shop_reply *ret, unsigned status, const char *text)
{
    json_t *o = json_pack("{s:s}", "error", text);

    ret->status = status;
    ret->type = "application/json";
    ret->body = json_dumps(o, JSON_COMPACT);
    json_decref(o);
}

/* Answer with the JSON in the result's only column; false when there is no row. */
static bool answer_row(PGresult *result, unsigned status, struct shop_reply *ret)
{
    if (PQntuples(result) == 0) {
        return false;
    }
    ret->status = status;
    ret->type = "application/json";
    ret->body = strdup(PQgetvalue(result, 0, 0));
    return true;
}

/* Run a query whose answer is one JSON value; none is 404. */
static void answer_query(const struct shop_call *call, const char *sql, int count,
                         const char *const params[], struct shop_reply *ret)
{
    PGresult *result;

    if (shop_db_run(call->shop, sql, count, params, &result, ret)) {
        if (!answer_row(result, 200, ret)) {
            shop_fail(ret, 404, "no such thing");
        }
        PQclear(result);
    }
}

/* Run a write with RETURNING; when it did nothing, somebody did it before: answer @existing. */
static void answer_write(const struct shop_call *call, const char *sql, int count,
                         const char *const params[], const char *existing,
                         struct shop_reply *ret)
{
    PGresult *result;
    bool written;

    if (!shop_db_run(call->shop, sql, count, params, &result, ret)) {
        return;
    }
    written = answer_row(result, 201, ret);
    PQclear(result);
    if (!written) {
        answer_query(call, existing, 1, params, ret);
    }
}

/* ---- values from the request ---- */

struct number {
    char text[24];
};

static const char *text_of(const struct shop_call *call, const char *key)
{
    return json_string_value(json_object_get(call->body, key));
}

/* A text of 1 to @max bytes; NULL with the reply filled otherwise. */
static const char *need_text(const struct shop_call *call, const char *key, size_t max,
                             struct shop_reply *ret)
{
    const char *s = text_of(call, key);
    char message[96];

    if (s != NULL && s[0] != '\0' && strlen(s) <= max) {
        return s;
    }
    snprintf(message, sizeof(message), "\"%s\" must be a text of 1 to %zu bytes", key, max);
    shop_fail(ret, 400, message);
    return NULL;
}

/* An integer as a parameter; NULL with the reply filled when it is missing or another thing. */
static const char *need_number(const struct shop_call *call, const char *key,
                               struct number *out, struct shop_reply *ret)
{
    json_t *v = json_object_get(call->body, key);
    char message[96];

    if (json_is_integer(v)) {
        snprintf(out->text, sizeof(out->text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return out->text;
    }
    snprintf(message, sizeof(message), "\"%s\" must be an integer", key);
    shop_fail(ret, 400, message);
    return NULL;
}

/* ?limit=N within 1..LIST_MAX, default 50. */
static const char *limit_of(const struct shop_call *call, struct number *out)
{
    const char *s = call->argument(call->http, "limit");
    long n = s != NULL ? strtol(s, NULL, 10) : 50;

    snprintf(out->text, sizeof(out->text), "%ld", n < 1 ? 1 : n > LIST_MAX ? LIST_MAX : n);
    return out->text;
}

/* ---- handlers ---- */

static void get_page(const struct shop_call *call, struct shop_reply *ret)
{
    ret->status = 200;
    ret->type = "text/html; charset=utf-8";
    ret->body = shop_page(call->shop);
}

static void get_whoami(const struct shop_call *call, struct shop_reply *ret)
{
    const char *params[] = {call->shop->region};

    answer_query(call, "SELECT json_build_object('region', $1::text, 'now', now())", 1, params,
                 ret);
}

static void get_products(const struct shop_call *call, struct shop_reply *ret)
{
    answer_query(call,
                 "SELECT coalesce(json_agg(p ORDER BY p.id), '[]') FROM"
                 " (SELECT id, name, price_cents, updated_at FROM shop.products) p",
                 0, NULL, ret);
}

static void put_product(const struct shop_call *call, struct shop_reply *ret)
{
    struct number price = {""};
    const char *params[] = {call->segments[1], need_number(call, "price_cents", &price, ret)};

    if (params[1] != NULL) {
        answer_query(call,
                     "UPDATE shop.products p SET price_cents = $2, updated_at = now()"
                     " WHERE id = $1 RETURNING row_to_json(p)",
                     2, params, ret);
    }
}

static const char account_by_id[] = "SELECT row_to_json(a) FROM shop.accounts a WHERE id = $1";

static void get_account(const struct shop_call *call, struct shop_reply *ret)
{
    answer_query(call, account_by_id, 1, &call->segments[1], ret);
}

static void post_account(const struct shop_call *call, struct shop_reply *ret)
{
    struct number balance = {"0"};
    const char *params[] = {text_of(call, "id"), need_text(call, "name", 200, ret),
                            balance.text};

    if (params[1] == NULL || (json_object_get(call->body, "balance_cents") != NULL &&
                              need_number(call, "balance_cents", &balance, ret) == NULL)) {
        return;
    }
    answer_write(call,
                 "INSERT INTO shop.accounts AS a (id, name, balance_cents)"
                 " VALUES (coalesce($1::uuid, gen_random_uuid()), $2, $3)"
                 " ON CONFLICT (id) DO NOTHING RETURNING row_to_json(a)",
                 3, params, account_by_id, ret);
}

static void post_deposit(const struct shop_call *call, struct shop_reply *ret)
{
    struct number amount = {""};
    const char *params[] = {call->segments[1], need_number(call, "amount_cents", &amount, ret),
                            text_of(call, "id")};

    if (params[1] == NULL) {
        return;
    }
    answer_write(
        call,
        "UPDATE shop.accounts a SET balance_cents = balance_cents + $2::bigint,"
        " last_deposit = coalesce($3::uuid, last_deposit), updated_at = now()"
        " WHERE id = $1 AND ($3::uuid IS NULL OR last_deposit IS DISTINCT FROM $3::uuid)"
        " RETURNING row_to_json(a)",
        3, params, account_by_id, ret);
}

static void get_orders(const struct shop_call *call, struct shop_reply *ret)
{
    struct number limit = {""};
    const char *params[] = {call->segment_count > 1 ? call->segments[1]
                                                    : call->argument(call->http, "region"),
                            limit_of(call, &limit)};

    answer_query(call,
                 "SELECT coalesce(json_agg(o), '[]') FROM"
                 " (SELECT home_region, id, account, total_cents, placed_at FROM shop.orders"
                 "  WHERE $1::text IS NULL OR home_region = $1"
                 "  ORDER BY placed_at DESC, id LIMIT $2::int) o",
                 2, params, ret);
}

static const char order_by_key[] =
    "SELECT to_jsonb(o) || jsonb_build_object('lines', coalesce((SELECT jsonb_agg(l ORDER BY"
    " l.line) FROM (SELECT line, product, quantity, price_cents FROM shop.order_lines WHERE"
    " home_region = $1 AND order_id = $2) l), '[]')) FROM shop.orders o WHERE home_region = $1"
    " AND id = $2";

static void get_order(const struct shop_call *call, struct shop_reply *ret)
{
    answer_query(call, order_by_key, 2, &call->segments[1], ret);
}

/* The region in the path, or in the body; in both they must agree. */
static const char *order_region(const struct shop_call *call, struct shop_reply *ret)
{
    const char *body = text_of(call, "home_region");
    const char *path = call->segment_count > 1 ? call->segments[1] : NULL;

    if (path != NULL && body != NULL && strcmp(path, body) != 0) {
        shop_fail(ret, 400, "\"home_region\" is not the region in the path");
        return NULL;
    }
    if (path == NULL) {
        return need_text(call, "home_region", 63, ret);
    }
    return path;
}

struct order {
    const char *region, *account, *lines; /* lines: JSON */
    size_t line_count;
    char id[64]; /* empty: the database makes one */
};

/* The order's own row. Returns false with the reply filled; @is_new: it was not there before.
 */
static bool insert_order(const struct shop_call *call, struct order *o, bool *is_new,
                         struct shop_reply *ret)
{
    const char *params[] = {o->region, o->id[0] != '\0' ? o->id : NULL, o->account, o->lines};
    PGresult *result;

    if (!shop_db_run(
            call->shop,
            "INSERT INTO shop.orders (home_region, id, account, total_cents) SELECT $1,"
            " coalesce($2::uuid, gen_random_uuid()), $3::uuid,"
            " coalesce(sum(l.quantity * p.price_cents), 0)::bigint"
            " FROM jsonb_to_recordset($4::jsonb) AS l(product bigint, quantity int)"
            " JOIN shop.products p ON p.id = l.product"
            " ON CONFLICT DO NOTHING RETURNING id",
            4, params, &result, ret)) {
        return false;
    }
    *is_new = PQntuples(result) > 0;
    if (*is_new) {
        snprintf(o->id, sizeof(o->id), "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    return true;
}

static bool insert_lines(const struct shop_call *call, const struct order *o,
                         struct shop_reply *ret)
{
    const char *params[] = {o->region, o->id, o->lines};
    PGresult *result;
    bool complete;

    if (!shop_db_run(call->shop,
                     "INSERT INTO shop.order_lines (home_region, order_id, line, product,"
                     " quantity, price_cents)"
                     " SELECT $1, $2::uuid, l.line, p.id, l.quantity, p.price_cents"
                     " FROM ROWS FROM (jsonb_to_recordset($3::jsonb)"
                     " AS (product bigint, quantity int)) WITH ORDINALITY"
                     " AS l(product, quantity, line) JOIN shop.products p ON p.id = l.product",
                     3, params, &result, ret)) {
        return false;
    }
    complete = (size_t)strtoul(PQcmdTuples(result), NULL, 10) == o->line_count;
    PQclear(result);
    if (!complete) {
        shop_fail(ret, 400, "a line names a product that does not exist");
    }
    return complete;
}

/* In a transaction: the order, its lines, and the order as it is then. */
static bool place_order(const struct shop_call *call, struct order *o, struct shop_reply *ret)
{
    const char *key[] = {o->region, o->id};
    PGresult *result;
    bool is_new;

    if (!insert_order(call, o, &is_new, ret) || (is_new && !insert_lines(call, o, ret)) ||
        !shop_db_run(call->shop, order_by_key, 2, key, &result, ret)) {
        return false;
    }
    if (!answer_row(result, is_new ? 201 : 200, ret)) {
        shop_fail(ret, 500, "the order is not there");
    }
    PQclear(result);
    return true;
}

static void run_order(const struct shop_call *call, struct order *o, struct shop_reply *ret)
{
    struct shop_reply commit = {0};
    PGresult *result;

    if (!shop_db_run(call->shop, "BEGIN", 0, NULL, &result, ret)) {
        return;
    }
    PQclear(result);
    if (place_order(call, o, ret)) {
        if (shop_db_run(call->shop, "COMMIT", 0, NULL, &result, &commit)) {
            PQclear(result);
        } else {
            free(ret->body);
            *ret = commit;
        }
    }
    shop_db_abandon(call->shop);
}

static void post_order(const struct shop_call *call, struct shop_reply *ret)
{
    json_t *lines = json_object_get(call->body, "lines");
    struct order o = {.region = order_region(call, ret),
                      .account = text_of(call, "account"),
                      .line_count = json_array_size(lines)};
    const char *id = text_of(call, "id");
    char *text;

    if (o.region == NULL) {
        return;
    }
    if (o.line_count == 0 || o.line_count > LINES_MAX) {
        shop_fail(ret, 400, "\"lines\" must hold 1 to 100 of {\"product\", \"quantity\"}");
        return;
    }
    if (id != NULL && (size_t)snprintf(o.id, sizeof(o.id), "%s", id) >= sizeof(o.id)) {
        shop_fail(ret, 400, "\"id\" must be a UUID");
        return;
    }
    text = json_dumps(lines, JSON_COMPACT);
    o.lines = text;
    run_order(call, &o, ret);
    free(text);
}

static void get_events(const struct shop_call *call, struct shop_reply *ret)
{
    struct number limit = {""};
    const char *params[] = {call->argument(call->http, "kind"), limit_of(call, &limit)};

    answer_query(call,
                 "SELECT coalesce(json_agg(e), '[]') FROM"
                 " (SELECT id, at, kind, payload FROM shop.events"
                 "  WHERE $1::text IS NULL OR kind = $1 ORDER BY at DESC, id LIMIT $2::int) e",
                 2, params, ret);
}

static const char event_by_id[] = "SELECT row_to_json(e) FROM shop.events e WHERE id = $1";

static void get_event(const struct shop_call *call, struct shop_reply *ret)
{
    answer_query(call, event_by_id, 1, &call->segments[1], ret);
}

static void post_event(const struct shop_call *call, struct shop_reply *ret)
{
    json_t *payload = json_object_get(call->body, "payload");
    char *text = payload != NULL ? json_dumps(payload, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    const char *params[] = {text_of(call, "id"), need_text(call, "kind", 100, ret), text};

    if (params[1] != NULL) {
        answer_write(call,
                     "INSERT INTO shop.events AS e (id, kind, payload)"
                     " VALUES (coalesce($1::uuid, gen_random_uuid()), $2,"
                     " coalesce($3::jsonb, '{}')) ON CONFLICT (id) DO NOTHING"
                     " RETURNING row_to_json(e)",
                     3, params, event_by_id, ret);
    }
    free(text);
}

/* ---- which path is which handler ---- */

/* ":" stands for any one segment. */
static const struct {
    const char *method, *segments[SHOP_SEGMENTS_MAX];
    handler_fn *handler;
} routes[] = {
    {"GET", {NULL}, get_page},
    {"GET", {"whoami"}, get_whoami},
    {"GET", {"products"}, get_products},
    {"PUT", {"products", ":"}, put_product},
    {"POST", {"accounts"}, post_account},
    {"GET", {"accounts", ":"}, get_account},
    {"POST", {"accounts", ":", "deposit"}, post_deposit},
    {"GET", {"orders"}, get_orders},
    {"GET", {"orders", ":"}, get_orders},
    {"POST", {"orders"}, post_order},
    {"POST", {"orders", ":"}, post_order},
    {"GET", {"orders", ":", ":"}, get_order},
    {"GET", {"events"}, get_events},
    {"GET", {"events", ":"}, get_event},
    {"POST", {"events"}, post_event},
};

static bool path_matches(const struct shop_call *call, const char *const segments[])
{
    for (unsigned i = 0; i < SHOP_SEGMENTS_MAX; i++) {
        if (i >= call->segment_count) {
            return segments[i] == NULL;
        }
        if (segments[i] == NULL ||
            (segments[i][0] != ':' && strcmp(segments[i], call->segments[i]) != 0)) {
            return false;
        }
    }
    return true;
}

/* A number as "id" is no id: taking it for none would do a repeated write twice. */
static bool names_are_texts(const struct shop_call *call, struct shop_reply *ret)
{
    static const char *const names[] = {"id", "account", "home_region"};
    char message[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *v = json_object_get(call->body, names[i]);

        if (v != NULL && !json_is_null(v) && !json_is_string(v)) {
            snprintf(message, sizeof(message), "\"%s\" must be a text", names[i]);
            shop_fail(ret, 400, message);
            return false;
        }
    }
    return true;
}

static void allow(struct shop_reply *ret, const char *method)
{
    size_t used = strlen(ret->allow);

    snprintf(ret->allow + used, sizeof(ret->allow) - used, "%s%s", used > 0 ? ", " : "",
             strcmp(method, "GET") == 0 ? "GET, HEAD" : method);
}

void shop_answer(const struct shop_call *call, struct shop_reply *ret)
{
    const char *method = strcmp(call->method, "HEAD") == 0 ? "GET" : call->method;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (path_matches(call, routes[i].segments)) {
            if (strcmp(method, routes[i].method) == 0) {
                ret->allow[0] = '\0';
                if (names_are_texts(call, ret)) {
                    routes[i].handler(call, ret);
                }
                return;
            }
            allow(ret, routes[i].method);
        }
    }
    if (ret->allow[0] != '\0') {
        shop_fail(ret, 405, "no such method here");
    } else {
        shop_fail(ret, 404, "no such page");
    }
}
