/*
 * The tables that everybody quotes, row by row (wisdom.h).
 *
 * A row is matched by what the class asks for, not by what was found for it; then the two are
 * compared. Numbers count as the same within a fifth, ranges when they hold the number.
 */
#include <place.h>
#include <wisdom.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mrd/latency.h>

struct book {
    struct plan_data *data;
    const struct plan_workload *w;
    const struct plan_answer *a;
    const struct plan_result *r; /* recommended, or NULL */
    const struct plan_result *single;
    struct plan_wisdom *rows;
    unsigned count;
};

static void write(char *out, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void write(char *out, size_t cap, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out, cap, fmt, args);
    va_end(args);
}

#define SAY(field, ...) write(field, sizeof(field), __VA_ARGS__)

static struct plan_wisdom *begin(struct book *b, const char *table)
{
    static struct plan_wisdom spare;
    struct plan_wisdom *row = b->count < PLAN_WISDOM_MAX ? &b->rows[b->count++] : &spare;

    memset(row, 0, sizeof(*row));
    row->table = table;
    return row;
}

/* ---- what a class is like ---- */

/** The continent whose regions are nearest to a country. */
static const char *continent(const struct plan_data *data, const struct plan_country *c)
{
    const char *best = "";
    double least = INFINITY;

    for (int i = 0; i < data->region_count; i++) {
        const struct plan_region *r = &data->regions[i];
        double km =
            mrd_distance_km(c->centre.latitude, c->centre.longitude, r->latitude, r->longitude);
        if (km < least && r->continent[0] != '\0') {
            least = km;
            best = r->continent;
        }
    }
    return best;
}

/** On how many continents at least 5% of the users are. */
static unsigned continents(const struct book *b)
{
    const char *names[PLAN_USERS_MAX];
    double share[PLAN_USERS_MAX] = {0};
    unsigned n = 0, many = 0;

    for (unsigned u = 0; u < b->w->user_count; u++) {
        const char *name = continent(b->data, &b->data->countries[b->w->users[u].country]);
        unsigned at = 0;
        while (at < n && strcmp(names[at], name) != 0) {
            at++;
        }
        n += at == n;
        names[at] = name;
        share[at] += b->w->users[u].share;
    }
    for (unsigned i = 0; i < n; i++) {
        many += share[i] >= 0.05;
    }
    return many;
}

static const struct plan_result *find(const struct plan_answer *a, enum plan_posture p,
                                      bool cdn)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (a->results[i].posture == p && a->results[i].cdn == cdn) {
            return &a->results[i];
        }
    }
    return NULL;
}

/* ---- situations ---- */

enum situation { RESIDENT, REAL_TIME, CONTRACTS, READ_HEAVY, ONE_CONTINENT, NO_REASON };

static const struct {
    const char *row;
    enum plan_posture posture;
    bool cdn;
    const char *says;
} situations[] = {
    {"data that must stay in its jurisdiction", PLAN_PARTITIONED, false, "partitioned"},
    {"a global real-time application", PLAN_ACTIVE_ACTIVE, false, "active-active"},
    {"contracts of 99.99% and more", PLAN_ACTIVE_PASSIVE, false,
     "active-passive in two regions"},
    {"global users, mostly reads that cache", PLAN_SINGLE, true, "single-region + CDN"},
    {"users on one continent", PLAN_SINGLE, false, "single-region"},
    {"no reason that could be named", PLAN_SINGLE, false, "single-region"},
};

static enum situation situation(const struct book *b, unsigned many)
{
    const struct plan_class *c = b->a->class;

    return c->residency_count > 0 ? RESIDENT
           : many > 1 && c->writes_per_s > 0 && c->write_p95_ms < 150 &&
                   c->write_p95_ms != PLAN_NO_TARGET
               ? REAL_TIME
           : c->availability_pct >= 99.99 ? CONTRACTS
           : many > 1 && c->cacheable >= 0.5 && c->reads_per_s >= 10 * c->writes_per_s
               ? READ_HEAVY
           : many == 1 ? ONE_CONTINENT
                       : NO_REASON;
}

/** Is @r what a table means by @posture? A posture that only adds to it is. */
static bool is_like(const struct plan_result *r, enum plan_posture posture)
{
    return r->posture == posture ||
           (posture == PLAN_PARTITIONED && place_homes_are_local(r->posture));
}

