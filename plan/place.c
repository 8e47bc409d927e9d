/*
 * How far a placement is from its users, and how old what they read may be.
 *
 * Users are points: the cities of each country, weighted by the people near them. A user's
 * region is the nearest of those that may store their data. weigh.c has what it costs, search.c
 * finds the best.
 */
#include <place.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/lag.h>
#include <mrd/latency.h>

/* ---- the view ---- */

/** May candidate @c store the data of the users at point @i? */
static bool may_hold(const struct place *p, int c, unsigned i)
{
    return (p->users[c] >> p->country[i] & 1) != 0;
}

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

/** Users whom the same candidates may store are under one law. */
static unsigned law_of(struct place *p, unsigned user)
{
    uint64_t candidates = 0;
    unsigned law = 0;

    for (unsigned r = 0; r < p->candidates; r++) {
        candidates |= (p->users[r] >> user & 1) << r;
    }
    while (law < p->laws && p->lawful[law] != candidates) {
        law++;
    }
    p->laws += law == p->laws;
    p->lawful[law] = candidates;
    return law;
}

static void add_rules(struct place *p, struct plan_data *data)
{
    unsigned char law[PLAN_USERS_MAX] = {0};

    data->sources[PLAN_SOURCE_BLOCS].used |= p->class->residency_count > 0;
    for (unsigned r = 0; r < p->candidates; r++) {
        for (unsigned u = 0; u < p->load->user_count; u++) {
            bool may = plan_may_store(data, p->class, p->load->users[u].country,
                                      p->load->candidates[r]);
            p->users[r] |= (uint64_t)may << u;
            p->divided |= !may;
        }
    }
    for (unsigned u = 0; u < p->load->user_count; u++) {
        law[u] = (unsigned char)law_of(p, u);
    }
    for (unsigned i = 0; i < p->points; i++) {
        p->law[i] = law[p->country[i]];
        p->law_share[p->law[i]] += p->weight[i];
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
    p->data = data;
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
            bool may = may_hold(p, (int)r, i);
            p->legal_ms[r][i] = may ? (float)p->ms[r][i] : (float)PLACE_NEVER;
        }
    }
    *ret = p;
    return 0;
}

/* ---- what a posture is ---- */

bool place_holds_all(const struct place *p, int c)
{
    return p->users[c] == ~UINT64_C(0) >> (64 - p->load->user_count);
}

/* ---- latency ---- */

int place_look_for_nearest(const struct place *p, const struct place_set *s, unsigned i,
                           int lost)
{
    int best = -1;

    for (unsigned k = 0; k < s->n; k++) {
        if ((int)k != lost && may_hold(p, s->at[k], i) &&
            (best < 0 || p->ms[s->at[k]][i] < p->ms[s->at[best]][i])) {
            best = (int)k;
        }
    }
    return best;
}

/** The way of changes from member @a to member @b, there and back. */
static double way_ms(const struct place *p, const struct place_set *s,
                     const struct plan_result *r, int a, int b, int lost)
{
    if (r->posture != PLAN_HUB || r->hub == a || r->hub == b || r->hub == lost) {
        return p->rtt[s->at[a]][s->at[b]];
    }
    return p->rtt[s->at[a]][s->at[r->hub]] + p->rtt[s->at[r->hub]][s->at[b]];
}

/** What a commit at member @home waits for when @copies have the data, without @lost. */
static double commit_of(const struct place *p, const struct place_set *s,
                        const struct plan_result *r, int home, unsigned copies, int lost)
{
    double rtt[PLAN_COPIES_MAX], ms = 0;
    size_t n = 0, w = (size_t)__builtin_popcount(copies) / 2 + 1;

    if (!r->quorum) {
        return 0;
    }
    for (int k = 0; k < (int)s->n; k++) {
        if (k != home && k != lost && (copies >> k & 1) != 0) {
            rtt[n++] = way_ms(p, s, r, home, k, lost);
        }
    }
    return mrd_quorum_leader_ms(rtt, n, w, &ms) == 0 ? ms + PLAN_FSYNC_MS : PLACE_NEVER;
}

unsigned place_may(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, unsigned law)
{
    unsigned may = 0;

    if (!place_divides(p, r->posture)) {
        return (1u << s->n) - 1;
    }
    for (unsigned k = 0; k < s->n; k++) {
        may |= (unsigned)(p->lawful[law] >> s->at[k] & 1) << k;
    }
    return may;
}

