/*
 * The answers about what operators decide: approvals that wait for them, and the dial they set.
 */
#include "documents_parts.h"

#include <stdio.h>
#include <string.h>

#include "records.h"

static bool last_home(const struct agent *a, unsigned partition, const char *region)
{
    struct mrd_authority_record auth;
    const char *name;
    const struct mrd_conf_class *k = mrd_partition_at(a->config, partition, &name);
    return records_authority(a, k->name, name, &auth) &&
           strcmp(auth.state == MRD_AUTH_VACANT ? auth.last_region : auth.region, region) == 0;
}

static json_t *partitions_of(const struct agent *a, const char *region)
{
    json_t *list = json_array();
    unsigned count = mrd_partition_count(a->config);
    for (unsigned i = 0; i < count; i++) {
        char text[2 * MRD_NAME_MAX];
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(a->config, i, &name);
        if (last_home(a, i, region)) {
            snprintf(text, sizeof(text), "%s/%s", k->name, name);
            json_array_append_new(list, json_string(text));
        }
    }
    return list;
}

/* NULL when it is no record, or nothing waits any more. */
static json_t *approval_row(const struct agent *a, const uint8_t *value, size_t len)
{
    static const char *const states[] = {"pending", "approved", "rejected"};
    struct mrd_approval_record r;
    struct mrd_buf b = mrd_buf_reader(value, len);
    if (mrd_approval_record_decode(&b, &r) != 0 || r.state >= MRD_APPROVAL_OVER) {
        return NULL;
    }
    json_t *o = json_object(), *by = json_array();
    for (unsigned i = 0; i < r.given; i++) {
        json_array_append_new(by, json_string(r.by[i]));
    }
    set(o, "id", document_id(r.id));
    set(o, "region", json_string(r.region));
    set(o, "state", json_string(states[r.state]));
    set(o, "reason", json_string(r.reason));
    set(o, "observers", document_region_names(a->config, r.observers));
    set(o, "partitions", partitions_of(a, r.region));
    set(o, "needed", number(r.needed));
    set(o, "approved_by", by);
    set(o, "rejected_by", text_or_null(r.rejected_by));
    set(o, "asked_wall_ms", time_or_null(r.asked_ms));
    return o;
}

json_t *document_approval_asked(const struct agent *a, const struct mrd_proposal *p)
{
    for (size_t i = 0; i < p->txn.put_count; i++) {
        const struct mrd_put *put = &p->txn.puts[i];
        if (put->value != NULL && strncmp(put->key, "approval/", 9) == 0) {
            return approval_row(a, put->value, put->len);
        }
    }
    return NULL;
}

json_t *document_dial_asked(const struct mrd_proposal *p, const char *region)
{
    for (size_t i = 0; i < p->txn.put_count; i++) {
        const struct mrd_put *put = &p->txn.puts[i];
        struct mrd_dial_record r;
        struct mrd_buf b = mrd_buf_reader(put->value, put->len);
        if (strncmp(put->key, "dial/", 5) == 0 && mrd_dial_record_decode(&b, &r) == 0) {
            json_t *o = json_object();
            set(o, "name", json_string(region));
            set(o, "percent", number(r.percent));
            set(o, "drained", json_boolean(r.drained));
            set(o, "by", json_string(r.by));
            return o;
        }
    }
    return NULL;
}

struct pending {
    const struct agent *a;
    json_t *rows;
};

static int add_pending(void *ctx, const struct mrd_entry *e)
{
    struct pending *p = ctx;
    json_t *row = approval_row(p->a, e->value, e->len);
    if (row != NULL) {
        json_array_append_new(p->rows, row);
    }
    return 0;
}

json_t *document_pending(const struct agent *a)
{
    json_t *o = document_new(a);
    struct pending p = {a, json_array()};
    mrd_store_scan(a->store, "approval/", add_pending, &p);
    set(o, "mode", json_string(mrd_failover_mode_name(a->config->failover)));
    set(o, "pending", p.rows);
    return o;
}
