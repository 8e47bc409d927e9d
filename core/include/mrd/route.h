/*
 * Where does a request go? The same function answers in DNS, at the edge, in
 * `meridian route --explain` and in the simulator.
 *
 * Candidates are all regions in the failover order of the region nearest to the client; then
 * regions that may not serve are dropped (witness, down, recovering for reads of data, dialled
 * out, not a replica); then the home of the key takes writes, and reads that need it; the rest
 * keeps its order. The dial is applied by a hash of the client, so a client sticks to its
 * choice. Deterministic given the snapshot and the request.
 */
#pragma once

#include <mrd/snapshot.h>
#include <mrd/token.h>

struct mrd_request {
    int class_index; /* -1: no data, any region with an edge */
    int partition;   /* index into the snapshot's partitions; -1: unknown or not needed */
    bool write;
    bool strong;     /* a read that must see the latest: goes home */
    mrd_region near; /* region nearest to the client; MRD_REGION_NONE: this one */
    uint64_t client_hash;
    const struct mrd_token *token; /* verified read-your-writes token, or NULL; borrowed */
};

enum mrd_route_why {
    MRD_ROUTE_NEAREST,     /* nearest region that may serve */
    MRD_ROUTE_HOME,        /* a write, or a strong read */
    MRD_ROUTE_TOKEN_LOCAL, /* the token is already applied here */
    MRD_ROUTE_TOKEN_HOME,  /* not applied here yet: home answers */
    MRD_ROUTE_TOKEN_LOST,  /* the token lies past the cut of a closed epoch: its write may be
                              in the lost tail; the caller must say so */
    MRD_ROUTE_FAIL_OPEN,   /* nothing is healthy: nearest anyway */
    MRD_ROUTE_NO_HOME,     /* it must go home and there is none, or its partition is unknown, or
                              it is a read and we are the home but have not opened yet: no
                              region in the answer */
};

struct mrd_route {
    enum mrd_route_why why;
    uint8_t count; /* regions in order of preference */
    mrd_region regions[MRD_REGIONS_MAX];
    uint8_t dropped_count; /* for --explain: who was dropped and why */
    struct {
        mrd_region region;
        const char *reason; /* static text */
    } dropped[MRD_REGIONS_MAX];
};

/**
 * Decide. @s must be a copy handed out by mrd_snapshot_read. Never fails: an answer without
 * regions says why. For writes and strong reads regions[0] is the home and the list has no
 * other entry.
 *
 * Reads of a class go to its replicas only, also when all of them are unhealthy: failing open
 * never leaves the replica set. A degraded region goes last for reads of data, and leaves the
 * answer when no data is asked for (its edge may be the part that fails). A recovering region
 * serves no data, save partitions whose home it is.
 *
 * The token carries no class. Its epoch is compared only with closed epochs of the same region
 * in the partition that is read; a token of another partition is judged by its time alone.
 * Give tokens of different classes different cookies to have every loss told.
 */
void mrd_route(const struct mrd_snapshot *s, const struct mrd_request *r, mrd_boot_ns now_ns,
               struct mrd_route *ret);

const char *mrd_route_why_name(enum mrd_route_why why);

/**
 * Region whose networks contain @addr (longest prefix wins), or MRD_REGION_NONE.
 *
 * @family      4 or 6
 * @addr        4 or 16 bytes, network order
 * @prefix_ret  out, may be NULL, set in both cases: how many leading bits of @addr decided.
 *              Every address that shares them gets the same answer, so this is the honest
 *              scope of an answer to an EDNS client subnet (RFC 7871, 7.2.1)
 */
mrd_region mrd_route_near(const struct mrd_snapshot *s, int family, const uint8_t *addr,
                          int *prefix_ret);

/** Nearest region for a country and continent (either may be empty), or MRD_REGION_NONE. */
mrd_region mrd_route_near_country(const struct mrd_snapshot *s, const char *country,
                                  const char *continent);

/**
 * Hash of a client for @client_hash above, the same in DNS, at the edge and in the CLI. Of an
 * IPv6 address only the first 64 bits count: hosts change the rest by themselves.
 */
uint64_t mrd_client_hash(int family, const uint8_t *addr);
