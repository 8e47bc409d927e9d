/*
 * Streams that stand, and what that costs (lag.h).
 *
 * A stream that fails is tried again, so for moments it reads as connecting and complains about
 * nothing: the complaint is kept until the mark moves. Only the region that takes a stream
 * knows its complaint; the others say where to ask.
 */
#include "lag.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "log.h"
#include "problems.h"
#include "records.h"

#define MS UINT64_C(1000000)
#define LOOK_NS (500 * MS)
#define TREND_S 5.0          /* time constant of the mean change */
#define LASTS_NS (3000 * MS) /* what crosses the threshold for less is no event */

/* ---- watching ---- */

/* What @to says of @from; false when it, or its PostgreSQL, says nothing now. */
static bool read_report(const struct agent *a, unsigned from, unsigned to,
                        struct mrd_peer_report *ret)
{
    struct mrd_session_record s;
    if (!records_session(a, to, &s) || !records_live(a, to, &s)) {
        return false;
    }
    const struct mrd_session_record *r = to == a->self ? &a->node.local.report : &s;
    const struct mrd_peer_report *p = records_peer(r, a->config->regions[from].name);
    if (p == NULL || (r->ready & MRD_SEES_SQL) == 0) {
        return false;
    }
    *ret = *p;
    return true;
}

/* Does @from send heartbeats that somebody could apply? */
static bool sends(const struct agent *a, unsigned from)
{
    struct mrd_session_record s;
    return records_session(a, from, &s) && records_live(a, from, &s) &&
           (s.ready & MRD_SEES_SQL) != 0;
}

static void look_at(struct agent *a, unsigned from, unsigned to, mrd_boot_ns now_ns)
{
    struct lag_mark *m = &a->lag.marks[from][to];
    struct mrd_peer_report p;

    if (!sends(a, from) || !read_report(a, from, to, &p) || p.refused) {
        *m = (struct lag_mark){0};
    } else if (m->since_ns == 0 || m->session != p.applied_session ||
               m->boot_ms != p.applied_boot_ms || m->lsn != p.applied_lsn) {
        *m = (struct lag_mark){p.applied_session, p.applied_boot_ms, p.applied_lsn, now_ns};
        if (to == a->self) {
            a->lag.why[from][0] = '\0';
        }
    }
}

const json_t *lag_stream(const struct agent *a, unsigned from)
{
    json_t *row;
    size_t i;
    json_array_foreach(json_object_get(a->pg != NULL ? pgwork_status(a->pg) : NULL, "streams"),
                       i, row)
    {
        const char *origin = json_string_value(json_object_get(row, "origin"));
        if (origin != NULL && strcmp(origin, a->config->regions[from].name) == 0) {
            return row;
        }
    }
    return NULL;
}

static void keep_why(struct agent *a, unsigned from)
{
    const json_t *row = lag_stream(a, from);
    const char *error = json_string_value(json_object_get(row, "error"));
    const char *blocked = json_string_value(json_object_get(row, "blocked"));
    const char *copying = json_string_value(json_object_get(row, "copying"));
    const char *why = error != NULL ? error : blocked != NULL ? blocked : copying;

    if (why != NULL) {
        text_keep(a->lag.why[from], sizeof(a->lag.why[from]), why);
    }
}

/* Over the threshold to stay, or no more: an event, from the region that is behind. */
static void tell_behind(struct agent *a, unsigned from, mrd_boot_ns now_ns)
{
    struct lag_trend *t = &a->lag.trends[from];
    char line[TOLD_LINE];

    if ((t->last_ms > a->config->lag_threshold_ms) == t->behind) {
        t->other_ns = 0;
        return;
    }
    if (t->other_ns == 0) {
        t->other_ns = now_ns;
    }
    if (now_ns - t->other_ns < LASTS_NS) {
        return;
    }
    t->behind = !t->behind;
    t->other_ns = 0;
    snprintf(line, sizeof(line), "event=link.%s from=%s to=%s lag_ms=%" PRIu64,
             t->behind ? "behind" : "caught_up", a->config->regions[from].name,
             a->config->regions[a->self].name, t->last_ms);
    told_take(a, line);
}

