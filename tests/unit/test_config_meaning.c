/*
 * What good configurations mean: the published template, the shop, and what is not written.
 */
#include "conf_rows.h"

#include <math.h>

static const struct mrd_conf_class *class_of(const char *name)
{
    int i = mrd_config_class(&conf_read, name);
    assert_true(i >= 0);
    return &conf_read.classes[i];
}

static void load(const char *path)
{
    int rc = mrd_config_load(path, &conf_read, &conf_said);
    mrd_config_print_errors(stderr, path, &conf_said);
    assert_int_equal(0, rc);
}

static void expect_class(const char *name, enum mrd_posture posture,
                         enum mrd_durability durability, mrd_region home, mrd_regions replicas,
                         mrd_regions allowed)
{
    const struct mrd_conf_class *c = class_of(name);
    assert_int_equal(posture, c->posture);
    assert_int_equal(durability, c->durability);
    assert_int_equal(home, c->home);
    assert_int_equal(replicas, c->replicas);
    assert_int_equal(allowed, c->allowed);
}

static void test_template(void **state)
{
    (void)state;
    load(SOURCE_ROOT "/examples/template.yaml");
    assert_string_equal("meridian", conf_read.name);
    assert_int_equal(3, conf_read.region_count);
    assert_string_equal("us-east-1", conf_read.regions[0].name);
    assert_true(conf_read.regions[0].primary);
    assert_false(conf_read.regions[1].primary);
    assert_string_equal("app-eu.example.com", conf_read.regions[1].agent_host);
    assert_int_equal(7400, conf_read.regions[1].agent_port);
    assert_string_equal("app-eu.example.com", conf_read.regions[1].db_host);
    assert_string_equal("SG", conf_read.regions[2].country);
    assert_string_equal("AS", conf_read.regions[2].continent);
    assert_string_equal("EU", conf_read.regions[1].jurisdiction); /* gdpr_regions */
    assert_string_equal("", conf_read.regions[0].jurisdiction);

    assert_int_equal(4, conf_read.class_count);
    assert_string_equal("schema", conf_read.classes[0].name);
    expect_class("schema", MRD_ACTIVE_PASSIVE, MRD_QUORUM, 0, 7, 7);
    expect_class("default", MRD_READ_LOCAL, MRD_ASYNC, 0, 7, 7);
    expect_class("user_pii", MRD_SINGLE_REGION, MRD_ASYNC, 1, 2, 2);
    expect_class("financial", MRD_SINGLE_REGION, MRD_ASYNC, 0, 1, 1);

    assert_int_equal(5000, conf_read.lag_threshold_ms);
    assert_int_equal(10240, conf_read.retained_wal_mb);
    assert_int_equal(MRD_STRATEGY_LATENCY, conf_read.strategy);
    assert_int_equal(30000, conf_read.probe_interval_ms);
    assert_int_equal(3, conf_read.probe_threshold);
    assert_int_equal(MRD_FAILOVER_AUTOMATIC, conf_read.failover);
    assert_true(conf_read.note_count > 0);
}

/** The published template, with no note lost: every key that nothing acts on is named. */
static void test_template_notes(void **state)
{
    static const char *const idle[] = {
        "22:5: \"conflict_resolution\" is recorded, but nothing acts on it yet",
        "39:5: \"max_cross_region_transfer_gb\" is recorded, but nothing acts on it yet",
        "40:5: \"auto_scale_regions\" is recorded, but nothing acts on it yet",
        "41:5: \"idle_region_shutdown\" is recorded, but nothing acts on it yet",
        "47:5: \"cost_tracking\" is recorded, but nothing acts on it yet",
        "7:33: service \"cache\" is recorded, but nothing acts on it yet",
    };
    (void)state;
    load(SOURCE_ROOT "/examples/template.yaml");
    for (size_t i = 0; i < ROWS(idle); i++) {
        bool found = false;
        ROW(idle[i]);
        for (unsigned k = 0; k < conf_read.note_count; k++) {
            found = found || strcmp(conf_read.notes[k], idle[i]) == 0;
        }
        assert_true(found);
    }
}

/** A strategy that the map cannot follow yet is said to be without effect; latency is not. */
static void test_strategy_note(void **state)
{
    bool found = false;
    (void)state;
    assert_int_equal(0, conf_rows_parse(WORLD "  routing: {strategy: weighted}\n"));
    for (unsigned k = 0; k < conf_read.note_count; k++) {
        found = found ||
                strstr(conf_read.notes[k], "strategy \"weighted\" is recorded, but clients are "
                                           "placed by nearness") != NULL;
    }
    assert_true(found);
    load(SOURCE_ROOT "/examples/template.yaml");
    for (unsigned k = 0; k < conf_read.note_count; k++) {
        assert_null(strstr(conf_read.notes[k], "strategy \"latency\""));
    }
}

