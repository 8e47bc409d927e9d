/*
 * A plan as one HTML page: what the tables say, and a map, a cost stack and the years'
 * downtime for the eye. It fetches nothing and runs nothing, so that it can be mailed, printed
 * and kept.
 *
 * Every text goes through page_put(), which escapes it whoever wrote it; markup goes through
 * fprintf with numbers and our own words only. Meaning never hangs on a colour alone: shades
 * rise in lightness, stacks carry letters, lines have dashes, and a table has every number.
 */
#include <plan_page.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>

#define SHADES 5

static const double shade_ms[SHADES - 1] = {50, 100, 150, 250};

static void name_cell(FILE *f, const struct plan_answer *a, unsigned i)
{
    char name[40];
    fprintf(f, (int)i == a->best ? "<tr class=\"best\"><td>&#9656; " : "<tr><td>");
    page_put(f, "%s", plan_result_name(&a->results[i], name));
    fputs("</td>", f);
}

/* ---- the map ---- */

static unsigned shade(double ms)
{
    unsigned s = 0;
    while (s < SHADES - 1 && ms >= shade_ms[s]) {
        s++;
    }
    return s;
}

static void map_key(FILE *f)
{
    for (unsigned s = 0; s < SHADES; s++) {
        fprintf(f,
                "<rect x=\"%u\" y=\"292\" width=\"14\" height=\"10\" class=\"s%u user\"/>"
                "<text x=\"%u\" y=\"301\">",
                10 + 100 * s, s, 28 + 100 * s);
        if (s < SHADES - 1) {
            page_put(f, "%s%.0f ms", s == 0 ? "below " : "to ", shade_ms[s]);
        } else {
            page_put(f, "more, or none");
        }
        fputs("</text>", f);
    }
    fputs("<path class=\"region\" d=\"M517 291l6 11h-12z\"/>"
          "<text x=\"528\" y=\"301\">region</text>\n",
          f);
}

static void draw_map(FILE *f, const struct planned *q, const struct plan_result *r,
                     const struct plan_country_latency *l, bool writes)
{
    char text[32];

    fprintf(f,
            "<figure class=\"map\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
            "aria-label=\"%s latency by country\"><use href=\"#land\" class=\"land\"/>\n",
            PAGE_MAP_WIDTH, PAGE_MAP_HEIGHT + 24, writes ? "write" : "read");
    for (unsigned u = 0; u < q->load.user_count; u++) {
        const struct plan_country *c = &q->data->countries[l[u].country];
        double ms = writes ? l[u].write_p95 : l[u].read_p95;
        unsigned s = shade(ms);
        fprintf(f, "<g class=\"s%u\"><title>", s);
        page_put(f, "%s: %s, %.1f%% of the users", c->name, planned_ms(ms, text),
                 100 * q->load.users[u].share);
        fputs("</title><use href=\"#c-", f);
        page_put(f, "%s", c->iso2);
        fprintf(f,
                "\" class=\"seen\"/><circle class=\"user\" cx=\"%.1f\" cy=\"%.1f\" "
                "r=\"%.1f\"/></g>\n",
                page_map_x(c->centre.longitude), page_map_y(c->centre.latitude),
                2 + 12 * sqrt(q->load.users[u].share));
    }
    struct page_place places[PLAN_REPLICAS_MAX];
    for (unsigned k = 0; k < r->n; k++) {
        const struct plan_region *at = &q->data->regions[r->region[k]];
        places[k] = (struct page_place){at->id, at->latitude, at->longitude, k >= r->held};
    }
    page_places(f, places, r->n);
    map_key(f);
    fprintf(f,
            "</svg><figcaption>95th percentile of %s, by country; a circle's area is the share "
            "of the users%s. Outlines: Natural Earth.</figcaption></figure>\n",
            writes ? "writes" : "reads", r->held < r->n ? "; dashed: edges without data" : "");
}

/* ---- what it costs ---- */

static double dearest(const struct plan_answer *a)
{
    double most = 1e-9;
    for (unsigned i = 0; i < a->count; i++) {
        most = a->results[i].refused == NULL ? fmax(most, a->results[i].total) : most;
    }
    return most;
}

static void draw_stack(FILE *f, const struct plan_result *r, bool best, double most, unsigned y)
{
    double x = 180;
    char name[40];

    fprintf(f, "<text x=\"172\" y=\"%u\" text-anchor=\"end\"%s>", y + 13,
            best ? " font-weight=\"700\"" : "");
    page_put(f, "%s", plan_result_name(r, name));
    fputs("</text>", f);
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        double w = 440 * r->cost[i] / most;
        if (!(w > 0)) {
            continue;
        }
        fprintf(f,
                "<rect class=\"part p%u\" x=\"%.2f\" y=\"%u\" width=\"%.2f\" "
                "height=\"18\"><title>",
                i, x, y, w);
        page_put(f, "%s: %.2f USD/month", plan_cost_name((enum plan_cost_part)i), r->cost[i]);
        fputs("</title></rect>", f);
        if (w > 12) {
            fprintf(
                f,
                "<text class=\"letter\" x=\"%.2f\" y=\"%u\" text-anchor=\"middle\">%c</text>",
                x + w / 2, y + 13, 'A' + (int)i);
        }
        x += w;
    }
    fprintf(f, "<text x=\"%.2f\" y=\"%u\">%.0f USD</text>\n", x + 6, y + 13, r->total);
}

