/*
 * Reading the store and the agent's state into JSON (documents.h).
 *
 * Every answer is made whole from the store as it is at one moment; nothing is cached. Records
 * that do not decode are left out: the store's other replicas have the same ones, and core
 * counts them as absent too.
 */
#include "documents.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/verdict.h>

#include "lag.h"
#include "log.h"
#include "records.h"
#include "text.h"

#define MS UINT64_C(1000000)

/* ---- small values ---- */

static void set(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *text_or_null(const char *s)
{
    return s != NULL && s[0] != '\0' ? json_string(s) : json_null();
}

static json_t *time_or_null(mrd_wall_ms ms)
{
    return ms != 0 ? number(ms) : json_null();
}

static json_t *lsn_text(mrd_lsn lsn)
{
    char text[24];
    if (lsn == 0) {
        return json_null();
    }
    snprintf(text, sizeof(text), "%" PRIX64 "/%" PRIX64, lsn >> 32, lsn & 0xffffffff);
    return json_string(text);
}

static json_t *id_text(uint64_t id)
{
    char text[20];
    snprintf(text, sizeof(text), "%016" PRIx64, id);
    return json_string(text);
}

static json_t *sees(unsigned bits)
{
    json_t *list = json_array();
    if ((bits & MRD_SEES_AGENT) != 0) {
        json_array_append_new(list, json_string("agent"));
    }
    if ((bits & MRD_SEES_SQL) != 0) {
        json_array_append_new(list, json_string("sql"));
    }
    if ((bits & MRD_SEES_EDGE) != 0) {
        json_array_append_new(list, json_string("edge"));
    }
    return list;
}

static json_t *region_names(const struct mrd_config *c, mrd_regions which)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < c->region_count; i++) {
        if ((which >> i & 1) != 0) {
            json_array_append_new(list, json_string(c->regions[i].name));
        }
    }
    return list;
}

/* Seconds, rounded up, so that what is old never looks current. When nobody can tell, at least
 * as long as we run. */
static json_t *stale_s(const struct agent *a)
{
    mrd_boot_ns now_ns = clock_boot_ns(), stale_ns = mrd_node_stale_ns(&a->node, now_ns);
    if (stale_ns == 0) {
        return json_null();
    }
    stale_ns = stale_ns == UINT64_MAX ? now_ns - a->started_ns : stale_ns;
    return number(stale_ns / (1000 * MS) + 1);
}

json_t *document_new(const struct agent *a)
{
    json_t *o = json_pack("{s:s, s:I}", "region", a->config->regions[a->self].name,
                          "answered_wall_ms", (json_int_t)clock_wall_ms());
    set(o, "stale_s", stale_s(a));
    return o;
}

/* What the agent before us published, while our own store cannot say. */
static const struct mrd_snapshot *inherited(const struct agent *a)
{
    return a->node.inherited && !a->node.caught_up ? &a->node.snapshot : NULL;
}

/* ---- regions ---- */

