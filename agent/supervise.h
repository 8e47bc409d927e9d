/*
 * The region's guests: PostgreSQL, nginx and knotd, kept running.
 *
 * A guest is started detached, in a session of its own, so that the agent's end is not its end.
 * Which process it is stands in RUN/NAME.guest as "PID START NAMESPACE"; an agent that starts
 * finds it there and takes it over, reuse of ids excluded by the start time and the namespace.
 * What dies is started again, waiting 0.2 s and then longer, up to 10 s. Output goes to
 * STATE/log/NAME.log.
 */
#pragma once

#include <jansson.h>
#include <uv.h>

#include <mrd/authority.h>
#include <mrd/config.h>
#include <mrd/err.h>

#define GUEST_PG 1u
#define GUEST_NGINX 2u
#define GUEST_KNOT 4u

/** What to do about a PostgreSQL data directory that is not there. */
enum guest_cluster {
    CLUSTER_WAIT, /* nobody knows yet */
    CLUSTER_MAKE, /* make one whose WAL begins at the given position (0: anywhere) */
    CLUSTER_LOST, /* there was one: make none */
};

struct supervise_options {
    unsigned manage; /* GUEST_* */
    const char *state_dir, *run_dir, *certs_dir;
    const char *log_dir;       /* GUEST.log: what each prints */
    const char *pg_bin;        /* directory of postgres and initdb */
    const char *pg_hba;        /* file of lines put before ours in pg_hba.conf; may be absent */
    const char *nginx, *knotd; /* programs */
    const char *nginx_conf, *knot_conf;
    enum guest_cluster (*cluster)(void *ctx, mrd_lsn *ret_begins);
    void *cluster_ctx;
    const char *bind; /* address PostgreSQL listens on besides loopback */
};

struct supervise;

/** @config is borrowed; strings of @options are borrowed too. Prepares nothing yet. */
int supervise_new(uv_loop_t *loop, const struct mrd_config *config, mrd_region self,
                  const struct supervise_options *options, struct supervise **ret,
                  struct mrd_err *err);

/** Call from a regular tick: looks after each guest, a few times a second. */
void supervise_tick(struct supervise *s, uint64_t now_ns);

/* A disk with less room than PostgreSQL needs to come up. Known from the first moment, before
 * anybody has asked PostgreSQL; whether it can write is its own to say. */
struct guest_disk {
    bool full;
    bool runs;        /* PostgreSQL does, as far as is known */
    bool under_store; /* the store is on the same file system */
    char text[1400];  /* " (the disk ...)", to follow what is wrong; empty when not full */
};

/** The disk under the PostgreSQL that we look after. */
void supervise_disk(const struct supervise *s, struct guest_disk *ret);

/** Sentences for the operator: guests that do not run. */
void supervise_problems(const struct supervise *s, json_t *problems);

/** Stop looking after them. They go on running. Free after the loop is done. */
void supervise_stop(struct supervise *s);
void supervise_free(struct supervise *s);
