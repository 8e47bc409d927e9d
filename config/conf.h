/*
 * What the files of config/ share: the node tree, the schema and the document being read.
 *
 * Reading runs in four steps, each in its own file:
 *
 *   tree.c     YAML events become nodes that know their line and column; size, depth, aliases,
 *              tags, duplicate keys and bad UTF-8 end here
 *   read.c     the schema (schema.c) is walked over the tree: unknown keys, types, ranges
 *   check.c    what no single key can know: references, placement, residency, timing
 *   load.c     all of it in order, errors sorted as in the file
 *
 * A step reports every mistake it can and goes on. A node that already caused an error is
 * marked bad and skipped afterwards, so that one mistake gives one message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <load.h>

#define CONF_BYTES_MAX ((size_t)256 * 1024) /* the store keeps the text as one value */
#define CONF_NODES_MAX 8192u
#define CONF_ENTRIES_MAX 512u /* of one mapping or list */
#define CONF_DEPTH_MAX 12u
#define CONF_SCALAR_MAX 1024u
#define CONF_LABEL_MAX 32u /* bytes of a region's or class's name */

/* ---- tree.c ---- */

enum conf_kind {
    CONF_SCALAR,
    CONF_MAP,
    CONF_LIST,
};

struct conf_node {
    enum conf_kind kind;
    bool bad;         /* an error about it was reported already */
    bool quoted;      /* a scalar written in quotes */
    int line, column; /* of the value, from 1 */
    int key_line, key_column;
    const char *key;  /* of a mapping's entry, else NULL */
    const char *text; /* of a scalar, NUL-terminated, no NUL inside */
    unsigned count;   /* entries of a mapping or list */
    struct conf_node *first, *last, *next;
};

struct conf_chunk;

struct conf_tree {
    struct conf_chunk *chunks; /* owns every node and string */
    unsigned nodes;
    struct conf_node *root;
};

struct conf_doc;

/** Build the tree of @text. False when no tree can be had; the reason was reported. */
bool conf_tree_parse(struct conf_doc *doc, const char *text, size_t len);
void conf_tree_fini(struct conf_tree *tree);
/** Entry of a mapping, or NULL (also when @map is NULL, no mapping, or the entry is bad). */
const struct conf_node *conf_get(const struct conf_node *map, const char *key);
/** Is the key there at all, be its value bad or not? */
bool conf_has(const struct conf_node *map, const char *key);

/* ---- errors.c ---- */

