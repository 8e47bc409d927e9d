/*
 * The API's requests that need more than the agent's own state: planned moves and operators'
 * decisions go through the store, reconcile through the local PostgreSQL.
 */
#include "api_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <load.h>
#include <microhttpd.h>

#include "agent.h"
#include "documents.h"
#include "lag.h"
#include "log.h"
#include "records.h"

#define PEOPLE_MS 30000

/* Copies a text member; false when it is no text or too long. */
static bool text_member(const json_t *o, const char *key, char *out, size_t cap)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) >= cap ||
        strlen(json_string_value(v)) != json_string_length(v)) {
        return false;
    }
    snprintf(out, cap, "%s", json_string_value(v));
    return true;
}

static void no_store(struct api_request *r)
{
    char hint[256];
    snprintf(hint, sizeof(hint),
             "\"%.64s\" was asked and reaches no leader; ask another region, in a lab with "
             "--region R. A majority must be up and connected; see: meridian status.",
             r->agent->config->regions[r->agent->self].name);
    api_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE,
               "could not reach the region that leads the store", hint);
}

/* ---- what goes through the store ---- */

/* What we would decide upon is as the others see it; else it is refused. */
static bool current(struct api_request *r)
{
    if (mrd_node_stale_ns(&r->agent->node, clock_boot_ns()) != 0) {
        no_store(r);
        return false;
    }
    return true;
}

/* The row as it was asked for: our own copy of the store may still hold what was there before,
 * when another region leads. */
static json_t *asked(const struct agent *a, const char *member, json_t *row)
{
    json_t *o = document_new(a);
    json_object_set(o, member, row);
    return o;
}

static void not_committed(struct api_wait *w, int code)
{
    struct api_wait copy = *w;
    struct api_request *r = api_wait_end(w);
    json_decref(copy.row);
    if (r == NULL) {
        return;
    }
    if (code == MRD_ECONFLICT) {
        /* not 409: asked again, it is decided upon what is true then */
        api_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE,
                   "the state changed while this was asked for, and nothing was done",
                   "Look at it again and repeat the request.");
    } else if (code == MRD_ETIMEDOUT) {
        char hint[64];
        snprintf(hint, sizeof(hint), "See: meridian %s.", copy.see);
        api_refuse(r, MHD_HTTP_GATEWAY_TIMEOUT, "it is not known whether this was done", hint);
    } else {
        no_store(r);
    }
}

void api_committed(struct api_wait *w)
{
    struct api_wait copy = *w;
    struct api_request *r = api_wait_end(w);
    if (r != NULL) {
        api_answer(r, MHD_HTTP_ACCEPTED, asked(r->agent, copy.member, copy.row));
    }
    json_decref(copy.row);
}

/* The leader is first to have what it committed. Who asks us next must see it too. */
static void on_stored(void *ctx, int code, uint64_t revision)
{
    struct api_wait *w = ctx;
    if (code != 0) {
        not_committed(w, code);
    } else if (w->request != NULL && revision > mrd_store_revision(w->request->agent->store)) {
        api_wait_for(w, revision);
    } else {
        api_committed(w);
    }
}

/* Send the agent's proposal. @row is taken. */
static void commit(struct api_request *r, const char *member, const char *see, json_t *row)
{
    struct api_wait *w = api_wait_new(r);
    if (w == NULL) {
        json_decref(row);
        return;
    }
    w->row = row;
    w->member = member;
    w->see = see;
    if (agent_propose(r->agent, &r->agent->node.proposal, on_stored, w) != 0) {
        json_decref(row);
        api_wait_end(w);
        no_store(r);
    }
}

/* ---- move ---- */

/* "orders/us-east-1, orders/eu-west-1" */
static void list_partitions(const struct mrd_conf_class *class, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < class->partition_count && used < cap; i++) {
        used += (size_t)snprintf(out + used, cap - used, "%s%s/%s", i > 0 ? ", " : "",
                                 class->name, class->partitions[i]);
    }
}

