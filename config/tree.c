/*
 * YAML to a tree of nodes that remember where they stood.
 *
 * The file may come from anywhere, also from another region through the store, so everything
 * that makes YAML dangerous or surprising ends here: encodings other than UTF-8, control
 * characters, NUL written as an escape, anchors and aliases (a few lines can stand for
 * gigabytes), tags, several documents, keys that are not text, keys given twice, deep nesting,
 * and sheer size. Memory is taken in chunks that live exactly as long as the tree.
 *
 * Built with an explicit stack, so depth costs no C stack.
 */
#include <conf.h>

#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#define CHUNK_BYTES ((size_t)32 * 1024)

struct conf_chunk {
    struct conf_chunk *next;
    size_t used, cap;
    _Alignas(max_align_t) char bytes[];
};

static void *tree_alloc(struct conf_tree *tree, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    struct conf_chunk *c = tree->chunks;

    size = (size + align - 1) / align * align;
    if (c == NULL || c->cap - c->used < size) {
        size_t cap = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        c = malloc(sizeof(*c) + cap);
        if (c == NULL) {
            return NULL;
        }
        c->next = tree->chunks;
        c->used = 0;
        c->cap = cap;
        tree->chunks = c;
    }
    void *p = c->bytes + c->used;
    c->used += size;
    return p;
}

void conf_tree_fini(struct conf_tree *tree)
{
    while (tree->chunks != NULL) {
        struct conf_chunk *next = tree->chunks->next;
        free(tree->chunks);
        tree->chunks = next;
    }
    tree->root = NULL;
    tree->nodes = 0;
}

static const struct conf_node *find(const struct conf_node *map, const char *key)
{
    for (const struct conf_node *n = map->first; n != NULL; n = n->next) {
        if (n->key != NULL && strcmp(n->key, key) == 0) {
            return n;
        }
    }
    return NULL;
}

const struct conf_node *conf_get(const struct conf_node *map, const char *key)
{
    const struct conf_node *n = NULL;
    if (map != NULL && map->kind == CONF_MAP) {
        n = find(map, key);
    }
    return n == NULL || n->bad ? NULL : n;
}

bool conf_has(const struct conf_node *map, const char *key)
{
    return map != NULL && map->kind == CONF_MAP && find(map, key) != NULL;
}

/* ---- the bytes ---- */

