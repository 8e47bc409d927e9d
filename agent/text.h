/*
 * Text written piece by piece into a buffer of fixed size: what does not fit is cut off, and
 * text_overflown says so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *out; /* borrowed; always ends with a zero byte once something was put */
    size_t cap, len;
};

void text_put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for a reason that somebody else gave: PostgreSQL's messages seldom have a line as long.
 */
#define TEXT_REASON 1024

/**
 * Copy @s, which may be somebody else's, to @out of @cap bytes, more than 8. When it is too
 * long it ends with " [...]", after a whole character.
 */
void text_keep(char *out, size_t cap, const char *s);

/** Something may have been cut off. */
bool text_overflown(const struct text *t);
