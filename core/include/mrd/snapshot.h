/*
 * The snapshot: how the data path knows what the control path decided.
 *
 * A memory-mapped file on tmpfs, written only by the region's agent, mapped read-only by
 * PostgreSQL, nginx and knotd. The data path never waits for the control path: when the agent
 * dies, routing goes on with the last state and writes stop by themselves once the lease
 * deadline has passed.
 *
 * Two slots, each with a generation and a checksum. The writer fills the older slot: it first
 * zeroes that slot's generation, then writes, then publishes the new generation. A reader
 * copies the newer slot that checks out, tries a bounded number of times, and otherwise keeps
 * its last good private copy. A writer killed half-way therefore costs a reader nothing. The
 * file is created at full size under another name and renamed into place; afterwards it is
 * never truncated or replaced while anyone may map it, and a restarted agent goes on with the
 * file it finds if its header is right.
 *
 * The layout is native to the host and versioned by MRD_SNAPSHOT_ABI.
 */
#pragma once

#include <stddef.h>

#include <mrd/authority.h>
#include <mrd/err.h>
#include <mrd/topology.h>

#define MRD_SNAPSHOT_MAGIC 0x4d524453u /* "SDRM" in memory */
#define MRD_SNAPSHOT_ABI 2u
#define MRD_ADDRESSES_MAX 2
#define MRD_NETWORKS_MAX 16 /* client networks per region */

/** How this region should take an origin's changes. */
enum mrd_stream_order {
    MRD_STREAM_NONE,    /* no shared class, or ourselves */
    MRD_STREAM_RUN,     /* from the origin itself */
    MRD_STREAM_REFUSE,  /* fenced: close the connection, accept nothing more */
    MRD_STREAM_FORWARD, /* rescue: take the origin's changes up to the cut from @via */
};

struct mrd_network {
    uint8_t family; /* 4 or 6; 0 is unused */
    uint8_t prefix; /* length in bits */
    uint8_t addr[16];
};

struct mrd_snap_region {
    char name[MRD_NAME_MAX];
    char country[4];        /* ISO 3166 code, may be empty */
    char continent[4];      /* two letters as in MaxMind databases, may be empty */
    uint8_t witness;        /* votes only: no data, no edge */
    uint8_t health;         /* enum mrd_health, as decided */
    uint8_t alive;          /* its lease session is live, as this agent last heard */
    uint8_t dial_percent;   /* share of its own traffic it should take, 0..100 */
    uint8_t has_v4, has_v6; /* public addresses of its edge, for DNS */
    uint8_t v4[MRD_ADDRESSES_MAX][4];
    uint8_t v6[MRD_ADDRESSES_MAX][16];
    uint8_t edge_v4[4]; /* where other edges reach its edge */
    uint16_t edge_port;
    uint32_t weight;
    uint32_t rtt_us;               /* measured from this region; 0 is unknown */
    uint8_t rank[MRD_REGIONS_MAX]; /* all regions ordered from this one, itself first: the
                                      failover order for clients whose nearest it is */
    uint8_t network_count;
    struct mrd_network networks[MRD_NETWORKS_MAX]; /* clients nearest to this region */

    /* Replication from this region into ours. */
    uint8_t stream;              /* enum mrd_stream_order */
    mrd_region via;              /* for MRD_STREAM_FORWARD */
    mrd_session session;         /* its present lease session */
    mrd_lsn applied_lsn;         /* its WAL position up to which everything is applied here */
    mrd_session applied_session; /* applied-through mark: all it acknowledged before this */
    uint64_t applied_boot_ms;    /* time of its CLOCK_BOOTTIME is applied here */
    uint64_t lag_bytes;
};

struct mrd_snap_class {
    char name[MRD_NAME_MAX];
    uint8_t posture;      /* enum mrd_posture */
    uint8_t durability;   /* enum mrd_durability */
    uint8_t remote_acks;  /* for MRD_QUORUM: acknowledgements needed besides the home's */
    mrd_regions replicas; /* regions that hold a copy, home included */
    mrd_regions allowed;  /* regions that may be home */
    uint16_t first;       /* its partitions: [first, first + count) */
    uint16_t count;
};

