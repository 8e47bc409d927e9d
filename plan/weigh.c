/*
 * What a placement costs: servers, storage, and traffic between regions and to users.
 *
 * A write's copies go where the posture sends them and the law lets them: to all other members,
 * to the few that stand behind a cell, to the standby of a home whose edges hold nothing, or
 * through a hub. Who writes is counted in groups of users that are near the same member and may
 * be stored by the same members, so that a residency rule is priced and not only kept. The same
 * groups say where the load of a lost region may go.
 */
#include <place.h>

#include <math.h>
#include <string.h>

#include <mrd/cost.h>

#define MONTH_S (30.0 * 86400)
#define GB 1e9
double place_origin_gb(const struct plan_class *c, bool cdn)
{
    return c->reads_per_s * c->read_bytes * (cdn ? 1 - c->cacheable : 1) * MONTH_S / GB;
}

double place_written_gb(const struct plan_class *c)
{
    return c->writes_per_s * c->write_bytes * (1 + PLAN_OVERHEAD) * MONTH_S / GB;
}

unsigned place_held(const struct plan_result *r, unsigned n)
{
    return r->posture != PLAN_EDGE_HIERARCHY ? n : r->quorum ? 3 : 2;
}

void place_by_distance(const struct place *p, const struct place_set *s,
                       int ret[PLAN_COPIES_MAX])
{
    const double *rtt = p->rtt[s->at[s->home]];
    unsigned n = 1;

    ret[0] = s->home;
    for (unsigned k = 0; k < s->n; k++) { /* sorted by insertion */
        unsigned at = n;
        if ((int)k == s->home) {
            continue;
        }
        for (; at > 1 && rtt[s->at[ret[at - 1]]] > rtt[s->at[k]]; at--) {
            ret[at] = ret[at - 1];
        }
        ret[at] = (int)k;
        n++;
    }
}

void place_user_shares(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    memset(r->share, 0, sizeof(r->share));
    if (!place_serves_nearby(r->posture)) {
        r->share[s->home] = 1;
        return;
    }
    for (unsigned i = 0; i < p->points; i++) {
        int near = place_nearest(p, s, i, -1);
        if (near >= 0) {
            r->share[near] += p->weight[i];
        }
    }
}

unsigned place_copies(const struct place *p, const struct place_set *s,
                      const struct plan_result *r, unsigned home, unsigned may)
{
    const double *rtt = p->rtt[s->at[home]];
    unsigned copies = 1u << home;

    if (r->posture == PLAN_SINGLE) {
        return copies;
    }
    if (r->posture != PLAN_CELLS) {
        return may;
    }
    for (unsigned left = PLACE_CELL_COPIES(r->quorum); left > 0; left--) {
        int next = -1;
        for (unsigned k = 0; k < s->n; k++) {
            bool more = ((may & ~copies) >> k & 1) != 0;
            next = more && (next < 0 || rtt[s->at[k]] < rtt[s->at[next]]) ? (int)k : next;
        }
        copies |= next >= 0 ? 1u << next : 0;
    }
    return copies;
}

/* ---- servers ---- */

/** Of the load of member @lost, what goes to each of the others: where its copies are, in
 * proportion to what is served there, or evenly where nothing is. */
static void leave(const struct place *p, const struct place_set *s, const struct plan_result *r,
                  const struct place_writes *groups, unsigned lost, double ret[PLAN_COPIES_MAX])
{
    memset(ret, 0, s->n * sizeof(*ret));
    for (unsigned g = 0; g < groups->groups; g++) {
        double load = groups->share[lost][g], served = 0;
        unsigned others =
            load > 0 ? place_copies(p, s, r, lost, groups->may[g]) & ~(1u << lost) : 0;
        if (others == 0) {
            continue;
        }
        for (unsigned k = 0; k < s->n; k++) {
            served += (others >> k & 1) != 0 ? r->share[k] : 0;
        }
        for (unsigned k = 0; k < s->n; k++) {
            double part = served > 0 ? r->share[k] / served : 1.0 / __builtin_popcount(others);
            ret[k] += (others >> k & 1) != 0 ? load * part : 0;
        }
    }
}

