/*
 * `meridian plan --deployment meridian.yaml [WORKLOAD]`: what a configuration promises, what it
 * costs, and what losing each region means. What nobody said is not known, and named.
 */
#include <args.h>
#include <cli.h>
#include <promised.h>
#include <table.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/availability.h>

/* ---- what is not known ---- */

/** A sentence for each thing that nobody said; their count. */
unsigned promised_unknowns(const struct plan_deployment *d,
                           char out[PLANNED_LINES][PLANNED_LINE])
{
    unsigned n = 0;
    size_t used = 0;
    char unplaced[300] = "", unsized[300] = "";

    for (unsigned i = 0; i < d->config.region_count; i++) {
        if (d->region[i] < 0 && used < sizeof(unplaced)) {
            used += (size_t)snprintf(unplaced + used, sizeof(unplaced) - used, " %s",
                                     d->config.regions[i].name);
        }
    }
    if (used > 0) {
        snprintf(
            out[n++], PLANNED_LINE,
            "where these regions are, so nothing that hangs on distance is known of classes "
            "with a copy there:%s; give them latitude and longitude",
            unplaced);
    }
    if (!d->sized) {
        snprintf(
            out[n++], PLANNED_LINE,
            "users, load, sizes and prices, so read latency and cost are not known; give a "
            "workload whose classes have the same names: meridian plan WORKLOAD "
            "--deployment FILE");
        return n;
    }
    used = 0;
    for (unsigned i = 0; i < d->count; i++) {
        if (!d->classes[i].sized && strcmp(d->classes[i].class->name, MRD_CLASS_SCHEMA) != 0 &&
            used < sizeof(unsized)) {
            used += (size_t)snprintf(unsized + used, sizeof(unsized) - used, " %s",
                                     d->classes[i].class->name);
        }
    }
    if (used > 0) {
        snprintf(out[n++], PLANNED_LINE,
                 "load and sizes of classes that the workload has not:%s", unsized);
    }
    used = 0;
    unsized[0] = '\0';
    for (unsigned k = 0; k < PLAN_COST_PARTS; k++) {
        bool unknown = false;
        for (unsigned i = 0; i < d->count; i++) {
            unknown |= d->classes[i].sized && !d->classes[i].known[k];
        }
        if (unknown && used < sizeof(unsized)) {
            used += (size_t)snprintf(unsized + used, sizeof(unsized) - used, " %s",
                                     plan_cost_name((enum plan_cost_part)k));
        }
    }
    if (used > 0) {
        snprintf(
            out[n++], PLANNED_LINE,
            "prices of:%s; they are not in the cost below; give them under prices:", unsized);
    }
    return n;
}

bool promised_unused(const struct plan_deployment *d, char out[PLANNED_LINE])
{
    size_t used = 0;
    unsigned count = 0;

    for (unsigned i = 0; i < d->load.class_count && d->sized; i++) {
        bool there = false;
        for (unsigned k = 0; k < d->count; k++) {
            there |= strcmp(d->classes[k].class->name, d->load.classes[i].name) == 0;
        }
        if (!there && used < PLANNED_LINE) {
            used += (size_t)snprintf(out + used, PLANNED_LINE - used, "%s%s",
                                     count++ == 0
                                         ? "not used, because the configuration has no classes "
                                           "of these names: the workload's "
                                         : ", ",
                                     d->load.classes[i].name);
        }
    }
    return count > 0;
}

unsigned promised_assumptions(const struct plan_deployment *d,
                              char out[PLANNED_LINES][PLANNED_LINE])
{
    unsigned n = 0;

    snprintf(
        out[n++], PLANNED_LINE,
        "a region is up %.4f%% of the time, an outage lasts %.2f h, %.0f%% of them take every "
        "region, a failover fails %.0f%% of the time (failures: of a workload)",
        d->load.region_pct, d->load.outage_h, 100 * d->load.beta,
        100 * plan_failover_fails(PLAN_ACTIVE_PASSIVE));
    snprintf(
        out[n++], PLANNED_LINE,
        "every region can carry what it takes over; where users are not known, the homes of "
        "a partitioned class count the same");
    return n;
}

/* ---- words ---- */

