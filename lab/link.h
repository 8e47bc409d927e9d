/*
 * One direction of the path between two regions: when does a packet arrive, if at all?
 *
 * Pure arithmetic, so that it can be tested without packets: the caller gives the time and the
 * randomness. A packet first waits its turn (rate, as virtual finish time: no token bucket, no
 * tick), then travels (delay, jitter). The queue before the bottleneck is bounded in bytes,
 * 200 ms of the rate unless said otherwise, and what does not fit is dropped and counted.
 * Order is always kept: jitter delays, it does not overtake, as on a real long path.
 *
 * All delays are one way. A round trip takes both directions.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LAB_MILLION 1000000u
#define LAB_NS_PER_S 1000000000ull
#define LAB_NS_PER_MS 1000000ull
/** Bytes that may be under way on one link, whatever its rate; bounds our memory. */
#define LAB_INFLIGHT_MAX (64ull * 1024 * 1024)
#define LAB_DELAY_MAX_NS (60ull * LAB_NS_PER_S)
#define LAB_RATE_MIN_BPS 8000ull
#define LAB_RATE_MAX_BPS 100000000000ull

struct lab_link_conf {
    uint64_t delay_ns;
    uint64_t jitter_ns;   /* uniform between delay - jitter and delay + jitter */
    uint32_t loss_ppm;    /* 0..1000000, each packet by itself */
    uint32_t dup_ppm;     /* delivered twice */
    uint64_t rate_bps;    /* bits per second; 0 is unlimited */
    uint64_t queue_bytes; /* 0: 200 ms of the rate, at least 64 KiB */
    bool cut;             /* carries nothing, and loses what is under way */
};

enum lab_fate { LAB_CARRIED, LAB_LOST, LAB_CUT, LAB_FULL };

/** What one link remembers between packets. Zero it to start. */
struct lab_link {
    uint64_t busy_ns;        /* when the last accepted byte leaves the bottleneck */
    uint64_t last_due_ns;    /* arrival of the last accepted packet */
    uint64_t inflight_bytes; /* accepted and not yet delivered; the caller subtracts */
};

/**
 * Offer a packet of @len bytes at @now_ns.
 *
 * @random  64 fresh random bits
 * @ret_ns  out, only for LAB_CARRIED: when it arrives; never before now + delay - jitter
 */
enum lab_fate lab_link_offer(struct lab_link *l, const struct lab_link_conf *c, uint32_t len,
                             uint64_t now_ns, uint64_t random, uint64_t *ret_ns);

/** Whether a packet is to be delivered twice; @random as above, but other bits. */
bool lab_link_twice(const struct lab_link_conf *c, uint64_t random);

/** Lateness in powers of two: bucket i counts deliveries less than 2^i * 16 us late. */
#define LAB_HIST_BUCKETS 16

struct lab_hist {
    _Atomic uint64_t count[LAB_HIST_BUCKETS]; /* one writer, any reader */
    _Atomic uint64_t max_ns;
};

void lab_hist_add(struct lab_hist *h, uint64_t late_ns);
/** Upper bound, in ns, of the bucket that holds the @percent percentile; 0 when empty. */
uint64_t lab_hist_percentile(const struct lab_hist *h, double percent);

/** Parse "80ms", "1.5s", "200us", "3ms": nanoseconds. Returns 0 or MRD_EINVAL. */
int lab_parse_duration(const char *text, uint64_t *ret_ns);
/** Parse "1%", "0.05%" or "0.01": parts per million. */
int lab_parse_share(const char *text, uint32_t *ret_ppm);
/** Parse "100mbit", "1gbit", "64kbit": bits per second; "0" or "none" is unlimited. */
int lab_parse_rate(const char *text, uint64_t *ret_bps);
