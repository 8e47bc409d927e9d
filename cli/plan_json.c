/*
 * A plan as JSON: everything that the tables and the page say, and of each posture's figures
 * how they come about.
 */
#include <cli.h>
#include <args.h>
#include <planned.h>

#include <figures.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include <mrd/availability.h>

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *input_json(const struct plan_input *in)
{
    if (in->count == 1) {
        return number(in->v[0]);
    }
    json_t *list = json_array();
    for (unsigned v = 0; v < in->count; v++) {
        json_array_append_new(list, number(in->v[v]));
    }
    return list;
}

json_t *planned_figures_json(const struct plan_figure *figures, unsigned n)
{
    json_t *all = json_object();

    for (unsigned i = 0; i < n; i++) {
        const struct plan_figure *f = &figures[i];
        json_t *inputs = json_object(), *assumed = json_array();
        for (unsigned k = 0; k < f->count; k++) {
            if (f->inputs[k].assumed) {
                json_array_append_new(assumed, json_string(f->inputs[k].name));
            }
            json_object_set_new(inputs, f->inputs[k].name, input_json(&f->inputs[k]));
        }
        json_t *j = json_pack("{s:o, s:s, s:s, s:o, s:o, s:s}", "value", number(f->value),
                              "unit", f->unit, "formula", f->formula, "inputs", inputs,
                              "defaults", assumed, "source", f->source);
        if (f->model != NULL) {
            json_object_set_new(j, "model", json_string(f->model));
            json_object_set_new(j, "key", json_string(f->key));
        }
        json_object_set_new(all, f->name, j);
    }
    return all;
}

static json_t *ms_json(double ms)
{
    return ms < PLAN_NOT_SERVED ? json_real(ms) : json_null(); /* infinite, too */
}

/** What both all users and those of one country have. */
static json_t *latency_json(const struct plan_country_latency *l)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "read_p50", l->read_p50, "read_p95",
                     l->read_p95, "write_p50", l->write_p50, "write_p95", l->write_p95,
                     "lost_read_p95", ms_json(l->lost_read_p95), "lost_write_p95",
                     ms_json(l->lost_write_p95), "stale_p95_ms", ms_json(l->stale_p95_ms));
}

static json_t *countries_json(const struct planned *q, const struct plan_country_latency *l)
{
    json_t *list = json_array();

    for (unsigned u = 0; u < q->load.user_count; u++) {
        json_t *j = latency_json(&l[u]);
        json_object_set_new(j, "country", json_string(q->data->countries[l[u].country].iso2));
        json_object_set_new(j, "share", json_real(q->load.users[u].share));
        json_object_set_new(j, "floor_p95", json_real(l[u].floor_p95_ms));
        json_object_set_new(j, "region",
                            l[u].region < 0 ? json_null()
                                            : json_string(q->data->regions[l[u].region].id));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *wisdom_json(const struct plan_wisdom *rows, unsigned n)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++) {
        const struct plan_wisdom *w = &rows[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "table",
                                              w->table, "row", w->row, "says", w->says, "here",
                                              w->here, "agrees", w->agrees, "why", w->why));
    }
    return list;
}

static json_t *years_json(const struct mrd_outage_years *y)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "U", y->u, "U_se", y->u_se,
                     "p50_h", y->p50_h, "p95_h", y->p95_h, "p99_h", y->p99_h, "worst_year_h",
                     y->worst_year_h, "worst_outage_h", y->worst_outage_h, "outages",
                     (json_int_t)y->outages);
}

static json_t *result_json(struct planned *q, const struct plan_answer *a, unsigned at)
{
    const struct plan_result *r = &a->results[at];
    char name[40], word[PLAN_MISSES_TEXT];
    json_t *regions = json_array(), *cost = json_object(), *missed = json_array(), *j;

    if (r->refused != NULL) {
        return json_pack("{s:s, s:s}", "posture", plan_result_name(r, name), "refused",
                         r->refused);
    }
    for (unsigned k = 0; k < r->n; k++) {
        json_array_append_new(regions, json_string(q->data->regions[r->region[k]].id));
    }
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        json_object_set_new(cost, plan_cost_name((enum plan_cost_part)i),
                            json_real(r->cost[i]));
    }
    for (unsigned miss = 1; miss != 0 && miss <= r->missed; miss <<= 1) {
        if ((r->missed & miss) != 0) {
            json_array_append_new(missed, json_string(plan_missed(miss, word)));
        }
    }
    j = json_pack("{s:s, s:o, s:b, s:o, s:f, s:o, s:f, s:f, s:f, s:f, s:f}", "posture",
                  plan_result_name(r, name), "regions", regions, "quorum", r->quorum, "cost",
                  cost, "usd_month", r->total, "missed", missed, "A", 1 - r->u, "U", r->u,
                  "min_per_year", mrd_avail_min_per_year(r->u), "rto_s", r->rto_s,
                  "rto_worst_s", r->rto_worst_s);
    json_object_set_new(j, "rpo_s", number(r->rpo_s));
    json_object_set_new(j, "holding", json_integer(r->held));
    struct plan_country_latency all = {.read_p50 = r->read_p50,
                                       .read_p95 = r->read_p95,
                                       .write_p50 = r->write_p50,
                                       .write_p95 = r->write_p95,
                                       .lost_read_p95 = r->lost_read_p95,
                                       .lost_write_p95 = r->lost_write_p95,
                                       .stale_p95_ms = r->stale_p95_ms};
    json_object_set_new(j, "latency_ms", latency_json(&all));
    json_object_set_new(j, "countries", countries_json(q, q->countries[a - q->answers][at]));
    json_object_set_new(j, "headroom_running", json_real(planned_running(r)));
    json_object_set_new(j, "lag_s", number(r->lag_s));
    json_object_set_new(j, "replication_mbit_s", json_real(r->replication_mbit));
    json_object_set_new(j, "break_even_usd_hour", json_real(r->usd_hour_break_even));
    json_object_set_new(j, "return_usd_year", number(r->usd_year_return));
    if (r->simulated) {
        json_object_set_new(j, "simulated", years_json(&r->years));
    }
    struct plan_figure figures[PLAN_FIGURES_MAX];
    unsigned n = plan_figures(q->data, &q->load, a->class, plan_one_region(a, r), r, figures);
    json_object_set_new(j, "figures", planned_figures_json(figures, n));
    return j;
}

