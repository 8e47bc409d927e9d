/*
 * How far a replica is behind: in normal operation, in overload, and what one TCP connection
 * can carry. Bytes per second and seconds; arguments are finite and not negative.
 */
#pragma once

struct mrd_lag {
    double utilisation; /* rho = W S / B */
    double seed_l; /* F11, W S / (B - W S): dimensionless, the mean number of writes queued */
    double mean_s; /* F12, M/M/1: S / (B - W S), and the way */
    double md1_s;  /* F12, M/D/1: equal sizes, and the way */
};

/**
 * F11, F12: @w writes per second of @s bytes into @b bytes per second.
 * Source: Little's law; Pollaczek-Khinchine for M/D/1.
 * Returns 0, or MRD_EINVAL unless w s < b: beyond it the lag grows without end (F13).
 */
int mrd_lag_steady(double w, double s, double b, double one_way_s, struct mrd_lag *ret);

struct mrd_overload {
    double growth;        /* seconds of delay gained per second */
    double backlog_bytes; /* Q = t (a - b) */
    double rpo_s;         /* age of the oldest write not sent: t (1 - b / a) */
    double queue_delay_s; /* Q / b: how long a write entering now waits */
    double drain_s;       /* Q / (b - a'); only when @drain_a was below @b */
};

/**
 * F13, fluid: @a bytes per second for @t_s seconds into @b, then @drain_a. With a <= b nothing
 * piles up and all results are 0.
 * Returns 0, or MRD_EINVAL unless b > 0 and drain_a < b (otherwise it never drains).
 */
int mrd_lag_overload(double a, double b, double t_s, double drain_a, struct mrd_overload *ret);

/** The part of F14 that the window sets: @window bytes per round trip, in Mbit/s. */
double mrd_tcp_window_mbit(double window, double rtt_ms);

/**
 * The part of F14 that loss sets, for Reno and CUBIC (leave it out for BBR): 1.22 MSS /
 * (RTT sqrt p), in Mbit/s. Source: Mathis et al., "The macroscopic behavior of the TCP
 * congestion avoidance algorithm" (1997). @loss > 0.
 */
double mrd_tcp_loss_mbit(double mss, double rtt_ms, double loss);
