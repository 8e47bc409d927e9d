/*
 * `meridian model`: every formula of the planner as a calculator, so that whoever must defend a
 * figure can work it out again with other inputs.
 */
#include <args.h>
#include <cli.h>
#include <table.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include <models.h>
#include <planned.h>

static int list(bool json)
{
    static const char *const titles[] = {"MODEL", "WHAT IT SAYS", "INPUTS", NULL};
    struct cli_table *t = json ? NULL : cli_table_new(titles);
    json_t *all = json_array();

    for (const struct plan_model *m = plan_models; m->name != NULL; m++) {
        char keys[256] = "", domain[80];
        json_t *inputs = json_array();
        size_t used = 0;
        for (const struct plan_key *k = m->keys; k->name != NULL; k++) {
            bool optional = k->fallback != NULL;
            used += (size_t)snprintf(keys + used, sizeof(keys) - used, "%s%s%s=%s",
                                     k == m->keys ? "" : " ", optional ? "[" : "", k->name,
                                     optional ? "]" : "");
            json_array_append_new(
                inputs, json_pack("{s:s, s:s, s:s, s:b}", "key", k->name, "unit", k->unit,
                                  "domain", plan_key_domain(k, domain), "optional", optional));
        }
        cli_cell(t, "%s", m->name);
        cli_cell(t, "%s", m->summary);
        cli_cell(t, "%s", keys);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s}", "model",
                                             m->name, "id", m->id, "summary", m->summary,
                                             "inputs", inputs, "unit", m->unit, "formula",
                                             m->formula, "source", m->source));
    }
    if (json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        cli_table_print(t, NULL);
    }
    json_decref(all);
    return 0;
}

static void print_value(const char *key, const json_t *v)
{
    printf("  %-24s ", key);
    if (json_is_number(v)) {
        printf("%.12g\n", json_number_value(v));
    } else if (json_is_string(v)) {
        printf("%s\n", json_string_value(v));
    } else if (json_is_array(v)) {
        size_t i;
        json_t *e;
        json_array_foreach(v, i, e)
        {
            printf("%s%.12g", i > 0 ? ", " : "", json_number_value(e));
        }
        putchar('\n');
    } else {
        puts(json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "without end");
    }
}

static void print_answer(json_t *answer)
{
    const char *key;
    json_t *v;

    json_object_foreach(json_object_get(answer, "result"), key, v)
    {
        print_value(key, v);
    }
    static const char *const notes[] = {"unit", "formula", "source"};
    for (unsigned i = 0; i < 3; i++) {
        char line[600];
        snprintf(line, sizeof(line), "%s: %s", notes[i],
                 json_string_value(json_object_get(answer, notes[i])));
        cli_paragraph(line, 0);
    }
}

static int run(const char *name, const char *const *words, size_t count, const char *dir,
               bool json)
{
    const struct plan_model *m = plan_model_find(name);
    struct plan_data *data = NULL;
    struct mrd_err err = {0};
    json_t *answer = NULL;

    if (m == NULL) {
        return cli_fail("`meridian model --list` shows them all.", "no such model: \"%s\"",
                        name);
    }
    if (plan_model_needs_data(m) && plan_data_new(dir, &data, &err) != 0) {
        return planned_failed(&err);
    }
    if (plan_model_run(m, data, words, count, &answer, &err) != 0) {
        plan_data_free(data);
        return cli_fail(err.hint, "model %s: %s", name, err.text);
    }
    if (json) {
        json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    } else {
        print_answer(answer);
    }
    json_decref(answer);
    plan_data_free(data);
    return 0;
}

int cli_model(int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX + 1];
    const char *dir = NULL;
    int count = 0;
    bool json = false, all = false;
    const struct cli_option options[] = {
        {"--list", NULL, &all, "every model with its inputs"},
        {"--data", "DIR", &dir, "tables there take the place of the built-in ones"},
        {"--json", NULL, &json, "the answer with its inputs, formula and source as JSON"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "model --list | model NAME KEY=VALUE... [--json]",
        "A formula as a calculator. Numbers as 0.001 or 1e-3, lists with commas.", options, 0,
        CLI_POSITIONAL_MAX};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (all) {
        return count == 0 ? list(json) : cli_misuse(&usage, "--list stands alone");
    }
    if (count == 0) {
        return cli_misuse(&usage, "which model?");
    }
    return run(words[0], words + 1, (size_t)count - 1, dir, json);
}
