/*
 * The lab daemon: one process that is the network, holds the doors, and parents the regions.
 *
 * It listens on DIR/lab.sock (mode 0600). A request is one line of JSON, the answer another:
 *
 *     {"command": "kill", "region": "us-east-1"}
 *     {"ok": true, ...}, with a "note" when there was nothing to do,    or    {"error": "no
 * region \"mars\"", "hint": "..."}
 *
 *     status                                   answers with what `lab status --json` prints
 *     kill|pause|resume|start  region [part] [hold]
 *     link  a b [delay_ns jitter_ns loss_ppm dup_ppm rate_bps queue_bytes cut one_way reset]
 *     clock  region offset_ns                  the wall clock of its servers, from now on
 *     isolate region           heal [a b | region]           down
 *
 * While it runs DIR/lab.json holds the same as status, for tools that only need addresses.
 */
#pragma once

#include <jansson.h>

#include "world.h"

/**
 * Boot all regions and serve until told to stop (down, SIGTERM, SIGINT).
 *
 * @ready_fd  gets "ok" when everything has started, or the reason why not; then closed
 *
 * Returns the exit status. On return nothing of the lab is left running.
 */
int lab_daemon(struct lab_world *w, int ready_fd);

/** Send one request to the daemon of @dir. The answer, or NULL with @err set. */
json_t *lab_request(const char *dir, json_t *request, struct mrd_err *err);
