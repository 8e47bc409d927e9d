/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The snapshot as the workers of knotd see it.
 *
 * The agent's file is read with pread into memory and never mapped: whatever happens to it
 * (removed, replaced, cut short, written while it is read), what was read holds a whole snapshot
 * with a right checksum, or the last good one stays. Whichever worker first finds it due reads
 * the file, at most ten times a second, or once a second while there is nothing to use, and
 * publishes what it found to the others through core's own snapshot slots, in memory. Each
 * worker answers from its private copy. So nobody waits for anybody, and a worker that was
 * idle for long knows as much as the busiest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <mrd/snapshot.h>

enum source_state {
	SOURCE_NEW,	/* nothing was tried yet */
	SOURCE_GOOD,	/* there is a copy to be used */
	SOURCE_MISSING,	/* there is no such file */
	SOURCE_WRONG,	/* the file is no snapshot of this version, or holds nothing sound */
	SOURCE_OLD,	/* the snapshot is older than it may be */
};

struct source;

/*!
 * \brief Makes a source; nothing is read yet.
 *
 * \param path       Snapshot file; copied.
 * \param max_age_s  A snapshot that was published longer ago is not used.
 * \param workers    How many threads will ask.
 *
 * \return The source, NULL if out of memory. Free it with source_free().
 */
struct source *source_new(const char *path, uint32_t max_age_s, unsigned workers);

void source_free(struct source *src);

/*!
 * \brief The snapshot to answer from. Never blocks.
 *
 * \param src     Source.
 * \param worker  Number of the calling thread.
 *
 * \return A copy that nobody else writes, good until the worker's next call; NULL if there is
 *         none to be used.
 */
const struct mrd_snapshot *source_get(struct source *src, unsigned worker);

/*! \brief Why there is none, or SOURCE_GOOD. */
enum source_state source_state(const struct source *src);

/*! \brief A sentence for the log. */
const char *source_state_text(enum source_state state);

/*!
 * \brief May two clients of one place get different answers?
 *
 * True when a region takes only a share of its clients, or has several addresses.
 */
bool source_is_tailored(const struct source *src, unsigned worker, bool ipv6);