static json_t *addresses(const struct mrd_conf_region *r)
{
    json_t *list = json_array();
    char text[64];
    for (unsigned i = 0; i < r->v4_count; i++) {
        inet_ntop(AF_INET, r->v4[i], text, sizeof(text));
        json_array_append_new(list, json_string(text));
    }
    for (unsigned i = 0; i < r->v6_count; i++) {
        inet_ntop(AF_INET6, r->v6[i], text, sizeof(text));
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *endpoint(const char *host, unsigned port, const char *db)
{
    char text[MRD_CONF_STR + MRD_NAME_MAX + 16];
    if (host[0] == '\0') {
        return json_null();
    }
    snprintf(text, sizeof(text), strchr(host, ':') != NULL ? "[%s]:%u%s%s" : "%s:%u%s%s", host,
             port, db != NULL ? "/" : "", db != NULL ? db : "");
    return json_string(text);
}

static unsigned homes(const struct agent *a, unsigned region)
{
    unsigned n = 0, count = mrd_partition_count(a->config);
    for (unsigned i = 0; i < count; i++) {
        struct mrd_authority_record auth;
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(a->config, i, &name);
        n += records_authority(a, k->name, name, &auth) &&
             strcmp(auth.region, a->config->regions[region].name) == 0;
    }
    return n;
}

/* What operators set; everything where there is no record. */
static struct mrd_dial_record read_dial(const struct agent *a, const char *region)
{
    struct mrd_dial_record r = {.percent = 100};
    struct mrd_entry e;
    char key[MRD_KEY_MAX];
    snprintf(key, sizeof(key), "dial/%s", region);
    if (mrd_store_get(a->store, key, &e) == 0) {
        struct mrd_buf b = mrd_buf_reader(e.value, e.len);
        (void)mrd_dial_record_decode(&b, &r);
    }
    return r;
}

/* Its health's reason; and our own lease, which may have ended before others can know. */
static json_t *health_why(const struct agent *a, unsigned i, bool held)
{
    char why[MRD_WHY_MAX] = "";
    if (inherited(a) == NULL) {
        mrd_health_why(a->config, a->store, i, why);
    }
    if (why[0] == '\0' && i == a->self && !held) {
        return json_string("it holds no lease: it takes no writes");
    }
    return json_string(why);
}

static bool unfit(enum mrd_health health)
{
    return health == MRD_DOWN || health == MRD_DEGRADED;
}

/*
 * Nobody is sent to a region that is down or degraded, whatever its dial, while there is a
 * better one (mrd_route).
 */
static uint64_t share(const struct agent *a, unsigned i, const enum mrd_health *health)
{
    bool old = inherited(a) != NULL, better = false;

    for (unsigned k = 0; k < a->config->region_count; k++) {
        better = better || (!a->config->regions[k].witness && !unfit(health[k]));
    }
    if (unfit(health[i]) && better) {
        return 0;
    }
    return old || a->node.published_ns != 0 ? a->node.snapshot.regions[i].dial_percent : 100;
}

/* @held: this region holds its lease, which of its own row says more than the store can. */
static json_t *region_row(const struct agent *a, unsigned i, const enum mrd_health *health,
                          bool held)
{
    const struct mrd_conf_region *r = &a->config->regions[i];
    struct mrd_session_record s = {0};
    struct mrd_peer_report probe = {0};
    bool known = records_session(a, i, &s);
    json_t *o = json_object();

    if (i != a->self) {
        observe_fill(a->observe, (mrd_region)i, &probe);
    }
    set(o, "name", json_string(r->name));
    set(o, "health", json_string(mrd_health_name(health[i])));
    set(o, "why", health_why(a, i, held));
    set(o, "alive",
        json_boolean(inherited(a) != NULL ? inherited(a)->regions[i].alive
                     : i == a->self       ? held
                                          : known && !s.expired));
    set(o, "primary", json_boolean(r->primary));
    set(o, "witness", json_boolean(r->witness));
    set(o, "leader", json_boolean(raft_node_leader(a->raft) == i));
    set(o, "ready", sees(i == a->self ? a->node.local.report.ready : s.ready));
    set(o, "reachable", sees(i == a->self ? a->node.local.report.ready : probe.reachable));
    set(o, "rtt_us", i == a->self || probe.rtt_us != 0 ? number(probe.rtt_us) : json_null());
    set(o, "dial_percent", number(share(a, i, health)));
    set(o, "drained", json_boolean(read_dial(a, r->name).drained));
    set(o, "weight", number(r->weight));
    set(o, "homes", number(homes(a, i)));
    set(o, "country", text_or_null(r->country));
    set(o, "continent", text_or_null(r->continent));
    set(o, "latitude", isnan(r->latitude) ? json_null() : json_real(r->latitude));
    set(o, "longitude", isnan(r->longitude) ? json_null() : json_real(r->longitude));
    set(o, "jurisdiction", text_or_null(r->jurisdiction));
    set(o, "failure_domain", text_or_null(r->failure_domain));
    set(o, "endpoint", text_or_null(r->endpoint));
    set(o, "agent", endpoint(r->agent_host, r->agent_port, NULL));
    set(o, "database", r->witness ? json_null() : endpoint(r->db_host, r->db_port, r->db_name));
    set(o, "edge", r->witness ? json_null() : endpoint(r->edge_host, r->edge_port, NULL));
    set(o, "addresses", addresses(r));
    set(o, "stale_s", stale_s(a));
    return o;
}

static json_t *region_rows(const struct agent *a, bool held)
{
    enum mrd_health health[MRD_REGIONS_MAX];
    json_t *rows = json_array();
    const struct mrd_snapshot *old = inherited(a);
    mrd_health_of(a->config, a->store, health);
    for (unsigned i = 0; old != NULL && i < old->region_count; i++) {
        health[i] = (enum mrd_health)old->regions[i].health;
    }
    for (unsigned i = 0; i < a->config->region_count; i++) {
        json_array_append_new(rows, region_row(a, i, health, held));
    }
    return rows;
}

json_t *document_regions(const struct agent *a)
{
    json_t *o = document_new(a);
    set(o, "regions", region_rows(a, agent_lease_left_ms(a, clock_boot_ns()) > 0));
    return o;
}

/* ---- classes ---- */

static const char *const state_names[] = {
    [MRD_AUTH_OPEN] = "open",
    [MRD_AUTH_FROZEN] = "frozen",
    [MRD_AUTH_FENCING] = "fencing",
    [MRD_AUTH_VACANT] = "vacant",
};

static json_t *history_rows(const struct mrd_authority_record *auth)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < auth->history_count; i++) {
        const struct mrd_closed_record *c = &auth->history[i];
        json_t *o = json_object();
        set(o, "epoch", number(c->epoch));
        set(o, "region", text_or_null(c->region));
        set(o, "cut_lsn", lsn_text(c->cut));
        set(o, "reason", json_string(c->reason));
        set(o, "at_wall_ms", time_or_null(c->at_ms));
        json_array_append_new(rows, o);
    }
    return rows;
}

