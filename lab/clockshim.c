/*
 * A wrong clock for one region: preloaded into its servers by init, steered by `lab clock`.
 *
 * Linux has no namespace for the wall clock, so this library stands before libc's
 * clock_gettime, gettimeofday and time and adds an offset that it reads from a mapped file.
 * Only CLOCK_REALTIME moves: monotonic and boot time, which leases stand on, stay true, as
 * they do when an administrator or NTP steps a real clock. The kernel's own timestamps and
 * waits until a wall-clock time do not move.
 *
 * Without the file, or before it is mapped, the offset is zero.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define NS_PER_S 1000000000ll

static const _Atomic int64_t *offset_ns; /* NULL: none */
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("MERIDIAN_LAB_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = MAP_FAILED;

    *(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    if (fd >= 0) {
        if (lseek(fd, 0, SEEK_END) >= (off_t)sizeof(int64_t)) {
            map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
        }
        close(fd);
    }
    if (map != MAP_FAILED) {
        offset_ns = map;
    }
}

static int true_time(clockid_t clock, struct timespec *ret)
{
    /* Other constructors may ask before ours has run. */
    return real_gettime != NULL ? real_gettime(clock, ret)
                                : (int)syscall(SYS_clock_gettime, clock, ret);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int code = true_time(clock, ret);
    int64_t offset;

    if (code != 0 || offset_ns == NULL ||
        (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) {
        return code;
    }
    offset = atomic_load_explicit(offset_ns, memory_order_relaxed);
    ret->tv_sec += offset / NS_PER_S;
    ret->tv_nsec += offset % NS_PER_S;
    if (ret->tv_nsec < 0) {
        ret->tv_nsec += NS_PER_S;
        ret->tv_sec--;
    } else if (ret->tv_nsec >= NS_PER_S) {
        ret->tv_nsec -= NS_PER_S;
        ret->tv_sec++;
    }
    return 0;
}

EXPORT int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec t;

    (void)zone; /* obsolete, and zero on Linux */
    if (clock_gettime(CLOCK_REALTIME, &t) != 0) {
        return -1;
    }
    ret->tv_sec = t.tv_sec;
    ret->tv_usec = t.tv_nsec / 1000;
    return 0;
}

EXPORT time_t time(time_t *ret)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (ret != NULL) {
        *ret = t.tv_sec;
    }
    return t.tv_sec;
}
