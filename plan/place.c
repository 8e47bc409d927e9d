/*
 * Where to put a class: cost and latency of a placement, and the search for the best.
 *
 * Users are points: the cities of each country, weighted by the people near them. A user's
 * region is the nearest of those that may store their data. The search goes over every set of
 * candidates; latencies are only looked at when a set is cheaper than the best so far.
 */
#include <place.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/cost.h>
#include <mrd/latency.h>

#define MONTH_S (30.0 * 86400)
#define GB 1e9
#define OVERHEAD 0.1 /* framing and retransmission of replication */
#define FSYNC_MS 2.0 /* flush at the replica */
#define SHIP_S 0.05  /* the sender gathers changes */
#define CDN_MS 5.0   /* beyond the last mile to a CDN's edge */
#define REPLICA 0.75 /* least size of a database that applies every write */
#define PILOT_DATABASE 0.5

/* ---- the view ---- */

static void add_points(struct place *p, struct plan_data *data)
{
    const struct plan_workload *w = p->load;
    for (unsigned u = 0; u < w->user_count; u++) {
        const struct plan_country *c = &data->countries[w->users[u].country];
        for (int m = 0; m < c->metro_count; m++) {
            unsigned i = p->points++;
            p->weight[i] = w->users[u].share * c->metros[m].weight;
            p->country[i] = (short)u;
            double ms[PLAN_CANDIDATES_MAX];
            plan_user_rtts(data, &c->metros[m], w->candidates, p->candidates, ms);
            for (unsigned r = 0; r < p->candidates; r++) {
                p->ms[r][i] = ms[r];
            }
        }
    }
    data->sources[PLAN_SOURCE_METROS].used = data->sources[PLAN_SOURCE_COUNTRIES].used = true;
}

static void add_rules(struct place *p, struct plan_data *data)
{
    const struct plan_class *c = p->class;
    for (unsigned r = 0; r < p->candidates; r++) {
        const char *country = data->regions[p->load->candidates[r]].country;
        for (unsigned u = 0; u < p->load->user_count; u++) {
            const char *user = data->countries[p->load->users[u].country].iso2;
            p->allowed[r][u] = true;
            for (unsigned k = 0; k < c->residency_count; k++) {
                if (plan_in_bloc(data, user, c->residency[k].users)) {
                    p->allowed[r][u] &= plan_in_bloc(data, country, c->residency[k].stored);
                    data->sources[PLAN_SOURCE_BLOCS].used = true;
                }
            }
        }
    }
}

