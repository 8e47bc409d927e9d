/*
 * The schema walked over the tree.
 *
 * Each mapping is gone over twice: once as written, for keys that are unknown, and once in the
 * order of the schema, so that regions exist before anything refers to them wherever they stand
 * in the file. Keys that hold a list have a function here.
 */
#include <conf.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define KEYS_MAX 32

static const char *kind_name(const struct conf_node *n)
{
    switch (n->kind) {
    case CONF_MAP:
        return "a mapping";
    case CONF_LIST:
        return "a list";
    default:
        return n->text[0] == '\0' ? "nothing" : "a single value";
    }
}

bool conf_expect(struct conf_doc *doc, const struct conf_node *node, enum conf_kind kind,
                 const char *what)
{
    if (node->bad) {
        return false;
    }
    if (node->kind == kind && (kind != CONF_SCALAR || node->text[0] != '\0')) {
        return true;
    }
    if (node->key != NULL) {
        conf_error_at(doc, node, "\"%s\" holds %s; %s belongs here", node->key, kind_name(node),
                      what);
    } else {
        conf_error_at(doc, node, "%s here; %s belongs here", kind_name(node), what);
    }
    return false;
}

/* ---- one value ---- */

static const char *name_of(const struct conf_node *node)
{
    return node->key != NULL ? node->key : "value";
}

static void put(void *field, size_t size, uint64_t v)
{
    uint8_t v8 = (uint8_t)v;
    uint16_t v16 = (uint16_t)v;
    uint32_t v32 = (uint32_t)v;
    memcpy(field,
           size == 1   ? (void *)&v8
           : size == 2 ? (void *)&v16
           : size == 4 ? (void *)&v32
                       : (void *)&v,
           size);
}

static void read_bool(struct conf_doc *doc, const struct conf_node *n, void *field)
{
    bool yes = strcmp(n->text, "true") == 0;
    if (n->quoted || (!yes && strcmp(n->text, "false") != 0)) {
        conf_error_at(doc, n, "\"%s\" is neither true nor false; write %s: true or %s: false",
                      n->text, name_of(n), name_of(n));
        return;
    }
    memcpy(field, &yes, sizeof(yes));
}

static void read_uint(struct conf_doc *doc, const struct conf_key *k, const struct conf_node *n,
                      void *field)
{
    uint64_t v;
    bool number = conf_parse_uint(n->text, &v);
    if (!number || v < k->min || v > k->max) {
        conf_error_at(
            doc, n, "\"%s\" is %s; %s takes a whole number from %" PRIu64 " to %" PRIu64,
            n->text, number ? "out of range" : "not a whole number", k->name, k->min, k->max);
        return;
    }
    put(field, k->size, v);
}

static void read_real(struct conf_doc *doc, const struct conf_key *k, const struct conf_node *n,
                      void *field)
{
    double v, any = 1e300;
    if (!conf_parse_number(n->text, (double)k->min, (double)k->max, &v)) {
        bool number = conf_parse_number(n->text, -any, any, &v);
        conf_error_at(doc, n, "\"%.60s\" is %s; %s takes a number from %" PRIu64 " to %" PRIu64,
                      n->text, number ? "out of range" : "not a number in digits", k->name,
                      k->min, k->max);
        return;
    }
    memcpy(field, &v, sizeof(v));
}

static void read_duration(struct conf_doc *doc, const struct conf_key *k,
                          const struct conf_node *n, void *field)
{
    uint64_t ms, unit = k->type == CONF_S ? 1000 : 1;
    char low[24], high[24];

    if (!conf_parse_duration(n->text, &ms)) {
        if (conf_parse_uint(n->text, &ms)) {
            conf_error_at(doc, n, "\"%s\" has no unit; write %ss or %sms", n->text, n->text,
                          n->text);
        } else {
            conf_error_at(doc, n,
                          "\"%s\" is not a duration; write a number with ms, s, m or h, "
                          "such as 500ms or 5s",
                          n->text);
        }
        return;
    }
    if (ms < k->min * unit || ms > k->max * unit || ms % unit != 0) {
        conf_error_at(doc, n, "\"%s\" is out of range; %s takes %s to %s%s", n->text, k->name,
                      conf_duration(k->min * unit, low), conf_duration(k->max * unit, high),
                      unit == 1000 ? " in whole seconds" : "");
        return;
    }
    put(field, k->size, ms / unit);
}

