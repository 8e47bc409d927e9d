/*
 * The best placement: every set of candidates, every home in it, and none of them tried in
 * vain.
 *
 * The cheapest set is the one that is late for the fewest users, and of those the cheapest (the
 * first one of equals, fewer regions before more). A second walk over the sets of its size
 * takes the nearest to the users of those that are as good and cost little more: between two
 * places that cost almost the same nobody would take the farther one. Each walk goes by size,
 * and within a size depth first, so that what is near to whom is worked out once for all sets
 * that begin alike. A set is left out only when it cannot win, which two bounds say:
 *
 * 1. Cost. Of one size, all that differs is where users and copies are. Users are shared out
 *    among the members, so what goes to users and from the writers to the other copies costs at
 *    least the whole of it at the member where that is cheapest. Any one region may be lost, so
 *    the others hold the load without it: sum - capacity_i >= 1 for each i of n, hence
 *    sum >= n / (n - 1); unless the law lets none of them hold some of it.
 * 2. Latency. Let f(S) be the share of the users with some member of S in time. Of the users
 *    that b adds to S + a, each was also without S, so f(S+a+b) - f(S+a) <= f(S+b) - f(S). With
 *    f known for S and all S + x, f(S+a+b) <= f(S+a) + f(S+b) - f(S). A commit's wait and
 *    homes elsewhere only make writes later; a home's own writes are bounded by the nearest way
 *    to it through any candidate. Of a whole set it is known what its commits wait for, at each
 *    home, and how far it is to one through the members: both before it is weighed, and shared
 *    by all postures that have the same homes and copies.
 * 3. Distance, for the second walk. The same holds for the users' mean distance to the nearest
 *    member: of what b shortens for S + a, it shortens as much or more for S. No request is
 *    faster than the way to the nearest member.
 *
 * A set whose bounds are not better than the best so far is not looked at. What is compared in
 * the end is worked out by place.c, whole. tests/unit/test_plan_search.c tries every set.
 */
#include <place.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEARCHES_MAX (2 * PLAN_POSTURES)
#define WEIGHT_ONE (1 << 30)
#define SLACK 1e-5 /* what rounding in the bounds may hide, as a share */
#define SLACK_MS 0.01F
#define SLACK_MEAN 0.05 /* ms */
#define SLACK_USD (1 - 1e-9)
#define ALL_SERVED_MS 1e4 /* a mean above that has a PLACE_NEVER in it, and no digits left */

struct search {
    struct plan_result best, trial; /* the set that is looked at */
    struct place_set best_set;
    double best_missing; /* shares of users that are late or without a second region */
    bool found;
    unsigned least, most; /* regions */
    double floor;         /* no set of the present size is cheaper, wherever it is */
    double set_floor;     /* the present set is not cheaper, whatever its home */
    double cap;           /* in the second walk: what the nearest may cost */
};

enum commits { TO_ALL, TO_CELL, COMMITS };    /* who has what a home of its own commits */
enum target { READS, WRITES, HITS, TARGETS }; /* hits: reads answered from an edge's cache */

struct walk {
    const struct place *p;
    unsigned count, most;
    unsigned size;                    /* of the sets looked at now */
    bool nearer;                      /* the second walk */
    int32_t weight[PLACE_POINTS_MAX]; /* in units of WEIGHT_ONE, for fast sums */
    float weight_f[PLACE_POINTS_MAX];
    double origin_gb[2], written_gb; /* without and with a CDN */
    float limit[TARGETS];
    bool limited[TARGETS];
    /* By home, at most: the shares of the writes, and of reads that edges pass on, in time. */
    double home_bound[PLAN_CANDIDATES_MAX], home_reads[PLAN_CANDIDATES_MAX];
    float home_ms[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX]; /* the shortest way to it */
    float home_sorted[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX];
    double home_share[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX + 1]; /* of so many of these */
    double home_mean[PLAN_CANDIDATES_MAX];                        /* the mean of home_ms */
    double users_ms[PLAN_CANDIDATES_MAX]; /* from all users, on average */
    struct search searches[SEARCHES_MAX];
    /* Of the present set, when they have been asked for: */
    bool shares_known, writes_known, commits_known[COMMITS];
    double share[PLAN_REPLICAS_MAX];
    struct place_writes writes;
    double in_time[COMMITS], commit_ms[COMMITS]; /* of writes at their homes; the mean */
    /* At each depth: which member is nearest to each point, and how near; the share of the
     * users in time, and what each candidate would add to it. */
    int near[PLAN_REPLICAS_MAX + 1][PLACE_POINTS_MAX];
    float near_ms[PLAN_REPLICAS_MAX + 1][PLACE_POINTS_MAX];
    double reached[PLAN_REPLICAS_MAX + 1][TARGETS];
    double gain[PLAN_REPLICAS_MAX + 1][PLAN_CANDIDATES_MAX][TARGETS];
    /* In the second walk: the mean distance, and what each candidate would take off it. */
    double mean_ms[PLAN_REPLICAS_MAX + 1];
    double shorter_ms[PLAN_REPLICAS_MAX + 1][PLAN_CANDIDATES_MAX];
};

