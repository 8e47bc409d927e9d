/*
 * Every key the configuration knows, with its type, range, default and meaning.
 *
 * The reader, the defaults, the "did you mean" and `meridian config keys` all come from these
 * tables; a key that is not here does not exist. Defaults are written as a user would write
 * them and pass through the same parser. Offsets point into struct conf_doc, or for the entries
 * of lists into struct mrd_conf_region, mrd_conf_class and conf_residency.
 */
#include <conf.h>

#define SIZE(type, field) sizeof(((type *)0)->field)
#define AT(type, field) .offset = offsetof(type, field), .size = SIZE(type, field)
#define DOC(field) AT(struct conf_doc, field)
#define CONF(field) AT(struct conf_doc, config.field)
#define REGION(field) AT(struct mrd_conf_region, field)
#define CLASS(field) AT(struct mrd_conf_class, field)

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static const struct conf_word replication_words[] = {
    {"async", CONF_REPLICATE_ASYNC},
    {"semi-sync", CONF_REPLICATE_SEMI_SYNC},
    {"sync", CONF_REPLICATE_SYNC},
    {NULL, 0},
};

static const struct conf_word consistency_words[] = {
    {"eventual", CONF_EVENTUAL}, {"bounded", CONF_BOUNDED}, {"strong", CONF_STRONG}, {NULL, 0}};

static const struct conf_word conflict_words[] = {
    {"last_write_wins", 0}, {"crdt", 1}, {"merge", 2}, {"manual", 3}, {NULL, 0}};

static const struct conf_word strategy_words[] = {
    {"latency", MRD_STRATEGY_LATENCY},
    {"geolocation", MRD_STRATEGY_GEOLOCATION},
    {"weighted", MRD_STRATEGY_WEIGHTED},
    {NULL, 0},
};

static const struct conf_word failover_words[] = {
    {"automatic", MRD_FAILOVER_AUTOMATIC},
    {"manual", MRD_FAILOVER_MANUAL},
    {"two-person", MRD_FAILOVER_TWO_PERSON},
    {NULL, 0},
};

static const struct conf_word posture_words[] = {
    {"single-region", MRD_SINGLE_REGION},
    {"active-passive", MRD_ACTIVE_PASSIVE},
    {"read-local", MRD_READ_LOCAL},
    {"partitioned", MRD_PARTITIONED},
    {NULL, 0},
};

static const struct conf_word durability_words[] = {
    {"async", MRD_ASYNC}, {"quorum", MRD_QUORUM}, {NULL, 0}};

static const struct conf_key database_keys[] = {
    {"host", CONF_HOST, REGION(db_host),
     .doc =
         "where other regions reach this PostgreSQL; default: the host of agent, or endpoint"},
    {"port", CONF_UINT, REGION(db_port), 1, 65535, .fallback = "5432", .doc = "its port"},
    {"name", CONF_IDENT, REGION(db_name), .fallback = "app", .doc = "the database"},
    {.name = NULL},
};

static const struct conf_key edge_keys[] = {
    {"host", CONF_HOST, REGION(edge_host),
     .doc =
         "address where other edges reach this nginx; default: the host of agent, or endpoint"},
    {"port", CONF_UINT, REGION(edge_port), 1, 65535, .fallback = "8443", .doc = "its port"},
    {"addresses", CONF_CUSTOM, .read = conf_read_addresses,
     .doc = "public IPv4 and IPv6 addresses that DNS answers, at most 2 of each"},
    {.name = NULL},
};

const struct conf_key conf_region_keys[] = {
    {"name", CONF_NAME, REGION(name), .doc = "such as eu-west-1; a to z, 0 to 9, hyphen"},
    {"primary", CONF_BOOL, REGION(primary), .fallback = "false",
     .doc = "home of the schema and default home of classes; exactly one region"},
    {"witness", CONF_BOOL, REGION(witness), .fallback = "false",
     .doc = "votes only: no data and no edge"},
    {"endpoint", CONF_HOST, REGION(endpoint), .doc = "public host name of its edge"},
    {"services", CONF_CUSTOM, .read = conf_read_services,
     .doc = "what runs there; database or database-replica makes it a data region"},
    {"failure_domain", CONF_TEXT, REGION(failure_domain),
     .doc = "what can fail as one; default: the name"},
    {"jurisdiction", CONF_JURISDICTION, REGION(jurisdiction),
     .doc =
         "whose law holds: a country, a part of one such as US-CA, EU or EEA; default: EU for "
         "data_governance.gdpr_regions"},
    {"country", CONF_COUNTRY, REGION(country),
     .doc = "ISO 3166 code; default: known for the regions of AWS and other providers"},
    {"continent", CONF_CONTINENT, REGION(continent),
     .doc = "AF AN AS EU NA OC SA; default: known as for country"},
    {"location", CONF_CUSTOM, .read = conf_read_location,
     .doc = "[latitude, longitude] in degrees; default: known as for country"},
    {"weight", CONF_UINT, REGION(weight), 0, 10000, .idle = true, .fallback = "100",
     .doc = "share of clients with routing.strategy weighted"},
    {"networks", CONF_CUSTOM, .read = conf_read_networks,
     .doc = "client networks nearest to this region, as CIDR, at most 16"},
    {"agent", CONF_CUSTOM, .read = conf_read_agent,
     .doc = "HOST:PORT where other agents reach this one; default: the endpoint, port 7400"},
    {"database", CONF_SECTION, .keys = database_keys, .doc = "the region's PostgreSQL"},
    {"edge", CONF_SECTION, .keys = edge_keys, .doc = "the region's nginx"},
    {.name = NULL},
};

