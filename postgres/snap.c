/*-------------------------------------------------------------------------
 *
 * snap.c
 *	  This process's view of the snapshot that the region's agent publishes.
 *
 * The file is mapped on first use and read through core into a private copy,
 * which costs two loads while nothing changed.  The agent never truncates or
 * replaces a file that may be mapped, but a restarted host or a careless hand
 * may: one fstat() before each read notices a file that was unlinked (mapped
 * again, by name) or that shrank (let go, before touching a page that is no
 * longer there).
 *
 * No snapshot is an answer too: the guard then refuses.  A copy that was good
 * once stays valid when a later read fails, because the lease deadline inside
 * it ends by itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/fd.h"

#include "meridian.h"

#define SNAP_STALE_NS 1000000000	/* the agent publishes ten times as often */

static int	snap_fd = -1;
static void *snap_map;
static size_t snap_size;
static bool snap_good;			/* copy holds something */
static struct mrd_snapshot copy;

static void
snap_close(void)
{
	if (snap_map != NULL)
		munmap(snap_map, snap_size);
	if (snap_fd >= 0)
	{
		close(snap_fd);
		ReleaseExternalFD();
	}
	snap_map = NULL;
	snap_fd = -1;
	snap_good = false;
	memset(&copy, 0, sizeof(copy));
}

static void
snap_open(void)
{
	struct stat st;

	if (!AcquireExternalFD())
		return;
	snap_fd = open(meridian_snapshot_file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (snap_fd < 0)
	{
		ReleaseExternalFD();
		return;
	}
	snap_size = mrd_snapshot_file_size();
	if (fstat(snap_fd, &st) == 0 && S_ISREG(st.st_mode) &&
		st.st_size == (off_t) snap_size)
		snap_map = mmap(NULL, snap_size, PROT_READ, MAP_SHARED, snap_fd, 0);
	if (snap_map == MAP_FAILED)
		snap_map = NULL;
	if (snap_map == NULL || mrd_snapshot_check(snap_map, snap_size) != 0)
		snap_close();
}

/*
 * Is the file that we mapped still the one, and all of it?  One that was moved
 * away rather than unlinked is noticed once it is no longer written.
 */
static bool
snap_current(void)
{
	struct stat st;
	struct stat named;

	if (fstat(snap_fd, &st) != 0 || st.st_nlink == 0 ||
		st.st_size != (off_t) snap_size)
		return false;
	if (snap_good && meridian_boot_ns() - copy.published_ns < SNAP_STALE_NS)
		return true;
	return stat(meridian_snapshot_file, &named) == 0 &&
		named.st_dev == st.st_dev && named.st_ino == st.st_ino;
}

const struct mrd_snapshot *
meridian_snapshot(void)
{
	if (snap_fd >= 0 && !snap_current())
		snap_close();
	if (snap_fd < 0)
		snap_open();
	if (snap_fd < 0)
		return NULL;
	if (mrd_snapshot_read(snap_map, &copy) >= 0)
		snap_good = true;
	return snap_good ? &copy : NULL;
}

mrd_boot_ns
meridian_boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (mrd_boot_ns) ts.tv_sec * 1000000000 + (mrd_boot_ns) ts.tv_nsec;
}