static void join_words(const struct conf_word *words, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; words[i].word != NULL && used < cap; i++) {
        const char *sep = i == 0 ? "" : words[i + 1].word == NULL ? " or " : ", ";
        int n = snprintf(out + used, cap - used, "%s%s", sep, words[i].word);
        used += (size_t)n;
    }
}

static void read_word(struct conf_doc *doc, const struct conf_key *k, const struct conf_node *n,
                      void *field)
{
    char all[160];
    for (const struct conf_word *w = k->words; w->word != NULL; w++) {
        if (strcmp(n->text, w->word) == 0) {
            put(field, k->size, w->value);
            return;
        }
    }
    join_words(k->words, all, sizeof(all));
    conf_error_at(doc, n, "\"%.60s\" is not a %s; write %s", n->text, k->name, all);
}

static bool valid_text(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '"' || s[i] == '\\') {
            return false;
        }
    }
    return s[0] != ' ' && s[n - 1] != ' ';
}

static bool valid_name(const char *s)
{
    return conf_valid_label(s, false);
}

static bool valid_class(const char *s)
{
    return conf_valid_label(s, true);
}

static void read_string(struct conf_doc *doc, const struct conf_key *k,
                        const struct conf_node *n, void *field)
{
    static const struct {
        bool (*valid)(const char *text);
        const char *rule;
    } kinds[] = {
        [CONF_NAME] = {valid_name, "1 to 32 of a-z, 0-9 and hyphens inside"},
        [CONF_CLASS] = {valid_class, "1 to 32 of a-z, 0-9, underscore and hyphens inside"},
        [CONF_HOST] = {conf_valid_host, "a host name or an address"},
        [CONF_DOMAIN] = {conf_valid_domain, "a domain name such as shop.example"},
        [CONF_TEXT] = {valid_text, "printable text without quotes or spaces around it"},
        [CONF_IDENT] = {conf_valid_ident, "an SQL identifier in lower case"},
        [CONF_COUNTRY] = {conf_valid_country,
                          "the ISO 3166-1 code of a country, such as DE or GB"},
        [CONF_CONTINENT] = {conf_valid_continent, "one of AF AN AS EU NA OC SA"},
        [CONF_JURISDICTION] = {conf_valid_jurisdiction,
                               "the ISO 3166-1 code of a country such as DE, a part of one "
                               "such as US-CA, or EU or EEA"},
    };

    if (!kinds[k->type].valid(n->text)) {
        conf_error_at(doc, n, "\"%.60s\" is not a valid %s; write %s", n->text, k->name,
                      kinds[k->type].rule);
    } else if (strlen(n->text) >= k->size) {
        conf_error_at(doc, n, "%s is longer than %zu bytes; shorten it", k->name, k->size - 1);
    } else {
        memcpy(field, n->text, strlen(n->text) + 1);
    }
}

static const char *type_name(const struct conf_key *k)
{
    switch (k->type) {
    case CONF_BOOL:
        return "true or false";
    case CONF_UINT:
        return "a whole number";
    case CONF_REAL:
        return "a number";
    case CONF_MS:
    case CONF_S:
        return "a duration such as 5s";
    case CONF_SECTION:
        return "a mapping";
    case CONF_WORD:
        return "one word";
    default:
        return "a name or text";
    }
}

static void read_value(struct conf_doc *doc, const struct conf_key *k,
                       const struct conf_node *n, void *base)
{
    void *field = (char *)base + k->offset;

    if (n->bad) {
        return;
    }
    if (k->type == CONF_CUSTOM) {
        if (k->read != NULL) {
            k->read(doc, n, base);
        }
        return;
    }
    if (!conf_expect(doc, n, k->type == CONF_SECTION ? CONF_MAP : CONF_SCALAR, type_name(k))) {
        return;
    }
    switch (k->type) {
    case CONF_SECTION:
        conf_read_map(doc, k->keys, n, base);
        break;
    case CONF_BOOL:
        read_bool(doc, n, field);
        break;
    case CONF_REAL:
        read_real(doc, k, n, field);
        break;
    case CONF_UINT:
        read_uint(doc, k, n, field);
        break;
    case CONF_MS:
    case CONF_S:
        read_duration(doc, k, n, field);
        break;
    case CONF_WORD:
        read_word(doc, k, n, field);
        break;
    default:
        read_string(doc, k, n, field);
        break;
    }
}

