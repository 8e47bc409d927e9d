/*
 * Doors from the host into the regions: loopback ports whose connections continue inside a
 * region's network namespace.
 *
 * No interface joins host and region, so nothing is routed. One thread accepts on 127.0.0.1
 * and makes the onward socket inside the namespace (setns for that call alone), where it stays.
 * While a region is down, its doors accept and close at once, so a client sees a reset and not
 * a hang.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include <mrd/topology.h>

struct lab_forward; /* opaque */

struct lab_forward *lab_forward_new(void); /* NULL on failure (errno) */
void lab_forward_free(struct lab_forward *f);

/**
 * Open a door to @address:@port of @region.
 *
 * @wanted  host port to use when it is free, 0 for any
 *
 * Returns the host port, or -1 (errno). @udp doors carry datagrams. Call before regions start.
 */
int lab_forward_open(struct lab_forward *f, mrd_region region, bool udp, struct in_addr address,
                     uint16_t port, uint16_t wanted);

/** The region lives in the namespace @netns_fd (taken), or is gone (-1): its doors reset. */
void lab_forward_region(struct lab_forward *f, mrd_region region, int netns_fd);
