/*
 * Questions about a loaded configuration (mrd/config.h). Reading one is config/'s business.
 */
#include <mrd/config.h>

#include "same.h"

const char *mrd_failover_mode_name(enum mrd_failover_mode m)
{
    switch (m) {
    case MRD_FAILOVER_AUTOMATIC:
        return "automatic";
    case MRD_FAILOVER_MANUAL:
        return "manual";
    case MRD_FAILOVER_TWO_PERSON:
        break;
    }
    return "two-person";
}

int mrd_config_region(const struct mrd_config *c, const char *name)
{
    for (int i = 0; i < c->region_count; i++) {
        if (mrdi_same(c->regions[i].name, name)) {
            return i;
        }
    }
    return -1;
}

int mrd_config_class(const struct mrd_config *c, const char *name)
{
    for (int i = 0; i < c->class_count; i++) {
        if (mrdi_same(c->classes[i].name, name)) {
            return i;
        }
    }
    return -1;
}

unsigned mrd_config_remote_acks(const struct mrd_conf_class *class)
{
    if (class->durability != MRD_QUORUM) {
        return 0;
    }
    /* A majority of n is n / 2 + 1, and the home is one of them. */
    return (unsigned)__builtin_popcount(class->replicas) / 2;
}