struct mrd_snap_partition {
    uint8_t class_index;
    char name[MRD_NAME_MAX]; /* MRD_PARTITION_ALL, or the value of the partition column */
    struct mrd_authority authority;
};

struct mrd_snapshot {
    uint64_t generation;      /* of the slot this copy came from; grows by one */
    mrd_boot_ns published_ns; /* CLOCK_BOOTTIME when written */
    mrd_wall_ms published_ms;
    uint64_t config_version;
    mrd_region self;
    mrd_session session;           /* our own lease session, 0 while we have none */
    mrd_boot_ns lease_deadline_ns; /* 0: no lease */
    uint32_t commit_margin_ms;     /* refuse when less than this is left of the lease */
    uint32_t stale_after_ms;       /* older than this, readers treat health as frozen */
    uint32_t dns_ttl_s;
    uint8_t token_key[32]; /* HMAC-SHA256 key of read-your-writes tokens and hop headers */
    uint8_t region_count;
    uint8_t class_count;
    uint16_t partition_count;
    struct mrd_snap_region regions[MRD_REGIONS_MAX];
    struct mrd_snap_class classes[MRD_CLASSES_MAX];
    struct mrd_snap_partition
        partitions[MRD_PARTITIONS_MAX]; /* last: only the used are written */
};

/** Size of the whole file in bytes. */
size_t mrd_snapshot_file_size(void);

/** Lay out an empty file in @map, which is mrd_snapshot_file_size() bytes of zeroes. */
void mrd_snapshot_format(void *map);

/** Is @map a file of this layout? Returns 0, MRD_EFORMAT, MRD_EVERSION or MRD_ESHORT. */
int mrd_snapshot_check(const void *map, size_t size);

/**
 * Are counts and indices of @s within their tables, enumerations known and names terminated?
 * Returns 0, or MRD_EFORMAT with the offending field in @err (which may be NULL). Readers
 * refuse a slot that fails this, so a writer may want to ask first.
 */
int mrd_snapshot_validate(const struct mrd_snapshot *s, struct mrd_err *err);

/**
 * Publish a copy of @s as the newest generation and store that number in @s->generation.
 * One writer at a time. @map must have passed mrd_snapshot_check. Reads back the slot that it
 * will keep, so a file with a damaged slot heals with the next publish.
 */
void mrd_snapshot_publish(void *map, struct mrd_snapshot *s);

/**
 * Bring @copy up to date. Cheap when nothing changed: two loads.
 *
 * @map   the mapped file, which passed mrd_snapshot_check
 * @copy  the reader's private copy; zero it before the first call; untouched on failure.
 *        A reader that maps another file sets copy->generation to 0 and keeps the rest
 *
 * Needs some 100 KiB of stack. Many readers may call at once, each with its own copy.
 *
 * Returns 1 when @copy was replaced, 0 when it already was the newest, or
 *   MRD_EUNAVAILABLE  nothing was ever published
 *   MRD_ECHECKSUM     no slot checked out within the bounded number of tries
 * Counts and indices inside a copy that is handed out are within their tables.
 */
int mrd_snapshot_read(const void *map, struct mrd_snapshot *copy);

/** Index of the region, class or partition of that name, or -1. */
int mrd_snapshot_region(const struct mrd_snapshot *s, const char *name);
int mrd_snapshot_class(const struct mrd_snapshot *s, const char *name);
/** @partition NULL means the only partition of an unpartitioned class. */
int mrd_snapshot_partition(const struct mrd_snapshot *s, int class_index,
                           const char *partition);
/** The same by the name of its class; @s may be NULL: nothing is known yet, -1. */
int mrd_snapshot_find(const struct mrd_snapshot *s, const char *class_name,
                      const char *partition);
