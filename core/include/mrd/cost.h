/*
 * What several regions cost: transfer, capacity kept free, and when it pays.
 *
 * GB is 1e9 bytes unless the caller says otherwise; a month has 30 days for transfer.
 */
#pragma once

#include <stddef.h>

struct mrd_transfer {
    /* in */
    double events_per_day, bytes, usd_per_gb;
    double copies;   /* regions each event is sent to: n - 1 in a mesh */
    double days;     /* in the month */
    double overhead; /* framing, retransmission: 0.1 is 10% */
    double gb_bytes; /* 1e9, or 1073741824 for GiB */
    /* out */
    double bytes_per_day, usd_month, mbit_s;
};
/** F18. bytes_per_day and mbit_s count every copy. */
void mrd_transfer_cost(struct mrd_transfer *t);

/** F19, even shares: how full each of @n may be so that @f may be lost; f < n. */
double mrd_headroom(size_t n, size_t f);

#define MRD_HEADROOM_MAX 16

/**
 * F19, uneven shares that spill in proportion: the capacity each region needs when any @lost
 * of them are gone, in units of the whole load. Shares are normalised first.
 * Returns 0, or MRD_EINVAL unless lost < n <= MRD_HEADROOM_MAX and the shares that may remain
 * are more than nothing.
 */
int mrd_headroom_shares(const double *share, size_t n, size_t lost, double *ret_capacity);

/** F20: the cost of an hour of downtime from which a premium pays; u_before > u_after. */
double mrd_break_even_usd_hour(double premium_usd_month, double u_before, double u_after);

/** The source documents' own cost of 1 to 3 regions, continued: compute, database, transfer,
 * load balancing, DNS; USD per month. For comparison only. */
void mrd_cost_reference(size_t n, double ret_usd_month[5]);