/* The authority as the agent before us had it, while our own store cannot say. */
static bool remembered(const struct agent *a, int index, struct mrd_authority_record *ret)
{
    const struct mrd_snapshot *s = inherited(a);
    if (s == NULL || index < 0 || index >= s->partition_count) {
        return false;
    }
    const struct mrd_authority *was = &s->partitions[index].authority;
    *ret = (struct mrd_authority_record){.epoch = was->epoch, .state = (uint8_t)was->state};
    if (was->state != MRD_AUTH_VACANT && was->region < s->region_count) {
        snprintf(ret->region, sizeof(ret->region), "%s", s->regions[was->region].name);
    }
    return true;
}

static json_t *partition_row(const struct agent *a, const struct mrd_conf_class *k,
                             const char *name)
{
    struct mrd_authority_record auth = {.state = MRD_AUTH_VACANT};
    json_t *o = json_object();
    int index = mrd_partition_index(a->config, k->name, name);
    bool old = remembered(a, index, &auth),
         known = old || records_authority(a, k->name, name, &auth);
    const struct mrd_snapshot *s = old || a->node.published_ns != 0 ? &a->node.snapshot : NULL;
    bool vacant = auth.state == MRD_AUTH_VACANT;
    char why[128] = "";

    if (index >= 0 && !old) {
        mrd_partition_why(a->config, a->store, (unsigned)index, why);
    }
    set(o, "name", json_string(name));
    set(o, "home", vacant ? json_null() : text_or_null(auth.region));
    set(o, "epoch", number(auth.epoch));
    /* What the snapshot shows is finer than the record: granted but not yet open. */
    unsigned state = s != NULL && known && index >= 0 && index < s->partition_count
                         ? s->partitions[index].authority.state
                         : auth.state;
    set(o, "state", json_string(state <= MRD_AUTH_VACANT ? state_names[state] : "vacant"));
    set(o, "why", json_string(why));
    set(o, "writable_here", json_boolean(mrd_guard(s, index, clock_boot_ns()).allow));
    set(o, "history", history_rows(&auth));
    set(o, "stale_s", stale_s(a));
    return o;
}

static json_t *class_row(const struct agent *a, const struct mrd_conf_class *k)
{
    json_t *o = json_object(), *tables = json_array(), *rows = json_array();
    bool split = k->posture == MRD_PARTITIONED;

    set(o, "name", json_string(k->name));
    set(o, "posture", json_string(mrd_posture_name(k->posture)));
    set(o, "durability", json_string(mrd_durability_name(k->durability)));
    set(o, "remote_acks", number(k->durability == MRD_QUORUM ? mrd_config_remote_acks(k) : 0));
    set(o, "partition_by", split ? json_string(k->partition_by) : json_null());
    set(o, "home",
        split || k->home >= a->config->region_count
            ? json_null()
            : json_string(a->config->regions[k->home].name));
    set(o, "replicas", region_names(a->config, k->replicas));
    set(o, "allowed", region_names(a->config, k->allowed));
    for (unsigned i = 0; i < k->table_count; i++) {
        json_array_append_new(tables, json_string(k->tables[i]));
    }
    set(o, "tables", tables);
    for (unsigned i = 0; i < (split ? k->partition_count : 1u); i++) {
        json_array_append_new(
            rows, partition_row(a, k, split ? k->partitions[i] : MRD_PARTITION_ALL));
    }
    set(o, "partitions", rows);
    return o;
}

static json_t *class_rows(const struct agent *a)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < a->config->class_count; i++) {
        json_array_append_new(rows, class_row(a, &a->config->classes[i]));
    }
    return rows;
}

json_t *document_classes(const struct agent *a)
{
    json_t *o = document_new(a);
    set(o, "classes", class_rows(a));
    return o;
}

/* ---- links ---- */

