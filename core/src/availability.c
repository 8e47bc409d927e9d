/*
 * Closed forms of availability (mrd/availability.h). Sums of positive terms, log1p and expm1,
 * so that no digit of U is lost to a subtraction from one.
 */
#include <mrd/availability.h>
#include <mrd/err.h>

#include <math.h>

double mrd_avail_series(const double *u, size_t n)
{
    double log_a = 0;
    for (size_t i = 0; i < n; i++) {
        log_a += log1p(-u[i]);
    }
    return -expm1(log_a);
}

double mrd_avail_parallel(const double *u, size_t n)
{
    double product = 1;
    for (size_t i = 0; i < n; i++) {
        product *= u[i];
    }
    return product;
}

int mrd_avail_k_of_n(size_t k, const double *u, size_t n, double *ret_u)
{
    double down[MRD_AVAIL_PARTS_MAX + 1] = {1};
    double sum = 0;

    if (n == 0 || n > MRD_AVAIL_PARTS_MAX || k == 0 || k > n) {
        return MRD_EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t d = i + 1; d > 0; d--) {
            down[d] = down[d] * (1 - u[i]) + down[d - 1] * u[i];
        }
        down[0] *= 1 - u[i];
    }
    for (size_t d = n; d > n - k; d--) { /* smallest first */
        sum += down[d];
    }
    *ret_u = fmin(sum, 1);
    return 0;
}

int mrd_avail_common_cause(size_t k, size_t n, double q, double beta, double *ret_u)
{
    double own[MRD_AVAIL_PARTS_MAX], u = 0;

    for (size_t i = 0; i < n && i < MRD_AVAIL_PARTS_MAX; i++) {
        own[i] = (1 - beta) * q;
    }
    int rc = mrd_avail_k_of_n(k, own, n, &u);
    if (rc == 0) {
        *ret_u = fmin(u + beta * q, 1);
    }
    return rc;
}

double mrd_avail_failover(const struct mrd_failover_model *m, double *ret_coverage)
{
    double c = (1 - m->beta) * (1 - m->p_ff) * (1 - m->u_standby);
    if (ret_coverage != NULL) {
        *ret_coverage = c;
    }
    return m->u * (c * -expm1(-m->failover_h / m->mean_h) + (1 - c));
}

double mrd_avail_user_weighted(const double *share, const double *u, size_t n)
{
    double sum = 0, total = 0;
    for (size_t i = 0; i < n; i++) {
        sum += share[i] * u[i];
        total += share[i];
    }
    return total > 0 ? sum / total : 0;
}

int mrd_avail_sync_writes(double u_primary, size_t k, const double *u_standby, size_t n,
                          double *ret_u)
{
    double both[2] = {u_primary, 0};
    int rc = mrd_avail_k_of_n(k, u_standby, n, &both[1]);
    if (rc == 0) {
        *ret_u = mrd_avail_series(both, 2);
    }
    return rc;
}

double mrd_avail_seed(double u, double p_correlated, double p_failover_failure)
{
    return mrd_avail_series((double[]){u, p_correlated, p_failover_failure}, 3);
}

double mrd_avail_history(const double *outage_h, size_t n, double years, double *ret_per_year,
                         double *ret_mean_h)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += outage_h[i];
    }
    *ret_per_year = (double)n / years;
    *ret_mean_h = n > 0 ? sum / (double)n : 0;
    return sum / (years * MRD_YEAR_H);
}
