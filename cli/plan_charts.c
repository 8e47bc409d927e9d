/*
 * Charts as SVG (plan_charts.h). Meaning never hangs on a colour alone: shades rise in
 * lightness, stacks carry letters, lines have dashes.
 */
#include <plan_charts.h>

#include <math.h>

#define SHADES 5

static const double shade_ms[SHADES - 1] = {50, 100, 150, 250};

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
            page_put(f, "more, or down");
        }
        fputs("</text>", f);
    }
    fputs("<path class=\"region\" d=\"M527 291l6 11h-12z\"/>"
          "<text x=\"538\" y=\"301\">region</text>\n",
          f);
}

static void map_users(FILE *f, const struct planned *q, const struct plan_country_latency *l,
                      bool writes)
{
    char text[32];

    for (unsigned u = 0; u < q->load.user_count; u++) {
        const struct plan_country *c = &q->data->countries[l[u].country];
        double ms = writes ? l[u].write_p95 : l[u].read_p95;
        fprintf(f, "<g class=\"s%u\"><title>", shade(ms));
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
}

void chart_map(FILE *f, const struct planned *q, const struct plan_country_latency *l,
               bool writes, const struct page_place *places, unsigned n, const char *caption)
{
    fprintf(f,
            "<figure class=\"map\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
            "aria-label=\"%s latency by country\"><use href=\"#land\" class=\"land\"/>\n",
            PAGE_MAP_WIDTH, PAGE_MAP_HEIGHT + (l != NULL ? 24 : 0), writes ? "write" : "read");
    if (l != NULL) {
        map_users(f, q, l, writes);
        map_key(f);
    }
    page_places(f, places, n);
    fputs("</svg>", f);
    page_tag(f, "figcaption", caption);
    fputs("</figure>\n", f);
}

/* ---- stacks ---- */

#define STACK_X 180.0
#define STACK_WIDTH 440.0

static void draw_stack(FILE *f, const struct chart_stack *s, double usd_px, unsigned y)
{
    double x = STACK_X;

    fprintf(f, "<text x=\"172\" y=\"%u\" text-anchor=\"end\"%s>", y + 13,
            s->best ? " font-weight=\"700\"" : "");
    page_put(f, "%s", s->name);
    fputs("</text>", f);
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        double w = s->cost[i] / usd_px;
        if (!(w > 0)) {
            continue;
        }
        fprintf(f,
                "<rect class=\"part p%u\" x=\"%.2f\" y=\"%u\" width=\"%.2f\" "
                "height=\"18\"><title>",
                i, x, y, w);
        page_put(f, "%s: %.2f USD/month", plan_cost_name((enum plan_cost_part)i), s->cost[i]);
        fputs("</title></rect>", f);
        if (w > 12) {
            fprintf(f,
                    "<text class=\"letter\" x=\"%.2f\" y=\"%u\" "
                    "text-anchor=\"middle\">%c</text>",
                    x + w / 2, y + 13, 'A' + (int)i);
        }
        x += w;
    }
    fprintf(f, "<text x=\"%.2f\" y=\"%u\">", x + 6, y + 13);
    page_put(f, "%s%.0f USD", s->more ? "> " : "", s->total);
    fputs("</text>\n", f);
}

/** The largest of 1, 2 and 5 times a power of ten of which three fit below @most. */
static double round_step(double most)
{
    double ten = pow(10, floor(log10(most / 3)));
    return most / 3 >= 5 * ten ? 5 * ten : most / 3 >= 2 * ten ? 2 * ten : ten;
}

static void cost_axis(FILE *f, double most, double usd_px, unsigned y)
{
    double step = round_step(most);

    for (unsigned i = 0; i * step <= most * 1.0001; i++) {
        double usd = i * step, x = STACK_X + usd / usd_px;
        fprintf(f,
                "<path class=\"rule\" d=\"M%.1f 0V%u\"/><text x=\"%.1f\" y=\"%u\" "
                "text-anchor=\"middle\">%.6g</text>",
                x, y, x, y + 13, usd);
    }
    fprintf(f, "<text x=\"710\" y=\"%u\" text-anchor=\"end\">USD/month</text>\n", y + 13);
}

