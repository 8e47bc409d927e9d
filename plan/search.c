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
 *    sum >= n / (n - 1). Where the law lets only a share T of the load be held by two members
 *    or more, sum - capacity_i >= 1 less what only i may hold, hence sum >= 1 + T / (n - 1);
 *    and how many copies the average write has is known from who may hold it.
 * 2. Latency. Let f(S) be the share of the users with some member of S in time. Of the users
 *    that b adds to S + a, each was also without S, so f(S+a+b) - f(S+a) <= f(S+b) - f(S). With
 *    f known for S and all S + x, f(S+a+b) <= f(S+a) + f(S+b) - f(S); of more members, each
 *    that is still to come adds no more than the one that adds most to S. So whole branches are
 *    left. A commit's wait and homes elsewhere only make writes later; a home's own writes are
 *    bounded by the nearest way to it through any candidate. Of a whole set it is known what
 *    its commits wait for, at each home, through whatever hub at least, and how far it is to
 *    one through the members: before it is weighed, and for all postures that have the same
 *    homes and copies. A CDN changes neither ways nor waits nor who has copies: with and
 *    without one, a posture is a kind, of which these are worked out once.
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
#define SLACK 1e-5           /* what rounding in the bounds may hide, as a share */
#define ROUNDS_UP 0.501e-9   /* what is more than that above a rounded share rounds to more */
#define ROUNDS_DOWN 0.499e-9 /* and what is less below it not to less */
#define SLACK_MS 0.01F
#define SLACK_MEAN 0.05 /* ms */
#define SLACK_USD (1 - 1e-9)
#define ALL_SERVED_MS 1e4 /* a mean above that has a PLACE_NEVER in it, and no digits left */

/* What a posture is like at the present set and home, without and with a CDN. */
struct kind {
    struct plan_result trial;
    struct place_sums sums;
    unsigned searches;                        /* as bits */
    bool bounded, ways_known, spread, summed; /* so much of the following is known */
    double commit_ms, home_write;
    double way_write, way_read; /* the same through the members */
};

struct search {
    struct plan_result best;
    struct kind *kind;
    struct place_set best_set;
    double best_missing; /* shares of users that are late or without a second region */
    bool found;
    unsigned least, most; /* regions */
    double floor;         /* no set of the present size is cheaper, wherever it is */
    /* Where the law divides: what is to be added to that for each copy, and for capacity that
     * is idle, times the load's. */
    double copy_usd, idle_usd;
    double set_floor; /* the present set is not cheaper, whatever its home */
    double cap;       /* in the second walk: what the nearest may cost */
};

/* Who has what a home of its own commits; and how it gets there. */
enum commits { TO_ALL, TO_NEAR, THROUGH_HUB, THROUGH_ANY, COMMITS };
enum target { READS, WRITES, HITS, TARGETS }; /* hits: reads answered from an edge's cache */

/* What one more member adds: users in time, and what it takes off their mean distance. */
struct gain {
    double of[TARGETS], ms;
};

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
    double any_home_bound, any_home_reads;                /* of the best */
    float home_ms[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX]; /* the shortest way to it */
    float home_sorted[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX];
    double home_share[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX + 1]; /* of so many of these */
    double home_mean[PLAN_CANDIDATES_MAX];                        /* the mean of home_ms */
    double users_ms[PLAN_CANDIDATES_MAX]; /* from all users, on average */
    struct search searches[SEARCHES_MAX];
    unsigned kind_count;
    struct kind kinds[SEARCHES_MAX];
    /* Of the present set, when they have been asked for. Waits and commits are shared by kinds
     * of which some have one home and do not look at what the law divides: those only come to
     * sets of which every member may hold everybody (hopeful), where it divides nothing. */
    bool shares_known, writes_known, prices_known;
    bool waits_known[COMMITS], commits_known[COMMITS];
    double to_all[PLAN_REPLICAS_MAX], to_one[PLAN_REPLICAS_MAX]; /* USD per GB, at least */
    double share[PLAN_REPLICAS_MAX];
    struct place_writes writes;
    bool nearest_known;
    unsigned nearest[PLAN_REPLICAS_MAX]; /* the member nearest to each, and how far it is */
    double first_ms[PLAN_REPLICAS_MAX], second_ms[PLAN_REPLICAS_MAX]; /* and the second */
    double wait_ms[COMMITS][PLAN_REPLICAS_MAX];  /* by home, what its commits wait for */
    double in_time[COMMITS], commit_ms[COMMITS]; /* of writes at their homes; the mean */
    /* At each depth: which member is nearest to each point, and how near; the share of the
     * users in time, and, in the second walk, the mean distance; what each candidate would
     * add, and what any from it on would add at most. */
    int near[PLAN_REPLICAS_MAX + 1][PLACE_POINTS_MAX];
    float near_ms[PLAN_REPLICAS_MAX + 1][PLACE_POINTS_MAX];
    double reached[PLAN_REPLICAS_MAX + 1][TARGETS];
    double mean_ms[PLAN_REPLICAS_MAX + 1];
    struct gain gain[PLAN_REPLICAS_MAX + 1][PLAN_CANDIDATES_MAX];
    struct gain most_gain[PLAN_REPLICAS_MAX + 1][PLAN_CANDIDATES_MAX + 1];
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