/** Why the tables' posture was not taken here. */
static void explain_posture(const struct book *b, enum plan_posture posture, bool cdn,
                            char *out, size_t cap)
{
    const struct plan_result *r = find(b->a, posture, cdn);
    char name[40], text[PLAN_MISSES_TEXT];

    r = r != NULL ? r : find(b->a, posture, false);
    plan_result_name(r, name);
    if (r->refused != NULL) {
        write(out, cap, "%s is refused: %s", name, r->refused);
    } else if (r->missed != 0) {
        write(out, cap, "%s misses %s", name, plan_missed(r->missed, text));
    } else if (b->r != NULL) {
        write(out, cap, "%s keeps every target, too, at %.0f USD/month instead of %.0f%s", name,
              r->total, b->r->total, b->r->posture < r->posture ? ", and is less simple" : "");
    } else {
        out[0] = '\0';
    }
}

static void say_situation(struct book *b, unsigned many)
{
    enum situation is = situation(b, many);
    struct plan_wisdom *row = begin(b, "situations");
    char name[40];

    SAY(row->row, "%s", situations[is].row);
    SAY(row->says, "%s", situations[is].says);
    SAY(row->here, "%s",
        b->r != NULL ? plan_result_name(b->r, name) : "no posture keeps the targets");
    row->agrees = b->r != NULL && is_like(b->r, situations[is].posture);
    if (!row->agrees) {
        explain_posture(b, situations[is].posture, situations[is].cdn, row->why,
                        sizeof(row->why));
    }
}

/** The tree that asks four questions, any of which means several regions. */
static void say_tree(struct book *b, unsigned many)
{
    const struct plan_class *c = b->a->class;
    struct plan_wisdom *row = begin(b, "decision tree");
    const char *yes = c->availability_pct > 99.99 ? "more than 99.99% is asked for"
                      : many >= 3                 ? "users on three continents"
                      : c->residency_count > 0    ? "data has to stay somewhere"
                      : c->rto_ms < UINT64_C(4) * 3600000
                          ? "less than 4 hours down is tolerated"
                          : NULL;

    SAY(row->row, "%s", yes != NULL ? yes : "none of its four questions is answered with yes");
    SAY(row->says, "%s", yes != NULL ? "several regions" : "one region");
    SAY(row->here, "%s",
        b->r == NULL  ? "no posture keeps the targets"
        : b->r->n > 1 ? "several regions"
                      : "one region");
    row->agrees = b->r != NULL && (b->r->n > 1) == (yes != NULL);
    if (!row->agrees) {
        SAY(row->why, "%s",
            b->r == NULL  ? b->a->rule
            : b->r->n > 1 ? b->a->driver
                          : "one region keeps every target that was set; a reason without a "
                            "target it misses is none");
    }
}

/* ---- availability ---- */

static void say_one_region(struct book *b)
{
    double u = 1 - b->w->region_pct / 100;
    struct plan_wisdom *row = begin(b, "availability");

    SAY(row->row, "one region with several zones");
    SAY(row->says, "One region with several zones gives 99.99%% (99.9%% in another table)");
    SAY(row->here, "%.4f%%, down %.2f h a year, with the outages assumed", 100 * (1 - u),
        u * MRD_YEAR_H);
    row->agrees = u <= 1.0001e-4;
    if (!row->agrees) {
        SAY(row->why, "zones do not help when a whole region is lost, which history shows "
                      "(failures: region_availability)");
    }
}

static void say_independence(struct book *b)
{
    const struct plan_result *r = b->r;
    double u = 1 - b->w->region_pct / 100, naive = pow(u, r->held);
    struct plan_wisdom *row = begin(b, "availability");

    SAY(row->row, "%u regions, each with its own outages", r->held);
    SAY(row->says, "%u regions are down together %.2g of the time", r->held, naive);
    SAY(row->here, "%.2g of the time", r->u);
    row->agrees = r->u <= naive * 1.2;
    if (!row->agrees) {
        SAY(row->why,
            "that is independence; %.0f%% of outages are taken to be in common, and "
            "failovers take time and may fail (F5, F6)",
            100 * b->w->beta);
    }
}

static bool is_active(const struct plan_result *r)
{
    return r->posture >= PLAN_FOLLOW_THE_SUN;
}

/** 99.95% for active-passive, 99.99% and 99.999% for two and three active regions. */
static void say_setup(struct book *b)
{
    const struct plan_result *r = b->r;
    bool active = is_active(r) && (r->n == 2 || r->n == 3);
    double claim = active ? (r->n == 2 ? 99.99 : 99.999) : 99.95;

    if (!active && r->posture != PLAN_ACTIVE_PASSIVE) {
        return;
    }
    struct plan_wisdom *row = begin(b, "availability");
    double u = 1 - claim / 100;
    SAY(row->row, active ? "active-active, %u regions" : "active-passive", r->n);
    SAY(row->says, "%g%%, %.0f minutes down a year", claim, u * MRD_YEAR_H * 60);
    SAY(row->here, "%.4f%%, %.0f minutes", 100 * (1 - r->u), r->u * MRD_YEAR_H * 60);
    row->agrees = r->u <= 1.2 * u && r->u >= u / 1.2;
    if (!row->agrees) {
        SAY(row->why, "%s",
            r->u < u ? "recovery is automatic and drilled here; by hand it takes longer"
                     : "outages in common bound it however many regions there are: a third one "
                       "buys next to nothing while beta is what it is (F5)");
    }
}

