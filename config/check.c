/*
 * What no single key can know about regions, votes and time.
 *
 * The rules come from what the protocols need: a decision needs a majority of voters that do
 * not fail together; a lease must outlive an election and the round trips of the losing
 * region's neighbours, or the loss of one region would fence a healthy one.
 */
#include <conf.h>

#include <string.h>

static void list_regions(const struct conf_doc *doc, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < doc->config.region_count && used < cap; i++) {
        used += (size_t)snprintf(out + used, cap - used, "%s%s", i > 0 ? ", " : "",
                                 doc->config.regions[i].name);
    }
}

mrd_regions conf_data_regions(const struct conf_doc *doc)
{
    mrd_regions set = 0;
    for (unsigned i = 0; i < doc->config.region_count; i++) {
        if (!doc->config.regions[i].witness) {
            set = (mrd_regions)(set | 1u << i);
        }
    }
    return set;
}

int conf_primary(const struct conf_doc *doc)
{
    for (int i = 0; i < doc->config.region_count; i++) {
        if (doc->config.regions[i].primary && !doc->config.regions[i].witness) {
            return i;
        }
    }
    return -1;
}

mrd_region conf_region_ref(struct conf_doc *doc, const struct conf_node *node)
{
    const char *names[MRD_REGIONS_MAX + 1];
    char all[160];

    if (!conf_expect(doc, node, CONF_SCALAR, "the name of a region")) {
        return MRD_REGION_NONE;
    }
    int i = mrd_config_region(&doc->config, node->text);
    if (i >= 0 && !doc->config.regions[i].witness) {
        return (mrd_region)i;
    }
    if (i >= 0) {
        conf_error_at(doc, node, "\"%s\" is a witness and holds no data; name a data region",
                      node->text);
    } else if (!doc->names_broken) {
        mrd_config_region_words(&doc->config, names);
        const char *meant = mrd_config_meant(node->text, names);
        list_regions(doc, all, sizeof(all));
        if (meant != NULL) {
            conf_error_at(doc, node, "no region \"%.60s\"; did you mean \"%s\"?", node->text,
                          meant);
        } else {
            conf_error_at(doc, node, "no region \"%.60s\"; the regions are: %s", node->text,
                          all);
        }
    }
    return MRD_REGION_NONE;
}

mrd_regions conf_region_set(struct conf_doc *doc, const struct conf_node *node)
{
    mrd_regions set = 0;
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        mrd_region r = conf_region_ref(doc, n);
        if (r == MRD_REGION_NONE) {
            continue;
        }
        if (conf_in(set, r)) {
            conf_error_at(doc, n, "\"%s\" is in this list twice; keep one of them", n->text);
        }
        set = (mrd_regions)(set | 1u << r);
    }
    return set;
}

/* ---- one region ---- */

static void copy(char *to, const char *from, size_t cap)
{
    if (to[0] == '\0') {
        snprintf(to, cap, "%s", from);
    }
}

static void default_addresses(struct mrd_conf_region *r)
{
    uint8_t family, addr[16];

    copy(r->agent_host, r->endpoint, sizeof(r->agent_host));
    copy(r->db_host, r->agent_host, sizeof(r->db_host));
    copy(r->edge_host,
         r->endpoint[0] != '\0' && !conf_parse_ip(r->agent_host, &family, addr) ? r->endpoint
                                                                                : r->agent_host,
         sizeof(r->edge_host));
    if (r->v4_count + r->v6_count > 0 || !conf_parse_ip(r->edge_host, &family, addr)) {
        return;
    }
    if (family == 4) {
        memcpy(r->v4[r->v4_count++], addr, 4);
    } else {
        memcpy(r->v6[r->v6_count++], addr, 16);
    }
}

static void check_services(struct conf_doc *doc, const struct mrd_conf_region *r,
                           const struct conf_region_extra *x)
{
    const struct conf_node *n = conf_get(x->node, "services");

    if (n == NULL || !x->services_listed || r->witness) {
        return;
    }
    if (x->services == 0) {
        conf_error_at(doc, n,
                      "region \"%s\" has no database among its services; add database or "
                      "database-replica, or set witness: true",
                      r->name);
    } else if (r->primary && (x->services & CONF_SERVES_DATABASE) == 0) {
        conf_error_at(doc, n,
                      "the primary region \"%s\" has only a replica among its services; "
                      "add database, or make another region primary",
                      r->name);
    }
}

static void check_witness(struct conf_doc *doc, const struct mrd_conf_region *r,
                          const struct conf_node *node)
{
    static const char *const unfit[] = {"database", "edge", "networks"};

    if (!r->witness) {
        return;
    }
    if (r->primary) {
        conf_error_at(doc, conf_get(node, "primary"),
                      "the witness \"%s\" cannot be primary; it "
                      "holds no data",
                      r->name);
    }
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        const struct conf_node *n = conf_get(node, unfit[i]);
        if (n != NULL) {
            conf_error_key(doc, n,
                           "the witness \"%s\" has no %s; it only votes, so leave this out",
                           r->name, unfit[i]);
        }
    }
}

