/*
 * Worlds under virtual time: N regions with the shipped decisions, the shipped store and the
 * shipped Raft, one seed, no clock, no thread, no file.
 *
 * A world is made from its seed: how many regions there are, how they are configured, which
 * faults exist and how hard, when each of them strikes, what clients and operators do. It runs
 * in two halves. In the first anything may fail and nothing may be wrong. Then everything is
 * healed, and the world must converge within a bound, or the report names what is stuck.
 *
 * The same seed gives the same world, event for event, with every compiler; the report's
 * `trace` is digest of all that happened, to show it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_FAULTS_MAX 96

struct sim_options {
    uint64_t seed;
    unsigned minutes;          /* 0: ten; seven tenths of them with faults */
    unsigned regions;          /* 0: drawn */
    const char *story;         /* borrowed: shape and faults, instead of drawn ones; or NULL */
    bool tell;                 /* keep the story */
    bool verbose;              /* and with the words for an audit event the event itself */
    bool skip[SIM_FAULTS_MAX]; /* faults of the schedule that do not strike */
};

struct sim_report {
    const char *broken; /* name of the property that does not hold, or NULL */
    char how[512];      /* what was seen */
    uint64_t at_ms;
    uint64_t trace;      /* digest of everything that happened */
    unsigned faults;     /* of the schedule, */
    unsigned took, idle; /* that changed something; that found nothing to change */
    unsigned acked, reconciled, failovers, reads;
    unsigned moves, drained, moved; /* begun; of these by a drain; ended with another home */
    char *story;                    /* malloc'd when told, else NULL */
};

/** Run one world. Returns whether every property held. */
bool sim_run(const struct sim_options *options, struct sim_report *ret);

/** How far sim_minimize is. */
typedef void sim_progress(unsigned worlds, unsigned left, unsigned faults);

/**
 * Which faults of a broken world matter? Leaves them out one after another as long as the same
 * property breaks; @options->skip says the result. @told hears of every world that was tried.
 * Returns how many are left.
 */
unsigned sim_minimize(struct sim_options *options, sim_progress *told, struct sim_report *ret);

/** The world of @options, without the faults that are skipped, as a text (story.c). */
void sim_story_write(const struct sim_options *options, FILE *out);

struct sim_story_error {
    unsigned line;
    char what[400]; /* what is wrong there, and what would be right */
};

/** Can the story be told? If not, @ret says why. */
bool sim_story_check(const char *text, struct sim_story_error *ret);

/** What the property says should hold. */
const char *sim_property_text(const char *name);

/** `meridian sim`. */
int cli_sim(int argc, char **argv);