/** The members that have a copy of what is homed at @home and may be held by @may, as bits. */
static unsigned copies_of(const struct place *p, const struct place_set *s,
                          const struct plan_result *r, int home, unsigned may)
{
    int core[PLAN_COPIES_MAX];
    unsigned copies = 0;

    if (r->posture != PLAN_EDGE_HIERARCHY) {
        return place_copies(p, s, r, (unsigned)home, may);
    }
    place_by_distance(p, s, core);
    for (unsigned k = 0; k < place_held(r, s->n) && k < s->n; k++) {
        copies |= 1u << core[k];
    }
    return copies;
}

unsigned place_acks(const struct place *p, const struct place_set *s,
                    const struct plan_result *r, unsigned home, unsigned may)
{
    unsigned copies = copies_of(p, s, r, (int)home, may);

    return r->quorum ? (unsigned)__builtin_popcount(copies) / 2 : 0;
}

double place_commit_ms(const struct place *p, const struct place_set *s,
                       const struct plan_result *r, int home, unsigned may, int lost)
{
    return r->quorum ? commit_of(p, s, r, home, copies_of(p, s, r, home, may), lost) : 0;
}

/** Of what member @home had, lost, of point @i's records: who serves them, and its commits. */
static int cell_after(const struct place *p, const struct place_set *s,
                      const struct plan_result *r, unsigned i, int home, double *ret_commit_ms)
{
    unsigned copies = place_copies(p, s, r, (unsigned)home, place_may(p, s, r, p->law[i]));
    int best = -1;

    for (int k = 0; k < (int)s->n; k++) {
        bool nearer = best < 0 || p->ms[s->at[k]][i] < p->ms[s->at[best]][i];
        best = k != home && (copies >> k & 1) != 0 && nearer ? k : best;
    }
    *ret_commit_ms = best < 0 ? 0 : commit_of(p, s, r, best, copies, home);
    return best;
}

void place_latency(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, unsigned i, int lost, struct place_times *ret)
{
    bool cell_lost =
        r->posture == PLAN_CELLS && lost >= 0 && place_nearest(p, s, i, -1) == lost;
    double commit_ms = 0;
    int near =
        cell_lost ? cell_after(p, s, r, i, lost, &commit_ms) : place_nearest(p, s, i, lost);
    int home = s->home;
    unsigned may = place_may(p, s, r, p->law[i]);
    bool edges = r->posture == PLAN_EDGE_HIERARCHY;

    if (lost == home) { /* the first of the others takes over */
        home = lost == 0 ? 1 : 0;
    }
    *ret = (struct place_times){PLACE_NEVER, PLACE_NEVER, PLACE_NEVER};
    if (near < 0 || home >= (int)s->n) {
        return;
    }
    double to_near = p->ms[s->at[near]][i], to_home = p->ms[s->at[home]][i];
    double forwarded = to_near + p->rtt[s->at[near]][s->at[home]];
    double work = p->load->processing_ms;
    ret->cached = edges ? to_near + PLAN_CDN_MS : MRD_LAST_MILE_MS + PLAN_CDN_MS;
    if (edges || r->posture == PLAN_READ_LOCAL) {
        double least = fmin(to_home, forwarded);
        ret->read = work + (edges ? least : to_near);
        ret->write = work + least + place_commit_ms(p, s, r, home, may, lost);
    } else {
        bool local = place_reads_are_local(r->posture);
        ret->read = work + (local ? to_near : to_home);
        ret->write =
            ret->read +
            (cell_lost ? commit_ms : place_commit_ms(p, s, r, local ? near : home, may, lost));
    }
}

struct times {
    double read[PLACE_POINTS_MAX], write[PLACE_POINTS_MAX], near[PLACE_POINTS_MAX];
};

