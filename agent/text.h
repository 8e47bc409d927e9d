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

/** Something may have been cut off. */
bool text_overflown(const struct text *t);
