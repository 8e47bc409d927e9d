/*
 * Who should lead the store.
 */
#include "desk.h"

static void the_lead_goes_where_it_helps(void **state)
{
    static const struct {
        const char *name;
        const char *home; /* of both classes */
        unsigned eu_rtt;  /* from eu to the others; us has 100 */
        bool moving;
        int want;
    } rows[] = {
        {"the leader homes everything", "us", 100, false, EU},
        {"a move is under way", "us", 50, true, US},
        {"somebody else does, and we are as near as others", "ap", 100, false, US},
        {"another is a little nearer", "ap", 80, false, US},
        {"another is clearly nearer", "ap", 70, false, EU},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_authority_record a = {.epoch = 1, .state = MRD_AUTH_OPEN};
        struct mrd_move_record m = {.id = 1, .from = "us", .to = "eu", .epoch = 1};
        ROW(rows[i].name);
        snprintf(a.region, sizeof(a.region), "%s", rows[i].home);
        desk_put_authority(d, "orders", &a);
        desk_put_authority(d, "events", &a);
        m.state = rows[i].moving ? MRD_MOVE_FREEZE : MRD_MOVE_DONE;
        PUT(d, "move/orders/all", mrd_move_record_encode, &m);
        for (unsigned r = 0; r < 3; r++) {
            for (unsigned o = 0; o < 3; o++) {
                desk_report(d, r, o)->rtt_us = r == o ? 0 : r == EU ? rows[i].eu_rtt : 100;
            }
            desk_renew(d, r);
        }
        assert_int_equal(mrd_coordinator_preferred_leader(&d->config, d->store, US),
                         rows[i].want);
        desk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lead_goes_where_it_helps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