/** @kind: "region"; @all: where its names are listed */
static void refuse_name(struct api_request *r, const char *kind, const char *name,
                        const char *const *words, const char *all)
{
    char text[100], hint[160];

    snprintf(text, sizeof(text), "there is no %s \"%.64s\"", kind, name);
    api_refuse(r, MHD_HTTP_NOT_FOUND, text,
               mrd_config_hint(name, words, all, hint, sizeof(hint)));
}

static void refuse_region(struct api_request *r, const char *name)
{
    const char *words[MRD_REGIONS_MAX + 1];

    mrd_config_region_words(r->agent->config, words);
    refuse_name(r, "region", name, words, "List them with: meridian regions.");
}

static void refuse_class(struct api_request *r, const char *name)
{
    const char *words[MRD_CLASSES_MAX + 1];

    mrd_config_class_words(r->agent->config, words);
    refuse_name(r, "class", name, words, "List them with: meridian classes.");
}

/* A name that is none is refused with those that there are. @to NULL: the configured home. */
static bool names_known(struct api_request *r, const char *class_name, const char *partition,
                        const char *to)
{
    const struct mrd_config *config = r->agent->config;
    char text[300], list[1024], hint[1100];
    int c = mrd_config_class(config, class_name);

    if (c < 0) {
        refuse_class(r, class_name);
    } else if (to != NULL && mrd_config_region(config, to) < 0) {
        refuse_region(r, to);
    } else if (mrd_partition_index(config, class_name, partition) < 0) {
        bool whole = strcmp(partition, MRD_PARTITION_ALL) == 0;
        if (whole) {
            snprintf(text, sizeof(text), "class \"%.64s\" moves by partition", class_name);
        } else {
            snprintf(text, sizeof(text), "class \"%.64s\" has no partition \"%.64s\"",
                     class_name, partition);
        }
        list_partitions(&config->classes[c], list, sizeof(list));
        snprintf(hint, sizeof(hint),
                 list[0] != '\0' ? "Name one of: %s." : "It has only one; leave it out.", list);
        api_refuse(r, MHD_HTTP_NOT_FOUND, text, hint);
    } else {
        return true;
    }
    return false;
}

#define MOVE_LAG_MS 10000u /* longer than anybody should wait for a planned move */

/*
 * From the moment a move begins the home's writers wait until the target has the last they
 * wrote. Does it get that at present? Nobody asks this yet when the configured home is meant
 * (failback), or of the moves that a drain makes.
 */
static bool keeps_up(struct api_request *r, const char *class_name, const char *partition,
                     const char *to)
{
    const struct agent *a = r->agent;
    struct mrd_authority_record auth;
    struct mrd_session_record s;
    char text[300];
    uint64_t lag_ms = 0;
    int at = to != NULL ? mrd_config_region(a->config, to) : -1, home;

    if (at < 0 || !records_authority(a, class_name, partition, &auth)) {
        return true;
    }
    home = mrd_config_region(a->config, auth.region);
    if (home < 0 || home == at || !records_session(a, (unsigned)at, &s)) {
        return true;
    }
    uint64_t standing_ms = lag_standing_ms(a, (unsigned)home, (unsigned)at);
    if (standing_ms < LAG_STANDS_MS &&
        (!lag_ms_of(a, (unsigned)home, records_peer(&s, auth.region), &lag_ms) ||
         lag_ms < MOVE_LAG_MS)) {
        return true;
    }
    snprintf(text, sizeof(text),
             "changes of \"%.64s\" are %" PRIu64
             " s behind in \"%.64s\": its writers would wait for them",
             auth.region, (standing_ms > lag_ms ? standing_ms : lag_ms) / 1000, to);
    api_refuse(r, MHD_HTTP_CONFLICT, text,
               "See why with: meridian links. Retry when it is back.");
    return false;
}

