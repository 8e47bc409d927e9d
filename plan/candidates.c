/*
 * Where the data of users may be, and which regions are candidates when a workload names none.
 *
 * Those are the regions that the AWS matrix measures. Where residency would leave the data of
 * some users without any of them, the regions of one provider that the law allows join them:
 * AWS's, or of the first that has one there. Their round trips are estimated (F22). Elsewhere
 * an estimate would only stand beside measurements, and every candidate costs the search time.
 */
#include <workload.h>

#include <stdio.h>
#include <string.h>

#define MATRIX_PROVIDER "aws"

bool plan_may_store(const struct plan_data *data, const struct plan_class *c, int user,
                    int region)
{
    bool may = true;

    for (unsigned k = 0; k < c->residency_count && may; k++) {
        may = !plan_in_bloc(data, data->countries[user].iso2, c->residency[k].users) ||
              plan_in_bloc(data, data->regions[region].country, c->residency[k].stored);
    }
    return may;
}

static bool has_candidate(const struct plan_data *data, const struct plan_workload *w,
                          const struct plan_class *c, int user)
{
    for (unsigned i = 0; i < w->candidate_count; i++) {
        if (plan_may_store(data, c, user, w->candidates[i])) {
            return true;
        }
    }
    return false;
}

/** A region that may store the data of @user, AWS's before others', or -1. */
static int first_lawful(const struct plan_data *data, const struct plan_class *c, int user)
{
    int first = -1;

    for (int r = 0; r < data->region_count; r++) {
        bool may = plan_may_store(data, c, user, r);
        if (may && strcmp(data->regions[r].provider, MATRIX_PROVIDER) == 0) {
            return r;
        }
        first = may && first < 0 ? r : first;
    }
    return first;
}

static void add_lawful(const struct plan_data *data, struct plan_workload *w,
                       const struct plan_class *c, int user)
{
    int first = first_lawful(data, c, user);

    for (int r = first; first >= 0 && r < data->region_count; r++) {
        if (strcmp(data->regions[r].provider, data->regions[first].provider) == 0 &&
            plan_may_store(data, c, user, r) && w->candidate_count < PLAN_CANDIDATES_MAX) {
            w->candidates[w->candidate_count++] = r;
        }
    }
}

void plan_candidates_choose(const struct plan_data *data, struct plan_workload *w)
{
    const struct plan_matrix *m = &data->matrices[PLAN_RTT_AWS];

    for (int i = 0; i < m->count && w->candidate_count < PLAN_CANDIDATES_MAX; i++) {
        w->candidates[w->candidate_count++] = m->region[i];
    }
    w->chosen = w->candidate_count;
    for (unsigned c = 0; c < w->class_count; c++) {
        for (unsigned u = 0; u < w->user_count; u++) {
            if (!has_candidate(data, w, &w->classes[c], w->users[u].country)) {
                add_lawful(data, w, &w->classes[c], w->users[u].country);
            }
        }
    }
}

bool plan_candidates_lack(const struct plan_data *data, const struct plan_workload *w,
                          const struct plan_class *c, char *out, size_t cap)
{
    for (unsigned u = 0; u < w->user_count; u++) {
        int user = w->users[u].country;
        if (!has_candidate(data, w, c, user)) {
            int r = first_lawful(data, c, user);
            const char *iso2 = data->countries[user].iso2;
            if (r >= 0) {
                snprintf(out, cap,
                         "residency: none of the %u candidates may store the data of users in "
                         "%s; name one under regions: that may, for example %s",
                         w->candidate_count, iso2, data->regions[r].id);
            } else {
                snprintf(out, cap,
                         "residency: none of the %d regions of regions.csv may store the data "
                         "of users in %s",
                         data->region_count, iso2);
            }
            return true;
        }
    }
    return false;
}
