/*
 * From "key=value" to the inputs of a model, each in its domain, and from its result to the
 * answer (models.h).
 */
#include <model_runs.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *plan_key_domain(const struct plan_key *k, char out[80])
{
    const char *what = k->kind == PLAN_WHOLE ? "a whole number" : "a number";
    bool list = k->kind == PLAN_LIST || k->kind == PLAN_AVAILS;

    if (k->kind == PLAN_WORD) {
        snprintf(out, 80, "a name");
    } else if (isinf(k->max)) {
        snprintf(out, 80, "%s %s %g%s", what, k->above ? "above" : "of at least", k->min,
                 list ? ", or several with commas" : "");
    } else {
        snprintf(out, 80, "%s in %c%g, %g]%s", what, k->above ? '(' : '[', k->min, k->max,
                 list ? ", or several with commas" : "");
    }
    return out;
}

/**
 * One number at @text, ended by @stop or the end. An availability becomes 1 - A in long double,
 * so that the digits of 0.99999999 are all there.
 */
static bool read_number(const struct plan_key *k, const char *text, size_t len, double *ret)
{
    char copy[64], *end = NULL;
    bool avail = k->kind == PLAN_AVAIL || k->kind == PLAN_AVAILS;

    if (len == 0 || len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strspn(copy, "0123456789+-.eE") != len) {
        return false;
    }
    errno = 0;
    long double v = strtold(copy, &end);
    if (*end != '\0' || !isfinite((double)v) || (double)v < k->min || (double)v > k->max ||
        (k->above && (double)v <= k->min) || (k->kind == PLAN_WHOLE && floorl(v) != v)) {
        return false;
    }
    *ret = (double)(avail ? 1.0L - v : v);
    *ret = *ret == 0 ? 0 : *ret; /* not -0 */
    return true;
}

static int read_value(const struct plan_key *k, const char *text, struct plan_value *ret,
                      struct mrd_err *err)
{
    bool list = k->kind == PLAN_LIST || k->kind == PLAN_AVAILS;
    char domain[80];

    ret->given = true;
    ret->text = text;
    ret->count = 0;
    for (const char *p = text; k->kind != PLAN_WORD; p++) {
        size_t len = list ? strcspn(p, ",") : strlen(p);
        if (ret->count == PLAN_LIST_MAX || !read_number(k, p, len, &ret->v[ret->count])) {
            return plan_model_refuse(err, "%s=%.60s is out of the domain of %s: %s%s%s",
                                     k->name, text, k->name, plan_key_domain(k, domain),
                                     k->unit[0] > '1' ? ", in " : "",
                                     k->unit[0] > '1' ? k->unit : "");
        }
        ret->count++;
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    if (k->kind == PLAN_WORD && (text[0] == '\0' || strlen(text) > 60)) {
        return plan_model_refuse(err, "%s=%.60s is out of the domain of %s: a name", k->name,
                                 text, k->name);
    }
    return 0;
}

static int read_word(const struct plan_model *m, const char *word, struct plan_value *values,
                     struct mrd_err *err)
{
    const char *equals = strchr(word, '=');
    char all[160] = "";
    size_t used = 0;

    for (unsigned i = 0; m->keys[i].name != NULL; i++) {
        const char *name = m->keys[i].name;
        size_t len = strlen(name);
        if (equals != NULL && (size_t)(equals - word) == len && strncmp(name, word, len) == 0) {
            return values[i].given ? plan_model_refuse(err, "%s is given twice", name)
                                   : read_value(&m->keys[i], equals + 1, &values[i], err);
        }
        used += (size_t)snprintf(all + used, sizeof(all) - used, " %s=", name);
    }
    return plan_model_refuse(err, "\"%.60s\" is no input of %s; it takes:%s", word, m->name,
                             all);
}

/** What was given and what was assumed, as it was understood. */
static json_t *inputs_json(const struct plan_model *m, const struct plan_value *values)
{
    json_t *inputs = json_object();
    for (unsigned i = 0; m->keys[i].name != NULL; i++) {
        const struct plan_key *k = &m->keys[i];
        const struct plan_value *v = &values[i];
        bool avail = k->kind == PLAN_AVAIL || k->kind == PLAN_AVAILS;
        json_t *j = NULL;
        if (k->kind == PLAN_WORD) {
            j = json_string(v->text);
        } else if (k->kind == PLAN_LIST || k->kind == PLAN_AVAILS) {
            j = json_array();
            for (size_t n = 0; n < v->count; n++) {
                json_array_append_new(j, json_real(avail ? 1 - v->v[n] : v->v[n]));
            }
        } else if (v->count > 0) {
            j = k->kind == PLAN_WHOLE ? json_integer((json_int_t)v->v[0])
                                      : json_real(avail ? 1 - v->v[0] : v->v[0]);
        }
        if (j != NULL) {
            json_object_set_new(inputs, k->name, j);
        }
    }
    return inputs;
}

static int fill_fallbacks(const struct plan_model *m, struct plan_value *values,
                          struct mrd_err *err)
{
    for (unsigned i = 0; m->keys[i].name != NULL; i++) {
        const struct plan_key *k = &m->keys[i];
        char domain[80];
        if (values[i].given) {
            continue;
        }
        if (k->fallback == NULL) {
            return plan_model_refuse(err, "%s= is missing: %s", k->name,
                                     plan_key_domain(k, domain));
        }
        if (k->fallback[0] != '\0') {
            int rc = read_value(k, k->fallback, &values[i], err);
            mrd_assert(rc == 0); /* a default out of its own domain */
            values[i].given = false;
        }
    }
    return 0;
}

int plan_model_run(const struct plan_model *m, struct plan_data *data, const char *const *words,
                   size_t count, json_t **ret, struct mrd_err *err)
{
    struct plan_value values[PLAN_KEYS_MAX];
    json_t *result = NULL;
    int rc = 0;

    memset(values, 0, sizeof(values));
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = read_word(m, words[i], values, err);
    }
    rc = rc != 0 ? rc : fill_fallbacks(m, values, err);
    if (rc != 0) {
        return rc;
    }
    result = json_object();
    rc = m->run(data, values, result, err);
    if (rc != 0) {
        json_decref(result);
        return rc;
    }
    *ret = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:s}", "model", m->name, "id", m->id,
                     "inputs", inputs_json(m, values), "result", result, "unit", m->unit,
                     "formula", m->formula, "source", m->source);
    return *ret != NULL ? 0 : mrd_err_set(err, MRD_ENOMEM, "out of memory");
}