void api_move(struct api_request *r, const json_t *body)
{
    struct agent *a = r->agent;
    char class_name[MRD_NAME_MAX], partition[MRD_NAME_MAX] = MRD_PARTITION_ALL;
    char to[MRD_NAME_MAX], who[64];
    struct mrd_err err = {0};
    const json_t *part = json_object_get(body, "partition");
    bool home = json_is_null(json_object_get(body, "to"));

    if (!text_member(body, "class", class_name, sizeof(class_name)) ||
        (!home && !text_member(body, "to", to, sizeof(to))) ||
        (part != NULL && !json_is_null(part) &&
         !text_member(body, "partition", partition, sizeof(partition)))) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST, "the body needs \"class\" and \"to\" as texts", "");
        return;
    }
    if (!names_known(r, class_name, partition, home ? NULL : to) || !current(r) ||
        !keeps_up(r, class_name, partition, home ? NULL : to)) {
        return;
    }
    api_operator(r, who);
    if (mrd_move_request(a->config, a->store, class_name, partition, home ? NULL : to, who,
                         clock_wall_ms(), &a->node.proposal, &err) != 0) {
        api_refuse(r, MHD_HTTP_CONFLICT, err.text, err.hint);
        return;
    }
    commit(r, "move", "moves", document_move_asked(&a->node.proposal, class_name, partition));
}

/* ---- drain, undrain, dial ---- */

static void set_traffic(struct api_request *r, const char *region, int rc,
                        const struct mrd_err *err)
{
    if (rc == MRD_ENOTFOUND) {
        refuse_region(r, region);
    } else if (rc != 0) {
        api_refuse(r, MHD_HTTP_CONFLICT, err->text, err->hint);
    } else {
        commit(r, "traffic", "regions", document_dial_asked(&r->agent->node.proposal, region));
    }
}

void api_drain(struct api_request *r, const json_t *body)
{
    struct agent *a = r->agent;
    const json_t *drained = json_object_get(body, "drained");
    char region[MRD_NAME_MAX], who[64];
    struct mrd_err err = {0};

    if (!text_member(body, "region", region, sizeof(region)) || !json_is_boolean(drained)) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST,
                   "the body needs \"region\" as text and \"drained\" as true or false",
                   "List the regions with: meridian regions.");
    } else if (current(r)) {
        api_operator(r, who);
        set_traffic(r, region,
                    mrd_drain_request(a->config, a->store, region, json_is_true(drained), who,
                                      clock_wall_ms(), &a->node.proposal, &err),
                    &err);
    }
}

void api_dial(struct api_request *r, const json_t *body)
{
    struct agent *a = r->agent;
    const json_t *percent = json_object_get(body, "percent");
    char region[MRD_NAME_MAX], who[64];
    struct mrd_err err = {0};

    if (!text_member(body, "region", region, sizeof(region)) || !json_is_integer(percent) ||
        json_integer_value(percent) < 0 || json_integer_value(percent) > 100) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST,
                   "the body needs \"region\" as text and \"percent\" from 0 to 100",
                   "List the regions with: meridian regions.");
    } else if (current(r)) {
        api_operator(r, who);
        set_traffic(r, region,
                    mrd_dial_request(a->config, a->store, region,
                                     (unsigned)json_integer_value(percent), who,
                                     clock_wall_ms(), &a->node.proposal, &err),
                    &err);
    }
}

/* ---- approve, reject ---- */

/* 1 to 16 hex digits. */
static bool id_member(const json_t *o, uint64_t *ret)
{
    char text[20];
    size_t len;
    if (!text_member(o, "id", text, sizeof(text))) {
        return false;
    }
    len = strlen(text);
    *ret = strtoull(text, NULL, 16);
    return len <= 16 && strspn(text, "0123456789abcdef") == len;
}

