/*
 * The configuration: every kind of mistake with the place and the words a user gets, what good
 * files mean, and bytes that want to do harm.
 *
 * A row is a whole file and everything that is said about it, in order. Most files begin with
 * the same small world; the macros below hold it, one line of the file each (WORLD: five).
 */
#include "unit.h"

#include <math.h>

#include <conf.h>

/* clang-format off */
#define TOP "multi_region:\n  regions:\n"
#define US "    - {name: us-east-1, primary: true, agent: 192.0.2.1:7400}\n"
#define EU "    - {name: eu-west-1, agent: 192.0.2.2:7400}\n"
#define AP "    - {name: ap-northeast-1, agent: 192.0.2.3:7400}\n"
#define WORLD TOP US EU AP
#define WITNESS "    - {name: w, witness: true, agent: 192.0.2.3:7400}\n"
#define CLASSES "  classes:\n"
#define RESIDENCY "  data_governance:\n    data_residency:\n"

struct row {
    const char *name, *text, *errors;
};

static const struct row yaml_rows[] = {
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

static const struct row keys_rows[] = {
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

static const struct row values_rows[] = {
    {"duration without unit",
     WORLD "  coordination: {lease: 5}\n",
     "6:25: \"5\" has no unit; write 5s or 5ms\n"},
    {"duration in words",
     WORLD "  coordination: {lease: five seconds}\n",
     "6:25: \"five seconds\" is not a duration; write a number with ms, s, m or h, "
     "such as 500ms or 5s\n"},
    {"duration with a fraction",
     WORLD "  coordination: {lease: 1.5s}\n",
     "6:25: \"1.5s\" is not a duration; write a number with ms, s, m or h, such as "
     "500ms or 5s\n"},
    {"duration below zero",
     WORLD "  coordination: {lease: -5s}\n",
     "6:25: \"-5s\" is not a duration; write a number with ms, s, m or h, such as "
     "500ms or 5s\n"},
    {"duration too long",
     WORLD "  coordination: {lease: 1h}\n",
     "6:25: \"1h\" is out of range; lease takes 500ms to 10m\n"},
    {"duration beyond 64 bits",
     WORLD "  coordination: {lease: 9999999999999999999h}\n",
     "6:25: \"9999999999999999999h\" is not a duration; write a number with ms, s, "
     "m or h, such as 500ms or 5s\n"},
    {"seconds only",
     WORLD "  routing: {dns: {ttl: 1500ms}}\n",
     "6:24: \"1500ms\" is out of range; ttl takes 1s to 24h in whole seconds\n"},
    {"number in words",
     WORLD "  version: one\n",
     "6:12: \"one\" is not a whole number; version takes a whole number from 1 to "
     "9223372036854775807\n"},
    {"number negative",
     WORLD "  version: -1\n",
     "6:12: \"-1\" is not a whole number; version takes a whole number from 1 to "
     "9223372036854775807\n"},
    {"number with leading zero",
     WORLD "  routing: {failover_threshold: 010}\n",
     "6:33: \"010\" is not a whole number; failover_threshold takes a whole number "
     "from 1 to 100\n"},
    {"number too large",
     WORLD "  version: 9999999999999999999999\n",
     "6:12: \"9999999999999999999999\" is not a whole number; version takes a whole "
     "number from 1 to 9223372036854775807\n"},
    {"port out of range",
     TOP US EU
     "    - {name: ap-northeast-1, agent: 192.0.2.3:7400, database: {port: "
     "65536}}\n",
     "5:70: \"65536\" is out of range; port takes a whole number from 1 to 65535\n"},
    {"port zero in an address",
     TOP US EU "    - {name: ap-northeast-1, agent: \"192.0.2.3:0\"}\n",
     "5:37: \"192.0.2.3:0\" is not HOST:PORT; write a host name or address and a "
     "port from 1 to 65535, such as 192.0.2.1:7400\n"},
    {"yes is no boolean",
     TOP US "    - {name: eu-west-1, witness: yes, agent: 192.0.2.2:7400}\n" AP,
     "4:34: \"yes\" is neither true nor false; write witness: true or witness: "
     "false\n"},
    {"quoted boolean",
     TOP US "    - {name: eu-west-1, witness: \"true\", agent: 192.0.2.2:7400}\n" AP,
     "4:34: \"true\" is neither true nor false; write witness: true or witness: "
     "false\n"},
    {"word of none",
     WORLD "  failover: {mode: auto}\n",
     "6:20: \"auto\" is not a mode; write automatic, manual or two-person\n"},
    {"capital letters in a name",
     TOP US "    - {name: EU, agent: 192.0.2.2:7400}\n" AP,
     "4:14: \"EU\" is not a valid name; write 1 to 32 of a-z, 0-9 and hyphens "
     "inside\n"},
    {"name too long",
     TOP US
     "    - {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, agent: 192.0.2.2:7400}\n" AP,
     "4:14: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is not a valid name; write 1 to "
     "32 of a-z, 0-9 and hyphens inside\n"},
    {"underscore in a region",
     TOP US "    - {name: eu_west, agent: 192.0.2.2:7400}\n" AP,
     "4:14: \"eu_west\" is not a valid name; write 1 to 32 of a-z, 0-9 and hyphens "
     "inside\n"},
    {"region called all",
     TOP US "    - {name: all, agent: 192.0.2.2:7400}\n" AP,
     "4:14: a region cannot be called \"all\"; choose another name\n"},
    {"almost an address",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.256:7400}\n" AP,
     "4:32: \"192.0.2.256:7400\" is not HOST:PORT; write a host name or address and "
     "a port from 1 to 65535, such as 192.0.2.1:7400\n"},
    {"bad host name",
     TOP US "    - {name: eu-west-1, endpoint: \"eu west.example\"}\n" AP,
     "4:35: \"eu west.example\" is not a valid endpoint; write a host name or an "
     "address\n"},
    {"unspecified address",
     TOP US "    - {name: eu-west-1, agent: 0.0.0.0:7400}\n" AP,
     "4:32: \"0.0.0.0:7400\" is not HOST:PORT; write a host name or address and a "
     "port from 1 to 65535, such as 192.0.2.1:7400\n"},
    {"network without bits",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, networks: [198.51.100.0]}\n" AP,
     "4:54: \"198.51.100.0\" is not a network; write ADDRESS/BITS such as "
     "198.51.100.0/24\n"},
    {"network too long",
     TOP US
     "    - {name: eu-west-1, agent: 192.0.2.2, networks: [198.51.100.0/33]}\n" AP,
     "4:54: \"198.51.100.0/33\" has a prefix longer than its address; IPv4 ends at "
     "/32, IPv6 at /128\n"},
    {"network with host bits",
     TOP US
     "    - {name: eu-west-1, agent: 192.0.2.2, networks: [\"2001:db8::1/32\"]}\n" AP,
     "4:54: \"2001:db8::1/32\" has bits set beyond its prefix; write the network's "
     "first address\n"},
    {"network of two regions",
     TOP "    - {name: us-east-1, primary: true, agent: 192.0.2.1, networks: "
     "[198.51.100.0/24]}\n"
     "    - {name: eu-west-1, agent: 192.0.2.2, networks: [198.51.100.0/24]}\n" AP,
     "4:43: a network of \"eu-west-1\" is also one of \"us-east-1\"; a client is "
     "nearest to one region\n"},
    {"address list",
     TOP US
     "    - {name: eu-west-1, agent: 192.0.2.2, edge: {addresses: [192.0.2.2, "
     "192.0.2.3, 192.0.2.4, eu.example]}}\n" AP,
     "4:84: more than 2 IPv4 addresses; leave the rest out\n"
     "4:95: \"eu.example\" is not an address; write one such as 192.0.2.1 or "
     "\"2001:db8::1\"\n"},
    {"latitude out of range",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, location: [91, 0]}\n" AP,
     "4:53: not a place; write [latitude, longitude] in degrees, such as [53.35, "
     "-6.26]\n"},
    {"location in hexadecimal",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, location: [0x10, nan]}\n" AP,
     "4:53: not a place; write [latitude, longitude] in degrees, such as [53.35, "
     "-6.26]\n"},
    {"country in small letters",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, country: ie}\n" AP,
     "4:52: \"ie\" is not a valid country; write the ISO 3166-1 code of a country, such as DE "
     "or GB\n"},
    {"no such country",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, country: UK}\n" AP,
     "4:52: \"UK\" is not a valid country; write the ISO 3166-1 code of a country, such as DE "
     "or GB\n"},
    {"no such jurisdiction",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, jurisdiction: ZZ9}\n"
            "    - {name: ap-northeast-1, agent: 192.0.2.3, jurisdiction: US-}\n",
     "4:57: \"ZZ9\" is not a valid jurisdiction; write the ISO 3166-1 code of a country such as "
     "DE, a part of one such as US-CA, or EU or EEA\n"
     "5:62: \"US-\" is not a valid jurisdiction; write the ISO 3166-1 code of a country such as "
     "DE, a part of one such as US-CA, or EU or EEA\n"},
    {"no such continent",
     TOP US "    - {name: eu-west-1, agent: 192.0.2.2, continent: XX}\n" AP,
     "4:54: \"XX\" is not a valid continent; write one of AF AN AS EU NA OC SA\n"},
    {"zone",
     WORLD "  routing: {dns: {zone: \"-x.example\"}}\n",
     "6:25: \"-x.example\" is not a valid zone; write a domain name such as "
     "shop.example\n"},
    {"monitoring takes booleans",
     WORLD "  monitoring: {replication_lag: sometimes}\n",
     "6:33: \"sometimes\" is neither true nor false; write replication_lag: true or "
     "replication_lag: false\n"},
};

