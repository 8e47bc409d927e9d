/*
 * In the end a region that is drained is nobody's home, as long as another one may be: the
 * operators' last word counts, however often they changed their mind and whatever failed while
 * homes moved away.
 */
#include "props.h"

#include <stdio.h>

static mrd_regions drained(const struct sim *w)
{
    const struct mrd_snapshot *s = sim_snapshot(w, 0);
    mrd_regions ret = 0;

    for (unsigned i = 0; s != NULL && i < w->config->region_count; i++) {
        struct mrd_entry e;
        struct mrd_dial_record r;
        char key[MRD_KEY_MAX];
        struct mrd_buf b;
        snprintf(key, sizeof(key), "dial/%s", sim_name(w, i));
        if (mrd_store_get(w->regions[0].store, key, &e) == 0) {
            b = mrd_buf_reader(e.value, e.len);
            ret |=
                mrd_dial_record_decode(&b, &r) == 0 && r.drained ? (mrd_regions)(1u << i) : 0;
        }
    }
    return ret;
}

void sim_look_drained(struct sim *w, const struct sim_fact *f)
{
    unsigned count = mrd_partition_count(w->config);
    mrd_regions away = f->kind == SIM_SAYS_END ? drained(w) : 0;

    for (unsigned p = 0; away != 0 && p < count; p++) {
        int home = mrd_config_region(w->config, w->authority[p].region);
        const struct mrd_conf_class *k = sim_class(w, p);
        if (home >= 0 && (away >> home & 1u) != 0 &&
            (k->replicas & k->allowed & (mrd_regions)~away) != 0) {
            sim_broken(w, "drained", "%s is drained and still home of %s",
                       sim_name(w, (unsigned)home), k->name);
        }
    }
}
