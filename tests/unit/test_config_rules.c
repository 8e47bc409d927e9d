/*
 * Configurations whose values are fine alone, and wrong together: regions, classes, residency,
 * times.
 */
#include "conf_rows.h"

/* clang-format off */
static const struct conf_row regions_rows[] = {
    {"none",
     "multi_region:\n"
     "  name: shop\n",
     "2:3: no regions; add regions: with at least one\n"},
    {"empty list",
     "multi_region:\n"
     "  regions: []\n",
     "2:12: no regions in the list; describe at least one\n"},
    {"too many",
     TOP US "    - {name: r2, agent: 192.0.2.2}\n"
     "    - {name: r3, agent: 192.0.2.3}\n"
     "    - {name: r4, agent: 192.0.2.4}\n"
     "    - {name: r5, agent: 192.0.2.5}\n"
     "    - {name: r6, agent: 192.0.2.6}\n"
     "    - {name: r7, agent: 192.0.2.7}\n"
     "    - {name: r8, agent: 192.0.2.8}\n"
     "    - {name: r9, agent: 192.0.2.9}\n"
     "    - {name: r10, agent: 192.0.2.10}\n"
     "    - {name: r11, agent: 192.0.2.11}\n"
     "    - {name: r12, agent: 192.0.2.12}\n"
     "    - {name: r13, agent: 192.0.2.13}\n"
     "    - {name: r14, agent: 192.0.2.14}\n"
     "    - {name: r15, agent: 192.0.2.15}\n"
     "    - {name: r16, agent: 192.0.2.16}\n"
     "    - {name: r17, agent: 192.0.2.17}\n",
     "19:7: more than 16 regions; leave the rest out\n"},
    {"without a name",
     TOP US "    - {agent: 192.0.2.2:7400}\n" AP,
     "4:7: a region without a name; add name: such as eu-west-1\n"},
    {"without an address",
     TOP US "    - {name: eu-west-1}\n" AP,
     "4:7: region \"eu-west-1\" has no address; give it endpoint or agent\n"},
    {"no primary",
     TOP EU AP "    - {name: us-east-1, agent: 192.0.2.1:7400}\n",
     "2:3: no region is primary; set primary: true for exactly one\n"},
    {"two primaries",
     TOP US "    - {name: eu-west-1, primary: true, agent: 192.0.2.2:7400}\n" AP,
     "4:34: a second primary region; \"us-east-1\" is primary already, so set this "
     "one to false\n"},
    {"primary witness",
     TOP "    - {name: us-east-1, primary: true, witness: true, agent: "
     "192.0.2.1:7400}\n" EU AP,
     "3:34: the witness \"us-east-1\" cannot be primary; it holds no data\n"},
    {"witness with a database",
     TOP US EU
     "    - {name: w, witness: true, agent: 192.0.2.3:7400, database: {port: "
     "5432}}\n",
     "5:55: the witness \"w\" has no database; it only votes, so leave this out\n"},
    {"same name twice",
     TOP US EU "    - {name: eu-west-1, agent: 192.0.2.3:7400}\n",
     "5:14: a second region called \"eu-west-1\"; give each its own name\n"},
    {"same agent address",
     TOP US EU "    - {name: ap-northeast-1, agent: 192.0.2.2:7400}\n",
     "5:7: regions \"eu-west-1\" and \"ap-northeast-1\" have the same agent address; "
     "give each its own\n"},
    {"two voters",
     TOP US EU,
     "2:3: two regions without a witness cannot decide which of them is cut off; "
     "add a region with witness: true, or set failover: {mode: manual}\n"},
    {"overlapping failure domains",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2:7400, failure_domain: dc-7}\n"
     "    - {name: ap-northeast-1, agent: 192.0.2.3:7400, failure_domain: dc-7}\n",
     "5:69: voters \"eu-west-1\" and \"ap-northeast-1\" share the failure domain "
     "\"dc-7\" and can be lost together; place them apart\n"},
    {"failure domain is another's name",
     TOP US EU "    - {name: ap-northeast-1, agent: 192.0.2.3:7400, failure_domain: "
     "eu-west-1}\n",
     "5:69: voters \"eu-west-1\" and \"ap-northeast-1\" share the failure domain "
     "\"eu-west-1\" and can be lost together; place them apart\n"},
    {"services without database",
     TOP US EU
     "    - {name: ap-northeast-1, agent: 192.0.2.3:7400, services: [api]}\n",
     "5:63: region \"ap-northeast-1\" has no database among its services; add "
     "database or database-replica, or set witness: true\n"},
    {"primary with a replica only",
     TOP "    - {name: us-east-1, primary: true, agent: 192.0.2.1:7400, services: "
     "[database-replica]}\n" EU AP,
     "3:73: the primary region \"us-east-1\" has only a replica among its services; "
     "add database, or make another region primary\n"},
};

