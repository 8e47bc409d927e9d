/*
 * A world in words: what it is made of, and each of its faults as somebody on the spot would
 * say it. For the story alone; nothing else depends on it.
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names of a set, with commas between. */
static const char *names_of(const struct sim *w, mrd_regions set, char out[80])
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < w->config->region_count; i++) {
        if ((set >> i & 1u) != 0) {
            used += (size_t)snprintf(out + used, 80 - used, "%s%s", used > 0 ? "," : "",
                                     sim_name(w, i));
        }
    }
    return out;
}

static void tell_class(struct sim *w, const struct mrd_conf_class *k)
{
    char replicas[80], allowed[80];

    sim_tell(w, "class %s: %s, %s; copies in %s%s%s", k->name,
             k->durability == MRD_QUORUM
                 ? "a commit waits until a majority of the regions have it"
                 : "a commit waits for nobody",
             k->posture == MRD_PARTITIONED ? "one partition at home in each region"
                                           : "one home, which may move",
             names_of(w, k->replicas, replicas),
             k->allowed != k->replicas ? "; may be home only in " : "",
             k->allowed != k->replicas ? names_of(w, k->allowed, allowed) : "");
}

void sim_words_world(struct sim *w)
{
    const struct mrd_config *c = w->config;
    mrd_regions data = 0, witnesses = 0;
    char a[80], b[80];

    for (unsigned i = 0; i < c->region_count; i++) {
        *(c->regions[i].witness ? &witnesses : &data) |= (mrd_regions)(1u << i);
    }
    sim_tell(w,
             "regions %s%s%s; a lease lasts %u s; failover is %s; %u faults to come, what "
             "operators do among them",
             names_of(w, data, a), witnesses != 0 ? ", and only voting " : "",
             names_of(w, witnesses, b), (unsigned)(c->lease_ms / 1000),
             mrd_failover_mode_name(c->failover), w->fault_count);
    for (unsigned i = 0; i < c->class_count; i++) {
        tell_class(w, &c->classes[i]);
    }
}

/* ---- faults ---- */

/* Whom it concerns; what is said when it begins and ends, with its amount for #. NULL: nothing.
 */
static const struct {
    enum { ONE, BOTH, WAY } whom;
    const char *begins, *ends;
} said[SIM_FAULT_KINDS] = {
    [SIM_KILL_MACHINE] = {ONE, "its machine stops", "its machine runs again"},
    [SIM_KILL_AGENT] = {ONE, "its agent is killed", "its agent runs again"},
    [SIM_KILL_POSTGRES] = {ONE, "its PostgreSQL is killed", "its PostgreSQL runs again"},
    [SIM_PAUSE] = {ONE, "everything there stands still", "goes on"},
    [SIM_SUSPEND] = {ONE, "suspended, and its clock with it", "resumed"},
    [SIM_ISOLATE] = {ONE, "cut off from all others", "reachable again"},
    [SIM_CUT] = {BOTH, "link cut", "link whole again"},
    [SIM_CUT_ONE_WAY] = {WAY, "nothing arrives", "messages arrive again"},
    [SIM_SLOW_LINK] = {BOTH, "the way takes # ms longer", "the way takes as long as before"},
    [SIM_LOSSY_LINK] = {BOTH, "# of 1000 messages are lost", "messages arrive again"},
    [SIM_SLOW_DISK] = {ONE, "the store's writes take # ms to the disk",
                       "the store's disk is fast again"},
    [SIM_DISK_FULL] = {ONE, "no room left under the store", "room under the store again"},
    [SIM_SLOW_POSTGRES] = {ONE, "PostgreSQL answers its agent after # ms",
                           "PostgreSQL answers fast again"},
    [SIM_SLOW_APPLY] = {ONE, "applies what others wrote # ms later", "applies at once again"},
    [SIM_SLOW_COMMITS] = {ONE, "up to # ms between a commit's last check and the commit",
                          "commits follow their last check again"},
};

/* @text, with the amount for #. */
static void with_amount(const struct sim_fault *f, const char *text, char *out, size_t cap)
{
    uint64_t n = f->kind == SIM_LOSSY_LINK ? f->amount : f->amount / SIM_MS;
    size_t before = strcspn(text, "#");

    if (text[before] == '\0') {
        snprintf(out, cap, "%s", text);
    } else {
        snprintf(out, cap, "%.*s%llu%s", (int)before, text, (unsigned long long)n,
                 text + before + 1);
    }
}

static bool say_fault(const struct sim *w, const struct sim_fault *f, bool begins, char *out,
                      size_t cap)
{
    const mrd_regions all = (mrd_regions)((1u << w->config->region_count) - 1);
    char a[80], b[80], what[160];
    const char *text;

    switch (f->kind) {
    case SIM_SPLIT:
        snprintf(out, cap, "the network %s %s and %s",
                 begins ? "splits between" : "is whole again between",
                 names_of(w, (mrd_regions)f->amount & all, a),
                 names_of(w, (mrd_regions)~f->amount & all, b));
        return true;
    case SIM_WALL_STEP:
        snprintf(out, cap, "%s: its wall clock is set %+lld s from what is right",
                 sim_name(w, f->region), ((long long)(f->amount % 7200000) - 3600000) / 1000);
        return begins;
    case SIM_CLOCK_RATE:
        snprintf(out, cap, begins ? "%s: its clock runs %+lld%% off" : "%s: its clock is right",
                 sim_name(w, f->region), ((long long)(f->amount % 500000) - 250000) / 10000);
        return true;
    default:
        break;
    }
    text = begins ? said[f->kind].begins : said[f->kind].ends;
    if (text == NULL) {
        return false;
    }
    with_amount(f, text, what, sizeof(what));
    snprintf(out, cap, "%s%s%s: %s", sim_name(w, f->region),
             said[f->kind].whom == ONE    ? ""
             : said[f->kind].whom == BOTH ? " and "
                                          : " to ",
             said[f->kind].whom == ONE ? "" : sim_name(w, f->peer), what);
    return true;
}

void sim_words_idle(struct sim *w, unsigned index, bool begins, const char *why)
{
    const struct sim_fault *f = &w->faults[index];
    char text[256];

    if (begins) {
        sim_tell(w, "fault %u finds nothing to break (%s): %s", index, sim_fault_name(f->kind),
                 why);
    } else if (f->kind == SIM_DIAL || f->kind == SIM_EMPTY ||
               (w->options->tell && say_fault(w, f, begins, text, sizeof(text)))) {
        sim_tell(w, "fault %u ends and changes nothing: %s", index, why);
    }
}

void sim_words_operator(struct sim *w, unsigned index, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sim_tell(w, "fault %u, operator anna at %s", index, text);
}

void sim_words_fault(struct sim *w, unsigned index, bool begins)
{
    char text[256];

    if (w->options->tell && say_fault(w, &w->faults[index], begins, text, sizeof(text))) {
        sim_tell(w, "fault %u %s: %s", index, begins ? "begins" : "ends", text);
    }
}
