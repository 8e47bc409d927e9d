/*
 * The story of the small world: lines with the time since it began, and what is expected of
 * them.
 */
#include "world_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void world_broken(struct world *w, const char *fmt, ...)
{
    va_list ap;

    w->violations++;
    if (w->keep_going) {
        return;
    }
    fprintf(stderr, "law broken (seed %llu, %llu ms): ", (unsigned long long)w->seed,
            (unsigned long long)w->now_ms);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n%s", w->story);
    abort();
}

void world_note(struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (!w->telling || w->story_len + 256 > sizeof(w->story)) {
        return;
    }
    w->story_len +=
        (size_t)snprintf(w->story + w->story_len, sizeof(w->story) - w->story_len, "[%llu] ",
                         (unsigned long long)(w->now_ms - w->events_told));
    va_start(ap, fmt);
    w->story_len +=
        (size_t)vsnprintf(w->story + w->story_len, sizeof(w->story) - w->story_len, fmt, ap);
    va_end(ap);
    w->story_len +=
        (size_t)snprintf(w->story + w->story_len, sizeof(w->story) - w->story_len, "\n");
}

void world_tell(struct world *w)
{
    w->telling = true;
    w->events_told = w->now_ms; /* the story's zero */
    w->story_len = 0;
    w->story[0] = '\0';
}

void world_expect(struct world *w, const char *expected)
{
    if (strcmp(w->story, expected) != 0) {
        fprintf(stderr, "--- the story told:\n%s--- expected:\n%s", w->story, expected);
        abort();
    }
}

bool world_told(const struct world *w, const char *text)
{
    return strstr(w->story, text) != NULL;
}

void world_note_event(struct world *w, const struct mrd_entry *e)
{
    char text[512];
    const char *words;

    if (strncmp(e->key, "event/", 6) != 0 || e->value == NULL ||
        strcmp(e->key, w->last_event) <= 0) {
        return;
    }
    snprintf(w->last_event, sizeof(w->last_event), "%s", e->key);
    snprintf(text, sizeof(text), "%.*s", (int)e->len, (const char *)e->value);
    words = strstr(text, "event=");
    world_note(w, "%s", words != NULL ? words + 6 : text);
}
