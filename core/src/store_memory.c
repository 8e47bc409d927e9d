/*
 * The in-memory backend (mrd/store_memory.h).
 *
 * One log holds what is committed, with the time of its commit. A replica that is reachable
 * from the leader applies each entry one link delay after that, or after the link came up. The
 * leader works through its requests in order; a request is committed once the nearest majority
 * could have answered. Everything is polled at mrd_memory_run, in a fixed order.
 */
#include <mrd/store_memory.h>

#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 256
#define NOBODY MRD_REGIONS_MAX

#define KEEP_NS 10000000000ull /* an answer that nobody asks for is dropped after this */

enum stage { FREE, TO_LEADER, AT_LEADER, ANSWER, ARRIVED };

struct request {
    enum stage stage;
    uint64_t ticket;
    unsigned from, leader;
    uint64_t due_ns; /* of the next stage */
    int rc;
    uint8_t *bytes; /* the encoded transaction */
    size_t len;
};

struct logged {
    uint8_t *bytes;
    size_t len;
    uint64_t commit_ns;
};

struct link {
    uint64_t delay_ns, since_ns;
    bool up;
};

struct replica {
    struct mrd_store *store;
    size_t applied; /* log entries */
    bool up, believes;
    unsigned leader; /* as it knows; NOBODY */
    uint64_t up_since_ns;
    uint64_t alone_since_ns; /* believes to lead, but has no majority; 0: it has one */
};

struct mrd_memory {
    unsigned count;
    uint64_t election_ns, random;
    unsigned lose_permille;
    struct replica replicas[MRD_REGIONS_MAX];
    struct link links[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    struct mrd_store *truth; /* gives each entry its result as it is committed */
    struct logged *log;
    size_t log_count, log_room;
    struct request requests[REQUESTS_MAX];
    uint64_t next_ticket, last_commit_ns;
    unsigned leader; /* the true one; NOBODY */
    uint64_t leader_since_ns, lost_since_ns, election_due_ns;
};

static uint64_t next_random(struct mrd_memory *m)
{
    /* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators") */
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return m->random * 2685821657736338717ull;
}

static bool lost(struct mrd_memory *m)
{
    return m->lose_permille > 0 && next_random(m) % 1000 < m->lose_permille;
}

struct mrd_memory *mrd_memory_new(unsigned replicas, uint32_t election_ms, uint64_t seed)
{
    struct mrd_memory *m = calloc(1, sizeof(*m));

    mrd_assert(replicas > 0 && replicas <= MRD_REGIONS_MAX);
    if (m == NULL) {
        return NULL;
    }
    m->count = replicas;
    m->election_ns = (uint64_t)election_ms * 1000000u;
    m->random = seed * 2654435769u + 88172645463325252ull;
    m->leader = NOBODY;
    m->truth = mrd_store_new();
    for (unsigned i = 0; i < replicas; i++) {
        m->replicas[i] = (struct replica){mrd_store_new(), 0, true, false, NOBODY, 0, 0};
        for (unsigned j = 0; j < replicas; j++) {
            m->links[i][j].up = true;
        }
    }
    for (unsigned i = 0; i < replicas; i++) {
        if (m->replicas[i].store == NULL || m->truth == NULL) {
            mrd_memory_free(m);
            return NULL;
        }
    }
    return m;
}

void mrd_memory_free(struct mrd_memory *m)
{
    if (m == NULL) {
        return;
    }
    for (unsigned i = 0; i < m->count; i++) {
        mrd_store_free(m->replicas[i].store);
    }
    for (size_t i = 0; i < m->log_count; i++) {
        free(m->log[i].bytes);
    }
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        free(m->requests[i].bytes);
    }
    free(m->log);
    mrd_store_free(m->truth);
    free(m);
}

struct mrd_store *mrd_memory_store(struct mrd_memory *m, unsigned replica)
{
    return m->replicas[replica].store;
}

/* ---- faults ---- */