/** Nor does a region's share of clients do anything; without the key nothing is said. */
static void test_weight_note(void **state)
{
    unsigned found = 0;
    (void)state;
    assert_int_equal(
        0, conf_rows_parse(TOP "    - {name: us, primary: true, endpoint: us.example.com, "
                               "weight: 30}\n" EU "  failover: {mode: manual}\n"));
    for (unsigned k = 0; k < conf_read.note_count; k++) {
        found += strstr(conf_read.notes[k], "\"weight\" is recorded, but nothing acts on it") !=
                 NULL;
    }
    assert_int_equal(1, found);
}

static void test_shop(void **state)
{
    (void)state;
    load(SOURCE_ROOT "/examples/shop/meridian.yaml");
    assert_string_equal("shop", conf_read.name);
    assert_int_equal(3, conf_read.region_count);
    assert_int_equal(5, conf_read.class_count);
    assert_int_equal(0, conf_read.note_count);
    expect_class("schema", MRD_ACTIVE_PASSIVE, MRD_QUORUM, 0, 7, 7);
    expect_class("catalog", MRD_READ_LOCAL, MRD_ASYNC, 0, 7, 7);
    expect_class("accounts", MRD_ACTIVE_PASSIVE, MRD_QUORUM, 0, 7, 7);
    expect_class("orders", MRD_PARTITIONED, MRD_QUORUM, MRD_REGION_NONE, 7, 7);
    expect_class("events", MRD_ACTIVE_PASSIVE, MRD_ASYNC, 0, 7, 7);
    assert_int_equal(1, mrd_config_remote_acks(class_of("accounts")));
    assert_int_equal(0, mrd_config_remote_acks(class_of("events")));

    const struct mrd_conf_class *orders = class_of("orders");
    assert_string_equal("home_region", orders->partition_by);
    assert_int_equal(3, orders->partition_count);
    assert_string_equal("ap-northeast-1", orders->partitions[2]);
    assert_int_equal(2, orders->partition_home[2]);
    assert_int_equal(2, orders->table_count);
    assert_string_equal("shop.order_lines", orders->tables[1]);

    const struct mrd_conf_region *ap = &conf_read.regions[2];
    const uint8_t v6[16] = {0xfd, 0x77, [15] = 3};
    assert_string_equal("10.77.3.1", ap->agent_host);
    assert_int_equal(7400, ap->agent_port);
    assert_int_equal(8443, ap->edge_port);
    assert_string_equal("app", ap->db_name);
    assert_int_equal(1, ap->v4_count);
    assert_int_equal(1, ap->v6_count);
    assert_memory_equal(v6, ap->v6[0], 16);
    assert_int_equal(1, ap->network_count);
    assert_int_equal(24, ap->networks[0].prefix);
    assert_string_equal("JP", ap->country);
    assert_true(fabs(ap->latitude - 35.7) < 0.1);
    assert_string_equal("shop.example", conf_read.dns_zone);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(0, conf_rows_parse(WORLD));
    assert_string_equal("meridian", conf_read.name);
    assert_int_equal(1, conf_read.version);
    assert_int_equal(4000, conf_read.lease_ms);
    assert_int_equal(500, conf_read.lease_margin_ms);
    assert_int_equal(300, conf_read.commit_margin_ms);
    assert_int_equal(500, conf_read.renew_ms);
    assert_int_equal(1200, conf_read.election_ms);
    assert_int_equal(50, conf_read.heartbeat_ms);
    assert_int_equal(500, conf_read.probe_interval_ms);
    assert_int_equal(1000, conf_read.probe_timeout_ms);
    assert_int_equal(3, conf_read.probe_threshold);
    assert_int_equal(5000, conf_read.lag_threshold_ms);
    assert_int_equal(5000, conf_read.stale_after_ms);
    assert_int_equal(30, conf_read.dns_ttl_s);
    assert_string_equal("", conf_read.dns_zone);
    assert_int_equal(MRD_STRATEGY_LATENCY, conf_read.strategy);
    assert_string_equal("eu-west-1", conf_read.regions[1].failure_domain);
    assert_int_equal(100, conf_read.regions[1].weight);
    assert_string_equal("192.0.2.2", conf_read.regions[1].edge_host);
    assert_int_equal(1, conf_read.regions[1].v4_count); /* of an edge known by address */
    assert_int_equal(5432, conf_read.regions[1].db_port);
}

