/*
 * The same state as numbers, in the text that Prometheus reads.
 */
#include "documents.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lag.h"
#include "log.h"
#include "text.h"

static void gauge(struct text *t, const char *name, const char *help)
{
    text_put(t, "# HELP meridian_%s %s\n# TYPE meridian_%s gauge\n", name, help, name);
}

/* ---- the streams into this region ---- */

/* One number of a stream; false: it cannot be told. */
typedef bool stream_value(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                          double *ret);

static bool lag_bytes(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                      double *ret)
{
    uint64_t bytes = 0;
    bool known = lag_bytes_of(a, from, p, &bytes);

    *ret = (double)bytes;
    return known;
}

static bool lag_seconds(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                        double *ret)
{
    uint64_t ms = 0;
    bool known = lag_ms_of(a, from, p, &ms);

    *ret = (double)ms / 1000;
    return known;
}

static bool lag_change(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                       double *ret)
{
    (void)p;
    return lag_change_of(a, from, ret);
}

static bool standing(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                     double *ret)
{
    (void)p;
    *ret = (double)lag_standing_ms(a, from, a->self) / 1000;
    return true;
}

static bool transactions(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                         double *ret)
{
    const json_t *n = json_object_get(lag_stream(a, from), "transactions");

    (void)p;
    *ret = (double)json_integer_value(n);
    return json_is_integer(n);
}

static const struct {
    const char *name, *type, *help;
    stream_value *value;
} streams[] = {
    {"stream_lag_bytes", "gauge", "Bytes of another region's WAL not yet applied here.",
     lag_bytes},
    {"stream_lag_seconds", "gauge", "Age of the newest of its heartbeats applied here.",
     lag_seconds},
    {"stream_lag_change", "gauge", "Change of that age, in seconds for each second.",
     lag_change},
    {"stream_standing_seconds", "gauge", "For how long nothing of it was applied.", standing},
    {"stream_transactions_total", "counter",
     "Transactions of it applied here since PostgreSQL started.", transactions},
};

static void put_streams(struct text *t, const struct agent *a)
{
    const struct mrd_session_record *r = &a->node.local.report;

    for (size_t k = 0; k < sizeof(streams) / sizeof(streams[0]); k++) {
        text_put(t, "# HELP meridian_%s %s\n# TYPE meridian_%s %s\n", streams[k].name,
                 streams[k].help, streams[k].name, streams[k].type);
        for (unsigned i = 0; i < r->peer_count; i++) {
            int from = mrd_config_region(a->config, r->peers[i].region);
            double v;
            if (from >= 0 && streams[k].value(a, (unsigned)from, &r->peers[i], &v)) {
                text_put(t, "meridian_%s{peer=\"%s\"} %.*f\n", streams[k].name,
                         r->peers[i].region, v == (double)(int64_t)v ? 0 : 3, v);
            }
        }
    }
}

/* ---- the other regions ---- */

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
}

size_t document_metrics(const struct agent *a, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    json_t *problems = agent_problems(a);
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
    text_put(&t, "meridian_problems %zu\n", json_array_size(problems));
    gauge(&t, "lag_threshold_seconds",
          "The lag from which on a stream counts as behind: replication.lag_threshold.");
    text_put(&t, "meridian_lag_threshold_seconds %.3f\n",
             (double)a->config->lag_threshold_ms / 1000);
    put_peers(&t, a);
    put_streams(&t, a);
    json_decref(problems);
    return t.len;
}
