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

/* ---- tables ---- */

static void print_postures(const struct plan_answer *a)
{
    static const char *const titles[] = {"posture",   ">USD/month", ">down/yr", ">rto", ">rpo",
                                         ">read p95", ">write p95", "misses",   NULL};
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
        cli_cell(t, "%s", r->missed != 0 ? plan_missed(r->missed, text) : "nothing");
    }
    cli_table_print(t, NULL);
}

static void print_refused(const struct plan_answer *a)
{
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
        "posture",     ">95% of years", ">worst year", ">worst outage",
        ">lost: read", ">write",        "stale reads", NULL};
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
        cli_cell(t, "%s", planned_ms(r->lost_read_p95, span));
        cli_cell(t, "%s", planned_ms(r->lost_write_p95, span));
        cli_cell(t, "%s", planned_ms(r->stale_p95_ms, span));
    }
    cli_table_print(t, NULL);
}

/** What each posture needs beside its price, and what it returns. */
static void print_needs(const struct plan_answer *a)
{
    static const char *const titles[] = {
        "posture", ">running", ">replication", ">lag", ">pays from", "returns", NULL};
    struct cli_table *t = cli_table_new(titles);
    char text[40];

    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL) {
            cli_cell(t, "%s%s", (int)i == a->best ? "> " : "  ", plan_result_name(r, text));
            cli_cell(t, "%.2f x load", planned_running(r));
            cli_cell(t, "%.2f Mbit/s", r->replication_mbit);
            cli_cell(t, "%s", planned_lag(r, text));
            cli_cell(t, "%s", planned_pays(a, r, text));
            cli_cell(t, "%s", planned_returns(r, text));
        }
    }
    cli_table_print(t, NULL);
}

static void cost_cell(struct cli_table *t, const struct plan_result *r, double usd)
{
    cli_cell(t, r->refused == NULL ? "%.2f" : "-", usd);
}

static void print_costs(const struct plan_result *r, const struct plan_result *single)
{
    char name[41] = ">";
    const char *const titles[] = {">recommended", name, "USD/month", NULL};

    plan_result_name(single, name + 1);
    struct cli_table *t = cli_table_new(titles);
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        if (r->cost[i] > 0 || single->cost[i] > 0) {
            cli_cell(t, "%.2f", r->cost[i]);
            cost_cell(t, single, single->cost[i]);
            cli_cell(t, "%s", plan_cost_name((enum plan_cost_part)i));
        }
    }
    cli_cell(t, "%.2f", r->total);
    cost_cell(t, single, single->total);
    cli_cell(t, "in all");
    cli_table_print(t, NULL);
}

static void print_countries(const struct planned *q, const struct plan_country_latency *l)
{
    static const char *const titles[] = {"country",    ">share",     ">read p50",   ">read p95",
                                         ">write p50", ">write p95", ">lost: read", ">write",
                                         ">stale",     "served by",  NULL};
    struct cli_table *t = cli_table_new(titles);
    char text[32];

    for (unsigned u = 0; u < q->load.user_count; u++) {
        const double ms[] = {l[u].read_p50,    l[u].read_p95,      l[u].write_p50,
                             l[u].write_p95,   l[u].lost_read_p95, l[u].lost_write_p95,
                             l[u].stale_p95_ms};
        cli_cell(t, "%s", q->data->countries[l[u].country].iso2);
        cli_cell(t, "%.1f%%", 100 * q->load.users[u].share);
        for (size_t k = 0; k < sizeof(ms) / sizeof(ms[0]); k++) {
            cli_cell(t, "%s", planned_ms(ms[k], text));
        }
        cli_cell(t, "%s", l[u].region < 0 ? "nobody" : q->data->regions[l[u].region].id);
    }
    cli_table_print(t, NULL);
}

/** --explain: who serves each country, and the other postures' latencies. */
static void print_more_countries(const struct planned *q, unsigned c)
{
    const struct plan_answer *a = &q->answers[c];
    char name[40];

    for (unsigned i = 0; i < a->count; i++) {
        if (a->results[i].refused == NULL && (int)i != a->best) {
            printf("\nby country: %s\n", plan_result_name(&a->results[i], name));
            print_countries(q, q->countries[c][i]);
        }
    }
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
        unsigned n =
            plan_figures(q->data, &q->load, a->class, plan_one_region(a, r), r, figures);
        printf("\nfigures of %s\n", plan_result_name(r, name));
        planned_figures(figures, n);
    }
}

