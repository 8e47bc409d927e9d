/*
 * The store's records as the agent's answers need them (records.h).
 */
#include "records.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

#define MS UINT64_C(1000000)

bool records_session(const struct agent *a, unsigned i, struct mrd_session_record *ret)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    snprintf(key, sizeof(key), "session/%s", a->config->regions[i].name);
    if (mrd_store_get(a->store, key, &e) != 0) {
        return false;
    }
    struct mrd_buf b = mrd_buf_reader(e.value, e.len);
    return mrd_session_record_decode(&b, ret) == 0;
}

bool records_authority(const struct agent *a, const char *class_name, const char *partition,
                       struct mrd_authority_record *ret)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    snprintf(key, sizeof(key), "authority/%s/%s", class_name, partition);
    if (mrd_store_get(a->store, key, &e) != 0) {
        return false;
    }
    struct mrd_buf b = mrd_buf_reader(e.value, e.len);
    return mrd_authority_record_decode(&b, ret) == 0;
}

const struct mrd_peer_report *records_peer(const struct mrd_session_record *s,
                                           const char *region)
{
    for (unsigned i = 0; i < s->peer_count; i++) {
        if (strcmp(s->peers[i].region, region) == 0) {
            return &s->peers[i];
        }
    }
    return NULL;
}

uint64_t records_renewed_ms_ago(const struct agent *a, unsigned i)
{
    mrd_boot_ns at = a->node.coordinator.seen[i].applied_ns, now_ns = clock_boot_ns();
    return at != 0 && now_ns > at ? (now_ns - at) / MS : 0;
}

bool records_live(const struct agent *a, unsigned i, const struct mrd_session_record *s)
{
    return s->session != 0 && !s->expired && a->node.coordinator.seen[i].applied_ns != 0 &&
           records_renewed_ms_ago(a, i) <= a->config->lease_ms + a->config->lease_margin_ms;
}

bool records_share_class(const struct mrd_config *c, unsigned from, unsigned to)
{
    for (unsigned i = 0; i < c->class_count; i++) {
        mrd_regions r = c->classes[i].replicas;
        if ((r >> from & 1) != 0 && (r >> to & 1) != 0) {
            return true;
        }
    }
    return false;
}