static double cost_of_size(const struct place *p, const struct plan_result *r, unsigned n,
                           double running, double copies)
{
    struct plan_result of_size = {.posture = r->posture, .cdn = r->cdn, .n = n};
    double sum = 0;

    place_cost_of_size(p, &of_size, running, copies);
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        sum += of_size.cost[i];
    }
    return sum;
}

/** What no set of @n regions can be cheaper than, transfer left out. */
static void find_size_floor(const struct place *p, struct search *q, unsigned n)
{
    const struct plan_result *r = &q->best;
    unsigned held = place_held(r, n);
    double running = r->posture == PLAN_SINGLE            ? 1
                     : r->posture == PLAN_PILOT_LIGHT     ? 1 + p->load->pilot_standby
                     : !place_reads_are_local(r->posture) ? 1 + p->load->standby * (held - 1)
                     : place_divides(p, r->posture)       ? 1
                                                          : (double)n / (n - 1);
    double copies = place_divides(p, r->posture) ? 0
                    : r->posture == PLAN_CELLS   ? PLACE_CELL_COPIES(r->quorum)
                                                 : held - 1;

    q->floor = cost_of_size(p, r, n, running, copies);
    q->copy_usd = cost_of_size(p, r, n, running, copies + 1) - q->floor;
    q->idle_usd = cost_of_size(p, r, n, running + 1, copies) - q->floor;
}

/* fmin() is a call, for the sake of NANs that are not here. */
static double lesser(double a, double b)
{
    return a < b ? a : b;
}

static double greater(double a, double b)
{
    return a > b ? a : b;
}

/** What a GB at each member costs on its way to all others, and to one of them. */
static void find_prices(struct walk *w, const struct place_set *s)
{
    for (unsigned k = 0; !w->prices_known && k < s->n; k++) {
        const double *usd_gb = w->p->usd_gb[s->at[k]];
        w->to_all[k] = 0;
        w->to_one[k] = INFINITY;
        for (unsigned b = 0; b < s->n; b++) {
            w->to_all[k] += b != k ? usd_gb[s->at[b]] : 0;
            w->to_one[k] = b != k ? lesser(w->to_one[k], usd_gb[s->at[b]]) : w->to_one[k];
        }
    }
    w->prices_known = true;
}

/** What copies and headroom cost at least where the law says who may have them. */
static double divided_usd(const struct walk *w, const struct search *q,
                          const struct place_set *s)
{
    const struct plan_result *r = &q->best;
    unsigned most = r->posture == PLAN_CELLS ? PLACE_CELL_COPIES(r->quorum) : s->n;
    double copies = 0, survives = 0, usd_gb = INFINITY;

    for (unsigned law = 0; law < w->p->laws; law++) {
        unsigned members = 0;
        for (unsigned k = 0; k < s->n; k++) {
            members += w->p->lawful[law] >> s->at[k] & 1;
        }
        if (members > 1) {
            copies += w->p->law_share[law] * (members - 1 < most ? members - 1 : most);
            survives += w->p->law_share[law];
        }
    }
    for (unsigned k = 0; k < s->n; k++) {
        usd_gb = lesser(usd_gb, w->to_one[k]);
    }
    return copies > 0 ? copies * (q->copy_usd + w->written_gb * usd_gb) +
                            q->idle_usd * survives / (s->n - 1)
                      : 0;
}

