/*
 * Judging one partition of a region that is being replaced (decide.h): wait, grant it to a
 * successor, or leave it vacant because nobody can take it.
 *
 * The judgement rests on what the survivors said when they refused the old home's stream. Why a
 * grant is safe is told in failover.c, which acts on it.
 */
#include "decide.h"
#include "mutant.h"

#include <stdio.h>
#include <string.h>

#define GRACE_NS (1000 * MRDI_MS) /* patience with live replicas beyond those we must have */
#define DEAD_PATIENCE_NS                                                                       \
    (10000 * MRDI_MS) /* with replicas that were lost together with the home */

bool mrdi_fence_of(const struct mrdi_view *v, unsigned t, unsigned by,
                   struct mrd_fence_record *ret, uint64_t *ret_revision)
{
    bool ok;

    *ret_revision = mrdi_fence(v, t, by, ret, &ok);
    return ok && v->regions[t].has_failover && ret->failover_id == v->regions[t].failover->id;
}

/* Has @b a copy of partition @i, which @t wrote? By its refusal if there is one, else by its
 * last report; and only if it says that no rows are missing. */
static bool has_copy(const struct mrdi_view *v, unsigned i, unsigned t, unsigned b)
{
    const struct mrd_peer_report *r = mrdi_report(v, b, t);
    struct mrd_fence_record f;
    uint64_t revision;

    if (mrd_lacks(v->regions[b].session, i)) {
        return false;
    }
    if (mrdi_fencing(v, t) && mrdi_fence_of(v, t, b, &f, &revision)) {
        return f.applied_lsn > 0;
    }
    return r != NULL && r->applied_lsn > 0;
}

void mrdi_say_stuck(const char *origin, char why[128])
{
    snprintf(why, 128, "what \"%s\" wrote last is only in regions that are down", origin);
}

static unsigned refusals_needed(const struct mrd_conf_class *class)
{
    unsigned others = (unsigned)__builtin_popcount(class->replicas) - 1;

    return MRDI_MUTANT(ONE_REFUSAL) ? 1 : others - mrd_config_remote_acks(class) + 1;
}

bool mrdi_feasible(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                   const struct mrd_authority_record *a, mrd_regions fenced, mrd_lsn cut,
                   char why[128])
{
    const struct mrd_conf_class *class = p->class;
    mrd_regions others = class->replicas & (mrd_regions)~mrdi_bit(t);
    unsigned votes = 0, live = 0, unhurt = 0, copies = 0, able = 0, whole = 0;
    const char *origin = "", *loser = "";
    bool away = false;

    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (!mrdi_in(others, b)) {
            continue;
        }
        votes += mrdi_live(v, b) || mrdi_in(fenced, b);
        live += mrdi_in(class->allowed, b) && mrdi_live(v, b);
        /* As in successor: were it waited for, two that are being replaced could each wait for
         * the other. Once its own replacement is over it is a candidate again. */
        if (mrdi_in(class->allowed, b) && mrdi_live(v, b) && !mrdi_fencing(v, b)) {
            bool copy = has_copy(v, p->index, t, b);
            unhurt++;
            copies += copy;
            if (copy && mrdi_copy_of(v, b, a, t, &origin) != MRDI_COPY_STUCK) {
                bool taken = mrdi_tail_taken(v, b, a, cut);
                able++;
                whole += taken;
                loser = taken ? loser : mrdi_name(v, b);
                away = away || mrdi_uncompared(v, b, a);
            }
        }
    }
    why[0] = '\0';
    if ((class->allowed & others) == 0) {
        snprintf(why, 128, "no other region than \"%s\" may hold it", mrdi_name(v, t));
    } else if (live == 0) {
        snprintf(why, 128, "no other region that may hold it is live");
    } else if (unhurt == 0) {
        snprintf(why, 128, "every other live region that may hold it is being replaced itself");
    } else if (copies == 0) {
        snprintf(why, 128, "no live region that may hold it has a copy");
    } else if (able == 0) {
        mrdi_say_stuck(origin, why);
    } else if (whole == 0 && away) {
        snprintf(why, 128, "\"%.40s\" may hold more than counts, and nobody else can take it",
                 loser);
    } else if (whole == 0) {
        snprintf(why, 128,
                 "what \"%.40s\" lost is not repaired there, and nobody else can take it",
                 loser);
    } else if (class->durability == MRD_QUORUM && votes < refusals_needed(class)) {
        snprintf(why, 128, "acknowledged writes may be only in regions that are down");
    }
    return why[0] == '\0';
}

/* Who refused, how far the furthest got, and who has not. @live: those that are gone count as
 * if they had not refused. */
static void collect(const struct mrdi_view *v, const struct mrd_conf_class *class, unsigned t,
                    bool live, struct mrdi_judgement *j)
{
    bool first = true;

    *j = (struct mrdi_judgement){.outcome = MRDI_WAIT};
    for (unsigned b = 0; b < v->config->region_count; b++) {
        struct mrd_fence_record f;
        uint64_t revision;
        if (b == t || !mrdi_in(class->replicas, b)) {
            continue;
        }
        if (!mrdi_fence_of(v, t, b, &f, &revision) || (live && !mrdi_live(v, b))) {
            *(mrdi_live(v, b) ? &j->pending : &j->dead) |= mrdi_bit(b);
            continue;
        }
        j->fenced |= mrdi_bit(b);
        if (first || (f.applied_lsn > j->cut.applied_lsn) != MRDI_MUTANT(LOWEST_CUT)) {
            j->cut = f;
        }
        j->fenced_ms = f.at_ms > j->fenced_ms ? f.at_ms : j->fenced_ms;
        first = false;
    }
}

