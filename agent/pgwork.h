/*
 * What the agent asks of its region's PostgreSQL, and what it learns from it.
 *
 * Four connections over the local socket, so that nothing waits behind something slower: the
 * canary, the status, the commands of a move or promotion, and what people ask through the API.
 * Before any of them the database is made fit: database, role, extension, meridian.configure.
 *
 * Answers go into the node's struct mrd_local that core's decisions read; its contracts about
 * canaries and refusals (mrd/control.h) are kept here.
 */
#pragma once

#include <jansson.h>
#include <uv.h>

#include <mrd/node.h>

#include "pglink.h"

struct pgwork;

struct pgwork_options {
    const char *socket_dir;
    const char *certs_dir;
    const char *user; /* superuser role: the system user we run as */
    bool create;      /* make database and role when they are not there */
    /* Called with each line that PostgreSQL has for the events; the line is borrowed. */
    void (*told)(void *ctx, const char *line);
    /* May as many as PostgreSQL keeps be told now? They are gone from there then. */
    bool (*tellable)(void *ctx);
    void *told_ctx;
};

/** @node is borrowed; what is learnt goes into node->local, and makes it dirty. */
int pgwork_new(uv_loop_t *loop, struct mrd_node *node, const struct pgwork_options *options,
               struct pgwork **ret);
void pgwork_free(struct pgwork *w);

/** Call from a regular tick. */
void pgwork_tick(struct pgwork *w, mrd_boot_ns now_ns);

/** A snapshot was published: somebody may wait to hear that PostgreSQL obeys it. */
void pgwork_published(struct pgwork *w);

/** Start what node->duties says and is not under way. */
void pgwork_duties(struct pgwork *w);

/** The store's receipts changed: hand @make's array of all of them to the extension, soon. */
void pgwork_receipts(struct pgwork *w, json_t *(*make)(void *ctx), void *ctx);

bool pgwork_answers(const struct pgwork *w); /* the last canary succeeded */
const json_t *
pgwork_status(const struct pgwork *w);          /* last agent_status(), borrowed; or NULL */
struct pglink *pgwork_people(struct pgwork *w); /* the link for the API */
/** Sentences for the operator. @disk: follows what PostgreSQL's silence may come of, or "". */
void pgwork_problems(const struct pgwork *w, const char *disk, json_t *problems);