/** Lag, latency and availability are measured in any case: true is met, false cannot be. */
void conf_read_measured(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    bool wanted = true;
    (void)base;
    if (!conf_expect(doc, node, CONF_SCALAR, "true or false")) {
        return;
    }
    read_bool(doc, node, &wanted);
    if (!wanted) {
        conf_note(doc, node, "\"%s\" is always measured; false changes nothing", node->key);
    }
}

/* ---- one mapping ---- */

void conf_defaults(struct conf_doc *doc, const struct conf_key *keys, void *base)
{
    for (const struct conf_key *k = keys; k->name != NULL; k++) {
        if (k->type == CONF_SECTION) {
            conf_defaults(doc, k->keys, base);
        } else if (k->fallback != NULL) {
            struct conf_node n = {.kind = CONF_SCALAR, .text = k->fallback};
            read_value(doc, k, &n, base);
            mrd_assert(!n.bad); /* a default that its own rule refuses */
        }
    }
}

static void unknown_key(struct conf_doc *doc, const struct conf_key *keys,
                        const struct conf_node *n)
{
    const char *words[KEYS_MAX + 1];
    char all[160] = "";
    size_t count = 0, used = 0;

    for (const struct conf_key *k = keys; k->name != NULL && count < KEYS_MAX; k++) {
        words[count++] = k->name;
    }
    words[count] = NULL;
    const char *meant = mrd_config_meant(n->key, words);
    if (meant != NULL) {
        conf_error_key(doc, n, "unknown key \"%.60s\"; did you mean \"%s\"?", n->key, meant);
        return;
    }
    for (size_t i = 0; i < count && used < sizeof(all); i++) {
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "",
                                 words[i]);
    }
    conf_error_key(doc, n, "unknown key \"%.60s\"; known here: %s", n->key, all);
}

static bool known(const struct conf_key *keys, const char *name)
{
    for (; keys->name != NULL; keys++) {
        if (strcmp(keys->name, name) == 0) {
            return true;
        }
    }
    return false;
}

void conf_read_map(struct conf_doc *doc, const struct conf_key *keys,
                   const struct conf_node *node, void *base)
{
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (!known(keys, n->key)) {
            unknown_key(doc, keys, n);
        }
    }
    for (const struct conf_key *k = keys; k->name != NULL; k++) {
        const struct conf_node *n = conf_get(node, k->name);
        if (n == NULL) {
            continue;
        }
        read_value(doc, k, n, base);
        if (k->idle && !n->bad) {
            conf_note(doc, n, "\"%s\" is recorded, but nothing acts on it yet", k->name);
        }
    }
}

/* ---- regions ---- */

void conf_read_regions(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_config *c = &((struct conf_doc *)base)->config;

    if (!conf_expect(doc, node, CONF_LIST, "a list of regions")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (c->region_count == MRD_REGIONS_MAX) {
            conf_error_at(doc, n, "more than %d regions; leave the rest out", MRD_REGIONS_MAX);
            return;
        }
        struct mrd_conf_region *r = &c->regions[c->region_count];
        struct conf_region_extra *x = &doc->regions[c->region_count];
        if (!conf_expect(doc, n, CONF_MAP, "a mapping that describes a region")) {
            doc->names_broken = true;
            continue;
        }
        c->region_count++;
        r->latitude = r->longitude = NAN;
        r->agent_port = 7400;
        x->node = n;
        conf_defaults(doc, conf_region_keys, r);
        conf_read_map(doc, conf_region_keys, n, r);
        x->named = r->name[0] != '\0';
        if (!x->named) {
            doc->names_broken = true;
        }
    }
}

void conf_read_services(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct conf_region_extra *x =
        &doc->regions[(struct mrd_conf_region *)base - doc->config.regions];

    if (!conf_expect(doc, node, CONF_LIST, "a list such as [api, database]")) {
        return;
    }
    x->services_listed = true;
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (!conf_expect(doc, n, CONF_SCALAR, "the name of a service")) {
            continue;
        }
        if (!valid_text(n->text)) {
            conf_error_at(doc, n, "\"%.60s\" is not a valid service; write a plain word",
                          n->text);
        } else if (strcmp(n->text, "database") == 0) {
            x->services |= CONF_SERVES_DATABASE;
        } else if (strcmp(n->text, "database-replica") == 0) {
            x->services |= CONF_SERVES_REPLICA;
        } else if (strcmp(n->text, "api") != 0) {
            conf_note(doc, n, "service \"%.60s\" is recorded, but nothing acts on it yet",
                      n->text);
        }
    }
}

