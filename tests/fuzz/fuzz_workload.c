/*
 * The planner's workload as hostile text. It may be refused, always with a message in a place
 * that exists; what is accepted keeps what the planner relies on: counts within their tables,
 * shares that sum to 1, prices and times in their ranges. Small ones are planned as well.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <figures.h>
#include <plan.h>
#include <wisdom.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct plan_data *facts;
static struct plan_workload load;
static struct plan_answer answers[PLAN_CLASSES_MAX];
static struct mrd_conf_errors errors;

static void check_accepted(void)
{
    double sum = 0;

    assert(load.user_count >= 1 && load.user_count <= PLAN_USERS_MAX);
    assert(load.class_count >= 1 && load.class_count <= PLAN_CLASSES_MAX);
    assert(load.candidate_count >= 1 && load.candidate_count <= PLAN_CANDIDATES_MAX);
    assert(load.replicas_max >= 1 && load.replicas_max <= PLAN_REPLICAS_MAX);
    for (unsigned i = 0; i < load.user_count; i++) {
        sum += load.users[i].share;
    }
    assert(fabs(sum - 1) < 1e-9);
    assert(load.outage_h > 0 && load.interval_s > 0 && load.beta >= 0 && load.beta <= 1);
    for (unsigned i = 0; i < load.class_count; i++) {
        const struct plan_class *c = &load.classes[i];
        assert(c->name[0] != '\0' && c->reads_per_s + c->writes_per_s > 0);
        assert(c->cacheable >= 0 && c->cacheable <= 1);
    }
}

static void check_figures(const struct plan_answer *a, const struct plan_result *r)
{
    static struct plan_figure figures[PLAN_FIGURES_MAX];
    unsigned n = plan_figures(facts, &load, a->class, &a->results[0], r, figures);

    assert(n > 0 && n <= PLAN_FIGURES_MAX);
    for (unsigned i = 0; i < n; i++) {
        char inputs[400];
        assert(!isnan(figures[i].value));
        assert(strlen(plan_figure_inputs(&figures[i], inputs, sizeof(inputs))) <
               sizeof(inputs));
    }
}

/** What is told beside the figures: by country, and of the usual tables. */
static void check_told(const struct plan_answer *a)
{
    static struct plan_country_latency l[2 * PLAN_POSTURES][PLAN_USERS_MAX];
    static struct plan_wisdom rows[PLAN_WISDOM_MAX];

    assert(plan_countries(facts, &load, a, l, NULL) == 0);
    for (unsigned k = 0; k < a->count; k++) {
        for (unsigned u = 0; u < load.user_count && a->results[k].refused == NULL; u++) {
            assert(l[k][u].read_p50 >= 0 && l[k][u].read_p50 <= l[k][u].read_p95);
            assert(l[k][u].stale_p95_ms >= 0 && l[k][u].floor_p95_ms >= 0);
        }
    }
    unsigned n = plan_wisdom(facts, &load, a, a->best >= 0 ? l[a->best] : NULL, rows);
    assert(n <= PLAN_WISDOM_MAX);
    for (unsigned i = 0; i < n; i++) {
        assert(rows[i].says[0] != '\0' && rows[i].here[0] != '\0');
    }
}

static void plan_it(void)
{
    struct mrd_err err;
    assert(plan_answer(facts, &load, 20, 1, answers, &err) == 0);
    for (unsigned i = 0; i < load.class_count; i++) {
        assert(answers[i].best < (int)answers[i].count);
        check_told(&answers[i]);
        for (unsigned k = 0; k < answers[i].count; k++) {
            const struct plan_result *r = &answers[i].results[k];
            assert(r->refused != NULL || (isfinite(r->total) && r->total >= 0));
            assert(r->refused != NULL || (r->u >= 0 && r->u <= 1));
            if (r->refused == NULL) {
                check_figures(&answers[i], r);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned accepted;

    if (facts == NULL) {
        assert(plan_data_new(NULL, &facts, NULL) == 0);
    }
    if (plan_workload_parse(facts, (const char *)data, size, &load, &errors) != 0) {
        assert(errors.count > 0);
        for (unsigned i = 0; i < errors.count; i++) {
            assert(errors.errors[i].line >= 1 && errors.errors[i].column >= 1);
            assert(errors.errors[i].text[0] != '\0');
        }
        return 0;
    }
    check_accepted();
    if (load.class_count <= 2 && load.candidate_count <= 4 && accepted++ % 16 == 0) {
        plan_it();
    }
    return 0;
}