char *promised_span(double s, char out[32])
{
    if (s < 0) {
        snprintf(out, 32, "unknown");
        return out;
    }
    return planned_seconds(s, out);
}

char *promised_rto(const struct plan_promise *p, char out[32])
{
    if (!p->unattended && p->r.n > 1 && p->r.covered > 0) {
        snprintf(out, 32, "approval");
        return out;
    }
    return promised_span(plan_promise_rto(p), out);
}

/** "72 ms", "70 to 152 ms": commits over the homes of a class. */
char *promised_commits(const struct plan_promise *p, char out[40])
{
    double low = INFINITY, high = 0;

    for (unsigned i = 0; i < MRD_REGIONS_MAX; i++) {
        if (!isnan(p->commit_ms[i])) {
            low = fmin(low, p->commit_ms[i]);
            high = fmax(high, p->commit_ms[i]);
        }
    }
    if (!p->r.quorum) {
        snprintf(out, 40, "local");
    } else if (isinf(low)) {
        snprintf(out, 40, "unknown");
    } else if (high - low < 1) {
        snprintf(out, 40, "%.0f ms", low);
    } else {
        snprintf(out, 40, "%.0f to %.0f ms", low, high);
    }
    return out;
}

const char *promised_home(const struct plan_deployment *d, const struct plan_promise *p)
{
    return p->class->home != MRD_REGION_NONE ? d->config.regions[p->class->home].name
                                             : "each its own";
}

const char *promised_mode(const struct plan_deployment *d)
{
    static const char *const modes[] = {"automatic", "when an operator approves",
                                        "when two operators approve"};
    return modes[d->config.failover];
}

/* ---- tables ---- */

static void print_classes(const struct plan_deployment *d)
{
    static const char *const titles[] = {"class", "posture", "durability", "home", NULL};
    struct cli_table *t = cli_table_new(titles);

    for (unsigned i = 0; i < d->count; i++) {
        const struct plan_promise *p = &d->classes[i];
        cli_cell(t, "%s", p->class->name);
        cli_cell(t, "%s", mrd_posture_name(p->class->posture));
        cli_cell(t, "%s", mrd_durability_name(p->class->durability));
        cli_cell(t, "%s", promised_home(d, p));
    }
    cli_table_print(t, NULL);
    putchar('\n');
}

static void print_promises(const struct plan_deployment *d)
{
    static const char *const titles[] = {"class",   ">down/yr",  ">95%",      ">rto", ">rpo",
                                         ">commit", ">read p95", "USD/month", NULL};
    struct cli_table *t = cli_table_new(titles);

    for (unsigned i = 0; i < d->count; i++) {
        const struct plan_promise *p = &d->classes[i];
        char text[40], lasts[32];
        bool all = false;
        double usd = plan_promise_cost(p, &all);

        cli_cell(t, "%s", p->class->name);
        cli_cell(t, "%.0f min", mrd_avail_min_per_year(p->r.u));
        cli_cell(t, "%.0f to %.0f", mrd_avail_min_per_year(p->u_low),
                 mrd_avail_min_per_year(p->u_high));
        cli_cell(t, "%s", promised_rto(p, lasts));
        cli_cell(t, "%s", promised_span(plan_promise_rpo(p), lasts));
        cli_cell(t, "%s", promised_commits(p, text));
        cli_cell(t, p->sized && p->placed ? "%.0f ms" : "unknown", p->r.read_p95);
        cli_cell(t, !p->sized ? "unknown" : all ? "%.0f" : "> %.0f", usd);
    }
    cli_table_print(t, NULL);
}

static void print_costs(const struct plan_deployment *d)
{
    static const char *const titles[] = {">USD/month", "class", "part", NULL};
    struct cli_table *t = cli_table_new(titles);
    bool any = false, all = false;

    for (unsigned i = 0; i < d->count; i++) {
        for (unsigned k = 0; k < PLAN_COST_PARTS && d->classes[i].sized; k++) {
            if (d->classes[i].known[k] && d->classes[i].r.cost[k] > 0) {
                cli_cell(t, "%.2f", d->classes[i].r.cost[k]);
                cli_cell(t, "%s", d->classes[i].class->name);
                cli_cell(t, "%s", plan_cost_name((enum plan_cost_part)k));
                any = true;
            }
        }
    }
    if (any) {
        puts("\nwhat is known of the cost");
    }
    cli_table_print(t, NULL);
    double usd = plan_deployment_cost(d, &all);
    if (any) {
        printf("all classes: %s%.2f USD/month; what a region costs by itself is counted once\n",
               all ? "" : "more than ", usd);
    }
}