/** F19 where the load is confined: ->spill, and the capacity of all. */
static double confined_capacity(const struct place *p, const struct place_set *s,
                                struct plan_result *r, const struct place_writes *groups)
{
    double left[PLAN_COPIES_MAX], sum = 0;

    memset(r->spill, 0, sizeof(r->spill));
    for (unsigned lost = 0; lost < s->n; lost++) {
        leave(p, s, r, groups, lost, left);
        for (unsigned k = 0; k < s->n; k++) {
            r->spill[k] = left[k] > r->spill[k] ? left[k] : r->spill[k];
        }
    }
    for (unsigned k = 0; k < s->n; k++) {
        sum += r->share[k] + r->spill[k];
    }
    return sum;
}

/** Running capacity over all regions, in units of the load. */
static double capacity(const struct place *p, const struct place_set *s, struct plan_result *r,
                       const struct place_writes *groups)
{
    const struct plan_workload *w = p->load;
    double each[MRD_HEADROOM_MAX], sum = 0;

    if (r->posture == PLAN_SINGLE) {
        return 1;
    }
    if (r->posture == PLAN_PILOT_LIGHT) {
        return 1 + w->pilot_standby;
    }
    if (!place_reads_are_local(r->posture)) {
        return 1 + w->standby * (place_held(r, s->n) - 1);
    }
    if (r->confined) {
        return confined_capacity(p, s, r, groups);
    }
    if (mrd_headroom_shares(r->share, s->n, 1, each) != 0) {
        return 2; /* one region has all of the users: another must be able to take them */
    }
    for (unsigned k = 0; k < s->n; k++) {
        sum += each[k];
    }
    return sum;
}

void place_requests(const struct plan_workload *w, const struct plan_class *c,
                    const struct plan_result *r, struct place_requests *ret)
{
    double all = 0, cached = c->reads_per_s * c->cacheable;
    bool edges = r->posture == PLAN_EDGE_HIERARCHY;

    for (unsigned i = 0; i < w->class_count; i++) {
        all += w->classes[i].reads_per_s + w->classes[i].writes_per_s;
    }
    ret->database_per_s = c->reads_per_s + c->writes_per_s - (edges || r->cdn ? cached : 0);
    ret->compute_per_s = ret->database_per_s + (edges ? cached * PLAN_EDGE_REQUEST : 0);
    ret->compute_usd =
        w->compute_usd_month >= 0 ? w->compute_usd_month / all : PLAN_COMPUTE_USD;
    ret->database_usd =
        w->database_usd_month >= 0 ? w->database_usd_month / all : PLAN_DATABASE_USD;
}

void place_cost_of_size(const struct place *p, struct plan_result *r, double running,
                        double copies)
{
    const struct plan_workload *w = p->load;
    const struct plan_class *c = p->class;
    struct place_requests q;

    place_requests(w, c, r, &q);
    double compute = q.compute_usd * q.compute_per_s;
    double each = r->posture == PLAN_PILOT_LIGHT ? PLAN_PILOT_DATABASE : PLAN_REPLICA_DATABASE;
    memset(r->cost, 0, sizeof(r->cost));
    r->cost[PLAN_COMPUTE] = compute;
    r->cost[PLAN_HEADROOM] = compute * (running - 1);
    r->cost[PLAN_DATABASE] = q.database_usd * q.database_per_s * (1 + copies * each);
    r->cost[PLAN_STORAGE] = c->storage_gb * w->storage_usd_gb * (1 + copies);
    r->cost[PLAN_CDN] =
        r->cdn ? (place_origin_gb(c, false) - place_origin_gb(c, true)) * w->cdn_usd_gb : 0;
    r->cost[PLAN_EDGE] = w->region_usd_month * r->n;
}

/* ---- copies ---- */

static double price(const struct place *p, const struct place_set *s, unsigned a, unsigned b)
{
    return p->usd_gb[s->at[a]][s->at[b]];
}