int place_new(struct plan_data *data, const struct plan_workload *load,
              const struct plan_class *class, struct place **ret, struct mrd_err *err)
{
    struct place *p = calloc(1, sizeof(*p));
    enum plan_source_id source;

    if (p == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    p->load = load;
    p->class = class;
    p->candidates = load->candidate_count;
    data->sources[PLAN_SOURCE_REGIONS].used = true;
    add_points(p, data);
    add_rules(p, data);
    for (unsigned a = 0; a < p->candidates; a++) {
        int ra = load->candidates[a];
        p->internet_gb[a] = load->internet_usd_gb >= 0 ? load->internet_usd_gb
                                                       : plan_usd_per_gb(data, ra, -1, &source);
        for (unsigned b = 0; b < p->candidates; b++) {
            int rb = load->candidates[b];
            p->rtt[a][b] = a == b ? 0 : plan_rtt_ms(data, ra, rb, NULL);
            p->usd_gb[a][b] = a == b ? 0
                              : load->transfer_usd_gb >= 0
                                  ? load->transfer_usd_gb
                                  : plan_usd_per_gb(data, ra, rb, &source);
        }
    }
    for (unsigned r = 0; r < p->candidates; r++) {
        for (unsigned i = 0; i < p->points; i++) {
            bool may = p->allowed[r][p->country[i]];
            p->legal_ms[r][i] = may ? (float)p->ms[r][i] : (float)PLACE_NEVER;
        }
    }
    *ret = p;
    return 0;
}

/* ---- latency ---- */

/** Does each record (or cell) have a home of its own near its users? */
static bool homes_are_local(enum plan_posture p)
{
    return p == PLAN_PARTITIONED || p == PLAN_CELLS;
}

static bool reads_are_local(enum plan_posture p)
{
    return p >= PLAN_READ_LOCAL;
}

/** The member of @s nearest to point @i that may store its data, or -1. */
static int nearest(const struct place *p, const struct place_set *s, unsigned i, int lost)
{
    int best = -1;
    if (s->near != NULL && lost < 0) {
        return s->near[i];
    }
    for (unsigned k = 0; k < s->n; k++) {
        if ((int)k != lost && p->allowed[s->at[k]][p->country[i]] &&
            (best < 0 || p->ms[s->at[k]][i] < p->ms[s->at[best]][i])) {
            best = (int)k;
        }
    }
    return best;
}

/** What a commit at member @home waits for. */
static double commit_ms(const struct place *p, const struct place_set *s,
                        const struct plan_result *r, int home, int lost)
{
    double rtt[PLAN_REPLICAS_MAX], ms = 0;
    size_t n = 0;

    if (!r->quorum) {
        return 0;
    }
    for (unsigned k = 0; k < s->n; k++) {
        if ((int)k != home && (int)k != lost) {
            rtt[n++] = p->rtt[s->at[home]][s->at[k]];
        }
    }
    size_t w = r->posture == PLAN_CELLS ? 2 : s->n / 2 + 1;
    return mrd_quorum_leader_ms(rtt, n, w, &ms) == 0 ? ms + FSYNC_MS : PLACE_NEVER;
}

void place_latency(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, unsigned i, int lost, double *ret_read,
                   double *ret_write)
{
    int near = nearest(p, s, i, lost);
    int home = s->home;

    if (lost == home) { /* the first of the others takes over */
        home = lost == 0 ? 1 : 0;
    }
    *ret_read = *ret_write = PLACE_NEVER;
    if (near < 0 || home >= (int)s->n) {
        return;
    }
    double to_near = p->ms[s->at[near]][i], to_home = p->ms[s->at[home]][i];
    double work = p->load->processing_ms;
    *ret_read = work + (reads_are_local(r->posture) ? to_near : to_home);
    if (r->posture == PLAN_READ_LOCAL) {
        double forwarded = to_near + p->rtt[s->at[near]][s->at[home]];
        *ret_write = work + fmin(to_home, forwarded) + commit_ms(p, s, r, home, lost);
    } else if (reads_are_local(r->posture)) {
        *ret_write = work + to_near + commit_ms(p, s, r, near, lost);
    } else {
        *ret_write = work + to_home + commit_ms(p, s, r, home, lost);
    }
}

/** From shares of the users in time to shares that count as kept. */
static void set_within(const struct plan_class *c, struct plan_result *r, double read,
                       double write)
{
    r->read_ok = r->cdn ? c->cacheable + (1 - c->cacheable) * read : read;
    /* Writes to records homed elsewhere count as late. */
    bool targeted = c->write_p95_ms != PLAN_NO_TARGET;
    r->write_ok = !targeted                           ? write
                  : homes_are_local(r->posture)       ? write * c->locality
                  : r->posture == PLAN_FOLLOW_THE_SUN ? write * c->daytime
                                                      : write;
}

/** Shares of the users whose reads and writes are within their targets. */
static void share_within(const struct place *p, const struct place_set *s,
                         struct plan_result *r)
{
    const struct plan_class *c = p->class;
    double commit[PLAN_REPLICAS_MAX], read = 0, write = 0;
    double read_ms =
        c->read_p95_ms != PLAN_NO_TARGET ? (double)c->read_p95_ms : PLACE_NEVER / 2;
    double write_ms =
        c->write_p95_ms != PLAN_NO_TARGET ? (double)c->write_p95_ms : PLACE_NEVER / 2;
    bool local = reads_are_local(r->posture), forwards = r->posture == PLAN_READ_LOCAL;
    const double *to_home = p->ms[s->at[s->home]];

    for (unsigned k = 0; k < s->n; k++) {
        commit[k] = commit_ms(p, s, r, (int)k, -1) + p->load->processing_ms;
    }
    for (unsigned i = 0; i < p->points; i++) {
        int near = nearest(p, s, i, -1);
        if (near < 0) {
            continue;
        }
        double to_near = p->ms[s->at[near]][i];
        double rd = p->load->processing_ms + (local ? to_near : to_home[i]), wr;
        if (forwards) {
            wr = fmin(to_home[i], to_near + p->rtt[s->at[near]][s->at[s->home]]) +
                 commit[s->home];
        } else {
            wr = local ? to_near + commit[near] : to_home[i] + commit[s->home];
        }
        read += rd <= read_ms ? p->weight[i] : 0;
        write += wr <= write_ms ? p->weight[i] : 0;
    }
    set_within(c, r, read, write);
}

/** Share of the users whose data a second member may hold. */
static double covered(const struct place *p, const struct place_set *s)
{
    double sum = 0;
    if (p->class->residency_count == 0) {
        return s->n > 1 ? 1 : 0;
    }
    for (unsigned u = 0; u < p->load->user_count; u++) {
        unsigned places = 0;
        for (unsigned k = 0; k < s->n; k++) {
            places += p->allowed[s->at[k]][u];
        }
        sum += places > 1 ? p->load->users[u].share : 0;
    }
    return sum;
}

/** Percentiles with member @lost gone, over the requests that users make. */
static void percentiles(const struct place *p, const struct place_set *s,
                        const struct plan_result *r, int lost, double ret[4])
{
    static double read[2 * PLACE_POINTS_MAX], weight[2 * PLACE_POINTS_MAX];
    static double write[PLACE_POINTS_MAX], write_weight[PLACE_POINTS_MAX];
    double cached = r->cdn ? p->class->cacheable : 0;

    for (unsigned i = 0; i < p->points; i++) {
        place_latency(p, s, r, i, lost, &read[i], &write[i]);
        weight[i] = p->weight[i] * (1 - cached);
        read[p->points + i] = MRD_LAST_MILE_MS + CDN_MS;
        weight[p->points + i] = p->weight[i] * cached;
        write_weight[i] = p->weight[i];
    }
    ret[0] = mrd_percentile(read, weight, 2 * (size_t)p->points, 0.5);
    ret[1] = mrd_percentile(read, weight, 2 * (size_t)p->points, 0.95);
    ret[2] = mrd_percentile(write, write_weight, p->points, 0.5);
    ret[3] = mrd_percentile(write, write_weight, p->points, 0.95);
}

/* ---- cost ---- */

static void user_shares(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    memset(r->share, 0, sizeof(r->share));
    if (!reads_are_local(r->posture)) {
        r->share[s->home] = 1;
        return;
    }
    for (unsigned i = 0; i < p->points; i++) {
        int near = nearest(p, s, i, -1);
        if (near >= 0) {
            r->share[near] += p->weight[i];
        }
    }
}

/** Running capacity over all regions, in units of the load. */
static double capacity(const struct plan_workload *w, const struct place_set *s,
                       const struct plan_result *r)
{
    double each[MRD_HEADROOM_MAX], sum = 0;

    if (r->posture == PLAN_SINGLE) {
        return 1;
    }
    if (r->posture == PLAN_PILOT_LIGHT) {
        return 1 + w->pilot_standby;
    }
    if (r->posture == PLAN_ACTIVE_PASSIVE) {
        return 1 + w->standby * (s->n - 1);
    }
    if (mrd_headroom_shares(r->share, s->n, 1, each) != 0) {
        return 2; /* one region has all of the users: another must be able to take them */
    }
    for (unsigned k = 0; k < s->n; k++) {
        sum += each[k];
    }
    return sum;
}

static double origin_gb(const struct plan_class *c, bool cdn)
{
    return c->reads_per_s * c->read_bytes * (cdn ? 1 - c->cacheable : 1) * MONTH_S / GB;
}

static void transfer_cost(const struct place *p, const struct place_set *s,
                          struct plan_result *r)
{
    const struct plan_class *c = p->class;
    double gb = c->writes_per_s * c->write_bytes * (1 + OVERHEAD) * MONTH_S / GB;
    bool spread = homes_are_local(r->posture) || r->posture == PLAN_ACTIVE_ACTIVE;
    double copies = 0;

    for (unsigned a = 0; a < s->n; a++) {
        double from = spread ? r->share[a] : (int)a == s->home ? 1 : 0, cheapest = INFINITY;
        for (unsigned b = 0; b < s->n; b++) {
            double usd = p->usd_gb[s->at[a]][s->at[b]];
            if (a == b) {
                continue;
            }
            cheapest = fmin(cheapest, usd);
            if (r->posture != PLAN_CELLS) {
                r->cost[PLAN_REPLICATION] += from * gb * usd;
                copies += from;
            }
        }
        if (r->posture == PLAN_CELLS && s->n > 1) { /* one other region stands behind a cell */
            r->cost[PLAN_REPLICATION] += from * gb * cheapest;
            copies += from;
        }
        if (r->posture == PLAN_READ_LOCAL && (int)a != s->home) {
            r->cost[PLAN_FORWARDING] += r->share[a] * gb * p->usd_gb[s->at[a]][s->at[s->home]];
        }
    }
    r->replication_mbit = gb * copies * GB * 8 / MONTH_S / 1e6;
}

static void cost(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    const struct plan_workload *w = p->load;
    const struct plan_class *c = p->class;
    double all = 0, mine = c->reads_per_s + c->writes_per_s, origin = mine;

    for (unsigned i = 0; i < w->class_count; i++) {
        all += w->classes[i].reads_per_s + w->classes[i].writes_per_s;
    }
    origin -= r->cdn ? c->reads_per_s * c->cacheable : 0;
    /* 0.35 and 0.15 USD per request/s and month: 50,000 USD for 100,000 requests/s. */
    double compute =
        w->compute_usd_month >= 0 ? w->compute_usd_month / all * origin : 0.35 * origin;
    double database =
        w->database_usd_month >= 0 ? w->database_usd_month / all * origin : 0.15 * origin;

    memset(r->cost, 0, sizeof(r->cost));
    r->cost[PLAN_COMPUTE] = compute;
    r->cost[PLAN_HEADROOM] = compute * (capacity(w, s, r) - 1);
    double copies = r->posture == PLAN_CELLS && s->n > 2 ? 1 : s->n - 1;
    r->cost[PLAN_DATABASE] =
        database * (1 + copies * (r->posture == PLAN_PILOT_LIGHT ? PILOT_DATABASE : REPLICA));
    r->cost[PLAN_STORAGE] = c->storage_gb * w->storage_usd_gb * (1 + copies);
    transfer_cost(p, s, r);
    for (unsigned k = 0; k < s->n; k++) {
        r->cost[PLAN_EGRESS] += r->share[k] * origin_gb(c, r->cdn) * p->internet_gb[s->at[k]];
    }
    r->cost[PLAN_CDN] = r->cdn ? (origin_gb(c, false) - origin_gb(c, true)) * w->cdn_usd_gb : 0;
    r->cost[PLAN_EDGE] = w->region_usd_month * s->n;
    r->total = 0;
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        r->total += r->cost[i];
    }
}

