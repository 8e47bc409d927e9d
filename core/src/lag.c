/*
 * Replication lag and what a connection carries (mrd/lag.h).
 */
#include <mrd/err.h>
#include <mrd/lag.h>

#include <math.h>

int mrd_lag_steady(double w, double s, double b, double one_way_s, struct mrd_lag *ret)
{
    double rho = w * s / b;
    if (!(b > 0) || !(w * s < b)) {
        return MRD_EINVAL;
    }
    ret->utilisation = rho;
    ret->seed_l = w * s / (b - w * s);
    ret->mean_s = s / (b - w * s) + one_way_s;
    ret->md1_s = s / b * (1 + rho / (2 * (1 - rho))) + one_way_s;
    return 0;
}

int mrd_lag_overload(double a, double b, double t_s, double drain_a, struct mrd_overload *ret)
{
    if (!(b > 0) || !(drain_a < b)) {
        return MRD_EINVAL;
    }
    double excess = fmax(a - b, 0);
    ret->growth = excess / b;
    ret->backlog_bytes = excess * t_s;
    ret->rpo_s = excess > 0 ? t_s * (1 - b / a) : 0;
    ret->queue_delay_s = ret->backlog_bytes / b;
    ret->drain_s = ret->backlog_bytes / (b - drain_a);
    return 0;
}

double mrd_tcp_window_mbit(double window, double rtt_ms)
{
    return window * 8 / (rtt_ms / 1000) / 1e6;
}

double mrd_tcp_loss_mbit(double mss, double rtt_ms, double loss)
{
    return 1.22 * mss * 8 / (rtt_ms / 1000 * sqrt(loss)) / 1e6;
}
