/*
 * A configuration's promises as they are shown: what the tables (plan_deployment.c) and the
 * page (plan_promises.c) share.
 */
#pragma once

#include <deployment.h>
#include <planned.h>

/** A sentence for each thing that nobody said; their count. */
unsigned promised_unknowns(const struct plan_deployment *d,
                           char out[PLANNED_LINES][PLANNED_LINE]);
/** Has the workload classes that the configuration has not? Then @out names them. */
bool promised_unused(const struct plan_deployment *d, char out[PLANNED_LINE]);
unsigned promised_assumptions(const struct plan_deployment *d,
                              char out[PLANNED_LINES][PLANNED_LINE]);
/** "12 s", "unknown" below 0. Returns @out. */
char *promised_span(double s, char out[32]);
/** The same of a failover; "approval" where a person must agree. Returns @out. */
char *promised_rto(const struct plan_promise *p, char out[32]);
/** "72 ms", "70 to 152 ms", "local": commits over the homes of a class. Returns @out. */
char *promised_commits(const struct plan_promise *p, char out[40]);
const char *promised_home(const struct plan_deployment *d, const struct plan_promise *p);
/** "automatic", "when two operators approve". */
const char *promised_mode(const struct plan_deployment *d);

/** Write the promises as one page to the file @path. */
int promised_report(const struct plan_deployment *d, const struct planned *q, const char *path,
                    struct mrd_err *err);