/* ---- one placement ---- */

/** What the search compares; the shares of the users are known. */
static void weigh(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    r->n = s->n;
    r->covered = covered(p, s);
    cost(p, s, r);
}

void place_evaluate(const struct place *p, const struct place_set *set, struct plan_result *r)
{
    struct place_set s = *set;
    double ms[4], rtt = 0;

    s.near = NULL;
    s.home = 0;
    s.at[0] = set->at[set->home];
    s.at[set->home] = set->at[0];
    for (unsigned k = 0; k < s.n; k++) {
        r->region[k] = p->load->candidates[s.at[k]];
        rtt = fmax(rtt, p->rtt[s.at[0]][s.at[k]]);
    }
    user_shares(p, &s, r);
    weigh(p, &s, r);
    share_within(p, &s, r);
    percentiles(p, &s, r, -1, ms);
    r->read_p50 = ms[0], r->read_p95 = ms[1], r->write_p50 = ms[2], r->write_p95 = ms[3];
    r->lost_read_p95 = r->lost_write_p95 = 0;
    for (unsigned k = 0; k < s.n && s.n > 1; k++) {
        percentiles(p, &s, r, (int)k, ms);
        r->lost_read_p95 = fmax(r->lost_read_p95, ms[1]);
        r->lost_write_p95 = fmax(r->lost_write_p95, ms[3]);
    }
    r->lag_s = s.n > 1 ? rtt / 2000 + SHIP_S : 0;
}

