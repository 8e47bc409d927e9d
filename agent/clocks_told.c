/*
 * Watching the regions' clocks, and telling of those that are wrong (clocks.h).
 *
 * A step of our own clock makes all others look wrong until each was asked again, so only what
 * lasts is told. One region speaks for all in the store: its leader. It compares with the last
 * event about each clock, so that a new leader goes on where the one before it ended. Who else
 * sees it says so in its status.
 */
#include "clocks.h"

#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "problems.h"

#define MS UINT64_C(1000000)
#define LOOK_NS (500 * MS)
#define LASTS_NS (3000 * MS)

static void on_noted(void *ctx, int code, uint64_t revision)
{
    struct agent *a = ctx;

    (void)revision;
    a->clocks.noting = false;
    if (code != 0) { /* it may be there, and seen only later */
        a->clocks.note_ns = clock_boot_ns() + LASTS_NS;
    }
}

static void write_event(struct agent *a, unsigned region, bool off)
{
    struct clocks *c = &a->clocks;
    char line[TOLD_LINE];
    int n = snprintf(line, sizeof(line), "event=clock.%s region=%s", off ? "off" : "agrees",
                     a->config->regions[region].name);

    if (off) {
        snprintf(line + n, sizeof(line) - (size_t)n, " ahead_ms=%lld",
                 (long long)c->now.ahead_ms[region]);
    }
    mrd_audit_request(a->store, line, clock_wall_ms(), &a->node.proposal);
    c->noting = agent_propose(a, &a->node.proposal, on_noted, a) == 0;
}

/* The leader's part: an event where the last one, whoever wrote it, says otherwise. A clock
 * that was wrong agrees when nothing is said against it any more, now or before: that there is
 * no majority is no word for it. */
static void note(struct agent *a, unsigned region, mrd_regions noted)
{
    struct clocks *c = &a->clocks;
    mrd_regions bit = (mrd_regions)(1u << region);
    mrd_regions against = c->off | c->differ | c->now.off | c->now.differ;
    bool off = (noted & bit) == 0 && (c->off & c->now.off & bit) != 0;
    bool agrees = (noted & bit) != 0 && (against & bit) == 0;

    if ((off || agrees) && !c->noting) {
        write_event(a, region, off);
    }
}

/* What lasted is told from now on. */
static void settle(struct agent *a, unsigned region, mrd_boot_ns now_ns)
{
    struct clocks *c = &a->clocks;
    mrd_regions bit = (mrd_regions)(1u << region);
    mrd_regions off = c->now.off & bit, differ = c->now.differ & bit;

    if (off == (c->off & bit) && differ == (c->differ & bit)) {
        c->since_ns[region] = 0;
        return;
    }
    if (c->since_ns[region] == 0) {
        c->since_ns[region] = now_ns;
    }
    if (now_ns - c->since_ns[region] < LASTS_NS) {
        return;
    }
    c->off = (mrd_regions)((c->off & ~bit) | off);
    c->differ = (mrd_regions)((c->differ & ~bit) | differ);
    c->since_ns[region] = 0;
}

void clocks_tick(struct agent *a, mrd_boot_ns now_ns)
{
    struct clock_reading readings[MRD_REGIONS_MAX] = {0};
    struct clocks *c = &a->clocks;

    if (now_ns < c->next_ns) {
        return;
    }
    c->next_ns = now_ns + LOOK_NS;
    bool leads = raft_node_leads(a->raft);
    mrd_regions noted = leads ? clocks_noted(a->store, a->config) : 0;
    if (!leads) {
        c->note_ns = now_ns + LASTS_NS;
    }
    for (unsigned i = 0; i < a->config->region_count; i++) {
        readings[i] = i == a->self ? (struct clock_reading){true, 0, 0}
                                   : observe_clock(a->observe, (mrd_region)i, now_ns);
    }
    clocks_judge(readings, a->config->region_count, (mrd_regions)(c->off | noted), &c->now);
    for (unsigned i = 0; i < a->config->region_count; i++) {
        if (readings[i].known) { /* else what was told of it stands */
            settle(a, i, now_ns);
            if (leads && now_ns >= c->note_ns) {
                note(a, i, noted);
            }
        }
    }
}

/* ---- sentences ---- */

#define EFFECT                                                                                 \
    "Times in its events, receipts and rows (now()) are off by as much, and quorum commits "   \
    "may take longer under load; leases and tokens do not use it. Set it there, and see why "  \
    "NTP does not (chronyc tracking)"

static void say_clock(const struct agent *a, unsigned region, json_t *problems)
{
    const struct clocks *c = &a->clocks;
    double s = (double)c->now.ahead_ms[region] / 1000;
    const char *name = a->config->regions[region].name;

    if ((c->now.off & c->off & 1u << region) != 0) {
        problem(problems,
                "the clock of \"%s\"%s is %.1f s %s those of the other regions. " EFFECT, name,
                region == a->self ? ", this region," : "", s < 0 ? -s : s,
                s < 0 ? "behind" : "ahead of");
    } else if ((c->now.differ & c->differ & 1u << region) != 0) {
        problem(problems,
                "the clock of \"%s\" is %.1f s %s this region's, and no majority of clocks "
                "says which is right. " EFFECT,
                name, s < 0 ? -s : s, s < 0 ? "behind" : "ahead of");
    }
}

void clocks_problems(const struct agent *a, json_t *problems)
{
    for (unsigned i = 0; i < a->config->region_count; i++) {
        say_clock(a, i, problems);
    }
}