static const struct conf_row classes_rows[] = {
    {"empty list",
     WORLD "  classes: []\n",
     "6:12: no classes in the list; describe one, or leave \"classes\" out to get "
     "one from replication.strategy\n"},
    {"without a name",
     WORLD CLASSES "    - {posture: read-local}\n",
     "7:7: a class without a name; add name: such as orders\n"},
    {"without a posture",
     WORLD CLASSES "    - {name: a}\n",
     "7:7: class \"a\" has no posture; add posture: single-region, active-passive, "
     "read-local or partitioned\n"},
    {"unknown posture",
     WORLD CLASSES "    - {name: a, posture: active-active}\n",
     "7:26: \"active-active\" is not a posture; write single-region, "
     "active-passive, read-local or partitioned\n"},
    {"unknown posture, and more",
     WORLD CLASSES
     "    - {name: a, posture: active-active, durability: fast, home: mars, replicas: [venus]}\n",
     "7:26: \"active-active\" is not a posture; write single-region, active-passive, read-local "
     "or partitioned\n"
     "7:53: \"fast\" is not a durability; write async or quorum\n"
     "7:65: no region \"mars\"; the regions are: us-east-1, eu-west-1, ap-northeast-1\n"
     "7:82: no region \"venus\"; the regions are: us-east-1, eu-west-1, ap-northeast-1\n"},
    {"unknown posture, and a home that may not be",
     WORLD CLASSES
     "    - {name: a, posture: any, home: us-east-1, allowed_regions: [eu-west-1], partitions: "
     "{x: us-east-1}}\n",
     "7:26: \"any\" is not a posture; write single-region, active-passive, read-local or "
     "partitioned\n"
     "7:37: the home \"us-east-1\" of class \"a\" is not among its allowed_regions; name one "
     "that is\n"
     "7:94: the home \"us-east-1\" of partition \"x\" is not among the regions allowed for "
     "class \"a\"; name one that is\n"},
    {"unknown durability, and no legal standby",
     WORLD CLASSES
     "    - {name: a, posture: active-passive, durability: fast, replicas: [us-east-1]}\n",
     "7:26: class \"a\" claims failover (active-passive), but its data may have its home only in "
     "\"us-east-1\": no legal standby; allow a second region, or use posture single-region\n"
     "7:54: \"fast\" is not a durability; write async or quorum\n"},
    {"called schema",
     WORLD CLASSES "    - {name: schema, posture: read-local}\n",
     "7:14: the class \"schema\" is built in; choose another name\n"},
    {"same name twice",
     WORLD CLASSES "    - {name: a, posture: read-local}\n"
     "    - {name: a, posture: read-local}\n",
     "8:14: a second class called \"a\"; give each its own name\n"},
    {"table without schema",
     WORLD CLASSES "    - {name: a, posture: read-local, tables: [orders]}\n",
     "7:47: \"orders\" is not a table; write schema.table in lower case\n"},
    {"table in capitals",
     WORLD CLASSES "    - {name: a, posture: read-local, tables: [shop.Orders]}\n",
     "7:47: \"shop.Orders\" is not a table; write schema.table in lower case\n"},
    {"table of the system",
     WORLD CLASSES
     "    - {name: a, posture: read-local, tables: [meridian.receipts, "
     "pg_catalog.pg_class]}\n",
     "7:47: \"meridian.receipts\" belongs to the system; name a table of your own\n"
     "7:66: \"pg_catalog.pg_class\" belongs to the system; name a table of your own\n"},
    {"table in two classes",
     WORLD CLASSES "    - {name: a, posture: read-local, tables: [shop.x]}\n"
     "    - {name: b, posture: read-local, tables: [shop.y, shop.x]}\n",
     "8:55: table \"shop.x\" is already in class \"a\"; a table has one class\n"},
    {"table twice in one class",
     WORLD CLASSES "    - {name: a, posture: read-local, tables: [shop.x, shop.x]}\n",
     "7:55: table \"shop.x\" is already in class \"a\"; a table has one class\n"},
    {"home unknown, near",
     WORLD CLASSES "    - {name: a, posture: read-local, home: eu-west-2}\n",
     "7:44: no region \"eu-west-2\"; did you mean \"eu-west-1\"?\n"},
    {"home unknown, far",
     WORLD CLASSES "    - {name: a, posture: read-local, home: mars}\n",
     "7:44: no region \"mars\"; the regions are: us-east-1, eu-west-1, "
     "ap-northeast-1\n"},
    {"home is a witness",
     TOP US EU WITNESS CLASSES "    - {name: a, posture: read-local, home: w}\n",
     "7:44: \"w\" is a witness and holds no data; name a data region\n"},
    {"home is no replica",
     WORLD CLASSES
     "    - {name: a, posture: read-local, home: us-east-1, replicas: [eu-west-1, "
     "ap-northeast-1]}\n",
     "7:44: the home \"us-east-1\" of class \"a\" is not a region where its data may "
     "be; name one that is\n"},
    {"home is not allowed",
     WORLD CLASSES
     "    - {name: a, posture: read-local, home: us-east-1, allowed_regions: "
     "[eu-west-1]}\n",
     "7:44: the home \"us-east-1\" of class \"a\" is not among its allowed_regions; "
     "name one that is\n"},
    {"home must be said",
     WORLD CLASSES
     "    - {name: a, posture: read-local, replicas: [eu-west-1, ap-northeast-1]}\n",
     "7:7: class \"a\" has no home and may not be at the primary \"us-east-1\"; add "
     "home: REGION\n"},
    {"allowed is no replica",
     WORLD CLASSES
     "    - {name: a, posture: active-passive, replicas: [us-east-1, eu-west-1], "
     "allowed_regions: [us-east-1, ap-northeast-1]}\n",
     "7:93: allowed_regions of class \"a\" has \"ap-northeast-1\", which is no "
     "replica; name only replicas\n"},
    {"replica twice",
     WORLD CLASSES
     "    - {name: a, posture: active-passive, replicas: [us-east-1, us-east-1]}\n",
     "7:64: \"us-east-1\" is in this list twice; keep one of them\n"},
    {"no standby by allowed_regions",
     WORLD CLASSES
     "    - {name: a, posture: active-passive, allowed_regions: [us-east-1]}\n",
     "7:26: class \"a\" claims failover (active-passive), but its data may have its "
     "home only in \"us-east-1\": no legal standby; allow a second region, or use "
     "posture single-region\n"},
    {"read-local with one copy",
     WORLD CLASSES "    - {name: a, posture: read-local, replicas: [us-east-1]}\n",
     "7:26: class \"a\" is read-local but has a copy in one region only; allow a "
     "second, or use posture single-region\n"},
    {"single-region with replicas",
     WORLD CLASSES
     "    - {name: a, posture: single-region, home: us-east-1, replicas: "
     "[us-east-1, eu-west-1]}\n",
     "7:68: class \"a\" is single-region and has 2 replicas; keep one, or use "
     "posture read-local or active-passive\n"},
    {"single-region with a quorum",
     WORLD CLASSES "    - {name: a, posture: single-region, durability: quorum}\n",
     "7:53: class \"a\" is single-region and cannot have quorum durability; use "
     "async, or another posture\n"},
    {"failover with one region",
     TOP US CLASSES "    - {name: a, posture: active-passive}\n",
     "5:26: class \"a\" claims failover (active-passive), but there is only the "
     "region \"us-east-1\"; add a region or use posture single-region\n"},
    {"quorum of two replicas",
     TOP US EU WITNESS CLASSES
     "    - {name: a, posture: active-passive, durability: quorum}\n",
     "7:54: class \"a\" has quorum durability and 2 replicas; a quorum that "
     "outlives a region needs at least 3, so add regions or use async\n"},
    {"quorum on a part of the regions",
     WORLD "    - {name: sa-east-1, agent: 192.0.2.4:7400}\n" CLASSES
     "    - {name: a, posture: active-passive, durability: quorum, replicas: "
     "[us-east-1, eu-west-1, ap-northeast-1]}\n",
     "8:54: class \"a\" has quorum durability on 3 of 4 data regions; quorum "
     "classes share one replica set for now, so put it in every data region or "
     "use async\n"},
    {"quorum in one failure domain",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2:7400, failure_domain: x}\n"
     "    - {name: ap-northeast-1, agent: 192.0.2.3:7400, failure_domain: x}\n"
     "  failover: {mode: manual}\n" CLASSES
     "    - {name: a, posture: active-passive, durability: quorum}\n",
     "8:54: class \"a\" has quorum durability, but \"eu-west-1\" and \"ap-northeast-1\" "
     "share a failure domain; place them apart or use async\n"},
    {"partitioned by nothing",
     WORLD CLASSES "    - {name: a, posture: partitioned}\n",
     "7:7: class \"a\" is partitioned but does not say by what; add partition_by: "
     "COLUMN\n"},
    {"partitioned with a home",
     WORLD CLASSES
     "    - {name: a, posture: partitioned, partition_by: r, home: us-east-1}\n",
     "7:56: class \"a\" is partitioned: each partition has its own home, so leave "
     "\"home\" out or use partitions\n"},
    {"partition_by elsewhere",
     WORLD CLASSES "    - {name: a, posture: read-local, partition_by: r}\n",
     "7:38: \"partition_by\" needs posture: partitioned; class \"a\" has another, so "
     "leave it out or change the posture\n"},
    {"partition with a bad home",
     WORLD CLASSES
     "    - {name: a, posture: partitioned, partition_by: r, partitions: {de: "
     "mars, fr: eu-west-1}}\n",
     "7:73: no region \"mars\"; the regions are: us-east-1, eu-west-1, "
     "ap-northeast-1\n"},
    {"partition home not allowed",
     WORLD CLASSES
     "    - {name: a, posture: partitioned, partition_by: r, allowed_regions: "
     "[us-east-1, eu-west-1], partitions: {jp: ap-northeast-1}}\n",
     "7:114: the home \"ap-northeast-1\" of partition \"jp\" is not among the regions "
     "allowed for class \"a\"; name one that is\n"},
    {"partition called all",
     WORLD CLASSES
     "    - {name: a, posture: partitioned, partition_by: r, partitions: {all: "
     "us-east-1, a/b: us-east-1}}\n",
     "7:69: \"all\" cannot be a partition; write a value of 1 to 63 bytes without / "
     "or quotes, other than \"all\"\n"
     "7:85: \"a/b\" cannot be a partition; write a value of 1 to 63 bytes without / "
     "or quotes, other than \"all\"\n"},
    {"partitions empty",
     WORLD CLASSES
     "    - {name: a, posture: partitioned, partition_by: r, partitions: {}}\n",
     "7:68: no partitions in the mapping; name one, or leave it out for one per "
     "region\n"},
    {"sync with two data regions",
     TOP US EU WITNESS "  replication: {strategy: semi-sync}\n",
     "6:27: class \"default\" has quorum durability and 2 replicas; a quorum that "
     "outlives a region needs at least 3, so add regions or use async\n"},
    {"strong reads",
     WORLD "  replication: {consistency: strong}\n",
     "6:30: reads with strong consistency in every region are not available; "
     "write eventual (an edge lets clients read their own writes, and the home "
     "region reads the latest)\n"},
};