static json_t *stream_of(const struct agent *a, unsigned from)
{
    static const char *const orders[] = {"none", "run", "refuse", "forward"};
    const struct mrd_snap_region *r = &a->node.snapshot.regions[from];
    const json_t *all = a->pg != NULL ? pgwork_status(a->pg) : NULL;
    const char *blocked = NULL;
    json_t *o = json_object(), *row;
    size_t i;

    set(o, "order", json_string(r->stream < 4 ? orders[r->stream] : "none"));
    set(o, "via",
        r->stream == MRD_STREAM_FORWARD && r->via < a->config->region_count
            ? json_string(a->config->regions[r->via].name)
            : json_null());
    set(o, "state", json_null());
    set(o, "received_lsn", json_null());
    set(o, "error", json_null());
    set(o, "since_ms", json_null());
    json_array_foreach(json_object_get(all, "streams"), i, row)
    {
        const char *origin = json_string_value(json_object_get(row, "origin"));
        if (origin != NULL && strcmp(origin, a->config->regions[from].name) == 0) {
            static const char *const keys[] = {"state", "received_lsn", "error", "since_ms"};
            blocked = json_string_value(json_object_get(row, "blocked"));
            for (size_t k = 0; k < 4; k++) {
                json_t *v = json_object_get(row, keys[k]);
                if (v != NULL) {
                    json_object_set(o, keys[k], v);
                }
            }
        }
    }
    if (!json_is_string(json_object_get(o, "error")) && blocked != NULL) {
        set(o, "error", json_string(blocked));
    }
    /* Between two tries it complains about nothing, and stands all the same. */
    if (!json_is_string(json_object_get(o, "error")) && lag_why(a, from)[0] != '\0' &&
        lag_standing_ms(a, from, a->self) >= LAG_STANDS_MS) {
        set(o, "error", json_string(lag_why(a, from)));
    }
    return o;
}

static json_t *link_row(const struct agent *a, unsigned from, unsigned to)
{
    const struct mrd_config *c = a->config;
    struct mrd_session_record s = {0};
    bool known = to == a->self || records_session(a, to, &s);
    const struct mrd_peer_report *p =
        known ? records_peer(to == a->self ? &a->node.local.report : &s, c->regions[from].name)
              : NULL;
    json_t *o = json_object();
    uint64_t lag_ms, bytes;

    set(o, "from", json_string(c->regions[from].name));
    set(o, "to", json_string(c->regions[to].name));
    set(o, "reachable", sees(p != NULL ? p->reachable : 0));
    set(o, "rtt_us", p != NULL && p->rtt_us != 0 ? number(p->rtt_us) : json_null());
    set(o, "applied_lsn", p != NULL ? lsn_text(p->applied_lsn) : json_null());
    bool bytes_known = p != NULL && lag_bytes_of(a, from, p, &bytes);
    set(o, "lag_bytes", bytes_known ? number(bytes) : json_null());
    bool lag_known = lag_ms_of(a, from, p, &lag_ms);
    set(o, "lag_ms", lag_known ? number(lag_ms) : json_null());
    set(o, "behind", json_boolean(lag_known && lag_ms > a->config->lag_threshold_ms));
    set(o, "standing_ms", number(lag_standing_ms(a, from, to)));
    set(o, "refused", json_boolean(p != NULL && p->refused));
    set(o, "reported_ms_ago",
        p == NULL       ? json_null()
        : to == a->self ? number(0)
                        : number(records_renewed_ms_ago(a, to)));
    set(o, "stream", to == a->self ? stream_of(a, from) : json_null());
    return o;
}

json_t *document_links(const struct agent *a)
{
    json_t *o = document_new(a), *rows = json_array();
    for (unsigned from = 0; from < a->config->region_count; from++) {
        for (unsigned to = 0; to < a->config->region_count; to++) {
            if (from != to && records_share_class(a->config, from, to)) {
                json_array_append_new(rows, link_row(a, from, to));
            }
        }
    }
    set(o, "links", rows);
    return o;
}

/* ---- leases ---- */

static json_t *lease_row(const struct agent *a, unsigned i)
{
    struct mrd_session_record s = {0};
    bool known = records_session(a, i, &s);
    bool seen = known && a->node.coordinator.seen[i].applied_ns != 0;
    json_t *o = json_object();

    set(o, "name", json_string(a->config->regions[i].name));
    set(o, "session", number(s.session));
    set(o, "seq", known ? number(s.seq) : json_null());
    set(o, "live", json_boolean(known && records_live(a, i, &s)));
    set(o, "expired", known ? json_boolean(s.expired) : json_null());
    set(o, "renewed_ms_ago", seen ? number(records_renewed_ms_ago(a, i)) : json_null());
    set(o, "left_ms",
        i == a->self ? number(agent_lease_left_ms(a, clock_boot_ns())) : json_null());
    set(o, "wal_lsn", lsn_text(s.wal_lsn));
    set(o, "ready", known ? sees(s.ready) : json_null());
    set(o, "agent_pid", known ? number(s.agent_pid) : json_null());
    set(o, "stale_s", stale_s(a));
    return o;
}

