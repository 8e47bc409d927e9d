/*
 * The store's servers: libraft's own core (raft_step), each with a disk, under the world's
 * network and time.
 *
 * An entry's content is the number of a payload that the world keeps once; what travels and
 * what is stored are numbers. A server's log in memory and the log on its disk are kept apart:
 * writes reach the disk in order, each after a delay, and a crash loses those that had not,
 * save perhaps a part of the first (a torn write leaves a prefix of its entries).
 *
 * Term and vote are on disk at once, as libraft demands of its host.
 *
 * Now and then a server keeps an image of its store in place of its log's beginning (in worlds
 * that have this). What it drops is gone for libraft, which sends the image to who lacks it;
 * the entries stay in memory here, for nobody asks.
 *
 * What libraft answers to a message of an older term is mended as the agent does it
 * (agent/raft_mend.h). Nobody is then sent index 1 again.
 *
 * Memory: libraft frees, or gives back in an update, one batch for each set of entries handed
 * to it; a batch here is an array of payload numbers.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include <raft_mend.h>

#define FIRST 2 /* index 1 is the set of voters */

struct sim_message {
    struct raft_message raft;
    struct sim_entry *entries;
    uint64_t image; /* payload */
    bool late;      /* refuses what is of an older term */
    bool later;     /* refuses a pre-vote, and names a later term than libraft does */
};

void sim_message_free(void *message)
{
    struct sim_message *m = message;

    free(m->entries);
    free(m);
}

uint64_t sim_payload(struct sim *w, const void *bytes, size_t len)
{
    struct sim_payload *p;

    if (w->payload_count >= w->payload_room) {
        w->payload_room = w->payload_room == 0 ? 1024 : 2 * w->payload_room;
        w->payloads = realloc(w->payloads, w->payload_room * sizeof(*w->payloads));
        mrd_assert(w->payloads != NULL);
    }
    p = &w->payloads[w->payload_count];
    p->len = len;
    p->bytes = malloc(len > 0 ? len : 1);
    mrd_assert(p->bytes != NULL);
    memcpy(p->bytes, bytes, len);
    return w->payload_count++;
}

/* ---- logs ---- */

static raft_index last_of(const struct sim_log *log)
{
    return log->first + log->count - 1;
}

static void truncate_from(struct sim_log *log, raft_index index)
{
    mrd_assert(index >= log->first && index <= last_of(log) + 1);
    log->count = (size_t)(index - log->first);
}

static void append(struct sim_log *log, const struct sim_entry *entries, size_t n)
{
    if (n == 0) {
        return; /* there may be no array either */
    }
    if (log->count + n > log->room) {
        log->room = 2 * (log->count + n) + 64;
        log->entries = realloc(log->entries, log->room * sizeof(*log->entries));
        mrd_assert(log->entries != NULL);
    }
    memcpy(log->entries + log->count, entries, n * sizeof(*entries));
    log->count += n;
}

/* ---- what libraft asks for ---- */

static void step(struct sim *w, unsigned i, struct raft_event *event);

/* Payloads of entries that libraft hands back, in the order of the log. */
static struct sim_entry *unpack(const struct raft_entry *entries, unsigned n)
{
    struct sim_entry *ret = malloc((n > 0 ? n : 1) * sizeof(*ret));

    mrd_assert(ret != NULL);
    for (unsigned k = 0; k < n; k++) {
        ret[k].term = entries[k].term;
        ret[k].payload = 0;
        if (entries[k].type == RAFT_COMMAND) {
            memcpy(&ret[k].payload, entries[k].buf.base, sizeof(ret[k].payload));
        }
    }
    return ret;
}

static void write_entries(struct sim *w, unsigned i, const struct raft_update *u)
{
    struct sim_server *s = &w->regions[i].server;
    struct sim_write *write = &s->writes[(s->write_first + s->write_count) % SIM_WRITES_MAX];
    struct sim_event done = {.at = w->now + w->disk_us[i],
                             .kind = SIM_RAFT_DISK,
                             .region = (uint8_t)i,
                             .life = w->regions[i].agent_life};

    mrd_assert(s->write_count < SIM_WRITES_MAX);
    for (size_t k = 0; k < s->write_count; k++) {
        struct sim_write *old = &s->writes[(s->write_first + k) % SIM_WRITES_MAX];
        old->stale = old->stale || old->first + old->count > u->entries.index;
    }
    *write = (struct sim_write){.first = u->entries.index,
                                .count = u->entries.n,
                                .entries = unpack(u->entries.batch, u->entries.n)};
    s->write_count++;
    raft_free(u->entries.batch[0].batch);
    truncate_from(&s->log, write->first);
    append(&s->log, write->entries, write->count);
    sim_push(w, &done);
}

