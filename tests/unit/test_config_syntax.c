/*
 * A configuration that is no YAML, or not ours: each kind of mistake with the place and the
 * words a user gets.
 */
#include "conf_rows.h"

/* clang-format off */
static const struct conf_row yaml_rows[] = {
    {"empty file",
     "",
     "1:1: the file is empty; it should begin with \"multi_region:\"\n"},
    {"only a comment",
     "# nothing\n",
     "1:1: the file is empty; it should begin with \"multi_region:\"\n"},
    {"a scalar at the top",
     "hello\n",
     "1:1: a single value here; \"multi_region:\" belongs here\n"},
    {"a list at the top",
     "- a\n",
     "1:1: a list here; \"multi_region:\" belongs here\n"},
    {"nothing under multi_region",
     "multi_region:\n",
     "1:14: \"multi_region\" holds nothing; a mapping belongs here\n"},
    {"no multi_region",
     "regions: []\n",
     "1:1: unknown key \"regions\"; known here: multi_region\n"},
    {"bad indentation",
     "multi_region:\n"
     "  name: a\n"
     "   version: 1\n",
     "3:11: not valid YAML: mapping values are not allowed in this context; check "
     "the indentation, colons and quotes around here\n"},
    {"tab as indentation",
     "multi_region:\n"
     "\tname: a\n",
     "2:1: not valid YAML: found character that cannot start any token; indent "
     "with spaces, and put values with special characters in quotes\n"},
    {"open quote",
     "multi_region:\n"
     "  name: \"a\n",
     "3:1: not valid YAML: found unexpected end of stream; check the indentation, "
     "colons and quotes around here\n"},
    {"open bracket",
     "multi_region: [\n",
     "2:1: not valid YAML: did not find expected node content; check the "
     "indentation, colons and quotes around here\n"},
    {"two documents",
     WORLD "---\n"
     "multi_region: {}\n",
     "6:1: a second document begins here; one file holds one configuration\n"},
    {"alias",
     TOP "    - &a {name: us-east-1, primary: true, agent: 192.0.2.1:7400}\n"
     "    - *a\n",
     "2:3: no region is primary; set primary: true for exactly one\n"
     "3:7: anchors and tags are not supported; write the value alone\n"
     "4:7: aliases are not supported; write the value out\n"},
    {"anchor on a scalar",
     WORLD "  name: &n shop\n",
     "6:9: anchors and tags are not supported; write the value alone\n"},
    {"unknown alias",
     "multi_region: *x\n",
     "1:15: aliases are not supported; write the value out\n"},
    {"tag",
     WORLD "  version: !!int 3\n",
     "6:12: anchors and tags are not supported; write the value alone\n"},
    {"tag on a mapping",
     "multi_region: !!map {}\n",
     "1:15: anchors and tags are not supported; write the value alone\n"},
    {"merge key",
     TOP "    - {<<: {primary: true}, name: us-east-1, agent: 192.0.2.1}\n",
     "2:3: no region is primary; set primary: true for exactly one\n"
     "3:8: unknown key \"<<\"; known here: name, primary, witness, endpoint, "
     "services, failure_domain, jurisdiction, country, continent, location, "
     "weight, networks, agent, database, edge\n"},
    {"list as a key",
     "multi_region:\n"
     "  ? [a]\n"
     "  : b\n",
     "2:5: a list or mapping as a key; a key is a word\n"},
    {"key twice",
     WORLD "  name: shop\n"
     "  name: shop\n",
     "7:3: \"name\" is given twice, first in line 6; keep one of them\n"},
    {"NUL escape",
     WORLD "  name: \"a\\0b\"\n",
     "6:9: a value with a NUL character in it; remove it\n"},
    {"terminal escape in a value",
     WORLD "  name: \"\\e[2J\\x9b\"\n",
     "6:9: \"?[2J??\" is not a valid name; write 1 to 32 of a-z, 0-9 and hyphens "
     "inside\n"},
    {"not UTF-8",
     "multi_region:\n  name: caf\351\n",
     "2:12: byte 0xe9 is not UTF-8; save the file as UTF-8\n"},
    {"overlong UTF-8",
     "multi_region: \"\300\257\"\n",
     "1:16: byte 0xc0 is not UTF-8; save the file as UTF-8\n"},
    {"surrogate in UTF-8",
     "multi_region: \"\355\240\200\"\n",
     "1:16: byte 0xed is not UTF-8; save the file as UTF-8\n"},
    {"control character",
     "multi_region:\n  name: a\001b\n",
     "2:10: control character 0x01; remove it\n"},
    {"UTF-16",
     "\377\376m",
     "1:1: byte 0xff is not UTF-8; save the file as UTF-8\n"},
    {"deep nesting",
     "multi_region: [[[[[[[[[[[[[]]]]]]]]]]]]]\n",
     "1:26: nested more than 12 levels deep; this is not a configuration\n"},
};

