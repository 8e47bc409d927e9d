/*
 * How each figure of a plan comes about: formula, inputs, unit and source. JSON, the page and
 * the terminal all show what is here. A figure that is one of the calculators (models.h) names
 * it and has its inputs, so that `meridian model` gives the same number; its formula and source
 * are the calculator's own.
 */
#pragma once

#include <models.h>
#include <plan.h>

#define PLAN_FIGURES_MAX 48
#define PLAN_INPUTS_MAX 10

struct plan_input {
    const char *name, *unit;
    unsigned count; /* 1, or more for a list */
    bool assumed;   /* nobody gave it: a default */
    double v[PLAN_COPIES_MAX];
};

struct plan_figure {
    const char *name; /* as in the JSON of a posture */
    const char *unit, *formula, *source;
    const char *model, *key; /* the calculator and the key of its result; NULL: none */
    double value;            /* INFINITY: grows without end */
    unsigned count;
    struct plan_input inputs[PLAN_INPUTS_MAX];
};

/**
 * The figures of @r, which is not refused; @single is the class's single-region result, for
 * the break-even. Texts are borrowed for ever. Returns their number.
 */
unsigned plan_figures(struct plan_data *data, const struct plan_workload *load,
                      const struct plan_class *class, const struct plan_result *single,
                      const struct plan_result *r, struct plan_figure ret[PLAN_FIGURES_MAX]);

/** "reads_per_s = 90000 1/s; ttl_s = 30 s (default)": the inputs as text. Returns @out. */
char *plan_figure_inputs(const struct plan_figure *f, char *out, size_t cap);