static void send_one(struct sim *w, unsigned i, const struct raft_message *message)
{
    struct sim_server *s = &w->regions[i].server;
    unsigned to = (unsigned)message->server_id - 1;
    struct sim_event e = {.kind = SIM_RAFT_MESSAGE, .region = (uint8_t)to};
    struct sim_message *m;
    size_t n = 0;

    if (!sim_send(w, i, to, &e.at)) {
        return;
    }
    m = calloc(1, sizeof(*m));
    mrd_assert(m != NULL);
    m->raft = *message;
    m->raft.server_id = (raft_id)i + 1;
    m->raft.server_address = sim_name(w, i);
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        raft_index first = message->append_entries.prev_log_index + 1;
        n = message->append_entries.n_entries;
        mrd_assert(first >= s->log.first && first + n <= last_of(&s->log) + 1);
        m->entries = malloc(n * sizeof(*m->entries));
        mrd_assert(m->entries != NULL);
        memcpy(m->entries, s->log.entries + (first - s->log.first), n * sizeof(*m->entries));
    }
    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        mrd_assert(s->image.index == message->install_snapshot.last_index);
        m->image = s->image.payload;
    }
    raft_mend(&s->raft, s->late, &m->raft);
    m->late = s->late && message->type == RAFT_APPEND_ENTRIES_RESULT;
    m->later = message->type == RAFT_REQUEST_VOTE_RESULT &&
               m->raft.request_vote_result.term != message->request_vote_result.term;
    e.p = m;
    e.life = w->regions[to].agent_life;
    sim_push(w, &e);
}

static void duplicate(struct sim *w, unsigned i, const struct raft_message *message)
{
    struct sim_link *l = &w->links[i][message->server_id - 1];

    send_one(w, i, message);
    if (l->duplicate != 0 && sim_chance(&w->net, l->duplicate)) {
        send_one(w, i, message);
    }
}

static void answer(struct sim *w, unsigned i, const struct sim_pending *p, int code,
                   uint64_t revision)
{
    struct sim_event e = {.kind = SIM_RESULT,
                          .region = p->from,
                          .life = w->regions[p->from].agent_life,
                          .a = p->flight,
                          .b = revision << 8 | (uint64_t)(-code & 0xff)};

    if (sim_send(w, i, p->from, &e.at)) {
        sim_push(w, &e);
    }
}

/* Committed at every server at the same index, or nothing else here means anything. */
static void agree(struct sim *w, unsigned i, raft_index index, uint64_t payload)
{
    size_t k = (size_t)index;

    while (k >= w->committed_room) {
        w->committed_room = w->committed_room == 0 ? 1024 : 2 * w->committed_room;
        w->committed = realloc(w->committed, w->committed_room * sizeof(*w->committed));
        mrd_assert(w->committed != NULL);
    }
    if (k >= w->committed_count) {
        mrd_assert(k == w->committed_count || w->committed_count < FIRST);
        w->committed[k] = payload;
        w->committed_count = k + 1;
    } else if (w->committed[k] != payload) {
        sim_broken(w, "one log", "%s applies payload %llu at index %llu, another %llu",
                   sim_name(w, i), (unsigned long long)payload, (unsigned long long)index,
                   (unsigned long long)w->committed[k]);
    }
}

static int apply(struct sim *w, unsigned i, uint64_t payload, uint64_t *ret_revision)
{
    const struct sim_payload *p = &w->payloads[payload];
    struct mrd_buf in = mrd_buf_reader(p->bytes, p->len);
    int rc = mrd_txn_decode(&in, w->txn);

    rc = rc != 0 ? rc : mrd_store_apply(w->regions[i].store, w->txn, ret_revision);
    w->told_revision = *ret_revision > w->told_revision ? *ret_revision : w->told_revision;
    return rc;
}

