/*
 * What an operator is told in `meridian status`: sentences, each as long as it must be. What a
 * sentence quotes was kept in a buffer of fixed size by whoever heard it, and says so itself
 * when it was longer (text_keep).
 */
#pragma once

#include <jansson.h>

/** One more sentence for @problems, an array; without memory it is left out. */
void problem(json_t *problems, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
