/*
 * A plan as it is shown: what `meridian plan` holds between reckoning and printing, and the
 * sentences that the tables (plan.c) and the page (plan_report.c) share.
 */
#pragma once

#include <figures.h>
#include <jansson.h>
#include <plan.h>
#include <wisdom.h>

#define PLANNED_LINES 12
#define PLANNED_LINE 800

struct planned {
    struct plan_data *data;
    struct plan_workload load;
    struct plan_answer answers[PLAN_CLASSES_MAX];
    /* Of each class, of each of its results, by the workload's countries. */
    struct plan_country_latency (*countries[PLAN_CLASSES_MAX])[PLAN_USERS_MAX];
    unsigned long long years, seed;
    bool explain;
};

/** "eu-west-1 us-east-1". Returns @out. */
char *planned_regions(const struct planned *q, const struct plan_result *r, char out[220]);
/** "12 s"; "grows" for what has no bound. Returns @out. */
char *planned_seconds(double s, char out[32]);

/** "72 ms"; "down" where nothing serves, "grows". Returns @out. */
char *planned_ms(double ms, char out[32]);

/** Capacity that runs, 1 is the load; what a posture's changes are behind; from which cost of
 * an hour down it pays ("at once": it is no dearer than one region); what it returns a year.
 * "-" where there is none. Return @out. */
double planned_running(const struct plan_result *r);
char *planned_lag(const struct plan_result *r, char out[40]);
char *planned_pays(const struct plan_answer *a, const struct plan_result *r, char out[40]);
char *planned_returns(const struct plan_result *r, char out[40]);

/** Print @err, whose text may have several lines (plan_data_new). The exit status. */
int planned_failed(const struct mrd_err *err);

/** The result whose figures are explained: the recommended one, else the first; or NULL. */
const struct plan_result *planned_shown(const struct plan_answer *a);
/** "60361.2 USD/month". Returns @out. */
char *planned_value(const struct plan_figure *f, char out[32]);
/** What is recommended for a class, the rule that decided, and the driver. */
void planned_verdict(const struct planned *q, const struct plan_answer *a,
                     char out[PLANNED_LINE]);
/** Break-even, replication and the simulation of the recommendation; their count. */
unsigned planned_remarks(const struct planned *q, const struct plan_answer *a,
                         char out[PLANNED_LINES][PLANNED_LINE]);
/** The rows of the usual tables that speak of class @c; their number. */
unsigned planned_wisdom(struct planned *q, unsigned c, struct plan_wisdom ret[PLAN_WISDOM_MAX]);
/** A row as a sentence. Returns @out. */
char *planned_wisdom_said(const struct plan_wisdom *row, char out[PLANNED_LINE]);
/** The union of all recommendations, as a sentence. */
void planned_whole(const struct planned *q, char out[PLANNED_LINE]);
/** How many classes have no recommendation. */
unsigned planned_without(const struct planned *q);
/** Is it over the budget, or cannot that be said? Then @out says by how much, or why. */
bool planned_budget(const struct planned *q, char out[PLANNED_LINE]);
/** What was assumed rather than measured or given, as sentences; their count. */
unsigned planned_assumptions(const struct planned *q, char out[PLANNED_LINES][PLANNED_LINE]);

/** Write the plan as one HTML page, complete in itself, to the file @path. */
int planned_report(struct planned *q, const char *path, struct mrd_err *err);

/** Print the plan as JSON. Returns the exit status. */
int planned_json(struct planned *q);
json_t *planned_figures_json(const struct plan_figure *figures, unsigned n);
json_t *planned_facts_json(const struct plan_data *data);
/** What a source holds, and what it lacks. Returns @out. */
char *planned_fact(const struct plan_source *s, char *out, size_t cap);
/** Print figures, or the facts that were used, as numbered notes and paragraphs. */
void planned_figures(const struct plan_figure *figures, unsigned n);
void planned_facts(const struct plan_data *data);

/** What the configuration @path promises; @sized: q->load is a workload. The exit status. */
int planned_deployment(struct planned *q, const char *path, bool sized, bool json,
                       const char *html);