static void cost_key(FILE *f, unsigned y)
{
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        fprintf(f,
                "<rect class=\"p%u\" x=\"%u\" y=\"%u\" width=\"10\" height=\"10\"/>"
                "<text x=\"%u\" y=\"%u\">%c ",
                i, 10 + 140 * (i % 5), y + 18 * (i / 5), 24 + 140 * (i % 5),
                y + 9 + 18 * (i / 5), 'A' + (int)i);
        page_put(f, "%s", plan_cost_name((enum plan_cost_part)i));
        fputs("</text>", f);
    }
}

void chart_costs(FILE *f, const struct chart_stack *stacks, unsigned n, const char *caption)
{
    double most = 1e-2;

    for (unsigned i = 0; i < n; i++) {
        most = fmax(most, stacks[i].total);
    }
    fprintf(f,
            "<figure class=\"costs\"><svg viewBox=\"0 0 720 %u\" role=\"img\" "
            "aria-label=\"monthly cost\">\n",
            24 * n + 66);
    cost_axis(f, most, most / STACK_WIDTH, 24 * n + 2);
    for (unsigned i = 0; i < n; i++) {
        draw_stack(f, &stacks[i], most / STACK_WIDTH, 4 + 24 * i);
    }
    cost_key(f, 24 * n + 28);
    fputs("</svg>", f);
    page_tag(f, "figcaption", caption);
    fputs("</figure>\n", f);
}

/* ---- years ---- */

#define YEARS_X(i) (58 + 652.0 * (i) / (PLAN_YEAR_STEPS - 1))
#define YEARS_Y(share) (200 - 190 * sqrt(share)) /* so that the rare years are seen */

static void draw_curve(FILE *f, const struct chart_curve *c)
{
    fprintf(f, "<polyline class=\"curve %s\" points=\"", c->class);
    for (unsigned i = 0; i < PLAN_YEAR_STEPS; i++) {
        fprintf(f, "%.1f,%.1f ", YEARS_X(i), YEARS_Y(c->worse[i]));
    }
    fputs("\"><title>", f);
    page_put(f, "%s", c->name);
    fputs("</title></polyline>\n", f);
}

void chart_years(FILE *f, const struct chart_curve *curves, unsigned n, const char *caption)
{
    static const double shares[] = {0, 0.01, 0.05, 0.2, 0.5, 1};

    fputs("<figure class=\"years\"><svg viewBox=\"0 0 720 238\" role=\"img\" "
          "aria-label=\"downtime over years\">\n"
          "<text x=\"12\" y=\"105\" text-anchor=\"middle\" "
          "transform=\"rotate(-90 12 105)\">share of the years</text>"
          "<text x=\"384\" y=\"234\" text-anchor=\"middle\">hours down in a year</text>\n",
          f);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double y = YEARS_Y(shares[i]);
        fprintf(f,
                "<path class=\"rule\" d=\"M58 %.1fH710\"/><text x=\"52\" y=\"%.1f\" "
                "text-anchor=\"end\">%.0f%%</text>",
                y, y + 4, 100 * shares[i]);
    }
    for (unsigned i = 0; i < PLAN_YEAR_STEPS; i += 8) {
        fprintf(f, "<text x=\"%.1f\" y=\"216\" text-anchor=\"middle\">%g</text>",
                YEARS_X(i) - (i == PLAN_YEAR_STEPS - 1 ? 8 : 0), plan_year_step_h(i));
    }
    for (unsigned i = 0; i < n; i++) {
        draw_curve(f, &curves[i]);
    }
    fputs("</svg>", f);
    page_tag(f, "figcaption", caption);
    fputs("</figure>\n", f);
}