static const struct row regions_rows[] = {
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

static const struct row classes_rows[] = {
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

static const struct row residency_rows[] = {
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

static const struct row timing_rows[] = {
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

static struct mrd_config config;
static struct mrd_conf_errors errors;

static int parse(const char *text)
{
    memset(&config, 0xa5, sizeof(config)); /* nothing may be left to chance */
    return mrd_config_parse(text, strlen(text), &config, &errors);
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ROW(rows[i].name);
        char *said = NULL;
        size_t size = 0, len = strlen(rows[i].text);
        FILE *f = open_memstream(&said, &size);
        assert_non_null(f);
        memset(&config, 0xa5, sizeof(config));
        assert_int_equal(MRD_ECONFIG, mrd_config_parse(rows[i].text, len, &config, &errors));
        assert_int_equal(0xa5, ((unsigned char *)&config)[0]); /* untouched on failure */
        mrd_config_print_errors(f, "f", &errors);
        fclose(f);
        /* Each line begins with the file's name; the rows leave it out. */
        char *plain = calloc(1, size + 1), *to = plain;
        for (const char *line = said; *line != '\0';) {
            const char *end = strchr(line, '\n') + 1;
            memcpy(to, line + 2, (size_t)(end - line) - 2);
            to += end - line - 2;
            line = end;
        }
        assert_string_equal(rows[i].errors, plain);
        free(plain);
        free(said);
    }
}

static void test_yaml(void **state)
{
    (void)state;
    check_rows(yaml_rows, ROWS(yaml_rows));
}

static void test_keys(void **state)
{
    (void)state;
    check_rows(keys_rows, ROWS(keys_rows));
}

static void test_values(void **state)
{
    (void)state;
    check_rows(values_rows, ROWS(values_rows));
}

static void test_regions(void **state)
{
    (void)state;
    check_rows(regions_rows, ROWS(regions_rows));
}

static void test_classes(void **state)
{
    (void)state;
    check_rows(classes_rows, ROWS(classes_rows));
}

static void test_residency(void **state)
{
    (void)state;
    check_rows(residency_rows, ROWS(residency_rows));
}

static void test_timing(void **state)
{
    (void)state;
    check_rows(timing_rows, ROWS(timing_rows));
}

/* ---- what good files mean ---- */

static const struct mrd_conf_class *class_of(const char *name)
{
    int i = mrd_config_class(&config, name);
    assert_true(i >= 0);
    return &config.classes[i];
}

static void load(const char *path)
{
    int rc = mrd_config_load(path, &config, &errors);
    mrd_config_print_errors(stderr, path, &errors);
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
    assert_string_equal("meridian", config.name);
    assert_int_equal(3, config.region_count);
    assert_string_equal("us-east-1", config.regions[0].name);
    assert_true(config.regions[0].primary);
    assert_false(config.regions[1].primary);
    assert_string_equal("app-eu.example.com", config.regions[1].agent_host);
    assert_int_equal(7400, config.regions[1].agent_port);
    assert_string_equal("app-eu.example.com", config.regions[1].db_host);
    assert_string_equal("SG", config.regions[2].country);
    assert_string_equal("AS", config.regions[2].continent);
    assert_string_equal("EU", config.regions[1].jurisdiction); /* gdpr_regions */
    assert_string_equal("", config.regions[0].jurisdiction);

    assert_int_equal(4, config.class_count);
    assert_string_equal("schema", config.classes[0].name);
    expect_class("schema", MRD_ACTIVE_PASSIVE, MRD_QUORUM, 0, 7, 7);
    expect_class("default", MRD_READ_LOCAL, MRD_ASYNC, 0, 7, 7);
    expect_class("user_pii", MRD_SINGLE_REGION, MRD_ASYNC, 1, 2, 2);
    expect_class("financial", MRD_SINGLE_REGION, MRD_ASYNC, 0, 1, 1);

    assert_int_equal(5000, config.lag_threshold_ms);
    assert_int_equal(10240, config.retained_wal_mb);
    assert_int_equal(MRD_STRATEGY_LATENCY, config.strategy);
    assert_int_equal(30000, config.probe_interval_ms);
    assert_int_equal(3, config.probe_threshold);
    assert_int_equal(MRD_FAILOVER_AUTOMATIC, config.failover);
    assert_true(config.note_count > 0);
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
        for (unsigned k = 0; k < config.note_count; k++) {
            found = found || strcmp(config.notes[k], idle[i]) == 0;
        }
        assert_true(found);
    }
}

/** A strategy that the map cannot follow yet is said to be without effect; latency is not. */
static void test_strategy_note(void **state)
{
    bool found = false;
    (void)state;
    assert_int_equal(0, parse(WORLD "  routing: {strategy: weighted}\n"));
    for (unsigned k = 0; k < config.note_count; k++) {
        found = found ||
                strstr(config.notes[k], "strategy \"weighted\" is recorded, but clients are "
                                        "placed by nearness") != NULL;
    }
    assert_true(found);
    load(SOURCE_ROOT "/examples/template.yaml");
    for (unsigned k = 0; k < config.note_count; k++) {
        assert_null(strstr(config.notes[k], "strategy \"latency\""));
    }
}

/** Nor does a region's share of clients do anything; without the key nothing is said. */
static void test_weight_note(void **state)
{
    unsigned found = 0;
    (void)state;
    assert_int_equal(0, parse(TOP "    - {name: us, primary: true, endpoint: us.example.com, "
                                  "weight: 30}\n" EU "  failover: {mode: manual}\n"));
    for (unsigned k = 0; k < config.note_count; k++) {
        found +=
            strstr(config.notes[k], "\"weight\" is recorded, but nothing acts on it") != NULL;
    }
    assert_int_equal(1, found);
}

static void test_shop(void **state)
{
    (void)state;
    load(SOURCE_ROOT "/examples/shop/meridian.yaml");
    assert_string_equal("shop", config.name);
    assert_int_equal(3, config.region_count);
    assert_int_equal(5, config.class_count);
    assert_int_equal(0, config.note_count);
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

    const struct mrd_conf_region *ap = &config.regions[2];
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
    assert_string_equal("shop.example", config.dns_zone);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(0, parse(WORLD));
    assert_string_equal("meridian", config.name);
    assert_int_equal(1, config.version);
    assert_int_equal(4000, config.lease_ms);
    assert_int_equal(500, config.lease_margin_ms);
    assert_int_equal(300, config.commit_margin_ms);
    assert_int_equal(500, config.renew_ms);
    assert_int_equal(1200, config.election_ms);
    assert_int_equal(50, config.heartbeat_ms);
    assert_int_equal(500, config.probe_interval_ms);
    assert_int_equal(1000, config.probe_timeout_ms);
    assert_int_equal(3, config.probe_threshold);
    assert_int_equal(5000, config.lag_threshold_ms);
    assert_int_equal(5000, config.stale_after_ms);
    assert_int_equal(30, config.dns_ttl_s);
    assert_string_equal("", config.dns_zone);
    assert_int_equal(MRD_STRATEGY_LATENCY, config.strategy);
    assert_string_equal("eu-west-1", config.regions[1].failure_domain);
    assert_int_equal(100, config.regions[1].weight);
    assert_string_equal("192.0.2.2", config.regions[1].edge_host);
    assert_int_equal(1, config.regions[1].v4_count); /* of an edge known by address */
    assert_int_equal(5432, config.regions[1].db_port);
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
        int rc = parse(rows[i].text);
        mrd_config_print_errors(stderr, rows[i].name, &errors);
        assert_int_equal(0, rc);
        expect_class(rows[i].class_name, rows[i].posture, rows[i].durability, rows[i].home,
                     rows[i].replicas, rows[i].allowed);
    }
}

static void test_partitions(void **state)
{
    (void)state;
    assert_int_equal(
        0, parse(WORLD CLASSES
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
    assert_int_equal(0, parse(TOP US EU "    - {name: oslo, agent: 192.0.2.9, country: NO, "
                                        "location: [59.9, 10.8]}\n"));
    assert_string_equal("NO", config.regions[2].country);
    assert_string_equal("", config.regions[2].continent);
}

/** A region under the GDPR may say more exactly whose law holds; a part of a country is a law.
 */
static void test_jurisdiction(void **state)
{
    (void)state;
    assert_int_equal(0,
                     parse(TOP US EU "    - {name: oslo, agent: 192.0.2.9, jurisdiction: EEA}\n"
                                     "    - {name: ca, agent: 192.0.2.8, jurisdiction: US-CA}\n"
                                     "  data_governance: {gdpr_regions: [oslo, eu-west-1]}\n"));
    assert_string_equal("EU", config.regions[1].jurisdiction);
    assert_string_equal("EEA", config.regions[2].jurisdiction);
    assert_string_equal("US-CA", config.regions[3].jurisdiction);
}

/* ---- single values ---- */

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t ms;
    } rows[] = {
        {"500ms", true, 500},
        {"5s", true, 5000},
        {"2m", true, 120000},
        {"1h", true, 3600000},
        {"0s", true, 0},
        {"5", false, 0},
        {"s", false, 0},
        {"", false, 0},
        {"5 s", false, 0},
        {"5S", false, 0},
        {"5sm", false, 0},
        {"+5s", false, 0},
        {"9999999999999999999ms", true, 9999999999999999999u},
        {"99999999999999999999ms", false, 0},
        {"9999999999999999999s", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        uint64_t ms = 0;
        ROW(rows[i].text);
        assert_int_equal(rows[i].ok, conf_parse_duration(rows[i].text, &ms));
        assert_int_equal(rows[i].ms, ms);
    }
}

static void test_host_port(void **state)
{
    static const struct {
        const char *text, *host; /* NULL: refused */
        uint16_t port;
    } rows[] = {
        {"192.0.2.1:80", "192.0.2.1", 80},
        {"192.0.2.1", "192.0.2.1", 7400},
        {"a.example:1", "a.example", 1},
        {"[2001:db8::1]:9", "2001:db8::1", 9},
        {"[2001:db8::1]", "2001:db8::1", 7400},
        {"2001:db8::1", "2001:db8::1", 7400},
        {"a.example:", NULL, 0},
        {":80", NULL, 0},
        {"[2001:db8::1", NULL, 0},
        {"[2001:db8::1]80", NULL, 0},
        {"a:65536", NULL, 0},
        {"a:-1", NULL, 0},
        {"a b:1", NULL, 0},
        {"a..b:1", NULL, 0},
        {"1.2.3:80", NULL, 0},
        {"::", NULL, 0},
        {"", NULL, 0},
        {"http://a:80", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char host[64] = "";
        uint16_t port = 7400;
        ROW(rows[i].text);
        assert_int_equal(rows[i].host != NULL,
                         conf_parse_host_port(rows[i].text, host, sizeof(host), &port));
        if (rows[i].host != NULL) {
            assert_string_equal(rows[i].host, host);
            assert_int_equal(rows[i].port, port);
        }
    }
}

static void test_meant(void **state)
{
    static const char *const words[] = {"name", "regions", "routing", "replication", NULL};
    static const struct {
        const char *text, *meant;
    } rows[] = {
        {"naem", "name"},
        {"region", "regions"},
        {"rotuing", "routing"},
        {"replicatoin", "replication"},
        {"n", NULL},
        {"x", NULL},
        {"mane", NULL},
        {"completely-else", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        const char *meant = mrd_config_meant(rows[i].text, words);
        ROW(rows[i].text);
        assert_string_equal(rows[i].meant == NULL ? "-" : rows[i].meant,
                            meant == NULL ? "-" : meant);
    }
}

/* ---- bytes that want to do harm ---- */

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
        assert_int_equal(MRD_ECONFIG, parse(text));
        print_message("#     %d:%d: %s\n", errors.errors[0].line, errors.errors[0].column,
                      errors.errors[0].text);
        assert_int_equal(0,
                         strncmp(errors.errors[0].text, rows[i].first, strlen(rows[i].first)));
        free(text);
    }
}

static void test_nul(void **state)
{
    static const char text[] = "multi_region:\n  name: a\0b\n";
    (void)state;
    assert_int_equal(MRD_ECONFIG, mrd_config_parse(text, sizeof(text) - 1, &config, &errors));
    assert_int_equal(2, errors.errors[0].line);
    assert_int_equal(10, errors.errors[0].column);
    assert_string_equal("control character 0x00; remove it", errors.errors[0].text);
}

/** More mistakes than fit are counted. */
static void test_many_errors(void **state)
{
    char *text = repeated(WORLD "  monitoring:\n", "    x: 1\n", 100, "");
    (void)state;
    assert_int_equal(MRD_ECONFIG, parse(text));
    assert_int_equal(MRD_CONF_ERRORS_MAX, errors.count);
    /* Each unknown once, and each but the first given twice. */
    assert_int_equal(199 - MRD_CONF_ERRORS_MAX, errors.more);
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
        int rc = mrd_config_parse(exact, n, &config, &errors);
        assert_true(rc == 0 || (rc == MRD_ECONFIG && errors.count > 0));
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
        int rc = mrd_config_parse(text, len, &config, &errors);
        assert_true(rc == 0 || (rc == MRD_ECONFIG && errors.count > 0));
        for (unsigned i = 0; rc == 0 && i < config.class_count; i++) {
            const struct mrd_conf_class *c = &config.classes[i];
            assert_true(c->posture == MRD_PARTITIONED || c->home < config.region_count);
            assert_int_equal(0, c->replicas >> config.region_count);
            assert_int_equal(0, c->allowed & ~c->replicas);
        }
        text[n] = was;
    }
    free(text);
}

static void test_no_file(void **state)
{
    (void)state;
    assert_int_equal(MRD_EIO, mrd_config_load("/nonexistent/x.yaml", &config, &errors));
    assert_int_equal(1, errors.count);
    assert_string_equal("could not read the file: No such file or directory",
                        errors.errors[0].text);
    assert_int_equal(MRD_EIO, mrd_config_load("/", &config, &errors));
    assert_string_equal("could not read the file: Is a directory", errors.errors[0].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml),           cmocka_unit_test(test_keys),
        cmocka_unit_test(test_values),         cmocka_unit_test(test_regions),
        cmocka_unit_test(test_classes),        cmocka_unit_test(test_residency),
        cmocka_unit_test(test_timing),         cmocka_unit_test(test_template),
        cmocka_unit_test(test_template_notes), cmocka_unit_test(test_strategy_note),
        cmocka_unit_test(test_weight_note),    cmocka_unit_test(test_shop),
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_partitions),     cmocka_unit_test(test_country),
        cmocka_unit_test(test_jurisdiction),   cmocka_unit_test(test_durations),
        cmocka_unit_test(test_host_port),      cmocka_unit_test(test_meant),
        cmocka_unit_test(test_hostile),        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_many_errors),    cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_damaged),        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
