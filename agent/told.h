/*
 * Lines of the local PostgreSQL on their way into the store as events (told.c).
 */
#pragma once

#include <stdbool.h>

#include <mrd/control.h>

#define TOLD_AT_ONCE 32 /* what PostgreSQL keeps */
#define TOLD_MAX (2 * TOLD_AT_ONCE)
#define TOLD_LINE 448 /* an event's text with its time has to fit the store's 512 */

struct agent;

struct told {
    char lines[TOLD_MAX][TOLD_LINE]; /* oldest first */
    unsigned count;
    bool busy;           /* the first is on its way */
    mrd_boot_ns next_ns; /* after one that failed */
};

/** Keep a line "event=NAME key=value ..."; copied. What is none is dropped, with a word. */
void told_take(struct agent *a, const char *line);

/** May all that PostgreSQL keeps be taken? What is taken has no other place. */
bool told_has_room(const struct agent *a);

/** Call from a regular tick: sends the oldest line, one at a time. */
void told_tick(struct agent *a, mrd_boot_ns now_ns);
