/*
 * The managed PostgreSQL configuration: what each version and each deployment gets.
 */
#include "unit.h"

#include <pgconf.h>

static struct mrd_config *three_regions(void)
{
    static const char *const names[] = {"us-east-1", "eu-west-1", "it's"};
    struct mrd_config *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->region_count = 3;
    c->retained_wal_mb = 512;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(c->regions[i].name, MRD_NAME_MAX, "%s", names[i]);
        snprintf(c->regions[i].db_host, MRD_CONF_STR, "10.0.0.%u", i + 1);
        snprintf(c->regions[i].db_name, MRD_NAME_MAX, "app");
        c->regions[i].db_port = 5432;
    }
    c->class_count = 2;
    c->classes[0].durability = MRD_ASYNC;
    c->classes[0].replicas = 7;
    c->classes[1].durability = MRD_QUORUM;
    c->classes[1].replicas = 7;
    return c;
}

static const struct row {
    const char *name;
    mrd_region self;
    unsigned version;
    mrd_regions quorum_replicas;
    const char *has, *lacks;
} rows[] = {
    {"two of the others, one must answer", 0, 150020, 7,
     "synchronous_standby_names = 'ANY 1 (\"meridian_eu_west_1\", \"meridian_it's\")'\n", NULL},
    {"itself is never named", 1, 150020, 7, "(\"meridian_us_east_1\", ", "meridian_eu_west_1"},
    {"no quorum class here", 2, 150020, 3, "synchronous_standby_names = ''\n", NULL},
    {"a minor release that asks for the plugin's name", 0, 150019, 7,
     "output_plugin_libraries = 'pgoutput, test_decoding, meridian'\n", NULL},
    {"an older one, which would refuse to start", 0, 150018, 7, "wal_level = logical\n",
     "output_plugin_libraries"},
    {"17.11 asks", 0, 170011, 7, "output_plugin_libraries", NULL},
    {"17.10 does not", 0, 170010, 7, "wal_level", "output_plugin_libraries"},
    {"commits are local unless the guard says more", 0, 150020, 7,
     "synchronous_commit = local\n", NULL},
    {"no region that is away fills the disk", 0, 150020, 7, "max_slot_wal_keep_size = 512MB\n",
     NULL},
    {"a quote in a name is doubled", 2, 150020, 3, "meridian.region = 'it''s'\n", NULL},
};

static void test_text(void **state)
{
    char text[16384];
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_config *c = three_regions();
        struct pgconf conf = {.config = c,
                              .self = rows[i].self,
                              .data_dir = "/d",
                              .run_dir = "/r",
                              .certs_dir = "/c",
                              .version = rows[i].version};
        ROW(rows[i].name);
        c->classes[1].replicas = rows[i].quorum_replicas;
        int len = pgconf_text(&conf, text, sizeof(text));
        assert_true(len > 0);
        assert_int_equal(strlen(text), len);
        assert_non_null(strstr(text, rows[i].has));
        if (rows[i].lacks != NULL) {
            assert_null(strstr(text, rows[i].lacks));
        }
        assert_int_equal(pgconf_text(&conf, text, (size_t)len), MRD_EFULL);
        free(c);
    }
}

static void test_version(void **state)
{
    (void)state;
    assert_int_equal(pgconf_version("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"),
                     150020);
    assert_int_equal(pgconf_version("postgres (PostgreSQL) 17.2"), 170002);
    assert_int_equal(pgconf_version("postgres (PostgreSQL) 18devel"), 0);
    assert_int_equal(pgconf_version("sh: not found"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
