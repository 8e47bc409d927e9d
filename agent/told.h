/*
 * Lines of the local PostgreSQL on their way into the store as events (told.c).
 */
#pragma once

#include <stdbool.h>

#include <mrd/control.h>

#define TOLD_MAX 32
#define TOLD_LINE 448 /* an event's text with its time has to fit the store's 512 */

struct agent;

struct told {
    char lines[TOLD_MAX][TOLD_LINE]; /* oldest first */
    unsigned count;
    bool busy; /* the first is on its way */
    mrd_boot_ns next_ns;
};

/** Keep a line "event=NAME key=value ..."; copied. What is none is dropped, with a word. */
void told_take(struct agent *a, const char *line);

/** Call from a regular tick: sends the oldest line, one at a time. */
void told_tick(struct agent *a, mrd_boot_ns now_ns);