static void apply_committed(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    raft_index commit = raft_commit_index(&s->raft);

    /* What is missing before the log comes with an image that is on its way. */
    while (s->applied < commit && s->applied < last_of(&s->log) &&
           s->applied + 1 >= s->log.first) {
        const struct sim_entry *e = &s->log.entries[s->applied + 1 - s->log.first];
        uint64_t revision = 0;
        int rc = 0;
        s->applied++;
        agree(w, i, s->applied, e->payload);
        if (e->payload != 0) {
            rc = apply(w, i, e->payload, &revision);
        }
        for (size_t k = 0; k < s->pending_count; k++) {
            if (s->pending[k].index == s->applied) {
                struct sim_pending p = s->pending[k];
                s->pending[k] = s->pending[--s->pending_count];
                answer(w, i, &p, p.term == e->term ? rc : MRD_ETIMEDOUT, revision);
                break;
            }
        }
    }
}

/* ---- images ---- */

static void voters(struct sim *w, struct raft_configuration *ret);

static void take_image(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    struct raft_event e = {.type = RAFT_SNAPSHOT};
    size_t size = mrd_store_dump_size(w->regions[i].store);
    uint8_t *bytes;
    struct mrd_buf out;

    if (w->compact == 0 || s->coming.index != 0 || s->applied < s->log.first ||
        s->applied < s->image.index + w->compact || s->applied > last_of(&s->disk)) {
        return;
    }
    bytes = malloc(size);
    mrd_assert(bytes != NULL);
    out = mrd_buf_writer(bytes, size);
    mrd_assert(mrd_store_dump(w->regions[i].store, &out) == 0);
    s->image = (struct sim_image){.index = s->applied,
                                  .term = s->log.entries[s->applied - s->log.first].term,
                                  .payload = sim_payload(w, bytes, out.pos)};
    free(bytes);
    e.snapshot.metadata = (struct raft_snapshot_metadata){
        .index = s->image.index, .term = s->image.term, .configuration_index = 1};
    voters(w, &e.snapshot.metadata.configuration);
    e.snapshot.trailing = w->trailing;
    step(w, i, &e);
}

/* libraft has given up its log for an image that somebody sent. */
static void begin_install(struct sim *w, unsigned i, struct raft_update *u)
{
    struct sim_server *s = &w->regions[i].server;
    struct sim_event e = {.at = w->now + 2 * w->disk_us[i],
                          .kind = SIM_RAFT_IMAGE,
                          .region = (uint8_t)i,
                          .life = w->regions[i].agent_life};

    s->coming.index = u->snapshot.metadata.index;
    s->coming.term = u->snapshot.metadata.term;
    memcpy(&s->coming.payload, u->snapshot.chunk.base, sizeof(s->coming.payload));
    raft_free(u->snapshot.chunk.base);
    raft_configuration_close(&u->snapshot.metadata.configuration);
    for (size_t k = 0; k < s->write_count; k++) {
        s->writes[(s->write_first + k) % SIM_WRITES_MAX].stale = true;
    }
    s->log.first = s->coming.index + 1;
    s->log.count = 0;
    sim_push(w, &e);
}

static void restore(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    const struct sim_payload *p = &w->payloads[s->image.payload];
    struct mrd_buf in = mrd_buf_reader(p->bytes, p->len);

    mrd_assert(mrd_store_restore(w->regions[i].store, &in) == 0);
    s->applied = s->image.index;
}

/* What was in our log may be committed yet by others: nobody knows. */
static void lose_pending(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;

    for (size_t k = 0; k < s->pending_count; k++) {
        answer(w, i, &s->pending[k], MRD_ETIMEDOUT, 0);
    }
    s->pending_count = 0;
}

static void set_timer(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    sim_us at = raft_timeout(&s->raft) * SIM_MS;
    struct sim_event e = {.at = at > w->now ? at : w->now,
                          .kind = SIM_RAFT_TIMER,
                          .region = (uint8_t)i,
                          .life = w->regions[i].agent_life};

    if (s->timer_at != 0 && s->timer_at <= e.at && s->timer_at > w->now) {
        return; /* it looks again when it fires */
    }
    s->timer_at = e.at;
    sim_push(w, &e);
}

