/*
 * The nouns every room shares: regions, classes, partitions, and the limits of their tables.
 *
 * A data class is a set of tables with one promise; it is divided into partitions; each
 * partition has an authority. A class that is not partitioned has one partition, named "all".
 * Regions are identified by name; inside one snapshot also by their index.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MRD_NAME_MAX 64        /* bytes of a name, with its NUL */
#define MRD_REGIONS_MAX 16     /* a region set fits a 16-bit mask */
#define MRD_CLASSES_MAX 32     /* including the built-in class "schema" */
#define MRD_PARTITIONS_MAX 128 /* over all classes */
#define MRD_HISTORY_MAX 16     /* closed epochs remembered per partition */

#define MRD_REGION_NONE 0xff
#define MRD_PARTITION_ALL "all"
/** The built-in class whose home may run DDL on attached schemas; always present. */
#define MRD_CLASS_SCHEMA "schema"

typedef uint8_t mrd_region;   /* index into the snapshot's or configuration's regions */
typedef uint16_t mrd_regions; /* a set of regions, bit i is region i */
typedef uint64_t mrd_epoch;   /* epoch of write authority; 0 is none, grows by 1 per grant */
typedef uint64_t mrd_lsn;     /* a PostgreSQL WAL position; 0 is none */
typedef uint64_t mrd_session; /* a region's lease session, growing per region; 0 is none */
typedef uint64_t mrd_boot_ns; /* CLOCK_BOOTTIME of one host, nanoseconds */
typedef uint64_t mrd_wall_ms; /* wall clock, milliseconds since 1970; no safety hangs on it */

enum mrd_posture {
    MRD_SINGLE_REGION,
    MRD_ACTIVE_PASSIVE,
    MRD_READ_LOCAL,
    MRD_PARTITIONED,
};

enum mrd_durability {
    MRD_ASYNC,  /* acknowledged when flushed at the home */
    MRD_QUORUM, /* acknowledged when a majority of the replica set, home included, flushed */
};

enum mrd_health {
    MRD_HEALTHY,
    MRD_SUSPECT,    /* some observer misses it; nothing moves yet */
    MRD_DEGRADED,   /* a quorum misses a part of it; traffic shifts, storage stays */
    MRD_DOWN,       /* a quorum misses it and its lease is not renewed */
    MRD_RECOVERING, /* back, but its copies have not converged yet */
};

const char *mrd_posture_name(enum mrd_posture p);
const char *mrd_durability_name(enum mrd_durability d);
const char *mrd_health_name(enum mrd_health h);
