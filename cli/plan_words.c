/*
 * A plan in words: the sentences and values that the tables (plan.c), the JSON (plan_json.c)
 * and the pages (plan_report.c) share.
 */
#include <args.h>
#include <cli.h>
#include <planned.h>
#include <table.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>

char *planned_regions(const struct planned *q, const struct plan_result *r, char out[220])
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned k = 0; k < r->n; k++) {
        used += (size_t)snprintf(out + used, 220 - used, "%s%s", k > 0 ? " " : "",
                                 q->data->regions[r->region[k]].id);
    }
    return out;
}

unsigned planned_wisdom(struct planned *q, unsigned c, struct plan_wisdom ret[PLAN_WISDOM_MAX])
{
    const struct plan_answer *a = &q->answers[c];

    return plan_wisdom(q->data, &q->load, a, a->best >= 0 ? q->countries[c][a->best] : NULL,
                       ret);
}

char *planned_wisdom_said(const struct plan_wisdom *row, char out[PLANNED_LINE])
{
    snprintf(out, PLANNED_LINE, "%s, %s: \"%s\": here %s%s%s", row->table, row->row, row->says,
             row->here, row->why[0] != '\0' ? "; " : "", row->why);
    return out;
}

/** Which regions were looked at when the workload names none. */
static void say_candidates(const struct planned *q, char out[PLANNED_LINE])
{
    const struct plan_workload *w = &q->load;
    int n =
        snprintf(out, PLANNED_LINE,
                 "candidates, as regions: names none: the %u AWS regions with measured round "
                 "trips",
                 w->chosen);

    for (unsigned i = w->chosen; i < w->candidate_count && n < PLANNED_LINE; i++) {
        n += snprintf(out + n, PLANNED_LINE - (size_t)n, "%s%s",
                      i > w->chosen
                          ? ", "
                          : "; for residency, with round trips that are estimated (F22): ",
                      q->data->regions[w->candidates[i]].id);
    }
}

/** "START ITEM; ITEM": one more item of a list. */
static void say_item(char out[PLANNED_LINE], const char *start, const char *fmt, double value)
    __attribute__((format(printf, 3, 0)));
static void say_item(char out[PLANNED_LINE], const char *start, const char *fmt, double value)
{
    size_t used = strlen(out);

    used += (size_t)snprintf(out + used, PLANNED_LINE - used, "%s ", used == 0 ? start : ";");
    if (used < PLANNED_LINE) {
        snprintf(out + used, PLANNED_LINE - used, fmt, value);
    }
}

/* Defaults that figures rest on; each returns whether there is any. */

static bool say_prices(const struct plan_workload *w, char out[PLANNED_LINE])
{
    static const char start[] = "prices: does not say, so, in USD:";
    bool caches = false;

    for (unsigned c = 0; c < w->class_count; c++) {
        caches |= w->classes[c].cacheable > 0;
    }
    out[0] = '\0';
    if (w->compute_usd_month < 0) {
        say_item(out, start, "compute %.2f a month per request/s", PLAN_COMPUTE_USD);
    }
    if (w->database_usd_month < 0) {
        say_item(out, start, "database %.2f a month per request/s", PLAN_DATABASE_USD);
    }
    if (!plan_given(w, PLAN_GIVEN_REGION_USD)) {
        say_item(out, start, "edge %.2f a month for each region", w->region_usd_month);
    }
    if (!plan_given(w, PLAN_GIVEN_STORAGE_USD)) {
        say_item(out, start, "storage %.2f a month per GB", w->storage_usd_gb);
    }
    if (caches && !plan_given(w, PLAN_GIVEN_CDN_USD)) {
        say_item(out, start, "a CDN %.2f per GB", w->cdn_usd_gb);
    }
    return out[0] != '\0';
}

