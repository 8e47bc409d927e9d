/*
 * Bugs on purpose, for the test that the simulator's properties catch them (tests/sim).
 *
 * Only a test's own build of core defines MRD_MUTATION; in every other the conditions below are
 * constants, and the product's objects hold nothing of it. Each mutant is one mistake that the
 * protocol could have been written with.
 */
#pragma once

#include <stdbool.h>

/* X(name, what is wrong) */
#define MRD_MUTANT_MAP(X)                                                                      \
    X(SKIP_MARGIN, "a lease is taken as over without the margin for clocks")                   \
    X(COUNT_FROM_REPLY, "a lease counts from when its renewal was learnt of")                  \
    X(WALL_CLOCK, "silence is counted by the wall clocks of two machines")                     \
    X(FORGET_CUT, "everything of a closed epoch counts")                                       \
    X(LOWEST_CUT, "the cut is the least that a survivor has")                                  \
    X(ONE_REFUSAL, "one refusal is enough to replace the home of a quorum class")              \
    X(NO_LEASE_FENCE, "a lease is taken as over while its holder may not know it")             \
    X(OPEN_HELD, "a new home opens before the old lease has ended")                            \
    X(UNREFUSED, "a fence is confirmed before the stream is closed")                           \
    X(RETURN_TOO_SOON, "a replaced region's stream is taken before it knows of it")            \
    X(NO_TAIL, "a new home opens without what the old one wrote last")                         \
    X(OWN_TAIL, "a region becomes home again with rows that nobody else has")                  \
    X(UNCOMPARED, "what a replica has past a cut that it did not hear of stays there")         \
    X(HOME_UNCOMPARED, "who has not looked what it holds past a cut may become home")          \
    X(HELD_UP, "a region returns while commits of its old epochs are still under way")         \
    X(OUT_OF_ORDER, "a new epoch's changes are applied before the old one's last")             \
    X(UNSETTLED, "commits are taken from a survivor before it is known whether they count")    \
    X(ONE_OBSERVER, "one observer is enough for a verdict")                                    \
    X(ONE_PERSON, "one operator is enough where two must approve")                             \
    X(ANY_PLACE, "any replica may become home")                                                \
    X(UNDRAINED, "a move does not wait for what is in flight")                                 \
    X(SAME_EPOCH, "a grant goes on with the epoch it closes")                                  \
    X(TOKEN_CLOCK, "a token's time is compared across reboots")                                \
    X(TOKEN_LOST, "a token past the cut is served in silence")                                 \
    X(TOKEN_AHEAD, "a home answers for an epoch that it has not heard of")                     \
    X(GAPS, "whoever is ahead hands on, whatever classes it lacks")                            \
    X(HASTY, "one missed probe is enough for a verdict")                                       \
    X(LEAD_TOSSED, "the lead is handed on as soon as somebody else would be better")           \
    X(DRAIN_ONCE, "a drain does not try again when a move was aborted")                        \
    X(STRANGERS_CUT, "a vacant partition's cut is guessed from regions without a copy")        \
    X(NO_RETRY, "a proposal whose answer was lost blocks its role for ever")

enum mrd_mutant {
    MRD_MUTANT_NONE,
#define MRD_MUTANT_ENUM(name, text) MRD_MUTANT_##name,
    MRD_MUTANT_MAP(MRD_MUTANT_ENUM)
#undef MRD_MUTANT_ENUM
        MRD_MUTANTS,
};

#ifdef MRD_MUTATION
extern enum mrd_mutant mrd_mutant; /* the test's */
#define MRDI_MUTANT(name) (mrd_mutant == MRD_MUTANT_##name)
#else
#define MRDI_MUTANT(name) false
#endif
