/*
 * What a configuration promises, as one page: the promises of each class, where its regions
 * are, how downtime falls on years, what is known of the cost, and what losing each region
 * means.
 */
#include <plan_charts.h>
#include <promised.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <mrd/availability.h>

struct book {
    const struct plan_deployment *d;
    const struct planned *q;
};

static void promise_table(FILE *f, const struct plan_deployment *d)
{
    static const char *const titles[] = {
        "class", "~home",  "~posture", "~durability", "down/yr",   "95%", "rto",
        "rpo",   "commit", "read p95", "stale reads", "USD/month", NULL};
    char text[40], lasts[32];

    page_table(f, titles);
    for (unsigned i = 0; i < d->count; i++) {
        const struct plan_promise *p = &d->classes[i];
        bool all = false, users = p->sized && p->placed;
        double usd = plan_promise_cost(p, &all);
        const char *const words[] = {p->class->name, promised_home(d, p),
                                     mrd_posture_name(p->class->posture),
                                     mrd_durability_name(p->class->durability)};

        fputs("<tr>", f);
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
            page_words(f, words[k]);
        }
        page_cell(f, true, "", "%.0f min", mrd_avail_min_per_year(p->r.u));
        snprintf(text, sizeof(text), "%.0f to %.0f", mrd_avail_min_per_year(p->u_low),
                 mrd_avail_min_per_year(p->u_high));
        page_cell(f, false, text, "%.0f", 0);
        page_cell(f, false, promised_rto(p, lasts), "%.0f", 0);
        page_cell(f, false, promised_span(plan_promise_rpo(p), lasts), "%.0f", 0);
        page_cell(f, false, promised_commits(p, text), "%.0f", 0);
        page_cell(f, users, "unknown", "%.0f ms", p->r.read_p95);
        page_cell(f, false, users ? planned_ms(p->r.stale_p95_ms, lasts) : "unknown", "%.0f",
                  0);
        page_cell(f, p->sized, "unknown", all ? "%.0f" : "> %.0f", usd);
        fputs("</tr>\n", f);
    }
    page_table_end(f);
}

static void draw_regions(FILE *f, const struct planned *q, const struct plan_deployment *d)
{
    struct page_place places[MRD_REGIONS_MAX];
    unsigned n = 0;

    for (unsigned i = 0; i < d->config.region_count; i++) {
        if (d->region[i] >= 0) {
            const struct plan_region *at = &d->data->regions[d->region[i]];
            places[n++] = (struct page_place){d->config.regions[i].name, at->latitude,
                                              at->longitude, d->config.regions[i].witness};
        }
    }
    if (n > 0) {
        chart_map(
            f, q, NULL, false, places, n,
            "Regions whose place is known; dashed: witnesses, which hold no data. Outlines: "
            "Natural Earth.");
    }
}

static void draw_promised_years(FILE *f, const struct planned *q,
                                const struct plan_deployment *d)
{
    static const char *const classes[] = {"best", "single", "runner", "other"};
    struct chart_curve curves[MRD_CLASSES_MAX];
    char caption[PLANNED_LINE];
    unsigned n = 0;
    size_t used = (size_t)snprintf(caption, sizeof(caption),
                                   "Share of %llu simulated years with more downtime than that",
                                   q->years);
    static const char *const looks[] = {"thick", "dashes", "dots", "thin"};

    for (unsigned i = 0; i < d->count; i++) {
        const struct plan_promise *p = &d->classes[i];
        if (p->r.simulated) {
            unsigned k = n < 3 ? n : 3;
            curves[n] = (struct chart_curve){"", classes[k], p->r.worse};
            snprintf(curves[n++].name, sizeof(curves[0].name), "%s", p->class->name);
            used += used < sizeof(caption)
                        ? (size_t)snprintf(caption + used, sizeof(caption) - used, "; %s: %s",
                                           looks[k], p->class->name)
                        : 0;
        }
    }
    if (n > 0) {
        page_tag(f, "h3", "Bad years");
        chart_years(f, curves, n, caption);
    }
}