static bool say_failures(const struct plan_workload *w, char out[PLANNED_LINE])
{
    const struct {
        enum plan_given key;
        const char *fmt;
        double value;
    } items[] = {
        {PLAN_GIVEN_INTERVAL, "a probe every %.3g s", w->interval_s},
        {PLAN_GIVEN_CHECKS, "%.0f missed in a row", w->checks},
        {PLAN_GIVEN_TIMEOUT, "a probe is missed after %.3g s", w->timeout_s},
        {PLAN_GIVEN_TTL, "DNS answers live %.3g s", w->ttl_s},
        {PLAN_GIVEN_TAKEOVER, "deciding, fencing and promoting take %.3g s", w->steps_s},
        {PLAN_GIVEN_STANDBY, "a standby runs at %.0f%%", 100 * w->standby},
        {PLAN_GIVEN_WARM_UP, "a standby is full-sized after %.0f s", w->warm_s},
        {PLAN_GIVEN_PILOT, "a pilot light runs at %.0f%%", 100 * w->pilot_standby},
        {PLAN_GIVEN_PILOT_WARM_UP, "a pilot light is full-sized after %.0f s", w->pilot_warm_s},
        {PLAN_GIVEN_RESTORE, "a restore takes %.3g h", w->restore_s / 3600},
        {PLAN_GIVEN_BACKUP, "backups are %.3g h apart", w->backup_s / 3600},
    };

    out[0] = '\0';
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        if (!plan_given(w, items[i].key)) {
            say_item(out, "failures: does not say, so:", items[i].fmt, items[i].value);
        }
    }
    return out[0] != '\0';
}

static bool say_sizes(const struct plan_workload *w, char out[PLANNED_LINE])
{
    static const char start[] = "sizes that a class does not give:";
    bool reads = false, writes = false;

    for (unsigned c = 0; c < w->class_count; c++) {
        reads |= !w->classes[c].read_bytes_given && w->classes[c].reads_per_s > 0;
        writes |= !w->classes[c].write_bytes_given && w->classes[c].writes_per_s > 0;
    }
    out[0] = '\0';
    if (reads) {
        say_item(out, start, "read_bytes %.0f", PLAN_READ_BYTES);
    }
    if (writes) {
        say_item(out, start, "write_bytes %.0f", PLAN_WRITE_BYTES);
    }
    if (!plan_given(w, PLAN_GIVEN_LINK)) {
        say_item(out, out[0] != '\0' ? start : "assumed:", "a link between regions %.0f Mbit/s",
                 w->link_mbit);
    }
    return out[0] != '\0';
}

unsigned planned_assumptions(const struct planned *q, char out[PLANNED_LINES][PLANNED_LINE])
{
    const struct plan_workload *w = &q->load;
    unsigned n = 0;

    if (w->chosen > 0) {
        say_candidates(q, out[n++]);
    }
    snprintf(
        out[n++], PLANNED_LINE,
        "a region is up %.4f%% of the time, an outage lasts %.2f h, %.0f%% of them take every "
        "region (failures:)",
        w->region_pct, w->outage_h, 100 * w->beta);
    n += say_prices(w, out[n]);
    n += say_failures(w, out[n]);
    n += say_sizes(w, out[n]);
    snprintf(out[n++], PLANNED_LINE,
             "a request is one round trip on a warm connection and %.0f ms of work; users are "
             "their countries' cities (F22)",
             w->processing_ms);
    snprintf(out[n++], PLANNED_LINE,
             "a posture's placement is the nearest to its users that keeps what the cheapest "
             "keeps and costs at most %.0f%% more than it",
             100 * (PLAN_NEARER_MAY_COST - 1));
    snprintf(out[n++], PLANNED_LINE,
             "of the postures that keep every target the simplest is taken that costs at most "
             "%.0f%% more than the cheapest; a failover fails %.0f%% of the time, of a pilot "
             "light %.0f%%, between active regions %.0f%%",
             100 * (PLAN_SIMPLER_MAY_COST - 1), 100 * plan_failover_fails(PLAN_ACTIVE_PASSIVE),
             100 * plan_failover_fails(PLAN_PILOT_LIGHT),
             100 * plan_failover_fails(PLAN_ACTIVE_ACTIVE));
    return n;
}

char *planned_seconds(double s, char out[32])
{
    if (isinf(s)) {
        snprintf(out, 32, "grows");
        return out;
    }
    return cli_span((long long)(s * 1000 + 0.5), out);
}

int planned_failed(const struct mrd_err *err)
{
    const char *line = err->text;

    for (size_t n; line[n = strcspn(line, "\n")] != '\0'; line += n + 1) {
        cli_fail(NULL, "%.*s", (int)n, line);
    }
    return cli_fail(err->hint, "%s", line);
}

const struct plan_result *planned_shown(const struct plan_answer *a)
{
    for (unsigned i = 0; a->best < 0 && i < a->count; i++) {
        if (a->results[i].refused == NULL) {
            return &a->results[i];
        }
    }
    return a->best >= 0 ? &a->results[a->best] : NULL;
}

char *planned_value(const struct plan_figure *f, char out[32])
{
    if (isinf(f->value)) {
        snprintf(out, 32, "grows");
    } else {
        snprintf(out, 32, "%.6g%s%s", f->value, strcmp(f->unit, "1") == 0 ? "" : " ",
                 strcmp(f->unit, "1") == 0 ? "" : f->unit);
    }
    return out;
}

