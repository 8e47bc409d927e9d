/*
 * What somebody else said, kept in a buffer of ours (agent/text.h).
 */
#include <string.h>

#include <text.h>

#include "unit.h"

static const struct row {
    const char *name, *in;
    size_t cap;
    const char *out;
} rows[] = {
    {"nothing", "", 12, ""},
    {"as much as fits", "disk is full", 13, "disk is full"},
    {"a byte more", "disk is fuller", 13, "disk i [...]"},
    {"not half a character", "dis\xc3\xbc full of it", 11, "dis [...]"},
    {"a whole one", "dis\xc3\xbc full of it", 12, "dis\xc3\xbc [...]"},
    {"only followers", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12, " [...]"},
};

static void test_keep(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char out[16];
        ROW(rows[i].name);
        memset(out, 'x', sizeof(out));
        text_keep(out, rows[i].cap, rows[i].in);
        assert_string_equal(out, rows[i].out);
        assert_int_equal(out[15], 'x');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
