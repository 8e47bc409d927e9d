/*
 * A link of the lab's network: when packets arrive, what is dropped, and the units of the
 * command line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <link.h>
#include <mrd/err.h>
#include <wan.h>

#define MS LAB_NS_PER_MS
#define NO_LOSS 0xffffffff00000000ull /* the high half decides loss, the low half jitter */

struct offer_row {
    const char *name;
    struct lab_link_conf conf;
    uint32_t len;
    uint64_t at_ns, random;
    enum lab_fate fate;
    uint64_t due_ns;
};

/* Each row is the first packet on a fresh link. */
static const struct offer_row first_packet[] = {
    {"no delay arrives at once", {0}, 100, 5 * MS, NO_LOSS, LAB_CARRIED, 5 * MS},
    {"delay is one way", {.delay_ns = 40 * MS}, 100, 5 * MS, NO_LOSS, LAB_CARRIED, 45 * MS},
    {"1500 bytes at 12 Mbit/s take 1 ms",
     {.delay_ns = 40 * MS, .rate_bps = 12000000},
     1500,
     5 * MS,
     NO_LOSS,
     LAB_CARRIED,
     46 * MS},
    {"least jitter",
     {.delay_ns = 40 * MS, .jitter_ns = 2 * MS},
     100,
     0,
     NO_LOSS,
     LAB_CARRIED,
     38 * MS},
    {"most jitter",
     {.delay_ns = 40 * MS, .jitter_ns = 2 * MS},
     100,
     0,
     NO_LOSS + 4 * MS,
     LAB_CARRIED,
     42 * MS},
    {"jitter above the delay never goes back in time",
     {.delay_ns = 1 * MS, .jitter_ns = 5 * MS},
     100,
     7 * MS,
     NO_LOSS,
     LAB_CARRIED,
     7 * MS},
    {"a cut link carries nothing", {.cut = true}, 100, 0, NO_LOSS, LAB_CUT, 0},
    {"certain loss", {.loss_ppm = LAB_MILLION}, 100, 0, NO_LOSS, LAB_LOST, 0},
    {"just below the share is lost", {.loss_ppm = 10000}, 100, 0, 9999ull << 32, LAB_LOST, 0},
    {"just at the share is carried",
     {.loss_ppm = 10000},
     100,
     0,
     10000ull << 32,
     LAB_CARRIED,
     0},
    {"larger than the queue",
     {.rate_bps = 8000, .queue_bytes = 1000},
     1500,
     0,
     NO_LOSS,
     LAB_FULL,
     0},
};

static void test_first_packet(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(first_packet) / sizeof(first_packet[0]); i++) {
        const struct offer_row *r = &first_packet[i];
        struct lab_link link = {0};
        uint64_t due = 0;

        print_message("# %s\n", r->name);
        assert_int_equal(lab_link_offer(&link, &r->conf, r->len, r->at_ns, r->random, &due),
                         r->fate);
        if (r->fate == LAB_CARRIED) {
            assert_true(due == r->due_ns);
            assert_int_equal(link.inflight_bytes, r->len);
        } else {
            assert_int_equal(link.inflight_bytes, 0);
        }
    }
}

static void test_rate_is_never_exceeded(void **state)
{
    struct lab_link_conf conf = {.rate_bps = 100000000};
    struct lab_link link = {0};
    uint64_t due = 0, last = 0;

    (void)state;
    /* A burst at one instant leaves back to back: 120 us for each 1500 bytes. */
    for (unsigned i = 1; i <= 100; i++) {
        assert_int_equal(lab_link_offer(&link, &conf, 1500, 0, NO_LOSS, &due), LAB_CARRIED);
        assert_true(due - last == 120000);
        last = due;
    }
    /* An idle link saves up nothing. */
    lab_link_offer(&link, &conf, 1500, 900 * MS, NO_LOSS, &due);
    assert_true(due == 900 * MS + 120000);
}

static void test_queue_is_bounded_in_bytes(void **state)
{
    struct lab_link_conf conf = {.rate_bps = 8000000}; /* 200 ms: 200000 bytes */
    struct lab_link link = {0};
    unsigned carried = 0;
    uint64_t due;

    (void)state;
    while (lab_link_offer(&link, &conf, 1000, 0, NO_LOSS, &due) == LAB_CARRIED) {
        carried++;
    }
    assert_int_equal(carried, 200);
    /* One packet's time later there is room for one packet. */
    assert_int_equal(lab_link_offer(&link, &conf, 1000, 1 * MS, NO_LOSS, &due), LAB_CARRIED);
    assert_int_equal(lab_link_offer(&link, &conf, 1000, 1 * MS, NO_LOSS, &due), LAB_FULL);
}

static void test_inflight_is_bounded_without_rate(void **state)
{
    struct lab_link_conf conf = {.delay_ns = 1000 * MS};
    struct lab_link link = {.inflight_bytes = LAB_INFLIGHT_MAX - 100};
    uint64_t due;

    (void)state;
    assert_int_equal(lab_link_offer(&link, &conf, 101, 0, NO_LOSS, &due), LAB_FULL);
    assert_int_equal(lab_link_offer(&link, &conf, 100, 0, NO_LOSS, &due), LAB_CARRIED);
}

