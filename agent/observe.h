/*
 * What this region sees of the others: probes with hysteresis.
 *
 * Every probe interval each other region is asked three things: does its agent answer a PING,
 * does its PostgreSQL answer SELECT 1, does its edge answer GET /meridian/health. An interval
 * without an answer is a miss; the threshold of misses in a row clears a bit, one success sets
 * it (mrd/patience.h). A bit that was never probed is set: an agent that has just started has
 * nothing to say against anybody.
 */
#pragma once

#include <uv.h>

#include <mrd/config.h>
#include <mrd/record.h>

#include "clocks.h"
#include "rpc.h"
#include "tls.h"

struct observe;

/** All borrowed. NULL: out of memory. */
struct observe *observe_new(uv_loop_t *loop, struct tls *tls, struct rpc *rpc,
                            const struct mrd_config *config, mrd_region self,
                            const char *certs_dir);
void observe_free(struct observe *o); /* after tls_stop and the loop's end */
void observe_stop(struct observe *o); /* closes its PostgreSQL connections */

/** Call from a regular tick. */
void observe_tick(struct observe *o, mrd_boot_ns now_ns);

/** Fill @reachable and @rtt_us of the report about @peer. */
void observe_fill(const struct observe *o, mrd_region peer, struct mrd_peer_report *ret);

/** The wall clock of @peer beside ours; not known when its agent was not heard lately. */
struct clock_reading observe_clock(const struct observe *o, mrd_region peer,
                                   mrd_boot_ns now_ns);

/** Does this region's own edge answer? */
bool observe_own_edge(const struct observe *o);
