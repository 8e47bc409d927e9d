/*
 * `meridian plan`: does this workload need several regions, in which posture, at what cost?
 *
 * The tables fit 100 columns; --json has the same and every posture's cost by component. Each
 * answer ends with the facts it rests on and how old they are.
 */
#include <args.h>
#include <cli.h>
#include <table.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <planned.h>

#include <mrd/availability.h>
#include <mrd/latency.h>

#define YEARS "10000"
#define YEARS_MAX 1000000

static const struct {
    unsigned miss;
    const char *word;
} misses[] = {
    {PLAN_MISS_RESIDENCY, "residency"},
    {PLAN_MISS_AVAILABILITY, "availability"},
    {PLAN_MISS_READ, "read_p95"},
    {PLAN_MISS_WRITE, "write_p95"},
    {PLAN_MISS_RTO, "rto"},
    {PLAN_MISS_RPO, "rpo"},
};

char *planned_missed(unsigned missed, char out[120])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(misses) / sizeof(misses[0]); i++) {
        if ((missed & misses[i].miss) != 0) {
            used += (size_t)snprintf(out + used, 120 - used, "%s%s", used > 0 ? ", " : "",
                                     misses[i].word);
        }
    }
    return out;
}

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

/* ---- where common wisdom differs ---- */

/** Share of the users in countries whose median round trip to @r is below 50 ms; or -1. */
static double share_near(const struct planned *q, const struct plan_answer *a,
                         const struct plan_result *r)
{
    struct plan_country_latency l[PLAN_USERS_MAX];
    double share = 0;

    if (plan_countries(q->data, &q->load, a->class, r, l, NULL) != 0) {
        return -1;
    }
    for (unsigned u = 0; u < q->load.user_count; u++) {
        share += l[u].read_p50 - q->load.processing_ms < 50 ? q->load.users[u].share : 0;
    }
    return share;
}

unsigned planned_wisdom(const struct planned *q, const struct plan_answer *a,
                        char out[PLANNED_LINES][PLANNED_LINE])
{
    unsigned n = 0;
    double u = 1 - q->load.region_pct / 100;
    const struct plan_result *r = a->best >= 0 ? &a->results[a->best] : NULL;
    const struct plan_result *single = &a->results[0];

    for (unsigned i = 1; r != NULL && i < a->count; i++) { /* like with like */
        bool like = a->results[i].posture == PLAN_SINGLE && a->results[i].cdn == r->cdn;
        single = like ? &a->results[i] : single;
    }

    if (u > 1.0001e-4) {
        snprintf(
            out[n++], PLANNED_LINE,
            "\"One region with several zones gives 99.99%%\": the outages assumed here give "
            "%.4f%%, %.2f h a year",
            100 * (1 - u), u * MRD_YEAR_H);
    }
    if (r != NULL && r->n > 1 && q->load.beta > 0) {
        double naive = 1;
        for (unsigned k = 0; k < r->n; k++) {
            naive *= u;
        }
        snprintf(
            out[n++], PLANNED_LINE,
            "\"%u regions are down together %.2g of the time\": that is independence; with "
            "%.0f%% of outages in common and failovers that take time and may fail it is %.2g",
            r->n, naive, 100 * q->load.beta, r->u);
    }
    bool passive = r != NULL && r->posture == PLAN_ACTIVE_PASSIVE;
    bool active = r != NULL && r->posture >= PLAN_PARTITIONED;
    double low = passive ? 1.3 : 2.0, high = passive ? 1.5 : 2.5;
    if ((passive || active) && single->refused == NULL &&
        (r->total < low * single->total || r->total > high * single->total)) {
        snprintf(out[n++], PLANNED_LINE,
                 "\"%s costs %.1f to %.1f times one region\": here %.2f times, by the parts "
                 "under cost; traffic to users is paid once wherever it leaves",
                 passive ? "Active-passive" : "Active-active", low, high,
                 r->total / single->total);
    }
    double claim = r == NULL || r->posture < PLAN_READ_LOCAL ? 0
                   : r->n == 2                               ? 0.80
                   : r->n == 3                               ? 0.95
                                                             : 0;
    double near = claim > 0 ? share_near(q, a, r) : -1;
    if (near >= 0 && fabs(near - claim) > 0.1) {
        snprintf(
            out[n++], PLANNED_LINE,
            "\"%u regions bring %.0f%% of users below 50 ms\": here %.0f%%; it hangs on where "
            "the users are, and this placement is the one that keeps the targets asked for",
            r->n, 100 * claim, 100 * near);
    }
    return n;
}