/* It gets time to come back and refuse; after that the class's other copies go on without it,
 * and the closed epoch names it as unfenced. (The wall clocks only choose who is waited for; no
 * safety hangs on them.) */
mrd_regions mrdi_lost_together(const struct mrdi_view *v, unsigned t, mrd_regions dead)
{
    mrd_regions together = 0;

    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (mrdi_in(dead, b) && v->regions[b].has_session &&
            v->regions[b].session->expired_ms >= v->regions[t].failover->fault_ms) {
            together |= mrdi_bit(b);
        }
    }
    return together;
}

bool mrdi_lease_over(struct mrdi_step *s, unsigned t, bool *ret_expired)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    mrd_boot_ns age_ns = mrdi_age_ns(&s->c->failovers[t], r->failover_revision, s->now_ns);
    bool told = r->failover_revision != 0 && age_ns >= mrdi_lease_over_ns(s->config);
    /* While it is being replaced it opens one only when the one before has expired. */
    bool newer =
        mrdi_fencing(&s->v, t) && r->has_session && r->session->session > r->failover->session;

    *ret_expired = r->has_session && r->session->expired;
    return *ret_expired || newer || told || MRDI_MUTANT(NO_LEASE_FENCE);
}

/* The refusals that this class needs are there. */
static bool fenced_enough(struct mrdi_step *s, const struct mrd_conf_class *class, unsigned t,
                          struct mrdi_judgement *j)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    mrd_boot_ns age_ns = mrdi_age_ns(&s->c->failovers[t], r->failover_revision, s->now_ns);

    if (class->durability == MRD_QUORUM) {
        return (unsigned)__builtin_popcount(j->fenced) >= refusals_needed(class) &&
               (j->pending == 0 || age_ns >= GRACE_NS);
    }
    if (j->pending != 0 ||
        (age_ns < DEAD_PATIENCE_NS && mrdi_lost_together(&s->v, t, j->dead) != 0)) {
        return false;
    }
    j->held = !mrdi_lease_over(s, t, &j->home_expired);
    return true;
}

/*
 * Allowed, live and holding a copy: first who has every earlier epoch whole, since he can open
 * at once, then who is furthest; ties by the order of the configuration.
 */
static int successor(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                     const struct mrd_authority_record *a, mrd_regions fenced, mrd_lsn cut)
{
    enum mrdi_copy best_copy = MRDI_COPY_STUCK;
    mrd_lsn best_lsn = 0;
    int best = -1;

    for (unsigned b = 0; b < v->config->region_count; b++) {
        struct mrd_fence_record f;
        enum mrdi_copy copy;
        const char *origin;
        uint64_t revision;
        mrd_regions allowed = MRDI_MUTANT(ANY_PLACE) ? p->class->replicas : p->class->allowed;
        if (!mrdi_in(fenced & allowed, b) || !mrdi_live(v, b) || mrdi_fencing(v, b) ||
            !mrdi_fence_of(v, t, b, &f, &revision) || !has_copy(v, p->index, t, b) ||
            !mrdi_tail_taken(v, b, a, cut)) {
            continue;
        }
        copy = mrdi_copy_of(v, b, a, t, &origin);
        if (copy < best_copy || (copy == best_copy && f.applied_lsn > best_lsn)) {
            best_copy = copy;
            best_lsn = f.applied_lsn;
            best = (int)b;
        }
    }
    return best_copy != MRDI_COPY_STUCK ? best : -1;
}

void mrdi_collect_usable(const struct mrdi_view *v, const struct mrd_conf_class *class,
                         unsigned t, struct mrdi_judgement *j)
{
    collect(v, class, t, false, j);
    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (b != t && mrdi_holds(v, b, t, j->cut.applied_lsn)) {
            return;
        }
    }
    collect(v, class, t, true, j);
}

void mrdi_judge(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                const struct mrd_authority_record *a, struct mrdi_judgement *j)
{
    const struct mrd_conf_class *class = p->class;
    int to;

    mrdi_collect_usable(&s->v, class, t, j);
    if (!mrdi_feasible(&s->v, p, t, a, j->fenced, UINT64_MAX, j->why)) {
        j->outcome = MRDI_VACATE;
        return;
    }
    /* @t has not opened it, and a home before @t may still write it: one lease after another.
     */
    if (mrdi_held(a) || !fenced_enough(s, class, t, j)) {
        return;
    }
    to = successor(&s->v, p, t, a, j->fenced, j->cut.applied_lsn);
    if (to >= 0) {
        j->outcome = MRDI_GRANT;
        j->to = (unsigned)to;
    } else if (!mrdi_feasible(&s->v, p, t, a, j->fenced, j->cut.applied_lsn, j->why)) {
        j->outcome = MRDI_VACATE;
    }
}
