/*
 * What meridian.configure is told (pgwork_config.h): docs/internals/postgres.md says what each
 * member means.
 */
#include "pgwork_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* A value of a connection string: quoted, with \ before quotes and backslashes. */
static void put_value(char *out, size_t cap, const char *key, const char *value)
{
    size_t n = strlen(out);
    n += (size_t)snprintf(out + n, cap - n, "%s%s='", n > 0 ? " " : "", key);
    for (const char *p = value; *p != '\0' && n + 4 < cap; p++) {
        if (*p == '\'' || *p == '\\') {
            out[n++] = '\\';
        }
        out[n++] = *p;
    }
    if (n + 2 < cap) {
        out[n++] = '\'';
        out[n] = '\0';
    }
}

static json_t *region_json(const struct mrd_conf_region *r, const char *certs_dir)
{
    char info[4096] = "", path[1200], port[8];
    snprintf(port, sizeof(port), "%u", r->db_port);
    put_value(info, sizeof(info), "host", r->db_host);
    put_value(info, sizeof(info), "port", port);
    put_value(info, sizeof(info), "dbname", r->db_name);
    put_value(info, sizeof(info), "user", "meridian");
    put_value(info, sizeof(info), "sslmode", "verify-ca");
    snprintf(path, sizeof(path), "%s/ca.crt", certs_dir);
    put_value(info, sizeof(info), "sslrootcert", path);
    snprintf(path, sizeof(path), "%s/node.crt", certs_dir);
    put_value(info, sizeof(info), "sslcert", path);
    snprintf(path, sizeof(path), "%s/node.key", certs_dir);
    put_value(info, sizeof(info), "sslkey", path);
    put_value(info, sizeof(info), "gssencmode", "disable");
    put_value(info, sizeof(info), "connect_timeout", "3");
    put_value(info, sizeof(info), "keepalives_idle", "2");
    put_value(info, sizeof(info), "keepalives_interval", "1");
    put_value(info, sizeof(info), "keepalives_count", "3");
    put_value(info, sizeof(info), "tcp_user_timeout", "5000");
    return json_pack("{s:s, s:s}", "name", r->name, "conninfo", info);
}

static json_t *class_json(const struct mrd_config *c, const struct mrd_conf_class *k)
{
    json_t *partitions = json_array(), *replicas = json_array(), *tables = json_array();
    if (k->posture == MRD_PARTITIONED) {
        for (unsigned i = 0; i < k->partition_count; i++) {
            json_array_append_new(partitions, json_string(k->partitions[i]));
        }
    } else {
        json_array_append_new(partitions, json_string(MRD_PARTITION_ALL));
    }
    for (unsigned i = 0; i < c->region_count; i++) {
        if ((k->replicas >> i & 1) != 0) {
            json_array_append_new(replicas, json_string(c->regions[i].name));
        }
    }
    for (unsigned i = 0; i < k->table_count; i++) {
        json_array_append_new(tables, json_string(k->tables[i]));
    }
    json_t *by = k->posture == MRD_PARTITIONED ? json_string(k->partition_by) : json_null();
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "name", k->name, "posture",
                     mrd_posture_name(k->posture), "durability",
                     mrd_durability_name(k->durability), "partition_by", by, "partitions",
                     partitions, "replicas", replicas, "tables", tables);
}

char *pgwork_configuration(const struct mrd_config *c, mrd_region self, const char *certs_dir)
{
    json_t *regions = json_array(), *classes = json_array();
    int schema = mrd_config_class(c, MRD_CLASS_SCHEMA);
    mrd_region home = schema >= 0 ? c->classes[schema].home : MRD_REGION_NONE;

    for (mrd_region i = 0; i < c->region_count; i++) {
        if (!c->regions[i].witness) {
            json_array_append_new(regions, region_json(&c->regions[i], certs_dir));
        }
        if (home == MRD_REGION_NONE && c->regions[i].primary) {
            home = i;
        }
    }
    for (unsigned i = 0; i < c->class_count; i++) {
        json_array_append_new(classes, class_json(c, &c->classes[i]));
    }
    json_t *all = json_pack("{s:s, s:I, s:s, s:o, s:o}", "region", c->regions[self].name,
                            "version", (json_int_t)c->version, "schema_home",
                            home != MRD_REGION_NONE ? c->regions[home].name : "", "regions",
                            regions, "classes", classes);
    char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}
