/*
 * The answers about each region by itself: what it is and how it does, and its lease.
 *
 * Of ourselves we know more than the store: our lease may have ended before others can know.
 * And until our own store has caught up, what the agent before us published is the better
 * answer.
 */
#include "documents_parts.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "records.h"

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
    if (document_inherited(a) == NULL) {
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
    bool old = document_inherited(a) != NULL, better = false;

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
        json_boolean(document_inherited(a) != NULL ? document_inherited(a)->regions[i].alive
                     : i == a->self                ? held
                                                   : known && !s.expired));
    set(o, "primary", json_boolean(r->primary));
    set(o, "witness", json_boolean(r->witness));
    set(o, "leader", json_boolean(raft_node_leader(a->raft) == i));
    set(o, "ready", document_sees(i == a->self ? a->node.local.report.ready : s.ready));
    set(o, "reachable",
        document_sees(i == a->self ? a->node.local.report.ready : probe.reachable));
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
    set(o, "stale_s", document_stale_s(a));
    return o;
}

json_t *document_region_rows(const struct agent *a, bool held)
{
    enum mrd_health health[MRD_REGIONS_MAX];
    json_t *rows = json_array();
    const struct mrd_snapshot *old = document_inherited(a);
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
    set(o, "regions", document_region_rows(a, agent_lease_left_ms(a, clock_boot_ns()) > 0));
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
    set(o, "wal_lsn", document_lsn(s.wal_lsn));
    set(o, "ready", known ? document_sees(s.ready) : json_null());
    set(o, "agent_pid", known ? number(s.agent_pid) : json_null());
    set(o, "stale_s", document_stale_s(a));
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
