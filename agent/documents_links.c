/*
 * The answers about what runs between regions: how far one is behind another, as the one behind
 * reports it. Of what arrives here our own PostgreSQL says more: why a stream stands.
 */
#include "documents_parts.h"

#include <string.h>

#include "lag.h"
#include "records.h"

/* Why nothing arrives. Between two tries it says nothing, and stands all the same. */
static json_t *stream_error(const struct agent *a, unsigned from, const json_t *row)
{
    static const char *const keys[] = {"error", "blocked"};

    for (size_t k = 0; k < 2; k++) {
        json_t *why = json_object_get(row, keys[k]);
        if (json_is_string(why)) {
            return json_incref(why);
        }
    }
    if (lag_why(a, from)[0] != '\0' && lag_standing_ms(a, from, a->self) >= LAG_STANDS_MS) {
        return json_string(lag_why(a, from));
    }
    return json_null();
}

static json_t *stream_of(const struct agent *a, unsigned from)
{
    static const char *const orders[] = {"none", "run", "refuse", "forward"};
    static const char *const keys[] = {"state", "received_lsn", "error", "since_ms"};
    const struct mrd_snap_region *r = &a->node.snapshot.regions[from];
    const json_t *row = lag_stream(a, from);
    json_t *o = json_object();

    set(o, "order", json_string(r->stream < 4 ? orders[r->stream] : "none"));
    set(o, "via",
        r->stream == MRD_STREAM_FORWARD && r->via < a->config->region_count
            ? json_string(a->config->regions[r->via].name)
            : json_null());
    for (size_t k = 0; k < 4; k++) {
        json_t *v = json_object_get(row, keys[k]);
        set(o, keys[k], v != NULL ? json_incref(v) : json_null());
    }
    set(o, "error", stream_error(a, from, row)); /* keeps its place */
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
    double change;

    set(o, "from", json_string(c->regions[from].name));
    set(o, "to", json_string(c->regions[to].name));
    set(o, "reachable", document_sees(p != NULL ? p->reachable : 0));
    set(o, "rtt_us", p != NULL && p->rtt_us != 0 ? number(p->rtt_us) : json_null());
    set(o, "applied_lsn", p != NULL ? document_lsn(p->applied_lsn) : json_null());
    bool bytes_known = p != NULL && lag_bytes_of(a, from, p, &bytes);
    set(o, "lag_bytes", bytes_known ? number(bytes) : json_null());
    bool lag_known = lag_ms_of(a, from, p, &lag_ms);
    set(o, "lag_ms", lag_known ? number(lag_ms) : json_null());
    bool change_known = to == a->self && lag_change_of(a, from, &change);
    set(o, "lag_change", change_known ? json_real(change) : json_null());
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
