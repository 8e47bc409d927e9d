/*
 * Pages (plan_page.h). Every text goes through page_put(), which escapes it whoever wrote it;
 * markup goes through fprintf with numbers and our own words only.
 */
#include <plan_page.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\">\n"
    "<style>\n"
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1a1a;--quiet:#5c5c5c;--line:#d0d0cc;"
    "--land:#e8e8e3;--best:#f3f1e4;--runner:#0072b2}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#ececec;--quiet:#a8a8a8;"
    "--line:#4a4d52;--land:#33363b;--best:#24272c;--runner:#56b4e9}}\n"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact;box-sizing:border-box}\n"
    "body{background:var(--paper);color:var(--ink);font:16px/1.5 Charter,'Bitstream Charter',"
    "'Source Serif 4',Georgia,'DejaVu Serif',serif;max-width:64rem;margin:2.5rem auto;"
    "padding:0 1.2rem}\n"
    "h1,h2,h3,table,figcaption,summary,svg,.lead{font-family:system-ui,'DejaVu "
    "Sans',sans-serif}\n"
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem}"
    "h2{border-top:2px solid var(--ink);padding-top:.6rem;margin:3rem 0 "
    ".8rem;font-size:1.35rem}"
    "h3{font-size:1.02rem;margin:2rem 0 .5rem}p{margin:.5rem 0;max-width:46rem}"
    ".lead{font-size:1.02rem;max-width:none}.verdict{font-size:1.08rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums lining-nums;"
    "font-size:12.5px;line-height:1.35;min-width:60%}\n"
    ".wide{overflow-x:auto;margin:.6rem 0}th,td{padding:.22rem .45rem;text-align:right;"
    "border-bottom:1px solid var(--line);vertical-align:top}"
    "th{vertical-align:bottom;font-weight:600;color:var(--quiet);"
    "border-bottom:1.5px solid var(--ink)}\n"
    "td{white-space:nowrap}th:first-child,td:first-child,.words{text-align:left}"
    "td.words{white-space:normal;min-width:4.2rem;overflow-wrap:break-word}.id{white-space:"
    "nowrap}"
    "tr.best td{font-weight:650;background:var(--best)}\n"
    "figure{margin:1rem 0;overflow-x:auto}summary{cursor:pointer;font-size:.92rem;margin:.6rem "
    "0}figcaption,.quiet{color:var(--quiet);font-size:12.5px}\n"
    "svg{width:100%;min-width:34rem;height:auto;font-size:10px;fill:var(--ink)}\n"
    ".land{fill:var(--land);stroke:var(--paper);stroke-width:.4}"
    ".rule{stroke:var(--line);fill:none}.part{stroke:var(--paper);stroke-width:1}\n"
    ".s0{fill:#fde725}.s1{fill:#5ec962}.s2{fill:#21918c}.s3{fill:#3b528b}.s4{fill:#440154}\n"
    ".user,.seen{stroke:var(--ink);stroke-width:.4}"
    ".region{fill:#fff;stroke:#000;stroke-width:1.2}.edge{stroke-dasharray:2 1.5}\n"
    ".p0{fill:#0072b2}.p1{fill:#56b4e9}.p2{fill:#009e73}.p3{fill:#f0e442}.p4{fill:#d55e00}"
    ".p5{fill:#cc79a7}.p6{fill:#e69f00}.p7{fill:#bbb}.p8{fill:#777}\n"
    ".map text,.costs text:not(.letter){paint-order:stroke;stroke:var(--paper);stroke-width:3;"
    "stroke-linejoin:round}"
    ".letter{fill:#000}.curve{fill:none;stroke:var(--quiet);stroke-width:.8}"
    ".curve.best{stroke:var(--ink);stroke-width:3}"
    ".curve.single{stroke:#d55e00;stroke-width:2;stroke-dasharray:7 4}"
    ".curve.runner{stroke:var(--runner);stroke-width:2;stroke-dasharray:2 3}\n"
    "td.no{font-weight:650;color:#b34700}@media "
    "(prefers-color-scheme:dark){td.no{color:#f0a050}}\n"
    "@media (max-width:44rem){td.words{min-width:9rem}}\n"
    "@page{margin:16mm 14mm}"
    "@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--quiet:#444;--line:#999;"
    "--land:#e8e8e3;--best:#f3f1e4;--runner:#0072b2}h1,h2,h3{break-after:avoid}"
    "figure,tr{break-inside:avoid}thead{display:table-header-group}"
    "body{max-width:none;margin:0;padding:0;font-size:11pt}table{font-size:7.6pt;width:100%}"
    "th,td{padding:.08rem "
    ".22rem}td.words{min-width:0;overflow-wrap:anywhere}td.no{color:#000}p{max-width:none}"
    ".wide,figure{overflow:visible}svg{min-width:0}"
    "details::details-content{content-visibility:visible;display:block}}\n"
    "</style>\n";

/** Text, escaped. */
void page_put(FILE *f, const char *fmt, ...)
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

void page_tag(FILE *f, const char *tag, const char *text)
{
    fprintf(f, "<%s>", tag);
    page_put(f, "%s", text);
    fprintf(f, "</%s>\n", tag);
}

/** A title that begins with ~ is of a column of words. */
void page_table(FILE *f, const char *const *titles)
{
    fputs("<div class=\"wide\"><table><thead><tr>", f);
    for (; *titles != NULL; titles++) {
        bool words = **titles == '~';
        fputs(words ? "<th class=\"words\">" : "<th>", f);
        page_put(f, "%s", *titles + words);
        fputs("</th>", f);
    }
    fputs("</tr></thead><tbody>\n", f);
}