/* ---- the search ---- */

#define SEARCHES_MAX (2 * PLAN_POSTURES)
#define WEIGHT_ONE (1 << 30)
#define SLACK 1e-5 /* what rounding in the bounds may hide, as a share */
#define SLACK_MS 0.01F

struct search {
    struct plan_result best;
    struct place_set best_set;
    double best_missing; /* shares of users that are late or without a second region */
    bool found;
    unsigned least, most; /* regions */
};

struct walk {
    const struct place *p;
    unsigned count, most;
    int32_t weight[PLACE_POINTS_MAX]; /* in units of WEIGHT_ONE, for fast sums */
    /* shares that no set can exceed: of writes in time, by home; and of this set's users */
    double home_bound[PLAN_CANDIDATES_MAX];
    double near_read, near_write;
    bool near_known; /* they are of the present set */
    struct search searches[SEARCHES_MAX];
    /* at each depth: which member is nearest to each point, and how near */
    int near[PLAN_REPLICAS_MAX + 1][PLACE_POINTS_MAX];
    float near_ms[PLAN_REPLICAS_MAX + 1][PLACE_POINTS_MAX];
};

/** Sets that no rule of law forbids: every user's data has a place in it, and only such. */
static bool lawful(const struct place *p, const struct place_set *s, enum plan_posture posture)
{
    for (unsigned u = 0; p->class->residency_count > 0 && u < p->load->user_count; u++) {
        bool somewhere = false, everywhere = true;
        for (unsigned k = 0; k < s->n; k++) {
            somewhere |= p->allowed[s->at[k]][u];
            everywhere &= p->allowed[s->at[k]][u];
        }
        if (homes_are_local(posture) ? !somewhere : !everywhere) {
            return false;
        }
    }
    return true;
}

