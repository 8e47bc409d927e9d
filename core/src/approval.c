/*
 * Promotions that operators decide: failover modes manual and two-person.
 *
 *   verdict  --> PENDING: asked, in status and events
 *   approve  --> GIVEN, once enough distinct operators have; the coordinator begins the
 *                failover in its next step, and the question is OVER
 *   reject   --> REJECTED: not asked again about this verdict; approving it still works
 *   the region renews, whatever the state --> OVER
 *
 * There is one record per region. It names the verdict by the last renewal of the region, as a
 * failover does: an approval of one verdict never serves another. Beginning the failover,
 * taking the question back and each operator's word all compare the record, so no word is lost
 * or counted twice.
 */
#include "decide.h"
#include "mutant.h"

#include <stdio.h>
#include <string.h>

static bool open_question(const struct mrd_approval_record *r)
{
    return r->state != MRD_APPROVAL_OVER;
}

static bool same_verdict(const struct mrd_approval_record *r,
                         const struct mrd_failover_record *f)
{
    return r->session == f->session && r->seq == f->seq;
}

static unsigned region_of(const struct mrdi_step *s, const struct mrd_failover_record *f)
{
    int i = mrd_config_region(s->config, f->region);

    mrd_assert(i >= 0);
    return (unsigned)i;
}

bool mrdi_approved(const struct mrdi_step *s, const struct mrd_failover_record *f)
{
    struct mrd_approval_record r;
    bool ok;

    (void)mrdi_approval(&s->v, region_of(s, f), &r, &ok);
    return ok && r.state == MRD_APPROVAL_GIVEN && same_verdict(&r, f);
}

bool mrdi_approval_ask(struct mrdi_step *s, const struct mrd_failover_record *f)
{
    struct mrd_approval_record r;
    char observers[256];
    bool ok;
    uint64_t revision = mrdi_approval(&s->v, region_of(s, f), &r, &ok);

    if (ok && open_question(&r) && same_verdict(&r, f)) {
        return false;
    }
    r = (struct mrd_approval_record){
        .id = f->id,
        .session = f->session,
        .seq = f->seq,
        .state = MRD_APPROVAL_PENDING,
        .needed = s->config->failover == MRD_FAILOVER_TWO_PERSON && !MRDI_MUTANT(ONE_PERSON)
                      ? MRD_APPROVERS_MAX
                      : 1,
        .observers = f->observers,
        .asked_ms = s->wall_ms,
    };
    memcpy(r.region, f->region, sizeof(r.region));
    memcpy(r.reason, f->reason, sizeof(r.reason));
    mrdi_compare(s->p, revision, "approval/%s", r.region);
    mrdi_put_approval(s->p, &r);
    mrdi_names(&s->v, r.observers, observers, sizeof(observers));
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=failover.pending region=%s id=%016llx observers=%s reason=%s "
                       "needed=%u",
                       r.region, (unsigned long long)r.id, observers, r.reason, r.needed);
    return true;
}

void mrdi_approval_use(struct mrdi_step *s, const struct mrd_failover_record *f)
{
    struct mrd_approval_record r;
    bool ok;
    uint64_t revision = mrdi_approval(&s->v, region_of(s, f), &r, &ok);

    if (ok && open_question(&r)) {
        r.state = MRD_APPROVAL_OVER;
        mrdi_compare(s->p, revision, "approval/%s", r.region);
        mrdi_put_approval(s->p, &r);
    }
}

/* It renewed after the verdict, or has another session. */
static bool lives(const struct mrdi_view *v, unsigned t, const struct mrd_approval_record *r)
{
    const struct mrd_session_record *now = v->regions[t].session;

    return mrdi_live(v, t) && (now->session != r->session || now->seq != r->seq);
}

bool mrdi_approval_step(struct mrdi_step *s)
{
    for (unsigned t = 0; t < s->config->region_count; t++) {
        struct mrd_approval_record r;
        bool ok;
        uint64_t revision = mrdi_approval(&s->v, t, &r, &ok);
        if (!ok || !open_question(&r) || !lives(&s->v, t, &r)) {
            continue;
        }
        r.state = MRD_APPROVAL_OVER;
        mrdi_compare(s->p, revision, "approval/%s", r.region);
        mrdi_put_approval(s->p, &r);
        mrd_proposal_event(s->p, s->store, s->wall_ms,
                           "event=failover.withdrawn region=%s id=%016llx", r.region,
                           (unsigned long long)r.id);
        return true;
    }
    return false;
}

