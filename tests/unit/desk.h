/*
 * Single decisions on a store that the test wrote itself: for states that a story could only
 * reach by a chain of coincidences.
 *
 * A desk is one store with a coordinator in front of it. A test lays records on it, lets time
 * pass, and reads what the coordinator says: the events of each transaction it commits, in
 * order. Regions are us, eu, ap (and r3, r4 of five); classes orders (quorum) and events
 * (async), both home us.
 */
#pragma once

#include "unit.h"

#include <mrd/control.h>

enum { US, EU, AP };

/** us, eu, ap, r3, r4 */
extern const char *const desk_names[];

struct desk {
    struct mrd_config config;
    struct mrd_store *store;
    struct mrd_coordinator coordinator;
    struct mrd_proposal proposal;
    struct mrd_session_record sessions[MRD_REGIONS_MAX];
    uint64_t now_ms;
    size_t said_len;
    char said[8192];
};

/** All regions are live, see each other, and have applied 0/100 of everybody. */
struct desk *desk_new(unsigned regions);
void desk_free(struct desk *d);

void desk_put(struct desk *d, const char *key, const uint8_t *value, size_t len);
/** Lay a record of any kind on it. */
#define PUT(d, key, encode, record)                                                            \
    do {                                                                                       \
        static uint8_t bytes_[16384];                                                          \
        struct mrd_buf out_ = mrd_buf_writer(bytes_, sizeof(bytes_));                          \
        assert_int_equal(encode(record, &out_), 0);                                            \
        desk_put(d, key, bytes_, out_.pos);                                                    \
    } while (0)

void desk_put_authority(struct desk *d, const char *class_name,
                        const struct mrd_authority_record *a);
void desk_get_authority(struct desk *d, const char *class_name,
                        struct mrd_authority_record *ret);

/** The region renews: what it says of itself and others is d->sessions[i]. */
void desk_renew(struct desk *d, unsigned i);
struct mrd_peer_report *desk_report(struct desk *d, unsigned by, unsigned about);
/** Nobody in @by reaches @t any more. */
void desk_lose(struct desk *d, unsigned t, unsigned by);
/** The present failover of @t; there is one. */
struct mrd_failover_record desk_failover(struct desk *d, unsigned t);
/** A region obeys the present failover of @t, having applied @lsn. */
void desk_refuse(struct desk *d, unsigned by, unsigned t, mrd_lsn lsn);

void desk_step(struct desk *d);
/** Time passes; the regions in @alive renew every half second, and the coordinator steps. */
void desk_pass(struct desk *d, uint64_t ms, unsigned alive);
/** The same until @event was said, which must be before @most_ms. */
void desk_until(struct desk *d, const char *event, uint64_t most_ms, unsigned alive);
/** What was said since the last time is exactly this. */
void desk_expect(struct desk *d, const char *said);

/**
 * us learns from the store what was taken from it, and looks again 20 ms later, when a canary
 * is there that was sent @after_ms later and is @settled or not. Does it open a session?
 */
bool desk_opens(struct desk *d, struct mrd_region_state *us, struct mrd_local *local,
                unsigned after_ms, bool settled);

/** The class orders is not there. */
#define ONLY_EVENTS(d)                                                                         \
    ((d)->config.class_count = 1, (d)->config.classes[0] = (d)->config.classes[1])

/** us failed before: eu was given epoch 2 from cut 0/200 on, us has not returned. */
void desk_after_failover(struct desk *d, const char *class_name, bool opened);
/** The receipt of that failover says: the home of @epoch repaired its tail before @lsn. */
void desk_put_taken(struct desk *d, const char *class_name, mrd_epoch epoch, mrd_lsn lsn);
/** us, replaced by eu, has returned with the knowledge of that. */
void desk_us_is_back(struct desk *d);
