/*
 * What a placement costs and how far it is from its users.
 *
 * Users are points: the cities of each country, weighted by the people near them. A user's
 * region is the nearest of those that may store their data. search.c finds the best placement.
 */
#include <place.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/cost.h>
#include <mrd/latency.h>

#define MONTH_S (30.0 * 86400)
#define GB 1e9

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

static void add_rules(struct place *p, struct plan_data *data)
{
    const struct plan_class *c = p->class;
    for (unsigned r = 0; r < p->candidates; r++) {
        const char *country = data->regions[p->load->candidates[r]].country;
        for (unsigned u = 0; u < p->load->user_count; u++) {
            const char *user = data->countries[p->load->users[u].country].iso2;
            bool may = true;
            for (unsigned k = 0; k < c->residency_count; k++) {
                if (plan_in_bloc(data, user, c->residency[k].users)) {
                    may &= plan_in_bloc(data, country, c->residency[k].stored);
                    data->sources[PLAN_SOURCE_BLOCS].used = true;
                }
            }
            p->users[r] |= (uint64_t)may << u;
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
            bool may = may_hold(p, (int)r, i);
            p->legal_ms[r][i] = may ? (float)p->ms[r][i] : (float)PLACE_NEVER;
        }
    }
    *ret = p;
    return 0;
}

/* ---- latency ---- */

/** Does each record (or cell) have a home of its own near its users? */
bool place_homes_are_local(enum plan_posture p)
{
    return p == PLAN_PARTITIONED || p == PLAN_CELLS;
}

bool place_reads_are_local(enum plan_posture p)
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
        if ((int)k != lost && may_hold(p, s->at[k], i) &&
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
    return mrd_quorum_leader_ms(rtt, n, w, &ms) == 0 ? ms + PLAN_FSYNC_MS : PLACE_NEVER;
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
    *ret_read = work + (place_reads_are_local(r->posture) ? to_near : to_home);
    if (r->posture == PLAN_READ_LOCAL) {
        double forwarded = to_near + p->rtt[s->at[near]][s->at[home]];
        *ret_write = work + fmin(to_home, forwarded) + commit_ms(p, s, r, home, lost);
    } else if (place_reads_are_local(r->posture)) {
        *ret_write = work + to_near + commit_ms(p, s, r, near, lost);
    } else {
        *ret_write = work + to_home + commit_ms(p, s, r, home, lost);
    }
}

void place_set_within(const struct plan_class *c, struct plan_result *r, double read,
                       double write)
{
    r->read_ok = r->cdn ? c->cacheable + (1 - c->cacheable) * read : read;
    /* Writes to records homed elsewhere count as late. */
    bool targeted = c->write_p95_ms != PLAN_NO_TARGET;
    r->write_ok = !targeted                           ? write
                  : place_homes_are_local(r->posture)       ? write * c->locality
                  : r->posture == PLAN_FOLLOW_THE_SUN ? write * c->daytime
                                                      : write;
}

void place_share_within(const struct place *p, const struct place_set *s,
                         struct plan_result *r)
{
    const struct plan_class *c = p->class;
    double commit[PLAN_REPLICAS_MAX], read = 0, write = 0, read_sum = 0, write_sum = 0;
    double reads = c->reads_per_s * (r->cdn ? 1 - c->cacheable : 1);
    double read_ms =
        c->read_p95_ms != PLAN_NO_TARGET ? (double)c->read_p95_ms : PLACE_NEVER / 2;
    double write_ms =
        c->write_p95_ms != PLAN_NO_TARGET ? (double)c->write_p95_ms : PLACE_NEVER / 2;
    bool local = place_reads_are_local(r->posture), forwards = r->posture == PLAN_READ_LOCAL;
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
        read_sum += p->weight[i] * rd;
        write_sum += p->weight[i] * wr;
    }
    r->mean_ms = reads + c->writes_per_s > 0
                     ? (reads * read_sum + c->writes_per_s * write_sum) / (reads + c->writes_per_s)
                     : read_sum;
    place_set_within(c, r, read, write);
}

/** Share of the users whose data a second member may hold. */
static double covered(const struct place *p, const struct place_set *s)
{
    uint64_t once = 0, twice = 0;
    double sum = 0;

    if (p->class->residency_count == 0) {
        return s->n > 1 ? 1 : 0;
    }
    for (unsigned k = 0; k < s->n; k++) {
        twice |= once & p->users[s->at[k]];
        once |= p->users[s->at[k]];
    }
    for (unsigned u = 0; u < p->load->user_count; u++) {
        sum += (twice >> u & 1) != 0 ? p->load->users[u].share : 0;
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
        read[p->points + i] = MRD_LAST_MILE_MS + PLAN_CDN_MS;
        weight[p->points + i] = p->weight[i] * cached;
        write_weight[i] = p->weight[i];
    }
    ret[0] = mrd_percentile(read, weight, 2 * (size_t)p->points, 0.5);
    ret[1] = mrd_percentile(read, weight, 2 * (size_t)p->points, 0.95);
    ret[2] = mrd_percentile(write, write_weight, p->points, 0.5);
    ret[3] = mrd_percentile(write, write_weight, p->points, 0.95);
}

