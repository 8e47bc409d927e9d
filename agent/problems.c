/*
 * One sentence more (problems.h).
 */
#include "problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void problem(json_t *problems, const char *fmt, ...)
{
    char *text;
    va_list ap;

    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return;
    }
    json_t *sentence = json_string(text);
    if (sentence == NULL) { /* a server's message that is not UTF-8 */
        for (char *p = text; *p != '\0'; p++) {
            *p = (*p & 0x80) != 0 ? '?' : *p;
        }
        sentence = json_string(text);
    }
    json_array_append_new(problems, sentence);
    free(text);
}
