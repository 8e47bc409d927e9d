/*
 * The configuration as hostile text. The reader may refuse anything, but always with a message
 * in a place that exists; what it accepts must keep the promises that users of the struct rely
 * on: indices within their tables, a home that is allowed, names that end.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <load.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mrd_config config;
static struct mrd_conf_errors errors;

static void check_refusal(size_t size)
{
    assert(errors.count > 0 && errors.count <= MRD_CONF_ERRORS_MAX);
    for (unsigned i = 0; i < errors.count; i++) {
        const struct mrd_conf_error *e = &errors.errors[i];
        assert(e->line >= 1 && e->column >= 1);
        assert((size_t)e->line <= size + 2); /* lines of the file, or just behind its end */
        assert(strnlen(e->text, sizeof(e->text)) < sizeof(e->text) && e->text[0] != '\0');
        assert(i == 0 || e->line >= errors.errors[i - 1].line);
    }
}

static void check_class(const struct mrd_conf_class *c)
{
    mrd_regions all = (mrd_regions)((1u << config.region_count) - 1);
    assert(strnlen(c->name, sizeof(c->name)) < sizeof(c->name) && c->name[0] != '\0');
    assert(c->replicas != 0 && (c->replicas & ~all) == 0);
    assert(c->allowed != 0 && (c->allowed & ~c->replicas) == 0);
    assert(c->table_count <= MRD_TABLES_MAX);
    if (c->posture != MRD_PARTITIONED) {
        assert(c->home < config.region_count && (c->allowed >> c->home & 1) != 0);
        return;
    }
    assert(c->partition_by[0] != '\0' && c->partition_count > 0);
    assert(c->partition_count <= MRD_REGIONS_MAX);
    for (unsigned i = 0; i < c->partition_count; i++) {
        assert(c->partition_home[i] < config.region_count);
        assert((c->allowed >> c->partition_home[i] & 1) != 0);
    }
}

static void check_region(const struct mrd_conf_region *r)
{
    assert(r->name[0] != '\0' && r->agent_host[0] != '\0' && r->agent_port != 0);
    assert(r->network_count <= MRD_NETWORKS_MAX);
    assert(r->v4_count <= MRD_ADDRESSES_MAX && r->v6_count <= MRD_ADDRESSES_MAX);
    assert(isnan(r->latitude) == isnan(r->longitude));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned primaries = 0;

    if (mrd_config_parse((const char *)data, size, &config, &errors) != 0) {
        check_refusal(size);
        return 0;
    }
    assert(errors.count == 0 && config.region_count >= 1 && config.class_count >= 2);
    assert(config.region_count <= MRD_REGIONS_MAX && config.class_count <= MRD_CLASSES_MAX);
    assert(strcmp(config.classes[0].name, MRD_CLASS_SCHEMA) == 0);
    assert(config.lease_ms > 0 && config.renew_ms > 0 &&
           config.renew_ms * 3 <= config.lease_ms);
    for (unsigned i = 0; i < config.region_count; i++) {
        check_region(&config.regions[i]);
        primaries += config.regions[i].primary;
    }
    assert(primaries == 1);
    for (unsigned i = 0; i < config.class_count; i++) {
        check_class(&config.classes[i]);
    }
    return 0;
}
