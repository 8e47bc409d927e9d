/*
 * Nothing goes to and fro faster than it is allowed to: a region that fell silent is replaced
 * only after it has missed as many probes as are configured, and who came to lead the store
 * does so for five seconds before it hands over by itself. What is vacant is not tried for
 * again and again when nobody can take it.
 *
 * Times are counted here from when something was first in the store anywhere, and clocks may be
 * off by what they are allowed to.
 */
#include "props.h"

#include <string.h>

#define IN_VAIN 8                       /* who seemed able may be lost each time */
#define LEADS_NS (5000 * SIM_NS_PER_MS) /* HANDOVER_FIRST_NS of core/src/node.c */

static void check_verdict(struct sim *w, const struct sim_fact *f)
{
    uint64_t patience_ms = (uint64_t)w->config->probe_interval_ms * w->config->probe_threshold;
    sim_us silent_us = w->now - w->renewed_at[f->region];

    if (strcmp(f->failover->reason, "unreachable") == 0 && w->clocks_valid &&
        silent_us < patience_ms * SIM_MS * 9 / 10) {
        sim_broken(w, "no flapping", "%s is replaced %llu ms after it renewed, not %llu",
                   sim_name(w, f->region), (unsigned long long)(silent_us / SIM_MS),
                   (unsigned long long)patience_ms);
    }
}

/* A successor was seen for what is vacant, and was none when it came to it. */
static void check_vain(struct sim *w, const struct sim_fact *f)
{
    if (strcmp(f->failover->reason, "successor") == 0 && ++w->in_vain[f->region] > IN_VAIN) {
        sim_broken(w, "no flapping", "%s is replaced %u times in a row, and nobody takes over",
                   sim_name(w, f->region), w->in_vain[f->region]);
    }
}

/* Somebody took over a part of what it was home of. */
static void not_in_vain(struct sim *w, const struct mrd_authority_record *was)
{
    int left =
        mrd_config_region(w->config, was->region[0] != '\0' ? was->region : was->last_region);

    if (left >= 0) {
        w->in_vain[left] = 0;
    }
}

void sim_look_no_flapping(struct sim *w, const struct sim_fact *f)
{
    if (f->kind == SIM_SAYS_AUTHORITY && f->authority->epoch > f->before->epoch) {
        not_in_vain(w, f->before);
    } else if (f->kind == SIM_SAYS_FAILOVER && f->failover->state == MRD_FAILOVER_FENCE) {
        check_vain(w, f);
    }
    if (f->kind == SIM_SAYS_RENEWED) {
        w->renewed_at[f->region] = w->now;
    } else if (f->kind == SIM_SAYS_FAILOVER && f->failover->state == MRD_FAILOVER_FENCE) {
        check_verdict(w, f);
    } else if (f->kind == SIM_SAYS_HANDS_OVER) {
        uint64_t led_ns = sim_boot_ns(w, f->region) - w->regions[f->region].led_ns;
        if (led_ns < LEADS_NS) {
            sim_broken(w, "no flapping", "%s hands the store over after %llu ms",
                       sim_name(w, f->region), (unsigned long long)(led_ns / SIM_NS_PER_MS));
        }
    }
}