unsigned planned_assumptions(const struct planned *q, char out[PLANNED_LINES][PLANNED_LINE])
{
    const struct plan_workload *w = &q->load;
    unsigned n = 0;

    snprintf(
        out[n++], PLANNED_LINE,
        "a region is up %.4f%% of the time, an outage lasts %.2f h, %.0f%% of them take every "
        "region (failures:)",
        w->region_pct, w->outage_h, 100 * w->beta);
    if (w->compute_usd_month < 0 || w->database_usd_month < 0) {
        snprintf(
            out[n++], PLANNED_LINE,
            "compute and database cost 0.35 and 0.15 USD a month per request/s where prices: "
            "does not say");
    }
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

/* ---- tables ---- */

char *planned_seconds(double s, char out[32])
{
    if (isinf(s)) {
        snprintf(out, 32, "grows");
        return out;
    }
    return cli_span((long long)(s * 1000 + 0.5), out);
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

static void print_postures(const struct plan_answer *a)
{
    static const char *const titles[] = {"posture",  "USD/month", "down/yr", "rto", "rpo",
                                         "read p95", "write p95", "misses",  NULL};
    struct cli_table *t = cli_table_new(titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        char name[40], text[120], span[32];
        if (r->refused != NULL) {
            continue;
        }
        cli_cell(t, "%s%s", (int)i == a->best ? "> " : "  ", plan_result_name(r, name));
        cli_cell(t, "%.0f", r->total);
        cli_cell(t, "%.0f min", mrd_avail_min_per_year(r->u));
        cli_cell(t, "%s", planned_seconds(r->rto_s, span));
        cli_cell(t, "%s", planned_seconds(r->rpo_s, span));
        cli_cell(t, "%.0f ms", r->read_p95);
        cli_cell(t, "%.0f ms", r->write_p95);
        cli_cell(t, "%s", r->missed != 0 ? planned_missed(r->missed, text) : "nothing");
    }
    cli_table_print(t, NULL);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL && !r->cdn) {
            char line[200];
            snprintf(line, sizeof(line), "not %s: %s", plan_posture_name(r->posture),
                     r->refused);
            cli_paragraph(line, 2);
        }
    }
}

/** What the means hide: how downtime falls on years, and life with one region gone. */
static void print_bad_days(const struct plan_answer *a)
{
    static const char *const titles[] = {
        "posture",        "95% of years",    "worst year", "worst outage",
        "read, one lost", "write, one lost", NULL};
    struct cli_table *t = cli_table_new(titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        char name[40], span[32];
        if (r->refused != NULL) {
            continue;
        }
        cli_cell(t, "%s%s", (int)i == a->best ? "> " : "  ", plan_result_name(r, name));
        cli_cell(t, "%s%s", r->simulated ? "< " : "-",
                 r->simulated ? planned_seconds(r->years.p95_h * 3600, span) : "");
        cli_cell(t, r->simulated ? "%.1f h" : "-", r->years.worst_year_h);
        cli_cell(t, r->simulated ? "%.1f h" : "-", r->years.worst_outage_h);
        cli_cell(t, r->n > 1 ? "%.0f ms" : "down", r->lost_read_p95);
        cli_cell(t, r->n > 1 ? "%.0f ms" : "down", r->lost_write_p95);
    }
    cli_table_print(t, NULL);
}

static void print_costs(const struct plan_result *r, const struct plan_result *single)
{
    static const char *const titles[] = {"USD/month", "recommended", "single-region", NULL};
    struct cli_table *t = cli_table_new(titles);
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        if (r->cost[i] > 0 || single->cost[i] > 0) {
            cli_cell(t, "%s", plan_cost_name((enum plan_cost_part)i));
            cli_cell(t, "%.2f", r->cost[i]);
            cli_cell(t, "%.2f", single->cost[i]);
        }
    }
    cli_cell(t, "total");
    cli_cell(t, "%.2f", r->total);
    cli_cell(t, "%.2f", single->total);
    cli_table_print(t, NULL);
}

static int print_countries(struct planned *q, const struct plan_answer *a)
{
    static const char *const titles[] = {"country",        "share",           "read p50",
                                         "read p95",       "write p50",       "write p95",
                                         "read, one lost", "write, one lost", NULL};
    struct plan_country_latency l[PLAN_USERS_MAX];
    struct mrd_err err = {0};
    const struct plan_result *r = &a->results[a->best];

    if (plan_countries(q->data, &q->load, a->class, r, l, &err) != 0) {
        return cli_fail(err.hint, "%s", err.text);
    }
    struct cli_table *t = cli_table_new(titles);
    for (unsigned u = 0; u < q->load.user_count; u++) {
        cli_cell(t, "%s", q->data->countries[l[u].country].iso2);
        cli_cell(t, "%.1f%%", 100 * q->load.users[u].share);
        cli_cell(t, "%.0f ms", l[u].read_p50);
        cli_cell(t, "%.0f ms", l[u].read_p95);
        cli_cell(t, "%.0f ms", l[u].write_p50);
        cli_cell(t, "%.0f ms", l[u].write_p95);
        cli_cell(t, r->n > 1 ? "%.0f ms" : "down", l[u].lost_read_p95);
        cli_cell(t, r->n > 1 ? "%.0f ms" : "down", l[u].lost_write_p95);
    }
    cli_table_print(t, NULL);
    return 0;
}

