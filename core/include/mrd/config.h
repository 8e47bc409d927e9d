/*
 * The deployment's configuration, typed and validated as a whole.
 *
 * One YAML file with the top key `multi_region` describes every region and class; each agent
 * reads the same file and finds its own region by name. Strings are NUL-terminated, fixed-size
 * and never longer than said. Defaults are filled in, so that users of this struct never ask
 * whether a key was there.
 */
#pragma once

#include <mrd/snapshot.h>
#include <mrd/topology.h>

#define MRD_CONF_STR 256
#define MRD_TABLES_MAX 64 /* per class */
#define MRD_CONF_ERRORS_MAX 64

enum mrd_failover_mode {
    MRD_FAILOVER_AUTOMATIC,
    MRD_FAILOVER_MANUAL,     /* a verdict asks, and an operator's approval promotes */
    MRD_FAILOVER_TWO_PERSON, /* the same with two distinct operators */
};

const char *mrd_failover_mode_name(enum mrd_failover_mode m);

enum mrd_route_strategy {
    MRD_STRATEGY_LATENCY,
    MRD_STRATEGY_GEOLOCATION,
    MRD_STRATEGY_WEIGHTED,
};

struct mrd_conf_region {
    char name[MRD_NAME_MAX];
    bool primary; /* home of the schema and default home of classes; exactly one */
    bool witness;
    char endpoint[MRD_CONF_STR];       /* public host name of its edge */
    char failure_domain[MRD_CONF_STR]; /* default: the name */
    char jurisdiction[MRD_NAME_MAX];   /* such as "EU"; may be empty */
    char country[4], continent[4];
    double latitude, longitude; /* NAN when not given and not known */
    uint32_t weight;            /* default 100 */
    uint8_t network_count;
    struct mrd_network networks[MRD_NETWORKS_MAX];
    char agent_host[MRD_CONF_STR]; /* where other agents reach this one */
    uint16_t agent_port;           /* default 7400 */
    char db_host[MRD_CONF_STR];    /* where other regions reach its PostgreSQL */
    uint16_t db_port;              /* default 5432 */
    char db_name[MRD_NAME_MAX];    /* default "app" */
    char edge_host[MRD_CONF_STR];  /* where other edges reach its nginx; an address */
    uint16_t edge_port;            /* default 8443 */
    uint8_t v4_count, v6_count;    /* public addresses for DNS */
    uint8_t v4[MRD_ADDRESSES_MAX][4];
    uint8_t v6[MRD_ADDRESSES_MAX][16];
};

struct mrd_conf_class {
    char name[MRD_NAME_MAX];
    enum mrd_posture posture;
    enum mrd_durability durability;
    mrd_region home;                 /* for MRD_PARTITIONED: MRD_REGION_NONE */
    mrd_regions replicas;            /* regions with a copy */
    mrd_regions allowed;             /* regions that may be home; subset of replicas */
    char partition_by[MRD_NAME_MAX]; /* column, for MRD_PARTITIONED */
    uint16_t partition_count;        /* for MRD_PARTITIONED: one per data region, named as it */
    char partitions[MRD_REGIONS_MAX][MRD_NAME_MAX];
    mrd_region partition_home[MRD_REGIONS_MAX];
    uint16_t table_count;
    char tables[MRD_TABLES_MAX][2 * MRD_NAME_MAX]; /* "schema.table" */
};

struct mrd_config {
    char name[MRD_NAME_MAX]; /* of the deployment; default "meridian" */
    uint64_t version;        /* default 1 */

    uint8_t region_count;
    struct mrd_conf_region regions[MRD_REGIONS_MAX];
    uint8_t class_count; /* the built-in class "schema" is always the first */
    struct mrd_conf_class classes[MRD_CLASSES_MAX];

    /* coordination */
    uint32_t lease_ms;         /* default 4000 */
    uint32_t lease_margin_ms;  /* default 500 */
    uint32_t commit_margin_ms; /* default 300 */
    uint32_t renew_ms;         /* default lease / 8 */
    uint32_t election_ms;      /* default 1200 */
    uint32_t heartbeat_ms;     /* default 50 */

    /* health and failover */
    enum mrd_failover_mode failover;
    uint32_t probe_interval_ms; /* routing.health_check_interval; default 500 */
    uint32_t probe_timeout_ms;  /* default 1000 */
    uint32_t probe_threshold;   /* routing.failover_threshold; default 3 */
    uint32_t lag_threshold_ms;  /* replication.lag_threshold; default 5000 */
    uint32_t retained_wal_mb;   /* replication.max_retained_wal_mb; default 10240 */

    /* routing */
    enum mrd_route_strategy strategy;
    char dns_zone[MRD_CONF_STR]; /* may be empty: no DNS */
    uint32_t dns_ttl_s;          /* default 30 */
    uint32_t stale_after_ms;     /* default 5000 */

    /* Notes for the reader: keys that are accepted and recorded but that nothing acts on. */
    uint16_t note_count;
    char notes[MRD_CONF_ERRORS_MAX][MRD_CONF_STR];
};

int mrd_config_region(const struct mrd_config *c, const char *name); /* index or -1 */
int mrd_config_class(const struct mrd_config *c, const char *name);  /* index or -1 */

/** Remote acknowledgements a quorum class needs: a majority of its replicas, less the home. */
unsigned mrd_config_remote_acks(const struct mrd_conf_class *class);
