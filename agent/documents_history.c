/*
 * The answers about what happened: the events of all regions, the moves of partitions, and the
 * receipt that each failover and move leaves. The store keeps each in the order of its ids.
 */
#include "documents_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct events {
    json_t *rows;
    uint64_t after, last;
};

static int add_event(void *ctx, const struct mrd_entry *e)
{
    struct events *ev = ctx;
    char text[512];
    unsigned long long at_ms = 0;
    int head = 0;
    uint64_t id = strtoull(e->key + strlen("event/"), NULL, 16);

    /* What no longer fits is for the next question, which begins after the last of these. */
    if (id <= ev->after || json_array_size(ev->rows) >= MRD_EVENTS_MAX) {
        return 0;
    }
    ev->last = id > ev->last ? id : ev->last;
    snprintf(text, sizeof(text), "%.*s", (int)(e->len < sizeof(text) ? e->len : 511),
             (const char *)e->value);
    if (sscanf(text, "at_ms=%llu %n", &at_ms, &head) < 1) {
        head = 0;
    }
    char *name = text + head;
    if (strncmp(name, "event=", 6) != 0) {
        return 0;
    }
    name += 6;
    char *rest = name + strcspn(name, " ");
    if (*rest == ' ') {
        *rest++ = '\0';
    }
    json_t *o = json_object();
    set(o, "id", number(id));
    set(o, "wall_ms", number(at_ms));
    set(o, "event", json_string(name));
    set(o, "text", json_string(rest));
    json_array_append_new(ev->rows, o);
    return 0;
}

json_t *document_events(const struct agent *a, uint64_t after)
{
    json_t *o = document_new(a);
    struct events ev = {json_array(), after, after};
    mrd_store_scan(a->store, "event/", add_event, &ev);
    set(o, "last", number(ev.last));
    set(o, "events", ev.rows);
    return o;
}

static json_t *move_row(const char *class_name, const char *partition,
                        const struct mrd_entry *e)
{
    static const char *const states[] = {
        [MRD_MOVE_WAIT] = "wait", [MRD_MOVE_FREEZE] = "freeze",   [MRD_MOVE_FROZEN] = "frozen",
        [MRD_MOVE_DONE] = "done", [MRD_MOVE_ABORTED] = "aborted",
    };
    struct mrd_move_record m;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);
    if (mrd_move_record_decode(&b, &m) != 0) {
        return NULL;
    }
    json_t *o = json_object();
    set(o, "id", document_id(m.id));
    set(o, "class", json_string(class_name));
    set(o, "partition", json_string(partition));
    set(o, "from", text_or_null(m.from));
    set(o, "to", text_or_null(m.to));
    set(o, "epoch", number(m.epoch));
    set(o, "state", json_string(m.state <= MRD_MOVE_WAIT ? states[m.state] : "aborted"));
    set(o, "why", json_string(m.why));
    set(o, "started_wall_ms", time_or_null(m.started_ms));
    return o;
}

static json_t *stored_move(const struct agent *a, const char *class_name, const char *partition)
{
    char key[MRD_KEY_MAX];
    struct mrd_entry e;
    snprintf(key, sizeof(key), "move/%s/%s", class_name, partition);
    return mrd_store_get(a->store, key, &e) == 0 ? move_row(class_name, partition, &e) : NULL;
}

json_t *document_move_asked(const struct mrd_proposal *p, const char *class_name,
                            const char *partition)
{
    char key[MRD_KEY_MAX];
    snprintf(key, sizeof(key), "move/%s/%s", class_name, partition);
    for (size_t i = 0; i < p->txn.put_count; i++) {
        const struct mrd_put *put = &p->txn.puts[i];
        if (put->value != NULL && strcmp(put->key, key) == 0) {
            struct mrd_entry e = {.key = put->key, .value = put->value, .len = put->len};
            return move_row(class_name, partition, &e);
        }
    }
    return NULL;
}

/* Ids grow, and their texts are of one length. */
static void insert_by_id(json_t *rows, json_t *row)
{
    size_t at = json_array_size(rows);
    const char *id = json_string_value(json_object_get(row, "id"));
    while (at > 0 &&
           strcmp(json_string_value(json_object_get(json_array_get(rows, at - 1), "id")), id) >
               0) {
        at--;
    }
    json_array_insert_new(rows, at, row);
}

json_t *document_moves(const struct agent *a)
{
    json_t *o = document_new(a), *rows = json_array();
    unsigned count = mrd_partition_count(a->config);
    for (unsigned i = 0; i < count; i++) {
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(a->config, i, &name);
        json_t *row = stored_move(a, k->name, name);
        if (row != NULL) {
            insert_by_id(rows, row);
        }
    }
    set(o, "moves", rows);
    return o;
}

static int add_receipt(void *ctx, const struct mrd_entry *e)
{
    struct mrd_receipt_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);
    if (mrd_receipt_record_decode(&b, &r) != 0) {
        return 0;
    }
    bool move = strcmp(r.kind, "move") == 0;
    json_t *o = json_object();
    set(o, "id", document_id(r.id));
    set(o, "kind", json_string(r.kind));
    set(o, "class", json_string(r.class_name));
    set(o, "partition", json_string(r.partition));
    set(o, "from", text_or_null(r.from));
    set(o, "to", text_or_null(r.to));
    set(o, "epoch", number(r.epoch));
    set(o, "observers", json_string(r.observers));
    set(o, "note", json_string(r.note));
    set(o, "cut_lsn", document_lsn(r.cut));
    set(o, "fault_wall_ms", time_or_null(r.fault_ms));
    set(o, "detected_wall_ms", time_or_null(r.detected_ms));
    set(o, "expired_wall_ms", time_or_null(r.expired_ms));
    set(o, "fenced_wall_ms", time_or_null(r.fenced_ms));
    set(o, "granted_wall_ms", time_or_null(r.granted_ms));
    set(o, "opened_wall_ms", time_or_null(r.opened_ms));
    set(o, "first_write_wall_ms", time_or_null(r.first_write_ms));
    set(o, "returned_wall_ms", time_or_null(r.returned_ms));
    set(o, "final", json_boolean(r.returned_ms != 0 || (move && r.granted_ms != 0)));
    set(o, "rto_ms", r.rto_ms != 0 || r.first_write_ms != 0 ? number(r.rto_ms) : json_null());
    set(o, "rpo_ms", number(r.rpo_ms));
    set(o, "tail_transactions", number(r.tail_transactions));
    set(o, "tail_rows", number(r.tail_rows));
    set(o, "tail_gone", json_boolean(r.tail_gone));
    json_array_append_new(ctx, o); /* the store's order is oldest first */
    return 0;
}

json_t *document_receipts(const struct agent *a)
{
    json_t *o = document_new(a), *rows = json_array();
    mrd_store_scan(a->store, "receipt/", add_receipt, rows);
    set(o, "receipts", rows);
    return o;
}