void mrd_memory_link(struct mrd_memory *m, unsigned from, unsigned to, uint64_t delay_ns,
                     bool up, uint64_t now_ns)
{
    struct link *l = &m->links[from][to];

    if (up && !l->up) {
        l->since_ns = now_ns;
    }
    l->up = up;
    l->delay_ns = delay_ns;
}

void mrd_memory_up(struct mrd_memory *m, unsigned replica, bool up, uint64_t now_ns)
{
    if (up && !m->replicas[replica].up) {
        m->replicas[replica].up_since_ns = now_ns;
    }
    m->replicas[replica].up = up;
}

void mrd_memory_lose(struct mrd_memory *m, unsigned permille)
{
    m->lose_permille = permille;
}

static bool passes(const struct mrd_memory *m, unsigned from, unsigned to)
{
    return m->replicas[from].up && m->replicas[to].up && (from == to || m->links[from][to].up);
}

static bool both_ways(const struct mrd_memory *m, unsigned a, unsigned b)
{
    return passes(m, a, b) && passes(m, b, a);
}

static bool has_majority(const struct mrd_memory *m, unsigned i)
{
    unsigned n = 0;

    for (unsigned j = 0; j < m->count; j++) {
        n += both_ways(m, i, j);
    }
    return 2 * n > m->count;
}

/* Round trip to the nearest majority. */
static uint64_t majority_rtt_ns(const struct mrd_memory *m, unsigned i)
{
    uint64_t rtts[MRD_REGIONS_MAX];
    unsigned n = 0, need = m->count / 2;

    for (unsigned j = 0; j < m->count; j++) {
        uint64_t rtt;
        unsigned at = n;
        if (j == i || !both_ways(m, i, j)) {
            continue;
        }
        rtt = m->links[i][j].delay_ns + m->links[j][i].delay_ns;
        while (at > 0 && rtts[at - 1] > rtt) {
            rtts[at] = rtts[at - 1];
            at--;
        }
        rtts[at] = rtt;
        n++;
    }
    return need == 0 || n < need ? 0 : rtts[need - 1];
}

/* ---- leaders ---- */

static void lead(struct mrd_memory *m, unsigned i, uint64_t now_ns)
{
    m->leader = i;
    m->leader_since_ns = now_ns;
    m->lost_since_ns = m->election_due_ns = 0;
    m->replicas[i].believes = true;
    m->replicas[i].leader = i;
    m->replicas[i].alone_since_ns = 0;
}

/* What a lost leader had not finished: a random part of it was committed, the rest is gone. */
static void commit_request(struct mrd_memory *m, struct request *q, uint64_t at_ns);

static struct request *oldest_at_leader(struct mrd_memory *m)
{
    struct request *oldest = NULL;

    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        struct request *q = &m->requests[i];
        if (q->stage == AT_LEADER &&
            (oldest == NULL || q->due_ns < oldest->due_ns ||
             (q->due_ns == oldest->due_ns && q->ticket < oldest->ticket))) {
            oldest = q;
        }
    }
    return oldest;
}

static void release(struct request *q)
{
    free(q->bytes);
    *q = (struct request){.stage = FREE};
}

static void settle_unfinished(struct mrd_memory *m, uint64_t now_ns)
{
    bool survive = next_random(m) % 2 == 0;
    struct request *q;

    while ((q = oldest_at_leader(m)) != NULL) {
        if (survive) {
            commit_request(m, q, now_ns);
        }
        release(q); /* the answer never comes */
        survive = survive && next_random(m) % 2 == 0;
    }
}

void mrd_memory_transfer(struct mrd_memory *m, unsigned replica, uint64_t now_ns)
{
    if (m->replicas[replica].up && has_majority(m, replica) && m->leader != replica) {
        if (m->leader != NOBODY) {
            m->replicas[m->leader].believes = false;
        }
        settle_unfinished(m, now_ns);
        lead(m, replica, now_ns);
    }
}

static void elect(struct mrd_memory *m, uint64_t now_ns)
{
    unsigned start = (unsigned)(next_random(m) % m->count);

    for (unsigned k = 0; k < m->count; k++) {
        unsigned i = (start + k) % m->count;
        if (m->replicas[i].up && has_majority(m, i)) {
            settle_unfinished(m, now_ns);
            lead(m, i, now_ns);
            return;
        }
    }
}

