/*
 * What the parts of the small world share; tests include world.h alone.
 */
#pragma once

#include "world.h"

#define MS 1000000ull

/* world.c */

/** The clock of one region: its own rate, and it may have stood still. */
mrd_boot_ns world_clock_ns(const struct world *w, unsigned i);
/** What it takes for the time of day. */
uint64_t world_wall_ms(const struct world *w, unsigned i);
bool world_passes(const struct world *w, unsigned from, unsigned to);
const struct mrd_conf_class *world_class(const struct world *w, int partition);

/* world_story.c */

/** A law is broken: the test ends here, unless it is one of the checkers themselves. */
void world_broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Audit events are told when the first replica applies them: that is when they are facts. */
void world_note_event(struct world *w, const struct mrd_entry *e);

/* world_postgres.c */

mrd_lsn world_wal_end(const struct world_region *r);
/** @partition -1: a heartbeat */
struct world_commit *world_append(struct world *w, unsigned i, int partition, mrd_epoch epoch);
/** The position up to which the origin's WAL was taken at region @i. */
mrd_lsn world_applied(const struct world *w, unsigned i, unsigned origin);
/** One tick of the region's PostgreSQL, and of the clients it has. */
void world_postgres(struct world *w, unsigned i);

/* world_agent.c */

void world_agent(struct world *w, unsigned i);

/* world_laws.c */

void world_check_writers(struct world *w);
void world_check_epochs(struct world *w);
void world_check_cuts(struct world *w);
