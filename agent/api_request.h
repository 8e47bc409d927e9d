/*
 * One request to the API, between api.c (HTTP) and api_actions.c (what needs the store or
 * PostgreSQL).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct agent;
struct api;
struct api_wait;
struct MHD_Connection;

struct api_request {
    struct api *api;
    struct agent *agent;
    struct MHD_Connection *connection;
    struct api_request *next, **link; /* while suspended */
    char path[64];
    char *body;
    size_t body_len;
    bool too_long, suspended, answered;
    unsigned status;
    json_t *answer;
    struct api_wait *wait; /* what was asked on its behalf; NULL: nothing is under way */
};

/** Stands between a request and an answer under way; either may go first. */
struct api_wait {
    struct api_request *request; /* NULL: the client has gone */
    char id[192], action[16];
    json_t *row;        /* what was asked of the store; freed by whoever ends the wait */
    const char *member; /* what the row is called in the answer */
    const char *see;    /* where it can be looked at */
    uint64_t revision;  /* committed at; our own copy does not have it yet */
    uint64_t until_ns;  /* how long that is waited for */
    struct api_wait *next;
};

/** Note that an answer is under way. NULL when out of memory. */
struct api_wait *api_wait_new(struct api_request *r);
/** The answer is there: frees @w and returns the request, or NULL when nobody waits. */
struct api_request *api_wait_end(struct api_wait *w);
/** Call api_committed once our own copy of the store has @revision, or in a while. */
void api_wait_for(struct api_wait *w, uint64_t revision);

/**
 * Who asks: the name in /etc/passwd of the user at the other end of the socket, or "uid N".
 * Other sources of names may take time that the agent's loop does not have.
 */
void api_operator(const struct api_request *r, char ret[64]);

/** Answer, once. @answer is taken. */
void api_answer(struct api_request *r, unsigned status, json_t *answer);
void api_refuse(struct api_request *r, unsigned status, const char *error, const char *hint);

/* api_actions.c; each answers or waits. @body is borrowed until the call returns. */
/** What was asked for is committed; who asks us next sees it. Ends @w. */
void api_committed(struct api_wait *w);
void api_move(struct api_request *r, const json_t *body);
void api_drain(struct api_request *r, const json_t *body);
void api_dial(struct api_request *r, const json_t *body);
/** approve or reject, by the request's path. */
void api_decide(struct api_request *r, const json_t *body);
void api_reconcile_list(struct api_request *r);
void api_reconcile_act(struct api_request *r, const json_t *body);
