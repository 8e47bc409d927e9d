/*
 * When a question to another region counts as missed, and when misses make a verdict.
 *
 * A region is asked again and again, at an interval. It is missed once for each interval in
 * which it should have answered and did not: a question that hangs until its own timeout must
 * not hide that several intervals went by in silence, or the configured "three misses at half a
 * second" takes twice as long as it says. An answer still counts when it comes late.
 *
 * Pure: the host says what happened and when (any one monotonic clock, nanoseconds).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mrd_patience {
    bool up; /* the verdict: the threshold of misses in a row clears it, one answer sets it */
    bool pending; /* a question is on its way */
    unsigned misses;
    uint64_t asked_ns, missed_ns;
};

struct mrd_patience_limits {
    uint64_t interval_ns; /* between questions; also the time an answer may take ... */
    uint64_t trip_ns;     /* ... or two round trips if that is longer; 0: not known yet */
    uint64_t timeout_ns;  /* of a question; allowed while the round trip is not known */
    unsigned threshold;
};

void mrd_patience_ask(struct mrd_patience *p, uint64_t now_ns);

/* Each of these returns true when it changed p->up. */

/** The question was answered, or the answer was bad or will never come. */
bool mrd_patience_answer(struct mrd_patience *p, bool good, uint64_t now_ns,
                         const struct mrd_patience_limits *limits);
/** Still waiting; call often. Counts a miss for each interval that ends in silence. */
bool mrd_patience_wait(struct mrd_patience *p, uint64_t now_ns,
                       const struct mrd_patience_limits *limits);