static void follow(struct agent *a, unsigned from, mrd_boot_ns now_ns)
{
    struct lag_trend *t = &a->lag.trends[from];
    struct mrd_peer_report p;
    uint64_t ms;

    if (!sends(a, from) || !read_report(a, from, a->self, &p) || p.refused ||
        !lag_ms_of(a, from, &p, &ms)) {
        t->first_ns = t->last_ns = t->other_ns = 0;
        return;
    }
    if (t->first_ns == 0) {
        t->first_ns = now_ns;
        t->change = 0;
    } else {
        double s = (double)(now_ns - t->last_ns) / 1e9;
        double change = ((double)ms - (double)t->last_ms) / 1000 / s;
        t->change += (change - t->change) * s / (TREND_S + s);
    }
    t->last_ms = ms;
    t->last_ns = now_ns;
    tell_behind(a, from, now_ns);
}

void lag_tick(struct agent *a, mrd_boot_ns now_ns)
{
    if (now_ns < a->lag.next_ns) {
        return;
    }
    a->lag.next_ns = now_ns + LOOK_NS;
    for (unsigned from = 0; from < a->config->region_count; from++) {
        for (unsigned to = 0; to < a->config->region_count; to++) {
            if (from != to && records_share_class(a->config, from, to)) {
                look_at(a, from, to, now_ns);
            }
        }
        keep_why(a, from);
        follow(a, from, now_ns);
    }
}

/* ---- what is known ---- */

bool lag_ms_of(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
               uint64_t *ret_ms)
{
    struct mrd_session_record s;
    if (p == NULL || !records_session(a, from, &s) || p->applied_session != s.session ||
        p->applied_boot_ms == 0) {
        return false;
    }
    uint64_t clock_ms = s.boot_ms + records_renewed_ms_ago(a, from);
    *ret_ms = clock_ms > p->applied_boot_ms ? clock_ms - p->applied_boot_ms : 0;
    return true;
}

/* Where the WAL of @from's present life begins: positions before it are of another WAL. */
static mrd_lsn begins(const struct agent *a, unsigned from)
{
    struct mrd_anew_record r = {0};
    struct mrd_entry e;
    char key[MRD_KEY_MAX];

    snprintf(key, sizeof(key), "anew/%s", a->config->regions[from].name);
    if (mrd_store_get(a->store, key, &e) != 0) {
        return 0;
    }
    struct mrd_buf b = mrd_buf_reader(e.value, e.len);
    return mrd_anew_record_decode(&b, &r) == 0 ? r.begins : 0;
}

bool lag_bytes_of(const struct agent *a, unsigned from, const struct mrd_peer_report *p,
                  uint64_t *ret_bytes)
{
    struct mrd_session_record s = {0};
    if (p->applied_lsn < begins(a, from)) {
        return false;
    }
    mrd_lsn end = a->node.local.report.wal_lsn;
    if (from != a->self) {
        end = records_session(a, from, &s) ? s.wal_lsn : 0;
    }
    /* What it has received counts where our copy of the origin's position is older. */
    uint64_t known = end > p->applied_lsn ? end - p->applied_lsn : 0;
    *ret_bytes = known > p->lag_bytes ? known : p->lag_bytes;
    return true;
}

bool lag_change_of(const struct agent *a, unsigned from, double *ret_change)
{
    const struct lag_trend *t = &a->lag.trends[from];

    *ret_change = t->change;
    return t->first_ns != 0 && (double)(t->last_ns - t->first_ns) / 1e9 >= TREND_S;
}

uint64_t lag_standing_ms(const struct agent *a, unsigned from, unsigned to)
{
    mrd_boot_ns since_ns = a->lag.marks[from][to].since_ns, now_ns = clock_boot_ns();
    return since_ns != 0 && now_ns > since_ns ? (now_ns - since_ns) / MS : 0;
}

const char *lag_why(const struct agent *a, unsigned from)
{
    return a->lag.why[from];
}

/* ---- sentences ---- */

