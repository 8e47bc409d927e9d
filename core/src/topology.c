/*
 * Names of the shared enumerations (mrd/topology.h), as the configuration spells them and as
 * every table and log shows them.
 */
#include <mrd/topology.h>

#include <stddef.h>

#define NAME_OF(names, i)                                                                      \
    ((size_t)(i) < sizeof(names) / sizeof(*(names)) ? (names)[(size_t)(i)] : "unknown")

const char *mrd_posture_name(enum mrd_posture p)
{
    static const char *const names[] = {
        [MRD_SINGLE_REGION] = "single-region",
        [MRD_ACTIVE_PASSIVE] = "active-passive",
        [MRD_READ_LOCAL] = "read-local",
        [MRD_PARTITIONED] = "partitioned",
    };
    return NAME_OF(names, p);
}

const char *mrd_durability_name(enum mrd_durability d)
{
    static const char *const names[] = {
        [MRD_ASYNC] = "async",
        [MRD_QUORUM] = "quorum",
    };
    return NAME_OF(names, d);
}

const char *mrd_health_name(enum mrd_health h)
{
    static const char *const names[] = {
        [MRD_HEALTHY] = "healthy", [MRD_SUSPECT] = "suspect",       [MRD_DEGRADED] = "degraded",
        [MRD_DOWN] = "down",       [MRD_RECOVERING] = "recovering",
    };
    return NAME_OF(names, h);
}