static const struct conf_row residency_rows[] = {
    {"no legal standby",
     WORLD CLASSES "    - {name: pay, posture: active-passive, home: eu-west-1}\n" RESIDENCY
     "      - {type: pay, allowed_regions: [eu-west-1]}\n",
     "7:28: class \"pay\" claims failover (active-passive), but its data may have "
     "its home only in \"eu-west-1\": no legal standby; allow a second region, or "
     "use posture single-region\n"},
    {"replica outside",
     WORLD CLASSES
     "    - {name: pay, posture: active-passive, home: eu-west-1, replicas: "
     "[eu-west-1, us-east-1]}\n" RESIDENCY
     "      - {type: pay, allowed_regions: [eu-west-1, ap-northeast-1]}\n",
     "7:71: replicas of class \"pay\" has \"us-east-1\", where its residency rule "
     "does not let it be; leave that region out\n"},
    {"home outside",
     WORLD CLASSES "    - {name: pay, posture: active-passive, home: us-east-1}\n" RESIDENCY
     "      - {type: pay, allowed_regions: [eu-west-1, ap-northeast-1]}\n",
     "7:50: the home \"us-east-1\" of class \"pay\" is not a region where its data "
     "may be; name one that is\n"},
    {"quorum where residency leaves two",
     WORLD CLASSES
     "    - {name: pay, posture: active-passive, durability: quorum, home: "
     "eu-west-1}\n" RESIDENCY
     "      - {type: pay, allowed_regions: [eu-west-1, ap-northeast-1]}\n",
     "7:56: class \"pay\" has quorum durability and 2 replicas; a quorum that "
     "outlives a region needs at least 3, so add regions or use async\n"},
    {"partitioned with one legal region",
     WORLD CLASSES "    - {name: pay, posture: partitioned, partition_by: r}\n" RESIDENCY
     "      - {type: pay, allowed_regions: [eu-west-1]}\n",
     "7:28: class \"pay\" claims failover (partitioned), but its data may have its "
     "home only in \"eu-west-1\": no legal standby; allow a second region, or use "
     "posture single-region\n"},
    {"rule twice",
     WORLD RESIDENCY "      - {type: a, allowed_regions: [eu-west-1]}\n"
     "      - {type: a, allowed_regions: [us-east-1]}\n",
     "9:9: a second residency rule for \"a\"; put all its regions into one\n"},
    {"rule without type",
     WORLD RESIDENCY "      - {allowed_regions: [eu-west-1]}\n",
     "8:9: a residency rule without a type; add type: CLASS\n"},
    {"rule without regions",
     WORLD RESIDENCY "      - {type: a}\n",
     "8:9: a residency rule without allowed_regions; name where the data may be\n"},
    {"rule with no region in it",
     WORLD RESIDENCY "      - {type: a, allowed_regions: []}\n",
     "8:36: \"allowed_regions\" names no region; name at least one, or leave it out\n"},
    {"rule for the schema",
     WORLD RESIDENCY "      - {type: schema, allowed_regions: [eu-west-1]}\n",
     "8:9: the built-in class \"schema\" is in every data region; name another type\n"},
    {"region unknown",
     WORLD RESIDENCY "      - {type: a, allowed_regions: [eu-wets-1]}\n",
     "8:37: no region \"eu-wets-1\"; did you mean \"eu-west-1\"?\n"},
    {"gdpr region unknown",
     WORLD "  data_governance: {gdpr_regions: [de]}\n",
     "6:36: no region \"de\"; the regions are: us-east-1, eu-west-1, ap-northeast-1\n"},
};

