/*
 * Text into a buffer of fixed size (text.h).
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CUT " [...]"

void text_put(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(t->out + t->len, t->cap - t->len, fmt, ap);
    va_end(ap);
    t->len = n < 0 || (size_t)n >= t->cap - t->len ? t->cap - 1 : t->len + (size_t)n;
}

void text_keep(char *out, size_t cap, const char *s)
{
    size_t len = strlen(s);

    if (len < cap) {
        memcpy(out, s, len + 1);
        return;
    }
    len = cap - sizeof(CUT);
    while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80) {
        len--;
    }
    snprintf(out, cap, "%.*s" CUT, (int)len, s);
}

bool text_overflown(const struct text *t)
{
    return t->len + 1 >= t->cap;
}