bool place_lawful(const struct place *p, const struct place_set *s, enum plan_posture posture)
{
    uint64_t all = ~UINT64_C(0) >> (64 - p->load->user_count), some = 0, every = all;
    bool hub = posture != PLAN_HUB;

    for (unsigned k = 0; k < s->n; k++) {
        some |= p->users[s->at[k]];
        every &= p->users[s->at[k]];
        hub |= p->users[s->at[k]] == all;
    }
    return hub && (place_homes_are_local(posture) ? some : every) == all;
}

unsigned place_sizes(const struct place *p, const struct plan_result *r, unsigned *ret_least)
{
    unsigned least = r->posture == PLAN_SINGLE ? 1 : r->quorum ? 3 : 2;

    *ret_least = r->posture == PLAN_EDGE_HIERARCHY     ? least + 1
                 : r->posture == PLAN_HUB && least < 3 ? 3
                                                       : least;
    return place_serves_nearby(r->posture) ? (unsigned)p->load->replicas_max : least;
}

/* ---- bounds ---- */

/** What no set of @n regions can be cheaper than, transfer left out. */
static double size_floor(const struct place *p, const struct plan_result *r, unsigned n)
{
    struct plan_result of_size = {
        .posture = r->posture, .cdn = r->cdn, .quorum = r->quorum, .n = n};
    unsigned held = place_held(r, n);
    double running = r->posture == PLAN_SINGLE            ? 1
                     : r->posture == PLAN_PILOT_LIGHT     ? 1 + p->load->pilot_standby
                     : !place_reads_are_local(r->posture) ? 1 + p->load->standby * (held - 1)
                     : place_divides(p, r->posture)       ? 1
                                                          : (double)n / (n - 1);
    double copies = place_divides(p, r->posture) ? 0
                    : r->posture == PLAN_CELLS   ? PLACE_CELL_COPIES(r->quorum)
                                                 : held - 1;
    double sum = 0;

    place_cost_of_size(p, &of_size, running, copies);
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        sum += of_size.cost[i];
    }
    return sum;
}

/* fmin() is a call, for the sake of NANs that are not here. */
static double lesser(double a, double b)
{
    return a < b ? a : b;
}

/** What a GB written at member @k costs at least on its way to the other copies. */
static double copies_usd_gb(const struct place *p, const struct place_set *s, unsigned k,
                            const struct plan_result *r)
{
    double sum = 0, least = INFINITY;

    if (s->n == 1 || place_divides(p, r->posture) || r->posture == PLAN_HUB) {
        return 0;
    }

    for (unsigned b = 0; b < s->n; b++) {
        if (b != k) {
            sum += p->usd_gb[s->at[k]][s->at[b]];
            least = lesser(least, p->usd_gb[s->at[k]][s->at[b]]);
        }
    }
    return r->posture == PLAN_CELLS            ? least * PLACE_CELL_COPIES(r->quorum)
           : r->posture == PLAN_EDGE_HIERARCHY ? least * (place_held(r, s->n) - 1)
                                               : sum;
}