static void draw_costs(FILE *f, const struct plan_answer *a)
{
    unsigned rows = 0, y = 4;

    for (unsigned i = 0; i < a->count; i++) {
        rows += a->results[i].refused == NULL;
    }
    fprintf(f,
            "<figure class=\"costs\"><svg viewBox=\"0 0 720 %u\" role=\"img\" "
            "aria-label=\"monthly cost by posture\">\n",
            24 * rows + 46);
    for (unsigned i = 0; i < a->count; i++) {
        if (a->results[i].refused == NULL) {
            draw_stack(f, &a->results[i], (int)i == a->best, dearest(a), y);
            y += 24;
        }
    }
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        fprintf(f,
                "<rect class=\"p%u\" x=\"%u\" y=\"%u\" width=\"10\" height=\"10\"/>"
                "<text x=\"%u\" y=\"%u\">%c ",
                i, 10 + 140 * (i % 5), y + 8 + 18 * (i / 5), 24 + 140 * (i % 5),
                y + 17 + 18 * (i / 5), 'A' + (int)i);
        page_put(f, "%s", plan_cost_name((enum plan_cost_part)i));
        fputs("</text>", f);
    }
    fputs("</svg><figcaption>USD a month by component and posture.</figcaption></figure>\n", f);
}

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

/* ---- what it buys ---- */

#define YEARS_X(i) (50 + 660.0 * (i) / (PLAN_YEAR_STEPS - 1))
#define YEARS_Y(share) (200 - 190 * (share))

static void draw_curve(FILE *f, const struct plan_result *r, const char *class)
{
    char name[40];
    fprintf(f, "<polyline class=\"curve %s\" points=\"", class);
    for (unsigned i = 0; i < PLAN_YEAR_STEPS; i++) {
        fprintf(f, "%.1f,%.1f ", YEARS_X(i), YEARS_Y(sqrt(r->worse[i])));
    }
    fputs("\"><title>", f);
    page_put(f, "%s", plan_result_name(r, name));
    fputs("</title></polyline>\n", f);
}

static void draw_years(FILE *f, const struct planned *q, const struct plan_answer *a)
{
    static const double shares[] = {0, 0.01, 0.05, 0.2, 0.5, 1};

    fputs("<figure class=\"years\"><svg viewBox=\"0 0 720 225\" role=\"img\" "
          "aria-label=\"downtime over years\">\n",
          f);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double y = YEARS_Y(sqrt(shares[i]));
        fprintf(f,
                "<path class=\"rule\" d=\"M50 %.1fH710\"/><text x=\"44\" y=\"%.1f\" "
                "text-anchor=\"end\">%.0f%%</text>",
                y, y + 4, 100 * shares[i]);
    }
    for (unsigned i = 0; i < PLAN_YEAR_STEPS; i += 8) {
        fprintf(f, "<text x=\"%.1f\" y=\"216\" text-anchor=\"middle\">%g h</text>",
                YEARS_X(i) - (i == PLAN_YEAR_STEPS - 1 ? 14 : 0), plan_year_step_h(i));
    }
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL && r->simulated) {
            draw_curve(f, r,
                       (int)i == a->best           ? "best"
                       : r->posture == PLAN_SINGLE ? "single"
                       : (int)i == a->runner_up    ? "runner"
                                                   : "other");
        }
    }
    fputs("</svg><figcaption>", f);
    page_put(
        f,
        "Share of %llu simulated years with more downtime than that. Thick: recommended; "
        "dashes: single-region; dots: runner-up; thin: the others. A posture with fewer than "
        "%d outages is not drawn.",
        q->years, MRD_OUTAGE_EVENTS_MIN);
    fputs("</figcaption></figure>\n", f);
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
        page_put(f, "%s", planned_regions(q, r, text));
        fputs("</td></tr>\n", f);
    }
    page_table_end(f);
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

static void country_table(FILE *f, const struct planned *q,
                          const struct plan_country_latency *l)
{
    static const char *const titles[] = {
        "country",   "share",          "~served by",      "read p50", "read p95", "write p50",
        "write p95", "read, one lost", "write, one lost", "stale",    NULL};
    char text[32];

    page_table(f, titles);
    for (unsigned u = 0; u < q->load.user_count; u++) {
        const double ms[] = {l[u].read_p50,    l[u].read_p95,      l[u].write_p50,
                             l[u].write_p95,   l[u].lost_read_p95, l[u].lost_write_p95,
                             l[u].stale_p95_ms};
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
    unsigned n = plan_figures(q->data, &q->load, a->class, &a->results[0], r, figures);
    char inputs[400];

    fputs("<div class=\"quiet\">", f);
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
    static const char *const titles[] = {"table", "~row", "~says", "~here", "~", "~why", NULL};
    struct plan_wisdom rows[PLAN_WISDOM_MAX];
    unsigned n = planned_wisdom(q, c, rows);

    page_tag(f, "h3", "What the usual tables say");
    page_table(f, titles);
    for (unsigned i = 0; i < n; i++) {
        const struct plan_wisdom *w = &rows[i];
        const char *const words[] = {w->row, w->says, w->here, w->agrees ? "agrees" : "differs",
                                     w->why};
        fputs(w->agrees ? "<tr>" : "<tr class=\"best\">", f);
        page_words(f, w->table);
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
            page_words(f, words[k]);
        }
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
        unsigned n = plan_figures(q->data, &q->load, a->class, &a->results[0], r, figures);
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
    posture_table(f, q, a);
    page_tag(f, "h3", "Cost");
    draw_costs(f, a);
    cost_table(f, a);
    page_tag(f, "h3", "Bad days");
    if (q->years > 0) {
        draw_years(f, q, a);
    }
    bad_day_table(f, a);
    write_countries(f, q, c);
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
