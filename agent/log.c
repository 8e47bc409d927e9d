/*
 * Log lines and the two clocks that the agent reads (log.h). CLOCK_BOOTTIME goes on while the
 * machine is suspended, which is what a lease needs; no safety hangs on the wall clock.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define LOG_LINE_MAX 1024
#define LOG_REPEAT_NS (60 * UINT64_C(1000000000))

uint64_t clock_boot_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t clock_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void log_event(const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    uint64_t wall_ms = clock_wall_ms();
    time_t sec = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03uZ ", (unsigned)(wall_ms % 1000));

    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
    va_end(ap);
    /* What a peer or a library said may hold line breaks: an event stays one line. */
    for (char *p = line; *p != '\0'; p++) {
        if (*p == '\n' || *p == '\r') {
            *p = ' ';
        }
    }
    fprintf(stderr, "%s\n", line);
}

bool log_repeat_pass(struct log_repeat *r, uint64_t now_ns, unsigned *ret_held)
{
    if (r->last_ns != 0 && now_ns - r->last_ns < LOG_REPEAT_NS) {
        r->held++;
        return false;
    }
    *ret_held = r->held;
    r->held = 0;
    r->last_ns = now_ns;
    return true;
}
