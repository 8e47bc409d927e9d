/*
 * Transfer, headroom, break-even (mrd/cost.h).
 */
#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/err.h>

void mrd_transfer_cost(struct mrd_transfer *t)
{
    t->bytes_per_day = t->events_per_day * t->bytes * (1 + t->overhead) * t->copies;
    t->usd_month = t->bytes_per_day * t->days / t->gb_bytes * t->usd_per_gb;
    t->mbit_s = t->bytes_per_day * 8 / 86400 / 1e6;
}

double mrd_headroom(size_t n, size_t f)
{
    return (double)(n - f) / (double)n;
}

int mrd_headroom_shares(const double *share, size_t n, size_t lost, double *ret_capacity)
{
    double total = 0;
    if (n > MRD_HEADROOM_MAX || lost >= n) {
        return MRD_EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        total += share[i];
    }
    for (size_t j = 0; j < n; j++) {
        /* The worst for j is to lose the largest of the others. */
        double gone = 0;
        unsigned taken = 0;
        for (size_t k = 0; k < lost; k++) {
            size_t worst = n;
            for (size_t i = 0; i < n; i++) {
                if (i != j && (taken >> i & 1) == 0 &&
                    (worst == n || share[i] > share[worst])) {
                    worst = i;
                }
            }
            taken |= 1u << worst;
            gone += share[worst];
        }
        if (!(total - gone > 0)) {
            return MRD_EINVAL;
        }
        ret_capacity[j] = share[j] / (total - gone);
    }
    return 0;
}

double mrd_break_even_usd_hour(double premium_usd_month, double u_before, double u_after)
{
    return premium_usd_month * 12 / ((u_before - u_after) * MRD_YEAR_H);
}

void mrd_cost_reference(size_t n, double ret[5])
{
    double more = (double)n - 1, all = (double)n;
    ret[0] = 10000 * (1 + 0.8 * more);
    ret[1] = 5000 * (1 + 0.8 * more);
    ret[2] = 500 + 1000 * more + 750 * all * more;
    ret[3] = 200 + 400 * more;
    ret[4] = 50 + 100 * more;
}
