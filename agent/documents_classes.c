/*
 * The answers about classes: the promise each makes, and of each partition who may write it,
 * why nobody may, and who could before.
 */
#include "documents_parts.h"

#include <stdio.h>

#include <mrd/verdict.h>

#include "log.h"
#include "records.h"

static const char *const state_names[] = {
    [MRD_AUTH_OPEN] = "open",
    [MRD_AUTH_FROZEN] = "frozen",
    [MRD_AUTH_FENCING] = "fencing",
    [MRD_AUTH_VACANT] = "vacant",
};

static json_t *history_rows(const struct mrd_authority_record *auth)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < auth->history_count; i++) {
        const struct mrd_closed_record *c = &auth->history[i];
        json_t *o = json_object();
        set(o, "epoch", number(c->epoch));
        set(o, "region", text_or_null(c->region));
        set(o, "cut_lsn", document_lsn(c->cut));
        set(o, "reason", json_string(c->reason));
        set(o, "at_wall_ms", time_or_null(c->at_ms));
        json_array_append_new(rows, o);
    }
    return rows;
}

/* The authority as the agent before us had it, while our own store cannot say. */
static bool remembered(const struct agent *a, int index, struct mrd_authority_record *ret)
{
    const struct mrd_snapshot *s = document_inherited(a);
    if (s == NULL || index < 0 || index >= s->partition_count) {
        return false;
    }
    const struct mrd_authority *was = &s->partitions[index].authority;
    *ret = (struct mrd_authority_record){.epoch = was->epoch, .state = (uint8_t)was->state};
    if (was->state != MRD_AUTH_VACANT && was->region < s->region_count) {
        snprintf(ret->region, sizeof(ret->region), "%s", s->regions[was->region].name);
    }
    return true;
}

static json_t *partition_row(const struct agent *a, const struct mrd_conf_class *k,
                             const char *name)
{
    struct mrd_authority_record auth = {.state = MRD_AUTH_VACANT};
    json_t *o = json_object();
    int index = mrd_partition_index(a->config, k->name, name);
    bool old = remembered(a, index, &auth),
         known = old || records_authority(a, k->name, name, &auth);
    const struct mrd_snapshot *s = old || a->node.published_ns != 0 ? &a->node.snapshot : NULL;
    bool vacant = auth.state == MRD_AUTH_VACANT;
    char why[128] = "";

    if (index >= 0 && !old) {
        mrd_partition_why(a->config, a->store, (unsigned)index, why);
    }
    set(o, "name", json_string(name));
    set(o, "home", vacant ? json_null() : text_or_null(auth.region));
    set(o, "epoch", number(auth.epoch));
    /* What the snapshot shows is finer than the record: granted but not yet open. */
    unsigned state = s != NULL && known && index >= 0 && index < s->partition_count
                         ? s->partitions[index].authority.state
                         : auth.state;
    set(o, "state", json_string(state <= MRD_AUTH_VACANT ? state_names[state] : "vacant"));
    set(o, "why", json_string(why));
    set(o, "writable_here", json_boolean(mrd_guard(s, index, clock_boot_ns()).allow));
    set(o, "history", history_rows(&auth));
    set(o, "stale_s", document_stale_s(a));
    return o;
}

static json_t *class_row(const struct agent *a, const struct mrd_conf_class *k)
{
    json_t *o = json_object(), *tables = json_array(), *rows = json_array();
    bool split = k->posture == MRD_PARTITIONED;

    set(o, "name", json_string(k->name));
    set(o, "posture", json_string(mrd_posture_name(k->posture)));
    set(o, "durability", json_string(mrd_durability_name(k->durability)));
    set(o, "remote_acks", number(k->durability == MRD_QUORUM ? mrd_config_remote_acks(k) : 0));
    set(o, "partition_by", split ? json_string(k->partition_by) : json_null());
    set(o, "home",
        split || k->home >= a->config->region_count
            ? json_null()
            : json_string(a->config->regions[k->home].name));
    set(o, "replicas", document_region_names(a->config, k->replicas));
    set(o, "allowed", document_region_names(a->config, k->allowed));
    for (unsigned i = 0; i < k->table_count; i++) {
        json_array_append_new(tables, json_string(k->tables[i]));
    }
    set(o, "tables", tables);
    for (unsigned i = 0; i < (split ? k->partition_count : 1u); i++) {
        json_array_append_new(
            rows, partition_row(a, k, split ? k->partitions[i] : MRD_PARTITION_ALL));
    }
    set(o, "partitions", rows);
    return o;
}

json_t *document_class_rows(const struct agent *a)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < a->config->class_count; i++) {
        json_array_append_new(rows, class_row(a, &a->config->classes[i]));
    }
    return rows;
}

json_t *document_classes(const struct agent *a)
{
    json_t *o = document_new(a);
    set(o, "classes", document_class_rows(a));
    return o;
}
