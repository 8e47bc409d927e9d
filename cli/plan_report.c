/*
 * A plan as one HTML page: what the tables say, and a map, a cost stack and the years'
 * downtime for the eye. It fetches nothing and runs nothing, so that it can be mailed, printed
 * and kept.
 *
 * Charts are drawn by plan_charts.c; a table has every number that they show.
 */
#include <plan_charts.h>

#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>

static void name_cell(FILE *f, const struct plan_answer *a, unsigned i)
{
    char name[40];
    fprintf(f, (int)i == a->best ? "<tr class=\"best\"><td>&#9656; " : "<tr><td>");
    page_put(f, "%s", plan_result_name(&a->results[i], name));
    fputs("</td>", f);
}

/* ---- charts ---- */

static void draw_map(FILE *f, const struct planned *q, const struct plan_result *r,
                     const struct plan_country_latency *l, bool writes)
{
    struct page_place places[PLAN_COPIES_MAX];
    char caption[200];

    for (unsigned k = 0; k < r->n; k++) {
        const struct plan_region *at = &q->data->regions[r->region[k]];
        places[k] = (struct page_place){at->id, at->latitude, at->longitude, k >= r->held};
    }
    snprintf(caption, sizeof(caption),
             "95th percentile of %s, by country; a circle's area is the share of the users%s. "
             "Outlines: Natural Earth.",
             writes ? "writes" : "reads", r->held < r->n ? "; dashed: edges without data" : "");
    chart_map(f, q, l, writes, places, r->n, caption);
}

static void draw_costs(FILE *f, const struct plan_answer *a)
{
    struct chart_stack stacks[2 * PLAN_POSTURES];
    char name[40];
    unsigned n = 0;

    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL) {
            stacks[n] = (struct chart_stack){"", r->cost, r->total, (int)i == a->best, false};
            plan_result_name(r, name);
            snprintf(stacks[n++].name, sizeof(name), "%s", name);
        }
    }
    chart_costs(f, stacks, n, "USD a month by component and posture.");
}

static void draw_years(FILE *f, const struct planned *q, const struct plan_answer *a)
{
    struct chart_curve curves[2 * PLAN_POSTURES];
    char name[40];
    char caption[300];
    unsigned n = 0;

    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL && r->simulated) {
            const char *class = (int)i == a->best           ? "best"
                                : r->posture == PLAN_SINGLE ? "single"
                                : (int)i == a->runner_up    ? "runner"
                                                            : "other";
            curves[n] = (struct chart_curve){"", class, r->worse};
            plan_result_name(r, name);
            snprintf(curves[n++].name, sizeof(name), "%s", name);
        }
    }
    snprintf(caption, sizeof(caption),
             "Share of %llu simulated years with more downtime than that. Thick: recommended; "
             "dashes: single-region; dots: runner-up; thin: the others. A posture with fewer "
             "than %d outages is not drawn.",
             q->years, MRD_OUTAGE_EVENTS_MIN);
    chart_years(f, curves, n, caption);
}

/* ---- tables ---- */

static void cost_table(FILE *f, const struct plan_answer *a)
{
    const char *titles[PLAN_COST_PARTS + 3] = {"USD/month"};
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        titles[i + 1] = plan_cost_name((enum plan_cost_part)i);
    }
    titles[PLAN_COST_PARTS + 1] = "total";
    page_table(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL) {
            name_cell(f, a, i);
            for (unsigned k = 0; k < PLAN_COST_PARTS; k++) {
                page_cell(f, true, "", "%.2f", r->cost[k]);
            }
            page_cell(f, true, "", "%.2f", r->total);
            fputs("</tr>\n", f);
        }
    }
    page_table_end(f);
}

static void posture_table(FILE *f, const struct planned *q, const struct plan_answer *a)
{
    static const char *const titles[] = {"posture",  "USD/month", "down/yr", "rto",      "rpo",
                                         "read p95", "write p95", "~misses", "~regions", NULL};
    char text[220], span[32];

    page_table(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL) {
            continue;
        }
        name_cell(f, a, i);
        page_cell(f, true, "", "%.0f", r->total);
        page_cell(f, true, "", "%.0f min", mrd_avail_min_per_year(r->u));
        page_cell(f, false, planned_seconds(r->rto_s, span), "%.0f", 0);
        page_cell(f, false, planned_seconds(r->rpo_s, span), "%.0f", 0);
        page_cell(f, true, "", "%.0f ms", r->read_p95);
        page_cell(f, true, "", "%.0f ms", r->write_p95);
        fputs("<td class=\"words\">", f);
        page_put(f, "%s", r->missed != 0 ? plan_missed(r->missed, text) : "nothing");
        fputs("</td><td class=\"words\">", f);
        for (unsigned k = 0; k < r->n; k++) { /* a line may end between them, not within one */
            fputs("<span class=\"id\">", f);
            page_put(f, "%s", q->data->regions[r->region[k]].id);
            fputs("</span> ", f);
        }
        fputs("</td></tr>\n", f);
    }
    page_table_end(f);
}

