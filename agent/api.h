/*
 * The agent's HTTP API on RUN/agent.sock, as docs/internals/api.md describes it.
 */
#pragma once

#include <mrd/err.h>

struct agent;
struct api;

/** Listen. @a is borrowed for the life of the object. */
int api_new(struct agent *a, struct api **ret, struct mrd_err *err);
/** Our copy of the store, or the time, went on: answer whom that concerns. */
void api_settle(struct api *api);
void api_stop(struct api *api);
void api_free(struct api *api); /* accepts NULL */
