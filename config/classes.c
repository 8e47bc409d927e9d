/*
 * Classes: what they promise, and whether their placement can keep it.
 *
 * The built-in class "schema" comes first. Then the classes that were written, or one made from
 * replication.strategy; then one for each residency rule whose type names no class. Each gets
 * its replicas, the regions that may become home, and its home, in that order, because each is
 * chosen from the one before. A promise that the placement cannot keep is refused here, with
 * the reason, and not discovered on the day a region dies.
 */
#include <conf.h>

#include <string.h>

static struct conf_residency *residency_of(struct conf_doc *doc, const char *type)
{
    for (unsigned i = 0; i < doc->residency_count; i++) {
        if (strcmp(doc->residency[i].type, type) == 0) {
            return &doc->residency[i];
        }
    }
    return NULL;
}

static const struct conf_node *strategy_node(const struct conf_doc *doc)
{
    return conf_get(conf_get(doc->top, "replication"), "strategy");
}

static enum mrd_durability default_durability(const struct conf_doc *doc)
{
    return doc->replication == CONF_REPLICATE_ASYNC ? MRD_ASYNC : MRD_QUORUM;
}

/** Where a message about @key of class @i points. */
static const struct conf_node *mark(const struct conf_doc *doc, unsigned i, const char *key)
{
    const struct conf_node *n = conf_get(doc->classes[i].node, key);
    return n != NULL ? n : doc->classes[i].mark;
}

/* ---- making classes ---- */

static struct mrd_conf_class *add_class(struct conf_doc *doc, const char *name,
                                        const struct conf_node *at)
{
    struct mrd_config *c = &doc->config;
    if (c->class_count == MRD_CLASSES_MAX) {
        conf_error_at(doc, at, "no room for class \"%s\"; at most %d classes", name,
                      MRD_CLASSES_MAX - 1);
        return NULL;
    }
    doc->classes[c->class_count].mark = at;
    struct mrd_conf_class *class = &c->classes[c->class_count++];
    snprintf(class->name, sizeof(class->name), "%s", name);
    return class;
}

static void add_default(struct conf_doc *doc)
{
    const struct conf_node *at = strategy_node(doc);
    struct mrd_conf_class *class = add_class(doc, "default", at != NULL ? at : doc->top);
    bool alone = conf_size(conf_data_regions(doc)) == 1;

    if (class == NULL) {
        return;
    }
    class->posture = alone ? MRD_SINGLE_REGION : MRD_READ_LOCAL;
    class->durability = alone ? MRD_ASYNC : default_durability(doc);
    conf_note(doc, at != NULL ? at : doc->top,
              "class \"default\" is made from replication.strategy and has no tables yet; list "
              "tables under classes to attach them");
}

static void add_residency_class(struct conf_doc *doc, const struct conf_residency *r)
{
    struct mrd_conf_class *class = add_class(doc, r->type, r->node);
    if (class == NULL) {
        return;
    }
    bool alone = conf_size(r->allowed) == 1;
    class->posture = alone ? MRD_SINGLE_REGION : MRD_ACTIVE_PASSIVE;
    class->durability = alone ? MRD_ASYNC : default_durability(doc);
    conf_note(doc, r->node,
              "class \"%s\" is made from this residency rule, %s, and has no tables "
              "yet; list tables under classes to attach them",
              r->type, alone ? "in a single region" : "active-passive among its regions");
}

static void read_residency(struct conf_doc *doc)
{
    for (unsigned i = 0; i < doc->residency_count; i++) {
        struct conf_residency *r = &doc->residency[i];
        if (r->regions != NULL) {
            r->allowed = conf_region_set(doc, r->regions);
        }
        if (r->type[0] == '\0') {
            continue;
        }
        if (residency_of(doc, r->type) != r) {
            conf_error_at(doc, r->node,
                          "a second residency rule for \"%s\"; put all its regions "
                          "into one",
                          r->type);
        } else if (strcmp(r->type, MRD_CLASS_SCHEMA) == 0) {
            conf_error_at(doc, r->node,
                          "the built-in class \"schema\" is in every data region; "
                          "name another type");
        } else if (mrd_config_class(&doc->config, r->type) < 0 && r->allowed != 0) {
            add_residency_class(doc, r);
        }
    }
}