/** From @a to all of @may, the hub's own copy among them. */
static double through_hub(const struct place *p, const struct place_set *s, unsigned hub,
                          unsigned a, unsigned may)
{
    double usd = a == hub ? 0 : price(p, s, a, hub);

    for (unsigned b = 0; b < s->n; b++) {
        usd += b != a && b != hub && (may >> b & 1) != 0 ? price(p, s, hub, b) : 0;
    }
    return usd;
}

/** What a GB written at member @a costs on its way to the others of @may, and how many get
 * it. */
static double copies_usd_gb(const struct place *p, const struct place_set *s,
                            const struct plan_result *r, unsigned a, unsigned may,
                            unsigned *ret_copies)
{
    double sum = 0;
    unsigned n = 0;

    if (r->posture == PLAN_EDGE_HIERARCHY) {
        int core[PLAN_COPIES_MAX];
        place_by_distance(p, s, core);
        for (n = 1; n < place_held(r, s->n) && n < s->n; n++) {
            sum += price(p, s, a, (unsigned)core[n]);
        }
        *ret_copies = n - 1;
        return sum;
    }
    may = place_copies(p, s, r, a, may);
    for (unsigned b = 0; b < s->n; b++) {
        if (b != a && (may >> b & 1) != 0) {
            sum += price(p, s, a, b);
            n++;
        }
    }
    *ret_copies = n;
    return r->posture == PLAN_HUB ? through_hub(p, s, (unsigned)r->hub, a, may) : sum;
}

static void group_writes(const struct place_set *s, const struct plan_result *r,
                         struct place_writes *ret)
{
    bool spread = r->posture >= PLAN_FOLLOW_THE_SUN;

    ret->groups = 1;
    ret->may[0] = (1u << s->n) - 1;
    for (unsigned k = 0; k < s->n; k++) {
        ret->share[k][0] = spread ? r->share[k] : (int)k == s->home ? 1 : 0;
    }
}

void place_divide_writes(const struct place *p, const struct place_set *s,
                         struct place_writes *ret)
{
    unsigned may[PLAN_USERS_MAX], group[PLACE_GROUPS] = {0}, occurs = 0;

    _Static_assert(PLACE_GROUPS <= 8 * sizeof(occurs), "a bit for each set of members");
    mrd_assert(s->n <= PLAN_REPLICAS_MAX);
    for (unsigned law = 0; law < p->laws; law++) {
        may[law] = 0;
        for (unsigned k = 0; k < s->n; k++) {
            may[law] |= (unsigned)(p->lawful[law] >> s->at[k] & 1) << k;
        }
        occurs |= 1u << may[law];
    }
    ret->groups = 0;
    for (unsigned g = 0; g < 1u << s->n; g++) {
        if ((occurs >> g & 1) != 0) {
            group[g] = ret->groups;
            ret->may[ret->groups++] = g;
        }
    }
    for (unsigned law = 0; law < p->laws; law++) {
        may[law] = group[may[law]];
    }
    for (unsigned k = 0; k < s->n; k++) {
        memset(ret->share[k], 0, ret->groups * sizeof(ret->share[k][0]));
    }
    for (unsigned i = 0; i < p->points; i++) {
        int near = place_nearest(p, s, i, -1);
        if (near >= 0) {
            ret->share[near][may[p->law[i]]] += p->weight[i];
        }
    }
}

/** Replication of all groups, by the present ->hub; ->copies. */
static double replication_usd_gb(const struct place *p, const struct place_set *s,
                                 struct plan_result *r, const struct place_writes *w)
{
    double usd = 0;

    r->copies = 0;
    for (unsigned a = 0; a < s->n; a++) {
        for (unsigned g = 0; g < w->groups; g++) {
            if (w->share[a][g] > 0) {
                unsigned copies = 0;
                usd += w->share[a][g] * copies_usd_gb(p, s, r, a, w->may[g], &copies);
                r->copies += w->share[a][g] * copies;
            }
        }
    }
    return usd;
}

bool place_divides(const struct place *p, enum plan_posture posture)
{
    return p->divided && place_homes_are_local(posture);
}

/** Who writes where: as the search has it, or worked out into @own. */
static const struct place_writes *find_groups(const struct place *p, const struct place_set *s,
                                              const struct plan_result *r,
                                              struct place_writes *own)
{
    if (!place_divides(p, r->posture)) {
        group_writes(s, r, own);
    } else if (s->writes != NULL) {
        return s->writes;
    } else {
        place_divide_writes(p, s, own);
    }
    return own;
}

