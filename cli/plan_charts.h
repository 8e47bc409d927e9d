/*
 * The charts of the planner's pages: latency on a map, cost as stacks, the downtime of years.
 */
#pragma once

#include <plan_page.h>

/** The users' countries of q->load shaded by @l, and places. */
void chart_map(FILE *f, const struct planned *q, const struct plan_country_latency *l,
               bool writes, const struct page_place *places, unsigned n, const char *caption);

struct chart_stack {
    char name[64];
    const double *cost; /* by plan_cost_part */
    double total;
    bool best;
    bool more; /* some parts are not known */
};
void chart_costs(FILE *f, const struct chart_stack *stacks, unsigned n, const char *caption);

struct chart_curve {
    char name[64];
    const char *class;   /* "best", "single", "runner", "other" */
    const double *worse; /* as of a plan_result */
};
void chart_years(FILE *f, const struct chart_curve *curves, unsigned n, const char *caption);
