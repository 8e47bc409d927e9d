/*
 * `meridian config`: check a configuration, or list the keys there are.
 *
 * Errors go to stderr as FILE:LINE:COLUMN, which editors and CI systems turn into links; notes
 * too, marked as such. The summary on stdout says how the file was understood, since the
 * mistake that no check finds is a promise that was meant differently.
 */
#include <args.h>
#include <cli.h>

#include <jansson.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <load.h>

static json_t *errors_json(const struct mrd_conf_errors *errors)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < errors->count; i++) {
        const struct mrd_conf_error *e = &errors->errors[i];
        json_array_append_new(list, json_pack("{s:i, s:i, s:s}", "line", e->line, "column",
                                              e->column, "text", e->text));
    }
    return list;
}

static json_t *names_json(const struct mrd_config *c, mrd_regions set)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < c->region_count; i++) {
        if ((set >> i & 1) != 0) {
            json_array_append_new(list, json_string(c->regions[i].name));
        }
    }
    return list;
}

static json_t *class_json(const struct mrd_config *c, const struct mrd_conf_class *class)
{
    json_t *partitions = json_array(), *tables = json_array();
    json_t *home = class->home == MRD_REGION_NONE ? json_null()
                                                  : json_string(c->regions[class->home].name);
    for (unsigned i = 0; i < class->partition_count; i++) {
        json_array_append_new(partitions,
                              json_pack("{s:s, s:s}", "name", class->partitions[i], "home",
                                        c->regions[class->partition_home[i]].name));
    }
    for (unsigned i = 0; i < class->table_count; i++) {
        json_array_append_new(tables, json_string(class->tables[i]));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name", class->name, "posture",
                     mrd_posture_name(class->posture), "durability",
                     mrd_durability_name(class->durability), "home", home, "replicas",
                     names_json(c, class->replicas), "allowed", names_json(c, class->allowed),
                     "partitions", partitions, "tables", tables);
}

static json_t *config_json(const struct mrd_config *c)
{
    json_t *regions = json_array(), *classes = json_array(), *notes = json_array();
    for (unsigned i = 0; i < c->region_count; i++) {
        const struct mrd_conf_region *r = &c->regions[i];
        json_array_append_new(regions,
                              json_pack("{s:s, s:b, s:b, s:s, s:s}", "name", r->name, "primary",
                                        r->primary, "witness", r->witness, "country",
                                        r->country, "jurisdiction", r->jurisdiction));
    }
    for (unsigned i = 0; i < c->class_count; i++) {
        json_array_append_new(classes, class_json(c, &c->classes[i]));
    }
    for (unsigned i = 0; i < c->note_count; i++) {
        json_array_append_new(notes, json_string(c->notes[i]));
    }
    return json_pack("{s:b, s:s, s:I, s:o, s:o, s:o, s:[]}", "ok", 1, "name", c->name,
                     "version", (json_int_t)c->version, "regions", regions, "classes", classes,
                     "notes", notes, "errors");
}

static void print_set(const struct mrd_config *c, mrd_regions set)
{
    bool first = true;
    for (unsigned i = 0; i < c->region_count; i++) {
        if ((set >> i & 1) != 0) {
            printf("%s%s", first ? "" : " ", c->regions[i].name);
            first = false;
        }
    }
}

static void print_class(const struct mrd_config *c, const struct mrd_conf_class *class)
{
    printf("  %-14s %-14s %-7s ", class->name, mrd_posture_name(class->posture),
           mrd_durability_name(class->durability));
    if (class->posture == MRD_PARTITIONED) {
        printf("by %s: %u partitions", class->partition_by, class->partition_count);
    } else {
        printf("home %s", c->regions[class->home].name);
    }
    if (class->posture != MRD_SINGLE_REGION) {
        printf("; copies in ");
        print_set(c, class->replicas);
    }
    printf("; %u table%s\n", class->table_count, class->table_count == 1 ? "" : "s");
}

static void print_config(const char *path, const struct mrd_config *c)
{
    unsigned witnesses = 0;
    for (unsigned i = 0; i < c->region_count; i++) {
        witnesses += c->regions[i].witness;
    }
    for (unsigned i = 0; i < c->note_count; i++) {
        /* A note begins with its own LINE:COLUMN. */
        fprintf(stderr, "%s:%s (note)\n", path, c->notes[i]);
    }
    printf("%s: ok: deployment \"%s\", version %llu, %u region%s (%u witness%s), failover %s\n",
           path, c->name, (unsigned long long)c->version, c->region_count,
           c->region_count == 1 ? "" : "s", witnesses, witnesses == 1 ? "" : "es",
           mrd_failover_mode_name(c->failover));
    for (unsigned i = 0; i < c->class_count; i++) {
        print_class(c, &c->classes[i]);
    }
}

static int print_json(json_t *j)
{
    int rc = j == NULL ? -1 : json_dumpf(j, stdout, JSON_INDENT(2));
    json_decref(j);
    putchar('\n');
    return rc == 0 ? 0
                   : cli_fail("Is there room where the output goes?",
                              "could not write the answer: %s", strerror(errno));
}

static int check(const char *path, bool json)
{
    struct mrd_config *c = malloc(sizeof(*c));
    struct mrd_conf_errors *errors = malloc(sizeof(*errors));
    int rc = 1;

    if (c == NULL || errors == NULL) {
        cli_fail(NULL, "out of memory");
        goto out;
    }
    rc = mrd_config_load(path, c, errors) == 0 ? 0 : 1;
    if (json) {
        int printed =
            print_json(rc == 0 ? config_json(c)
                               : json_pack("{s:b, s:o, s:i}", "ok", 0, "errors",
                                           errors_json(errors), "more", errors->more));
        rc = printed != 0 ? printed : rc;
    } else if (rc == 0) {
        print_config(path, c);
    } else {
        mrd_config_print_errors(stderr, path, errors);
    }
out:
    free(errors);
    free(c);
    return rc;
}

int cli_config(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    bool json = false;
    const struct cli_option options[] = {
        {"--json", NULL, &json, "the result as JSON"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {"config check FILE [--json] | config keys",
                                    "check reads FILE as every agent would and reports all "
                                    "mistakes at once; keys lists every\n"
                                    "key with its default.",
                                    options, 1, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (strcmp(words[0], "check") == 0 && count == 2) {
        return check(words[1], json);
    }
    if (strcmp(words[0], "keys") == 0) {
        if (json || count > 1) {
            return cli_misuse(&usage,
                              json ? "keys prints a configuration; --json belongs to check"
                                   : "keys takes no file");
        }
        mrd_config_print_keys(stdout);
        return 0;
    }
    return cli_misuse(&usage,
                      strcmp(words[0], "check") == 0 ? "which file?"
                                                     : "no such action: config \"%s\"",
                      words[0]);
}