const struct conf_key conf_class_keys[] = {
    {"name", CONF_CLASS, CLASS(name), .doc = "a to z, 0 to 9, hyphen, underscore"},
    {"tables", CONF_CUSTOM, .read = conf_read_tables, .doc = "schema.table, at most 64"},
    {"posture", CONF_WORD, CLASS(posture), .words = posture_words,
     .doc = "who writes and what moves when a region dies; required"},
    {"durability", CONF_WORD, CLASS(durability), .words = durability_words,
     .doc = "async: flushed at home; quorum: flushed in a majority of the replicas. "
            "Default: from replication.strategy"},
    {"home", CONF_CUSTOM, .read = NULL, .doc = "region that writes; default: the primary"},
    {"partition_by", CONF_IDENT, CLASS(partition_by),
     .doc = "column whose value is the partition; for posture partitioned"},
    {"partitions", CONF_CUSTOM, .read = conf_read_partitions,
     .doc = "value: home region; default: one partition per region, named as it"},
    {"replicas", CONF_CUSTOM, .read = conf_read_region_names,
     .doc = "regions with a copy; default: every data region that residency allows"},
    {"allowed_regions", CONF_CUSTOM, .read = conf_read_region_names,
     .doc = "replicas that may become home; default: all replicas"},
    {.name = NULL},
};

const struct conf_key conf_residency_keys[] = {
    {"type", CONF_CLASS, AT(struct conf_residency, type),
     .doc = "name of a class; without such a class it becomes one"},
    {"allowed_regions", CONF_CUSTOM, .read = conf_read_region_names,
     .doc = "the only regions where its data may be stored"},
    {.name = NULL},
};

static const struct conf_key replication_keys[] = {
    {"strategy", CONF_WORD, DOC(replication), .words = replication_words, .fallback = "async",
     .doc = "default durability of classes: async, or a quorum for semi-sync and sync"},
    {"consistency", CONF_WORD, DOC(consistency), .words = consistency_words,
     .fallback = "eventual", .doc = "of reads in every region"},
    {"conflict_resolution", CONF_WORD, DOC(idle_word), .words = conflict_words, .idle = true,
     .doc = "how writes in two places at once are resolved"},
    {"lag_threshold", CONF_MS, CONF(lag_threshold_ms), 1, 24 * HOUR, .fallback = "5s",
     .doc = "lag beyond which a link counts as behind, in links and in the problems of status"},
    {"max_retained_wal_mb", CONF_UINT, CONF(retained_wal_mb), 64, 1 << 30, .fallback = "10240",
     .doc = "megabytes of WAL kept for a region that is away; beyond, it is copied anew"},
    {.name = NULL},
};

static const struct conf_key dns_keys[] = {
    {"zone", CONF_DOMAIN, CONF(dns_zone), .doc = "zone answered by Knot DNS; default: none"},
    {"ttl", CONF_S, CONF(dns_ttl_s), 1, 86400, .fallback = "30s", .doc = "of its answers"},
    {.name = NULL},
};

static const struct conf_key routing_keys[] = {
    {"strategy", CONF_WORD, CONF(strategy), .words = strategy_words, .fallback = "latency",
     .doc = "how a client's region is chosen"},
    {"health_check_interval", CONF_MS, CONF(probe_interval_ms), 100, 10 * MINUTE,
     .fallback = "500ms", .doc = "between two probes of a region"},
    {"failover_threshold", CONF_UINT, CONF(probe_threshold), 1, 100, .fallback = "3",
     .doc = "probes missed in a row before a region counts as unreachable"},
    {"probe_timeout", CONF_MS, CONF(probe_timeout_ms), 50, 10 * MINUTE, .fallback = "1s",
     .doc = "after which a probe has failed"},
    {"stale_after", CONF_MS, CONF(stale_after_ms), 500, HOUR, .fallback = "5s",
     .doc = "age at which a region's map is shown as stale; it goes on to be used"},
    {"dns", CONF_SECTION, .keys = dns_keys, .doc = "the zone"},
    {.name = NULL},
};

