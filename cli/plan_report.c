/*
 * A plan as one HTML page: what the tables say, and a map, a cost stack and the years'
 * downtime for the eye. It fetches nothing and runs nothing, so that it can be mailed, printed
 * and kept.
 *
 * Every text goes through put(), which escapes it whoever wrote it; markup goes through
 * fprintf with numbers and our own words only. Meaning never hangs on a colour alone: shades
 * rise in lightness, stacks carry letters, lines have dashes, and a table has every number.
 */
#include <planned.h>
#include <table.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>

#define MAP_WIDTH 720.0 /* half a degree a unit, as data/world-map.csv */
#define MAP_HEIGHT 284.0
#define MAP_NORTH 84.0
#define SHADES 5

static const double shade_ms[SHADES - 1] = {50, 100, 150, 250};

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\">\n"
    "<style>\n"
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1a1a;--quiet:#5c5c5c;--line:#c8c8c8;"
    "--land:#e4e4e0;--runner:#0072b2}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#ececec;--quiet:#a8a8a8;"
    "--line:#4a4d52;--land:#33363b;--runner:#56b4e9}}\n"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}\n"
    "body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;"
    "max-width:62rem;margin:2rem auto;padding:0 1rem}\n"
    "h2{border-top:2px solid var(--ink);padding-top:.6rem;margin-top:2.5rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\n"
    ".wide{overflow-x:auto}th,td{padding:.2rem .6rem;text-align:right;"
    "border-bottom:1px solid var(--line)}th{vertical-align:bottom}\n"
    "td{white-space:nowrap}th:first-child,td:first-child,.words{text-align:left}"
    "td.words{white-space:normal;min-width:6rem;overflow-wrap:anywhere}tr.best{font-weight:700}"
    "\n"
    "figure{margin:1.2rem 0;overflow-x:auto}summary{cursor:pointer}"
    "figcaption,.quiet{color:var(--quiet);font-size:13px}\n"
    "svg{width:100%;min-width:34rem;height:auto;font:11px "
    "system-ui,sans-serif;fill:var(--ink)}\n"
    ".land{fill:var(--land);stroke:var(--paper);stroke-width:.4}"
    ".rule{stroke:var(--line);fill:none}.part{stroke:var(--paper);stroke-width:1}\n"
    ".s0{fill:#fde725}.s1{fill:#5ec962}.s2{fill:#21918c}.s3{fill:#3b528b}.s4{fill:#440154}\n"
    ".user,.seen{stroke:var(--ink);stroke-width:.4}"
    ".region{fill:#fff;stroke:#000;stroke-width:1.2}\n"
    ".p0{fill:#0072b2}.p1{fill:#56b4e9}.p2{fill:#009e73}.p3{fill:#f0e442}.p4{fill:#d55e00}"
    ".p5{fill:#cc79a7}.p6{fill:#e69f00}.p7{fill:#bbb}.p8{fill:#777}\n"
    ".map text{paint-order:stroke;stroke:var(--paper);stroke-width:3;stroke-linejoin:round}"
    ".letter{fill:#000}.curve{fill:none;stroke:var(--quiet);stroke-width:1}"
    ".curve.best{stroke:var(--ink);stroke-width:3}"
    ".curve.single{stroke:#d55e00;stroke-width:2;stroke-dasharray:7 4}"
    ".curve.runner{stroke:var(--runner);stroke-width:2;stroke-dasharray:2 3}\n"
    "@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--quiet:#444;--line:#999;"
    "--land:#e4e4e0;--runner:#0072b2}h2,h3{break-after:avoid}figure,tr{break-inside:avoid}"
    "body{max-width:none;margin:0;font-size:12px}table{font-size:10px}th,td{padding:.1rem "
    ".3rem}"
    "td.words{min-width:0}"
    ".wide,figure{overflow:visible}svg{min-width:0}"
    "details::details-content{content-visibility:visible;display:block}}\n"
    "</style>\n";