static double missing(const struct plan_class *c, const struct plan_result *r)
{
    double sum = (c->read_p95_ms != PLAN_NO_TARGET ? fmax(0, 0.95 - r->read_ok) : 0) +
                 (c->write_p95_ms != PLAN_NO_TARGET ? fmax(0, 0.95 - r->write_ok) : 0);
    if ((c->rto_ms != PLAN_NO_TARGET || c->availability_pct >= 0) &&
        r->posture != PLAN_SINGLE) {
        sum += 1 - r->covered;
    }
    return sum < 1e-9 ? 0 : sum;
}

/** Share of the weight whose time is within @limit, or a little more. */
static double within(const int32_t *weight, const float *ms, unsigned n, float limit)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += ms[i] <= limit ? weight[i] : 0;
    }
    return (double)sum / WEIGHT_ONE + SLACK;
}

static float limit_ms(const struct place *p, uint64_t target)
{
    double ms = target != PLAN_NO_TARGET ? (double)target : PLACE_NEVER / 2;
    return (float)(ms - p->load->processing_ms) + SLACK_MS;
}

/** Can no latency make @r better than the best so far? Asked before latencies are looked at. */
static bool hopeless(struct walk *w, const struct search *q, const struct place_set *s,
                     const struct plan_result *r)
{
    const struct place *p = w->p;
    struct plan_result bound;
    bool local = reads_are_local(r->posture);

    if (!q->found || (q->best_missing <= 0 && r->total >= q->best.total)) {
        return q->found;
    }
    if (!w->near_known) {
        const float *ms = w->near_ms[s->n];
        w->near_read = within(w->weight, ms, p->points, limit_ms(p, p->class->read_p95_ms));
        w->near_write = within(w->weight, ms, p->points, limit_ms(p, p->class->write_p95_ms));
        w->near_known = true;
    }
    double write =
        r->posture == PLAN_READ_LOCAL || !local ? w->home_bound[s->at[s->home]] : w->near_write;
    bound = *r;
    set_within(w->p->class, &bound, local ? w->near_read : 1, write);
    double least = missing(w->p->class, &bound);
    return least > q->best_missing || (least >= q->best_missing && r->total >= q->best.total);
}

static void consider(struct walk *w, struct search *q, const struct place_set *s,
                     const double *share)
{
    const struct place *p = w->p;
    struct plan_result r = q->best;

    memcpy(r.share, share, sizeof(r.share));
    if (!reads_are_local(r.posture)) {
        user_shares(p, s, &r);
    }
    weigh(p, s, &r);
    if (hopeless(w, q, s, &r)) {
        return;
    }
    share_within(p, s, &r);
    double late = missing(p->class, &r);
    if (!q->found || late < q->best_missing ||
        (late <= q->best_missing && r.total < q->best.total)) {
        q->found = true;
        q->best = r;
        q->best_set = *s;
        q->best_missing = late;
    }
}

/** A finished set: every search that takes its size, every home where homes differ. */
static void consider_all(struct walk *w, struct place_set *s)
{
    const struct place *p = w->p;
    /* Several sums, so that one addition need not wait for the one before. */
    double part[4][PLAN_REPLICAS_MAX + 1] = {{0}}, share[PLAN_REPLICAS_MAX + 1];

    s->near = w->near[s->n];
    for (unsigned i = 0; i < p->points; i++) {
        part[i % 4][s->near[i] + 1] += p->weight[i]; /* the first: those without a region */
    }
    for (unsigned k = 0; k <= PLAN_REPLICAS_MAX; k++) {
        share[k] = part[0][k] + part[1][k] + part[2][k] + part[3][k];
    }
    w->near_known = false;
    for (unsigned k = 0; k < w->count; k++) {
        struct search *q = &w->searches[k];
        enum plan_posture posture = q->best.posture;
        int homes = posture < PLAN_FOLLOW_THE_SUN ? (int)s->n : 1;
        if (s->n < q->least || s->n > q->most || !lawful(p, s, posture)) {
            continue;
        }
        for (s->home = 0; s->home < homes; s->home++) {
            consider(w, q, s, share + 1);
        }
    }
}