/** Length of the UTF-8 sequence at @s, or 0: bad, overlong, surrogate or beyond Unicode. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    static const struct {
        unsigned char first, last; /* of the first byte */
        unsigned char low, high;   /* of the second (RFC 3629, section 4) */
        unsigned char length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last) {
            continue;
        }
        if (forms[i].length > left) {
            return 0;
        }
        if (forms[i].length > 1 && (s[1] < forms[i].low || s[1] > forms[i].high)) {
            return 0;
        }
        for (size_t k = 2; k < forms[i].length; k++) {
            if ((s[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[i].length;
    }
    return 0;
}

static bool check_bytes(struct conf_doc *doc, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    int line = 1, column = 1;

    if (len > CONF_BYTES_MAX) {
        conf_error(doc, 1, 1, "the file has %zu bytes; at most %zu are read", len,
                   CONF_BYTES_MAX);
        return false;
    }
    for (size_t i = 0; i < len; column++) {
        size_t n = utf8_length(s + i, len - i);
        if (n == 0) {
            conf_error(doc, line, column, "byte 0x%02x is not UTF-8; save the file as UTF-8",
                       s[i]);
            return false;
        }
        if (n == 1 && (s[i] < 0x20 || s[i] == 0x7f) && strchr("\t\n\r", s[i]) == NULL) {
            conf_error(doc, line, column, "control character 0x%02x; remove it", s[i]);
            return false;
        }
        if (s[i] == '\0') { /* strchr finds the terminator too */
            conf_error(doc, line, column, "control character 0x00; remove it");
            return false;
        }
        if (s[i] == '\n') {
            line++;
            column = 0;
        }
        i += n;
    }
    return true;
}

/* ---- the events ---- */

struct builder {
    struct conf_doc *doc;
    unsigned depth;
    struct conf_node *stack[CONF_DEPTH_MAX];
    struct conf_node *key; /* a mapping's key that waits for its value */
};

static int line_of(yaml_mark_t m)
{
    return (int)m.line + 1; /* the file is small, so this fits */
}

static int column_of(yaml_mark_t m)
{
    return (int)m.column + 1;
}

static struct conf_node *node_new(struct builder *b, enum conf_kind kind, yaml_mark_t at)
{
    struct conf_node *n = NULL;
    if (b->doc->tree.nodes < CONF_NODES_MAX) {
        n = tree_alloc(&b->doc->tree, sizeof(*n));
    }
    if (n == NULL) {
        conf_error(b->doc, line_of(at), column_of(at), "%s",
                   b->doc->tree.nodes < CONF_NODES_MAX
                       ? "out of memory"
                       : "the file has too many values; this is not a configuration");
        return NULL;
    }
    b->doc->tree.nodes++;
    memset(n, 0, sizeof(*n));
    n->kind = kind;
    n->line = line_of(at);
    n->column = column_of(at);
    return n;
}

static void name_entry(struct builder *b, const struct conf_node *map, struct conf_node *n)
{
    const struct conf_node *first = find(map, b->key->text);
    n->key = b->key->text;
    n->key_line = b->key->line;
    n->key_column = b->key->column;
    if (first != NULL) {
        conf_error_key(b->doc, n, "\"%s\" is given twice, first in line %d; keep one of them",
                       n->key, first->key_line);
        n->bad = true;
    }
    b->key = NULL;
}

/** Hang @n under the open mapping or list, or make it the root. */
static bool attach(struct builder *b, struct conf_node *n)
{
    if (b->depth == 0) {
        b->doc->tree.root = n;
        return true;
    }
    struct conf_node *parent = b->stack[b->depth - 1];
    if (parent->count >= CONF_ENTRIES_MAX) {
        conf_error(b->doc, n->line, n->column,
                   "more than %u entries here; at most that many are read", CONF_ENTRIES_MAX);
        return false;
    }
    if (parent->kind == CONF_MAP) {
        name_entry(b, parent, n);
    }
    *(parent->first == NULL ? &parent->first : &parent->last->next) = n;
    parent->last = n;
    parent->count++;
    return true;
}

static bool wants_key(const struct builder *b)
{
    return b->depth > 0 && b->stack[b->depth - 1]->kind == CONF_MAP && b->key == NULL;
}

static bool on_scalar(struct builder *b, const yaml_event_t *e)
{
    struct conf_node *n = node_new(b, CONF_SCALAR, e->start_mark);
    size_t len = e->data.scalar.length;
    const char *value = (const char *)e->data.scalar.value;

    if (n == NULL) {
        return false;
    }
    if (len > CONF_SCALAR_MAX || memchr(value, '\0', len) != NULL) {
        conf_error(b->doc, n->line, n->column, "%s",
                   len > CONF_SCALAR_MAX ? "a value of more than 1024 bytes; shorten it"
                                         : "a value with a NUL character in it; remove it");
        return false;
    }
    char *copy = tree_alloc(&b->doc->tree, len + 1);
    if (copy == NULL) {
        conf_error(b->doc, n->line, n->column, "out of memory");
        return false;
    }
    memcpy(copy, value, len);
    copy[len] = '\0';
    n->text = copy;
    n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL) {
        conf_error_at(b->doc, n, "anchors and tags are not supported; write the value alone");
    }
    if (wants_key(b)) {
        b->key = n;
        return true;
    }
    return attach(b, n);
}

static bool on_start(struct builder *b, enum conf_kind kind, const yaml_event_t *e,
                     const void *anchor, const void *tag)
{
    struct conf_node *n = node_new(b, kind, e->start_mark);
    if (n == NULL) {
        return false;
    }
    if (wants_key(b)) {
        conf_error(b->doc, n->line, n->column, "a list or mapping as a key; a key is a word");
        return false;
    }
    if (b->depth == CONF_DEPTH_MAX) {
        conf_error(b->doc, n->line, n->column,
                   "nested more than %u levels deep; this is not a configuration",
                   CONF_DEPTH_MAX);
        return false;
    }
    if (anchor != NULL || tag != NULL) {
        conf_error_at(b->doc, n, "anchors and tags are not supported; write the value alone");
    }
    if (!attach(b, n)) {
        return false;
    }
    b->stack[b->depth++] = n;
    return true;
}

static bool on_alias(struct builder *b, const yaml_event_t *e)
{
    struct conf_node *n = node_new(b, CONF_SCALAR, e->start_mark);
    if (n == NULL) {
        return false;
    }
    conf_error(b->doc, n->line, n->column, "aliases are not supported; write the value out");
    if (wants_key(b)) {
        return false;
    }
    n->text = "";
    n->bad = true;
    return attach(b, n);
}

/** One event; false ends the reading. */
static bool on_event(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->doc->tree.root != NULL) {
            conf_error(b->doc, line_of(e->start_mark), column_of(e->start_mark),
                       "a second document begins here; one file holds one configuration");
            return false;
        }
        return true;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, e);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, CONF_MAP, e, e->data.mapping_start.anchor,
                        e->data.mapping_start.tag);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, CONF_LIST, e, e->data.sequence_start.anchor,
                        e->data.sequence_start.tag);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        mrd_assert(b->depth > 0); /* libyaml balances them */
        b->depth--;
        return true;
    case YAML_ALIAS_EVENT:
        return on_alias(b, e);
    default:
        return true;
    }
}

static void syntax_error(struct conf_doc *doc, const yaml_parser_t *p)
{
    const char *what = p->problem != NULL ? p->problem : "cannot be read";
    const char *advice = "check the indentation, colons and quotes around here";

    if (p->error == YAML_MEMORY_ERROR) {
        conf_error(doc, 1, 1, "out of memory");
        return;
    }
    if (strstr(what, "cannot start any token") != NULL) {
        advice = "indent with spaces, and put values with special characters in quotes";
    }
    conf_error(doc, line_of(p->problem_mark), column_of(p->problem_mark),
               "not valid YAML: %s; %s", what, advice);
}

static bool run(struct builder *b, yaml_parser_t *p)
{
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(p, &e)) {
            syntax_error(b->doc, p);
            return false;
        }
        bool done = e.type == YAML_STREAM_END_EVENT;
        bool ok = on_event(b, &e);
        yaml_event_delete(&e);
        if (done || !ok) {
            return ok;
        }
    }
}

bool conf_tree_parse(struct conf_doc *doc, const char *text, size_t len)
{
    struct builder b = {.doc = doc};
    yaml_parser_t p;

    if (!check_bytes(doc, text, len)) {
        return false;
    }
    if (!yaml_parser_initialize(&p)) {
        conf_error(doc, 1, 1, "out of memory");
        return false;
    }
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
    bool ok = run(&b, &p);
    yaml_parser_delete(&p);
    if (ok && doc->tree.root == NULL) {
        conf_error(doc, 1, 1, "the file is empty; it should begin with \"%s\"",
                   doc->begins_with != NULL ? doc->begins_with : "multi_region:");
        ok = false;
    }
    return ok;
}