json_t *document_leases(const struct agent *a)
{
    json_t *o = document_new(a), *rows = json_array();
    set(o, "lease_ms", number(a->config->lease_ms));
    set(o, "lease_margin_ms", number(a->config->lease_margin_ms));
    for (unsigned i = 0; i < a->config->region_count; i++) {
        json_array_append_new(rows, lease_row(a, i));
    }
    set(o, "leases", rows);
    return o;
}

/* ---- status ---- */

static json_t *store_state(const struct agent *a)
{
    mrd_region leader = raft_node_leader(a->raft);
    unsigned voters = a->config->region_count;
    /* Sessions say nothing while nobody can renew: then whoever answers us lives. */
    unsigned alive = leader == MRD_REGION_NONE ? agent_voters_reached(a) : 0;
    for (unsigned i = 0; leader != MRD_REGION_NONE && i < voters; i++) {
        struct mrd_session_record s;
        alive += records_session(a, i, &s) && records_live(a, i, &s);
    }
    json_t *o = json_object();
    set(o, "leader",
        leader != MRD_REGION_NONE ? json_string(a->config->regions[leader].name) : json_null());
    set(o, "term", number(raft_node_term(a->raft)));
    set(o, "revision", number(mrd_store_revision(a->store)));
    set(o, "voters", number(voters));
    set(o, "voters_alive", number(alive));
    set(o, "quorum", json_boolean(leader != MRD_REGION_NONE || 2 * alive > voters));
    return o;
}

static json_t *postgres_state(const struct agent *a)
{
    const json_t *last = a->pg != NULL ? pgwork_status(a->pg) : NULL;
    json_t *size = json_object_get(last, "database_size");
    json_t *o = json_object();
    set(o, "answers", json_boolean(a->pg != NULL && pgwork_answers(a->pg)));
    set(o, "wal_lsn", lsn_text(a->node.local.report.wal_lsn));
    set(o, "database_size_bytes", size != NULL ? json_incref(size) : json_null());
    return o;
}

static json_t *problem_list(const struct agent *a)
{
    char(*text)[256] = calloc(32, sizeof(*text));
    json_t *list = json_array();
    size_t n = text != NULL ? agent_problems(a, text, 32) : 0;
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_string(text[i]));
    }
    free(text);
    return list;
}

json_t *document_status(const struct agent *a)
{
    mrd_boot_ns now_ns = clock_boot_ns();
    uint64_t left_ms = agent_lease_left_ms(a, now_ns);
    json_t *o = document_new(a);

    set(o, "deployment", json_string(a->config->name));
    set(o, "config_version", number(a->config->version));
    set(o, "version", json_string(MERIDIAN_VERSION));
    set(o, "agent_pid", number(a->node.local.report.agent_pid));
    set(o, "uptime_ms", number((now_ns - a->started_ns) / MS));
    set(o, "store", store_state(a));
    set(o, "lease",
        json_pack("{s:b, s:I, s:I, s:I}", "held", left_ms > 0, "session",
                  (json_int_t)a->node.region.session, "seq", (json_int_t)a->node.region.seq,
                  "left_ms", (json_int_t)left_ms));
    set(o, "postgres", postgres_state(a));
    set(o, "problems", problem_list(a));
    set(o, "regions", region_rows(a, left_ms > 0));
    set(o, "classes", class_rows(a));
    return o;
}

/* ---- events, moves, receipts ---- */

struct events {
    json_t *rows;
    uint64_t after, last;
};

static int add_event(void *ctx, const struct mrd_entry *e)
{
    struct events *ev = ctx;
    char text[512];
    unsigned long long at_ms = 0;
    int head = 0;
    uint64_t id = strtoull(e->key + strlen("event/"), NULL, 16);

    ev->last = id > ev->last ? id : ev->last;
    if (id <= ev->after || json_array_size(ev->rows) >= MRD_EVENTS_MAX) {
        return 0;
    }
    snprintf(text, sizeof(text), "%.*s", (int)(e->len < sizeof(text) ? e->len : 511),
             (const char *)e->value);
    if (sscanf(text, "at_ms=%llu %n", &at_ms, &head) < 1) {
        head = 0;
    }
    char *name = text + head;
    if (strncmp(name, "event=", 6) != 0) {
        return 0;
    }
    name += 6;
    char *rest = name + strcspn(name, " ");
    if (*rest == ' ') {
        *rest++ = '\0';
    }
    json_t *o = json_object();
    set(o, "id", number(id));
    set(o, "wall_ms", number(at_ms));
    set(o, "event", json_string(name));
    set(o, "text", json_string(rest));
    json_array_append_new(ev->rows, o);
    return 0;
}

