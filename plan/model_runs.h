/*
 * The functions behind the rows of models.c: each takes the inputs in the order of its row's
 * keys and fills the result, or refuses what several keys must keep together. Private to plan/.
 */
#pragma once

#include <models.h>

/** "the domain is ...": MRD_EINVAL with that text. */
int plan_model_refuse(struct mrd_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

typedef int plan_run_fn(struct plan_data *data, const struct plan_value *in, json_t *result,
                        struct mrd_err *err);

extern plan_run_fn plan_run_series, plan_run_parallel, plan_run_kofn, plan_run_common_cause,
    plan_run_failover, plan_run_user_weighted, plan_run_sync_writes, plan_run_downtime,
    plan_run_history, plan_run_seed_availability, plan_run_rto, plan_run_lag, plan_run_overload,
    plan_run_tcp, plan_run_quorum, plan_run_quorum_latency, plan_run_quorum_tail,
    plan_run_transfer, plan_run_headroom, plan_run_headroom_shares, plan_run_break_even,
    plan_run_reference_cost, plan_run_fibre, plan_run_rtt, plan_run_user_rtt, plan_run_budget;