void api_decide(struct api_request *r, const json_t *body)
{
    struct agent *a = r->agent;
    bool approve = strcmp(r->path, "/v1/approve") == 0;
    struct mrd_err err = {0};
    char who[64];
    uint64_t id;
    int rc;

    if (!id_member(body, &id)) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST,
                   "that is no id of an approval (up to 16 of the characters 0-9 and a-f)",
                   "meridian pending lists what waits, each with its ID.");
        return;
    }
    if (!current(r)) {
        return;
    }
    api_operator(r, who);
    rc = mrd_approval_request(a->config, a->store, id, approve, who, clock_wall_ms(),
                              &a->node.proposal, &err);
    if (rc != 0) {
        api_refuse(r, rc == MRD_ENOTFOUND ? MHD_HTTP_NOT_FOUND : MHD_HTTP_CONFLICT, err.text,
                   err.hint);
        return;
    }
    commit(r, "approval", "pending", document_approval_asked(a, &a->node.proposal));
}

/* ---- reconcile ---- */

static void no_postgres(struct api_request *r, const char *why)
{
    char text[300];
    snprintf(text, sizeof(text), "could not ask the local PostgreSQL: %.200s",
             why != NULL && *why != '\0' ? why : "not connected");
    api_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, text, "See: meridian status.");
}

/* What PostgreSQL refused, as it put it. */
static void refused(struct api_request *r, PGresult *res, const char *error)
{
    const char *hint = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_HINT) : NULL;
    if (res == NULL) {
        no_postgres(r, error);
    } else {
        api_refuse(r, MHD_HTTP_CONFLICT, error, hint);
    }
}

static struct pglink *people(struct api_request *r)
{
    if (r->agent->pg == NULL) {
        api_refuse(r, MHD_HTTP_NOT_FOUND, "a witness has no PostgreSQL",
                   "Ask a region that holds data.");
        return NULL;
    }
    return pgwork_people(r->agent->pg);
}

/* One query gives the rows as JSON, so that types are PostgreSQL's to write. */
static const char list_sql[] =
    "SELECT count(*) OVER (), jsonb_build_object("
    " 'id', id, 'class', class, 'partition', partition, 'epoch', epoch,"
    " 'commit_wall_ms', (extract(epoch FROM committed_at) * 1000)::bigint,"
    " 'relation', relation, 'operation', operation, 'before', before, 'after', after,"
    " 'status', status, 'resolved_by', decided_by)"
    " FROM meridian.reconcile"
    " WHERE ($1 = 'all' OR status = $1)"
    " AND ($2 = '' OR id = $2 OR origin || ':' || commit_lsn::text = $2)"
    " ORDER BY origin, commit_lsn, seq LIMIT $3::bigint";

static json_t *home_of(const struct agent *a, const json_t *row)
{
    const char *class_name = json_string_value(json_object_get(row, "class"));
    const char *partition = json_string_value(json_object_get(row, "partition"));
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    struct mrd_authority_record auth;
    if (class_name == NULL || partition == NULL) {
        return json_null();
    }
    snprintf(key, sizeof(key), "authority/%s/%s", class_name, partition);
    if (mrd_store_get(a->store, key, &e) != 0) {
        return json_null();
    }
    struct mrd_buf b = mrd_buf_reader(e.value, e.len);
    return mrd_authority_record_decode(&b, &auth) == 0 && auth.region[0] != '\0'
               ? json_string(auth.region)
               : json_null();
}

static void on_listed(void *ctx, PGresult *res, const char *error)
{
    struct api_request *r = api_wait_end(ctx);
    if (r == NULL) {
        return;
    }
    if (error != NULL) {
        refused(r, res, error);
        return;
    }
    json_t *o = document_new(r->agent), *rows = json_array();
    long long total = PQntuples(res) > 0 ? atoll(PQgetvalue(res, 0, 0)) : 0;
    for (int i = 0; i < PQntuples(res); i++) {
        json_error_t bad;
        json_t *row = json_loads(PQgetvalue(res, i, 1), 0, &bad);
        if (row != NULL) {
            json_object_set_new(row, "home", home_of(r->agent, row));
            json_array_append_new(rows, row);
        }
    }
    json_object_set_new(o, "total", json_integer(total));
    json_object_set_new(o, "rows", rows);
    api_answer(r, MHD_HTTP_OK, o);
}

