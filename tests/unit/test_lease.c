/*
 * The lease, step by step: one region, one store, and times that the test chooses.
 */
#include "unit.h"

#include <mrd/control.h>

static struct mrd_config *lone_config(void)
{
    static struct mrd_config c;

    memset(&c, 0, sizeof(c));
    c.region_count = 1;
    snprintf(c.regions[0].name, MRD_NAME_MAX, "us");
    c.lease_ms = 4000;
    c.lease_margin_ms = 500;
    c.renew_ms = 500;
    return &c;
}

struct lone {
    struct mrd_config *config;
    struct mrd_store *store;
    struct mrd_region_state region;
    struct mrd_local local;
    struct mrd_proposal p;
};

#define T(ms) ((mrd_boot_ns)(ms)*1000000u)

static void lone_canary(struct lone *l, mrd_boot_ns now_ns)
{
    l->local.canary_ok = true;
    l->local.canary_ns = now_ns;
    l->local.report.wal_lsn = now_ns;
}

static bool lone_step(struct lone *l, mrd_boot_ns now_ns)
{
    mrd_region_step(&l->region, l->config, l->store, &l->local, now_ns, 0, &l->p);
    return l->p.wanted;
}

/* Commit what was proposed, seen by the region at @now_ns. */
static int lone_commit(struct lone *l, const struct mrd_proposal *p, mrd_boot_ns now_ns)
{
    struct mrd_entry e;
    int rc = mrd_store_apply(l->store, &p->txn, NULL);

    if (rc == 0 && mrd_store_get(l->store, "session/us", &e) == 0) {
        mrd_region_observe(&l->region, l->config, &e, now_ns);
    }
    return rc;
}

static struct lone *lone_new(void)
{
    struct lone *l = calloc(1, sizeof(*l));

    l->config = lone_config();
    l->store = mrd_store_new();
    return l;
}

static void lone_free(struct lone *l)
{
    mrd_store_free(l->store);
    free(l);
}

static void lease_counts_from_before_the_renewal_was_sent(void **state)
{
    struct lone *l = lone_new();

    (void)state;
    assert_false(lone_step(l, T(1000))); /* no canary, no session */
    lone_canary(l, T(1010));
    assert_true(lone_step(l, T(1020)));
    assert_int_equal(lone_commit(l, &l->p, T(1100)), 0);
    assert_int_equal(l->region.session, 1);
    assert_int_equal(l->region.deadline_ns, 0); /* opening grants nothing */
    assert_true(lone_step(l, T(1110)));
    assert_int_equal(lone_commit(l, &l->p, T(3000)), 0);
    assert_int_equal(l->region.deadline_ns, T(1110 + 4000));
    lone_free(l);
}

static void no_renewal_without_a_fresh_canary(void **state)
{
    struct lone *l = lone_new();

    (void)state;
    lone_canary(l, T(1000));
    assert_true(lone_step(l, T(1010)));
    lone_commit(l, &l->p, T(1020));
    assert_true(lone_step(l, T(1030)));
    lone_commit(l, &l->p, T(1040));
    assert_false(lone_step(l, T(2000))); /* the canary is older than the last renewal */
    lone_canary(l, T(2010));
    l->local.canary_ok = false;
    assert_false(lone_step(l, T(2020)));
    l->local.canary_ok = true;
    assert_true(lone_step(l, T(2030)));
    lone_commit(l, &l->p, T(2040));
    lone_canary(l, T(2050));
    assert_false(lone_step(l, T(5000))); /* half a lease old: says nothing about now */
    lone_free(l);
}