/* Followers notice after one to two election timeouts, and need a little to agree. */
static void watch_leader(struct mrd_memory *m, uint64_t now_ns)
{
    if (m->leader != NOBODY && m->replicas[m->leader].up && has_majority(m, m->leader)) {
        m->lost_since_ns = 0;
        return;
    }
    if (m->lost_since_ns == 0) {
        m->lost_since_ns = now_ns;
        m->election_due_ns = now_ns + m->election_ns * (140 + next_random(m) % 60) / 100;
        if (m->leader == NOBODY) {
            m->election_due_ns = now_ns + m->election_ns / 4;
        }
    }
    if (now_ns >= m->election_due_ns) {
        elect(m, now_ns);
    }
}

/* Who believes what: a leader without a majority steps down after a timeout of its own. */
static void update_beliefs(struct mrd_memory *m, uint64_t now_ns)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct replica *r = &m->replicas[i];
        if (!r->up) {
            continue;
        }
        if (m->leader != NOBODY && passes(m, m->leader, i) &&
            now_ns >= m->leader_since_ns + m->links[m->leader][i].delay_ns) {
            r->leader = m->leader;
            r->believes = m->leader == i;
        }
        if (!r->believes || has_majority(m, i)) {
            r->alone_since_ns = 0;
        } else if (r->alone_since_ns == 0) {
            r->alone_since_ns = now_ns;
        } else if (now_ns - r->alone_since_ns >= m->election_ns) {
            r->believes = false;
        }
    }
}

int mrd_memory_leader(const struct mrd_memory *m, unsigned replica)
{
    unsigned leader = m->replicas[replica].leader;

    return leader == NOBODY ? -1 : (int)leader;
}

bool mrd_memory_leads(const struct mrd_memory *m, unsigned replica)
{
    return m->replicas[replica].up && m->replicas[replica].believes;
}

/* ---- requests ---- */

uint64_t mrd_memory_propose(struct mrd_memory *m, unsigned replica, const struct mrd_txn *txn,
                            uint64_t now_ns)
{
    unsigned leader = m->replicas[replica].leader;
    struct request *q = NULL;
    struct mrd_buf b;

    for (size_t i = 0; i < REQUESTS_MAX && q == NULL; i++) {
        q = m->requests[i].stage == FREE ? &m->requests[i] : NULL;
    }
    if (q == NULL || leader == NOBODY || !m->replicas[replica].up) {
        return 0;
    }
    q->bytes = malloc(MRD_TXN_MAX);
    if (q->bytes == NULL) {
        return 0;
    }
    b = mrd_buf_writer(q->bytes, MRD_TXN_MAX);
    if (mrd_txn_encode(txn, &b) != 0) {
        release(q);
        return 0;
    }
    q->len = b.pos;
    q->ticket = ++m->next_ticket;
    q->from = replica;
    q->leader = leader;
    q->due_ns = now_ns + (leader == replica ? 0 : m->links[replica][leader].delay_ns);
    q->stage = TO_LEADER;
    if (lost(m) || (leader != replica && !m->links[replica][leader].up)) {
        release(q);
        return m->next_ticket;
    }
    return q->ticket;
}

static void apply_bytes(struct mrd_store *s, const uint8_t *bytes, size_t len, int *ret_rc)
{
    static struct mrd_txn txn; /* too big for a stack; used up within this call */
    struct mrd_buf b = mrd_buf_reader(bytes, len);
    int rc = mrd_txn_decode(&b, &txn);

    *ret_rc = rc != 0 ? rc : mrd_store_apply(s, &txn, NULL);
}

static void log_append(struct mrd_memory *m, const uint8_t *bytes, size_t len, uint64_t at_ns)
{
    struct logged *e;

    if (m->log_count == m->log_room) {
        m->log_room = m->log_room > 0 ? 2 * m->log_room : 256;
        m->log = realloc(m->log, m->log_room * sizeof(*m->log));
        mrd_assert(m->log != NULL);
    }
    e = &m->log[m->log_count++];
    *e = (struct logged){malloc(len), len, at_ns};
    mrd_assert(e->bytes != NULL);
    memcpy(e->bytes, bytes, len);
}

