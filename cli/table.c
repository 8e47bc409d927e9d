/*
 * Tables and units (table.h). Cells come from agents and from data, so nothing in them may
 * reach the terminal as a control sequence. Width counts code points, which is right for the
 * names that occur here.
 */
#include <table.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define COLUMNS_MAX 12
#define PAGE 100

struct cli_table {
    const char *const *titles;
    size_t columns, cells, cap;
    char **cell; /* columns x rows; freed by print */
};

/* ---- text ---- */

char *cli_clean(const char *s, char *out, size_t cap)
{
    size_t n = 0;
    for (const unsigned char *u = (const unsigned char *)s; *u != '\0' && n + 1 < cap; u++) {
        /* C1 controls are two bytes in UTF-8, the first always 0xc2. */
        bool c1 = *u == 0xc2 && u[1] >= 0x80 && u[1] <= 0x9f;
        bool blank = *u == '\n' || *u == '\t';
        out[n++] = blank ? ' ' : *u < 0x20 || *u == 0x7f || c1 ? '?' : (char)*u;
        u += c1;
    }
    while (n > 0 && n + 1 == cap && ((unsigned char)out[n - 1] & 0x80) != 0) {
        n--; /* no half of a character where it was cut */
    }
    out[n] = '\0';
    return out;
}

static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

char *cli_span(long long ms, char out[32])
{
    if (ms < 10000) {
        snprintf(out, 32, "%lld ms", ms);
    } else if (ms < 600000) {
        snprintf(out, 32, "%lld s", ms / 1000);
    } else if (ms < 36000000) {
        snprintf(out, 32, "%lld min", ms / 60000);
    } else {
        snprintf(out, 32, "%lld h", ms / 3600000);
    }
    return out;
}

char *cli_time(long long wall_ms, char out[40])
{
    time_t then = (time_t)(wall_ms / 1000), now = time(NULL);
    struct tm t, today;
    char text[32];

    if (wall_ms <= 0 || localtime_r(&then, &t) == NULL || localtime_r(&now, &today) == NULL) {
        snprintf(out, 40, "-");
        return out;
    }
    bool same = t.tm_yday == today.tm_yday && t.tm_year == today.tm_year;
    strftime(text, sizeof(text), same ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &t);
    snprintf(out, 40, "%s.%03lld", text, wall_ms % 1000);
    return out;
}

char *cli_bytes(long long n, char out[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    while (n >= 10000 && u < 4) {
        n /= 1000;
        u++;
    }
    snprintf(out, 32, "%lld %s", n, units[u]);
    return out;
}

/* ---- tables ---- */

struct cli_table *cli_table_new(const char *const *titles)
{
    struct cli_table *t = calloc(1, sizeof(*t));
    if (t != NULL) {
        t->titles = titles;
        while (titles[t->columns] != NULL && t->columns < COLUMNS_MAX) {
            t->columns++;
        }
    }
    return t;
}

void cli_cell(struct cli_table *t, const char *fmt, ...)
{
    char *raw, *text = NULL;
    va_list ap;

    if (t == NULL) {
        return;
    }
    va_start(ap, fmt);
    int len = vasprintf(&raw, fmt, ap);
    va_end(ap);
    if (len >= 0 && (text = malloc((size_t)len + 2)) != NULL) {
        cli_clean(len > 0 ? raw : "-", text, (size_t)len + 2);
    }
    if (len >= 0) {
        free(raw);
    }
    if (t->cells == t->cap) {
        size_t cap = t->cap == 0 ? 64 : 2 * t->cap;
        char **grown = realloc(t->cell, cap * sizeof(*grown));
        if (grown == NULL) {
            free(text);
            return;
        }
        t->cell = grown;
        t->cap = cap;
    }
    t->cell[t->cells++] = text;
}

static const char *cell_at(const struct cli_table *t, size_t i)
{
    return t->cell[i] != NULL ? t->cell[i] : "?";
}

static size_t page_width(void)
{
    struct winsize w;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40) {
        return w.ws_col;
    }
    return PAGE;
}

/** The bytes of @s that fit @room columns, cut after a space if there is one. */
static size_t fitting(const char *s, size_t room)
{
    size_t at = 0, last_space = 0, columns = 0;
    while (s[at] != '\0') {
        columns += ((unsigned char)s[at] & 0xc0) != 0x80;
        if (columns > room) {
            return last_space > 0 ? last_space : at;
        }
        at++;
        if (s[at - 1] == ' ') {
            last_space = at;
        }
    }
    return at;
}

/** The last column: as many lines as it needs, each below the first. */
static void print_wrapped(const char *s, size_t indent, size_t page)
{
    size_t room = page > indent + 12 ? page - indent : 12;
    for (;;) {
        size_t n = fitting(s, room);
        int shown = (int)(n > 0 && s[n] != '\0' && s[n - 1] == ' ' ? n - 1 : n);
        printf("%.*s\n", shown, s);
        s += n;
        if (*s == '\0') {
            return;
        }
        printf("%*s", (int)indent, "");
    }
}

void cli_paragraph(const char *s, size_t indent)
{
    printf("%*s", (int)indent, "");
    print_wrapped(s, indent, page_width());
}

void cli_labelled(const char *label, const char *s)
{
    printf("%s: ", label);
    print_wrapped(s, width(label) + 2, page_width());
}

static bool to_the_right(const struct cli_table *t, size_t column)
{
    return t->titles[column][0] == '>';
}

static const char *title_at(const struct cli_table *t, size_t column)
{
    return t->titles[column] + to_the_right(t, column);
}

static void print_row(const struct cli_table *t, const char *const *cells, const size_t *widths,
                      size_t page)
{
    size_t indent = 0;
    for (size_t c = 0; c < t->columns; c++) {
        if (c + 1 == t->columns) {
            print_wrapped(cells[c], indent, page);
            return;
        }
        int pad = (int)(widths[c] - width(cells[c])), left = to_the_right(t, c) ? pad : 0;
        printf("%*s%s%*s", left, "", cells[c], pad - left + 2, "");
        indent += widths[c] + 2;
    }
}

void cli_table_print(struct cli_table *t, const char *empty)
{
    size_t widths[COLUMNS_MAX] = {0}, page = page_width();
    const char *titles[COLUMNS_MAX];

    if (t == NULL) {
        return;
    }
    for (size_t c = 0; c < t->columns; c++) {
        titles[c] = title_at(t, c);
        widths[c] = width(titles[c]);
        for (size_t i = c; i < t->cells; i += t->columns) {
            size_t w = width(cell_at(t, i));
            widths[c] = w > widths[c] ? w : widths[c];
        }
    }
    if (t->cells < t->columns) {
        printf("%s", empty != NULL ? empty : "");
    } else {
        print_row(t, titles, widths, page);
    }
    for (size_t i = 0; i + t->columns <= t->cells; i += t->columns) {
        const char *row[COLUMNS_MAX];
        for (size_t c = 0; c < t->columns; c++) {
            row[c] = cell_at(t, i + c);
        }
        print_row(t, row, widths, page);
    }
    for (size_t i = 0; i < t->cells; i++) {
        free(t->cell[i]);
    }
    free(t->cell);
    free(t);
}