void conf_read_location(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_conf_region *r = base;
    double latitude, longitude;

    if (!conf_expect(doc, node, CONF_LIST, "[latitude, longitude]")) {
        return;
    }
    if (node->count != 2 || node->first->kind != CONF_SCALAR ||
        node->last->kind != CONF_SCALAR ||
        !conf_parse_number(node->first->text, -90, 90, &latitude) ||
        !conf_parse_number(node->last->text, -180, 180, &longitude)) {
        conf_error_at(doc, node,
                      "not a place; write [latitude, longitude] in degrees, "
                      "such as [53.35, -6.26]");
        return;
    }
    r->latitude = latitude;
    r->longitude = longitude;
}

static void read_network(struct conf_doc *doc, const struct conf_node *n,
                         struct mrd_conf_region *r)
{
    switch (conf_parse_network(n->text, &r->networks[r->network_count])) {
    case CONF_CIDR_OK:
        r->network_count++;
        break;
    case CONF_CIDR_LONG:
        conf_error_at(doc, n,
                      "\"%.60s\" has a prefix longer than its address; IPv4 ends at /32, "
                      "IPv6 at /128",
                      n->text);
        break;
    case CONF_CIDR_HOST:
        conf_error_at(doc, n,
                      "\"%.60s\" has bits set beyond its prefix; write the network's "
                      "first address",
                      n->text);
        break;
    default:
        conf_error_at(doc, n,
                      "\"%.60s\" is not a network; write ADDRESS/BITS such as "
                      "198.51.100.0/24",
                      n->text);
        break;
    }
}

void conf_read_networks(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_conf_region *r = base;

    if (!conf_expect(doc, node, CONF_LIST, "a list of networks")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (r->network_count == MRD_NETWORKS_MAX) {
            conf_error_at(doc, n, "more than %d networks for one region; leave the rest out",
                          MRD_NETWORKS_MAX);
            return;
        }
        if (conf_expect(doc, n, CONF_SCALAR, "a network such as 198.51.100.0/24")) {
            read_network(doc, n, r);
        }
    }
}

void conf_read_agent(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_conf_region *r = base;

    if (!conf_expect(doc, node, CONF_SCALAR, "HOST:PORT")) {
        return;
    }
    if (!conf_parse_host_port(node->text, r->agent_host, sizeof(r->agent_host),
                              &r->agent_port)) {
        conf_error_at(doc, node,
                      "\"%.60s\" is not HOST:PORT; write a host name or address and a "
                      "port from 1 to 65535, such as 192.0.2.1:7400",
                      node->text);
    }
}

static void read_address(struct conf_doc *doc, const struct conf_node *n,
                         struct mrd_conf_region *r)
{
    uint8_t family, addr[16];

    if (!conf_parse_ip(n->text, &family, addr) || !conf_valid_host(n->text)) {
        conf_error_at(doc, n,
                      "\"%.60s\" is not an address; write one such as 192.0.2.1 or "
                      "\"2001:db8::1\"",
                      n->text);
        return;
    }
    uint8_t *count = family == 4 ? &r->v4_count : &r->v6_count;
    if (*count == MRD_ADDRESSES_MAX) {
        conf_error_at(doc, n, "more than %d IPv%d addresses; leave the rest out",
                      MRD_ADDRESSES_MAX, family);
    } else if (family == 4) {
        memcpy(r->v4[(*count)++], addr, 4);
    } else {
        memcpy(r->v6[(*count)++], addr, 16);
    }
}

void conf_read_addresses(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    if (!conf_expect(doc, node, CONF_LIST, "a list of addresses")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (conf_expect(doc, n, CONF_SCALAR, "an address")) {
            read_address(doc, n, base);
        }
    }
}

/* ---- classes ---- */

