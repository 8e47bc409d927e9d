/*
 * What libraft answers to messages of an older term and to pre-votes, and what leaves here in
 * its place: its own core, with a log of four entries in term 5.
 */
#include "unit.h"

#include <raft_mend.h>

#define LOG_ENDS 4
#define TERM 5
#define CHANCE 77 /* as if that lay in memory */

static struct raft_entry *log_of_four(void)
{
    struct raft_entry *entries = raft_malloc(LOG_ENDS * sizeof(*entries));
    static const char *const names[] = {"us", "eu", "ap"};
    struct raft_configuration voters;
    struct raft_buffer first;
    char *batch;

    raft_configuration_init(&voters);
    for (raft_id id = 1; id <= 3; id++) {
        assert_int_equal(raft_configuration_add(&voters, id, names[id - 1], RAFT_VOTER), 0);
    }
    assert_int_equal(raft_configuration_encode(&voters, &first), 0);
    raft_configuration_close(&voters);
    batch = raft_malloc(first.len + LOG_ENDS * 8);
    assert_non_null(entries);
    assert_non_null(batch);
    memcpy(batch, first.base, first.len);
    raft_free(first.base);
    for (unsigned i = 0; i < LOG_ENDS; i++) {
        entries[i] = (struct raft_entry){.term = i == 0 ? 1 : TERM,
                                         .type = i == 0 ? RAFT_CHANGE : RAFT_COMMAND,
                                         .buf = {i == 0 ? batch : batch + first.len + 8 * i, 8},
                                         .batch = batch};
    }
    entries[0].buf.len = first.len;
    return entries;
}

static void start(struct raft *r)
{
    struct raft_entry *entries = log_of_four();
    struct raft_event e = {.type = RAFT_START, .capacity = 60000};
    struct raft_update u;

    assert_int_equal(raft_init(r, NULL, NULL, 1, "us"), 0);
    e.start.term = TERM;
    e.start.start_index = 1;
    e.start.entries = entries;
    e.start.n_entries = LOG_ENDS;
    assert_int_equal(raft_step(r, &e, &u), 0);
    raft_free(entries[0].batch);
    raft_free(entries);
}

/* The answer to @m as it leaves; what libraft left unset is @CHANCE. */
static struct raft_message answer(struct raft *r, struct raft_message *m)
{
    struct raft_event e = {.type = RAFT_RECEIVE, .time = 1, .capacity = 60000};
    struct raft_message result;
    struct raft_update u;
    bool late = raft_late(r, m);

    m->server_id = 2;
    m->server_address = "eu";
    e.receive.message = m;
    assert_int_equal(raft_step(r, &e, &u), 0);
    assert_true((u.flags & RAFT_UPDATE_MESSAGES) != 0);
    assert_int_equal(u.messages.n, 1);
    result = u.messages.batch[0];
    if (late) {
        result.append_entries_result.last_log_index = CHANCE;
    }
    raft_mend(r, late, &result);
    return result;
}

static void test_entries(void **state)
{
    static const struct {
        const char *name;
        raft_term term, previous_term;
        raft_index previous, rejected, last;
    } rows[] = {
        {"of an older term, beyond our log", TERM - 1, TERM - 1, 900, 900, LOG_ENDS},
        {"of an older term, within it", TERM - 1, TERM - 1, 3, 3, 2},
        {"of an older term, from the first on: no consent", TERM - 1, 0, 0, 0, 0},
        {"of this term, beyond our log", TERM, TERM, 900, 900, LOG_ENDS},
        {"of this term, and we have it", TERM, TERM, 3, 0, 3},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
        struct raft_append_entries_result result;
        struct raft r;

        ROW(rows[i].name);
        m.append_entries = (struct raft_append_entries){.term = rows[i].term,
                                                        .prev_log_index = rows[i].previous,
                                                        .prev_log_term = rows[i].previous_term};
        start(&r);
        result = answer(&r, &m).append_entries_result;
        assert_int_equal(result.term, TERM);
        assert_int_equal(result.rejected, rows[i].rejected);
        assert_int_equal(result.last_log_index, rows[i].last);
        raft_close(&r, NULL);
    }
}

static void test_image(void **state)
{
    struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT};
    struct raft_append_entries_result result;
    struct raft r;
    (void)state;

    start(&r);
    m.install_snapshot = (struct raft_install_snapshot){
        .term = TERM - 1, .last_index = 900, .last_term = TERM - 1, .conf_index = 1};
    raft_configuration_init(&m.install_snapshot.conf);
    m.install_snapshot.data.base = raft_malloc(8);
    m.install_snapshot.data.len = 8;
    result = answer(&r, &m).append_entries_result;
    assert_int_equal(result.term, TERM);
    assert_int_equal(result.rejected, 0);
    assert_int_equal(result.last_log_index, 0);
    raft_close(&r, NULL);
}

static void test_pre_vote(void **state)
{
    static const struct {
        const char *name;
        bool pre_vote;
        raft_term term, last_term, answers;
        bool granted;
    } rows[] = {
        {"of a term that is over: told ours", true, TERM - 2, TERM, TERM, false},
        {"of ours, with an older log", true, TERM, 1, TERM, false},
        {"of the next, with an older log", true, TERM + 1, 1, TERM + 1, false},
        {"of the next, with as new a log", true, TERM + 1, TERM, TERM + 1, true},
        {"a real vote of a term that is over", false, TERM - 2, TERM, TERM, false},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct raft_message m = {.type = RAFT_REQUEST_VOTE};
        struct raft_request_vote_result result;
        struct raft r;

        ROW(rows[i].name);
        m.request_vote = (struct raft_request_vote){.term = rows[i].term,
                                                    .candidate_id = 2,
                                                    .last_log_index = LOG_ENDS,
                                                    .last_log_term = rows[i].last_term,
                                                    .pre_vote = rows[i].pre_vote};
        start(&r);
        result = answer(&r, &m).request_vote_result;
        assert_int_equal(result.pre_vote, rows[i].pre_vote);
        assert_int_equal(result.vote_granted, rows[i].granted);
        assert_int_equal(result.term, rows[i].answers);
        raft_close(&r, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_pre_vote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