static void step(struct sim *w, unsigned i, struct raft_event *event)
{
    struct sim_server *s = &w->regions[i].server;
    struct raft_update u;
    int rc;

    event->time = w->now / SIM_MS;
    event->capacity = 60000;
    rc = raft_step(&s->raft, event, &u);
    if (rc != 0) {
        if (event->type == RAFT_SUBMIT) {
            return; /* the caller sees that we do not lead */
        }
        sim_broken(w, "one log", "%s: raft_step(%u): %s", sim_name(w, i), event->type,
                   raft_strerror(rc));
        return;
    }
    if ((u.flags & (RAFT_UPDATE_CURRENT_TERM)) != 0) {
        s->disk_term = raft_current_term(&s->raft);
    }
    if ((u.flags & (RAFT_UPDATE_VOTED_FOR)) != 0) {
        s->disk_vote = raft_voted_for(&s->raft);
    }
    if ((u.flags & (RAFT_UPDATE_ENTRIES)) != 0 && u.entries.n > 0) {
        write_entries(w, i, &u);
    }
    if ((u.flags & (RAFT_UPDATE_SNAPSHOT)) != 0) {
        begin_install(w, i, &u);
    }
    if ((u.flags & (RAFT_UPDATE_MESSAGES)) != 0) {
        for (unsigned k = 0; k < u.messages.n; k++) {
            duplicate(w, i, &u.messages.batch[k]);
        }
    }
    if ((u.flags & (RAFT_UPDATE_COMMIT_INDEX)) != 0) {
        apply_committed(w, i);
    }
    if ((u.flags & (RAFT_UPDATE_STATE)) != 0) {
        if (raft_state(&s->raft) != RAFT_LEADER) {
            lose_pending(w, i);
        }
        sim_agent_wake(w, i, w->now);
    }
    set_timer(w, i);
    take_image(w, i);
}

/* ---- life ---- */

static void voters(struct sim *w, struct raft_configuration *ret)
{
    raft_configuration_init(ret);
    for (unsigned k = 0; k < w->config->region_count; k++) {
        int rc = raft_configuration_add(ret, (raft_id)k + 1, sim_name(w, k), RAFT_VOTER);
        mrd_assert(rc == 0);
    }
}

static void pack_one(struct raft_entry *e, const struct sim_entry *from, void *batch,
                     uint64_t *number)
{
    *number = from->payload;
    *e = (struct raft_entry){.term = from->term,
                             .type = from->payload != 0 ? RAFT_COMMAND : RAFT_BARRIER,
                             .buf = {number, sizeof(*number)},
                             .batch = batch};
}

/* The set of voters at index 1, then what is on disk. */
static struct raft_entry *load_all(struct sim *w, struct sim_server *s, unsigned *ret_n)
{
    size_t n = s->disk.count + 1;
    struct raft_configuration conf;
    struct raft_entry *entries = raft_malloc(n * sizeof(*entries));
    struct raft_buffer first;
    uint8_t *batch;
    int rc;

    voters(w, &conf);
    rc = raft_configuration_encode(&conf, &first);
    raft_configuration_close(&conf);
    mrd_assert(rc == 0 && entries != NULL);
    batch = raft_malloc(first.len + 8 + n * sizeof(uint64_t));
    mrd_assert(batch != NULL);
    memcpy(batch, first.base, first.len);
    raft_free(first.base);
    entries[0] = (struct raft_entry){
        .term = 1, .type = RAFT_CHANGE, .buf = {batch, first.len}, .batch = batch};
    for (size_t k = 1; k < n; k++) {
        uint64_t *number = (uint64_t *)(void *)(batch + (first.len + 7) / 8 * 8) + k;
        pack_one(&entries[k], &s->disk.entries[k - 1], batch, number);
    }
    *ret_n = (unsigned)n;
    return entries;
}

/* What is on disk from @index on. */
static struct raft_entry *load_from(struct sim_server *s, raft_index index, unsigned *ret_n)
{
    size_t skip = (size_t)(index - s->disk.first), n = s->disk.count - skip;
    struct raft_entry *entries = raft_malloc((n + 1) * sizeof(*entries));
    uint64_t *batch = raft_malloc((n + 1) * sizeof(*batch));

    mrd_assert(entries != NULL && batch != NULL);
    entries[0].batch = batch; /* freed by its first entry, also if there is none */
    for (size_t k = 0; k < n; k++) {
        pack_one(&entries[k], &s->disk.entries[skip + k], batch, &batch[k]);
    }
    *ret_n = (unsigned)n;
    return entries;
}

/* An image, and the entries behind it that were kept. */
static void load(struct sim *w, struct sim_server *s, struct raft_event *e,
                 struct raft_snapshot_metadata *metadata)
{
    raft_index keep = s->image.index > w->trailing ? s->image.index - w->trailing + 1 : FIRST;

    e->start.start_index = 1;
    if (s->image.index == 0) {
        e->start.entries = load_all(w, s, &e->start.n_entries);
        return;
    }
    *metadata = (struct raft_snapshot_metadata){
        .index = s->image.index, .term = s->image.term, .configuration_index = 1};
    voters(w, &metadata->configuration);
    e->start.metadata = metadata;
    e->start.start_index = keep > s->disk.first ? keep : s->disk.first;
    e->start.entries = load_from(s, e->start.start_index, &e->start.n_entries);
}