static void check_region(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_region *r = &doc->config.regions[i];
    const struct conf_region_extra *x = &doc->regions[i];
    uint8_t family, addr[16];

    if (!conf_has(x->node, "name")) {
        conf_error_at(doc, x->node, "a region without a name; add name: such as eu-west-1");
    }
    if (strcmp(r->name, MRD_PARTITION_ALL) == 0) {
        conf_error_at(doc, conf_get(x->node, "name"),
                      "a region cannot be called \"all\"; choose "
                      "another name");
    }
    if (!conf_has(x->node, "endpoint") && !conf_has(x->node, "agent")) {
        conf_error_at(doc, x->node, "region \"%s\" has no address; give it endpoint or agent",
                      r->name);
    }
    check_services(doc, r, x);
    check_witness(doc, r, x->node);
    conf_place(r);
    copy(r->failure_domain, r->name, sizeof(r->failure_domain));
    default_addresses(r);
    if (!r->witness && r->edge_host[0] != '\0' && !conf_parse_ip(r->edge_host, &family, addr)) {
        conf_note(doc, x->node,
                  "the edge of \"%s\" is known only as \"%.100s\"; give edge.host an "
                  "address so that other edges can reach it",
                  r->name, r->edge_host);
    }
}

/* ---- regions among themselves ---- */

static void check_primary(struct conf_doc *doc)
{
    const struct mrd_config *c = &doc->config;
    const char *first = NULL;

    for (unsigned i = 0; i < c->region_count; i++) {
        const struct conf_node *n = conf_get(doc->regions[i].node, "primary");
        if (!c->regions[i].primary || n == NULL) {
            continue;
        }
        if (first != NULL) {
            conf_error_at(doc, n,
                          "a second primary region; \"%s\" is primary already, so set this "
                          "one to false",
                          first);
        } else {
            first = c->regions[i].name;
        }
    }
    for (unsigned i = 0; i < c->region_count; i++) {
        const struct conf_node *node = doc->regions[i].node;
        if (conf_has(node, "primary") && conf_get(node, "primary") == NULL) {
            return; /* it could not be read; that message is enough */
        }
    }
    if (first == NULL) {
        conf_error_key(doc, conf_get(doc->top, "regions"),
                       "no region is primary; set primary: true "
                       "for exactly one");
    }
}

static bool same_place(const char *host, uint16_t port, const char *other, uint16_t other_port)
{
    return host[0] != '\0' && port == other_port && strcmp(host, other) == 0;
}

static void check_pair(struct conf_doc *doc, unsigned i, unsigned k)
{
    const struct mrd_conf_region *a = &doc->config.regions[i], *b = &doc->config.regions[k];
    const struct conf_node *at = doc->regions[k].node;
    const struct conf_node *name = conf_get(at, "name");
    const struct conf_node *domain = conf_get(at, "failure_domain");

    if (a->name[0] != '\0' && strcmp(a->name, b->name) == 0) {
        conf_error_at(doc, name, "a second region called \"%s\"; give each its own name",
                      b->name);
        return; /* everything else would be said twice */
    }
    if (same_place(a->agent_host, a->agent_port, b->agent_host, b->agent_port)) {
        conf_error_at(doc, at,
                      "regions \"%s\" and \"%s\" have the same agent address; give each "
                      "its own",
                      a->name, b->name);
    } else if (!a->witness && !b->witness &&
               same_place(a->db_host, a->db_port, b->db_host, b->db_port)) {
        conf_error_at(doc, at,
                      "regions \"%s\" and \"%s\" have the same database address; give "
                      "each its own",
                      a->name, b->name);
    }
    if (doc->config.failover == MRD_FAILOVER_AUTOMATIC && a->failure_domain[0] != '\0' &&
        strcmp(a->failure_domain, b->failure_domain) == 0) {
        conf_error_at(
            doc, domain != NULL ? domain : at,
            "voters \"%s\" and \"%s\" share the failure domain \"%.60s\" and can be lost "
            "together; place them apart",
            a->name, b->name, b->failure_domain);
    }
    for (unsigned m = 0; m < a->network_count; m++) {
        for (unsigned n = 0; n < b->network_count; n++) {
            if (memcmp(&a->networks[m], &b->networks[n], sizeof(a->networks[m])) == 0) {
                conf_error_key(
                    doc, conf_get(at, "networks"),
                    "a network of \"%s\" is also one of \"%s\"; a client is nearest to "
                    "one region",
                    b->name, a->name);
            }
        }
    }
}

static void check_voters(struct conf_doc *doc)
{
    const struct mrd_config *c = &doc->config;

    if (c->region_count != 2 || doc->names_broken) {
        return;
    }
    if (c->failover == MRD_FAILOVER_AUTOMATIC) {
        conf_error_key(
            doc, conf_get(doc->top, "regions"),
            "two regions without a witness cannot decide which of them is cut off; add "
            "a region with witness: true, or set failover: {mode: manual}");
    } else {
        conf_note(doc, conf_get(doc->top, "regions"),
                  "two voters: while one is away nothing can be decided; a witness region "
                  "changes that");
    }
}

