/*
 * Single values of a configuration: those that are wrong, and how each kind is read.
 */
#include "conf_rows.h"

/* clang-format off */
static const struct conf_row values_rows[] = {
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

/* clang-format on */

static void test_values(void **state)
{
    (void)state;
    conf_rows_check(values_rows, ROWS(values_rows));
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_host_port),
        cmocka_unit_test(test_meant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