/** The nearest member of each point once candidate @c is the @n-th member, from 0. */
static void add_member(struct walk *w, int n, int c)
{
    const float *ms = w->p->legal_ms[c], *old_ms = w->near_ms[n];
    const int *old = w->near[n];
    float *new_ms = w->near_ms[n + 1];
    int *new = w->near[n + 1];

    for (unsigned i = 0; i < w->p->points; i++) {
        bool nearer = ms[i] < old_ms[i];
        new[i] = nearer ? n : old[i];
        new_ms[i] = nearer ? ms[i] : old_ms[i];
    }
}

static void extend(struct walk *w, struct place_set *s, unsigned from)
{
    if (s->n > 0) {
        consider_all(w, s);
    }
    for (unsigned c = from; c < w->p->candidates && s->n < w->most; c++) {
        add_member(w, (int)s->n, (int)c);
        s->at[s->n++] = (int)c;
        extend(w, s, c + 1);
        s->n--;
    }
}

/** The best that writes can do with each candidate as home, whatever stands beside it. */
static void bound_homes(struct walk *w)
{
    const struct place *p = w->p;
    float best[PLACE_POINTS_MAX];

    for (unsigned h = 0; h < p->candidates; h++) {
        for (unsigned i = 0; i < p->points; i++) {
            best[i] = (float)p->ms[h][i];
        }
        for (unsigned k = 0; k < p->candidates; k++) {
            for (unsigned i = 0; i < p->points; i++) {
                float forwarded = (float)(p->ms[k][i] + p->rtt[k][h]);
                best[i] = forwarded < best[i] ? forwarded : best[i];
            }
        }
        w->home_bound[h] =
            within(w->weight, best, p->points, limit_ms(p, p->class->write_p95_ms));
    }
}

static void start_walk(struct walk *w, const struct place *p)
{
    w->p = p;
    for (unsigned i = 0; i < p->points; i++) {
        w->weight[i] = (int32_t)(p->weight[i] * WEIGHT_ONE);
        w->near[0][i] = -1;
        w->near_ms[0][i] = (float)PLACE_NEVER;
    }
    bound_homes(w);
}

static void start_search(struct walk *w, const struct plan_result *r)
{
    struct search *q = &w->searches[w->count++];
    enum plan_posture posture = r->posture;

    q->best = *r;
    q->least = posture == PLAN_SINGLE ? 1 : r->quorum ? 3 : 2;
    q->most = posture == PLAN_SINGLE      ? 1
              : posture < PLAN_READ_LOCAL ? q->least
                                          : (unsigned)w->p->load->replicas_max;
    w->most = q->most > w->most ? q->most : w->most;
}

static void finish_search(const struct place *p, struct search *q, struct plan_result *r)
{
    if (!q->found) {
        r->refused = p->candidates < q->least || q->most < q->least
                         ? "there are too few regions to choose from"
                         : "no set of regions keeps the residency rules";
        r->missed |= PLAN_MISS_RESIDENCY;
        return;
    }
    *r = q->best;
    place_evaluate(p, &q->best_set, r);
}

void place_search(const struct place *p, struct plan_result *const *results, unsigned count)
{
    struct walk *w = calloc(1, sizeof(*w));
    struct place_set s = {0};

    mrd_assert(count <= SEARCHES_MAX);
    if (w != NULL) {
        start_walk(w, p);
    }
    for (unsigned k = 0; k < count; k++) {
        if (w == NULL) {
            results[k]->refused = "out of memory";
        } else if (results[k]->refused == NULL) {
            start_search(w, results[k]);
        }
    }
    if (w == NULL) {
        return;
    }
    extend(w, &s, 0);
    for (unsigned k = 0, at = 0; k < count; k++) {
        if (results[k]->refused == NULL) {
            finish_search(p, &w->searches[at++], results[k]);
        }
    }
    free(w);
}