static json_t *class_json(struct planned *q, unsigned c)
{
    const struct plan_answer *a = &q->answers[c];
    struct plan_wisdom rows[PLAN_WISDOM_MAX];
    unsigned n = planned_wisdom(q, c, rows);
    json_t *postures = json_array(), *differs = json_array(), *j;
    char name[40], said[PLANNED_LINE];

    for (unsigned i = 0; i < a->count; i++) {
        json_array_append_new(postures, result_json(q, a, i));
    }
    for (unsigned i = 0; i < n; i++) {
        if (!rows[i].agrees) {
            json_array_append_new(differs, json_string(planned_wisdom_said(&rows[i], said)));
        }
    }
    j = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "class", a->class->name, "rule",
                  a->rule, "driver", a->driver, "tips", a->tips, "common_wisdom", differs,
                  "tables", wisdom_json(rows, n), "postures", postures);
    json_object_set_new(j, "recommendation",
                        a->best >= 0 ? json_string(plan_result_name(&a->results[a->best], name))
                                     : json_null());
    json_object_set_new(j, "runner_up",
                        a->runner_up >= 0
                            ? json_string(plan_result_name(&a->results[a->runner_up], name))
                            : json_null());
    if (a->best >= 0) {
        json_object_set_new(j, "countries", countries_json(q, q->countries[c][a->best]));
    }
    return j;
}

json_t *planned_facts_json(const struct plan_data *data)
{
    json_t *facts = json_array();
    for (unsigned i = 0; i < PLAN_SOURCES; i++) {
        const struct plan_source *s = &data->sources[i];
        if (s->used) {
            json_array_append_new(
                facts, json_pack("{s:s, s:s, s:s, s:s, s:b, s:i, s:i}", "file", s->file, "what",
                                 s->what, "date", s->own ? s->own_date : s->date, "licence",
                                 s->own ? "" : s->licence, "yours", s->own, "missing_pairs",
                                 s->missing, "too_short_pairs", s->too_short));
        }
    }
    return facts;
}

int planned_json(struct planned *q)
{
    int regions[PLAN_CANDIDATES_MAX];
    double total = 0;
    unsigned n = plan_union(&q->load, q->answers, regions, &total);
    json_t *names = json_array(), *classes = json_array(), *facts = planned_facts_json(q->data);

    for (unsigned i = 0; i < n; i++) {
        json_array_append_new(names, json_string(q->data->regions[regions[i]].id));
    }
    for (unsigned c = 0; c < q->load.class_count; c++) {
        json_array_append_new(classes, class_json(q, c));
    }
    json_t *all = json_pack("{s:s, s:b, s:o, s:f, s:o, s:o, s:I, s:I}", "workload",
                            q->load.name, "multi_region", n > 1, "regions", names, "usd_month",
                            total, "classes", classes, "facts", facts, "years",
                            (json_int_t)q->years, "seed", (json_int_t)q->seed);
    json_t *assumed = json_array();
    char lines[PLANNED_LINES][PLANNED_LINE];
    for (unsigned i = 0, count = planned_assumptions(q, lines); i < count; i++) {
        json_array_append_new(assumed, json_string(lines[i]));
    }
    json_object_set_new(all, "assumed", assumed);
    if (q->load.budget_usd_month >= 0) {
        json_object_set_new(all, "budget_usd_month", json_real(q->load.budget_usd_month));
        json_object_set_new(all, "over_budget",
                            planned_without(q) == q->load.class_count
                                ? json_null()
                                : json_boolean(total > q->load.budget_usd_month));
    }
    int rc = all == NULL ? -1 : json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(all);
    putchar('\n');
    return rc == 0 ? 0 : cli_fail(NULL, "could not write the answer");
}
