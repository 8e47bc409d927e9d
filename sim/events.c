/*
 * The store's audit events (docs/internals/events.md) in words, for whoever reads a story.
 *
 * A row is an event, sometimes one of its values, and a sentence in which {key} stands for the
 * event's value and {home} for class/partition. First match wins. A part in [..] is said only
 * when the event has every key in it.
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *event, *only; /* NULL, or what must be among its keys */
    const char *text;
} sentences[] = {
    {"authority.granted", "reason=bootstrap",
     "{region} is home of {home} from the beginning, under epoch {epoch}"},
    {"authority.granted", "held=yes",
     "{region} is to be home of {home} under epoch {epoch}, instead of {prev}, as soon as the "
     "lease "
     "of that has certainly ended: what {prev} wrote up to {cut} counts[; {unfenced} was not "
     "asked, and compares what it has past that when it is back]"},
    {"authority.granted", "reason=failover",
     "{region} is home of {home} under epoch {epoch}, instead of {prev}: what {prev} wrote up "
     "to "
     "{cut} counts[; {unfenced} was not asked, and compares what it has past that when it is "
     "back]"},
    {"authority.granted", "reason=move",
     "{region} is home of {home} under epoch {epoch}: moved there from {prev}, with everything "
     "up "
     "to {cut}"},
    {"authority.released", NULL,
     "the lease of {prev} has certainly ended: {region} may open {home} under epoch {epoch}"},
    {"authority.vacated", NULL,
     "{home} has no home now; epoch {epoch} of {prev} stays open: {why}"},
    {"authority.resumed", NULL,
     "{region} goes on as home of {home} under epoch {epoch}, which had stayed open"},
    {"session.expired", NULL,
     "{region}: its lease and the margin passed without a renewal: session {session} is over"},
    {"failover.started", NULL,
     "{region} is being replaced ({reason}; seen by {observers}): the others stop taking what "
     "it "
     "writes"},
    {"failover.pending", NULL,
     "{region} should be replaced ({reason}; seen by {observers}): {needed} operators must say "
     "yes"},
    {"failover.approved", NULL,
     "replacing {region}: {who} said yes, {given} of the {needed} that are needed"},
    {"failover.rejected", NULL,
     "replacing {region}: {who} said no; nobody is asked again while it is silent"},
    {"failover.withdrawn", NULL, "{region} lives: whether to replace it is not asked any more"},
    {"stream.refused", NULL,
     "{by} takes nothing more from {origin}; it has what {origin} wrote up to {applied}"},
    {"failover.cancelled", NULL,
     "{region} renewed its lease before anybody had refused it: it is not replaced"},
    {"failover.done", NULL,
     "{region} is replaced: what it was home of has another home, or none for now"},
    {"region.drained", NULL, "{region} is drained: its traffic and homes go elsewhere"},
    {"region.undrained", NULL, "{region} may take traffic and homes again"},
    {"region.dialled", NULL, "{region} gets {percent}% of its share of the traffic"},
    {"move.requested", NULL,
     "{home} begins to move from {from} to {to} ({who}): {from} lets its writers finish"},
    {"move.frozen", NULL,
     "{home}: nothing is being written at {from} any more, the last position is {final}"},
    {"move.aborted", NULL, "{home} does not move from {from} to {to}: {why}"},
    {"receipt.final", "tail_transactions=0",
     "{home}: {from} had written nothing past what counts when {to} replaced it"},
    {"receipt.final", NULL,
     "{home}: what {from} had written past what counts is filed; transactions in that "
     "lost tail: {tail_transactions}"},
    {"replica.compared", NULL,
     "{region} has compared {home} up to the end of epoch {epoch}: it holds just what counts, "
     "and "
     "may be home again"},
};

/* Values that are names of an interface, not words. */
static const struct {
    const char *value, *words;
} values[] = {{"lease_expired", "its lease expired"},
              {"unreachable", "nobody reaches it"},
              {"successor", "it was to follow one that was replaced"}};

/* The value of @key (@n bytes) in @event; its length, or -1. */
static int value_of(const char *event, const char *key, size_t n, const char **ret)
{
    const char *p = strchr(event, ' ');

    while (p != NULL) {
        const char *value;
        size_t len;
        p++;
        value = p + strcspn(p, "= ");
        if (*value != '=') {
            p = *value == ' ' ? value : NULL;
            continue;
        }
        len = value[1] == '"' ? strcspn(value + 2, "\"") : strcspn(value + 1, " ");
        *ret = value + (value[1] == '"' ? 2 : 1);
        if ((size_t)(value - p) == n && memcmp(p, key, n) == 0) {
            return (int)len;
        }
        p = strchr(*ret + len, ' ');
    }
    return -1;
}

static bool has(const char *event, const char *only)
{
    size_t n = strcspn(only, "=");
    const char *value;
    int len = value_of(event, only, n, &value);

    return len >= 0 && strlen(only + n + 1) == (size_t)len &&
           memcmp(only + n + 1, value, (size_t)len) == 0;
}

struct line {
    char *text;
    size_t used, cap;
};

static void put(struct line *l, const char *text, size_t n)
{
    n = n < l->cap - 1 - l->used ? n : l->cap - 1 - l->used;
    memcpy(l->text + l->used, text, n);
    l->used += n;
    l->text[l->used] = '\0';
}

/* What {@key} stands for; false: the event has no such key. */
static bool put_value(struct line *l, const char *event, const char *key, size_t n)
{
    const char *value;
    int len;

    if (n == 4 && memcmp(key, "home", 4) == 0) {
        return put_value(l, event, "class", 5) && (put(l, "/", 1), true) &&
               put_value(l, event, "partition", 9);
    }
    len = value_of(event, key, n, &value);
    for (size_t k = 0; len >= 0 && k < sizeof(values) / sizeof(values[0]); k++) {
        if (strlen(values[k].value) == (size_t)len &&
            memcmp(values[k].value, value, (size_t)len) == 0) {
            value = values[k].words;
            len = (int)strlen(value);
            break;
        }
    }
    if (len >= 0) {
        put(l, value, (size_t)len);
    }
    return len >= 0;
}

/* @text up to @end with its values; false: one of them is not there. */
static bool fill(struct line *l, const char *event, const char *text, const char *end)
{
    bool all = true;

    while (text < end) {
        size_t n = strcspn(text, "{[");
        n = n < (size_t)(end - text) ? n : (size_t)(end - text);
        put(l, text, n);
        text += n;
        if (text < end && *text == '{') {
            n = strcspn(text, "}");
            all = put_value(l, event, text + 1, n - 1) && all;
            text += n + 1;
        } else if (text < end) {
            size_t before = l->used;
            n = strcspn(text, "]");
            if (!fill(l, event, text + 1, text + n)) {
                l->used = before;
                l->text[before] = '\0';
            }
            text += n + 1;
        }
    }
    return all;
}

bool sim_event_words(const char *event, char *out, size_t cap)
{
    size_t n = strcspn(event, " ");
    struct line l = {.text = out, .cap = cap};

    out[0] = '\0';
    for (size_t k = 0; k < sizeof(sentences) / sizeof(sentences[0]); k++) {
        const char *text = sentences[k].text;
        if (strlen(sentences[k].event) == n && memcmp(sentences[k].event, event, n) == 0 &&
            (sentences[k].only == NULL || has(event, sentences[k].only))) {
            return fill(&l, event, text, text + strlen(text));
        }
    }
    return false;
}