void conf_read_classes(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_config *c = &((struct conf_doc *)base)->config;

    if (!conf_expect(doc, node, CONF_LIST, "a list of classes")) {
        return;
    }
    if (node->count == 0) {
        conf_error_at(doc, node,
                      "no classes in the list; describe one, or leave \"classes\" out "
                      "to get one from replication.strategy");
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (c->class_count == MRD_CLASSES_MAX) {
            conf_error_at(doc, n, "more than %d classes; leave the rest out",
                          MRD_CLASSES_MAX - 1);
            return;
        }
        if (!conf_expect(doc, n, CONF_MAP, "a mapping that describes a class")) {
            continue;
        }
        doc->classes[c->class_count].node = n;
        conf_read_map(doc, conf_class_keys, n, &c->classes[c->class_count++]);
    }
}

static bool own_schema(const char *table)
{
    return strncmp(table, "meridian.", 9) == 0 || strncmp(table, "pg_", 3) == 0 ||
           strncmp(table, "information_schema.", 19) == 0;
}

void conf_read_tables(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_conf_class *class = base;

    if (!conf_expect(doc, node, CONF_LIST, "a list of tables")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (!conf_expect(doc, n, CONF_SCALAR, "a table such as shop.orders")) {
            continue;
        }
        if (class->table_count == MRD_TABLES_MAX) {
            conf_error_at(doc, n, "more than %d tables in one class; make a second class",
                          MRD_TABLES_MAX);
            return;
        }
        if (!conf_valid_table(n->text)) {
            conf_error_at(doc, n, "\"%.60s\" is not a table; write schema.table in lower case",
                          n->text);
        } else if (own_schema(n->text)) {
            conf_error_at(doc, n, "\"%.60s\" belongs to the system; name a table of your own",
                          n->text);
        } else {
            memcpy(class->tables[class->table_count++], n->text, strlen(n->text) + 1);
        }
    }
}

static bool valid_partition(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < MRD_NAME_MAX && valid_text(s) && strchr(s, '/') == NULL &&
           strcmp(s, MRD_PARTITION_ALL) != 0;
}

void conf_read_partitions(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct mrd_conf_class *class = base;

    if (!conf_expect(doc, node, CONF_MAP, "a mapping of value: home region")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (!conf_expect(doc, n, CONF_SCALAR, "the name of a region")) {
            continue;
        }
        if (class->partition_count == MRD_REGIONS_MAX) {
            conf_error_key(doc, n, "more than %d partitions in one class; leave the rest out",
                           MRD_REGIONS_MAX);
            return;
        }
        if (!valid_partition(n->key)) {
            conf_error_key(doc, n,
                           "\"%.60s\" cannot be a partition; write a value of 1 to 63 bytes "
                           "without / or quotes, other than \"all\"",
                           n->key);
            continue;
        }
        uint16_t i = class->partition_count++;
        memcpy(class->partitions[i], n->key, strlen(n->key) + 1);
        class->partition_home[i] = conf_region_ref(doc, n);
    }
}

/** Only the shape; conf_region_set resolves the names once the list is needed. */
void conf_read_region_names(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    (void)base;
    if (!conf_expect(doc, node, CONF_LIST, "a list of regions")) {
        return;
    }
    if (node->count == 0) {
        conf_error_at(doc, node, "\"%s\" names no region; name at least one, or leave it out",
                      node->key);
    }
}

void conf_read_residency(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    (void)base;
    if (!conf_expect(doc, node, CONF_LIST, "a list of {type, allowed_regions}")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (doc->residency_count == MRD_CLASSES_MAX) {
            conf_error_at(doc, n, "more than %d residency rules; leave the rest out",
                          MRD_CLASSES_MAX);
            return;
        }
        if (!conf_expect(doc, n, CONF_MAP, "a mapping with type and allowed_regions")) {
            continue;
        }
        struct conf_residency *r = &doc->residency[doc->residency_count++];
        conf_read_map(doc, conf_residency_keys, n, r);
        r->node = n;
        r->regions = conf_get(n, "allowed_regions");
        if (!conf_has(n, "type")) {
            conf_error_at(doc, n, "a residency rule without a type; add type: CLASS");
        } else if (!conf_has(n, "allowed_regions")) {
            conf_error_at(doc, n,
                          "a residency rule without allowed_regions; name where the data "
                          "may be");
        }
    }
}
