/*
 * What the planner's pages are made of. A page is one file that fetches nothing and runs
 * nothing, so that it can be mailed, printed and kept.
 */
#pragma once

#include <planned.h>
#include <stdio.h>

#define PAGE_MAP_WIDTH 720.0 /* half a degree a unit, as data/world-map.csv */
#define PAGE_MAP_HEIGHT 284.0
#define PAGE_MAP_NORTH 84.0
#define PAGE_PLACES_MAX MRD_REGIONS_MAX

typedef void page_fn(FILE *f, const void *of);

/** Write a page with @title to the file @path; @body gets @of. */
int page_write(const char *path, const char *title, page_fn *body, const void *of,
               struct mrd_err *err);

/** Text, escaped. */
void page_put(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Text in an element. */
void page_tag(FILE *f, const char *tag, const char *text);

/** A title that begins with ~ is of a column of words. */
void page_table(FILE *f, const char *const *titles);
void page_table_end(FILE *f);
/** A cell of a number with its unit; @there is false: nothing serves, or nothing is known. */
void page_cell(FILE *f, bool there, const char *instead, const char *fmt, double value)
    __attribute__((format(printf, 4, 0)));
/** A cell of words. */
void page_words(FILE *f, const char *text);

double page_map_x(double longitude);
double page_map_y(double latitude);

struct page_place {
    const char *name;
    double latitude, longitude;
    bool dashed; /* it holds no data */
};
/** Triangles with their names, into a map. */
void page_places(FILE *f, const struct page_place *places, unsigned n);

/** How figures come about, folded away on a screen and open in print. */
void page_figures(FILE *f, const char *of, const struct plan_figure *figures, unsigned n);
/** A heading and paragraphs, if there are any. */
void page_section(FILE *f, const char *title, char lines[PLANNED_LINES][PLANNED_LINE],
                  unsigned n);
/** The facts that were used, and how old they are. */
void page_facts(FILE *f, const struct plan_data *data);