/** Text, escaped. */
static void put(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(FILE *f, const char *fmt, ...)
{
    char text[PLANNED_LINE + 100];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (const char *s = text; *s != '\0'; s++) {
        switch (*s) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        case '\'':
            fputs("&#39;", f);
            break;
        default:
            fputc((unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s, f);
        }
    }
}

static void put_in(FILE *f, const char *tag, const char *text)
{
    fprintf(f, "<%s>", tag);
    put(f, "%s", text);
    fprintf(f, "</%s>\n", tag);
}

/** A title that begins with ~ is of a column of words. */
static void table_open(FILE *f, const char *const *titles)
{
    fputs("<div class=\"wide\"><table><thead><tr>", f);
    for (; *titles != NULL; titles++) {
        bool words = **titles == '~';
        fputs(words ? "<th class=\"words\">" : "<th>", f);
        put(f, "%s", *titles + words);
        fputs("</th>", f);
    }
    fputs("</tr></thead><tbody>\n", f);
}

static void table_close(FILE *f)
{
    fputs("</tbody></table></div>\n", f);
}

/** A cell of a number with its unit; @there is false: nothing serves, or nothing is known. */
static void cell(FILE *f, bool there, const char *instead, const char *fmt, double value)
    __attribute__((format(printf, 4, 0)));
static void cell(FILE *f, bool there, const char *instead, const char *fmt, double value)
{
    fputs("<td>", f);
    if (there) {
        put(f, fmt, value);
    } else {
        put(f, "%s", instead);
    }
    fputs("</td>", f);
}

static void name_cell(FILE *f, const struct plan_answer *a, unsigned i)
{
    char name[40];
    fprintf(f, (int)i == a->best ? "<tr class=\"best\"><td>&#9656; " : "<tr><td>");
    put(f, "%s", plan_result_name(&a->results[i], name));
    fputs("</td>", f);
}

/* ---- the map ---- */

static double map_x(double longitude)
{
    return 2 * (longitude + 180);
}

static double map_y(double latitude)
{
    return 2 * (MAP_NORTH - latitude);
}

static unsigned shade(double ms)
{
    unsigned s = 0;
    while (s < SHADES - 1 && ms >= shade_ms[s]) {
        s++;
    }
    return s;
}

/** Outlines once; each map refers to them. */
static void define_map(FILE *f)
{
    size_t size = 0;
    const char *p = (const char *)plan_embedded("world-map.csv", &size);
    const char *end = p + size;

    mrd_assert(p != NULL);
    fputs("<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\">"
          "<defs><g id=\"land\">\n",
          f);
    p = memchr(p, '\n', size); /* the titles */
    while (p != NULL && ++p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        const char *comma = memchr(p, ',', (size_t)(end - p));
        mrd_assert(line_end != NULL && comma != NULL && comma < line_end);
        fputs("<path", f);
        if (comma > p) {
            fprintf(f, " id=\"c-%.*s\"", (int)(comma - p), p);
        }
        fprintf(f, " d=\"%.*s\"/>\n", (int)(line_end - comma - 1), comma + 1);
        p = line_end;
    }
    fputs("</g></defs></svg>\n", f);
}

static void map_key(FILE *f)
{
    for (unsigned s = 0; s < SHADES; s++) {
        fprintf(f,
                "<rect x=\"%u\" y=\"292\" width=\"14\" height=\"10\" class=\"s%u user\"/>"
                "<text x=\"%u\" y=\"301\">",
                10 + 100 * s, s, 28 + 100 * s);
        if (s < SHADES - 1) {
            put(f, "< %.0f ms", shade_ms[s]);
        } else {
            put(f, "more");
        }
        fputs("</text>", f);
    }
    fputs("<path class=\"region\" d=\"M517 291l6 11h-12z\"/>"
          "<text x=\"528\" y=\"301\">region</text>\n",
          f);
}

/** Where the label of member @k stands, clear of those before it. */
static double label_y(const struct planned *q, const struct plan_result *r, unsigned k)
{
    double ys[PLAN_REPLICAS_MAX];

    for (unsigned i = 0; i <= k; i++) {
        const struct plan_region *at = &q->data->regions[r->region[i]];
        ys[i] = map_y(at->latitude) - 5;
        for (unsigned j = 0; j < i; j++) {
            double x = q->data->regions[r->region[j]].longitude;
            if (fabs(map_x(x) - map_x(at->longitude)) < 80 && fabs(ys[j] - ys[i]) < 11) {
                ys[i] = ys[j] + 11;
                j = (unsigned)-1; /* the ones before may be in the way now */
            }
        }
    }
    return ys[k];
}

static void draw_map(FILE *f, const struct planned *q, const struct plan_result *r,
                     const struct plan_country_latency *l, bool writes)
{
    fprintf(f,
            "<figure class=\"map\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
            "aria-label=\"%s latency by country\"><use href=\"#land\" class=\"land\"/>\n",
            MAP_WIDTH, MAP_HEIGHT + 24, writes ? "write" : "read");
    for (unsigned u = 0; u < q->load.user_count; u++) {
        const struct plan_country *c = &q->data->countries[l[u].country];
        double ms = writes ? l[u].write_p95 : l[u].read_p95;
        unsigned s = shade(ms);
        fprintf(f, "<g class=\"s%u\"><title>", s);
        put(f, "%s: %.0f ms, %.1f%% of the users", c->name, ms, 100 * q->load.users[u].share);
        fputs("</title><use href=\"#c-", f);
        put(f, "%s", c->iso2);
        fprintf(f,
                "\" class=\"seen\"/><circle class=\"user\" cx=\"%.1f\" cy=\"%.1f\" "
                "r=\"%.1f\"/></g>\n",
                map_x(c->centre.longitude), map_y(c->centre.latitude),
                2 + 12 * sqrt(q->load.users[u].share));
    }
    for (unsigned k = 0; k < r->n; k++) {
        const struct plan_region *at = &q->data->regions[r->region[k]];
        double x = map_x(at->longitude), y = map_y(at->latitude);
        fprintf(f, "<path class=\"region\" d=\"M%.1f %.1fl6 11h-12z\"><title>", x, y - 7);
        put(f, "%s", at->id);
        fprintf(f, "</title></path><text x=\"%.1f\" y=\"%.1f\">", fmin(x + 7, MAP_WIDTH - 90),
                label_y(q, r, k));
        put(f, "%s", at->id);
        fputs("</text>\n", f);
    }
    map_key(f);
    fprintf(f,
            "</svg><figcaption>95th percentile of %s, by country; a circle's area is the share "
            "of the users. Outlines: Natural Earth.</figcaption></figure>\n",
            writes ? "writes" : "reads");
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
    put(f, "%s", plan_result_name(r, name));
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
        put(f, "%s: %.2f USD/month", plan_cost_name((enum plan_cost_part)i), r->cost[i]);
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
        put(f, "%s", plan_cost_name((enum plan_cost_part)i));
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
    table_open(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused == NULL) {
            name_cell(f, a, i);
            for (unsigned k = 0; k < PLAN_COST_PARTS; k++) {
                cell(f, true, "", "%.2f", r->cost[k]);
            }
            cell(f, true, "", "%.2f", r->total);
            fputs("</tr>\n", f);
        }
    }
    table_close(f);
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
    put(f, "%s", plan_result_name(r, name));
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
    put(f,
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

    table_open(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL) {
            continue;
        }
        name_cell(f, a, i);
        cell(f, true, "", "%.0f", r->total);
        cell(f, true, "", "%.0f min", mrd_avail_min_per_year(r->u));
        cell(f, false, planned_seconds(r->rto_s, span), "%.0f", 0);
        cell(f, false, planned_seconds(r->rpo_s, span), "%.0f", 0);
        cell(f, true, "", "%.0f ms", r->read_p95);
        cell(f, true, "", "%.0f ms", r->write_p95);
        fputs("<td class=\"words\">", f);
        put(f, "%s", r->missed != 0 ? planned_missed(r->missed, text) : "nothing");
        fputs("</td><td class=\"words\">", f);
        put(f, "%s", planned_regions(q, r, text));
        fputs("</td></tr>\n", f);
    }
    table_close(f);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL && !r->cdn) {
            snprintf(text, sizeof(text), "not %s: %s", plan_posture_name(r->posture),
                     r->refused);
            put_in(f, "p", text);
        }
    }
}