static void write_refused(FILE *f, const struct plan_answer *a)
{
    char text[220];

    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL && !r->cdn) {
            snprintf(text, sizeof(text), "not %s: %s", plan_posture_name(r->posture),
                     r->refused);
            page_tag(f, "p", text);
        }
    }
}

static void bad_day_table(FILE *f, const struct plan_answer *a)
{
    static const char *const titles[] = {
        "posture",        "95% of years",    "worst year", "worst outage",
        "read, one lost", "write, one lost", "stale",      NULL};
    char span[32], below[40];

    page_table(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL) {
            continue;
        }
        name_cell(f, a, i);
        snprintf(below, sizeof(below), "< %s", planned_seconds(r->years.p95_h * 3600, span));
        page_cell(f, false, r->simulated ? below : "-", "%.0f", 0);
        page_cell(f, r->simulated, "-", "%.1f h", r->years.worst_year_h);
        page_cell(f, r->simulated, "-", "%.1f h", r->years.worst_outage_h);
        page_cell(f, false, planned_ms(r->lost_read_p95, span), "%.0f", 0);
        page_cell(f, false, planned_ms(r->lost_write_p95, span), "%.0f", 0);
        page_cell(f, false, planned_ms(r->stale_p95_ms, span), "%.0f", 0);
        fputs("</tr>\n", f);
    }
    page_table_end(f);
}

static void need_table(FILE *f, const struct plan_answer *a)
{
    static const char *const titles[] = {"posture",   "running", "replication", "lag",
                                         "pays from", "returns", NULL};
    char text[40];

    page_table(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL) {
            name_cell(f, a, i);
            page_cell(f, true, "", "%.2f x load", planned_running(r));
            page_cell(f, true, "", "%.2f Mbit/s", r->replication_mbit);
            page_cell(f, false, planned_lag(r, text), "%.0f", 0);
            page_cell(f, false, planned_pays(a, r, text), "%.0f", 0);
            page_cell(f, false, planned_returns(r, text), "%.0f", 0);
            fputs("</tr>\n", f);
        }
    }
    page_table_end(f);
}

static void country_table(FILE *f, const struct planned *q,
                          const struct plan_country_latency *l)
{
    static const char *const titles[] = {
        "country",   "share",     "~served by",     "light",           "read p50", "read p95",
        "write p50", "write p95", "read, one lost", "write, one lost", "stale",    NULL};
    char text[32];

    page_table(f, titles);
    for (unsigned u = 0; u < q->load.user_count; u++) {
        const double ms[] = {l[u].floor_p95_ms,   l[u].read_p50,    l[u].read_p95,
                             l[u].write_p50,      l[u].write_p95,   l[u].lost_read_p95,
                             l[u].lost_write_p95, l[u].stale_p95_ms};
        fputs("<tr><td>", f);
        page_put(f, "%s", q->data->countries[l[u].country].name);
        fputs("</td>", f);
        page_cell(f, true, "", "%.1f%%", 100 * q->load.users[u].share);
        page_words(f, l[u].region < 0 ? "nobody" : q->data->regions[l[u].region].id);
        for (size_t k = 0; k < sizeof(ms) / sizeof(ms[0]); k++) {
            page_cell(f, false, planned_ms(ms[k], text), "%.0f", 0);
        }
        fputs("</tr>\n", f);
    }
    page_table_end(f);
}

/* ---- how latencies come about ---- */

/** The formulas of a country's figures are those of all users', over its users only. */
static void country_formulas(FILE *f, struct planned *q, const struct plan_answer *a,
                             const struct plan_result *r)
{
    struct plan_figure figures[PLAN_FIGURES_MAX];
    unsigned n = plan_figures(q->data, &q->load, a->class, plan_one_region(a, r), r, figures);
    char inputs[400];

    fputs("<div class=\"quiet\"><p>", f);
    page_put(
        f, "light: 95%% of the users, 2 km / 200 km per ms of fibre to the region that serves "
           "them, without last mile and work (F21; meridian model fibre)");
    fputs("</p>\n", f);
    for (unsigned i = 0; i < n; i++) {
        const char *name = figures[i].name;
        if (strcmp(name, "read_p95") == 0 || strcmp(name, "write_p95") == 0 ||
            strcmp(name, "stale_p95_ms") == 0 || strcmp(name, "commit_ms") == 0) {
            fputs("<p>", f);
            page_put(f, "%s: %s (%s; source: %s)", name, figures[i].formula,
                     plan_figure_inputs(&figures[i], inputs, sizeof(inputs)),
                     figures[i].source);
            fputs("</p>\n", f);
        }
    }
    fputs("</div>\n", f);
}

