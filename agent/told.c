/*
 * What the local PostgreSQL did to people's sessions, or was asked for, becomes events in the
 * store (postgres/audit.c): `meridian events` shows them in every region.
 *
 * Lines are taken from PostgreSQL once, while there is room for all that it keeps, and kept
 * here until the store has them: one follows the other as fast as the store commits. An agent
 * that is killed in between loses them, and PostgreSQL's own log has them still; a proposal
 * whose outcome is unknown is repeated, so one may be there twice. Both are better than a
 * session whose end nobody can explain.
 */
#include "told.h"

#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "log.h"

#define AGAIN_NS UINT64_C(1000000000)

/* Another process wrote it: one line of printable text that begins as events do. */
static bool is_event(const char *line)
{
    for (const char *p = line; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            return false;
        }
    }
    return strncmp(line, "event=", 6) == 0 && strlen(line) < TOLD_LINE;
}

void told_take(struct agent *a, const char *line)
{
    struct told *t = &a->told;

    if (!is_event(line) || t->count == TOLD_MAX) {
        log_event("event=postgres.untold reason=\"%s\"",
                  t->count == TOLD_MAX ? "too many wait for the store" : "it is no event");
        return;
    }
    snprintf(t->lines[t->count++], TOLD_LINE, "%s", line);
}

bool told_has_room(const struct agent *a)
{
    return a->told.count + TOLD_AT_ONCE <= TOLD_MAX;
}

static void on_told(void *ctx, int code, uint64_t revision)
{
    struct agent *a = ctx;
    struct told *t = &a->told;

    (void)revision;
    t->busy = false;
    if (code != 0) {
        t->next_ns = clock_boot_ns() + AGAIN_NS;
        return;
    }
    t->count--;
    memmove(t->lines[0], t->lines[1], t->count * sizeof(t->lines[0]));
}

void told_tick(struct agent *a, mrd_boot_ns now_ns)
{
    struct told *t = &a->told;

    if (t->count == 0 || t->busy || now_ns < t->next_ns) {
        return;
    }
    mrd_audit_request(a->store, t->lines[0], clock_wall_ms(), &a->node.proposal);
    t->busy = agent_propose(a, &a->node.proposal, on_told, a) == 0;
    if (!t->busy) {
        t->next_ns = now_ns + AGAIN_NS;
    }
}