static void bad_day_table(FILE *f, const struct plan_answer *a)
{
    static const char *const titles[] = {
        "posture",        "95% of years",    "worst year", "worst outage",
        "read, one lost", "write, one lost", NULL};
    char span[32], below[40];

    table_open(f, titles);
    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        if (r->refused != NULL) {
            continue;
        }
        name_cell(f, a, i);
        snprintf(below, sizeof(below), "< %s", planned_seconds(r->years.p95_h * 3600, span));
        cell(f, false, r->simulated ? below : "-", "%.0f", 0);
        cell(f, r->simulated, "-", "%.1f h", r->years.worst_year_h);
        cell(f, r->simulated, "-", "%.1f h", r->years.worst_outage_h);
        cell(f, r->n > 1, "down", "%.0f ms", r->lost_read_p95);
        cell(f, r->n > 1, "down", "%.0f ms", r->lost_write_p95);
        fputs("</tr>\n", f);
    }
    table_close(f);
}

static void country_table(FILE *f, const struct planned *q, const struct plan_result *r,
                          const struct plan_country_latency *l)
{
    static const char *const titles[] = {"country",        "share",           "read p50",
                                         "read p95",       "write p50",       "write p95",
                                         "read, one lost", "write, one lost", NULL};

    table_open(f, titles);
    for (unsigned u = 0; u < q->load.user_count; u++) {
        fputs("<tr><td>", f);
        put(f, "%s", q->data->countries[l[u].country].name);
        fputs("</td>", f);
        cell(f, true, "", "%.1f%%", 100 * q->load.users[u].share);
        cell(f, true, "", "%.0f ms", l[u].read_p50);
        cell(f, true, "", "%.0f ms", l[u].read_p95);
        cell(f, true, "", "%.0f ms", l[u].write_p50);
        cell(f, true, "", "%.0f ms", l[u].write_p95);
        cell(f, r->n > 1, "down", "%.0f ms", l[u].lost_read_p95);
        cell(f, r->n > 1, "down", "%.0f ms", l[u].lost_write_p95);
        fputs("</tr>\n", f);
    }
    table_close(f);
}