static const struct conf_row keys_rows[] = {
    {"unknown key, near",
     WORLD "  routin: {}\n",
     "6:3: unknown key \"routin\"; did you mean \"routing\"?\n"},
    {"unknown key, far",
     WORLD "  failover: {colour: red}\n",
     "6:14: unknown key \"colour\"; known here: mode\n"},
    {"swapped letters",
     "mutli_region: {}\n",
     "1:1: unknown key \"mutli_region\"; did you mean \"multi_region\"?\n"},
    {"several at once",
     "multi_region:\n"
     "  versoin: 1\n"
     "  regions:\n"
     "    - {name: A, primary: maybe, agent: 192.0.2.1:0, wieght: 3}\n"
     "  routing: {failover_threshold: 0}\n"
     "  coordination: {lease: 4}\n",
     "2:3: unknown key \"versoin\"; did you mean \"version\"?\n"
     "4:14: \"A\" is not a valid name; write 1 to 32 of a-z, 0-9 and hyphens inside\n"
     "4:26: \"maybe\" is neither true nor false; write primary: true or primary: "
     "false\n"
     "4:40: \"192.0.2.1:0\" is not HOST:PORT; write a host name or address and a "
     "port from 1 to 65535, such as 192.0.2.1:7400\n"
     "4:53: unknown key \"wieght\"; did you mean \"weight\"?\n"
     "5:33: \"0\" is out of range; failover_threshold takes a whole number from 1 "
     "to 100\n"
     "6:25: \"4\" has no unit; write 4s or 4ms\n"},
    {"section is a list",
     WORLD "  routing: [a]\n",
     "6:12: \"routing\" holds a list; a mapping belongs here\n"},
    {"section is empty",
     WORLD "  routing:\n",
     "6:11: \"routing\" holds nothing; a mapping belongs here\n"},
    {"list is a mapping",
     "multi_region:\n"
     "  regions: {a: b}\n",
     "2:12: \"regions\" holds a mapping; a list of regions belongs here\n"},
    {"scalar is a mapping",
     WORLD "  name: {a: b}\n",
     "6:9: \"name\" holds a mapping; a name or text belongs here\n"},
    {"scalar is empty",
     WORLD "  name:\n",
     "6:8: \"name\" holds nothing; a name or text belongs here\n"},
    {"empty in quotes",
     WORLD "  name: \"\"\n",
     "6:9: \"name\" holds nothing; a name or text belongs here\n"},
    {"region is a scalar",
     TOP US "    - eu-west-1\n" AP,
     "4:7: a single value here; a mapping that describes a region belongs here\n"},
};

/* clang-format on */

static void test_yaml(void **state)
{
    (void)state;
    conf_rows_check(yaml_rows, ROWS(yaml_rows));
}

static void test_keys(void **state)
{
    (void)state;
    conf_rows_check(keys_rows, ROWS(keys_rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
