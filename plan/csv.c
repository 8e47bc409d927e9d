/*
 * Reading tables (csv.h). They may be the operator's own, so every field is checked where it
 * is used and every message says file, line and column.
 */
#include <csv.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Cut the line at csv->next into @out; its number of fields. */
static size_t cut(struct plan_csv *csv, char *out[PLAN_CSV_COLUMNS_MAX])
{
    char *p = csv->next;
    size_t n = 0;

    csv->line++;
    csv->line_start = p;
    for (bool more = true; more;) {
        bool quoted = *p == '"';
        char *to = p += quoted;
        char *start = p;
        for (; *p != '\0' && *p != '\n'; p++) {
            if (quoted && *p == '"' && p[1] == '"') {
                p++;
            } else if (quoted && *p == '"') {
                quoted = false;
                continue;
            } else if (!quoted && *p == ',') {
                break;
            }
            *to++ = *p;
        }
        more = *p == ',';
        bool end = *p == '\0';
        if (to > start && to[-1] == '\r' && !more) {
            to--;
        }
        p += end ? 0 : 1;
        *to = '\0';
        if (n < PLAN_CSV_COLUMNS_MAX) {
            out[n] = start;
        }
        n++;
    }
    csv->next = p;
    return n;
}

int plan_csv_init(struct plan_csv *csv, const char *name, const unsigned char *text, size_t len,
                  struct mrd_err *err)
{
    memset(csv, 0, sizeof(*csv));
    csv->name = name;
    if (memchr(text, '\0', len) != NULL) {
        return mrd_err_set(err, MRD_EFORMAT, "\"%s\" is not a text file", name);
    }
    csv->text = malloc(len + 1);
    if (csv->text == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    memcpy(csv->text, text, len);
    csv->text[len] = '\0';
    csv->next = csv->text;
    csv->columns = cut(csv, csv->title);
    if (csv->columns > PLAN_CSV_COLUMNS_MAX) {
        plan_csv_fini(csv);
        return mrd_err_set(err, MRD_ETOOBIG, "\"%s\" has more than %d columns", name,
                           PLAN_CSV_COLUMNS_MAX);
    }
    return 0;
}

void plan_csv_fini(struct plan_csv *csv)
{
    free(csv->text);
    csv->text = NULL;
}

int plan_csv_refuse(const struct plan_csv *csv, size_t column, struct mrd_err *err, int code,
                    const char *fmt, ...)
{
    size_t last = csv->count < PLAN_CSV_COLUMNS_MAX ? csv->count : PLAN_CSV_COLUMNS_MAX;
    char text[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    long at = column < last ? csv->field[column] - csv->line_start + 1 : 1;
    return mrd_err_set(err, code, "%s:%d:%ld: %s", csv->name, csv->line, at, text);
}

int plan_csv_next(struct plan_csv *csv, struct mrd_err *err)
{
    while (*csv->next == '\n' || *csv->next == '\r') {
        csv->line += *csv->next == '\n';
        csv->next++;
    }
    if (*csv->next == '\0') {
        return 0;
    }
    csv->count = cut(csv, csv->field);
    if (csv->count != csv->columns) {
        return plan_csv_refuse(csv, 0, err, MRD_EFORMAT, "%zu fields under %zu titles",
                               csv->count, csv->columns);
    }
    return 1;
}

int plan_csv_column(const struct plan_csv *csv, const char *title, size_t *ret,
                    struct mrd_err *err)
{
    for (size_t i = 0; i < csv->columns; i++) {
        if (strcmp(csv->title[i], title) == 0) {
            *ret = i;
            return 0;
        }
    }
    return mrd_err_set(err, MRD_ENOTFOUND, "%s:1:1: no column \"%s\"", csv->name, title);
}

int plan_csv_number(const struct plan_csv *csv, size_t column, double min, double max,
                    double *ret, struct mrd_err *err)
{
    const char *text = csv->field[column];
    char *end = NULL;
    double v = strspn(text, "0123456789+-.eE") == strlen(text) ? strtod(text, &end) : NAN;

    if (end == NULL || end == text || *end != '\0' || !(v >= min && v <= max)) {
        return plan_csv_refuse(csv, column, err, MRD_EFORMAT,
                               "%.40s is \"%.40s\"; a number from %g to %g belongs here",
                               csv->title[column], text, min, max);
    }
    *ret = v;
    return 0;
}

int plan_csv_text(const struct plan_csv *csv, size_t column, char *ret, size_t cap,
                  struct mrd_err *err)
{
    const char *text = csv->field[column];
    size_t n = strlen(text);
    bool printable = n > 0;

    for (size_t i = 0; i < n; i++) {
        printable = printable && (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
    }
    if (!printable || n >= cap) {
        return plan_csv_refuse(csv, column, err, MRD_EFORMAT, "%.40s is %s", csv->title[column],
                               n == 0     ? "empty"
                               : n >= cap ? "too long"
                                          : "not printable");
    }
    memcpy(ret, text, n + 1);
    return 0;
}