/* ---- cost ---- */

void place_user_shares(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    memset(r->share, 0, sizeof(r->share));
    if (!place_reads_are_local(r->posture)) {
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

double place_origin_gb(const struct plan_class *c, bool cdn)
{
    return c->reads_per_s * c->read_bytes * (cdn ? 1 - c->cacheable : 1) * MONTH_S / GB;
}

double place_written_gb(const struct plan_class *c)
{
    return c->writes_per_s * c->write_bytes * (1 + PLAN_OVERHEAD) * MONTH_S / GB;
}

static void transfer_cost(const struct place *p, const struct place_set *s,
                          struct plan_result *r)
{
    const struct plan_class *c = p->class;
    double gb = place_written_gb(c);
    bool spread = r->posture >= PLAN_FOLLOW_THE_SUN;
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

double plan_copies(const struct plan_result *r)
{
    return r->posture == PLAN_CELLS && r->n > 2 ? 1 : r->n - 1;
}

void place_cost_of_size(const struct place *p, struct plan_result *r, double running)
{
    const struct plan_workload *w = p->load;
    const struct plan_class *c = p->class;
    double all = 0, mine = c->reads_per_s + c->writes_per_s, origin = mine;

    for (unsigned i = 0; i < w->class_count; i++) {
        all += w->classes[i].reads_per_s + w->classes[i].writes_per_s;
    }
    origin -= r->cdn ? c->reads_per_s * c->cacheable : 0;
    double compute = w->compute_usd_month >= 0 ? w->compute_usd_month / all * origin
                                               : PLAN_COMPUTE_USD * origin;
    double database = w->database_usd_month >= 0 ? w->database_usd_month / all * origin
                                                 : PLAN_DATABASE_USD * origin;

    memset(r->cost, 0, sizeof(r->cost));
    r->cost[PLAN_COMPUTE] = compute;
    r->cost[PLAN_HEADROOM] = compute * (running - 1);
    double copies = plan_copies(r);
    r->cost[PLAN_DATABASE] =
        database * (1 + copies * (r->posture == PLAN_PILOT_LIGHT ? PLAN_PILOT_DATABASE
                                                                 : PLAN_REPLICA_DATABASE));
    r->cost[PLAN_STORAGE] = c->storage_gb * w->storage_usd_gb * (1 + copies);
    r->cost[PLAN_CDN] =
        r->cdn ? (place_origin_gb(c, false) - place_origin_gb(c, true)) * w->cdn_usd_gb : 0;
    r->cost[PLAN_EDGE] = w->region_usd_month * r->n;
}

static void cost(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    place_cost_of_size(p, r, capacity(p->load, s, r));
    transfer_cost(p, s, r);
    for (unsigned k = 0; k < s->n; k++) {
        r->cost[PLAN_EGRESS] +=
            r->share[k] * place_origin_gb(p->class, r->cdn) * p->internet_gb[s->at[k]];
    }
    r->total = 0;
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        r->total += r->cost[i];
    }
}

/* ---- one placement ---- */

void place_weigh(const struct place *p, const struct place_set *s, struct plan_result *r)
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
    place_user_shares(p, &s, r);
    place_weigh(p, &s, r);
    place_share_within(p, &s, r);
    percentiles(p, &s, r, -1, ms);
    r->read_p50 = ms[0], r->read_p95 = ms[1], r->write_p50 = ms[2], r->write_p95 = ms[3];
    r->lost_read_p95 = r->lost_write_p95 = 0;
    for (unsigned k = 0; k < s.n && s.n > 1; k++) {
        percentiles(p, &s, r, (int)k, ms);
        r->lost_read_p95 = fmax(r->lost_read_p95, ms[1]);
        r->lost_write_p95 = fmax(r->lost_write_p95, ms[3]);
    }
    r->lag_s = s.n > 1 ? rtt / 2000 + PLAN_SHIP_S : 0;
}

double place_missing(const struct plan_class *c, const struct plan_result *r)
{
    double sum = (c->read_p95_ms != PLAN_NO_TARGET ? fmax(0, 0.95 - r->read_ok) : 0) +
                 (c->write_p95_ms != PLAN_NO_TARGET ? fmax(0, 0.95 - r->write_ok) : 0);
    if ((c->rto_ms != PLAN_NO_TARGET || c->availability_pct >= 0) &&
        r->posture != PLAN_SINGLE) {
        sum += 1 - r->covered;
    }
    return round(sum * 1e9) / 1e9; /* the order of additions is to decide nothing */
}
