/*
 * Configurations whose bytes want to do harm: read or refused, and never past their end.
 */
#include "conf_rows.h"

static char *repeated(const char *head, const char *unit, size_t times, const char *tail)
{
    size_t h = strlen(head), u = strlen(unit);
    char *s = malloc(h + u * times + strlen(tail) + 1);
    assert_non_null(s);
    memcpy(s, head, h);
    for (size_t i = 0; i < times; i++) {
        memcpy(s + h + i * u, unit, u);
    }
    strcpy(s + h + u * times, tail);
    return s;
}

static void test_hostile(void **state)
{
    static const struct {
        const char *name, *head, *unit;
        size_t times;
        const char *tail, *first; /* how the first error begins */
    } rows[] = {
        {"brackets without end", "multi_region: ", "[", 200000, "", "nested more than 12"},
        {"braces without end", "", "{", 200000, "", "a list or mapping as a key"},
        {"dashes without end", "", "- ", 100000, "", "nested more than 12"},
        {"question marks without end", "", "? ", 100000, "", "a list or mapping as a key"},
        {"a million aliases", "a: &a x\nb: [", "*a,", 80000, "]\n", "anchors and tags"},
        {"more bytes than are read", "#", "x", 256 * 1024, "\n", "the file has 262146 bytes"},
        {"more entries than are read", "multi_region: [", "a,", 600, "]\n",
         "more than 512 entries"},
        {"more values than are read", "multi_region: [",
         "[a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a],", 500, "]\n", "the file has too many"},
        {"one long value", "multi_region: ", "x", 2000, "\n", "a value of more than 1024"},
        {"one long key", "", "x", 2000, ": 1\n", "a value of more than 1024"},
        {"nothing but line ends", "", "\n", 200000, "", "the file is empty"},
        {"a block text of a megabyte", "multi_region: |\n", "  xxxxxxxxxxxxxx\n", 10000, "",
         "a value of more than 1024"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        char *text = repeated(rows[i].head, rows[i].unit, rows[i].times, rows[i].tail);
        assert_int_equal(MRD_ECONFIG, conf_rows_parse(text));
        print_message("#     %d:%d: %s\n", conf_said.errors[0].line, conf_said.errors[0].column,
                      conf_said.errors[0].text);
        assert_int_equal(
            0, strncmp(conf_said.errors[0].text, rows[i].first, strlen(rows[i].first)));
        free(text);
    }
}

static void test_nul(void **state)
{
    static const char text[] = "multi_region:\n  name: a\0b\n";
    (void)state;
    assert_int_equal(MRD_ECONFIG,
                     mrd_config_parse(text, sizeof(text) - 1, &conf_read, &conf_said));
    assert_int_equal(2, conf_said.errors[0].line);
    assert_int_equal(10, conf_said.errors[0].column);
    assert_string_equal("control character 0x00; remove it", conf_said.errors[0].text);
}

/** More mistakes than fit are counted. */
static void test_many_errors(void **state)
{
    char *text = repeated(WORLD "  monitoring:\n", "    x: 1\n", 100, "");
    (void)state;
    assert_int_equal(MRD_ECONFIG, conf_rows_parse(text));
    assert_int_equal(MRD_CONF_ERRORS_MAX, conf_said.count);
    /* Each unknown once, and each but the first given twice. */
    assert_int_equal(199 - MRD_CONF_ERRORS_MAX, conf_said.more);
    free(text);
}

static char *slurp(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(65536);
    assert_non_null(f);
    assert_non_null(text);
    *ret_len = fread(text, 1, 65536, f);
    fclose(f);
    return text;
}

/** A file cut anywhere is read or refused; the reader never runs past its end. */
static void test_truncated(void **state)
{
    size_t len;
    char *text = slurp(SOURCE_ROOT "/examples/shop/meridian.yaml", &len);
    (void)state;
    for (size_t n = 0; n < len; n++) {
        char *exact = malloc(n + 1); /* of its own, so that a sanitizer sees one byte more */
        memcpy(exact, text, n);
        int rc = mrd_config_parse(exact, n, &conf_read, &conf_said);
        assert_true(rc == 0 || (rc == MRD_ECONFIG && conf_said.count > 0));
        free(exact);
    }
    free(text);
}

/** Any one byte changed: read or refused, and what is accepted is within its tables. */
static void test_damaged(void **state)
{
    static const char bytes[] = {'\0', '\n', ' ', ':', '-', '*',
                                 '&',  '[',  '{', '"', '#', '\xff'};
    size_t len;
    char *text = slurp(SOURCE_ROOT "/examples/shop/meridian.yaml", &len);
    (void)state;
    for (size_t n = 0; n < len; n++) {
        char was = text[n];
        text[n] = bytes[n % sizeof(bytes)];
        int rc = mrd_config_parse(text, len, &conf_read, &conf_said);
        assert_true(rc == 0 || (rc == MRD_ECONFIG && conf_said.count > 0));
        for (unsigned i = 0; rc == 0 && i < conf_read.class_count; i++) {
            const struct mrd_conf_class *c = &conf_read.classes[i];
            assert_true(c->posture == MRD_PARTITIONED || c->home < conf_read.region_count);
            assert_int_equal(0, c->replicas >> conf_read.region_count);
            assert_int_equal(0, c->allowed & ~c->replicas);
        }
        text[n] = was;
    }
    free(text);
}

static void test_no_file(void **state)
{
    (void)state;
    assert_int_equal(MRD_EIO, mrd_config_load("/nonexistent/x.yaml", &conf_read, &conf_said));
    assert_int_equal(1, conf_said.count);
    assert_string_equal("could not read the file: No such file or directory",
                        conf_said.errors[0].text);
    assert_int_equal(MRD_EIO, mrd_config_load("/", &conf_read, &conf_said));
    assert_string_equal("could not read the file: Is a directory", conf_said.errors[0].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_nul),
        cmocka_unit_test(test_many_errors), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_damaged),     cmocka_unit_test(test_no_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