static void set_timing(struct sim *w, struct raft *raft)
{
    raft->tracer = NULL;
    raft_set_election_timeout(raft, w->config->election_ms);
    raft_set_heartbeat_timeout(raft, w->config->heartbeat_ms);
    raft_set_pre_vote(raft, true);
    raft_set_max_inflight_entries(raft, 256);
}

void sim_server_start(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    struct raft_event e = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata;

    mrd_assert(raft_init(&s->raft, NULL, NULL, (raft_id)i + 1, sim_name(w, i)) == 0);
    set_timing(w, &s->raft);
    raft_seed(&s->raft, (unsigned)sim_random(&w->regions[i].random));
    s->open = true;
    s->applied = 1;
    s->timer_at = 0;
    s->coming = (struct sim_image){0};
    s->disk.first = s->disk.first == 0 ? FIRST : s->disk.first;
    s->log.first = s->disk.first;
    s->log.count = 0;
    append(&s->log, s->disk.entries, s->disk.count);
    if (s->image.index != 0) {
        restore(w, i);
    }
    e.start.term = s->disk_term == 0 ? 1 : s->disk_term;
    e.start.voted_for = s->disk_vote;
    load(w, s, &e, &metadata);
    step(w, i, &e);
    raft_free(e.start.entries[0].batch);
    raft_free(e.start.entries);
}

static void land(struct sim_server *s, size_t entries)
{
    struct sim_write *write = &s->writes[s->write_first];

    truncate_from(&s->disk,
                  write->first <= last_of(&s->disk) ? write->first : last_of(&s->disk) + 1);
    append(&s->disk, write->entries, entries);
    free(write->entries);
    s->write_first = (s->write_first + 1) % SIM_WRITES_MAX;
    s->write_count--;
}

/* The first write may be on disk whole, or torn; what was issued after it may not. */
static void crash_disk(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;

    if (s->write_count > 0) {
        size_t n = s->writes[s->write_first].count;
        land(s, sim_below(&w->regions[i].random, (unsigned)n + 1));
    }
    while (s->write_count > 0) {
        free(s->writes[s->write_first].entries);
        s->write_first = (s->write_first + 1) % SIM_WRITES_MAX;
        s->write_count--;
    }
}

void sim_server_stop(struct sim *w, unsigned i, bool crash)
{
    struct sim_server *s = &w->regions[i].server;

    while (!crash && s->write_count > 0) {
        land(s, s->writes[s->write_first].count);
    }
    crash_disk(w, i);
    s->pending_count = 0;
    if (s->open) {
        raft_close(&s->raft, NULL);
        s->open = false;
    }
}

void sim_server_free(struct sim_server *s)
{
    free(s->log.entries);
    free(s->disk.entries);
}

/* ---- events ---- */

void sim_server_timer(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    struct raft_event e = {.type = RAFT_TIMEOUT};

    if (s->timer_at > w->now) {
        return; /* an earlier one was set since */
    }
    s->timer_at = 0;
    if (raft_timeout(&s->raft) * SIM_MS > w->now) {
        set_timer(w, i);
        return;
    }
    step(w, i, &e);
}

/* Answers that only the mends of agent/raft_mend.h make right. */
static void tell_mended(struct sim *w, unsigned i, const struct sim_message *m)
{
    const char *who = sim_name(w, i), *from = sim_name(w, (unsigned)m->raft.server_id - 1);
    raft_term term = raft_current_term(&w->regions[i].server.raft);

    if (m->late && sim_server_leads(w, i) && m->raft.append_entries_result.term == term) {
        sim_tell(w, "%s, which leads the store again, hears that %s refused its older term",
                 who, from);
    }
    if (m->later && m->raft.request_vote_result.term > term + 1) {
        sim_tell(w, "%s, which asks for votes in term %llu, hears of term %llu from %s", who,
                 (unsigned long long)term + 1,
                 (unsigned long long)m->raft.request_vote_result.term, from);
    }
}