static void an_abandoned_renewal_cannot_pass_for_a_later_one(void **state)
{
    struct lone *l = lone_new();
    struct mrd_proposal *lost = calloc(1, sizeof(*lost));

    (void)state;
    lone_canary(l, T(1000));
    assert_true(lone_step(l, T(1010)));
    lone_commit(l, &l->p, T(1020));
    mrd_region_step(&l->region, l->config, l->store, &l->local, T(1030), 0, lost);
    assert_true(lost->wanted);
    mrd_region_abandon(&l->region, l->region.pending_seq, 0);
    lone_canary(l, T(1500));
    assert_true(lone_step(l, T(2000))); /* the second attempt, based on the same state */
    assert_int_equal(lone_commit(l, lost, T(2100)), 0); /* the first one arrives after all */
    assert_true(l->region.deadline_ns < T(2000 + 4000));
    assert_int_equal(lone_commit(l, &l->p, T(2200)), MRD_ECONFLICT);
    free(lost);
    lone_free(l);
}

static void expiry_loses_against_a_renewal(void **state)
{
    struct lone *l = lone_new();
    struct mrd_coordinator c = {0};
    struct mrd_proposal *expire = calloc(1, sizeof(*expire));
    struct mrd_entry e;

    (void)state;
    mrd_coordinator_lead(&c, true, T(1));
    lone_canary(l, T(1000));
    lone_step(l, T(1010));
    lone_commit(l, &l->p, T(1020));
    assert_int_equal(mrd_store_get(l->store, "session/us", &e), 0);
    mrd_coordinator_observe(&c, l->config, &e, T(1030));
    mrd_coordinator_step(&c, l->config, l->store, T(1030 + 4499), 0, expire);
    assert_false(expire->wanted);
    mrd_coordinator_step(&c, l->config, l->store, T(1030 + 4500), 0, expire);
    assert_true(expire->wanted);
    assert_string_equal(expire->what, "event=session.expired region=us session=1 seq=0");
    lone_canary(l, T(5500));
    assert_true(lone_step(l, T(5510)));
    assert_int_equal(lone_commit(l, &l->p, T(5520)), 0);
    assert_int_equal(mrd_store_apply(l->store, &expire->txn, NULL), MRD_ECONFLICT);
    free(expire);
    lone_free(l);
}

static void an_expired_session_never_revives(void **state)
{
    struct lone *l = lone_new();
    struct mrd_coordinator c = {0};

    (void)state;
    mrd_coordinator_lead(&c, true, T(1));
    lone_canary(l, T(1000));
    lone_step(l, T(1010));
    lone_commit(l, &l->p, T(1020));
    lone_step(l, T(1030));
    lone_commit(l, &l->p, T(1040));
    mrd_coordinator_step(&c, l->config, l->store, T(2000), 0, &l->p); /* sees it only now */
    assert_false(l->p.wanted);
    mrd_coordinator_step(&c, l->config, l->store, T(6500), 0, &l->p);
    assert_true(l->p.wanted);
    assert_int_equal(lone_commit(l, &l->p, T(6510)), 0);
    assert_int_equal(l->region.session, 0);
    assert_int_equal(l->region.deadline_ns, 0);
    lone_canary(l, T(7000));
    assert_true(lone_step(l, T(7010)));
    lone_commit(l, &l->p, T(7020));
    assert_int_equal(l->region.session, 2);
    assert_int_equal(l->region.deadline_ns, 0);
    lone_free(l);
}

static void a_record_that_cannot_be_read_is_left_alone(void **state)
{
    struct lone *l = lone_new();
    struct mrd_txn *txn = calloc(1, sizeof(*txn));

    (void)state;
    txn->put_count = 1;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "session/us");
    txn->puts[0].value = (const uint8_t *)"\x09garbage";
    txn->puts[0].len = 8;
    assert_int_equal(mrd_store_apply(l->store, txn, NULL), 0);
    lone_canary(l, T(1000));
    assert_false(lone_step(l, T(1010)));
    free(txn);
    lone_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lease_counts_from_before_the_renewal_was_sent),
        cmocka_unit_test(no_renewal_without_a_fresh_canary),
        cmocka_unit_test(an_abandoned_renewal_cannot_pass_for_a_later_one),
        cmocka_unit_test(expiry_loses_against_a_renewal),
        cmocka_unit_test(an_expired_session_never_revives),
        cmocka_unit_test(a_record_that_cannot_be_read_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
