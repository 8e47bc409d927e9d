/*
 * The formulas as calculators: `meridian model NAME key=value ...`.
 *
 * One row per model: its keys with their domains, the formula as it is written, where it comes
 * from, and a function that fills the result. Availability goes in as A or as U and is carried
 * as U. The planner and this table call the same functions of core.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <mrd/err.h>

#include <data.h>

#define PLAN_KEYS_MAX 10
#define PLAN_LIST_MAX 64

struct plan_key {
    const char *name;
    const char *unit;
    enum plan_key_kind {
        PLAN_NUMBER,
        PLAN_WHOLE,
        PLAN_LIST,  /* a,b,... */
        PLAN_AVAIL, /* a number; the value kept is 1 - A, of the text, not of a double */
        PLAN_AVAILS,
        PLAN_WORD,
    } kind;
    double min, max;
    bool above;           /* the least value itself does not belong */
    const char *fallback; /* NULL: must be given */
};

struct plan_value {
    bool given;
    size_t count;
    double v[PLAN_LIST_MAX];
    const char *text;
};

struct plan_model {
    const char *name;
    const char *id; /* in the table of formulas: "F5" */
    const char *summary;
    const char *formula, *source, *unit;
    struct plan_key keys[PLAN_KEYS_MAX]; /* ends with a NULL name */
    int (*run)(struct plan_data *data, const struct plan_value *in, json_t *result,
               struct mrd_err *err);
};

extern const struct plan_model plan_models[]; /* ends with a NULL name */

/**
 * Run @model on @words ("key=value"). @data may be NULL unless the model names regions or
 * countries (plan_model_needs_data). The answer is {model, inputs, result, unit, formula,
 * source}.
 *
 * Returns 0, or MRD_EINVAL with the key and its domain in @err; @ret is untouched then.
 */
int plan_model_run(const struct plan_model *model, struct plan_data *data,
                   const char *const *words, size_t count, json_t **ret, struct mrd_err *err);

const struct plan_model *plan_model_find(const char *name);
bool plan_model_needs_data(const struct plan_model *model);
/** "(0, 1]", "at least 1": the domain of a key in words. Returns @out. */
char *plan_key_domain(const struct plan_key *key, char out[80]);
