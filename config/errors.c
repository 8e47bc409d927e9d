/*
 * Saying what is wrong: messages with their place, cleaned of what could confuse a terminal,
 * and the guess at what was meant.
 */
#include <conf.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/** No control characters, C1 ones included, and no half of a UTF-8 sequence at the end. */
static void clean(char *s)
{
    size_t len = strlen(s);
    unsigned char *u = (unsigned char *)s;

    for (size_t i = 0; i < len; i++) {
        if (u[i] < 0x20 || u[i] == 0x7f) {
            u[i] = '?';
        } else if (u[i] == 0xc2 && u[i + 1] >= 0x80 && u[i + 1] <= 0x9f) {
            u[i] = u[i + 1] = '?';
        }
    }
    size_t start = len;
    while (start > 0 && len - start < 4 && (u[start - 1] & 0xc0) == 0x80) {
        start--;
    }
    if (start > 0 && u[start - 1] >= 0xc0) {
        unsigned char c = u[start - 1];
        size_t need = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (len - start < need) {
            s[start - 1] = '\0';
        }
    }
}

static void add(struct conf_doc *doc, int line, int column, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

static void add(struct conf_doc *doc, int line, int column, const char *fmt, va_list ap)
{
    struct mrd_conf_errors *list = doc->errors;
    if (list->count == MRD_CONF_ERRORS_MAX) {
        list->more = (uint16_t)(list->more + (list->more < UINT16_MAX));
        return;
    }
    struct mrd_conf_error *e = &list->errors[list->count++];
    e->line = line;
    e->column = column;
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    clean(e->text);
}

void conf_error(struct conf_doc *doc, int line, int column, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(doc, line, column, fmt, ap);
    va_end(ap);
}

void conf_error_at(struct conf_doc *doc, const struct conf_node *node, const char *fmt, ...)
{
    va_list ap;
    if (node == NULL) {
        return;
    }
    va_start(ap, fmt);
    add(doc, node->line, node->column, fmt, ap);
    va_end(ap);
    /* The tree is ours and mutable; only its readers see it as const. */
    ((struct conf_node *)(uintptr_t)node)->bad = true;
}

void conf_error_key(struct conf_doc *doc, const struct conf_node *node, const char *fmt, ...)
{
    va_list ap;
    if (node == NULL) {
        return;
    }
    va_start(ap, fmt);
    add(doc, node->key_line, node->key_column, fmt, ap);
    va_end(ap);
}

void conf_note(struct conf_doc *doc, const struct conf_node *node, const char *fmt, ...)
{
    struct mrd_config *c = &doc->config;
    if (c->note_count == MRD_CONF_ERRORS_MAX || node == NULL) {
        return;
    }
    char *out = c->notes[c->note_count++];
    int line = node->key != NULL ? node->key_line : node->line;
    int column = node->key != NULL ? node->key_column : node->column;
    int n = snprintf(out, MRD_CONF_STR, "%d:%d: ", line, column);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out + n, MRD_CONF_STR - (size_t)n, fmt, ap);
    va_end(ap);
    clean(out);
}

static int in_file_order(const void *a, const void *b)
{
    const struct mrd_conf_error *x = a, *y = b;
    if (x->line != y->line) {
        return x->line < y->line ? -1 : 1;
    }
    if (x->column != y->column) {
        return x->column < y->column ? -1 : 1;
    }
    return strcmp(x->text, y->text);
}

void conf_errors_sort(struct mrd_conf_errors *errors)
{
    qsort(errors->errors, errors->count, sizeof(errors->errors[0]), in_file_order);
}

static int notes_in_file_order(const void *a, const void *b)
{
    const char *x = a, *y = b;
    char *after_x, *after_y;
    long line = strtol(x, &after_x, 10) - strtol(y, &after_y, 10);
    long column = strtol(after_x + 1, NULL, 10) - strtol(after_y + 1, NULL, 10);
    return line != 0 ? (line > 0) - (line < 0) : (column > 0) - (column < 0);
}

void conf_notes_sort(struct mrd_config *c)
{
    qsort(c->notes, c->note_count, sizeof(c->notes[0]), notes_in_file_order);
}

/* ---- what was meant ---- */

#define MEANT_MAX 40

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/** Edits from @a to @b, a swap of neighbours counting as one (optimal string alignment). */
static unsigned distance(const char *a, size_t m, const char *b, size_t n)
{
    unsigned d[MEANT_MAX + 1][MEANT_MAX + 1];

    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned differ = a[i - 1] != b[j - 1];
            d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differ);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1, d[i][j]);
            }
        }
    }
    return d[m][n];
}

const char *mrd_config_meant(const char *text, const char *const *words)
{
    const char *best = NULL;
    size_t m = strlen(text);
    unsigned best_distance = 3; /* more edits than two is another word */

    for (; *words != NULL; words++) {
        size_t n = strlen(*words);
        if (m > MEANT_MAX || n > MEANT_MAX) {
            continue;
        }
        unsigned d = distance(text, m, *words, n);
        if (d < best_distance && (size_t)d * 2 < (m > n ? m : n)) {
            best = *words;
            best_distance = d;
        }
    }
    return best;
}

char *mrd_config_hint(const char *name, const char *const *words, const char *where, char *out,
                      size_t cap)
{
    const char *meant = mrd_config_meant(name, words);

    snprintf(out, cap, "%s%s%s%s", meant != NULL ? "Did you mean \"" : "",
             meant != NULL ? meant : "", meant != NULL ? "\"? " : "", where);
    return out;
}

void mrd_config_region_words(const struct mrd_config *c, const char *ret[MRD_REGIONS_MAX + 1])
{
    for (unsigned i = 0; i < c->region_count; i++) {
        ret[i] = c->regions[i].name;
    }
    ret[c->region_count] = NULL;
}

void mrd_config_class_words(const struct mrd_config *c, const char *ret[MRD_CLASSES_MAX + 1])
{
    for (unsigned i = 0; i < c->class_count; i++) {
        ret[i] = c->classes[i].name;
    }
    ret[c->class_count] = NULL;
}