static void test_accepted(void **state)
{
    static const struct {
        const char *name, *text, *class_name;
        enum mrd_posture posture;
        enum mrd_durability durability;
        mrd_region home;
        mrd_regions replicas, allowed;
    } rows[] = {
        {"one region alone", TOP US, "default", MRD_SINGLE_REGION, MRD_ASYNC, 0, 1, 1},
        {"two regions and a witness", TOP US EU WITNESS, "default", MRD_READ_LOCAL, MRD_ASYNC,
         0, 3, 3},
        {"two regions by hand", TOP US EU "  failover: {mode: manual}\n", "schema",
         MRD_ACTIVE_PASSIVE, MRD_ASYNC, 0, 3, 3},
        {"semi-sync is a quorum", WORLD "  replication: {strategy: semi-sync}\n", "default",
         MRD_READ_LOCAL, MRD_QUORUM, 0, 7, 7},
        {"durability from replication.strategy",
         WORLD "  replication: {strategy: sync}\n" CLASSES
               "    - {name: a, posture: active-passive}\n",
         "a", MRD_ACTIVE_PASSIVE, MRD_QUORUM, 0, 7, 7},
        {"classes before regions",
         "multi_region:\n" CLASSES "    - {name: a, posture: read-local, home: eu-west-1}\n"
         "  regions:\n" US EU AP,
         "a", MRD_READ_LOCAL, MRD_ASYNC, 1, 7, 7},
        {"residency limits the replicas",
         WORLD CLASSES "    - {name: a, posture: active-passive, home: eu-west-1}\n" RESIDENCY
                       "      - {type: a, allowed_regions: [eu-west-1, ap-northeast-1]}\n",
         "a", MRD_ACTIVE_PASSIVE, MRD_ASYNC, 1, 6, 6},
        {"one legal region, single-region",
         WORLD CLASSES "    - {name: a, posture: single-region}\n" RESIDENCY
                       "      - {type: a, allowed_regions: [ap-northeast-1]}\n",
         "a", MRD_SINGLE_REGION, MRD_ASYNC, 2, 4, 4},
        {"residency of two regions makes a pair",
         WORLD RESIDENCY "      - {type: pii, allowed_regions: [eu-west-1, ap-northeast-1]}\n",
         "pii", MRD_ACTIVE_PASSIVE, MRD_ASYNC, 1, 6, 6},
        {"copies everywhere, home in two",
         WORLD CLASSES "    - {name: a, posture: read-local, allowed_regions: [us-east-1, "
                       "eu-west-1]}\n",
         "a", MRD_READ_LOCAL, MRD_ASYNC, 0, 7, 3},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        int rc = conf_rows_parse(rows[i].text);
        mrd_config_print_errors(stderr, rows[i].name, &conf_said);
        assert_int_equal(0, rc);
        expect_class(rows[i].class_name, rows[i].posture, rows[i].durability, rows[i].home,
                     rows[i].replicas, rows[i].allowed);
    }
}

static void test_partitions(void **state)
{
    (void)state;
    assert_int_equal(
        0,
        conf_rows_parse(WORLD CLASSES
                        "    - name: a\n      posture: partitioned\n"
                        "      partition_by: country\n"
                        "      partitions: {DE: eu-west-1, US: us-east-1, FR: eu-west-1}\n"));
    const struct mrd_conf_class *a = class_of("a");
    assert_int_equal(3, a->partition_count);
    assert_string_equal("FR", a->partitions[2]);
    assert_int_equal(1, a->partition_home[2]);
}

/** "NO" is a country and not a boolean. */
static void test_country(void **state)
{
    (void)state;
    assert_int_equal(0, conf_rows_parse(TOP US EU
                                        "    - {name: oslo, agent: 192.0.2.9, country: NO, "
                                        "location: [59.9, 10.8]}\n"));
    assert_string_equal("NO", conf_read.regions[2].country);
    assert_string_equal("", conf_read.regions[2].continent);
}

/** A region under the GDPR may say more exactly whose law holds; a part of a country is a law.
 */
static void test_jurisdiction(void **state)
{
    (void)state;
    assert_int_equal(
        0, conf_rows_parse(TOP US EU "    - {name: oslo, agent: 192.0.2.9, jurisdiction: EEA}\n"
                                     "    - {name: ca, agent: 192.0.2.8, jurisdiction: US-CA}\n"
                                     "  data_governance: {gdpr_regions: [oslo, eu-west-1]}\n"));
    assert_string_equal("EU", conf_read.regions[1].jurisdiction);
    assert_string_equal("EEA", conf_read.regions[2].jurisdiction);
    assert_string_equal("US-CA", conf_read.regions[3].jurisdiction);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template),      cmocka_unit_test(test_template_notes),
        cmocka_unit_test(test_strategy_note), cmocka_unit_test(test_weight_note),
        cmocka_unit_test(test_shop),          cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_accepted),      cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_country),       cmocka_unit_test(test_jurisdiction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
