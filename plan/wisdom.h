/*
 * Where a plan agrees with the tables that everybody quotes, and where it does not, and why.
 *
 * The tables are those of articles and interview notes on multi-region systems: which situation
 * wants which posture, what postures cost, how often they are down, how far continents are.
 * Each row that speaks of a class is named, with what it says, what was worked out here, and
 * the reason for the difference.
 */
#pragma once

#include <plan.h>

#define PLAN_WISDOM_MAX 16

struct plan_wisdom {
    const char *table; /* "situations", "costs", ... */
    char row[80];
    char says[120], here[200];
    char why[300]; /* of a difference; empty when they agree */
    bool agrees;
};

/**
 * The rows that speak of @a, in the order of the tables; their number. @by_country is of the
 * recommended result, or NULL when there is none.
 */
unsigned plan_wisdom(struct plan_data *data, const struct plan_workload *load,
                     const struct plan_answer *a, const struct plan_country_latency *by_country,
                     struct plan_wisdom ret[PLAN_WISDOM_MAX]);