/* ---- an operator's word ---- */

static bool find(const struct mrdi_view *v, uint64_t id, struct mrd_approval_record *ret,
                 uint64_t *ret_revision)
{
    for (unsigned t = 0; t < v->config->region_count; t++) {
        bool ok;
        *ret_revision = mrdi_approval(v, t, ret, &ok);
        if (ok && ret->id == id && open_question(ret)) {
            return true;
        }
    }
    return false;
}

static int refuse(const struct mrd_approval_record *r, bool yes, const char *who,
                  struct mrd_err *err)
{
    if (r->state == MRD_APPROVAL_GIVEN) {
        mrd_err_set(err, MRD_ECONFLICT, "the promotion away from \"%s\" was approved already",
                    r->region);
        mrd_err_hint(err, "Follow it with: meridian events.");
        return MRD_ECONFLICT;
    }
    if (!yes && r->state == MRD_APPROVAL_REJECTED) {
        mrd_err_set(err, MRD_ECONFLICT, "\"%s\" has rejected it already", r->rejected_by);
        mrd_err_hint(err, "It is not asked again while \"%s\" stays silent.", r->region);
        return MRD_ECONFLICT;
    }
    if (yes && r->given > 0 && strcmp(r->by[0], who) == 0) {
        mrd_err_set(err, MRD_ECONFLICT, "\"%s\" has approved it already", who);
        mrd_err_hint(err, "The mode is two-person: another operator must approve it, too.");
        return MRD_ECONFLICT;
    }
    return 0;
}

static void approve(struct mrd_approval_record *r, const char *who)
{
    r->rejected_by[0] = '\0';
    snprintf(r->by[r->given++], MRD_NAME_MAX, "%s", who);
    r->state = r->given >= r->needed ? MRD_APPROVAL_GIVEN : MRD_APPROVAL_PENDING;
}

/* Who approved before must do so again: he may not know why it was rejected. */
static void reject(struct mrd_approval_record *r, const char *who)
{
    r->given = 0;
    memset(r->by, 0, sizeof(r->by));
    snprintf(r->rejected_by, sizeof(r->rejected_by), "%s", who);
    r->state = MRD_APPROVAL_REJECTED;
}

int mrd_approval_request(const struct mrd_config *config, const struct mrd_store *store,
                         uint64_t id, bool yes, const char *who, mrd_wall_ms wall_ms,
                         struct mrd_proposal *ret, struct mrd_err *err)
{
    struct mrd_approval_record r;
    struct mrdi_view v;
    uint64_t revision;
    int rc;

    mrdi_begin(ret);
    mrdi_view_load(&v, config, store);
    if (!find(&v, id, &r, &revision)) {
        mrd_err_set(err, MRD_ENOTFOUND, "no promotion with id \"%llx\" waits for approval",
                    (unsigned long long)id);
        mrd_err_hint(err, "List what waits with: meridian pending.");
        return MRD_ENOTFOUND;
    }
    rc = refuse(&r, yes, who, err);
    if (rc != 0) {
        return rc;
    }
    if (yes) {
        approve(&r, who);
    } else {
        reject(&r, who);
    }
    r.decided_ms = wall_ms;
    mrdi_compare(ret, revision, "approval/%s", r.region);
    mrdi_put_approval(ret, &r);
    if (yes) {
        mrd_proposal_event(ret, store, wall_ms,
                           "event=failover.approved region=%s id=%016llx who=\"%s\" given=%u "
                           "needed=%u",
                           r.region, (unsigned long long)r.id, who, r.given, r.needed);
    } else {
        mrd_proposal_event(ret, store, wall_ms,
                           "event=failover.rejected region=%s id=%016llx who=\"%s\"", r.region,
                           (unsigned long long)r.id, who);
    }
    mrdi_end(ret);
    return 0;
}