static void figure_table(FILE *f, struct planned *q, const struct plan_answer *a)
{
    static const char *const titles[] = {"figure",  "value",   "~formula",
                                         "~inputs", "~source", NULL};
    struct plan_figure figures[PLAN_FIGURES_MAX];
    const struct plan_result *r = planned_shown(a);
    char inputs[400], value[32], name[40];

    if (r == NULL) {
        return;
    }
    unsigned n = plan_figures(q->data, &q->load, a->class, &a->results[0], r, figures);
    fputs("<details><summary>How each figure of ", f);
    put(f, "%s comes about", plan_result_name(r, name));
    fputs("</summary>\n", f);
    table_open(f, titles);
    for (unsigned i = 0; i < n; i++) {
        const char *const words[] = {figures[i].formula,
                                     plan_figure_inputs(&figures[i], inputs, sizeof(inputs)),
                                     figures[i].source};
        fputs("<tr><td>", f);
        put(f, "%s", figures[i].name);
        fputs("</td><td>", f);
        put(f, "%s", planned_value(&figures[i], value));
        fputs("</td>", f);
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
            fputs("<td class=\"words\">", f);
            put(f, "%s", words[k]);
            fputs("</td>", f);
        }
        fputs("</tr>\n", f);
    }
    table_close(f);
    fputs("</details>\n", f);
}

/* ---- the page ---- */

static int write_countries(FILE *f, struct planned *q, const struct plan_answer *a,
                           struct mrd_err *err)
{
    struct plan_country_latency l[PLAN_USERS_MAX];
    const struct plan_result *r = &a->results[a->best];
    int rc = plan_countries(q->data, &q->load, a->class, r, l, err);

    if (rc == 0) {
        put_in(f, "h3", "Latency by country");
        draw_map(f, q, r, l, false);
        if (a->class->writes_per_s > 0) {
            draw_map(f, q, r, l, true);
        }
        country_table(f, q, r, l);
    }
    return rc;
}

