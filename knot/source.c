/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading the snapshot file (source.h).
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FRESH_MS	100	/* as often as the agent publishes */
#define RETRY_MS	1000

/* A worker's own. */
struct view {
	struct mrd_snapshot copy;
	bool tailored[2];	/* A, AAAA */
};

struct source {
	char *path;
	uint32_t max_age_s;
	unsigned worker_count;
	struct view **views;

	/* Shared, atomic. */
	uint64_t next_ms;	/* on the coarse monotonic clock: when to look again */
	int state;
	bool busy;		/* somebody reads the file */
	void *slots;		/* what was found last, as core publishes it */

	/* Of whoever set busy. */
	void *file;		/* mrd_snapshot_file_size() bytes */
	struct mrd_snapshot found;
	uint64_t found_generation;	/* as the file counts */
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts = { 0 };
	clock_gettime(id, &ts);

	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void source_free(struct source *src)
{
	if (src == NULL) {
		return;
	}
	for (unsigned i = 0; src->views != NULL && i < src->worker_count; i++) {
		free(src->views[i]);
	}
	free(src->views);
	free(src->slots);
	free(src->file);
	free(src->path);
	free(src);
}

static bool alloc_all(struct source *src, const char *path)
{
	size_t size = mrd_snapshot_file_size();

	src->path = strdup(path);
	src->file = aligned_alloc(64, size);
	src->slots = aligned_alloc(64, size);
	src->views = calloc(src->worker_count, sizeof(*src->views));
	if (src->path == NULL || src->file == NULL || src->slots == NULL || src->views == NULL) {
		return false;
	}
	for (unsigned i = 0; i < src->worker_count; i++) {
		src->views[i] = calloc(1, sizeof(*src->views[i]));
		if (src->views[i] == NULL) {
			return false;
		}
	}
	memset(src->slots, 0, size);
	mrd_snapshot_format(src->slots);

	return true;
}

struct source *source_new(const char *path, uint32_t max_age_s, unsigned workers)
{
	struct source *src = calloc(1, sizeof(*src));
	if (src == NULL) {
		return NULL;
	}

	src->max_age_s = max_age_s;
	src->worker_count = workers;
	src->state = SOURCE_NEW;
	if (!alloc_all(src, path)) {
		source_free(src);
		return NULL;
	}

	return src;
}

static bool read_all(int fd, void *buf, size_t size)
{
	for (size_t done = 0; done < size; ) {
		ssize_t got = pread(fd, (uint8_t *)buf + done, size - done, (off_t)done);
		if (got > 0) {
			done += (size_t)got;
		} else if (got == 0 || errno != EINTR) {
			return false;
		}
	}

	return true;
}

/* O_NONBLOCK and the type check: a FIFO or device put there must not hold up a worker. */
static enum source_state read_file(const char *path, void *buf)
{
	size_t size = mrd_snapshot_file_size();
	enum source_state state = SOURCE_WRONG;
	struct stat st;

	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		return SOURCE_MISSING;
	}

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= (off_t)size &&
	    read_all(fd, buf, size) && mrd_snapshot_check(buf, size) == 0) {
		state = SOURCE_GOOD;
	}
	close(fd);

	return state;
}

/*
 * Take what the file holds and show it to the others. Generations of two files say nothing to
 * each other, and this may be another file, so what is there counts, not what is newer.
 */
static enum source_state take(struct source *src)
{
	uint64_t had_generation = src->found_generation;
	uint64_t had_ns = src->found.published_ns;

	src->found.generation = 0;
	int ret = mrd_snapshot_read(src->file, &src->found);
	if (ret != 1) {
		return SOURCE_WRONG;
	}

	src->found_generation = src->found.generation;
	if (src->found_generation != had_generation || src->found.published_ns != had_ns) {
		mrd_snapshot_publish(src->slots, &src->found);
	}

	return SOURCE_GOOD;
}

/* From the future means from before a reboot: the clock began anew. */
static bool is_old(const struct mrd_snapshot *s, uint32_t max_age_s)
{
	uint64_t now_ns = clock_ns(CLOCK_BOOTTIME);

	return s->published_ns > now_ns ||
	       now_ns - s->published_ns > (uint64_t)max_age_s * 1000000000u;
}

/* The last good snapshot outlives its file until it is too old. */
static enum source_state refresh(struct source *src)
{
	enum source_state state = read_file(src->path, src->file);
	if (state == SOURCE_GOOD) {
		state = take(src);
	}

	if (src->found_generation != 0) {
		if (!is_old(&src->found, src->max_age_s)) {
			state = SOURCE_GOOD;
		} else if (state == SOURCE_GOOD) {
			state = SOURCE_OLD;
		}
	}

	return state;
}

static void refresh_if_due(struct source *src)
{
	uint64_t now_ms = clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000u;
	if (now_ms < __atomic_load_n(&src->next_ms, __ATOMIC_RELAXED) ||
	    __atomic_exchange_n(&src->busy, true, __ATOMIC_ACQUIRE)) {
		return;
	}

	enum source_state state = refresh(src);
	__atomic_store_n(&src->state, state, __ATOMIC_RELAXED);
	__atomic_store_n(&src->next_ms, now_ms + (state == SOURCE_GOOD ? FRESH_MS : RETRY_MS),
	                 __ATOMIC_RELAXED);
	__atomic_store_n(&src->busy, false, __ATOMIC_RELEASE);
}

static void note_tailored(struct view *view)
{
	view->tailored[0] = view->tailored[1] = false;
	for (unsigned i = 0; i < view->copy.region_count; i++) {
		const struct mrd_snap_region *r = &view->copy.regions[i];
		bool shared = r->dial_percent > 0 && r->dial_percent < 100;
		view->tailored[0] |= shared || r->has_v4 > 1;
		view->tailored[1] |= shared || r->has_v6 > 1;
	}
}

const struct mrd_snapshot *source_get(struct source *src, unsigned worker)
{
	struct view *view = src->views[worker];

	refresh_if_due(src);
	if (source_state(src) != SOURCE_GOOD) {
		return NULL;
	}
	if (mrd_snapshot_read(src->slots, &view->copy) == 1) {
		note_tailored(view);
	}

	return view->copy.generation != 0 ? &view->copy : NULL;
}

enum source_state source_state(const struct source *src)
{
	return (enum source_state)__atomic_load_n(&src->state, __ATOMIC_RELAXED);
}

const char *source_state_text(enum source_state state)
{
	switch (state) {
	case SOURCE_NEW:     return "was not tried yet";
	case SOURCE_GOOD:    return "is in use";
	case SOURCE_MISSING: return "could not be opened";
	case SOURCE_WRONG:   return "holds no sound snapshot of this version";
	case SOURCE_OLD:     return "was not published for too long";
	}

	return "unknown";
}

bool source_is_tailored(const struct source *src, unsigned worker, bool ipv6)
{
	return src->views[worker]->tailored[ipv6];
}