static void test_order_is_kept(void **state)
{
    struct lab_link_conf conf = {.delay_ns = 40 * MS, .jitter_ns = 30 * MS};
    struct lab_link link = {0};
    uint64_t first = 0, second = 0;

    (void)state;
    lab_link_offer(&link, &conf, 100, 0, NO_LOSS + 60 * MS, &first);
    lab_link_offer(&link, &conf, 100, 1 * MS, NO_LOSS, &second);
    assert_true(first == 70 * MS);
    assert_true(second >= first);
}

static void test_histogram(void **state)
{
    struct lab_hist h = {0};

    (void)state;
    assert_int_equal(lab_hist_percentile(&h, 50), 0);
    for (unsigned i = 0; i < 99; i++) {
        lab_hist_add(&h, 10000);
    }
    lab_hist_add(&h, 3 * MS);
    assert_int_equal(lab_hist_percentile(&h, 50), 16000);
    assert_int_equal(lab_hist_percentile(&h, 99), 16000);
    assert_true(lab_hist_percentile(&h, 100) >= 3 * MS);
    assert_int_equal(h.max_ns, 3 * MS);
}

struct unit_row {
    const char *text;
    int code;
    uint64_t value;
};

static const struct unit_row durations[] = {
    {"80ms", 0, 80 * MS},     {"1.5s", 0, 1500 * MS},
    {"200us", 0, 200000},     {"0", 0, 0},
    {"80", MRD_EINVAL, 0},    {"-1ms", MRD_EINVAL, 0},
    {"", MRD_EINVAL, 0},      {"nanms", MRD_EINVAL, 0},
    {"80 ms", MRD_EINVAL, 0}, {"1e300s", MRD_EINVAL, 0},
};
static const struct unit_row shares[] = {
    {"1%", 0, 10000},        {"0.05%", 0, 500},      {"0.01", 0, 10000},   {"100%", 0, 1000000},
    {"101%", MRD_EINVAL, 0}, {"-1%", MRD_EINVAL, 0}, {"x", MRD_EINVAL, 0},
};
static const struct unit_row rates[] = {
    {"100mbit", 0, 100000000},
    {"1.5gbit", 0, 1500000000},
    {"none", 0, 0},
    {"0", 0, 0},
    {"1bit", MRD_EINVAL, 0},
    {"100", MRD_EINVAL, 0},
    {"900gbit", MRD_EINVAL, 0},
};

static void test_units(void **state)
{
    uint64_t v;
    uint32_t ppm;

    (void)state;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        v = 0;
        print_message("# duration \"%s\"\n", durations[i].text);
        assert_int_equal(lab_parse_duration(durations[i].text, &v), durations[i].code);
        assert_int_equal(v, durations[i].value);
    }
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        ppm = 0;
        print_message("# share \"%s\"\n", shares[i].text);
        assert_int_equal(lab_parse_share(shares[i].text, &ppm), shares[i].code);
        assert_int_equal(ppm, shares[i].value);
    }
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        v = 0;
        print_message("# rate \"%s\"\n", rates[i].text);
        assert_int_equal(lab_parse_rate(rates[i].text, &v), rates[i].code);
        assert_int_equal(v, rates[i].value);
    }
}

static void test_destination(void **state)
{
    static const struct {
        const char *name;
        uint32_t len;
        uint8_t head[40];
        mrd_region region;
    } rows[] = {
        {"10.77.2.1", 20, {[0] = 0x45, [16] = 10, [17] = 77, [18] = 2, [19] = 1}, 1},
        {"10.77.0.1 is nobody", 20, {[0] = 0x45, [16] = 10, [17] = 77}, MRD_REGION_NONE},
        {"10.77.4.1 is one too many",
         20,
         {[0] = 0x45, [16] = 10, [17] = 77, [18] = 4},
         MRD_REGION_NONE},
        {"a foreign address",
         20,
         {[0] = 0x45, [16] = 192, [17] = 168, [18] = 2},
         MRD_REGION_NONE},
        {"half an IPv4 header",
         19,
         {[0] = 0x45, [16] = 10, [17] = 77, [18] = 2},
         MRD_REGION_NONE},
        {"fd77::3", 40, {[0] = 0x60, [24] = 0xfd, [25] = 0x77, [39] = 3}, 2},
        {"fd77::1:3",
         40,
         {[0] = 0x60, [24] = 0xfd, [25] = 0x77, [37] = 1, [39] = 3},
         MRD_REGION_NONE},
        {"half an IPv6 header",
         39,
         {[0] = 0x60, [24] = 0xfd, [25] = 0x77, [38] = 3},
         MRD_REGION_NONE},
        {"neither version", 40, {[0] = 0x50}, MRD_REGION_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        print_message("# %s\n", rows[i].name);
        assert_int_equal(lab_wan_destination(rows[i].head, rows[i].len, 3), rows[i].region);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_packet),
        cmocka_unit_test(test_rate_is_never_exceeded),
        cmocka_unit_test(test_queue_is_bounded_in_bytes),
        cmocka_unit_test(test_inflight_is_bounded_without_rate),
        cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_destination),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
