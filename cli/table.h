/*
 * Tables for people: columns as wide as their cells, the last one wrapped at the page's edge.
 * Titles are in capitals; numbers and ids stand to the right, each cell with its unit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cli_table;

/**
 * @titles ends with NULL; borrowed as long as the table lives. One that begins with '>', which
 * is not printed, is of a column that stands to the right; the last column never does. NULL
 * when out of memory.
 */
struct cli_table *cli_table_new(const char *const *titles);
/** One more cell, copied, left to right; control characters are replaced. Empty shows as "-".
 */
void cli_cell(struct cli_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Print and free. A table without rows prints @empty instead (NULL: nothing). */
void cli_table_print(struct cli_table *t, const char *empty);

/** Print @s over as many lines as it needs, each behind @indent spaces. */
void cli_paragraph(const char *s, size_t indent);

/** As cli_paragraph, after "LABEL: ", below whose end it goes on. */
void cli_labelled(const char *label, const char *s);

/** Copy @s with control characters replaced; at most @cap - 1 bytes. Returns @out. */
char *cli_clean(const char *s, char *out, size_t cap);
/** "850 ms", "12 s", "3 min", "5 h". Returns @out. */
char *cli_span(long long ms, char out[32]);
/** Local time of day, with the date when it is not today; "-" for 0. Returns @out. */
char *cli_time(long long wall_ms, char out[40]);
/** "0 B", "12 kB", "3 MB". Returns @out. */
char *cli_bytes(long long n, char out[32]);