static const struct conf_key coordination_keys[] = {
    {"lease", CONF_MS, CONF(lease_ms), 500, 10 * MINUTE, .fallback = "4s",
     .doc = "how long a region may write after its last renewal"},
    {"lease_margin", CONF_MS, CONF(lease_margin_ms), 10, MINUTE, .fallback = "500ms",
     .doc = "more than the lease before others take over; covers clock rate differences"},
    {"commit_margin", CONF_MS, CONF(commit_margin_ms), 10, MINUTE, .fallback = "300ms",
     .doc = "a commit is refused when less of the lease is left"},
    {"renew", CONF_MS, CONF(renew_ms), 50, MINUTE,
     .doc = "renewal interval; default: lease / 8"},
    {"election", CONF_MS, CONF(election_ms), 100, MINUTE, .fallback = "1200ms",
     .doc = "Raft election timeout"},
    {"heartbeat", CONF_MS, CONF(heartbeat_ms), 10, 10 * SECOND, .fallback = "50ms",
     .doc = "Raft heartbeat interval; a decision may take two to reach the others"},
    {.name = NULL},
};

static const struct conf_key failover_keys[] = {
    {"mode", CONF_WORD, CONF(failover), .words = failover_words, .fallback = "automatic",
     .doc = "automatic: a quorum of observers promotes; manual: it asks, and an operator "
            "approves; "
            "two-person: two operators"},
    {.name = NULL},
};

static const struct conf_key governance_keys[] = {
    {"gdpr_regions", CONF_CUSTOM, .read = conf_read_region_names,
     .doc = "regions under the GDPR: their jurisdiction is EU unless they say otherwise"},
    {"data_residency", CONF_CUSTOM, .read = conf_read_residency, .keys = conf_residency_keys,
     .doc = "list of {type, allowed_regions}"},
    {.name = NULL},
};

static const struct conf_key cost_keys[] = {
    {"max_cross_region_transfer_gb", CONF_UINT, DOC(idle_number), 0, UINT64_MAX, .idle = true,
     .doc = "monthly budget"},
    {"auto_scale_regions", CONF_BOOL, DOC(idle_bool), .idle = true, .doc = "true or false"},
    {"idle_region_shutdown", CONF_BOOL, DOC(idle_bool), .idle = true, .doc = "true or false"},
    {.name = NULL},
};

static const struct conf_key monitoring_keys[] = {
    {"cross_region_latency", CONF_CUSTOM, .read = conf_read_measured,
     .doc = "always measured; see: meridian links"},
    {"replication_lag", CONF_CUSTOM, .read = conf_read_measured,
     .doc = "always measured; see: meridian links"},
    {"regional_availability", CONF_CUSTOM, .read = conf_read_measured,
     .doc = "always measured; see: meridian regions"},
    {"cost_tracking", CONF_BOOL, DOC(idle_bool), .idle = true, .doc = "true or false"},
    {.name = NULL},
};

static const struct conf_key deployment_keys[] = {
    {"name", CONF_NAME, CONF(name), .fallback = "meridian", .doc = "of the deployment"},
    {"version", CONF_UINT, CONF(version), 1, INT64_MAX, .fallback = "1",
     .doc = "raise it with every change"},
    {"regions", CONF_CUSTOM, .read = conf_read_regions, .keys = conf_region_keys,
     .doc = "list of regions, at most 16"},
    {"replication", CONF_SECTION, .keys = replication_keys, .doc = "defaults for classes"},
    {"routing", CONF_SECTION, .keys = routing_keys, .doc = "health, edge and DNS"},
    {"coordination", CONF_SECTION, .keys = coordination_keys, .doc = "leases and Raft"},
    {"failover", CONF_SECTION, .keys = failover_keys, .doc = "who decides"},
    {"data_governance", CONF_SECTION, .keys = governance_keys, .doc = "what may be where"},
    {"classes", CONF_CUSTOM, .read = conf_read_classes, .keys = conf_class_keys,
     .doc = "list of classes; default: one class from replication.strategy"},
    {"cost_controls", CONF_SECTION, .keys = cost_keys, .doc = "budgets"},
    {"monitoring", CONF_SECTION, .keys = monitoring_keys, .doc = "what is measured"},
    {.name = NULL},
};

const struct conf_key conf_root_keys[] = {
    {"multi_region", CONF_SECTION, .keys = deployment_keys, .doc = "the deployment"},
    {.name = NULL},
};