static void draw_promised_costs(FILE *f, const struct plan_deployment *d)
{
    static double known[MRD_CLASSES_MAX][PLAN_COST_PARTS];
    struct chart_stack stacks[MRD_CLASSES_MAX];
    char line[PLANNED_LINE];
    unsigned n = 0;
    bool whole = false;

    for (unsigned i = 0; i < d->count; i++) {
        const struct plan_promise *p = &d->classes[i];
        bool all = false;
        double usd = plan_promise_cost(p, &all);
        if (!(usd > 0)) {
            continue;
        }
        for (unsigned k = 0; k < PLAN_COST_PARTS; k++) {
            known[n][k] = p->known[k] ? p->r.cost[k] : 0;
        }
        stacks[n] = (struct chart_stack){"", known[n], usd, false, !all};
        snprintf(stacks[n++].name, sizeof(stacks[0].name), "%s", p->class->name);
    }
    if (n == 0) {
        return;
    }
    page_tag(f, "h3", "What is known of the cost");
    chart_costs(f, stacks, n, "USD a month by component and class.");
    double usd = plan_deployment_cost(d, &whole);
    snprintf(line, sizeof(line),
             "All classes: %s%.2f USD/month; what a region costs by itself is counted once.",
             whole ? "" : "more than ", usd);
    page_tag(f, "p", line);
}

static void write_losses(FILE *f, const struct plan_deployment *d)
{
    static const char *const titles[] = {"class", "~effect", "~what happens", NULL};
    char said[PLAN_SAID], title[80];

    page_tag(f, "h2", "What losing each region means");
    for (unsigned i = 0; i < d->config.region_count; i++) {
        bool decides = plan_loss_votes(d, said);
        snprintf(title, sizeof(title), "Without %s", d->config.regions[i].name);
        page_tag(f, "h3", title);
        page_tag(f, "p", said);
        if (!decides) {
            continue;
        }
        page_table(f, titles);
        for (unsigned k = 0; k < d->count; k++) {
            enum plan_effect e = plan_loss_class(d, &d->classes[k], i, said);
            fputs(e == PLAN_STOPS ? "<tr class=\"best\">" : "<tr>", f);
            page_words(f, d->classes[k].class->name);
            page_words(f, plan_effect_name(e));
            page_words(f, said);
            fputs("</tr>\n", f);
        }
        page_table_end(f);
    }
}

static void write_promised_figures(FILE *f, const struct plan_deployment *d)
{
    struct plan_figure figures[PLAN_FIGURES_MAX];

    page_tag(f, "h2", "Figures");
    for (unsigned i = 0; i < d->count; i++) {
        unsigned n = plan_promise_figures(d, &d->classes[i], figures);
        page_figures(f, d->classes[i].class->name, figures, n);
    }
}

static void write_body(FILE *f, const void *of)
{
    const struct book *b = of;
    const struct plan_deployment *d = b->d;
    char lines[PLANNED_LINES][PLANNED_LINE];

    snprintf(lines[0], PLANNED_LINE, "%u region%s, failover %s.", d->config.region_count,
             d->config.region_count == 1 ? "" : "s", promised_mode(d));
    fputs("<p class=\"lead\"><strong>", f);
    page_put(f, "%s", lines[0]);
    fputs("</strong></p>\n", f);
    if (promised_unused(d, lines[0])) {
        page_tag(f, "p", lines[0]);
    }
    draw_regions(f, b->q, d);
    page_tag(f, "h2", "What each class is promised");
    promise_table(f, d);
    draw_promised_years(f, b->q, d);
    draw_promised_costs(f, d);
    write_losses(f, d);
    write_promised_figures(f, d);
    page_section(f, "Not known", lines, promised_unknowns(d, lines));
    page_section(f, "Assumed", lines, promised_assumptions(d, lines));
    page_facts(f, d->data);
}

int promised_report(const struct plan_deployment *d, const struct planned *q, const char *path,
                    struct mrd_err *err)
{
    struct book b = {d, q};
    return page_write(path, d->config.name, write_body, &b, err);
}