/** The tables that everybody quotes: those that differ whole, the others by name. */
static void print_wisdom(struct planned *q, unsigned c)
{
    struct plan_wisdom rows[PLAN_WISDOM_MAX];
    unsigned n = planned_wisdom(q, c, rows), agree = 0;
    char line[PLANNED_LINE + 900], said[PLANNED_LINE + 10];
    size_t used = 0;

    puts("\nthe usual tables");
    for (unsigned i = 0; i < n; i++) {
        if (rows[i].agrees) {
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s, %s: \"%s\"",
                                     agree++ > 0 ? "; " : "agrees with: ", rows[i].table,
                                     rows[i].row, rows[i].says);
            continue;
        }
        snprintf(said, sizeof(said), "differs: ");
        planned_wisdom_said(&rows[i], said + strlen(said));
        cli_paragraph(said, 2);
    }
    if (agree > 0) {
        cli_paragraph(line, 2);
    }
}

static void print_class(struct planned *q, unsigned c)
{
    const struct plan_answer *a = &q->answers[c];
    char lines[PLANNED_LINES][PLANNED_LINE];

    printf("\nclass %s\n", a->class->name);
    planned_verdict(q, a, lines[0]);
    cli_paragraph(lines[0], 0);
    if (a->tips[0] != '\0') {
        cli_paragraph(a->tips, 0);
    }
    putchar('\n');
    if (planned_shown(a) != NULL) {
        print_postures(a);
    }
    print_refused(a);
    if (planned_shown(a) != NULL) {
        putchar('\n');
        print_bad_days(a);
        putchar('\n');
        print_needs(a);
    }
    if (a->best >= 0) {
        putchar('\n');
        print_costs(&a->results[a->best], plan_one_region(a, &a->results[a->best]));
        for (unsigned i = 0, n = planned_remarks(q, a, lines); i < n; i++) {
            cli_paragraph(lines[i], 0);
        }
        putchar('\n');
        print_countries(q, q->countries[c][a->best]);
    }
    print_wisdom(q, c);
    if (q->explain) {
        print_figures(q, a);
        print_more_countries(q, c);
    }
}

void planned_facts(const struct plan_data *data)
{
    char line[PLANNED_LINE];

    puts("\nfacts");
    for (unsigned i = 0; i < PLAN_SOURCES; i++) {
        const struct plan_source *s = &data->sources[i];
        if (s->used) {
            int n = snprintf(line, sizeof(line), "%s: ", s->file);
            planned_fact(s, line + n, sizeof(line) - (size_t)n);
            n = (int)strlen(line);
            snprintf(line + n, sizeof(line) - (size_t)n, "; %s, %s",
                     s->own ? "yours" : s->origin, s->own ? s->own_date : s->date);
            cli_paragraph(line, 2);
        }
    }
}

static int print_plan(struct planned *q)
{
    char lines[PLANNED_LINES][PLANNED_LINE];

    printf("%s\n", q->load.name);
    for (unsigned c = 0; c < q->load.class_count; c++) {
        print_class(q, c);
    }
    putchar('\n');
    planned_whole(q, lines[0]);
    cli_paragraph(lines[0], 0);
    if (planned_budget(q, lines[0])) {
        cli_paragraph(lines[0], 0);
    }
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

static int find_countries(struct planned *q, struct mrd_err *err)
{
    int rc = 0;

    for (unsigned c = 0; c < q->load.class_count && rc == 0; c++) {
        q->countries[c] = calloc(q->answers[c].count, sizeof(*q->countries[c]));
        rc = q->countries[c] == NULL
                 ? mrd_err_set(err, MRD_ENOMEM, "out of memory")
                 : plan_countries(q->data, &q->load, &q->answers[c], q->countries[c], err);
    }
    return rc;
}

static int plan(struct planned *q, const struct asked *a)
{
    struct mrd_err err = {0};

    if (plan_data_new(a->dir, &q->data, &err) != 0) {
        return planned_failed(&err);
    }
    if (a->workload != NULL && load(q, a->workload) != 0) {
        return 1;
    }
    if (a->deployment != NULL) {
        return planned_deployment(q, a->deployment, a->workload != NULL, a->json, a->html);
    }
    if (plan_answer(q->data, &q->load, (size_t)q->years, q->seed, q->answers, &err) != 0 ||
        find_countries(q, &err) != 0 ||
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
        "plan FILE [OPTION...] | plan [FILE] --deployment CONFIG "
        "[OPTION...]",
        "Does the workload in FILE need several regions, in which "
        "posture, at what cost, and how "
        "sure is\nthat? See examples/workloads. Without regions: in FILE the "
        "candidates are the AWS regions with\nmeasured round trips, "
        "and where residency allows none of them, others that it does.",
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
    struct planned *q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return cli_fail(NULL, "out of memory");
    }
    q->explain = explain;
    rc = !cli_number(years, YEARS_MAX, &q->years)
             ? cli_misuse(&usage, "--years takes a number up to %d", YEARS_MAX)
         : !cli_number(seed, INT64_MAX, &q->seed) ? cli_misuse(&usage, "--seed takes a number")
                                                  : plan(q, &asked);
    for (unsigned c = 0; c < PLAN_CLASSES_MAX; c++) {
        free(q->countries[c]);
    }
    plan_data_free(q->data);
    free(q);
    return rc;
}