static void print_losses(const struct plan_deployment *d)
{
    char said[PLAN_SAID], line[PLANNED_LINE + 80];

    for (unsigned i = 0; i < d->config.region_count; i++) {
        printf("\nwithout %s\n", d->config.regions[i].name);
        bool decides = plan_loss_votes(d, said);
        cli_paragraph(said, 2);
        for (unsigned k = 0; decides && k < d->count; k++) {
            const struct plan_promise *p = &d->classes[k];
            enum plan_effect e = plan_loss_class(d, p, i, said);
            snprintf(line, sizeof(line), "%s (%s): %s", p->class->name, plan_effect_name(e),
                     said);
            cli_paragraph(line, 2);
        }
    }
}

static void print_figures(const struct plan_deployment *d)
{
    struct plan_figure figures[PLAN_FIGURES_MAX];

    for (unsigned i = 0; i < d->count; i++) {
        unsigned n = plan_promise_figures(d, &d->classes[i], figures);
        printf("\nfigures of %s\n", d->classes[i].class->name);
        planned_figures(figures, n);
    }
}

static int print_deployment(const struct plan_deployment *d, const struct planned *q)
{
    char lines[PLANNED_LINES][PLANNED_LINE];
    unsigned n = 0;

    printf("%s: %u region%s, failover %s\n\n", d->config.name, d->config.region_count,
           d->config.region_count == 1 ? "" : "s", promised_mode(d));
    if (promised_unused(d, lines[0])) {
        cli_paragraph(lines[0], 0);
        putchar('\n');
    }
    print_classes(d);
    print_promises(d);
    print_costs(d);
    print_losses(d);
    if (q->explain) {
        print_figures(d);
    }
    n = promised_unknowns(d, lines);
    if (n > 0) {
        puts("\nnot known");
    }
    for (unsigned i = 0; i < n; i++) {
        cli_paragraph(lines[i], 2);
    }
    puts("\nassumed");
    n = promised_assumptions(d, lines);
    for (unsigned i = 0; i < n; i++) {
        cli_paragraph(lines[i], 2);
    }
    planned_facts(q->data);
    return 0;
}

/* ---- JSON ---- */

static json_t *known(bool is, double v)
{
    return is && isfinite(v) ? json_real(v) : json_null();
}

static json_t *promise_json(const struct plan_deployment *d, const struct plan_promise *p)
{
    struct plan_figure figures[PLAN_FIGURES_MAX];
    json_t *cost = json_object(), *commit = json_object();
    bool all = false, users = p->sized && p->placed;
    double usd = plan_promise_cost(p, &all);
    unsigned n = plan_promise_figures(d, p, figures);

    json_t *j = json_pack("{s:s, s:s, s:s}", "class", p->class->name, "posture",
                          mrd_posture_name(p->class->posture), "durability",
                          mrd_durability_name(p->class->durability));
    for (unsigned k = 0; k < PLAN_COST_PARTS; k++) {
        json_object_set_new(cost, plan_cost_name((enum plan_cost_part)k),
                            known(p->known[k], p->r.cost[k]));
    }
    for (unsigned i = 0; i < d->config.region_count; i++) {
        if (!isnan(p->commit_ms[i])) {
            json_object_set_new(commit, d->config.regions[i].name, json_real(p->commit_ms[i]));
        }
    }
    json_object_set_new(j, "A", json_real(1 - p->r.u));
    json_object_set_new(j, "U", json_real(p->r.u));
    json_object_set_new(j, "U_interval", json_pack("[f, f]", p->u_low, p->u_high));
    json_object_set_new(j, "rto_s", known(plan_promise_rto(p) >= 0, plan_promise_rto(p)));
    json_object_set_new(j, "rpo_s", known(plan_promise_rpo(p) >= 0, plan_promise_rpo(p)));
    json_object_set_new(j, "commit_ms", commit);
    json_object_set_new(j, "read_p95_ms", known(users, p->r.read_p95));
    json_object_set_new(j, "write_p95_ms", known(users, p->r.write_p95));
    json_object_set_new(j, "cost", cost);
    json_object_set_new(j, "usd_month", known(all, usd));
    json_object_set_new(j, "figures", planned_figures_json(figures, n));
    return j;
}

