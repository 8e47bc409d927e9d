/*
 * What the agent asks of its region's PostgreSQL, and what it learns from it.
 *
 * Four connections over the local socket, so that nothing waits behind something slower: the
 * canary, the status, the commands of a move or promotion, and what people ask through the API.
 * Before any of them the database is made fit: database, role, extension, meridian.configure.
 *
 * Answers go into the struct mrd_local that core's decisions read; its contracts about canaries
 * and refusals (mrd/control.h) are kept here.
 */
#pragma once

#include <jansson.h>
#include <uv.h>

#include <mrd/control.h>

#include "pglink.h"

struct pgwork;

struct pgwork_options {
    const char *socket_dir;
    const char *certs_dir;
    const char *user; /* superuser role: the system user we run as */
    bool create;      /* make database and role when they are not there */
};

/** @config and @local are borrowed. @changed is called when @local changed. */
int pgwork_new(uv_loop_t *loop, const struct mrd_config *config, mrd_region self,
               const struct pgwork_options *options, struct mrd_local *local,
               void (*changed)(void *ctx), void *ctx, struct pgwork **ret);
void pgwork_free(struct pgwork *w);

/** Call from a regular tick. @session: our lease session, for the heartbeat. */
void pgwork_tick(struct pgwork *w, mrd_boot_ns now_ns, mrd_session session);

/** A renewal with the present canary was sent: the next one needs another. */
void pgwork_canary_used(struct pgwork *w);

/** The snapshot just published, for the contract about refusals. */
void pgwork_published(struct pgwork *w, const struct mrd_snapshot *s, mrd_boot_ns now_ns);

/** Start what is due and not under way; @duties has one row per partition. */
void pgwork_duties(struct pgwork *w, const struct mrd_duty *duties);

/** The store's receipts changed: hand @make's array of all of them to the extension, soon. */
void pgwork_receipts(struct pgwork *w, json_t *(*make)(void *ctx), void *ctx);

bool pgwork_answers(const struct pgwork *w); /* the last canary succeeded */
const json_t *
pgwork_status(const struct pgwork *w);          /* last agent_status(), borrowed; or NULL */
struct pglink *pgwork_people(struct pgwork *w); /* the link for the API */
/** Sentences for the operator; returns how many of @cap. */
size_t pgwork_problems(const struct pgwork *w, char (*out)[256], size_t cap);

/** "0/16B3748" as a number; false when it is none. */
bool pgwork_lsn(const char *text, mrd_lsn *ret);