void conf_error(struct conf_doc *doc, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/**
 * At the value of @node; marks it bad. NULL says nothing: conf_get gives it for an entry that
 * was reported already.
 */
void conf_error_at(struct conf_doc *doc, const struct conf_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** At the key of @node; NULL as above. */
void conf_error_key(struct conf_doc *doc, const struct conf_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** "LINE:COLUMN: text" into the configuration's notes. */
void conf_note(struct conf_doc *doc, const struct conf_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void conf_errors_sort(struct mrd_conf_errors *errors);
void conf_notes_sort(struct mrd_config *c);

/* ---- schema.c, read.c ---- */

enum conf_type {
    CONF_NAME,         /* [a-z0-9-]: region, deployment */
    CONF_CLASS,        /* as CONF_NAME, also _ */
    CONF_HOST,         /* host name or address */
    CONF_DOMAIN,       /* DNS name */
    CONF_TEXT,         /* printable text without spaces around it */
    CONF_IDENT,        /* PostgreSQL identifier that needs no quotes */
    CONF_COUNTRY,      /* ISO 3166-1 code */
    CONF_CONTINENT,    /* AF AN AS EU NA OC SA */
    CONF_JURISDICTION, /* a country, one of its parts (US-CA), or a bloc such as EU */
    CONF_BOOL,
    CONF_UINT,
    CONF_REAL,    /* a decimal number, kept as a double */
    CONF_MS,      /* duration, kept in milliseconds */
    CONF_S,       /* duration, kept in seconds */
    CONF_WORD,    /* one of a few words, kept as its number */
    CONF_SECTION, /* a mapping with keys of its own, kept in the same struct */
    CONF_CUSTOM,  /* read by a function */
};

struct conf_word {
    const char *word;
    unsigned value;
};

struct conf_key {
    const char *name;
    enum conf_type type;
    size_t offset, size;           /* of the field in the struct that is being filled */
    uint64_t min, max;             /* CONF_UINT, CONF_MS, CONF_S */
    const struct conf_word *words; /* CONF_WORD; ends with a NULL word */
    const struct conf_key *keys;   /* CONF_SECTION, or the entries of a custom list */
    void (*read)(struct conf_doc *doc, const struct conf_node *node, void *base);
    bool idle;            /* accepted and checked, but nothing acts on it yet */
    const char *fallback; /* the default, as it would be written; NULL: none */
    const char *doc;
};

extern const struct conf_key conf_root_keys[];
extern const struct conf_key conf_region_keys[];
extern const struct conf_key conf_class_keys[];
extern const struct conf_key conf_residency_keys[];

/** Fill every default of @keys into @base. */
void conf_defaults(struct conf_doc *doc, const struct conf_key *keys, void *base);
/** Read the mapping @node by @keys into @base. */
void conf_read_map(struct conf_doc *doc, const struct conf_key *keys,
                   const struct conf_node *node, void *base);
/** Is @node of @kind? If not, say what belongs there. */
bool conf_expect(struct conf_doc *doc, const struct conf_node *node, enum conf_kind kind,
                 const char *what);

void conf_read_regions(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_services(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_location(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_networks(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_agent(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_addresses(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_classes(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_tables(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_partitions(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_region_names(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_measured(struct conf_doc *doc, const struct conf_node *node, void *base);
void conf_read_residency(struct conf_doc *doc, const struct conf_node *node, void *base);

/* ---- scalar.c: text to value, no messages ---- */

bool conf_parse_uint(const char *text, uint64_t *ret);
/** "500ms", "5s", "2m", "1h". */
bool conf_parse_duration(const char *text, uint64_t *ret_ms);
bool conf_parse_number(const char *text, double min, double max, double *ret);
bool conf_parse_ip(const char *text, uint8_t *ret_family, uint8_t ret_addr[16]);
/** "HOST:PORT", "[V6]:PORT" or "HOST"; *ret_port is left alone without a port. */
bool conf_parse_host_port(const char *text, char *ret_host, size_t cap, uint16_t *ret_port);
bool conf_valid_label(const char *text, bool underscore);
bool conf_valid_host(const char *text);
bool conf_valid_domain(const char *text);
bool conf_valid_ident(const char *text);
bool conf_valid_table(const char *text);
/** "5s", "1500ms": as short as it is exact. Returns @out. */
char *conf_duration(uint64_t ms, char out[24]);

enum conf_cidr {
    CONF_CIDR_OK,
    CONF_CIDR_BAD,
    CONF_CIDR_LONG, /* more bits than the family has */
    CONF_CIDR_HOST, /* bits set beyond the prefix */
};
enum conf_cidr conf_parse_network(const char *text, struct mrd_network *ret);

/* ---- the document being read ---- */

enum conf_replication {
    CONF_REPLICATE_ASYNC,
    CONF_REPLICATE_SEMI_SYNC,
    CONF_REPLICATE_SYNC,
};

enum conf_consistency {
    CONF_EVENTUAL,
    CONF_BOUNDED,
    CONF_STRONG,
};

#define CONF_SERVES_DATABASE 1u
#define CONF_SERVES_REPLICA 2u

struct conf_region_extra {
    const struct conf_node *node;
    bool named;        /* its name is usable */
    unsigned services; /* CONF_SERVES_*; only when listed */
    bool services_listed;
};

struct conf_class_extra {
    const struct conf_node *node; /* its keys; NULL: made by us */
    const struct conf_node *mark; /* where a message about it points */
    mrd_regions legal;            /* where residency lets its data be */
};

struct conf_residency {
    char type[MRD_NAME_MAX];
    const struct conf_node *node, *regions;
    mrd_regions allowed;
    bool used;
};

struct conf_doc {
    struct mrd_config config; /* handed out on success */
    struct mrd_conf_errors *errors;
    struct conf_tree tree;
    const struct conf_node *top; /* multi_region */
    const char *begins_with;     /* what an empty file is told to; NULL: "multi_region:" */
    bool names_broken; /* a region has no usable name: do not complain about references */

    struct conf_region_extra regions[MRD_REGIONS_MAX];
    struct conf_class_extra classes[MRD_CLASSES_MAX];
    uint16_t residency_count;
    struct conf_residency residency[MRD_CLASSES_MAX];

    enum conf_replication replication;
    enum conf_consistency consistency;
    unsigned idle_word;
    uint64_t idle_number;
    bool idle_bool;
};

/* ---- check.c, classes.c, places.c ---- */

void conf_check_regions(struct conf_doc *doc);
void conf_check_classes(struct conf_doc *doc);
void conf_check_timing(struct conf_doc *doc);

/** Is region @r in the set? */
static inline bool conf_in(mrd_regions set, unsigned r)
{
    return r < MRD_REGIONS_MAX && (set >> r & 1) != 0;
}

static inline unsigned conf_size(mrd_regions set)
{
    return (unsigned)__builtin_popcount(set);
}

/** Every region that can hold data. */
mrd_regions conf_data_regions(const struct conf_doc *doc);
int conf_primary(const struct conf_doc *doc); /* or -1 */
/** Names in the list @node as a set; unknown ones and witnesses are reported. */
mrd_regions conf_region_set(struct conf_doc *doc, const struct conf_node *node);
/** Region named by the scalar @node, or MRD_REGION_NONE after a message. */
mrd_region conf_region_ref(struct conf_doc *doc, const struct conf_node *node);

/** Fill what the table of known regions has and the configuration did not say. */
void conf_place(struct mrd_conf_region *r);
bool conf_valid_country(const char *text);
bool conf_valid_continent(const char *text);
bool conf_valid_jurisdiction(const char *text);
/** Estimated round trip between two regions, from their distance; 0 when unknown. */
uint32_t conf_rtt_ms(const struct mrd_conf_region *a, const struct mrd_conf_region *b);