/* The map knows distances: measured round trips, or else places. Shares it does not know. */
static void check_strategy(struct conf_doc *doc)
{
    const struct conf_node *n = conf_get(conf_get(doc->top, "routing"), "strategy");

    if (n != NULL && !n->bad && doc->config.strategy != MRD_STRATEGY_LATENCY) {
        conf_note(doc, n, "strategy \"%.20s\" is recorded, but clients are placed by nearness",
                  n->text);
    }
}

static void set_jurisdictions(struct conf_doc *doc)
{
    const struct conf_node *n = conf_get(conf_get(doc->top, "data_governance"), "gdpr_regions");
    if (n == NULL) {
        return;
    }
    mrd_regions set = conf_region_set(doc, n);
    for (unsigned i = 0; i < doc->config.region_count; i++) {
        if (conf_in(set, i) && !conf_has(doc->regions[i].node, "jurisdiction")) {
            copy(doc->config.regions[i].jurisdiction, "EU", MRD_NAME_MAX);
        }
    }
}

void conf_check_regions(struct conf_doc *doc)
{
    const struct conf_node *list = conf_get(doc->top, "regions");

    if (!conf_has(doc->top, "regions")) {
        conf_error_at(doc, doc->top, "no regions; add regions: with at least one");
        return;
    }
    if (list == NULL) {
        return;
    }
    if (list->count == 0) {
        conf_error_at(doc, list, "no regions in the list; describe at least one");
        return;
    }
    for (unsigned i = 0; i < doc->config.region_count; i++) {
        check_region(doc, i);
    }
    for (unsigned k = 1; k < doc->config.region_count; k++) {
        for (unsigned i = 0; i < k; i++) {
            check_pair(doc, i, k);
        }
    }
    check_primary(doc);
    check_voters(doc);
    check_strategy(doc);
    set_jurisdictions(doc);
}

/* ---- time ---- */

/** Message at coordination.@key, or where it would stand. */
static const struct conf_node *timing_node(const struct conf_doc *doc, const char *key)
{
    const struct conf_node *section = conf_get(doc->top, "coordination");
    const struct conf_node *n = conf_get(section, key);
    return n != NULL ? n : section != NULL ? section : doc->top;
}

static uint32_t longest_rtt(const struct mrd_config *c, unsigned *ret_a, unsigned *ret_b)
{
    uint32_t longest = 0;
    for (unsigned k = 1; k < c->region_count; k++) {
        for (unsigned i = 0; i < k; i++) {
            uint32_t rtt = conf_rtt_ms(&c->regions[i], &c->regions[k]);
            if (rtt > longest) {
                longest = rtt;
                *ret_a = i;
                *ret_b = k;
            }
        }
    }
    return longest;
}

static void check_lease(struct conf_doc *doc)
{
    const struct mrd_config *c = &doc->config;
    unsigned a = 0, b = 0;
    char lease[24], need[24], election[24];
    uint32_t rtt = longest_rtt(c, &a, &b);
    uint32_t least = 2 * c->election_ms + 4 * rtt;

    if (c->lease_ms > least) {
        return;
    }
    const struct conf_node *at = timing_node(
        doc,
        conf_get(conf_get(doc->top, "coordination"), "lease") != NULL ? "lease" : "election");
    if (rtt == 0) {
        conf_error_at(doc, at, "lease %s is too short; it must exceed 2 x election (%s) = %s",
                      conf_duration(c->lease_ms, lease),
                      conf_duration(c->election_ms, election), conf_duration(least, need));
        return;
    }
    conf_error_at(doc, at,
                  "lease %s is too short; it must exceed 2 x election (%s) + 4 x the round "
                  "trip between \"%s\" and \"%s\" (about %ums) = %s",
                  conf_duration(c->lease_ms, lease), conf_duration(c->election_ms, election),
                  c->regions[a].name, c->regions[b].name, rtt, conf_duration(least, need));
}

void conf_check_timing(struct conf_doc *doc)
{
    struct mrd_config *c = &doc->config;
    char lease[24], other[24];

    if (!conf_has(conf_get(doc->top, "coordination"), "renew")) {
        c->renew_ms = c->lease_ms / 8;
    }
    conf_duration(c->lease_ms, lease);
    if (c->region_count > 1) {
        check_lease(doc);
    }
    if (c->renew_ms > c->lease_ms / 3) {
        conf_error_at(doc, timing_node(doc, "renew"),
                      "renew %s is too long for a lease of %s; at "
                      "most a third of it, so that one lost renewal costs nothing",
                      conf_duration(c->renew_ms, other), lease);
    }
    if (c->commit_margin_ms > c->lease_ms / 2) {
        conf_error_at(doc, timing_node(doc, "commit_margin"),
                      "commit_margin %s is too long for a "
                      "lease of %s; at most half of it",
                      conf_duration(c->commit_margin_ms, other), lease);
    }
    if (c->heartbeat_ms > c->election_ms / 3) {
        conf_error_at(doc, timing_node(doc, "heartbeat"),
                      "heartbeat %s is too long for an election "
                      "timeout of %s; at most a third of it",
                      conf_duration(c->heartbeat_ms, other),
                      conf_duration(c->election_ms, lease));
    }
}