/* ---- recovery ---- */

static void say_pattern(struct book *b)
{
    const struct plan_result *r = b->r;
    bool passive = r->posture == PLAN_ACTIVE_PASSIVE, cells = r->posture == PLAN_CELLS;
    struct plan_wisdom *row = begin(b, "patterns");
    double rto_low = passive ? 60 : 0, rto_high = passive ? 4 * 3600 : 60;
    double rpo_high = passive ? 3600 : cells ? 0 : 60;

    SAY(row->row, "%s", passive ? "active-passive" : cells ? "cell-based" : "active-active");
    SAY(row->says, "RPO %s, RTO %s",
        passive ? "minutes"
        : cells ? "zero"
                : "seconds",
        passive ? "minutes to hours" : "seconds");
    SAY(row->here, "RPO %.3g s, RTO %.0f s", r->rpo_s, r->rto_s);
    row->agrees = r->rto_s >= rto_low && r->rto_s <= rto_high && r->rpo_s <= rpo_high;
    if (!row->agrees) {
        SAY(row->why, "%s",
            r->rpo_s > rpo_high && cells
                ? "a cell is copied asynchronously unless rpo: 0s asks "
                  "for a quorum"
            : r->rpo_s > rpo_high ? "the link between the regions does not keep up"
            : r->rto_s > rto_high ? "what is given under failures: takes longer"
                                  : "detection and promotion are automatic here");
    }
}

/* ---- money ---- */

static void say_multiple(struct book *b)
{
    const struct plan_result *r = b->r;
    bool passive = r->posture == PLAN_ACTIVE_PASSIVE, active = is_active(r);
    bool cells = r->posture == PLAN_CELLS;
    double low = passive ? 1.3 : 2, high = passive ? 1.5 : cells ? 3 : 2.5;

    if ((!passive && !active) || b->single->refused != NULL || !(b->single->total > 0)) {
        return;
    }
    struct plan_wisdom *row = begin(b, "costs");
    double times = r->total / b->single->total;
    const char *name = passive ? "Active-passive" : cells ? "Cell-based" : "Active-active";
    SAY(row->row, "%s", name);
    SAY(row->says, "%s costs %.1f to %.1f times one region", name, low, high);
    SAY(row->here, "%.2f times", times);
    row->agrees = times >= low - 0.005 && times <= high + 0.005;
    if (!row->agrees) {
        SAY(row->why, "%s",
            times < low ? "traffic to users is paid once wherever it leaves; only servers, "
                          "storage and replication multiply, and they are the smaller part"
                        : "it has more regions than two, or the smaller part of the cost is "
                          "what one region needs");
    }
}

static void say_transfer(struct book *b)
{
    double gb = place_written_gb(b->a->class) * b->r->copies;
    struct plan_wisdom *row;

    if (!(gb > 0)) {
        return;
    }
    row = begin(b, "costs");
    double usd = b->r->cost[PLAN_REPLICATION] / gb;
    SAY(row->row, "transfer between regions");
    SAY(row->says, "0.02 USD/GB");
    SAY(row->here, "%.3f USD/GB on average, %.0f USD/month", usd, b->r->cost[PLAN_REPLICATION]);
    row->agrees = fabs(usd - 0.02) <= 0.004;
    if (!row->agrees) {
        SAY(row->why, "%s",
            b->w->transfer_usd_gb >= 0
                ? "prices: says so"
                : "that is the list price within Europe and North America; others differ");
    }
}

/* ---- headroom, latency, distance ---- */

static void say_headroom(struct book *b)
{
    const struct plan_result *r = b->r;

    if (!is_active(r) || !(r->cost[PLAN_COMPUTE] > 0)) {
        return;
    }
    struct plan_wisdom *row = begin(b, "headroom");
    double even = (double)r->n / (r->n - 1);
    double running = 1 + r->cost[PLAN_HEADROOM] / r->cost[PLAN_COMPUTE];
    SAY(row->row, "%u regions, any one may be lost", r->n);
    SAY(row->says, "each at most %.0f%% used: %.2f times the load", 100 / even, even);
    SAY(row->here, "%.2f times the load", running);
    row->agrees = fabs(running - even) < 0.05 * even;
    if (!row->agrees) {
        SAY(row->why, "users are not spread evenly: what the largest region has must fit into "
                      "the others (F19)");
    }
}

