/*
 * The wide-area network between the regions of one lab, in one thread of this process.
 *
 * Each region gives its TUN device; packets read from one are held for as long as the link to
 * the other says and then written there. Nothing joins a region and the host. The matrix of
 * links may change at any time; each call below returns when the change is in force, so its
 * caller can name the moment.
 *
 * Thread: the functions may be called from any thread but the emulator's own.
 */
#pragma once

#include <mrd/topology.h>

#include "link.h"

struct lab_wan; /* opaque */

struct lab_wan_stats {
    uint64_t packets, bytes;                  /* delivered */
    uint64_t lost, dropped_cut, dropped_full; /* not delivered, by reason */
    uint64_t late_ns_p50, late_ns_p99, late_ns_max;
};

/** Start the emulator for @regions regions, all links with no delay; NULL on failure (errno).
 */
struct lab_wan *lab_wan_new(unsigned regions);
void lab_wan_free(struct lab_wan *w);

/** The device of @region; @tun_fd is taken. Replaces, and closes, the one it had. */
void lab_wan_attach(struct lab_wan *w, mrd_region region, int tun_fd);
/** Close the device: from now on the region is a black hole and what was under way is gone. */
void lab_wan_detach(struct lab_wan *w, mrd_region region);

void lab_wan_get(struct lab_wan *w, mrd_region from, mrd_region to, struct lab_link_conf *ret);
void lab_wan_set(struct lab_wan *w, mrd_region from, mrd_region to,
                 const struct lab_link_conf *conf);
void lab_wan_stats(struct lab_wan *w, mrd_region from, mrd_region to,
                   struct lab_wan_stats *ret);

/**
 * Which region owns the destination address of this IP packet: 10.77.i.x or fd77::i is region
 * i - 1. Returns MRD_REGION_NONE for anything else, and for what is not a whole packet.
 */
mrd_region lab_wan_destination(const uint8_t *packet, uint32_t len, unsigned regions);