/** What place_latency() says with nothing lost, of all points that somebody may hold. */
static void all_times(const struct place *p, const struct place_set *s,
                      const struct plan_result *r, struct times *t)
{
    double commit[PLAN_COPIES_MAX][PLAN_USERS_MAX], work = p->load->processing_ms;
    const double *to_home = p->ms[s->at[s->home]];
    bool edges = r->posture == PLAN_EDGE_HIERARCHY, divides = place_divides(p, r->posture);
    bool local = place_reads_are_local(r->posture) && r->posture != PLAN_READ_LOCAL;

    unsigned laws = divides ? p->laws : 1;

    mrd_assert(laws > 0 && s->n > 0);
    for (unsigned law = 0; law < laws; law++) {
        unsigned may = place_may(p, s, r, law);
        for (unsigned k = 0; k < s->n; k++) {
            bool home = local ? (may >> k & 1) != 0 : (int)k == s->home;
            commit[k][law] = home ? place_commit_ms(p, s, r, (int)k, may, -1) : 0;
        }
    }
    if (!place_serves_nearby(r->posture)) {
        for (unsigned i = 0; i < p->points; i++) {
            t->read[i] = t->near[i] = work + to_home[i];
            t->write[i] = t->read[i] + commit[s->home][0];
        }
        return;
    }
    for (unsigned i = 0; i < p->points; i++) {
        int near = place_nearest(p, s, i, -1);
        double to_near = p->ms[s->at[near < 0 ? 0 : near]][i];
        if (edges || r->posture == PLAN_READ_LOCAL) {
            double forwarded = to_near + p->rtt[s->at[near < 0 ? 0 : near]][s->at[s->home]];
            double least = to_home[i] < forwarded ? to_home[i] : forwarded;
            t->read[i] = work + (edges ? least : to_near);
            t->write[i] = work + least + commit[s->home][0];
        } else {
            t->read[i] = work + to_near;
            t->write[i] = t->read[i] + (near < 0 ? 0 : commit[near][divides ? p->law[i] : 0]);
        }
        t->near[i] = to_near + PLAN_CDN_MS;
    }
}

/** Share of the weight that is within @limit, and the weighted sum. */
static double sum_within(const double *restrict weight, const double *restrict ms, unsigned n,
                         double limit, double *ret_sum)
{
    double within[4] = {0}, sum[4] = {0}; /* so that one addition need not wait for another */
    unsigned i = 0;

    for (; i + 4 <= n; i += 4) {
        for (unsigned k = 0; k < 4; k++) {
            within[k] += ms[i + k] <= limit ? weight[i + k] : 0;
            sum[k] += weight[i + k] * ms[i + k];
        }
    }
    for (unsigned k = 0; i < n; k++, i++) {
        within[k] += ms[i] <= limit ? weight[i] : 0;
        sum[k] += weight[i] * ms[i];
    }
    *ret_sum = sum[0] + sum[1] + sum[2] + sum[3];
    return within[0] + within[1] + within[2] + within[3];
}

void place_sum_times(const struct place *p, const struct place_set *s,
                     const struct plan_result *r, struct place_sums *ret)
{
    const struct plan_class *c = p->class;
    double never = PLACE_NEVER / 2;
    double read_ms = c->read_p95_ms != PLAN_NO_TARGET ? (double)c->read_p95_ms : never;
    double write_ms = c->write_p95_ms != PLAN_NO_TARGET ? (double)c->write_p95_ms : never;
    struct times t;

    all_times(p, s, r, &t);
    *ret = (struct place_sums){.hit = 1};
    ret->read = sum_within(p->weight, t.read, p->points, read_ms, &ret->read_ms);
    ret->write = sum_within(p->weight, t.write, p->points, write_ms, &ret->write_ms);
    if (r->posture == PLAN_EDGE_HIERARCHY) {
        ret->hit = sum_within(p->weight, t.near, p->points, read_ms, &ret->hit_ms);
    }
}

void place_share_within(const struct place *p, const struct place_sums *sums,
                        struct plan_result *r)
{
    const struct plan_class *c = p->class;
    bool edges = r->posture == PLAN_EDGE_HIERARCHY;
    double cached = r->cdn || edges ? c->reads_per_s * c->cacheable : 0;
    double reads = c->reads_per_s - cached, hits = edges ? cached : 0;
    double all = reads + hits + c->writes_per_s;

    r->mean_ms =
        all > 0
            ? (reads * sums->read_ms + hits * sums->hit_ms + c->writes_per_s * sums->write_ms) /
                  all
            : sums->read_ms;
    place_set_within(c, r, sums->read, sums->write, sums->hit);
}

double place_covered(const struct place *p, const struct place_set *s,
                     const struct plan_result *r)
{
    uint64_t by[4] = {0}; /* who may be stored by so many, at least */
    double sum = 0;

    if (!p->divided || r->posture == PLAN_EDGE_HIERARCHY) {
        return s->n > 1 ? 1 : 0;
    }
    for (unsigned k = 0; k < s->n; k++) {
        by[3] |= by[2] & p->users[s->at[k]];
        by[2] |= by[1] & p->users[s->at[k]];
        by[1] |= p->users[s->at[k]];
    }
    for (unsigned u = 0; u < p->load->user_count; u++) {
        sum += (by[r->quorum ? 3 : 2] >> u & 1) != 0 ? p->load->users[u].share : 0;
    }
    return sum;
}

/* ---- what a reader sees of the others' writes ---- */

