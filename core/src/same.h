/*
 * Are two names the same? Decisions ask this of regions, classes and partitions many times a
 * round, nearly always of names that differ in their first bytes: a call costs more than the
 * comparison.
 */
#pragma once

#include <stdbool.h>

static inline bool mrdi_same(const char *a, const char *b)
{
    while (*a == *b) {
        if (*a == '\0') {
            return true;
        }
        a++;
        b++;
    }
    return false;
}