/* ---- placing one class ---- */

static void outside(struct conf_doc *doc, unsigned i, const char *key, mrd_regions extra,
                    const char *why)
{
    for (unsigned r = 0; r < doc->config.region_count; r++) {
        if (conf_in(extra, r)) {
            conf_error_at(doc, mark(doc, i, key), "%s of class \"%s\" has \"%s\", %s", key,
                          doc->config.classes[i].name, doc->config.regions[r].name, why);
            return;
        }
    }
}

/** Replicas, then the regions that may be home. False when there is nothing to go on with. */
static bool place(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_class *class = &doc->config.classes[i];
    struct conf_class_extra *x = &doc->classes[i];
    const struct conf_node *replicas = conf_get(x->node, "replicas");
    const struct conf_node *allowed = conf_get(x->node, "allowed_regions");
    const struct conf_residency *rule = residency_of(doc, class->name);
    unsigned before = doc->errors->count;

    x->legal = conf_data_regions(doc);
    if (rule != NULL && rule->allowed != 0) {
        x->legal = rule->allowed;
    }
    class->replicas = replicas != NULL ? conf_region_set(doc, replicas) : x->legal;
    if ((class->replicas & ~x->legal) != 0) {
        outside(doc, i, "replicas", (mrd_regions)(class->replicas & ~x->legal),
                "where its residency rule does not let it be; leave that region out");
    }
    class->allowed = allowed != NULL ? conf_region_set(doc, allowed) : class->replicas;
    if ((class->allowed & ~class->replicas) != 0) {
        outside(doc, i, "allowed_regions", (mrd_regions)(class->allowed & ~class->replicas),
                rule != NULL ? "which is no replica or not legal for it; name only replicas"
                             : "which is no replica; name only replicas");
    }
    return doc->errors->count == before && class->replicas != 0 && class->allowed != 0;
}

static mrd_region default_home(struct conf_doc *doc, unsigned i)
{
    const struct mrd_conf_class *class = &doc->config.classes[i];
    int primary = conf_primary(doc);

    if (primary >= 0 && conf_in(class->allowed, (unsigned)primary)) {
        return (mrd_region)primary;
    }
    if (conf_size(class->allowed) == 1 || doc->classes[i].node == NULL) {
        return (mrd_region)__builtin_ctz(class->allowed);
    }
    if (primary >= 0) {
        conf_error_at(doc, doc->classes[i].mark,
                      "class \"%s\" has no home and may not be at the "
                      "primary \"%s\"; add home: REGION",
                      class->name, doc->config.regions[primary].name);
    }
    return MRD_REGION_NONE;
}

static bool choose_home(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_class *class = &doc->config.classes[i];
    const struct conf_node *n = conf_get(doc->classes[i].node, "home");

    class->home = n != NULL ? conf_region_ref(doc, n) : default_home(doc, i);
    if (class->home == MRD_REGION_NONE) {
        return false;
    }
    if (!conf_in(class->allowed, class->home)) {
        conf_error_at(doc, mark(doc, i, "home"),
                      "the home \"%s\" of class \"%s\" is %s; name one "
                      "that is",
                      doc->config.regions[class->home].name, class->name,
                      conf_in(class->replicas, class->home)
                          ? "not among its allowed_regions"
                          : "not a region where its data may be");
        return false;
    }
    return true;
}

/* ---- what each posture needs ---- */

static void check_single(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_class *class = &doc->config.classes[i];
    const struct conf_node *n = conf_get(doc->classes[i].node, "replicas");

    if (n != NULL && conf_size(class->replicas) > 1) {
        conf_error_at(doc, n,
                      "class \"%s\" is single-region and has %u replicas; keep one, or use "
                      "posture read-local or active-passive",
                      class->name, conf_size(class->replicas));
    }
    class->replicas = class->allowed = (mrd_regions)(1u << class->home);
    if (class->durability == MRD_QUORUM) {
        conf_error_at(doc, mark(doc, i, "durability"),
                      "class \"%s\" is single-region and cannot "
                      "have quorum durability; use async, or another posture",
                      class->name);
    }
}

