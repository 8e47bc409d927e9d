/*
 * The search's view of a workload and one class: users as points, candidates as rows. Private
 * to plan/.
 */
#pragma once

#include <plan.h>

#define PLACE_POINTS_MAX (PLAN_USERS_MAX * PLAN_METROS_MAX)
#define PLACE_NEVER PLAN_NOT_SERVED

struct place {
    const struct plan_workload *load;
    const struct plan_class *class;
    const struct plan_data *data;
    unsigned points, candidates;
    double weight[PLACE_POINTS_MAX];                  /* sums to 1 */
    short country[PLACE_POINTS_MAX];                  /* index into load->users */
    double ms[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX]; /* user to candidate */
    bool divided;                        /* some candidate may not store some users' data */
    uint64_t users[PLAN_CANDIDATES_MAX]; /* whose data it may store: a bit per country */
    unsigned laws;                       /* that treat users differently */
    uint64_t lawful[PLAN_USERS_MAX];     /* by law: the candidates, as bits */
    double law_share[PLAN_USERS_MAX];    /* of the users */
    unsigned char law[PLACE_POINTS_MAX]; /* of each point */
    float legal_ms[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX]; /* PLACE_NEVER where it may not */
    double rtt[PLAN_CANDIDATES_MAX][PLAN_CANDIDATES_MAX];
    double usd_gb[PLAN_CANDIDATES_MAX][PLAN_CANDIDATES_MAX];
    double internet_gb[PLAN_CANDIDATES_MAX];
};

#define PLACE_GROUPS (1u << PLAN_REPLICAS_MAX)

/* The writes by the members that may store them, and the member they are made at. Groups are in
 * the order of ->may, and there is one for each that occurs. */
struct place_writes {
    unsigned groups, may[PLACE_GROUPS];
    double share[PLAN_COPIES_MAX][PLACE_GROUPS];
};

struct place_set {
    unsigned n;
    int at[PLAN_COPIES_MAX]; /* candidates */
    int home;                /* index into at[] */
    const int *near; /* the member nearest to each point, or -1, when known; else NULL */
    const struct place_writes *writes; /* of records with homes of their own, likewise */
};

int place_new(struct plan_data *data, const struct plan_workload *load,
              const struct plan_class *class, struct place **ret, struct mrd_err *err);

/** Everything of @r that depends on where; @r has posture, cdn and quorum. The home is put
 * first. */
void place_evaluate(const struct place *p, const struct place_set *s, struct plan_result *r);

/**
 * The best placement for each of @count results that have posture, cdn and quorum; those with
 * ->refused are skipped, and it is set where there is none. One walk over the sets serves all.
 *
 * The cheapest keeps the latency targets for as many users as any (place_missing). Of the sets
 * of its size that keep them for as many and cost at most PLAN_NEARER_MAY_COST times as much,
 * the best has the least mean_ms: exactly what trying every set and home would give (search.c
 * has the proof).
 */
void place_search(const struct place *p, struct plan_result *const *results, unsigned count);

/** How many regions a result may have, from *ret_least. */
unsigned place_sizes(const struct place *p, const struct plan_result *r, unsigned *ret_least);
/** Does the law let @s hold the data of all users, in the way @posture spreads it? */
bool place_lawful(const struct place *p, const struct place_set *s, enum plan_posture posture);
/** Shares of the users that are late, or without a second region where one is asked for:
 * place_short() of ->read_ok, ->write_ok and ->covered, rounded, so that the order of additions
 * decides nothing. */
double place_missing(const struct plan_class *c, const struct plan_result *r);

struct place_times {
    double read, write; /* of requests that reach the data */
    double cached;      /* of reads that an edge or a CDN answers */
};
/** Latencies of point @i, the region at @lost (-1: none) gone; PLACE_NEVER: not served. */
void place_latency(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, unsigned i, int lost, struct place_times *ret);
/** All that is said of the users of one country (of all: -1), ->country left out. */
void place_country(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, int country, struct plan_country_latency *ret);

/* ---- what a posture is ---- */

/** Does each record (or cell) have a home of its own near its users? */
static inline bool place_homes_are_local(enum plan_posture p)
{
    return p == PLAN_PARTITIONED || p == PLAN_HUB || p == PLAN_CELLS;
}

/** Are reads answered from the data of the nearest region that has it? */
static inline bool place_reads_are_local(enum plan_posture p)
{
    return p >= PLAN_READ_LOCAL;
}

/** Do requests arrive at the nearest region, wherever they are answered? */
static inline bool place_serves_nearby(enum plan_posture p)
{
    return p >= PLAN_EDGE_HIERARCHY;
}

/** How many of @n regions hold the data. */
unsigned place_held(const struct plan_result *r, unsigned n);

/* ---- the parts of an evaluation, for the search ---- */

/** May candidate @c store everybody's data? */
bool place_holds_all(const struct place *p, int c);
int place_look_for_nearest(const struct place *p, const struct place_set *s, unsigned i,
                           int lost);

/** The member of @s nearest to point @i that may store its data, without @lost; or -1. */
static inline int place_nearest(const struct place *p, const struct place_set *s, unsigned i,
                                int lost)
{
    return s->near != NULL && lost < 0 ? s->near[i] : place_look_for_nearest(p, s, i, lost);
}

