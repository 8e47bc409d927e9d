/*
 * Tables as text: comma-separated, one header line, fields in double quotes where they hold a
 * comma (RFC 4180 without line breaks inside fields). Columns are found by name, so that a
 * table of the operator's may have them in another order, and more of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <mrd/err.h>

#define PLAN_CSV_COLUMNS_MAX 80

struct plan_csv {
    const char *name;  /* for messages */
    char *text, *next; /* our own copy, cut into fields as it is read */
    const char *line_start;
    int line;
    size_t columns;
    char *title[PLAN_CSV_COLUMNS_MAX];
    size_t count;
    char *field[PLAN_CSV_COLUMNS_MAX];
};

/** Copy @text and read its header line. */
int plan_csv_init(struct plan_csv *csv, const char *name, const unsigned char *text, size_t len,
                  struct mrd_err *err);
void plan_csv_fini(struct plan_csv *csv);

/** The next row into field[]; 1, 0 at the end, or negative: it has fewer fields than titles. */
int plan_csv_next(struct plan_csv *csv, struct mrd_err *err);

/** An error at field @column of the present row: FILE:LINE:COLUMN: and the text. Returns @code.
 */
int plan_csv_refuse(const struct plan_csv *csv, size_t column, struct mrd_err *err, int code,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/** Index of the column @title, or an error that names it. */
int plan_csv_column(const struct plan_csv *csv, const char *title, size_t *ret,
                    struct mrd_err *err);

/** The field as a number in [min, max]. */
int plan_csv_number(const struct plan_csv *csv, size_t column, double min, double max,
                    double *ret, struct mrd_err *err);
/** The field as text that fits @cap bytes, printable, not empty. */
int plan_csv_text(const struct plan_csv *csv, size_t column, char *ret, size_t cap,
                  struct mrd_err *err);
