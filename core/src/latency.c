/*
 * Distances, quorum commits and recovery times (mrd/latency.h).
 */
#include <mrd/availability.h>
#include <mrd/err.h>
#include <mrd/latency.h>

#include <math.h>
#include <string.h>

double mrd_distance_km(double lat_a, double lon_a, double lat_b, double lon_b)
{
    const double radian = acos(-1.0) / 180.0;
    double dlat = (lat_b - lat_a) * radian, dlon = (lon_b - lon_a) * radian;
    double h = pow(sin(dlat / 2), 2) +
               cos(lat_a * radian) * cos(lat_b * radian) * pow(sin(dlon / 2), 2);
    return 2 * 6371.0 * asin(sqrt(fmin(1.0, h)));
}

/** The @k-th smallest, from 1. @n is small, so an insertion sort. */
static double kth(const double *values, size_t n, size_t k)
{
    double sorted[MRD_LATENCY_REPLICAS_MAX] = {0};
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = values[i];
    }
    return sorted[k - 1];
}

int mrd_quorum_leader_ms(const double *rtt_ms, size_t n, size_t w, double *ret_ms)
{
    if (n > MRD_LATENCY_REPLICAS_MAX || w == 0 || w > n + 1) {
        return MRD_EINVAL;
    }
    *ret_ms = w == 1 ? 0 : kth(rtt_ms, n, w - 1);
    return 0;
}

int mrd_quorum_leaderless_ms(const double *rtt_ms, size_t n, size_t w, double *ret_ms)
{
    if (n > MRD_LATENCY_REPLICAS_MAX || w == 0 || w > n) {
        return MRD_EINVAL;
    }
    *ret_ms = kth(rtt_ms, n, w);
    return 0;
}

int mrd_quorum_rule(size_t n, size_t r, size_t w, struct mrd_quorum *ret)
{
    if (r == 0 || w == 0 || r > n || w > n) {
        return MRD_EINVAL;
    }
    *ret = (struct mrd_quorum){.n = n,
                               .r = r,
                               .w = w,
                               .reads_meet_writes = r + w > n,
                               .writes_meet_writes = 2 * w > n};
    ret->survives = n - (r > w ? r : w);
    return 0;
}

int mrd_quorum_tail(size_t k, const double *f, size_t n, double *ret_p)
{
    double late[MRD_AVAIL_PARTS_MAX], u = 0;

    for (size_t i = 0; i < n && i < MRD_AVAIL_PARTS_MAX; i++) {
        late[i] = 1 - f[i];
    }
    int rc = mrd_avail_k_of_n(k, late, n, &u);
    if (rc == 0) {
        *ret_p = 1 - u;
    }
    return rc;
}

static void swap_pair(double *v, double *w, size_t i, size_t j)
{
    double tv = v[i], tw = w[i];
    v[i] = v[j];
    w[i] = w[j];
    v[j] = tv;
    w[j] = tw;
}

static void sift_down(double *v, double *w, size_t root, size_t end)
{
    for (size_t child; (child = 2 * root + 1) < end; root = child) {
        child += child + 1 < end && v[child] < v[child + 1];
        if (v[root] >= v[child]) {
            return;
        }
        swap_pair(v, w, root, child);
    }
}

/** Heapsort of both arrays by value: in place, without a callback. */
static void sort_pairs(double *v, double *w, size_t n)
{
    for (size_t root = n / 2; root > 0; root--) {
        sift_down(v, w, root - 1, n);
    }
    for (size_t end = n; end > 1; end--) {
        swap_pair(v, w, 0, end - 1);
        sift_down(v, w, 0, end - 1);
    }
}

double mrd_percentile(double *value, double *weight, size_t n, double p)
{
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        total += weight[i];
    }
    if (!(total > 0)) {
        return 0;
    }
    sort_pairs(value, weight, n);
    for (size_t i = 0; i < n; i++) {
        sum += weight[i];
        if (sum >= p * total * (1 - 1e-12)) {
            return value[i];
        }
    }
    return value[n - 1];
}

void mrd_rto_estimate(struct mrd_rto *r)
{
    double steps = r->decide_s + r->fence_s + r->promote_s + r->warm_s;

    r->detect_best_s = (r->checks - 1) * r->interval_s + r->timeout_s;
    r->detect_mean_s = (r->checks - 0.5) * r->interval_s + r->timeout_s;
    r->detect_worst_s = r->checks * r->interval_s + r->timeout_s;
    r->stale_mean_s = (1 - r->violators) * r->ttl_s / 2 + r->violators * r->violators_s;
    r->stale_worst_s = r->violators > 0 ? fmax(r->ttl_s, r->violators_s) : r->ttl_s;
    r->mean_s = r->detect_mean_s + steps + r->stale_mean_s;
    r->worst_s = r->detect_worst_s + steps + r->stale_worst_s;
}
