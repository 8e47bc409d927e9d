/*
 * The agent as a whole: what its parts share. Only agent.c changes it (agent_config.c
 * before it runs); api.c reads it.
 */
#pragma once

#include <uv.h>

#include <mrd/node.h>

#include "clocks.h"
#include "lag.h"
#include "log.h"
#include "observe.h"
#include "pgwork.h"
#include "publish.h"
#include "raft_node.h"
#include "rpc.h"
#include "supervise.h"
#include "told.h"
#include "tls.h"

struct agent_options {
    const char *config_path;
    const char *region;
    const char *state_dir, *run_dir;
    const char *certs_dir;  /* default: STATE/certs */
    const char *bind;       /* numeric address for the TLS port; default: the configured one */
    const char *socket_dir; /* of PostgreSQL; default: RUN */
    const char *user;       /* superuser role; default: the user we run as */
    struct supervise_options guests;
};

struct api;

struct agent {
    const struct agent_options *opt;
    struct mrd_config *config;
    char *config_text; /* the file as it was read */
    size_t config_len;
    mrd_region self;
    uv_loop_t loop;
    mrd_boot_ns started_ns;

    struct mrd_store *store;
    struct tls *tls;
    struct rpc *rpc;
    struct raft_node *raft;
    struct observe *observe;
    struct pgwork *pg; /* NULL for a witness */
    struct supervise *guests;
    struct api *api;
    struct publish file;

    struct mrd_node node;
    uint8_t *encoded; /* MRD_TXN_MAX bytes, scratch of a proposal */
    struct log_repeat failed[MRD_FLIGHTS];
    struct told told;
    struct lag lag;
    struct clocks clocks;

    uv_timer_t tick;
    uv_check_t check;
    uv_signal_t sigterm, sigint;
    bool stopping, store_full, lease_held;
    bool config_differs;  /* the store's is not ours */
    bool config_rejected; /* the file is not good; ours is the last that was */
    uint64_t life;        /* made anew, and not yet let in again (anew.h); 0: it is not so */
    bool anew_writing;
    mrd_boot_ns anew_next_ns;
    int exit_status;
    mrd_boot_ns disk_next_ns;
};

/** Run until told to stop; the exit status. */
int agent_run(const struct agent_options *options);

/**
 * Send @p->txn to the leader. @done hears the store's answer (MRD_ECONFLICT and so on), or
 * MRD_EUNAVAILABLE or MRD_ETIMEDOUT when it is unknown. Returns 0, or an error and @done is not
 * called.
 */
typedef void (*agent_done_fn)(void *ctx, int code, uint64_t revision);
int agent_propose(struct agent *a, const struct mrd_proposal *p, agent_done_fn done, void *ctx);

/** Whole milliseconds of lease left; 0 when none is held. */
uint64_t agent_lease_left_ms(const struct agent *a, mrd_boot_ns now_ns);

/**
 * Which voters, itself included, answer this one now. Fewer than a majority: nothing can be
 * decided here. A majority and no leader: they elect one, or what they send does not come in.
 */
unsigned agent_voters_reached(const struct agent *a);

/** A new array of sentences for the operator, all parts together; none of them is cut. */
json_t *agent_problems(const struct agent *a);
