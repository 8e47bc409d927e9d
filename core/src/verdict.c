/*
 * The write guard's decision (mrd/verdict.h).
 *
 * Every comparison errs towards refusing: a deadline that is exactly reached has ended, and
 * the margin is subtracted from the deadline rather than added to the clock, so a huge clock
 * value cannot wrap into "plenty of time left".
 */
#include <mrd/verdict.h>

#define REASONS (sizeof(reasons) / sizeof(*reasons))

static const struct {
    const char *sentence, *hint;
} reasons[] = {
#define MRD_REASON_ROW(name, sentence, hint) {sentence, hint},
    MRD_REASON_MAP(MRD_REASON_ROW)
#undef MRD_REASON_ROW
};

const char *mrd_reason_sentence(enum mrd_reason why)
{
    return (size_t)why < REASONS ? reasons[why].sentence : "unknown reason";
}

const char *mrd_reason_hint(enum mrd_reason why)
{
    return (size_t)why < REASONS ? reasons[why].hint : "";
}

/* The authority's part of the answer, in the order of the header. */
static enum mrd_reason authority_says(const struct mrd_authority *a, mrd_region self)
{
    if (a->state == MRD_AUTH_VACANT || a->region == MRD_REGION_NONE) {
        return MRD_WHY_VACANT;
    }
    if (a->region != self) {
        return MRD_WHY_NOT_HOME;
    }
    switch (a->state) {
    case MRD_AUTH_OPEN:
        return MRD_WHY_ALLOWED;
    case MRD_AUTH_FROZEN:
        return MRD_WHY_FROZEN;
    case MRD_AUTH_FENCING:
    case MRD_AUTH_VACANT:
        break;
    }
    return MRD_WHY_FENCING;
}

static enum mrd_reason lease_says(const struct mrd_snapshot *s, mrd_boot_ns now_ns)
{
    mrd_boot_ns margin_ns = (mrd_boot_ns)s->commit_margin_ms * 1000000u;

    if (s->session == 0 || s->lease_deadline_ns == 0) {
        return MRD_WHY_NO_LEASE;
    }
    if (s->lease_deadline_ns <= margin_ns || now_ns >= s->lease_deadline_ns - margin_ns) {
        return MRD_WHY_LEASE_ENDED;
    }
    return MRD_WHY_ALLOWED;
}

struct mrd_verdict mrd_guard(const struct mrd_snapshot *s, int partition, mrd_boot_ns now_ns)
{
    struct mrd_verdict v = {.why = MRD_WHY_NO_SNAPSHOT, .home = MRD_REGION_NONE};
    const struct mrd_authority *a = NULL;

    if (s == NULL) {
        return v;
    }
    if (partition < 0 || partition >= s->partition_count) {
        v.why = MRD_WHY_UNKNOWN_PARTITION;
        return v;
    }
    a = &s->partitions[partition].authority;
    v.home = a->region;
    v.epoch = a->epoch;
    v.why = authority_says(a, s->self);
    if (v.why == MRD_WHY_ALLOWED) {
        v.why = lease_says(s, now_ns);
    }
    v.allow = v.why == MRD_WHY_ALLOWED;
    return v;
}

struct mrd_verdict mrd_guard_commit(const struct mrd_snapshot *s, int partition,
                                    mrd_epoch epoch, mrd_boot_ns now_ns)
{
    struct mrd_verdict v = mrd_guard(s, partition, now_ns);

    if (v.why == MRD_WHY_NO_SNAPSHOT || v.why == MRD_WHY_UNKNOWN_PARTITION) {
        return v;
    }
    if (v.epoch != epoch) {
        v.allow = false;
        v.why = MRD_WHY_EPOCH_CHANGED;
    } else if (v.why == MRD_WHY_FROZEN) {
        enum mrd_reason lease = lease_says(s, now_ns);

        v.allow = lease == MRD_WHY_ALLOWED;
        v.why = v.allow ? MRD_WHY_FROZEN : lease;
    }
    return v;
}

bool mrd_may_apply(const struct mrd_snapshot *s, mrd_boot_ns now_ns)
{
    return s != NULL && s->session != 0 && now_ns < s->lease_deadline_ns;
}