static void check_standby(struct conf_doc *doc, unsigned i)
{
    const struct mrd_conf_class *class = &doc->config.classes[i];
    const char *posture = class->posture == MRD_PARTITIONED ? "partitioned" : "active-passive";

    if (conf_size(class->allowed) > 1) {
        return;
    }
    const char *only = doc->config.regions[__builtin_ctz(class->allowed)].name;
    if (conf_size(conf_data_regions(doc)) == 1) {
        conf_error_at(doc, mark(doc, i, "posture"),
                      "class \"%s\" claims failover (%s), but there is "
                      "only the region \"%s\"; add a region or use posture single-region",
                      class->name, posture, only);
        return;
    }
    conf_error_at(
        doc, mark(doc, i, "posture"),
        "class \"%s\" claims failover (%s), but its data may "
        "have its home only in \"%s\": no legal standby; allow a second region, or use "
        "posture single-region",
        class->name, posture, only);
}

static void check_read_local(struct conf_doc *doc, unsigned i)
{
    const struct mrd_conf_class *class = &doc->config.classes[i];
    if (conf_size(class->replicas) < 2) {
        conf_error_at(doc, mark(doc, i, "posture"),
                      "class \"%s\" is read-local but has a copy in "
                      "one region only; allow a second, or use posture single-region",
                      class->name);
    }
}

static void default_partitions(const struct conf_doc *doc, struct mrd_conf_class *class)
{
    for (unsigned r = 0; r < doc->config.region_count; r++) {
        if (conf_in(class->allowed, r)) {
            snprintf(class->partitions[class->partition_count], MRD_NAME_MAX, "%s",
                     doc->config.regions[r].name);
            class->partition_home[class->partition_count++] = (mrd_region)r;
        }
    }
}

static void check_partition_homes(struct conf_doc *doc, unsigned i)
{
    const struct mrd_conf_class *class = &doc->config.classes[i];
    const struct conf_node *list = conf_get(doc->classes[i].node, "partitions");

    for (const struct conf_node *n = list != NULL ? list->first : NULL; n != NULL;
         n = n->next) {
        int home = n->kind == CONF_SCALAR ? mrd_config_region(&doc->config, n->text) : -1;
        if (!n->bad && home >= 0 && !conf_in(class->allowed, (unsigned)home)) {
            conf_error_at(doc, n,
                          "the home \"%s\" of partition \"%s\" is not among the regions "
                          "allowed for class \"%s\"; name one that is",
                          n->text, n->key, class->name);
        }
    }
    if (list != NULL && list->count == 0) {
        conf_error_at(doc, list,
                      "no partitions in the mapping; name one, or leave it out for one "
                      "per region");
    }
}

static void check_partitions(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_class *class = &doc->config.classes[i];
    const struct conf_node *node = doc->classes[i].node;

    if (!conf_has(node, "partition_by")) {
        conf_error_at(doc, doc->classes[i].mark,
                      "class \"%s\" is partitioned but does not say by "
                      "what; add partition_by: COLUMN",
                      class->name);
    }
    if (!conf_has(node, "partitions")) {
        default_partitions(doc, class);
    }
    check_partition_homes(doc, i);
}

static void refuse_partition_keys(struct conf_doc *doc, unsigned i)
{
    static const char *const keys[] = {"partition_by", "partitions"};
    for (size_t k = 0; k < 2; k++) {
        const struct conf_node *n = conf_get(doc->classes[i].node, keys[k]);
        if (n != NULL) {
            conf_error_key(doc, n,
                           "\"%s\" needs posture: partitioned; class \"%s\" has another, so "
                           "leave it out or change the posture",
                           keys[k], doc->config.classes[i].name);
        }
    }
}