/** Lag of changes from member @a at member @b; infinite when the link does not keep up. */
static double lag_ms(const struct place *p, const struct place_set *s,
                     const struct plan_result *r, int a, int b)
{
    const struct plan_class *c = p->class;
    bool relayed = r->posture == PLAN_HUB && r->hub != a && r->hub != b;
    double way_s = way_ms(p, s, r, a, b, -1) / 2000 + PLAN_SHIP_S * (relayed ? 2 : 1);
    struct mrd_lag lag;

    return mrd_lag_steady(c->writes_per_s, c->write_bytes, p->load->link_mbit * 1e6 / 8, way_s,
                          &lag) == 0
               ? lag.mean_s * 1000
               : (double)INFINITY;
}

/** How old the others' writes may be that a read at member @near is answered with. */
static double stale_ms(const struct place *p, const struct place_set *s,
                       const struct plan_result *r, int near)
{
    double worst = 0;

    if (!place_reads_are_local(r->posture) || r->posture == PLAN_CELLS ||
        !(p->class->writes_per_s > 0)) {
        return 0;
    }
    for (int k = 0; k < (int)s->n; k++) {
        bool writes = r->posture == PLAN_READ_LOCAL ? k == s->home : true;
        bool shared = (p->users[s->at[k]] & p->users[s->at[near]]) != 0;
        worst = writes && shared && k != near ? fmax(worst, lag_ms(p, s, r, k, near)) : worst;
    }
    return worst;
}

/* ---- percentiles ---- */

/** Room for the points and, a second time, for what caches answer them. */
struct sample {
    unsigned count;
    double read[2 * PLACE_POINTS_MAX], read_weight[2 * PLACE_POINTS_MAX];
    double write[PLACE_POINTS_MAX], write_weight[PLACE_POINTS_MAX];
};

/** The requests of @country (of all: -1) with member @lost (none: -1) gone. */
static void percentiles(const struct place *p, const struct place_set *s,
                        const struct plan_result *r, int lost, int country, double ret[4])
{
    static struct sample x;
    double cached = r->cdn || r->posture == PLAN_EDGE_HIERARCHY ? p->class->cacheable : 0;
    size_t n = 0;

    for (unsigned i = 0; i < p->points; i++) {
        struct place_times t;
        if (country >= 0 && p->country[i] != country) {
            continue;
        }
        place_latency(p, s, r, i, lost, &t);
        x.read[2 * n] = t.read;
        x.read_weight[2 * n] = p->weight[i] * (1 - cached);
        x.read[2 * n + 1] = r->cdn ? MRD_LAST_MILE_MS + PLAN_CDN_MS : t.cached;
        x.read_weight[2 * n + 1] = p->weight[i] * cached;
        x.write[n] = t.write;
        x.write_weight[n++] = p->weight[i];
    }
    ret[0] = mrd_percentile(x.read, x.read_weight, 2 * n, 0.5);
    ret[1] = mrd_percentile(x.read, x.read_weight, 2 * n, 0.95);
    ret[2] = mrd_percentile(x.write, x.write_weight, n, 0.5);
    ret[3] = mrd_percentile(x.write, x.write_weight, n, 0.95);
}

static double stale_p95(const struct place *p, const struct place_set *s,
                        const struct plan_result *r, int country)
{
    static struct sample x;
    double at[PLAN_COPIES_MAX];
    size_t n = 0;

    for (unsigned k = 0; k < s->n; k++) {
        at[k] = stale_ms(p, s, r, (int)k);
    }
    for (unsigned i = 0; i < p->points; i++) {
        int near = place_nearest(p, s, i, -1);
        if (near >= 0 && (country < 0 || p->country[i] == country)) {
            x.write[n] = at[near];
            x.write_weight[n++] = p->weight[i];
        }
    }
    return mrd_percentile(x.write, x.write_weight, n, 0.95);
}

/** 95% of @country's users are no farther in fibre from whom they come to. */
static double floor_p95(const struct place *p, const struct place_set *s,
                        const struct plan_result *r, int country)
{
    const struct plan_country *c = &p->data->countries[p->load->users[country].country];
    double ms[PLAN_METROS_MAX], weight[PLAN_METROS_MAX];
    size_t n = 0;

    for (unsigned i = 0; i < p->points; i++) {
        if (p->country[i] != country) {
            continue;
        }
        int at = place_serves_nearby(r->posture) ? place_nearest(p, s, i, -1) : s->home;
        const struct plan_region *to =
            &p->data->regions[p->load->candidates[s->at[at < 0 ? 0 : at]]];
        const struct plan_place *metro = &c->metros[n];
        ms[n] = mrd_fibre_rtt_ms(
            mrd_distance_km(metro->latitude, metro->longitude, to->latitude, to->longitude));
        weight[n++] = p->weight[i];
    }
    return mrd_percentile(ms, weight, n, 0.95);
}