static void commit_request(struct mrd_memory *m, struct request *q, uint64_t at_ns)
{
    apply_bytes(m->truth, q->bytes, q->len, &q->rc);
    m->last_commit_ns = at_ns > m->last_commit_ns ? at_ns : m->last_commit_ns;
    /* A refused transaction changes no replica: its entry need not be kept. */
    if (q->rc == 0) {
        log_append(m, q->bytes, q->len, m->last_commit_ns);
    }
}

static void arrive(struct mrd_memory *m, struct request *q, uint64_t now_ns)
{
    if (q->leader != m->leader || !passes(m, q->from, q->leader) ||
        !has_majority(m, q->leader)) {
        release(q);
        return;
    }
    q->stage = AT_LEADER;
    q->due_ns = now_ns + majority_rtt_ns(m, q->leader);
}

static void finish_request(struct mrd_memory *m, struct request *q, uint64_t now_ns)
{
    if (q->leader != m->leader || !m->replicas[q->leader].up || !has_majority(m, q->leader)) {
        return; /* it waits: for the majority to come back, or for the next election */
    }
    commit_request(m, q, now_ns);
    if (lost(m) || !passes(m, q->leader, q->from)) {
        release(q);
        return;
    }
    q->stage = ANSWER;
    q->due_ns = now_ns + (q->leader == q->from ? 0 : m->links[q->leader][q->from].delay_ns);
}

bool mrd_memory_outcome(struct mrd_memory *m, uint64_t ticket, int *ret_rc)
{
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        struct request *q = &m->requests[i];
        if (q->stage == ARRIVED && q->ticket == ticket) {
            *ret_rc = q->rc;
            release(q);
            return true;
        }
    }
    return false;
}

static void run_requests(struct mrd_memory *m, uint64_t now_ns)
{
    struct request *q;

    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        q = &m->requests[i];
        if (q->stage == TO_LEADER && q->due_ns <= now_ns) {
            arrive(m, q, now_ns);
        } else if (q->stage == ANSWER && q->due_ns <= now_ns) {
            q->stage = ARRIVED;
            if (!m->replicas[q->from].up) {
                release(q);
            }
        } else if (q->stage == ARRIVED && q->due_ns + KEEP_NS <= now_ns) {
            release(q);
        }
    }
    while ((q = oldest_at_leader(m)) != NULL && q->due_ns <= now_ns) {
        finish_request(m, q, now_ns);
        if (q->stage == AT_LEADER) {
            break;
        }
    }
}

/* ---- replicas ---- */

static void follow(struct mrd_memory *m, unsigned i, uint64_t now_ns)
{
    struct replica *r = &m->replicas[i];
    const struct link *l;
    uint64_t from_ns;

    if (!r->up || m->leader == NOBODY || !passes(m, m->leader, i)) {
        return;
    }
    l = &m->links[m->leader][i];
    from_ns = l->since_ns > r->up_since_ns ? l->since_ns : r->up_since_ns;
    if (i != m->leader && m->leader_since_ns > from_ns) {
        from_ns = m->leader_since_ns;
    }
    while (r->applied < m->log_count) {
        const struct logged *e = &m->log[r->applied];
        uint64_t sent_ns = e->commit_ns > from_ns ? e->commit_ns : from_ns;
        int rc;
        if (i != m->leader && now_ns < sent_ns + l->delay_ns) {
            break;
        }
        r->applied++;
        apply_bytes(r->store, e->bytes, e->len, &rc);
        mrd_assert(rc == 0); /* it succeeded on the same state before */
    }
}

void mrd_memory_run(struct mrd_memory *m, uint64_t now_ns)
{
    watch_leader(m, now_ns);
    update_beliefs(m, now_ns);
    run_requests(m, now_ns);
    for (unsigned i = 0; i < m->count; i++) {
        follow(m, i, now_ns);
    }
}