/** What @s cannot be cheaper than, whatever its home. */
static double set_floor(const struct walk *w, const struct search *q, const struct place_set *s)
{
    double least = INFINITY, least_copies = INFINITY, least_users = INFINITY;

    for (unsigned k = 0; k < s->n; k++) {
        double copies = w->written_gb * copies_usd_gb(w->p, s, k, &q->best);
        double users = w->origin_gb[q->best.cdn] * w->p->internet_gb[s->at[k]];
        least = lesser(least, copies + users);
        least_copies = lesser(least_copies, copies);
        least_users = lesser(least_users, users);
    }
    /* A home for all and the users near them may be different members. */
    bool apart = q->best.posture == PLAN_READ_LOCAL || q->best.posture == PLAN_EDGE_HIERARCHY;
    double there = apart ? least_copies + least_users : least;
    return (q->floor + there) * SLACK_USD;
}

/* The loops over points have no jumps and no pointers that may alias, for vector units. Where
 * the processor has wider ones than every machine, they are used; sums keep their order, so
 * that the answer is the same. */
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

/** Share of the weight whose time is within @limit. */
WIDE static double within(const int32_t *restrict weight, const float *restrict ms, unsigned n,
                          float limit)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += weight[i] & -(int32_t)(ms[i] <= limit);
    }
    return (double)sum / WEIGHT_ONE;
}

/** The same, of those that are not within it by @before. */
WIDE static double within_anew(const int32_t *restrict weight, const float *restrict before,
                               const float *restrict ms, unsigned n, float limit)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += weight[i] & -(int32_t)((ms[i] <= limit) & (before[i] > limit));
    }
    return (double)sum / WEIGHT_ONE;
}

/** The same, of times at the nearest member and what each member adds; [-1]: where there is
 * none. */
WIDE static double within_after(const int32_t *restrict weight, const float *restrict ms,
                                const int *restrict near, const float *restrict more,
                                unsigned n, float limit)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += weight[i] & -(int32_t)(ms[i] + more[near[i]] <= limit);
    }
    return (double)sum / WEIGHT_ONE;
}

/** The same, or straight, whichever is nearer. */
WIDE static double within_either(const int32_t *restrict weight, const float *restrict straight,
                                 const float *restrict ms, const int *restrict near,
                                 const float *restrict more, unsigned n, float limit)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum +=
            weight[i] & -(int32_t)((ms[i] + more[near[i]] <= limit) | (straight[i] <= limit));
    }
    return (double)sum / WEIGHT_ONE;
}

/** The users' mean distance. */
WIDE static double mean(const float *restrict weight, const float *restrict ms, unsigned n)
{
    double sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += (double)(weight[i] * ms[i]);
    }
    return sum;
}

/** How much nearer the users would be on average with @ms beside @before. */
WIDE static double shortened(const float *restrict weight, const float *restrict before,
                             const float *restrict ms, unsigned n)
{
    float sum[8] = {0}; /* so that one addition need not wait for the one before */
    unsigned i = 0;

    for (; i + 8 <= n; i += 8) {
        for (unsigned k = 0; k < 8; k++) {
            float less = before[i + k] - ms[i + k];
            sum[k] += weight[i + k] * (less > 0 ? less : 0);
        }
    }
    for (; i < n; i++) {
        sum[0] += weight[i] * (before[i] > ms[i] ? before[i] - ms[i] : 0);
    }
    return (double)(sum[0] + sum[1] + sum[2] + sum[3]) +
           (double)(sum[4] + sum[5] + sum[6] + sum[7]);
}

/** What each candidate from @from on would add at this depth. */
static void find_gains(struct walk *w, unsigned depth, unsigned from)
{
    const struct place *p = w->p;
    for (int t = READS; t < TARGETS; t++) {
        for (unsigned c = from; w->limited[t] && c < p->candidates; c++) {
            w->gain[depth][c][t] = within_anew(w->weight, w->near_ms[depth], p->legal_ms[c],
                                               p->points, w->limit[t]);
        }
    }
    for (unsigned c = from; w->nearer && c < p->candidates; c++) {
        w->shorter_ms[depth][c] =
            shortened(w->weight_f, w->near_ms[depth], p->legal_ms[c], p->points);
    }
}

