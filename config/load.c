/*
 * The configuration from text to struct, all steps in order (see conf.h).
 */
#include <conf.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** The steps; what they find is in doc->errors. */
static void read_document(struct conf_doc *doc, const char *text, size_t len)
{
    conf_defaults(doc, conf_root_keys, doc);
    doc->config.class_count = 1; /* the built-in class "schema" */
    if (!conf_tree_parse(doc, text, len)) {
        return;
    }
    struct conf_node *root = doc->tree.root;
    if (!conf_expect(doc, root, CONF_MAP, "\"multi_region:\"")) {
        return;
    }
    conf_read_map(doc, conf_root_keys, root, doc);
    doc->top = conf_get(root, "multi_region");
    if (root->count == 0) {
        conf_error_at(doc, root, "nothing here; put the deployment under \"multi_region:\"");
    }
    if (doc->top == NULL) {
        return;
    }
    conf_check_regions(doc);
    conf_check_classes(doc);
    conf_check_timing(doc);
}

/** One error about the file as a whole. */
static int refuse(struct mrd_conf_errors *errors, int code, const char *what, const char *why)
{
    struct mrd_conf_error *e = &errors->errors[0];
    memset(errors, 0, sizeof(*errors));
    errors->count = 1;
    e->line = e->column = 1;
    snprintf(e->text, sizeof(e->text), "%s%s", what, why);
    return code;
}

int mrd_config_parse(const char *text, size_t len, struct mrd_config *ret,
                     struct mrd_conf_errors *errors)
{
    struct conf_doc *doc = calloc(1, sizeof(*doc));

    memset(errors, 0, sizeof(*errors));
    if (doc == NULL) {
        return refuse(errors, MRD_ECONFIG, "out of memory", "");
    }
    doc->errors = errors;
    read_document(doc, text, len);
    conf_errors_sort(errors);
    conf_notes_sort(&doc->config);
    if (errors->count == 0) {
        *ret = doc->config;
    }
    conf_tree_fini(&doc->tree);
    free(doc);
    return errors->count == 0 ? 0 : MRD_ECONFIG;
}

int mrd_config_load(const char *path, struct mrd_config *ret, struct mrd_conf_errors *errors)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        return refuse(errors, MRD_EIO, "could not read the file: ", strerror(errno));
    }
    /* One byte more than is allowed, so that the parser sees that there was more. */
    size_t cap = CONF_BYTES_MAX + 1, len = 0;
    char *text = malloc(cap);
    if (text != NULL) {
        len = fread(text, 1, cap, f);
    }
    int rc = text == NULL || ferror(f)
                 ? refuse(errors, MRD_EIO,
                          "could not read the file: ", strerror(text == NULL ? ENOMEM : errno))
                 : mrd_config_parse(text, len, ret, errors);
    free(text);
    fclose(f);
    return rc;
}

void mrd_config_print_errors(FILE *out, const char *path, const struct mrd_conf_errors *errors)
{
    for (unsigned i = 0; i < errors->count; i++) {
        const struct mrd_conf_error *e = &errors->errors[i];
        fprintf(out, "%s:%d:%d: %s\n", path, e->line, e->column, e->text);
    }
    if (errors->more > 0) {
        fprintf(out, "%s: and %u more\n", path, errors->more);
    }
}
