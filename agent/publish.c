/*
 * Opening and writing the snapshot file (publish.h).
 */
#include "publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static int problem(struct mrd_err *err, const char *doing, const char *path)
{
    return mrd_err_set(err, MRD_EIO, "could not %s \"%s\": %s", doing, path, strerror(errno));
}

/* Map @path if it is a file of this layout; NULL when it is not there or is another. */
static void *map_existing(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    void *map = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size == (off_t)mrd_snapshot_file_size()) {
        map = mmap(NULL, mrd_snapshot_file_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    close(fd);
    if (map == MAP_FAILED) {
        return NULL;
    }
    if (mrd_snapshot_check(map, mrd_snapshot_file_size()) != 0) {
        munmap(map, mrd_snapshot_file_size());
        return NULL;
    }
    return map;
}

/* Guests run as other users, so the file is readable by all; only we write. */
static int create(const char *path, void **ret, struct mrd_err *err)
{
    char tmp[1100];
    snprintf(tmp, sizeof(tmp), "%s.new", path);
    unlink(tmp);
    int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return problem(err, "create", tmp);
    }
    size_t size = mrd_snapshot_file_size();
    /* Allocate now: a full tmpfs must be an error here, not SIGBUS at a write. */
    int rv = posix_fallocate(fd, 0, (off_t)size);
    if (rv != 0) {
        errno = rv;
        problem(err, "allocate", tmp);
        close(fd);
        unlink(tmp);
        return MRD_EIO;
    }
    fchmod(fd, 0644);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        problem(err, "map", tmp);
        unlink(tmp);
        return MRD_EIO;
    }
    mrd_snapshot_format(map);
    if (rename(tmp, path) != 0) {
        problem(err, "rename into place", path);
        munmap(map, size);
        unlink(tmp);
        return MRD_EIO;
    }
    *ret = map;
    return 0;
}

int publish_open(struct publish *p, const char *path, struct mrd_err *err)
{
    void *map = map_existing(path);
    if (map == NULL) {
        if (access(path, F_OK) == 0) {
            /* Of another version: guests keep the old file until they are restarted. */
            log_event("event=snapshot.replaced path=%s reason=\"another layout\"", path);
        }
        int rv = create(path, &map, err);
        if (rv != 0) {
            return rv;
        }
    }
    p->map = map;
    return 0;
}

void publish_close(struct publish *p)
{
    if (p->map != NULL) {
        munmap(p->map, mrd_snapshot_file_size());
        p->map = NULL;
    }
}

bool publish_last(const struct publish *p, struct mrd_snapshot *ret)
{
    memset(ret, 0, sizeof(*ret));
    return mrd_snapshot_read(p->map, ret) == 1;
}

void publish_write(struct publish *p, struct mrd_snapshot *s)
{
    mrd_snapshot_publish(p->map, s);
}