static const struct conf_row timing_rows[] = {
    {"lease shorter than an election",
     WORLD "  coordination: {lease: 2s}\n",
     "6:25: lease 2s is too short; it must exceed 2 x election (1200ms) + 4 x the "
     "round trip between \"us-east-1\" and \"ap-northeast-1\" (about 163ms) = 3052ms\n"},
    {"election too long for the lease",
     WORLD "  coordination: {election: 2s}\n",
     "6:28: lease 4s is too short; it must exceed 2 x election (2s) + 4 x the "
     "round trip between \"us-east-1\" and \"ap-northeast-1\" (about 163ms) = 4652ms\n"},
    {"lease without known places",
     TOP "    - {name: r1, primary: true, agent: 192.0.2.1}\n"
     "    - {name: r2, primary: false, agent: 192.0.2.2}\n"
     "    - {name: r3, primary: false, agent: 192.0.2.3}\n"
     "  coordination: {lease: 2400ms}\n",
     "6:25: lease 2400ms is too short; it must exceed 2 x election (1200ms) = "
     "2400ms\n"},
    {"renew too rare",
     WORLD "  coordination: {renew: 2s}\n",
     "6:25: renew 2s is too long for a lease of 4s; at most a third of it, so "
     "that one lost renewal costs nothing\n"},
    {"commit margin too long",
     WORLD "  coordination: {commit_margin: 3s}\n",
     "6:33: commit_margin 3s is too long for a lease of 4s; at most half of it\n"},
    {"heartbeat too rare",
     WORLD "  coordination: {heartbeat: 500ms}\n",
     "6:29: heartbeat 500ms is too long for an election timeout of 1200ms; at "
     "most a third of it\n"},
};

/* clang-format on */

static void test_regions(void **state)
{
    (void)state;
    conf_rows_check(regions_rows, ROWS(regions_rows));
}

static void test_classes(void **state)
{
    (void)state;
    conf_rows_check(classes_rows, ROWS(classes_rows));
}

static void test_residency(void **state)
{
    (void)state;
    conf_rows_check(residency_rows, ROWS(residency_rows));
}

static void test_timing(void **state)
{
    (void)state;
    conf_rows_check(timing_rows, ROWS(timing_rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_residency),
        cmocka_unit_test(test_timing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