/** The home, then the others by their distance from it, as indices into ->at. */
void place_by_distance(const struct place *p, const struct place_set *s,
                       int ret[PLAN_COPIES_MAX]);
/** ->share of the users at each member. */
void place_user_shares(const struct place *p, const struct place_set *s, struct plan_result *r);
/** Are there records of its own homes that not every member may hold? */
bool place_divides(const struct place *p, enum plan_posture posture);
/** The members that have a copy of what is homed at @home and may be stored by those of @may,
 * as bits: all of @may, or a cell's home and those nearest to it. */
unsigned place_copies(const struct place *p, const struct place_set *s,
                      const struct plan_result *r, unsigned home, unsigned may);
/** ->parts of @r, the home first and all else of @r known. */
void place_parts(const struct place *p, const struct place_set *s, struct plan_result *r);
/* The members that stand behind a cell: of a quorum so many that one may be lost. */
#define PLACE_CELL_COPIES(quorum) ((quorum) ? 2u : 1u)
/** The writes to records with homes of their own, where the law divides them. */
void place_divide_writes(const struct place *p, const struct place_set *s,
                         struct place_writes *ret);
/** Share of the users whose data so many members may hold that one may be lost. */
double place_covered(const struct place *p, const struct place_set *s,
                     const struct plan_result *r);
/** ->n, ->held, ->hub, ->copies, ->covered, ->running and ->copies_usd_gb; ->share is known.
 * None of it is changed by a CDN. */
void place_spread(const struct place *p, const struct place_set *s, struct plan_result *r);
/** What it costs, of a result that place_spread() has seen. */
void place_price(const struct place *p, const struct place_set *s, struct plan_result *r);
/** ->hub, of the posture that has one; ->share is known. */
void place_choose_hub(const struct place *p, const struct place_set *s, struct plan_result *r);

/** What servers are asked, and what a request/s costs a month. */
struct place_requests {
    double compute_per_s, database_per_s, compute_usd, database_usd;
};
void place_requests(const struct plan_workload *w, const struct plan_class *c,
                    const struct plan_result *r, struct place_requests *ret);
/** The part of the cost that ->n decides, @running times the load's capacity in all. */
void place_cost_of_size(const struct place *p, struct plan_result *r, double running,
                        double copies);
/** GB a month from the regions to users; and of writes, to one replica. */
double place_origin_gb(const struct plan_class *c, bool cdn);
double place_written_gb(const struct plan_class *c);
/* Of all users: the shares within target, and the means; hits: what an edge's cache answers. */
struct place_sums {
    double read, write, hit;
    double read_ms, write_ms, hit_ms;
};
/** None of it is changed by a CDN. */
void place_sum_times(const struct place *p, const struct place_set *s,
                     const struct plan_result *r, struct place_sums *ret);
/** ->mean_ms, and in ->read_ok and ->write_ok the shares of the users within target. */
void place_share_within(const struct place *p, const struct place_sums *sums,
                        struct plan_result *r);
/* The next two are short and asked for each of many sets. */

/** From shares of the users in time to shares that count as kept. @hit: of what an edge's
 * cache answers. */
static inline void place_set_within(const struct plan_class *c, struct plan_result *r,
                                    double read, double write, double hit)
{
    r->read_ok = r->posture == PLAN_EDGE_HIERARCHY
                     ? c->cacheable * hit + (1 - c->cacheable) * read
                 : r->cdn ? c->cacheable + (1 - c->cacheable) * read
                          : read;
    /* Writes to records homed elsewhere count as late. */
    bool targeted = c->write_p95_ms != PLAN_NO_TARGET;
    r->write_ok = !targeted                           ? write
                  : place_homes_are_local(r->posture) ? write * c->locality
                  : r->posture == PLAN_FOLLOW_THE_SUN ? write * c->daytime
                                                      : write;
}

/** What place_missing() rounds, of shares that count as kept. */
static inline double place_short(const struct plan_class *c, const struct plan_result *r)
{
    bool reads = c->read_p95_ms != PLAN_NO_TARGET;
    bool writes = c->write_p95_ms != PLAN_NO_TARGET && c->writes_per_s > 0;
    bool recovers = c->rto_ms != PLAN_NO_TARGET || c->availability_pct >= 0;

    return (reads && r->read_ok < 0.95 ? 0.95 - r->read_ok : 0) +
           (writes && r->write_ok < 0.95 ? 0.95 - r->write_ok : 0) +
           (recovers && r->posture != PLAN_SINGLE ? 1 - r->covered : 0);
}

/** The members that have copies of what users under @law write, or stand by for a cell of
 * them, as bits: all, where the law does not divide the class. */
unsigned place_may(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, unsigned law);
/** How many other members a commit at member @home of what those of @may hold waits for, all of
 * them there. */
unsigned place_acks(const struct place *p, const struct place_set *s,
                    const struct plan_result *r, unsigned home, unsigned may);
/** What it waits for, without @lost (-1: none). */
double place_commit_ms(const struct place *p, const struct place_set *s,
                       const struct plan_result *r, int home, unsigned may, int lost);