static bool share_domain(const struct conf_doc *doc, mrd_regions set, unsigned *a, unsigned *b)
{
    const struct mrd_conf_region *r = doc->config.regions;
    for (*b = 1; *b < doc->config.region_count; ++*b) {
        for (*a = 0; *a < *b; ++*a) {
            if (conf_in(set, *a) && conf_in(set, *b) &&
                strcmp(r[*a].failure_domain, r[*b].failure_domain) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void check_quorum(struct conf_doc *doc, unsigned i)
{
    const struct mrd_conf_class *class = &doc->config.classes[i];
    const struct conf_node *at = mark(doc, i, "durability");
    unsigned n = conf_size(class->replicas), all = conf_size(conf_data_regions(doc)), a, b;

    if (class->durability != MRD_QUORUM || class->posture == MRD_SINGLE_REGION) {
        return;
    }
    if (n < 3) {
        conf_error_at(doc, at,
                      "class \"%s\" has quorum durability and %u replica%s; a quorum that "
                      "outlives a region needs at least 3, so add regions or use async",
                      class->name, n, n == 1 ? "" : "s");
    } else if (n != all) {
        conf_error_at(
            doc, at,
            "class \"%s\" has quorum durability on %u of %u data regions; quorum "
            "classes share one replica set for now, so put it in every data region or "
            "use async",
            class->name, n, all);
    } else if (doc->config.failover != MRD_FAILOVER_AUTOMATIC &&
               share_domain(doc, class->replicas, &a, &b)) {
        conf_error_at(doc, at,
                      "class \"%s\" has quorum durability, but \"%s\" and \"%s\" share a "
                      "failure domain; place them apart or use async",
                      class->name, doc->config.regions[a].name, doc->config.regions[b].name);
    }
}

/* ---- one class ---- */

/**
 * Keys that must be there, and defaults that depend on other keys. False when it is not known
 * what the class is to be.
 */
static bool complete(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_class *class = &doc->config.classes[i];
    const struct conf_node *node = doc->classes[i].node;

    if (node == NULL) {
        return true;
    }
    if (!conf_has(node, "name")) {
        conf_error_at(doc, node, "a class without a name; add name: such as orders");
    } else if (strcmp(class->name, MRD_CLASS_SCHEMA) == 0) {
        conf_error_at(doc, conf_get(node, "name"),
                      "the class \"schema\" is built in; choose another "
                      "name");
    }
    if (!conf_has(node, "durability") && class->posture != MRD_SINGLE_REGION) {
        class->durability = default_durability(doc);
    }
    if (!conf_has(node, "posture")) {
        conf_error_at(doc, node,
                      "class \"%s\" has no posture; add posture: single-region, "
                      "active-passive, read-local or partitioned",
                      class->name);
    }
    return conf_get(node, "posture") != NULL && conf_get(node, "name") != NULL;
}

static void check_home_key(struct conf_doc *doc, unsigned i)
{
    const struct conf_node *n = conf_get(doc->classes[i].node, "home");
    if (n != NULL) {
        conf_error_key(doc, n,
                       "class \"%s\" is partitioned: each partition has its own home, so "
                       "leave \"home\" out or use partitions",
                       doc->config.classes[i].name);
    }
}

/** What can be told of a class that is in doubt: whether the regions it names can be meant. */
static void check_names(struct conf_doc *doc, unsigned i, bool placed)
{
    const struct conf_node *home = conf_get(doc->classes[i].node, "home");

    if (placed) {
        check_partition_homes(doc, i);
    }
    if (home != NULL && placed) {
        choose_home(doc, i);
    } else if (home != NULL) {
        conf_region_ref(doc, home);
    }
}

static void check_class(struct conf_doc *doc, unsigned i)
{
    struct mrd_conf_class *class = &doc->config.classes[i];
    bool known = complete(doc, i), placed = place(doc, i);

    class->home = MRD_REGION_NONE;
    if (!known || !placed) {
        check_names(doc, i, placed);
        return;
    }
    if (class->posture == MRD_PARTITIONED) {
        check_home_key(doc, i);
        check_standby(doc, i);
        check_partitions(doc, i);
    } else {
        refuse_partition_keys(doc, i);
        if (!choose_home(doc, i)) {
            return;
        }
        if (class->posture == MRD_SINGLE_REGION) {
            check_single(doc, i);
        } else if (class->posture == MRD_ACTIVE_PASSIVE) {
            check_standby(doc, i);
        } else {
            check_read_local(doc, i);
        }
    }
    check_quorum(doc, i);
}

/* ---- classes among themselves ---- */

static const struct conf_node *table_node(const struct conf_doc *doc, unsigned i,
                                          const char *table, unsigned skip)
{
    const struct conf_node *list = conf_get(doc->classes[i].node, "tables");
    for (const struct conf_node *n = list != NULL ? list->first : NULL; n != NULL;
         n = n->next) {
        if (n->kind == CONF_SCALAR && strcmp(n->text, table) == 0 && skip-- == 0) {
            return n;
        }
    }
    return doc->classes[i].mark;
}

static void check_tables(struct conf_doc *doc, unsigned i, unsigned k)
{
    const struct mrd_conf_class *a = &doc->config.classes[i], *b = &doc->config.classes[k];

    for (unsigned m = 0; m < b->table_count; m++) {
        for (unsigned n = 0; n < (i == k ? m : a->table_count); n++) {
            if (strcmp(a->tables[n], b->tables[m]) == 0) {
                conf_error_at(
                    doc, table_node(doc, k, b->tables[m], i == k),
                    "table \"%.100s\" is already in class \"%s\"; a table has one class",
                    b->tables[m], a->name);
                break;
            }
        }
    }
}

static void check_among(struct conf_doc *doc)
{
    const struct mrd_config *c = &doc->config;

    for (unsigned k = 1; k < c->class_count; k++) {
        for (unsigned i = 1; i <= k; i++) {
            const struct conf_node *name = conf_get(doc->classes[k].node, "name");
            if (i < k && name != NULL && c->classes[i].name[0] != '\0' &&
                strcmp(c->classes[i].name, c->classes[k].name) == 0) {
                conf_error_at(doc, name, "a second class called \"%s\"; give each its own name",
                              c->classes[k].name);
            }
            check_tables(doc, i, k);
        }
    }
}

static void check_partition_count(struct conf_doc *doc)
{
    unsigned total = 0;
    for (unsigned i = 0; i < doc->config.class_count; i++) {
        const struct mrd_conf_class *class = &doc->config.classes[i];
        total += class->posture == MRD_PARTITIONED ? class->partition_count : 1;
        if (total > MRD_PARTITIONS_MAX) {
            conf_error_at(doc, doc->classes[i].mark,
                          "more than %d partitions over all classes; "
                          "use fewer",
                          MRD_PARTITIONS_MAX);
            return;
        }
    }
}

static void check_reads(struct conf_doc *doc)
{
    const struct conf_node *n = conf_get(conf_get(doc->top, "replication"), "consistency");

    if (n != NULL && doc->consistency != CONF_EVENTUAL) {
        conf_error_at(doc, n,
                      "reads with %s consistency in every region are not available; write "
                      "eventual (an edge lets clients read their own writes, and the home "
                      "region reads the latest)",
                      n->text);
    }
    n = strategy_node(doc);
    if (n != NULL && doc->replication == CONF_REPLICATE_SYNC) {
        conf_note(doc, n,
                  "sync is kept as a quorum: a commit waits for a majority of the replicas, "
                  "not for all of them");
    }
}

static void make_schema(struct conf_doc *doc)
{
    struct mrd_conf_class *class = &doc->config.classes[0];
    mrd_regions all = conf_data_regions(doc);
    int primary = conf_primary(doc);

    snprintf(class->name, sizeof(class->name), "%s", MRD_CLASS_SCHEMA);
    class->posture = MRD_ACTIVE_PASSIVE;
    class->durability = conf_size(all) >= 3 ? MRD_QUORUM : MRD_ASYNC;
    class->replicas = class->allowed = all;
    class->home = primary >= 0 ? (mrd_region)primary : MRD_REGION_NONE;
}

void conf_check_classes(struct conf_doc *doc)
{
    struct mrd_config *c = &doc->config;

    if (doc->names_broken || c->region_count == 0 || conf_data_regions(doc) == 0) {
        return; /* the regions are in doubt, and so would be every message here */
    }
    make_schema(doc);
    if (!conf_has(doc->top, "classes")) {
        add_default(doc);
    }
    read_residency(doc);
    for (unsigned i = 1; i < c->class_count; i++) {
        if (doc->classes[i].mark == NULL) {
            doc->classes[i].mark = doc->classes[i].node;
        }
        check_class(doc, i);
    }
    check_among(doc);
    check_partition_count(doc);
    check_reads(doc);
}