json_t *document_events(const struct agent *a, uint64_t after)
{
    json_t *o = document_new(a);
    struct events ev = {json_array(), after, after};
    mrd_store_scan(a->store, "event/", add_event, &ev);
    set(o, "last", number(ev.last));
    set(o, "events", ev.rows);
    return o;
}

static json_t *move_row(const char *class_name, const char *partition,
                        const struct mrd_entry *e)
{
    static const char *const states[] = {
        [MRD_MOVE_WAIT] = "wait", [MRD_MOVE_FREEZE] = "freeze",   [MRD_MOVE_FROZEN] = "frozen",
        [MRD_MOVE_DONE] = "done", [MRD_MOVE_ABORTED] = "aborted",
    };
    struct mrd_move_record m;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);
    if (mrd_move_record_decode(&b, &m) != 0) {
        return NULL;
    }
    json_t *o = json_object();
    set(o, "id", id_text(m.id));
    set(o, "class", json_string(class_name));
    set(o, "partition", json_string(partition));
    set(o, "from", text_or_null(m.from));
    set(o, "to", text_or_null(m.to));
    set(o, "epoch", number(m.epoch));
    set(o, "state", json_string(m.state <= MRD_MOVE_WAIT ? states[m.state] : "aborted"));
    set(o, "why", json_string(m.why));
    set(o, "started_wall_ms", time_or_null(m.started_ms));
    return o;
}

static json_t *stored_move(const struct agent *a, const char *class_name, const char *partition)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    snprintf(key, sizeof(key), "move/%s/%s", class_name, partition);
    return mrd_store_get(a->store, key, &e) == 0 ? move_row(class_name, partition, &e) : NULL;
}

json_t *document_move_asked(const struct mrd_proposal *p, const char *class_name,
                            const char *partition)
{
    char key[MRD_KEY_MAX];
    snprintf(key, sizeof(key), "move/%s/%s", class_name, partition);
    for (size_t i = 0; i < p->txn.put_count; i++) {
        const struct mrd_put *put = &p->txn.puts[i];
        if (put->value != NULL && strcmp(put->key, key) == 0) {
            struct mrd_entry e = {.key = put->key, .value = put->value, .len = put->len};
            return move_row(class_name, partition, &e);
        }
    }
    return NULL;
}

/* Ids grow, and their texts are of one length. */
static void insert_by_id(json_t *rows, json_t *row)
{
    size_t at = json_array_size(rows);
    const char *id = json_string_value(json_object_get(row, "id"));
    while (at > 0 &&
           strcmp(json_string_value(json_object_get(json_array_get(rows, at - 1), "id")), id) >
               0) {
        at--;
    }
    json_array_insert_new(rows, at, row);
}

json_t *document_moves(const struct agent *a)
{
    json_t *o = document_new(a), *rows = json_array();
    unsigned count = mrd_partition_count(a->config);
    for (unsigned i = 0; i < count; i++) {
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(a->config, i, &name);
        json_t *row = stored_move(a, k->name, name);
        if (row != NULL) {
            insert_by_id(rows, row);
        }
    }
    set(o, "moves", rows);
    return o;
}

