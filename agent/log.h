/*
 * The agent's log: one line per event on stderr, with the time.
 *
 * A line is "TIME event=NAME key=value ...": the names are an interface that tests and
 * operators' tools rely on. Steady states are silent; a caller that may repeat itself keeps a
 * struct log_repeat, which lets the first line through and then one a minute with a count.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/** Write one line; @fmt begins with "event=NAME". */
void log_event(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct log_repeat {
    uint64_t last_ns; /* when a line was let through */
    unsigned held;    /* lines swallowed since */
};

/** May the caller write its line now? *@ret_held: how many were swallowed before it. */
bool log_repeat_pass(struct log_repeat *r, uint64_t now_ns, unsigned *ret_held);

/** CLOCK_BOOTTIME in nanoseconds; CLOCK_REALTIME in milliseconds. */
uint64_t clock_boot_ns(void);
uint64_t clock_wall_ms(void);