/** The hub through which it all costs least, of those that may hold everything; of equals, the
 * one in the middle. */
static void choose_hub(const struct place *p, const struct place_set *s, struct plan_result *r,
                       const struct place_writes *w)
{
    double least = INFINITY, least_ms = INFINITY;
    int best = 0;

    for (unsigned k = 0; k < s->n; k++) {
        double ms = 0;
        for (unsigned b = 0; b < s->n; b++) {
            ms += p->rtt[s->at[k]][s->at[b]];
        }
        r->hub = (int)k;
        double usd =
            place_holds_all(p, s->at[k]) ? replication_usd_gb(p, s, r, w) : (double)INFINITY;
        if (usd < least * (1 - 1e-9) || (usd <= least * (1 + 1e-9) && ms < least_ms)) {
            least = usd;
            least_ms = ms;
            best = (int)k;
        }
    }
    r->hub = best;
}

void place_choose_hub(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    struct place_writes own;

    choose_hub(p, s, r, find_groups(p, s, r, &own));
}

/* ---- the whole ---- */

/** Requests that pass another region on their way to the home. */
static double forwarding(const struct place *p, const struct place_set *s,
                         const struct plan_result *r, double written_gb)
{
    bool edges = r->posture == PLAN_EDGE_HIERARCHY;
    double usd = 0, read_gb = edges ? place_origin_gb(p->class, true) : 0;

    for (unsigned a = 0; a < s->n && (edges || r->posture == PLAN_READ_LOCAL); a++) {
        if ((int)a != s->home) {
            usd += r->share[a] * (written_gb * price(p, s, a, (unsigned)s->home) +
                                  read_gb * price(p, s, (unsigned)s->home, a));
        }
    }
    return usd;
}

void place_parts(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    struct place_writes own;
    const struct place_writes *groups = find_groups(p, s, r, &own);

    r->part_count = 0;
    for (unsigned a = 0; a < s->n; a++) {
        for (unsigned g = 0; g < groups->groups; g++) {
            unsigned i = 0, copies = r->posture == PLAN_EDGE_HIERARCHY
                                         ? (1u << r->held) - 1
                                         : place_copies(p, s, r, a, groups->may[g]);
            if (!(groups->share[a][g] > 0)) {
                continue;
            }
            while (i < r->part_count &&
                   (r->parts[i].home != a || r->parts[i].copies != copies)) {
                i++;
            }
            if (i == r->part_count) {
                mrd_assert(r->part_count < PLAN_PARTS_MAX);
                r->parts[r->part_count++] = (struct plan_part){0, a, copies};
            }
            r->parts[i].share += groups->share[a][g];
        }
    }
}

void place_spread(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    struct place_writes own;
    const struct place_writes *groups = find_groups(p, s, r, &own);

    r->n = s->n;
    r->confined = place_divides(p, r->posture) || r->posture == PLAN_CELLS;
    r->held = place_held(r, s->n);
    r->covered = place_covered(p, s, r);
    if (r->posture == PLAN_HUB) {
        choose_hub(p, s, r, groups);
    }
    r->copies_usd_gb = replication_usd_gb(p, s, r, groups);
    r->running = capacity(p, s, r, groups);
}

void place_price(const struct place *p, const struct place_set *s, struct plan_result *r)
{
    double gb = place_written_gb(p->class);

    place_cost_of_size(p, r, r->running, r->copies);
    r->cost[PLAN_REPLICATION] = gb * r->copies_usd_gb;
    r->cost[PLAN_FORWARDING] = forwarding(p, s, r, gb);
    r->replication_mbit = gb * r->copies * GB * 8 / MONTH_S / 1e6;
    for (unsigned k = 0; k < s->n; k++) {
        r->cost[PLAN_EGRESS] +=
            r->share[k] * place_origin_gb(p->class, r->cdn) * p->internet_gb[s->at[k]];
    }
    r->total = 0;
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        r->total += r->cost[i];
    }
}