static int add_receipt(void *ctx, const struct mrd_entry *e)
{
    struct mrd_receipt_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);
    if (mrd_receipt_record_decode(&b, &r) != 0) {
        return 0;
    }
    bool move = strcmp(r.kind, "move") == 0;
    json_t *o = json_object();
    set(o, "id", id_text(r.id));
    set(o, "kind", json_string(r.kind));
    set(o, "class", json_string(r.class_name));
    set(o, "partition", json_string(r.partition));
    set(o, "from", text_or_null(r.from));
    set(o, "to", text_or_null(r.to));
    set(o, "epoch", number(r.epoch));
    set(o, "observers", json_string(r.observers));
    set(o, "note", json_string(r.note));
    set(o, "cut_lsn", lsn_text(r.cut));
    set(o, "fault_wall_ms", time_or_null(r.fault_ms));
    set(o, "detected_wall_ms", time_or_null(r.detected_ms));
    set(o, "expired_wall_ms", time_or_null(r.expired_ms));
    set(o, "fenced_wall_ms", time_or_null(r.fenced_ms));
    set(o, "granted_wall_ms", time_or_null(r.granted_ms));
    set(o, "opened_wall_ms", time_or_null(r.opened_ms));
    set(o, "first_write_wall_ms", time_or_null(r.first_write_ms));
    set(o, "returned_wall_ms", time_or_null(r.returned_ms));
    set(o, "final", json_boolean(r.returned_ms != 0 || (move && r.granted_ms != 0)));
    set(o, "rto_ms", r.rto_ms != 0 || r.first_write_ms != 0 ? number(r.rto_ms) : json_null());
    set(o, "rpo_ms", number(r.rpo_ms));
    set(o, "tail_transactions", number(r.tail_transactions));
    set(o, "tail_rows", number(r.tail_rows));
    set(o, "tail_gone", json_boolean(r.tail_gone));
    json_array_append_new(ctx, o); /* the store's order is oldest first */
    return 0;
}

json_t *document_receipts(const struct agent *a)
{
    json_t *o = document_new(a), *rows = json_array();
    mrd_store_scan(a->store, "receipt/", add_receipt, rows);
    set(o, "receipts", rows);
    return o;
}

/* ---- what waits for operators ---- */

static bool last_home(const struct agent *a, unsigned partition, const char *region)
{
    struct mrd_authority_record auth;
    const char *name;
    const struct mrd_conf_class *k = mrd_partition_at(a->config, partition, &name);
    return records_authority(a, k->name, name, &auth) &&
           strcmp(auth.state == MRD_AUTH_VACANT ? auth.last_region : auth.region, region) == 0;
}

static json_t *partitions_of(const struct agent *a, const char *region)
{
    json_t *list = json_array();
    unsigned count = mrd_partition_count(a->config);
    for (unsigned i = 0; i < count; i++) {
        char text[2 * MRD_NAME_MAX];
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(a->config, i, &name);
        if (last_home(a, i, region)) {
            snprintf(text, sizeof(text), "%s/%s", k->name, name);
            json_array_append_new(list, json_string(text));
        }
    }
    return list;
}

/* NULL when it is no record, or nothing waits any more. */
static json_t *approval_row(const struct agent *a, const uint8_t *value, size_t len)
{
    static const char *const states[] = {"pending", "approved", "rejected"};
    struct mrd_approval_record r;
    struct mrd_buf b = mrd_buf_reader(value, len);
    if (mrd_approval_record_decode(&b, &r) != 0 || r.state >= MRD_APPROVAL_OVER) {
        return NULL;
    }
    json_t *o = json_object(), *by = json_array();
    for (unsigned i = 0; i < r.given; i++) {
        json_array_append_new(by, json_string(r.by[i]));
    }
    set(o, "id", id_text(r.id));
    set(o, "region", json_string(r.region));
    set(o, "state", json_string(states[r.state]));
    set(o, "reason", json_string(r.reason));
    set(o, "observers", region_names(a->config, r.observers));
    set(o, "partitions", partitions_of(a, r.region));
    set(o, "needed", number(r.needed));
    set(o, "approved_by", by);
    set(o, "rejected_by", text_or_null(r.rejected_by));
    set(o, "asked_wall_ms", time_or_null(r.asked_ms));
    return o;
}

json_t *document_approval_asked(const struct agent *a, const struct mrd_proposal *p)
{
    for (size_t i = 0; i < p->txn.put_count; i++) {
        const struct mrd_put *put = &p->txn.puts[i];
        if (put->value != NULL && strncmp(put->key, "approval/", 9) == 0) {
            return approval_row(a, put->value, put->len);
        }
    }
    return NULL;
}

json_t *document_dial_asked(const struct mrd_proposal *p, const char *region)
{
    for (size_t i = 0; i < p->txn.put_count; i++) {
        const struct mrd_put *put = &p->txn.puts[i];
        struct mrd_dial_record r;
        struct mrd_buf b = mrd_buf_reader(put->value, put->len);
        if (strncmp(put->key, "dial/", 5) == 0 && mrd_dial_record_decode(&b, &r) == 0) {
            json_t *o = json_object();
            set(o, "name", json_string(region));
            set(o, "percent", number(r.percent));
            set(o, "drained", json_boolean(r.drained));
            set(o, "by", json_string(r.by));
            return o;
        }
    }
    return NULL;
}

struct pending {
    const struct agent *a;
    json_t *rows;
};

