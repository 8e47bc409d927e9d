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
    put_peers(&t, a);
    json_decref(problems);
    return t.len;
}