/* Where to read on; docs/streams.md has the ways out. */
static void say_standing(const struct agent *a, unsigned from, unsigned to, uint64_t ms,
                         json_t *problems)
{
    const char *name = a->config->regions[from].name, *at = a->config->regions[to].name;
    bool copied = a->lag.marks[from][to].lsn != 0;

    if (to != a->self) {
        problem(problems,
                copied ? "changes of \"%s\" have not been applied in \"%s\" for %" PRIu64
                         " s: meridian status there says why (docs/streams.md)"
                       : "\"%s\" is not yet copied to \"%s\", for %" PRIu64
                         " s now: meridian status there says why (docs/streams.md)",
                name, at, ms / 1000);
    } else {
        const char *why = lag_why(a, from);
        problem(problems,
                copied ? "changes of \"%s\" have not been applied here for %" PRIu64
                         " s: %s (docs/streams.md)"
                       : "\"%s\" is not yet copied here, for %" PRIu64
                         " s now: %s (docs/streams.md)",
                name, ms / 1000, why[0] != '\0' ? why : "it gives no reason");
    }
}

static void say_stream(const struct agent *a, unsigned from, unsigned to, json_t *problems)
{
    struct mrd_peer_report p;
    uint64_t standing_ms = lag_standing_ms(a, from, to), lag_ms;

    if (standing_ms >= LAG_STANDS_MS) {
        say_standing(a, from, to, standing_ms, problems);
    } else if (to == a->self && sends(a, from) && read_report(a, from, to, &p) &&
               lag_ms_of(a, from, &p, &lag_ms) && lag_ms > a->config->lag_threshold_ms) {
        problem(problems, "changes of \"%s\" are %.1f s behind here",
                a->config->regions[from].name, (double)lag_ms / 1000);
    }
}

/* Replicas that flush what @home writes as it comes. */
static unsigned acknowledge(const struct agent *a, const struct mrd_conf_class *k,
                            unsigned home)
{
    unsigned n = 0;
    for (unsigned i = 0; i < a->config->region_count; i++) {
        struct mrd_peer_report p;
        n += i != home && (k->replicas >> i & 1) != 0 && read_report(a, home, i, &p) &&
             !p.refused && p.applied_lsn != 0 && lag_standing_ms(a, home, i) < LAG_STANDS_MS;
    }
    return n;
}

static bool is_home_of(const struct agent *a, const struct mrd_conf_class *k, unsigned home)
{
    unsigned count = k->posture == MRD_PARTITIONED ? k->partition_count : 1;

    for (unsigned i = 0; i < count; i++) {
        const char *name = k->posture == MRD_PARTITIONED ? k->partitions[i] : MRD_PARTITION_ALL;
        struct mrd_authority_record auth;
        if (records_authority(a, k->name, name, &auth) && auth.state == MRD_AUTH_OPEN &&
            strcmp(auth.region, a->config->regions[home].name) == 0) {
            return true;
        }
    }
    return false;
}

/* The quorum classes that @home may write in vain, in one sentence. */
static void say_quorum(const struct agent *a, unsigned home, json_t *problems)
{
    char names[MRD_CLASSES_MAX * (MRD_NAME_MAX + 2)];
    struct text t = {names, sizeof(names), 0};
    bool nobody = true;

    for (unsigned i = 0; sends(a, home) && i < a->config->class_count; i++) {
        const struct mrd_conf_class *k = &a->config->classes[i];
        unsigned have = k->durability == MRD_QUORUM ? acknowledge(a, k, home) : 0;
        if (k->durability != MRD_QUORUM || have >= mrd_config_remote_acks(k) ||
            !is_home_of(a, k, home)) {
            continue;
        }
        nobody = nobody && have == 0;
        text_put(&t, "%s%s", t.len > 0 ? ", " : "", k->name);
    }
    if (t.len > 0) {
        problem(problems, "%s what \"%s\" writes: its writes to %s wait, and are then refused",
                nobody ? "no other region acknowledges" : "too few regions acknowledge",
                a->config->regions[home].name, names);
    }
}

void lag_problems(const struct agent *a, json_t *problems)
{
    const struct mrd_config *c = a->config;

    for (unsigned i = 0; i < c->region_count; i++) {
        say_quorum(a, i, problems);
    }
    for (unsigned from = 0; from < c->region_count; from++) {
        for (unsigned to = 0; to < c->region_count; to++) {
            if (from != to) {
                say_stream(a, from, to, problems);
            }
        }
    }
}
