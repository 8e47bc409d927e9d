/*
 * The ledger of a workload survives being read back: what was acknowledged stays so, what is
 * torn or foreign is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <ledger.h>

static char path[] = "/tmp/meridian-ledger-XXXXXX";

static void write_text(const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_round_trip(void **state)
{
    struct mrd_err err;
    struct lab_ledger *l;
    struct lab_write *writes;
    size_t count;
    long a, b, c;

    (void)state;
    unlink(path);
    l = lab_ledger_new(path, "tag", &err);
    assert_non_null(l);
    a = lab_ledger_intend(l, LAB_EVENTS, 0, "a");
    b = lab_ledger_intend(l, LAB_ORDERS, 2, "b");
    c = lab_ledger_intend(l, LAB_CATALOG, 0, "7:1");
    lab_ledger_intend(l, LAB_ACCOUNTS, 0, "d");
    assert_int_equal(lab_ledger_outcome(l, a, LAB_UNKNOWN, NULL), 0);
    assert_int_equal(lab_ledger_outcome(l, a, LAB_ACKED, "eu"), 0);
    assert_int_equal(lab_ledger_outcome(l, b, LAB_REFUSED, NULL), 0);
    assert_int_equal(lab_ledger_outcome(l, c, LAB_UNKNOWN, NULL), 0);
    lab_ledger_free(l);

    /* An old ledger is never overwritten. */
    assert_null(lab_ledger_new(path, "other", &err));

    l = lab_ledger_load(path, &err);
    assert_non_null(l);
    assert_string_equal(lab_ledger_tag(l), "tag");
    writes = lab_ledger_sorted(l, &count);
    assert_int_equal(count, 4);
    assert_int_equal(lab_ledger_find(writes, count, "a")->outcome, LAB_ACKED);
    assert_int_equal(lab_ledger_find(writes, count, "b")->outcome, LAB_REFUSED);
    assert_int_equal(lab_ledger_find(writes, count, "b")->partition, 2);
    assert_int_equal(lab_ledger_find(writes, count, "7:1")->outcome, LAB_UNKNOWN);
    assert_int_equal(lab_ledger_find(writes, count, "d")->outcome, LAB_INTENDED);
    assert_null(lab_ledger_find(writes, count, "e"));
    lab_ledger_free(l);
}

struct load_row {
    const char *name, *text;
    int writes; /* -1: refused */
};

static const struct load_row loads[] = {
    {"nothing", "", -1},
    {"no run line", "I 1 events 0 a\n", -1},
    {"a run without writes", "run t\n", 0},
    {"one write", "run t\nI 1 events 0 a\nA 2 a eu\n", 1},
    {"a torn last line is dropped", "run t\nI 1 events 0 a\nI 2 eve", 1},
    {"a class of another shop", "run t\nI 1 wishes 0 a\n", -1},
    {"a partition beyond the table", "run t\nI 1 orders 16 a\n", -1},
    {"an outcome without intention is ignored", "run t\nA 2 zzz eu\n", 0},
    {"an unknown letter", "run t\nX 2 a\n", -1},
    {"an id that is too long",
     "run t\nI 1 events 0 "
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
     -1},
};

static void test_load(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        struct mrd_err err;
        struct lab_ledger *l;
        size_t count = 0;

        print_message("# %s\n", loads[i].name);
        write_text(loads[i].text);
        l = lab_ledger_load(path, &err);
        if (loads[i].writes < 0) {
            assert_null(l);
            continue;
        }
        assert_non_null(l);
        lab_ledger_sorted(l, &count);
        assert_int_equal(count, loads[i].writes);
        lab_ledger_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_load),
    };
    int failed;

    close(mkstemp(path));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