static void say_near(struct book *b, const struct plan_country_latency *l)
{
    const struct plan_result *r = b->r;
    double claim = r->n == 2 ? 0.80 : 0.95, near = 0;

    if (!place_reads_are_local(r->posture) || (r->n != 2 && r->n != 3) || l == NULL) {
        return;
    }
    for (unsigned u = 0; u < b->w->user_count; u++) {
        near += l[u].read_p50 - b->w->processing_ms < 50 ? b->w->users[u].share : 0;
    }
    struct plan_wisdom *row = begin(b, "latency");
    SAY(row->row, "active-active, %u regions", r->n);
    SAY(row->says, "%u regions bring %.0f%% of users below 50 ms", r->n, 100 * claim);
    SAY(row->here, "%.0f%%", 100 * near);
    row->agrees = fabs(near - claim) <= 0.1;
    if (!row->agrees) {
        SAY(row->why, "it hangs on where the users are, and this placement is the one that "
                      "keeps the targets asked for");
    }
}

static void say_distances(struct book *b)
{
    static const struct {
        const char *a, *b, *row;
        double low, high;
    } routes[] = {
        {"us-east-1", "us-west-2", "US east - US west", 60, 80},
        {"us-east-1", "eu-west-1", "US east - EU west", 80, 100},
        {"us-east-1", "ap-northeast-1", "US east - Tokyo", 150, 200},
        {"eu-west-1", "ap-northeast-1", "EU west - Tokyo", 120, 160},
        {"us-east-1", "ap-southeast-2", "US east - Sydney", 200, 250},
        {"eu-west-1", "ap-southeast-2", "EU west - Sydney", 220, 280},
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        int ends[2] = {-1, -1}, source = -1;
        for (unsigned k = 0; k < b->r->n; k++) {
            const char *id = b->data->regions[b->r->region[k]].id;
            ends[0] = strcmp(id, routes[i].a) == 0 ? b->r->region[k] : ends[0];
            ends[1] = strcmp(id, routes[i].b) == 0 ? b->r->region[k] : ends[1];
        }
        if (ends[0] < 0 || ends[1] < 0) {
            continue;
        }
        struct plan_wisdom *row = begin(b, "distances");
        double ms = plan_rtt_ms(b->data, ends[0], ends[1], &source);
        SAY(row->row, "%s", routes[i].row);
        SAY(row->says, "typically %.0f to %.0f ms there and back", routes[i].low,
            routes[i].high);
        SAY(row->here, "%.1f ms", ms);
        row->agrees = ms >= routes[i].low && ms <= routes[i].high;
        if (!row->agrees) {
            SAY(row->why, "%s",
                source >= 0 ? "it was measured (see the facts)"
                            : "estimated by way of the nearest measured regions");
        }
    }
}

/** Ledgers and the like do not belong in active-active. */
static void say_conflicts(struct book *b)
{
    const struct plan_class *c = b->a->class;

    if (c->kind == PLAN_MERGEABLE) {
        return;
    }
    struct plan_wisdom *row = begin(b, "postures");
    SAY(row->row, "%s", c->kind == PLAN_MONEY ? "ledgers and stock" : "records with one truth");
    SAY(row->says, "not active-active with concurrent writes");
    SAY(row->here, "refused");
    row->agrees = true;
}

unsigned plan_wisdom(struct plan_data *data, const struct plan_workload *load,
                     const struct plan_answer *a, const struct plan_country_latency *by_country,
                     struct plan_wisdom ret[PLAN_WISDOM_MAX])
{
    struct book b = {data,           load, a, a->best >= 0 ? &a->results[a->best] : NULL,
                     &a->results[0], ret,  0};
    unsigned many = continents(&b);

    b.single = b.r != NULL ? plan_one_region(a, b.r) : b.single;
    say_situation(&b, many);
    say_tree(&b, many);
    say_one_region(&b);
    say_conflicts(&b);
    if (b.r == NULL || b.r->n == 1) {
        return b.count;
    }
    say_independence(&b);
    say_setup(&b);
    if (is_active(b.r) || b.r->posture == PLAN_ACTIVE_PASSIVE) {
        say_pattern(&b);
    }
    say_multiple(&b);
    say_transfer(&b);
    say_headroom(&b);
    say_near(&b, by_country);
    say_distances(&b);
    return b.count;
}