char *planned_ms(double ms, char out[32])
{
    if (isinf(ms)) {
        snprintf(out, 32, "grows");
    } else if (ms >= PLAN_NOT_SERVED) {
        snprintf(out, 32, "down");
    } else {
        snprintf(out, 32, "%.0f ms", ms);
    }
    return out;
}

void planned_verdict(const struct planned *q, const struct plan_answer *a,
                     char out[PLANNED_LINE])
{
    char name[40], regions[220];

    if (a->best < 0) {
        snprintf(out, PLANNED_LINE, "No recommendation: %s.", a->rule);
        return;
    }
    const struct plan_result *r = &a->results[a->best];
    snprintf(out, PLANNED_LINE, "%s in %s. %s.%s%s%s", plan_result_name(r, name),
             planned_regions(q, r, regions), a->rule,
             a->driver[0] != '\0' ? " The driver is " : "", a->driver,
             a->driver[0] != '\0' ? "." : "");
}

static void say_break_even(const struct planned *q, const struct plan_answer *a,
                           char out[PLANNED_LINE])
{
    const struct plan_result *r = &a->results[a->best];
    int n = snprintf(out, PLANNED_LINE, "pays from %.0f USD per hour of downtime (F20)",
                     r->usd_hour_break_even);
    if (isfinite(r->usd_year_return)) {
        snprintf(out + n, PLANNED_LINE - (size_t)n, "; at %.0f USD it returns %.0f USD a year",
                 q->load.downtime_usd_hour, r->usd_year_return);
    }
}

/** By which rule so much runs, and what that leaves when a region is lost. */
static const char *say_running(const struct plan_workload *w, const struct plan_result *r,
                               char out[120])
{
    bool pilot = r->posture == PLAN_PILOT_LIGHT;
    char span[32];

    if (r->posture >= PLAN_READ_LOCAL) {
        return "(F19)";
    }
    snprintf(out, 120, "(%s): standbys scale up within %s of a loss, a brown-out until then",
             pilot ? "1 + pilot" : "1 + standby (held - 1)",
             planned_seconds(pilot ? w->pilot_warm_s : w->warm_s, span));
    return out;
}

static void say_years(const struct planned *q, const struct plan_result *r,
                      char out[PLANNED_LINE])
{
    const struct mrd_outage_years *y = &r->years;
    char half[60] = "half of all years without any", span[32];

    if (y->p50_h > 0) {
        snprintf(half, sizeof(half), "half of all years below %s",
                 planned_seconds(y->p50_h * 3600, span));
    }
    snprintf(out, PLANNED_LINE,
             "%llu simulated years, seed %llu: down %.1f min a year (95%%: %.1f to %.1f), %s, "
             "worst outage %.1f h; closed form (F6) %.1f min",
             q->years, q->seed, mrd_avail_min_per_year(y->u),
             mrd_avail_min_per_year(fmax(0, y->u - 1.96 * y->u_se)),
             mrd_avail_min_per_year(y->u + 1.96 * y->u_se), half, y->worst_outage_h,
             mrd_avail_min_per_year(r->u));
}

unsigned planned_remarks(const struct planned *q, const struct plan_answer *a,
                         char out[PLANNED_LINES][PLANNED_LINE])
{
    const struct plan_result *r = a->best >= 0 ? &a->results[a->best] : NULL;
    unsigned n = 0;

    if (r != NULL && r->usd_hour_break_even > 0) {
        say_break_even(q, a, out[n++]);
    }
    char running[120];
    if (r != NULL && r->n > 1) {
        snprintf(out[n++], PLANNED_LINE,
                 "replication %.2f Mbit/s, lag %.0f ms (F12); running capacity %.2f times the "
                 "load %s",
                 r->replication_mbit, r->lag_s * 1000, planned_running(r),
                 say_running(&q->load, r, running));
    }
    if (r != NULL && r->simulated) {
        say_years(q, r, out[n++]);
    }
    return n;
}

unsigned planned_without(const struct planned *q)
{
    unsigned without = 0;

    for (unsigned c = 0; c < q->load.class_count; c++) {
        without += q->answers[c].best < 0;
    }
    return without;
}