void sim_server_receive(struct sim *w, unsigned i, void *message)
{
    struct sim_message *m = message;
    struct raft_event e = {.type = RAFT_RECEIVE};
    struct raft_append_entries *append_entries = &m->raft.append_entries;
    struct raft_entry *entries = NULL;

    if (m->raft.type == RAFT_APPEND_ENTRIES && append_entries->n_entries > 0) {
        unsigned n = append_entries->n_entries;
        uint64_t *batch = raft_malloc(n * sizeof(*batch));
        entries = malloc(n * sizeof(*entries));
        mrd_assert(batch != NULL && entries != NULL);
        for (unsigned k = 0; k < n; k++) {
            pack_one(&entries[k], &m->entries[k], batch, &batch[k]);
        }
        append_entries->entries = entries;
    }
    if (m->raft.type == RAFT_INSTALL_SNAPSHOT) {
        struct raft_install_snapshot *install = &m->raft.install_snapshot;
        voters(w, &install->conf);
        install->conf_index = 1;
        install->data.len = sizeof(m->image);
        install->data.base = raft_malloc(install->data.len);
        mrd_assert(install->data.base != NULL);
        memcpy(install->data.base, &m->image, install->data.len);
    }
    e.receive.message = &m->raft;
    tell_mended(w, i, m);
    w->regions[i].server.late = raft_late(&w->regions[i].server.raft, &m->raft);
    step(w, i, &e);
    w->regions[i].server.late = false;
    free(entries);
    sim_message_free(m);
}

void sim_server_written(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    struct raft_event e = {.type = RAFT_PERSISTED_ENTRIES};
    const struct sim_write *write = &s->writes[s->write_first];
    bool stale = write->stale;

    if (s->write_count == 0) {
        return; /* an image took its place */
    }
    e.persisted_entries.index = write->first + write->count - 1;
    land(s, write->count);
    if (!stale) {
        step(w, i, &e);
    }
}

void sim_server_installed(struct sim *w, unsigned i)
{
    struct sim_server *s = &w->regions[i].server;
    struct raft_event e = {.type = RAFT_PERSISTED_SNAPSHOT};

    while (s->write_count > 0) {
        land(s, s->writes[s->write_first].count);
    }
    s->image = s->coming;
    s->coming = (struct sim_image){0};
    s->disk.first = s->image.index + 1;
    s->disk.count = 0;
    restore(w, i);
    e.persisted_snapshot.metadata = (struct raft_snapshot_metadata){
        .index = s->image.index, .term = s->image.term, .configuration_index = 1};
    voters(w, &e.persisted_snapshot.metadata.configuration);
    e.persisted_snapshot.last = true;
    sim_tell(w, "%s: the store is restored from an image at entry %llu", sim_name(w, i),
             (unsigned long long)s->image.index);
    step(w, i, &e);
}

void sim_server_transfer(struct sim *w, unsigned i, unsigned to)
{
    struct raft_event e = {.type = RAFT_TRANSFER, .transfer = {(raft_id)to + 1}};

    if (sim_server_leads(w, i) && to != i) {
        step(w, i, &e);
    }
}

mrd_region sim_server_leader(const struct sim *w, unsigned i)
{
    raft_id id = 0;
    const char *address = NULL;

    if (!w->regions[i].server.open) {
        return MRD_REGION_NONE;
    }
    /* libraft's getters take it non-const. */
    raft_leader((struct raft *)&w->regions[i].server.raft, &id, &address);
    return id > 0 ? (mrd_region)(id - 1) : MRD_REGION_NONE;
}

bool sim_server_leads(const struct sim *w, unsigned i)
{
    struct raft *r = (struct raft *)&w->regions[i].server.raft;

    return w->regions[i].server.open && raft_state(r) == RAFT_LEADER && raft_transferee(r) == 0;
}

int sim_server_propose(struct sim *w, unsigned i, uint64_t payload, unsigned from,
                       uint64_t flight)
{
    struct sim_server *s = &w->regions[i].server;
    uint64_t *batch;
    struct raft_entry entry;
    struct raft_event e = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};

    if (!sim_server_leads(w, i) || s->pending_count == SIM_PENDING_MAX ||
        s->write_count + 1 >= SIM_WRITES_MAX) {
        return MRD_EUNAVAILABLE;
    }
    batch = raft_malloc(sizeof(*batch));
    mrd_assert(batch != NULL);
    pack_one(&entry, &(struct sim_entry){raft_current_term(&s->raft), payload}, batch, batch);
    s->pending[s->pending_count++] = (struct sim_pending){.index = last_of(&s->log) + 1,
                                                          .term = entry.term,
                                                          .from = (uint8_t)from,
                                                          .flight = flight};
    step(w, i, &e);
    return 0;
}
