/*
 * How far each region's copy of another lies behind, as this region can tell.
 *
 * Each region's heartbeats move its applied-through mark at every other one, each renewal. A
 * lag can be computed only while that mark is of the origin's present session; so the agent
 * also watches for how long each mark has not moved at all. That one is known whatever the
 * sessions do, and a stream that stands is found by it, and with it a quorum class that nobody
 * acknowledges.
 *
 * Of what arrives in this region it also knows whether the lag grows or falls, and makes an
 * event of it when one goes over the threshold to stay, or is back.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <mrd/record.h>
#include <mrd/topology.h>

#include "text.h"

struct agent;

#define LAG_STANDS_MS 5000u /* a mark that has not moved for so long is worth a sentence */

struct lag {
    struct lag_mark {
        mrd_session session;
        uint64_t boot_ms;
        mrd_lsn lsn;
        mrd_boot_ns since_ns; /* seen as it is; 0: one of the two does not live */
    } marks[MRD_REGIONS_MAX][MRD_REGIONS_MAX]; /* of whom, by whom */
    char why[MRD_REGIONS_MAX][TEXT_REASON];    /* what our stream of it last complained about */
    struct lag_trend {
        uint64_t last_ms;              /* the lag when we looked, ... */
        mrd_boot_ns last_ns, first_ns; /* ... then, and since when it is known; 0: it is not */
        double change;                 /* s/s */
        bool behind;                   /* is told */
        mrd_boot_ns other_ns;  /* since when it is otherwise than is told; 0: it is not */
    } trends[MRD_REGIONS_MAX]; /* of each region's changes here */
    mrd_boot_ns next_ns;
};

/** Call from a regular tick. */
void lag_tick(struct agent *a, mrd_boot_ns now_ns);

/** How far @p's mark of @from lies behind @from's clock; false: cannot be told. */
bool lag_ms_of(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
               uint64_t *ret_ms);
/**
 * From what @p has applied to the newest position that @from is known to have reached; false:
 * cannot be told, as @p's position is of the life before @from began anew.
 */
bool lag_bytes_of(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                  uint64_t *ret_bytes);
/**
 * How the lag of @from's changes here changes, averaged over some seconds, in s/s: 1 while
 * nothing arrives, below 0 while it catches up; false: not known for long enough.
 */
bool lag_change_of(const struct agent *a, unsigned from, double *ret_change);
/** How long the mark of @from at @to has not moved; 0 while one of them does not live. */
uint64_t lag_standing_ms(const struct agent *a, unsigned from, unsigned to);
/** The stream of @from into this region as PostgreSQL last reported it; NULL: not at all. */
const json_t *lag_stream(const struct agent *a, unsigned from);
/** What the stream of @from into this region waits for, or ""; kept between its tries. */
const char *lag_why(const struct agent *a, unsigned from);

/** Sentences about streams that stand or lag, anywhere, and about quorum classes that too few
 *  regions acknowledge for it. */
void lag_problems(const struct agent *a, json_t *problems);