/** What a placement reaches at most: shares of the users in time, and of them by their home. */
struct reach {
    double of[TARGETS];           /* by the nearest member */
    double home_write, home_read; /* by the best way to the home */
};

/** Can a placement that reaches no more, and costs at least @floor, not be the best? */
static bool beaten(const struct walk *w, const struct search *q, const struct reach *reach,
                   double floor, double least_ms)
{
    enum plan_posture posture = q->best.posture;
    struct plan_result bound;
    bool edges = posture == PLAN_EDGE_HIERARCHY;
    bool local = place_reads_are_local(posture);

    if (!q->found || (!w->nearer && q->best_missing <= 0 && floor >= q->best.total)) {
        return q->found;
    }
    if (w->nearer && (floor > q->cap || least_ms > q->best.mean_ms + SLACK_MEAN)) {
        return true;
    }
    bound.posture = posture;
    bound.cdn = q->best.cdn;
    bound.covered = 1;
    place_set_within(w->p->class, &bound,
                     local   ? fmin(1, reach->of[READS] + SLACK)
                     : edges ? reach->home_read
                             : 1,
                     posture == PLAN_READ_LOCAL || !local ? reach->home_write
                                                          : fmin(1, reach->of[WRITES] + SLACK),
                     edges ? fmin(1, reach->of[HITS] + SLACK) : 1);
    double least = place_missing(w->p->class, &bound);
    return least > q->best_missing ||
           (!w->nearer && least >= q->best_missing && floor >= q->best.total);
}

struct way {
    float ms;
    int32_t weight;
};

static int by_ms(const void *a, const void *b)
{
    const struct way *x = a, *y = b;

    return (x->ms > y->ms) - (x->ms < y->ms);
}

/** ->home_ms[h] in order, and the shares of the users up to each. */
static void sort_home(struct walk *w, unsigned h)
{
    struct way ways[PLACE_POINTS_MAX];
    int64_t sum = 0;

    for (unsigned i = 0; i < w->p->points; i++) {
        ways[i] = (struct way){w->home_ms[h][i], w->weight[i]};
    }
    /* cppcheck-suppress uninitvar ; as many as there are points were just set */
    qsort(ways, w->p->points, sizeof(*ways), by_ms);
    for (unsigned i = 0; i < w->p->points; i++) {
        sum += ways[i].weight;
        w->home_sorted[h][i] = ways[i].ms;
        w->home_share[h][i + 1] = (double)sum / WEIGHT_ONE;
    }
}