static json_t *loss_json(const struct plan_deployment *d, unsigned lost)
{
    char said[PLAN_SAID];
    bool decides = plan_loss_votes(d, said);
    json_t *classes = json_array();
    json_t *j = json_pack("{s:s, s:b, s:s, s:o}", "region", d->config.regions[lost].name,
                          "decides", decides, "votes", said, "classes", classes);

    for (unsigned k = 0; k < d->count; k++) {
        enum plan_effect e = plan_loss_class(d, &d->classes[k], lost, said);
        json_array_append_new(classes,
                              json_pack("{s:s, s:s, s:s}", "class", d->classes[k].class->name,
                                        "effect", plan_effect_name(decides ? e : PLAN_STOPS),
                                        "explain", decides ? said : "nothing can be decided"));
    }
    return j;
}

static json_t *lines_json(char lines[PLANNED_LINES][PLANNED_LINE], unsigned n)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++) {
        json_array_append_new(list, json_string(lines[i]));
    }
    return list;
}

static int print_deployment_json(const struct plan_deployment *d, const struct planned *q)
{
    char lines[PLANNED_LINES][PLANNED_LINE];
    json_t *classes = json_array(), *losses = json_array();

    for (unsigned i = 0; i < d->count; i++) {
        json_array_append_new(classes, promise_json(d, &d->classes[i]));
    }
    for (unsigned i = 0; i < d->config.region_count; i++) {
        json_array_append_new(losses, loss_json(d, i));
    }
    json_t *all = json_pack("{s:s, s:o, s:o}", "deployment", d->config.name, "classes", classes,
                            "without", losses);
    bool whole = false;
    double usd = plan_deployment_cost(d, &whole);
    json_object_set_new(all, "usd_month", known(whole, usd));
    json_object_set_new(all, "not_used",
                        promised_unused(d, lines[0]) ? json_string(lines[0]) : json_null());
    json_object_set_new(all, "not_known", lines_json(lines, promised_unknowns(d, lines)));
    json_object_set_new(all, "assumed", lines_json(lines, promised_assumptions(d, lines)));
    json_object_set_new(all, "facts", planned_facts_json(q->data));
    int rc = json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(all);
    putchar('\n');
    return rc == 0 ? 0 : cli_fail(NULL, "could not write the answer");
}

/* ---- the command ---- */

static int load_config(const char *path, struct mrd_config *config)
{
    struct mrd_conf_errors *errors = calloc(1, sizeof(*errors));

    if (errors == NULL) {
        return cli_fail(NULL, "out of memory");
    }
    int rc = mrd_config_load(path, config, errors);
    if (rc != 0) {
        mrd_config_print_errors(stderr, path, errors);
    }
    free(errors);
    return rc == 0 ? 0 : 1;
}

int planned_deployment(struct planned *q, const char *path, bool sized, bool json,
                       const char *html)
{
    struct mrd_config *config = calloc(1, sizeof(*config));
    struct plan_deployment *d = calloc(1, sizeof(*d));
    struct mrd_err err = {0};
    int rc = 1;

    if (config == NULL || d == NULL) {
        cli_fail(NULL, "out of memory");
    } else {
        rc = load_config(path, config);
    }
    if (rc == 0 && plan_deployment_init(d, config, sized ? &q->load : NULL, q->data,
                                        (size_t)q->years, q->seed, &err) != 0) {
        rc = cli_fail(err.hint, "%s", err.text);
    }
    if (rc == 0 && html != NULL && promised_report(d, q, html, &err) != 0) {
        rc = cli_fail(err.hint, "%s", err.text);
    }
    if (rc == 0 && (json || html == NULL)) {
        rc = json ? print_deployment_json(d, q) : print_deployment(d, q);
    }
    free(config);
    free(d);
    return rc;
}