static const char *argument(struct api_request *r, const char *name, const char *fallback)
{
    const char *v = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
    return v != NULL ? v : fallback;
}

void api_reconcile_list(struct api_request *r)
{
    const char *status = argument(r, "status", "open"), *limit = argument(r, "limit", "100");
    const char *params[] = {status, argument(r, "id", ""), limit};
    size_t digits = strspn(limit, "0123456789");

    if (strcmp(status, "open") != 0 && strcmp(status, "applied") != 0 &&
        strcmp(status, "discarded") != 0 && strcmp(status, "all") != 0) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST, "no such status",
                   "It is open, applied, discarded or all.");
        return;
    }
    if (digits == 0 || digits > 4 || limit[digits] != '\0' || atoi(limit) < 1 ||
        atoi(limit) > 1000) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST, "limit must be 1 to 1000", "");
        return;
    }
    struct pglink *link = people(r);
    struct api_wait *w = link != NULL ? api_wait_new(r) : NULL;
    if (w != NULL && pglink_query(link, list_sql, 3, params, PEOPLE_MS, on_listed, w) != 0) {
        api_wait_end(w);
        no_postgres(r, pglink_error(link));
    }
}

/* Rows that were as the write would have left them. */
static int already_there(const PGresult *res)
{
    int n = 0;
    for (int i = 0; i < PQntuples(res) && PQnfields(res) >= 2; i++) {
        n += strcmp(PQgetvalue(res, i, 1), "already there") == 0;
    }
    return n;
}

static void on_acted(void *ctx, PGresult *res, const char *error)
{
    struct api_wait *w = ctx;
    struct api_wait copy = *w;
    struct api_request *r = api_wait_end(w);
    if (r == NULL) {
        return;
    }
    if (error != NULL) {
        refused(r, res, error);
        return;
    }
    json_t *o = document_new(r->agent);
    json_object_set_new(o, "action", json_string(copy.action));
    json_object_set_new(o, "id", json_string(copy.id));
    json_object_set_new(o, "rows", json_integer(PQntuples(res)));
    json_object_set_new(o, "already_there", json_integer(already_there(res)));
    api_answer(r, MHD_HTTP_OK, o);
}

void api_reconcile_act(struct api_request *r, const json_t *body)
{
    char id[192], action[16];
    const json_t *force = json_object_get(body, "force");
    bool known = text_member(body, "action", action, sizeof(action)) &&
                 (strcmp(action, "apply") == 0 || strcmp(action, "discard") == 0);

    if (!known || !text_member(body, "id", id, sizeof(id)) ||
        (force != NULL && !json_is_boolean(force) && !json_is_null(force))) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST,
                   "the body needs \"action\" (apply or discard) and \"id\"", "");
        return;
    }
    bool apply = strcmp(action, "apply") == 0;
    const char *params[] = {id, json_is_true(force) ? "true" : "false"};
    struct pglink *link = people(r);
    struct api_wait *w = link != NULL ? api_wait_new(r) : NULL;
    if (w == NULL) {
        return;
    }
    snprintf(w->id, sizeof(w->id), "%s", id);
    snprintf(w->action, sizeof(w->action), "%s", action);
    if (pglink_query(link,
                     apply ? "SELECT * FROM meridian.reconcile_apply($1, $2::boolean)"
                           : "SELECT * FROM meridian.reconcile_discard($1)",
                     apply ? 2 : 1, params, PEOPLE_MS, on_acted, w) != 0) {
        api_wait_end(w);
        no_postgres(r, pglink_error(link));
    }
}