static int add_pending(void *ctx, const struct mrd_entry *e)
{
    struct pending *p = ctx;
    json_t *row = approval_row(p->a, e->value, e->len);
    if (row != NULL) {
        json_array_append_new(p->rows, row);
    }
    return 0;
}

json_t *document_pending(const struct agent *a)
{
    json_t *o = document_new(a);
    struct pending p = {a, json_array()};
    mrd_store_scan(a->store, "approval/", add_pending, &p);
    set(o, "mode", json_string(mrd_failover_mode_name(a->config->failover)));
    set(o, "pending", p.rows);
    return o;
}

/* ---- metrics ---- */

static void gauge(struct text *t, const char *name, const char *help)
{
    text_put(t, "# HELP meridian_%s %s\n# TYPE meridian_%s gauge\n", name, help, name);
}

static bool lag_bytes_at(const struct agent *a, const struct mrd_peer_report *p,
                         uint64_t *ret_bytes)
{
    int from = mrd_config_region(a->config, p->region);
    *ret_bytes = p->lag_bytes;
    return from < 0 || lag_bytes_of(a, (unsigned)from, p, ret_bytes);
}

static void put_peers(struct text *t, const struct agent *a)
{
    const struct mrd_session_record *r = &a->node.local.report;
    gauge(t, "peer_reachable", "Whether a probe of another region succeeds, by kind.");
    for (unsigned i = 0; i < r->peer_count; i++) {
        const struct mrd_peer_report *p = &r->peers[i];
        text_put(t, "meridian_peer_reachable{peer=\"%s\",kind=\"agent\"} %d\n", p->region,
                 (p->reachable & MRD_SEES_AGENT) != 0);
        text_put(t, "meridian_peer_reachable{peer=\"%s\",kind=\"sql\"} %d\n", p->region,
                 (p->reachable & MRD_SEES_SQL) != 0);
        text_put(t, "meridian_peer_reachable{peer=\"%s\",kind=\"edge\"} %d\n", p->region,
                 (p->reachable & MRD_SEES_EDGE) != 0);
    }
    gauge(t, "peer_rtt_seconds", "Smoothed round-trip time to another region's agent.");
    for (unsigned i = 0; i < r->peer_count; i++) {
        text_put(t, "meridian_peer_rtt_seconds{peer=\"%s\"} %.6f\n", r->peers[i].region,
                 r->peers[i].rtt_us / 1e6);
    }
    gauge(t, "stream_lag_bytes", "Bytes of another region's WAL not yet applied here.");
    for (unsigned i = 0; i < r->peer_count; i++) {
        uint64_t bytes;
        if (lag_bytes_at(a, &r->peers[i], &bytes)) {
            text_put(t, "meridian_stream_lag_bytes{peer=\"%s\"} %" PRIu64 "\n",
                     r->peers[i].region, bytes);
        }
    }
}

size_t document_metrics(const struct agent *a, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    char(*problems)[256] = calloc(32, sizeof(*problems));
    mrd_boot_ns now_ns = clock_boot_ns();

    gauge(&t, "lease_left_seconds",
          "What is left of this region's lease; 0 when none is held.");
    text_put(&t, "meridian_lease_left_seconds %.3f\n",
             (double)agent_lease_left_ms(a, now_ns) / 1000.0);
    gauge(&t, "store_has_leader", "Whether some region leads the store.");
    text_put(&t, "meridian_store_has_leader %d\n",
             raft_node_leader(a->raft) != MRD_REGION_NONE);
    gauge(&t, "store_leads", "Whether this region leads the store.");
    text_put(&t, "meridian_store_leads %d\n", raft_node_leads(a->raft));
    gauge(&t, "stale_seconds", "How old what this agent knows is; 0 while it is current.");
    mrd_boot_ns stale_ns = mrd_node_stale_ns(&a->node, now_ns);
    text_put(&t, "meridian_stale_seconds %.3f\n",
             (double)(stale_ns == UINT64_MAX ? now_ns - a->started_ns : stale_ns) / 1e9);
    gauge(&t, "store_revision", "Newest revision of the store applied here.");
    text_put(&t, "meridian_store_revision %" PRIu64 "\n", mrd_store_revision(a->store));
    gauge(&t, "postgres_answers", "Whether the last canary write succeeded.");
    text_put(&t, "meridian_postgres_answers %d\n", a->pg != NULL && pgwork_answers(a->pg));
    gauge(&t, "problems", "How many problems /v1/status lists.");
    text_put(&t, "meridian_problems %zu\n",
             problems != NULL ? agent_problems(a, problems, 32) : (size_t)0);
    put_peers(&t, a);
    free(problems);
    return t.len;
}