/* ---- what is said of a class, in sentences ---- */

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
    const struct plan_result *r = &a->results[a->best], *single = &a->results[0];
    double usd = q->load.downtime_usd_hour, hours = (single->u - r->u) * MRD_YEAR_H;
    int n = snprintf(out, PLANNED_LINE, "pays from %.0f USD per hour of downtime (F20)",
                     r->usd_hour_break_even);
    if (usd >= 0) {
        snprintf(out + n, PLANNED_LINE - (size_t)n, "; at %.0f USD it returns %.0f USD a year",
                 usd, hours * usd - 12 * (r->total - single->total));
    }
}

static void say_years(const struct planned *q, const struct plan_result *r,
                      char out[PLANNED_LINE])
{
    const struct mrd_outage_years *y = &r->years;
    snprintf(out, PLANNED_LINE,
             "%llu simulated years, seed %llu: down %.1f min a year (95%%: %.1f to %.1f), "
             "half of all years below %.1f min, worst outage %.1f h; closed form (F6) %.1f min",
             q->years, q->seed, mrd_avail_min_per_year(y->u),
             mrd_avail_min_per_year(fmax(0, y->u - 1.96 * y->u_se)),
             mrd_avail_min_per_year(y->u + 1.96 * y->u_se), y->p50_h * 60, y->worst_outage_h,
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
    if (r != NULL && r->n > 1) {
        snprintf(out[n++], PLANNED_LINE,
                 "replication %.2f Mbit/s, lag %.0f ms (F12); running capacity %.2f times the "
                 "load (F19)",
                 r->replication_mbit, r->lag_s * 1000,
                 r->cost[PLAN_COMPUTE] > 0 ? 1 + r->cost[PLAN_HEADROOM] / r->cost[PLAN_COMPUTE]
                                           : 1);
    }
    if (r != NULL && r->simulated) {
        say_years(q, r, out[n++]);
    }
    return n;
}

void planned_figures(const struct plan_figure *figures, unsigned n)
{
    char line[PLANNED_LINE], inputs[400], value[32];

    for (unsigned i = 0; i < n; i++) {
        const struct plan_figure *f = &figures[i];
        snprintf(line, sizeof(line), "%u. %s = %s%s%s%s", i + 1, f->name,
                 planned_value(f, value), f->model != NULL ? " (meridian model " : "",
                 f->model != NULL ? f->model : "", f->model != NULL ? ")" : "");
        cli_paragraph(line, 2);
        cli_paragraph(f->formula, 6);
        plan_figure_inputs(f, inputs, sizeof(inputs));
        snprintf(line, sizeof(line), "%s%ssource: %s", inputs, f->count > 0 ? "; " : "",
                 f->source);
        cli_paragraph(line, 6);
    }
}

/** How the recommendation's figures come about, or the first posture's when there is none. */
static void print_figures(struct planned *q, const struct plan_answer *a)
{
    struct plan_figure figures[PLAN_FIGURES_MAX];
    const struct plan_result *r = planned_shown(a);
    char name[40];

    if (r != NULL) {
        unsigned n = plan_figures(q->data, &q->load, a->class, &a->results[0], r, figures);
        printf("\nfigures of %s\n", plan_result_name(r, name));
        planned_figures(figures, n);
    }
}

static int print_class(struct planned *q, const struct plan_answer *a)
{
    char lines[PLANNED_LINES][PLANNED_LINE];

    printf("\nclass %s\n", a->class->name);
    planned_verdict(q, a, lines[0]);
    cli_paragraph(lines[0], 0);
    if (a->tips[0] != '\0') {
        cli_paragraph(a->tips, 0);
    }
    putchar('\n');
    print_postures(a);
    putchar('\n');
    print_bad_days(a);
    if (a->best >= 0) {
        putchar('\n');
        print_costs(&a->results[a->best], &a->results[0]);
        for (unsigned i = 0, n = planned_remarks(q, a, lines); i < n; i++) {
            cli_paragraph(lines[i], 0);
        }
        putchar('\n');
        if (print_countries(q, a) != 0) {
            return 1;
        }
    }
    for (unsigned i = 0, n = planned_wisdom(q, a, lines); i < n; i++) {
        cli_paragraph(lines[i], 0);
    }
    if (q->explain) {
        print_figures(q, a);
    }
    return 0;
}

void planned_facts(const struct plan_data *data)
{
    puts("\nfacts");
    for (unsigned i = 0; i < PLAN_SOURCES; i++) {
        const struct plan_source *s = &data->sources[i];
        if (s->used) {
            char line[300];
            snprintf(line, sizeof(line), "%s: %s; %s, %s", s->file, s->what,
                     s->own ? "yours" : s->origin, s->own ? s->own_date : s->date);
            cli_paragraph(line, 2);
        }
    }
}

static int print_plan(struct planned *q)
{
    int regions[PLAN_CANDIDATES_MAX];
    double total = 0;
    unsigned n = plan_union(&q->load, q->answers, regions, &total);

    printf("%s\n", q->load.name);
    for (unsigned c = 0; c < q->load.class_count; c++) {
        if (print_class(q, &q->answers[c]) != 0) {
            return 1;
        }
    }
    printf("\nall classes: %u region%s", n, n == 1 ? "" : "s");
    for (unsigned i = 0; i < n; i++) {
        printf("%s %s", i > 0 ? "," : ":", q->data->regions[regions[i]].id);
    }
    printf("; %.2f USD/month\n", total);
    if (q->load.budget_usd_month >= 0 && total > q->load.budget_usd_month) {
        printf("over the budget of %.2f USD/month\n", q->load.budget_usd_month);
    }
    char lines[PLANNED_LINES][PLANNED_LINE];
    puts("\nassumed");
    for (unsigned i = 0, count = planned_assumptions(q, lines); i < count; i++) {
        cli_paragraph(lines[i], 2);
    }
    planned_facts(q->data);
    return 0;
}

/* ---- the command ---- */

struct asked {
    const char *workload, *deployment, *dir, *html; /* NULL: not given */
    bool json;
};

static int load(struct planned *q, const char *path)
{
    struct mrd_conf_errors *errors = calloc(1, sizeof(*errors));

    if (errors == NULL) {
        return cli_fail(NULL, "out of memory");
    }
    int rc = plan_workload_load(q->data, path, &q->load, errors);
    if (rc != 0) {
        mrd_config_print_errors(stderr, path, errors);
    }
    free(errors);
    return rc == 0 ? 0 : 1;
}

static int plan(struct planned *q, const struct asked *a)
{
    struct mrd_err err = {0};

    if (plan_data_new(a->dir, &q->data, &err) != 0) {
        return cli_fail(err.hint, "%s", err.text);
    }
    if (a->workload != NULL && load(q, a->workload) != 0) {
        return 1;
    }
    if (a->deployment != NULL) {
        return planned_deployment(q, a->deployment, a->workload != NULL, a->json);
    }
    if (plan_answer(q->data, &q->load, (size_t)q->years, q->seed, q->answers, &err) != 0 ||
        (a->html != NULL && planned_report(q, a->html, &err) != 0)) {
        return cli_fail(err.hint, "%s", err.text);
    }
    return a->json ? planned_json(q) : a->html != NULL ? 0 : print_plan(q);
}

int cli_plan(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *years = YEARS, *seed = "1";
    struct asked asked = {.workload = NULL};
    int count = 0;
    bool explain = false;
    const struct cli_option options[] = {
        {"--deployment", "CONFIG", &asked.deployment,
         "what that configuration promises, costs, and loses with each region"},
        {"--years", "N", &years, "years to simulate for each posture (" YEARS "; 0: none)"},
        {"--seed", "N", &seed, "of the simulation (1)"},
        {"--data", "DIR", &asked.dir, "tables there take the place of the built-in ones"},
        {"--json", NULL, &asked.json,
         "the answer as JSON, with every posture's cost by component"},
        {"--explain", NULL, &explain, "with the formula, inputs and source of each figure"},
        {"--html", "OUT", &asked.html,
         "the answer as a page with maps and charts, into a file"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "plan FILE [--json] [--html OUT] | plan [FILE] --deployment CONFIG [--json]",
        "Does the workload in FILE need several regions, in which "
        "posture, at what cost, and how "
        "sure is\nthat? See examples/workloads.",
        options, 0, 1};
    int rc = cli_parse(&usage, argc, argv, words, &count);
    if (rc >= 0) {
        return rc;
    }
    asked.workload = count > 0 ? words[0] : NULL;
    if (asked.workload == NULL && asked.deployment == NULL) {
        return cli_misuse(&usage,
                          "a workload, or --deployment with a configuration, is missing");
    }
    if (asked.html != NULL && asked.deployment != NULL) {
        return cli_misuse(&usage, "--html makes a page of a workload, not of --deployment");
    }
    struct planned *q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return cli_fail(NULL, "out of memory");
    }
    q->explain = explain;
    rc = !cli_number(years, YEARS_MAX, &q->years)
             ? cli_misuse(&usage, "--years takes a number up to %d", YEARS_MAX)
         : !cli_number(seed, INT64_MAX, &q->seed) ? cli_misuse(&usage, "--seed takes a number")
                                                  : plan(q, &asked);
    plan_data_free(q->data);
    free(q);
    return rc;
}
