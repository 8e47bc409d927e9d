/*
 * One region of a lab, seen from outside: start it, kill it, stop it in its tracks.
 *
 * A region is a set of namespaces (network, mount, pid, UTS, IPC) whose pid 1 is our own
 * `meridian lab-init`. Killing pid 1 kills everything in it at once, which the kernel
 * guarantees; pid 1 dies with the daemon (PR_SET_PDEATHSIG), so nothing outlives a lab.
 *
 * Daemon's main thread only: the parent-death signal belongs to the thread that forks.
 */
#pragma once

#include "world.h"

enum lab_state { LAB_KILLED, LAB_RUNNING, LAB_PAUSED };

enum lab_part { LAB_ALL, LAB_AGENT, LAB_PG, LAB_NGINX, LAB_KNOT, LAB_SHOP, LAB_PARTS };

struct lab_region {
    enum lab_state state;
    pid_t init_pid; /* 0 while killed */
    int ctl_fd;     /* to init, SOCK_SEQPACKET; -1 while killed */
};

const char *lab_state_name(enum lab_state s);
/** Returns LAB_PARTS for a name that is none. */
enum lab_part lab_part_parse(const char *name);

/**
 * A killed region's disk is lost: `meridian anew` removes its database and its store, and makes
 * the next start the beginning of another life.
 */
int lab_region_lose_disk(const struct lab_world *w, unsigned index, struct mrd_err *err);

/**
 * Boot the region, up to a running init; servers come up by themselves afterwards.
 *
 * @ret_tun    its network device; now the caller's
 * @ret_netns  its network namespace; now the caller's
 */
int lab_region_start(const struct lab_world *w, unsigned index, struct lab_region *r,
                     int *ret_tun, int *ret_netns, struct mrd_err *err);

/** SIGKILL to pid 1; returns when every process of the region is gone. */
void lab_region_kill(struct lab_region *r);

/**
 * Send @signal to every process of @part (SIGKILL, SIGSTOP or SIGCONT). SIGSTOP is repeated
 * until all are seen stopped. Returns how many processes got it, or MRD_ETIMEDOUT.
 */
int lab_region_signal(const struct lab_region *r, enum lab_part part, int signal);

/** How many processes of @part are stopped now. */
int lab_region_stopped(const struct lab_region *r, enum lab_part part);

/** Tell init to keep a killed agent or shop down, or to start it again. */
int lab_region_hold(const struct lab_region *r, enum lab_part part, bool hold);