/** What @s cannot be cheaper than, whatever its home. */
static double set_floor(struct walk *w, const struct search *q, const struct place_set *s)
{
    const struct plan_result *r = &q->best;
    double least = INFINITY, least_copies = INFINITY, least_users = INFINITY;
    double few = r->posture == PLAN_CELLS            ? PLACE_CELL_COPIES(r->quorum)
                 : r->posture == PLAN_EDGE_HIERARCHY ? place_held(r, s->n) - 1
                                                     : 0;
    bool divides = place_divides(w->p, r->posture);
    bool counted = s->n > 1 && !divides && r->posture != PLAN_HUB;

    find_prices(w, s);
    for (unsigned k = 0; k < s->n; k++) {
        double usd_gb = !counted ? 0 : few > 0 ? w->to_one[k] * few : w->to_all[k];
        double copies = w->written_gb * usd_gb;
        double users = w->origin_gb[r->cdn] * w->p->internet_gb[s->at[k]];
        least = lesser(least, copies + users);
        least_copies = lesser(least_copies, copies);
        least_users = lesser(least_users, users);
    }
    /* A home for all and the users near them may be different members. */
    bool apart = r->posture == PLAN_READ_LOCAL || r->posture == PLAN_EDGE_HIERARCHY;
    double there = apart ? least_copies + least_users : least;
    return (q->floor + there + (divides ? divided_usd(w, q, s) : 0)) * SLACK_USD;
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
    double sum[4] = {0}; /* so that one addition need not wait for the one before */
    unsigned i = 0;

    for (; i + 4 <= n; i += 4) {
        for (unsigned k = 0; k < 4; k++) {
            sum[k] += (double)(weight[i + k] * ms[i + k]);
        }
    }
    for (; i < n; i++) {
        sum[0] += (double)(weight[i] * ms[i]);
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/** How much nearer the users would be on average with @ms beside @before. */
WIDE static double shortened(const float *restrict weight, const float *restrict before,
                             const float *restrict ms, unsigned n)
{
    float sum[8] = {0};
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
    struct gain *gain = w->gain[depth], *most = w->most_gain[depth];

    for (int t = READS; t < TARGETS; t++) {
        for (unsigned c = from; w->limited[t] && c < p->candidates; c++) {
            gain[c].of[t] = within_anew(w->weight, w->near_ms[depth], p->legal_ms[c], p->points,
                                        w->limit[t]);
        }
    }
    for (unsigned c = from; w->nearer && c < p->candidates; c++) {
        gain[c].ms = shortened(w->weight_f, w->near_ms[depth], p->legal_ms[c], p->points);
    }
    most[p->candidates] = (struct gain){{0}, 0};
    for (unsigned c = p->candidates; c-- > from;) {
        for (int t = READS; t < TARGETS; t++) {
            most[c].of[t] = greater(gain[c].of[t], most[c + 1].of[t]);
        }
        most[c].ms = greater(gain[c].ms, most[c + 1].ms);
    }
}

/** What a placement reaches at most: shares of the users in time, and of them by their home. */
struct reach {
    double of[TARGETS];           /* by the nearest member */
    double home_write, home_read; /* by the best way to the home */
};

/** Shares of the users that are late at least. */
static double least_short(const struct walk *w, const struct plan_result *r,
                          const struct reach *reach)
{
    struct plan_result bound; /* what is asked of it is set */
    bool edges = r->posture == PLAN_EDGE_HIERARCHY;
    bool local = place_reads_are_local(r->posture);
    double read = lesser(1, reach->of[READS] + SLACK), hit = lesser(1, reach->of[HITS] + SLACK);
    double write = lesser(1, reach->of[WRITES] + SLACK);

    bound.posture = r->posture;
    bound.cdn = r->cdn;
    bound.covered = 1;
    place_set_within(w->p->class, &bound,
                     local   ? read
                     : edges ? reach->home_read
                             : 1,
                     r->posture == PLAN_READ_LOCAL || !local ? reach->home_write : write,
                     edges ? hit : 1);
    return place_short(w->p->class, &bound);
}

/** Can a placement that reaches no more, and costs at least @floor, not be the best? */
static bool beaten(const struct walk *w, const struct search *q, const struct reach *reach,
                   double floor, double least_ms)
{
    if (!q->found || (!w->nearer && q->best_missing <= 0 && floor >= q->best.total)) {
        return q->found;
    }
    if (w->nearer && (floor > q->cap || least_ms > q->best.mean_ms + SLACK_MEAN)) {
        return true;
    }
    double least = least_short(w, &q->best, reach);
    return least > q->best_missing + ROUNDS_UP ||
           (!w->nearer && least > q->best_missing - ROUNDS_DOWN && floor >= q->best.total);
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
        w->any_home_bound = greater(w->any_home_bound, w->home_bound[h]);
        w->any_home_reads = greater(w->any_home_reads, w->home_reads[h]);
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

/** Which members commits wait for. */
static enum commits commits_of(const struct plan_result *r)
{
    return r->posture == PLAN_HUB                                          ? THROUGH_HUB
           : r->posture == PLAN_CELLS || r->posture == PLAN_EDGE_HIERARCHY ? TO_NEAR
                                                                           : TO_ALL;
}

static void find_nearest(struct walk *w, const struct place_set *s)
{
    for (unsigned a = 0; !w->nearest_known && a < s->n; a++) {
        const double *rtt = w->p->rtt[s->at[a]];
        double first = INFINITY, second = INFINITY;
        for (unsigned b = 0; b < s->n; b++) {
            double ms = b != a ? rtt[s->at[b]] : (double)INFINITY;
            w->nearest[a] = ms < first ? b : w->nearest[a];
            second = ms < first ? first : lesser(second, ms);
            first = lesser(first, ms);
        }
        w->first_ms[a] = first;
        w->second_ms[a] = second;
    }
    w->nearest_known = true;
}

/** The way from member @a to those that its commit waits for, through whatever hub at least. */
static double least_way(const struct walk *w, const struct place_set *s, unsigned a,
                        unsigned acks)
{
    double least = acks == 0 ? 0 : acks == 1 ? w->first_ms[a] : w->second_ms[a];

    for (unsigned h = 0; acks > 1 && h < s->n; h++) {
        double on = w->nearest[h] != a ? w->first_ms[h] : w->second_ms[h];
        least = h != a ? lesser(least, w->p->rtt[s->at[a]][s->at[h]] + on) : least;
    }
    return least;
}

/** What a commit at member @a of what those of @may hold waits for. No set needs more than two
 * others' answers. */
static double find_wait(const struct walk *w, const struct place_set *s,
                        const struct plan_result *r, enum commits which, unsigned a,
                        unsigned may)
{
    if (which == THROUGH_ANY) {
        return PLAN_FSYNC_MS + least_way(w, s, a, place_acks(w->p, s, r, a, may));
    }
    if (which == THROUGH_HUB || place_divides(w->p, r->posture)) {
        return place_commit_ms(w->p, s, r, (int)a, may, -1);
    }
    bool near = which == TO_NEAR || s->n < 4;
    return PLAN_FSYNC_MS + (near ? w->first_ms[a] : w->second_ms[a]);
}

/** What commits at each home wait for; where the law divides them, the first of them. */
static void find_waits(struct walk *w, const struct place_set *s, const struct plan_result *r,
                       enum commits which)
{
    unsigned laws = place_divides(w->p, r->posture) ? w->p->laws : 1;

    for (unsigned k = 0; !w->waits_known[which] && k < s->n; k++) {
        w->wait_ms[which][k] = INFINITY;
    }
    for (unsigned law = 0; !w->waits_known[which] && law < laws; law++) {
        unsigned may = place_may(w->p, s, r, law);
        find_nearest(w, s);
        for (unsigned k = 0; k < s->n; k++) {
            double *least = &w->wait_ms[which][k];
            *least = (may >> k & 1) != 0 ? lesser(*least, find_wait(w, s, r, which, k, may))
                                         : *least;
        }
    }
    for (unsigned k = 0; k < s->n; k++) {
        /* What nothing may be written at has no home. */
        w->wait_ms[which][k] = isinf(w->wait_ms[which][k]) ? 0 : w->wait_ms[which][k];
    }
    w->waits_known[which] = true;
}

/** How many users' writes at their homes are in time, and in the second walk the mean wait. */
static void wait_at_homes(struct walk *w, const struct place_set *s, enum commits which)
{
    float wait[PLAN_REPLICAS_MAX + 1] = {0};

    w->commit_ms[which] = 0;
    if (w->nearer) {
        share_out(w, s);
    }
    for (unsigned k = 0; k < s->n; k++) {
        w->commit_ms[which] += w->nearer ? w->share[k] * w->wait_ms[which][k] : 0;
        wait[k + 1] = (float)w->wait_ms[which][k];
    }
    w->in_time[which] = within_after(w->weight, w->near_ms[s->n], w->near[s->n], wait + 1,
                                     w->p->points, w->limit[WRITES]);
    w->commits_known[which] = true;
}

/** Who is served and writes where, as far as ->trial of @kind has to know. */
static void share(struct walk *w, struct place_set *s, struct kind *kind)
{
    struct plan_result *r = &kind->trial;

    if (place_serves_nearby(r->posture)) {
        share_out(w, s);
        memcpy(r->share, w->share, sizeof(w->share));
    } else {
        place_user_shares(w->p, s, r);
    }
    if (place_divides(w->p, r->posture)) {
        if (!w->writes_known) {
            place_divide_writes(w->p, s, &w->writes);
            w->writes_known = true;
        }
        s->writes = &w->writes;
    }
}

/** Homes of their own: what bounds writes by the nearest member, and their mean wait; of a
 * hub that is not chosen yet, if need be. */
static double bound_local(struct walk *w, struct place_set *s, struct kind *kind,
                          enum commits which, struct reach *reach)
{
    struct plan_result *r = &kind->trial;

    if (!r->quorum) {
        return 0;
    }
    if (!w->commits_known[which]) {
        if (which == THROUGH_HUB) {
            share(w, s, kind);
            place_choose_hub(w->p, s, r);
        }
        find_waits(w, s, r, which);
        wait_at_homes(w, s, which);
    }
    reach->of[WRITES] = w->limited[WRITES] ? w->in_time[which] : 1;
    return w->commit_ms[which];
}

/** One home: no way to it is shorter than the shortest through any candidate. */
static double bound_home(struct walk *w, const struct place_set *s, struct kind *kind,
                         struct reach *reach)
{
    int home = s->at[s->home];

    if (!kind->bounded) {
        enum commits which = commits_of(&kind->trial);
        double ms = 0;
        if (kind->trial.quorum) {
            find_waits(w, s, &kind->trial, which);
            ms = w->wait_ms[which][s->home];
        }
        kind->commit_ms = ms;
        kind->home_write =
            ms > 0 ? within_home(w, home, w->limit[WRITES] - (float)ms) : w->home_bound[home];
        kind->bounded = true;
    }
    reach->home_read = w->home_reads[home];
    reach->home_write = kind->home_write;
    return kind->commit_ms;
}

/** The same, through the members. */
static void bound_ways(const struct walk *w, const struct place_set *s, struct kind *kind,
                       struct reach *reach)
{
    const struct place *p = w->p;
    int home = s->at[s->home];
    float way[PLAN_REPLICAS_MAX + 1] = {0}, commit_ms = (float)kind->commit_ms;
    const float *straight = p->legal_ms[home]; /* a home for all may store all */

    for (unsigned k = 0; !kind->ways_known && k < s->n; k++) {
        way[k + 1] = (float)p->rtt[s->at[k]][home];
    }
    if (!kind->ways_known) {
        kind->way_write = within_either(w->weight, straight, w->near_ms[s->n], w->near[s->n],
                                        way + 1, p->points, w->limit[WRITES] - commit_ms);
    }
    if (!kind->ways_known && kind->trial.posture == PLAN_EDGE_HIERARCHY) {
        kind->way_read = within_either(w->weight, straight, w->near_ms[s->n], w->near[s->n],
                                       way + 1, p->points, w->limit[READS]);
    }
    kind->ways_known = true;
    reach->home_write = lesser(1, SLACK + kind->way_write);
    if (kind->trial.posture == PLAN_EDGE_HIERARCHY) {
        reach->home_read = lesser(1, SLACK + kind->way_read);
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
static bool hopeless(struct walk *w, const struct search *q, struct place_set *s,
                     struct reach *reach, double *ret_commit_ms)
{
    struct kind *kind = q->kind;
    const struct plan_result *r = &kind->trial;
    bool own_homes = place_serves_nearby(r->posture) && r->posture >= PLAN_FOLLOW_THE_SUN;
    bool forwards = r->posture == PLAN_READ_LOCAL || r->posture == PLAN_EDGE_HIERARCHY;

    double mean = 0;

    memcpy(reach->of, w->reached[s->n], sizeof(reach->of));
    if (!own_homes) {
        reach->home_write = w->home_bound[s->at[s->home]];
        reach->home_read = w->home_reads[s->at[s->home]];
        if (beaten(w, q, reach, q->set_floor, 0)) {
            return true;
        }
    }
    if (r->posture == PLAN_HUB) {
        mean = bound_local(w, s, kind, THROUGH_ANY, reach);
        mean = w->nearer ? least_mean(w, s, r, mean) : 0;
        if (beaten(w, q, reach, q->set_floor, mean)) {
            return true;
        }
    }
    *ret_commit_ms = own_homes ? bound_local(w, s, kind, commits_of(r), reach)
                               : bound_home(w, s, kind, reach);
    mean = w->nearer ? least_mean(w, s, r, *ret_commit_ms) : 0;
    if (beaten(w, q, reach, q->set_floor, mean)) {
        return true;
    }
    if (!forwards) {
        return false;
    }
    bound_ways(w, s, kind, reach);
    return beaten(w, q, reach, q->set_floor, mean);
}

static void consider(struct walk *w, struct search *q, struct place_set *s)
{
    const struct place *p = w->p;
    struct kind *kind = q->kind;
    struct plan_result *r = &kind->trial;
    struct reach reach = {.home_write = 1, .home_read = 1};
    double commit_ms = 0;

    r->cdn = q->best.cdn;
    if (hopeless(w, q, s, &reach, &commit_ms)) {
        return;
    }
    if (!kind->spread) {
        share(w, s, kind);
        place_spread(p, s, r);
        kind->spread = true;
    }
    place_price(p, s, r);
    if (beaten(w, q, &reach, r->total, w->nearer ? least_mean(w, s, r, commit_ms) : 0)) {
        return;
    }
    if (!kind->summed) {
        place_sum_times(p, s, r, &kind->sums);
        kind->summed = true;
    }
    place_share_within(p, &kind->sums, r);
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

/** @s with each home that a posture may have, for those searches in @bits. */
static void consider_homes(struct walk *w, struct place_set *s, unsigned bits)
{
    for (unsigned i = 0; i < w->kind_count; i++) {
        struct kind *kind = &w->kinds[i];
        unsigned these = bits & kind->searches;
        int homes = kind->trial.posture < PLAN_FOLLOW_THE_SUN ? (int)s->n : 1;
        for (s->home = 0; these != 0 && s->home < homes; s->home++) {
            kind->bounded = kind->ways_known = kind->spread = kind->summed = false;
            for (unsigned left = these; left != 0; left &= left - 1) {
                consider(w, &w->searches[__builtin_ctz(left)], s);
            }
        }
    }
    s->home = 0;
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

/** Which of the searches in @bits @s may still be the best of, going by what it reaches at
 * most; or, when it has fewer members than the present size, any set that has these. */
static unsigned hopeful(struct walk *w, const struct place_set *s, unsigned bits,
                        const struct reach *reach, double least_ms)
{
    bool whole = s->n == w->size, check = whole && w->p->divided;
    bool one_home = !check || place_lawful(w->p, s, PLAN_SINGLE);
    bool homes = !check || place_lawful(w->p, s, PLAN_PARTITIONED);
    bool hub = !check || place_lawful(w->p, s, PLAN_HUB);

    for (unsigned left = bits; left != 0; left &= left - 1) {
        struct search *q = &w->searches[__builtin_ctz(left)];
        enum plan_posture posture = q->best.posture;
        bool lawful = posture == PLAN_HUB              ? hub
                      : place_homes_are_local(posture) ? homes
                                                       : one_home;
        double least = place_reads_are_local(posture) ? least_ms : 0;
        bool out = !lawful || settled(w, q);
        if (!out) {
            q->set_floor = whole ? set_floor(w, q, s) : q->floor;
            out = beaten(w, q, reach, q->set_floor, least);
        }
        bits &= out ? ~(left & -left) : ~0u;
    }
    return bits;
}

/** What a set of the present size that begins with @s and candidate @c reaches at most, going
 * by the gains at depth @known, and how far its users are at least. */
static double reach_with(const struct walk *w, const struct place_set *s, unsigned known,
                         unsigned c, struct reach *ret)
{
    const struct gain *gain = &w->gain[known][c], *most = &w->most_gain[known][c + 1];
    double more = w->size - s->n - 1; /* members beside c */
    double least_ms = w->p->load->processing_ms;

    for (int t = READS; t < TARGETS; t++) {
        ret->of[t] = w->limited[t] ? w->reached[s->n][t] + gain->of[t] + more * most->of[t] : 1;
    }
    ret->home_write = more > 0 ? w->any_home_bound : w->home_bound[c];
    ret->home_read = more > 0 ? w->any_home_reads : w->home_reads[c];
    for (unsigned k = 0; k < s->n; k++) {
        ret->home_write = greater(ret->home_write, w->home_bound[s->at[k]]);
        ret->home_read = greater(ret->home_read, w->home_reads[s->at[k]]);
    }
    if (w->nearer && s->n > 0 && w->mean_ms[s->n] < ALL_SERVED_MS) {
        least_ms += greater(0, w->mean_ms[s->n] - gain->ms - more * most->ms);
    }
    return least_ms;
}

/** A set of the present size, for the searches in @bits. */
static void consider_set(struct walk *w, struct place_set *s, unsigned bits)
{
    s->near = w->near[s->n];
    s->writes = NULL;
    w->shares_known = w->writes_known = w->nearest_known = false;
    memset(w->waits_known, 0, sizeof(w->waits_known));
    memset(w->commits_known, 0, sizeof(w->commits_known));
    consider_homes(w, s, bits);
}

/** Every set of the present size that begins with @s, for the searches in @all. */
static void extend(struct walk *w, struct place_set *s, unsigned from, unsigned all)
{
    unsigned left = w->size - s->n;
    /* With one to come, the gains of the depth above are an upper bound and already there. */
    unsigned known = left == 1 && s->n > 0 ? s->n - 1 : s->n;

    if (known == s->n) {
        find_gains(w, known, from);
    }
    for (unsigned c = from; c + left <= w->p->candidates; c++) {
        struct reach reach;
        double least_ms = reach_with(w, s, known, c, &reach);
        s->at[s->n++] = (int)c;
        w->prices_known = false;
        unsigned bits = hopeful(w, s, all, &reach, least_ms);
        if (bits != 0) {
            add_member(w, s->n - 1, c);
        }
        if (bits != 0 && left == 1) {
            consider_set(w, s, bits);
        } else if (bits != 0) {
            extend(w, s, c + 1, bits);
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
    unsigned k = 0;

    q->best = *r;
    q->most = place_sizes(w->p, r, &q->least);
    w->most = q->most > w->most ? q->most : w->most;
    while (k < w->kind_count &&
           (w->kinds[k].trial.posture != r->posture || w->kinds[k].trial.quorum != r->quorum)) {
        k++;
    }
    w->kind_count += k == w->kind_count;
    w->kinds[k].trial = *r;
    w->kinds[k].searches |= 1u << (w->count - 1);
    q->kind = &w->kinds[k];
}

/** Which searches are still to be won by a set of the present size, as bits. */
static unsigned start_size(struct walk *w)
{
    unsigned bits = 0;

    for (unsigned k = 0; k < w->count; k++) {
        struct search *q = &w->searches[k];
        if (w->size >= q->least && w->size <= q->most) {
            find_size_floor(w->p, q, w->size);
            bits |= (unsigned)!settled(w, q) << k;
        }
    }
    return bits;
}

static void walk_sizes(struct walk *w)
{
    struct place_set s = {0};

    for (w->size = 1; w->size <= w->most; w->size++) {
        unsigned bits = start_size(w);
        if (bits != 0) {
            extend(w, &s, 0, bits);
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