void page_table_end(FILE *f)
{
    fputs("</tbody></table></div>\n", f);
}

/** A cell of a number with its unit; @there is false: nothing serves, or nothing is known. */
void page_cell(FILE *f, bool there, const char *instead, const char *fmt, double value)
{
    fputs("<td>", f);
    if (there) {
        page_put(f, fmt, value);
    } else {
        page_put(f, "%s", instead);
    }
    fputs("</td>", f);
}

void page_words(FILE *f, const char *text)
{
    fputs("<td class=\"words\">", f);
    page_put(f, "%s", text);
    fputs("</td>", f);
}

/* ---- the map ---- */

double page_map_x(double longitude)
{
    return 2 * (longitude + 180);
}

double page_map_y(double latitude)
{
    return 2 * (PAGE_MAP_NORTH - latitude);
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
    mrd_assert(p != NULL);
    while (++p < end) {
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

/** Where the label of place @k stands, clear of those before it. */
static double label_y(const struct page_place *places, unsigned k)
{
    double ys[PAGE_PLACES_MAX];

    for (unsigned i = 0; i <= k; i++) {
        ys[i] = page_map_y(places[i].latitude) - 5;
        for (unsigned j = 0; j < i; j++) {
            double apart = page_map_x(places[j].longitude) - page_map_x(places[i].longitude);
            if (fabs(apart) < 80 && fabs(ys[j] - ys[i]) < 11) {
                ys[i] = ys[j] + 11;
                j = (unsigned)-1; /* the ones before may be in the way now */
            }
        }
    }
    return ys[k];
}

void page_places(FILE *f, const struct page_place *places, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        double x = page_map_x(places[k].longitude), y = page_map_y(places[k].latitude);
        bool left = x + 7 + 6 * (double)strlen(places[k].name) > PAGE_MAP_WIDTH;
        fprintf(f, "<path class=\"region%s\" d=\"M%.1f %.1fl6 11h-12z\"><title>",
                places[k].dashed ? " edge" : "", x, y - 7);
        page_put(f, "%s", places[k].name);
        fprintf(f, "</title></path><text x=\"%.1f\" y=\"%.1f\"%s>", left ? x - 7 : x + 7,
                label_y(places, k), left ? " text-anchor=\"end\"" : "");
        page_put(f, "%s", places[k].name);
        fputs("</text>\n", f);
    }
}

/* ---- what every page ends with ---- */

void page_figures(FILE *f, const char *of, const struct plan_figure *figures, unsigned n)
{
    static const char *const titles[] = {"figure",  "value",   "~formula",
                                         "~inputs", "~source", NULL};
    char inputs[400], value[32];

    fputs("<details><summary>", f);
    page_put(f, "How each figure of %s comes about", of);
    fputs("</summary>\n", f);
    page_table(f, titles);
    for (unsigned i = 0; i < n; i++) {
        const char *const words[] = {figures[i].formula,
                                     plan_figure_inputs(&figures[i], inputs, sizeof(inputs)),
                                     figures[i].source};
        fputs("<tr><td>", f);
        page_put(f, "%s", figures[i].name);
        fputs("</td><td>", f);
        page_put(f, "%s", planned_value(&figures[i], value));
        fputs("</td>", f);
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
            page_words(f, words[k]);
        }
        fputs("</tr>\n", f);
    }
    page_table_end(f);
    fputs("</details>\n", f);
}

void page_section(FILE *f, const char *title, char lines[PLANNED_LINES][PLANNED_LINE],
                  unsigned n)
{
    if (n > 0) {
        page_tag(f, "h2", title);
    }
    for (unsigned i = 0; i < n; i++) {
        page_tag(f, "p", lines[i]);
    }
}

void page_facts(FILE *f, const struct plan_data *data)
{
    static const char *const titles[] = {"file", "~what", "~origin", "~date", "~licence", NULL};

    page_tag(f, "h2", "Facts");
    page_table(f, titles);
    for (unsigned i = 0; i < PLAN_SOURCES; i++) {
        const struct plan_source *s = &data->sources[i];
        if (s->used) {
            char what[200];
            const char *const cells[] = {
                s->file, planned_fact(s, what, sizeof(what)), s->own ? "yours" : s->origin,
                s->own ? s->own_date : s->date, s->own ? "" : s->licence};
            fputs("<tr>", f);
            for (size_t k = 0; k < sizeof(cells) / sizeof(cells[0]); k++) {
                page_words(f, cells[k]);
            }
            fputs("</tr>\n", f);
        }
    }
    page_table_end(f);
}

int page_write(const char *path, const char *title, page_fn *body, const void *of,
               struct mrd_err *err)
{
    FILE *f = fopen(path, "w");

    if (f == NULL) {
        return mrd_err_set(err, MRD_EIO, "could not write \"%s\": %s", path, strerror(errno));
    }
    fputs(head, f);
    page_tag(f, "title", title);
    fputs("</head><body>\n", f);
    define_map(f);
    page_tag(f, "h1", title);
    body(f, of);
    fputs("</body></html>\n", f);
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed) {
        return mrd_err_set(err, MRD_EIO, "could not write \"%s\": %s", path, strerror(errno));
    }
    return 0;
}