/* ---- the page ---- */

static void write_countries(FILE *f, struct planned *q, unsigned c)
{
    const struct plan_answer *a = &q->answers[c];
    char name[40];

    page_tag(f, "h3", "Latency by country");
    if (a->best >= 0) {
        const struct plan_result *r = &a->results[a->best];
        const struct plan_country_latency *l = q->countries[c][a->best];
        draw_map(f, q, r, l, false);
        if (a->class->writes_per_s > 0) {
            draw_map(f, q, r, l, true);
        }
        country_table(f, q, l);
        country_formulas(f, q, a, r);
    }
    fputs("<details><summary>The same of the other postures</summary>\n", f);
    for (unsigned i = 0; i < a->count; i++) {
        if (a->results[i].refused == NULL && (int)i != a->best) {
            page_tag(f, "h3", plan_result_name(&a->results[i], name));
            country_table(f, q, q->countries[c][i]);
        }
    }
    fputs("</details>\n", f);
}

static void write_wisdom(FILE *f, struct planned *q, unsigned c)
{
    static const char *const titles[] = {"table", "~row", "~says", "~here",
                                         "~and",  "~why", NULL};
    struct plan_wisdom rows[PLAN_WISDOM_MAX];
    unsigned n = planned_wisdom(q, c, rows);

    page_tag(f, "h3", "What the usual tables say");
    page_table(f, titles);
    for (unsigned i = 0; i < n; i++) {
        const struct plan_wisdom *w = &rows[i];
        fputs("<tr><td>", f);
        page_put(f, "%s", w->table);
        fputs("</td>", f);
        page_words(f, w->row);
        page_words(f, w->says);
        page_words(f, w->here);
        fputs(w->agrees ? "<td class=\"words\">agrees</td>"
                        : "<td class=\"words no\">differs</td>",
              f);
        page_words(f, w->why);
        fputs("</tr>\n", f);
    }
    page_table_end(f);
}

static void write_figures(FILE *f, struct planned *q, const struct plan_answer *a)
{
    struct plan_figure figures[PLAN_FIGURES_MAX];
    const struct plan_result *r = planned_shown(a);
    char name[40];

    if (r != NULL) {
        unsigned n =
            plan_figures(q->data, &q->load, a->class, plan_one_region(a, r), r, figures);
        page_figures(f, plan_result_name(r, name), figures, n);
    }
}

static void write_class(FILE *f, struct planned *q, unsigned c)
{
    const struct plan_answer *a = &q->answers[c];
    char lines[PLANNED_LINES][PLANNED_LINE];

    fputs("<h2>class ", f);
    page_put(f, "%s", a->class->name);
    fputs("</h2>\n", f);
    planned_verdict(q, a, lines[0]);
    fputs("<p class=\"verdict\">", f);
    page_put(f, "%s", lines[0]);
    fputs("</p>\n", f);
    page_tag(f, "p", a->tips);
    for (unsigned i = 0, n = planned_remarks(q, a, lines); i < n; i++) {
        page_tag(f, "p", lines[i]);
    }
    page_tag(f, "h3", "Postures");
    if (planned_shown(a) != NULL) {
        posture_table(f, q, a);
    }
    write_refused(f, a);
    if (planned_shown(a) != NULL) {
        page_tag(f, "h3", "Cost");
        draw_costs(f, a);
        cost_table(f, a);
        page_tag(f, "h3", "Bad days");
        if (q->years > 0) {
            draw_years(f, q, a);
        }
        bad_day_table(f, a);
        page_tag(f, "h3", "What it needs and returns");
        need_table(f, a);
        write_countries(f, q, c);
    }
    write_wisdom(f, q, c);
    write_figures(f, q, a);
}

static void write_whole(FILE *f, const struct planned *q)
{
    char line[PLANNED_LINE];

    planned_whole(q, line);
    line[0] = (char)(line[0] - 'a' + 'A');
    fputs("<p class=\"lead\"><strong>", f);
    page_put(f, "%s.", line);
    fputs("</strong></p>\n", f);
    if (planned_budget(q, line)) {
        page_tag(f, "p", line);
    }
}

static void write_body(FILE *f, const void *of)
{
    struct planned *q = *(struct planned *const *)of;
    char lines[PLANNED_LINES][PLANNED_LINE];

    write_whole(f, q);
    for (unsigned c = 0; c < q->load.class_count; c++) {
        write_class(f, q, c);
    }
    page_section(f, "Assumed", lines, planned_assumptions(q, lines));
    page_facts(f, q->data);
}

int planned_report(struct planned *q, const char *path, struct mrd_err *err)
{
    return page_write(path, q->load.name, write_body, &q, err);
}