void planned_whole(const struct planned *q, char out[PLANNED_LINE])
{
    int regions[PLAN_CANDIDATES_MAX];
    double total = 0;
    unsigned n = plan_union(&q->load, q->answers, regions, &total),
             without = planned_without(q);
    size_t used = 0;

    if (without == q->load.class_count) {
        snprintf(out, PLANNED_LINE, "no class has a recommendation");
        return;
    }
    used = (size_t)snprintf(out, PLANNED_LINE, "all classes%s: %u region%s",
                            without > 0 ? " that have a recommendation" : "", n,
                            n == 1 ? "" : "s");
    for (unsigned i = 0; i < n && used < PLANNED_LINE; i++) {
        used += (size_t)snprintf(out + used, PLANNED_LINE - used, "%s %s", i > 0 ? "," : ":",
                                 q->data->regions[regions[i]].id);
    }
    if (used < PLANNED_LINE) {
        used += (size_t)snprintf(out + used, PLANNED_LINE - used, "; %.2f USD/month", total);
    }
    if (without > 0 && used < PLANNED_LINE) {
        snprintf(out + used, PLANNED_LINE - used, "; without the %u that %s none", without,
                 without == 1 ? "has" : "have");
    }
}

bool planned_budget(const struct planned *q, char out[PLANNED_LINE])
{
    int regions[PLAN_CANDIDATES_MAX];
    double total = 0, least = 0, budget = q->load.budget_usd_month;
    unsigned without = planned_without(q);

    plan_union(&q->load, q->answers, regions, &total);
    out[0] = '\0';
    if (budget >= 0 && without == q->load.class_count) {
        snprintf(out, PLANNED_LINE,
                 "the budget of %.2f USD/month is compared with nothing: no class has a "
                 "recommendation",
                 budget);
        return true;
    }
    if (budget < 0 || (total <= budget && without == 0)) {
        return false;
    }
    if (total <= budget) {
        snprintf(out, PLANNED_LINE,
                 "the budget of %.2f USD/month is compared only with the classes that have a "
                 "recommendation: it leaves %.2f",
                 budget, budget - total);
        return true;
    }
    for (unsigned c = 0; c < q->load.class_count; c++) {
        const struct plan_answer *a = &q->answers[c];
        double cheapest = INFINITY;
        for (unsigned i = 0; i < a->count && a->best >= 0; i++) {
            bool keeps = a->results[i].refused == NULL && a->results[i].missed == 0;
            cheapest = keeps ? fmin(cheapest, a->results[i].total) : cheapest;
        }
        least += isinf(cheapest) ? 0 : cheapest;
    }
    snprintf(out, PLANNED_LINE,
             "over the budget of %.2f USD/month by %.2f; the cheapest postures that keep every "
             "target, each in regions of its own, cost %.2f%s",
             budget, total - budget, least,
             least > budget ? ": what has to give is a target, or the budget" : "");
    return true;
}

char *planned_fact(const struct plan_source *s, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s", s->what);

    if (s->missing > 0 && n < (int)cap) {
        n += snprintf(out + n, cap - (size_t)n,
                      "; %d of its pairs are missing, and estimated (F22)", s->missing);
    }
    if (s->too_short > 0 && n < (int)cap) {
        snprintf(
            out + n, cap - (size_t)n,
            "; warning: %d of its round trips %s shorter than light in fibre takes (F21), the "
            "first in line %d",
            s->too_short, s->too_short == 1 ? "is" : "are", s->too_short_line);
    }
    return out;
}

double planned_running(const struct plan_result *r)
{
    double compute = r->cost[PLAN_COMPUTE];
    return compute > 0 ? 1 + r->cost[PLAN_HEADROOM] / compute : 1;
}

char *planned_lag(const struct plan_result *r, char out[40])
{
    snprintf(out, 40, r->n == 1 ? "-" : isinf(r->lag_s) ? "grows" : "%.0f ms", r->lag_s * 1000);
    return out;
}

char *planned_pays(const struct plan_answer *a, const struct plan_result *r, char out[40])
{
    const struct plan_result *single = plan_one_region(a, r);
    bool compares = r != single && single->refused == NULL;

    if (compares && r->total <= single->total && r->u <= single->u) {
        snprintf(out, 40, "at once");
    } else if (compares && r->total >= single->total && r->u >= single->u) {
        snprintf(out, 40, "never");
    } else {
        snprintf(out, 40, r->usd_hour_break_even > 0 ? "%.0f USD/h" : "-",
                 r->usd_hour_break_even);
    }
    return out;
}

char *planned_returns(const struct plan_result *r, char out[40])
{
    snprintf(out, 40, isfinite(r->usd_year_return) ? "%.0f USD/year" : "-", r->usd_year_return);
    return out;
}
