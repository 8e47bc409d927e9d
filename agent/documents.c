/*
 * Reading the store and the agent's state into JSON (documents.h): an answer's frame, how its
 * values look (documents_parts.h), and the status, which shows a part of every other answer.
 *
 * Every answer is made whole from the store as it is at one moment; nothing is cached. Records
 * that do not decode are left out: the store's other replicas have the same ones, and core
 * counts them as absent too.
 */
#include "documents_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "records.h"

#define MS UINT64_C(1000000)

/* ---- values ---- */

json_t *document_lsn(mrd_lsn lsn)
{
    char text[24];
    if (lsn == 0) {
        return json_null();
    }
    snprintf(text, sizeof(text), "%" PRIX64 "/%" PRIX64, lsn >> 32, lsn & 0xffffffff);
    return json_string(text);
}

json_t *document_id(uint64_t id)
{
    char text[20];
    snprintf(text, sizeof(text), "%016" PRIx64, id);
    return json_string(text);
}

json_t *document_sees(unsigned bits)
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

json_t *document_region_names(const struct mrd_config *c, mrd_regions which)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < c->region_count; i++) {
        if ((which >> i & 1) != 0) {
            json_array_append_new(list, json_string(c->regions[i].name));
        }
    }
    return list;
}

json_t *document_stale_s(const struct agent *a)
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
    set(o, "stale_s", document_stale_s(a));
    return o;
}

const struct mrd_snapshot *document_inherited(const struct agent *a)
{
    return a->node.inherited && !a->node.caught_up ? &a->node.snapshot : NULL;
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
    set(o, "wal_lsn", document_lsn(a->node.local.report.wal_lsn));
    set(o, "database_size_bytes", size != NULL ? json_incref(size) : json_null());
    return o;
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
    set(o, "problems", agent_problems(a));
    set(o, "regions", document_region_rows(a, left_ms > 0));
    set(o, "classes", document_class_rows(a));
    return o;
}