/** Share of the users that are within @limit of @h at best. */
static double within_home(const struct walk *w, int h, float limit)
{
    unsigned low = 0, high = w->p->points;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (w->home_sorted[h][middle] <= limit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return fmin(1, w->home_share[h][low] + SLACK);
}

/** The best that can be done with each candidate as home, whatever stands beside it. */
static void bound_homes(struct walk *w)
{
    const struct place *p = w->p;

    for (unsigned h = 0; h < p->candidates; h++) {
        float *best = w->home_ms[h];
        for (unsigned i = 0; i < p->points; i++) {
            best[i] = (float)p->ms[h][i];
        }
        w->users_ms[h] = mean(w->weight_f, best, p->points);
        for (unsigned k = 0; k < p->candidates; k++) {
            for (unsigned i = 0; i < p->points; i++) {
                float forwarded = (float)(p->ms[k][i] + p->rtt[k][h]);
                best[i] = forwarded < best[i] ? forwarded : best[i];
            }
        }
        w->home_mean[h] = mean(w->weight_f, best, p->points);
        sort_home(w, h);
        w->home_bound[h] = within_home(w, (int)h, w->limit[WRITES]);
        w->home_reads[h] = within_home(w, (int)h, w->limit[READS]);
    }
}

/* ---- one set ---- */

/** Nearer to the users than the best so far; of equals, with the members that stand by. */
static bool nearer(const struct walk *w, const struct place_set *s, const struct plan_result *r,
                   const struct search *q)
{
    double all = 0, best = 0;

    for (unsigned k = 0; k < s->n; k++) {
        all += w->users_ms[s->at[k]];
        best += w->users_ms[q->best_set.at[k]];
    }
    return r->mean_ms < q->best.mean_ms || (r->mean_ms <= q->best.mean_ms && all < best);
}

/** Those of the users at each member, of what add_member() found. */
static void share_out(struct walk *w, const struct place_set *s)
{
    /* Several sums, so that one addition need not wait for the one before. */
    double part[4][PLAN_REPLICAS_MAX + 1] = {{0}}; /* the first: those without a region */
    const int *near = w->near[s->n];

    for (unsigned i = 0; !w->shares_known && i < w->p->points; i++) {
        part[i % 4][near[i] + 1] += w->p->weight[i];
    }
    for (unsigned k = 0; !w->shares_known && k < PLAN_REPLICAS_MAX; k++) {
        w->share[k] = part[0][k + 1] + part[1][k + 1] + part[2][k + 1] + part[3][k + 1];
    }
    w->shares_known = true;
}

/** What commits at the writers' own homes wait for: the share in time, the mean. */
static void wait_at_homes(struct walk *w, const struct place_set *s,
                          const struct plan_result *r, enum commits which)
{
    float wait[PLAN_REPLICAS_MAX + 1] = {0};

    share_out(w, s);
    w->commit_ms[which] = 0;
    for (unsigned k = 0; k < s->n; k++) {
        double ms = place_commit_ms(w->p, s, r, (int)k, -1);
        w->commit_ms[which] += w->share[k] * ms;
        wait[k + 1] = (float)ms;
    }
    w->in_time[which] = within_after(w->weight, w->near_ms[s->n], w->near[s->n], wait + 1,
                                     w->p->points, w->limit[WRITES]);
}

/** Homes of their own: what bounds writes by the nearest member, and their mean wait. */
static double bound_local(struct walk *w, const struct place_set *s,
                          const struct plan_result *r, bool hub_known, struct reach *reach)
{
    enum commits which = r->posture == PLAN_CELLS ? TO_CELL : TO_ALL;
    bool hub = r->posture == PLAN_HUB;

    if (!r->quorum || (hub && !hub_known)) {
        return 0;
    }
    if (hub || !w->commits_known[which]) {
        wait_at_homes(w, s, r, which);
        w->commits_known[which] = !hub;
    }
    reach->of[WRITES] = w->limited[WRITES] ? w->in_time[which] : 1;
    return w->commit_ms[which];
}

/** One home: no way to it is shorter than the shortest through any candidate. */
static double bound_home(const struct walk *w, const struct place_set *s,
                         const struct plan_result *r, struct reach *reach)
{
    int home = s->at[s->home];
    double commit_ms = place_commit_ms(w->p, s, r, s->home, -1);

    reach->home_read = w->home_reads[home];
    reach->home_write = commit_ms > 0
                            ? within_home(w, home, w->limit[WRITES] - (float)commit_ms)
                            : w->home_bound[home];
    return commit_ms;
}

/** The same, through the members. */
static void bound_ways(const struct walk *w, const struct place_set *s,
                       const struct plan_result *r, double commit_ms, struct reach *reach)
{
    const struct place *p = w->p;
    int home = s->at[s->home];
    float way[PLAN_REPLICAS_MAX + 1] = {0};
    const float *straight = p->legal_ms[home]; /* a home for all may store all */

    for (unsigned k = 0; k < s->n; k++) {
        way[k + 1] = (float)p->rtt[s->at[k]][home];
    }
    reach->home_write =
        fmin(1, SLACK + within_either(w->weight, straight, w->near_ms[s->n], w->near[s->n],
                                      way + 1, p->points, w->limit[WRITES] - (float)commit_ms));
    if (r->posture == PLAN_EDGE_HIERARCHY) {
        reach->home_read =
            fmin(1, SLACK + within_either(w->weight, straight, w->near_ms[s->n], w->near[s->n],
                                          way + 1, p->points, w->limit[READS]));
    }
}

/** What ->mean_ms cannot be below, from the mean ways to the nearest member and to the home. */
static double least_mean(const struct walk *w, const struct place_set *s,
                         const struct plan_result *r, double commit_ms)
{
    const struct plan_class *c = w->p->class;
    bool edges = r->posture == PLAN_EDGE_HIERARCHY, home_writes = r->posture == PLAN_READ_LOCAL;
    bool local = place_reads_are_local(r->posture);
    double near = w->mean_ms[s->n], home = w->home_mean[s->at[s->home]];
    double cached = r->cdn || edges ? c->reads_per_s * c->cacheable : 0;
    double reads = c->reads_per_s - cached, hits = edges ? cached : 0;
    double all = reads + hits + c->writes_per_s, work = w->p->load->processing_ms;

    if (!(all > 0)) {
        return 0;
    }
    return (reads * (work + (local ? near : home)) + hits * near +
            c->writes_per_s * (work + (local && !home_writes ? near : home) + commit_ms)) /
           all;
}

/** Is @s not better than the best so far, as far as bounds say that, before what it costs? */
static bool hopeless(struct walk *w, const struct search *q, const struct place_set *s,
                     struct reach *reach, double *ret_commit_ms)
{
    const struct plan_result *r = &q->trial;
    bool own_homes = place_serves_nearby(r->posture) && r->posture >= PLAN_FOLLOW_THE_SUN;
    bool forwards = r->posture == PLAN_READ_LOCAL || r->posture == PLAN_EDGE_HIERARCHY;

    memcpy(reach->of, w->reached[s->n], sizeof(reach->of));
    *ret_commit_ms =
        own_homes ? bound_local(w, s, r, false, reach) : bound_home(w, s, r, reach);
    double mean = w->nearer ? least_mean(w, s, r, *ret_commit_ms) : 0;
    if (beaten(w, q, reach, q->set_floor, mean)) {
        return true;
    }
    if (!forwards) {
        return false;
    }
    bound_ways(w, s, r, *ret_commit_ms, reach);
    return beaten(w, q, reach, q->set_floor, mean);
}

static void weigh(struct walk *w, struct place_set *s, struct plan_result *r)
{
    const struct place *p = w->p;

    if (place_serves_nearby(r->posture)) {
        share_out(w, s);
        memcpy(r->share, w->share, sizeof(w->share));
    } else {
        place_user_shares(p, s, r);
    }
    if (place_divides(p, r->posture)) {
        if (!w->writes_known) {
            place_divide_writes(p, s, &w->writes);
            w->writes_known = true;
        }
        s->writes = &w->writes;
    }
    place_weigh(p, s, r);
}

static void consider(struct walk *w, struct search *q, struct place_set *s)
{
    const struct place *p = w->p;
    struct plan_result *r = &q->trial;
    struct reach reach = {.home_write = 1, .home_read = 1};
    double commit_ms = 0;

    if (hopeless(w, q, s, &reach, &commit_ms)) {
        return;
    }
    weigh(w, s, r);
    if (r->posture == PLAN_HUB && !beaten(w, q, &reach, r->total, 0)) {
        commit_ms = bound_local(w, s, r, true, &reach);
    }
    if (beaten(w, q, &reach, r->total, w->nearer ? least_mean(w, s, r, commit_ms) : 0)) {
        return;
    }
    place_share_within(p, s, r);
    double late = place_missing(p->class, r);
    bool better = w->nearer ? late <= q->best_missing && nearer(w, s, r, q)
                            : !q->found || late < q->best_missing ||
                                  (late <= q->best_missing && r->total < q->best.total);
    if (better) {
        q->found = true;
        q->best = *r;
        q->best_set = *s;
        q->best_missing = late;
    }
}

/** Each point's nearest member, and how near, with a candidate at @ms as the @n-th, from 0. */
WIDE static void find_near(const float *restrict ms, const float *restrict old_ms,
                           const int *restrict old, float *restrict new_ms, int *restrict new,
                           unsigned points, int n)
{
    for (unsigned i = 0; i < points; i++) {
        float to_c = ms[i], to_old = old_ms[i];
        int member = old[i];
        new[i] = to_c < to_old ? n : member;
        new_ms[i] = to_c < to_old ? to_c : to_old;
    }
}

/** Candidate @c becomes the @n-th member, from 0. */
static void add_member(struct walk *w, unsigned n, unsigned c)
{
    const float *near_ms = w->near_ms[n + 1];

    find_near(w->p->legal_ms[c], w->near_ms[n], w->near[n], w->near_ms[n + 1], w->near[n + 1],
              w->p->points, (int)n);
    for (int t = READS; t < TARGETS; t++) {
        w->reached[n + 1][t] =
            w->limited[t] ? within(w->weight, near_ms, w->p->points, w->limit[t]) : 1;
    }
    if (w->nearer) {
        w->mean_ms[n + 1] = mean(w->weight_f, near_ms, w->p->points);
    }
}

/** Can no set of the present size be better than the best so far? */
static bool settled(const struct walk *w, const struct search *q)
{
    return !w->nearer && q->found && q->best_missing <= 0 && q->floor >= q->best.total;
}

/** Which searches @s may still be the best of, as bits, going by what it reaches at most. */
static unsigned hopeful(struct walk *w, const struct place_set *s, struct reach *reach,
                        double least_ms)
{
    unsigned bits = 0;

    for (unsigned k = 0; k < s->n; k++) {
        reach->home_write = fmax(reach->home_write, w->home_bound[s->at[k]]);
        reach->home_read = fmax(reach->home_read, w->home_reads[s->at[k]]);
    }
    for (unsigned k = 0; k < w->count; k++) {
        struct search *q = &w->searches[k];
        double least = place_reads_are_local(q->best.posture) ? least_ms : 0;
        if (s->n < q->least || s->n > q->most || settled(w, q) ||
            !place_lawful(w->p, s, q->best.posture)) {
            continue;
        }
        q->set_floor = set_floor(w, q, s);
        bits |= (unsigned)!beaten(w, q, reach, q->set_floor, least) << k;
    }
    return bits;
}

/** @s with candidate @c in its last place, if that can be anybody's best. */
static void consider_last(struct walk *w, struct place_set *s, unsigned c)
{
    unsigned above = s->n > 1 ? s->n - 2 : 0; /* the depth whose gains are known */
    struct reach reach = {.home_write = 0, .home_read = 0};

    for (int t = READS; t < TARGETS; t++) {
        reach.of[t] = w->limited[t] ? w->reached[s->n - 1][t] + w->gain[above][c][t] : 1;
    }
    double least_ms = w->p->load->processing_ms;
    if (w->nearer && s->n > 1 && w->mean_ms[s->n - 1] < ALL_SERVED_MS) {
        least_ms += w->mean_ms[s->n - 1] - w->shorter_ms[above][c];
    }
    unsigned bits = hopeful(w, s, &reach, least_ms);
    if (bits == 0) {
        return;
    }
    add_member(w, s->n - 1, c);
    s->near = w->near[s->n];
    s->writes = NULL;
    w->shares_known = w->writes_known = false;
    memset(w->commits_known, 0, sizeof(w->commits_known));
    for (unsigned k = 0; k < w->count; k++) {
        struct search *q = &w->searches[k];
        int homes = q->best.posture < PLAN_FOLLOW_THE_SUN ? (int)s->n : 1;
        for (s->home = 0; (bits >> k & 1) != 0 && s->home < homes; s->home++) {
            consider(w, q, s);
        }
    }
    s->home = 0;
}

/** Every set of the present size that begins with @s. */
static void extend(struct walk *w, struct place_set *s, unsigned from)
{
    unsigned left = w->size - s->n;

    if (left == 2 || w->size == 1) {
        find_gains(w, s->n, from);
    }
    for (unsigned c = from; c + left <= w->p->candidates; c++) {
        s->at[s->n++] = (int)c;
        if (left == 1) {
            consider_last(w, s, c);
        } else {
            add_member(w, s->n - 1, c);
            extend(w, s, c + 1);
        }
        s->n--;
    }
}

/* ---- the searches ---- */

static void set_limit(struct walk *w, enum target t, uint64_t target_ms, double work_ms)
{
    w->limited[t] = target_ms != PLAN_NO_TARGET;
    double ms = w->limited[t] ? (double)target_ms : PLACE_NEVER / 2;
    w->limit[t] = (float)(ms - work_ms) + SLACK_MS;
}

static void start_walk(struct walk *w, const struct place *p)
{
    w->p = p;
    for (unsigned i = 0; i < p->points; i++) {
        w->weight[i] = (int32_t)(p->weight[i] * WEIGHT_ONE);
        w->weight_f[i] = (float)p->weight[i];
        w->near[0][i] = -1;
        w->near_ms[0][i] = (float)PLACE_NEVER;
    }
    set_limit(w, READS, p->class->read_p95_ms, p->load->processing_ms);
    set_limit(w, WRITES, p->class->write_p95_ms, p->load->processing_ms);
    bool hits = p->class->cacheable > 0 && p->load->replicas_max > 2;
    set_limit(w, HITS, hits ? p->class->read_p95_ms : PLAN_NO_TARGET, PLAN_CDN_MS);
    w->origin_gb[0] = place_origin_gb(p->class, false);
    w->origin_gb[1] = place_origin_gb(p->class, true);
    w->written_gb = place_written_gb(p->class);
    bound_homes(w);
}

static void start_search(struct walk *w, const struct plan_result *r)
{
    struct search *q = &w->searches[w->count++];

    q->best = q->trial = *r;
    q->most = place_sizes(w->p, r, &q->least);
    w->most = q->most > w->most ? q->most : w->most;
}

/** Is any search still to be won by a set of the present size? */
static bool start_size(struct walk *w)
{
    bool any = false;
    for (unsigned k = 0; k < w->count; k++) {
        struct search *q = &w->searches[k];
        if (w->size >= q->least && w->size <= q->most) {
            q->floor = size_floor(w->p, &q->best, w->size);
            any |= !settled(w, q);
        }
    }
    return any;
}

static void walk_sizes(struct walk *w)
{
    struct place_set s = {0};

    for (w->size = 1; w->size <= w->most; w->size++) {
        if (start_size(w)) {
            extend(w, &s, 0);
        }
    }
}

/** From the cheapest to the nearest of those that cost little more. */
static void look_nearer(struct walk *w)
{
    w->nearer = true;
    w->mean_ms[0] = PLACE_NEVER;
    for (unsigned k = 0; k < w->count; k++) {
        struct search *q = &w->searches[k];
        q->least = q->found ? q->best_set.n : 1;
        q->most = q->found ? q->best_set.n : 0;
        q->cap = q->best.total * PLAN_NEARER_MAY_COST;
    }
}

/** Why no set of regions will do for @r. */
static const char *why_none(const struct place *p, const struct plan_result *r)
{
    uint64_t all = ~UINT64_C(0) >> (64 - p->load->user_count);
    unsigned least = 0, most = place_sizes(p, r, &least), useful = 0;
    bool local = place_homes_are_local(r->posture);

    for (unsigned c = 0; c < p->candidates; c++) {
        useful += local ? p->users[c] != 0 : p->users[c] == all;
    }
    bool law = useful < p->candidates;
    return most < least ? "it needs more regions than replicas_max allows"
           : law && !local && useful == 0
               ? "residency lets no candidate store the data of all users"
           : law && useful < least ? "residency leaves fewer candidates than it needs regions"
           : p->candidates < least ? "there are too few regions to choose from"
                                   : "no set of the candidates keeps the residency rules";
}

static void finish_search(const struct place *p, struct search *q, struct plan_result *r)
{
    if (!q->found) {
        r->refused = why_none(p, r);
        r->missed |= PLAN_MISS_RESIDENCY;
        return;
    }
    *r = q->best;
    place_evaluate(p, &q->best_set, r);
}

void place_search(const struct place *p, struct plan_result *const *results, unsigned count)
{
    struct walk *w = calloc(1, sizeof(*w));
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
    walk_sizes(w);
    look_nearer(w);
    walk_sizes(w);
    for (unsigned k = 0, at = 0; k < count; k++) {
        if (results[k]->refused == NULL) {
            finish_search(p, &w->searches[at++], results[k]);
        }
    }
    free(w);
}