static int write_class(FILE *f, struct planned *q, const struct plan_answer *a,
                       struct mrd_err *err)
{
    char lines[PLANNED_LINES][PLANNED_LINE];
    int rc = 0;

    fputs("<h2>class ", f);
    put(f, "%s", a->class->name);
    fputs("</h2>\n", f);
    planned_verdict(q, a, lines[0]);
    put_in(f, "p", lines[0]);
    put_in(f, "p", a->tips);
    for (unsigned i = 0, n = planned_remarks(q, a, lines); i < n; i++) {
        put_in(f, "p", lines[i]);
    }
    put_in(f, "h3", "Postures");
    posture_table(f, q, a);
    put_in(f, "h3", "Cost");
    draw_costs(f, a);
    cost_table(f, a);
    put_in(f, "h3", "Bad days");
    if (q->years > 0) {
        draw_years(f, q, a);
    }
    bad_day_table(f, a);
    rc = a->best >= 0 ? write_countries(f, q, a, err) : 0;
    for (unsigned i = 0, n = planned_wisdom(q, a, lines); i < n; i++) {
        put_in(f, "p", lines[i]);
    }
    figure_table(f, q, a);
    return rc;
}

static void write_whole(FILE *f, const struct planned *q)
{
    int regions[PLAN_CANDIDATES_MAX];
    double total = 0;
    unsigned n = plan_union(&q->load, q->answers, regions, &total);

    fputs("<p><strong>", f);
    put(f, "All classes: %u region%s; %.2f USD/month.", n, n == 1 ? "" : "s", total);
    fputs("</strong>", f);
    for (unsigned i = 0; i < n; i++) {
        put(f, " %s", q->data->regions[regions[i]].id);
    }
    if (q->load.budget_usd_month >= 0 && total > q->load.budget_usd_month) {
        put(f, " Over the budget of %.2f USD/month.", q->load.budget_usd_month);
    }
    fputs("</p>\n", f);
}

static void write_grounds(FILE *f, const struct planned *q)
{
    static const char *const titles[] = {"file", "~what", "~origin", "~date", "~licence", NULL};
    char lines[PLANNED_LINES][PLANNED_LINE];

    put_in(f, "h2", "Assumed");
    for (unsigned i = 0, n = planned_assumptions(q, lines); i < n; i++) {
        put_in(f, "p", lines[i]);
    }
    put_in(f, "h2", "Facts");
    table_open(f, titles);
    for (unsigned i = 0; i < PLAN_SOURCES; i++) {
        const struct plan_source *s = &q->data->sources[i];
        if (s->used) {
            const char *const cells[] = {s->file, s->what, s->own ? "yours" : s->origin,
                                         s->own ? s->own_date : s->date,
                                         s->own ? "" : s->licence};
            fputs("<tr>", f);
            for (size_t k = 0; k < sizeof(cells) / sizeof(cells[0]); k++) {
                fputs("<td class=\"words\">", f);
                put(f, "%s", cells[k]);
                fputs("</td>", f);
            }
            fputs("</tr>\n", f);
        }
    }
    table_close(f);
}

int planned_report(struct planned *q, const char *path, struct mrd_err *err)
{
    FILE *f = fopen(path, "w");
    int rc = 0;

    if (f == NULL) {
        return mrd_err_set(err, MRD_EIO, "could not write \"%s\": %s", path, strerror(errno));
    }
    fputs(head, f);
    put_in(f, "title", q->load.name);
    fputs("</head><body>\n", f);
    define_map(f);
    put_in(f, "h1", q->load.name);
    write_whole(f, q);
    for (unsigned c = 0; rc == 0 && c < q->load.class_count; c++) {
        rc = write_class(f, q, &q->answers[c], err);
    }
    write_grounds(f, q);
    fputs("</body></html>\n", f);
    bool failed = ferror(f) != 0;
    if ((fclose(f) != 0 || failed) && rc == 0) {
        rc = mrd_err_set(err, MRD_EIO, "could not write \"%s\": %s", path, strerror(errno));
    }
    return rc;
}