/** The member that most of @country's users come to. */
static int serving(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, int country)
{
    double share[PLAN_COPIES_MAX] = {0};
    int best = -1;

    for (unsigned i = 0; i < p->points; i++) {
        if (country < 0 || p->country[i] == country) {
            int near = place_serves_nearby(r->posture) ? place_nearest(p, s, i, -1) : s->home;
            share[near < 0 ? 0 : near] += near < 0 ? 0 : p->weight[i];
        }
    }
    for (int k = 0; k < (int)s->n; k++) {
        best = share[k] > 0 && (best < 0 || share[k] > share[best]) ? k : best;
    }
    return best;
}

void place_country(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, int country, struct plan_country_latency *ret)
{
    double ms[4];

    percentiles(p, s, r, -1, country, ms);
    ret->read_p50 = ms[0], ret->read_p95 = ms[1];
    ret->write_p50 = ms[2], ret->write_p95 = ms[3];
    ret->lost_read_p95 = ret->lost_write_p95 = s->n > 1 ? 0 : PLAN_NOT_SERVED;
    for (unsigned k = 0; k < s->n && s->n > 1; k++) {
        percentiles(p, s, r, (int)k, country, ms);
        ret->lost_read_p95 = fmax(ret->lost_read_p95, ms[1]);
        ret->lost_write_p95 = fmax(ret->lost_write_p95, ms[3]);
    }
    ret->stale_p95_ms = stale_p95(p, s, r, country);
    ret->floor_p95_ms = country < 0 ? 0 : floor_p95(p, s, r, country);
    int at = serving(p, s, r, country);
    ret->region = at < 0 ? -1 : p->load->candidates[s->at[at]];
}

/* ---- one placement ---- */

static void put_first(struct place_set *s, int member)
{
    int first = s->at[0];

    s->at[0] = s->at[member];
    s->at[member] = first;
}

/** The home or the hub, and behind it those that hold the data before those that do not. */
static void set_order(const struct place *p, struct place_set *s, struct plan_result *r)
{
    struct place_set sorted;
    int order[PLAN_COPIES_MAX];

    put_first(s, s->home);
    s->home = 0;
    if (r->posture == PLAN_HUB) {
        place_user_shares(p, s, r);
        place_choose_hub(p, s, r);
        put_first(s, r->hub);
    } else if (r->posture == PLAN_EDGE_HIERARCHY) {
        sorted = *s;
        place_by_distance(p, s, order);
        for (unsigned k = 0; k < s->n; k++) {
            s->at[k] = sorted.at[order[k]];
        }
    }
}

void place_evaluate(const struct place *p, const struct place_set *set, struct plan_result *r)
{
    struct place_set s = *set;
    struct plan_country_latency all;
    struct place_sums sums;
    double rtt = 0;

    s.near = NULL;
    s.writes = NULL;
    set_order(p, &s, r);
    place_user_shares(p, &s, r);
    place_spread(p, &s, r);
    place_price(p, &s, r);
    place_sum_times(p, &s, r, &sums);
    place_share_within(p, &sums, r);
    place_parts(p, &s, r);
    for (unsigned k = 0; k < s.n; k++) {
        r->region[k] = p->load->candidates[s.at[k]];
        for (unsigned b = 0; b < r->held && k < r->held; b++) {
            bool from = (k == 0 || r->posture >= PLAN_FOLLOW_THE_SUN) &&
                        (p->users[s.at[k]] & p->users[s.at[b]]) != 0;
            rtt = from && b != k ? fmax(rtt, way_ms(p, &s, r, (int)k, (int)b, -1)) : rtt;
        }
    }
    place_country(p, &s, r, -1, &all);
    r->read_p50 = all.read_p50, r->read_p95 = all.read_p95;
    r->write_p50 = all.write_p50, r->write_p95 = all.write_p95;
    r->lost_read_p95 = all.lost_read_p95, r->lost_write_p95 = all.lost_write_p95;
    r->stale_p95_ms = all.stale_p95_ms;
    double ships = r->posture == PLAN_HUB && s.n > 2 ? 2 : 1;
    r->lag_s = s.n > 1 && r->copies > 0 ? rtt / 2000 + PLAN_SHIP_S * ships : 0;
}

double place_missing(const struct plan_class *c, const struct plan_result *r)
{
    return round(place_short(c, r) * 1e9) / 1e9;
}
