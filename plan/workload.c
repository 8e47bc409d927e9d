/*
 * Reading a workload (workload.h): its keys as a table, as config/schema.c has them for the
 * deployment. Defaults are written as a user would write them.
 */
#include <conf.h>
#include <workload.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(type, field) sizeof(((type *)0)->field)
#define AT(type, field) .offset = offsetof(type, field), .size = SIZE(type, field)
#define LOAD(field) AT(struct read_load, load.field)
#define CLASS(field) AT(struct plan_class, field)
#define HOUR UINT64_C(3600000)
#define BILLION UINT64_C(1000000000)
#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

/* The reader's functions are given one pointer; the facts ride along behind it. */
struct read_load {
    struct plan_workload load;
    const struct plan_data *data;
};

static const struct conf_word kind_words[] = {
    {"records", PLAN_RECORDS}, {"money", PLAN_MONEY}, {"mergeable", PLAN_MERGEABLE}, {NULL, 0}};

static const struct conf_key rule_keys[] = {
    {"users", CONF_TEXT, AT(struct plan_residency, users),
     .doc = "country or bloc, such as EU"},
    {"stored", CONF_TEXT, AT(struct plan_residency, stored), .doc = "where their data may be"},
    {.name = NULL},
};

static void read_rules(struct conf_doc *doc, const struct conf_node *node, void *base);
static void read_users(struct conf_doc *doc, const struct conf_node *node, void *base);
static void read_candidates(struct conf_doc *doc, const struct conf_node *node, void *base);
static void read_plan_classes(struct conf_doc *doc, const struct conf_node *node, void *base);

static const struct conf_key target_keys[] = {
    {"availability", CONF_REAL, CLASS(availability_pct), 0, 100, .doc = "percent of the year"},
    {"read_p95", CONF_MS, CLASS(read_p95_ms), 1, HOUR, .doc = "for 95% of the users"},
    {"write_p95", CONF_MS, CLASS(write_p95_ms), 1, HOUR, .doc = "for 95% of the users"},
    {"rpo", CONF_MS, CLASS(rpo_ms), 0, 1000 * HOUR,
     .doc = "writes that may be lost with a region"},
    {"rto", CONF_MS, CLASS(rto_ms), 0, 1000 * HOUR, .doc = "until service is back"},
    {.name = NULL},
};

static const struct conf_key class_keys[] = {
    {"name", CONF_CLASS, CLASS(name), .doc = "a to z, 0 to 9, hyphen, underscore"},
    {"reads_per_s", CONF_REAL, CLASS(reads_per_s), 0, BILLION, .fallback = "0",
     .doc = "average"},
    {"writes_per_s", CONF_REAL, CLASS(writes_per_s), 0, BILLION, .fallback = "0",
     .doc = "average"},
    {"read_bytes", CONF_REAL, CLASS(read_bytes), 0, BILLION,
     .fallback = NUMBER(PLAN_READ_BYTES), .doc = "of an answer"},
    {"write_bytes", CONF_REAL, CLASS(write_bytes), 0, BILLION,
     .fallback = NUMBER(PLAN_WRITE_BYTES), .doc = "of a write on its way to a replica"},
    {"storage_gb", CONF_REAL, CLASS(storage_gb), 0, BILLION, .fallback = "0",
     .doc = "one copy"},
    {"cacheable", CONF_REAL, CLASS(cacheable), 0, 1, .fallback = "0",
     .doc = "share of reads a CDN may answer"},
    {"kind", CONF_WORD, CLASS(kind), .words = kind_words, .fallback = "records",
     .doc = "what concurrent writes would do"},
    {"locality", CONF_REAL, CLASS(locality), 0, 1, .fallback = "0",
     .doc = "share of writes to records homed where the writer is; 0: the data has no home per "
            "record"},
    {"daytime", CONF_REAL, CLASS(daytime), 0, 1, .fallback = "0",
     .doc =
         "share of writes made while the writer's own region is home, if homes follow the sun"},
    {"residency", CONF_CUSTOM, .read = read_rules, .keys = rule_keys,
     .doc = "list of {users, stored}"},
    {"targets", CONF_SECTION, .keys = target_keys,
     .doc = "what must be kept; left out: anything will do"},
    {.name = NULL},
};

static const struct conf_key price_keys[] = {
    {"compute_usd_month", CONF_REAL, LOAD(compute_usd_month), 0, BILLION,
     .doc = "the whole load in one region"},
    {"database_usd_month", CONF_REAL, LOAD(database_usd_month), 0, BILLION, .doc = "the same"},
    {"region_usd_month", CONF_REAL, LOAD(region_usd_month), 0, BILLION, .fallback = "250",
     .doc = "load balancing, DNS, health checks of one region"},
    {"storage_usd_gb", CONF_REAL, LOAD(storage_usd_gb), 0, BILLION, .fallback = "0.10",
     .doc = "per month"},
    {"transfer_usd_gb", CONF_REAL, LOAD(transfer_usd_gb), 0, BILLION,
     .doc = "between regions; default: the price tables"},
    {"internet_usd_gb", CONF_REAL, LOAD(internet_usd_gb), 0, BILLION,
     .doc = "to users; default: the price tables"},
    {"cdn_usd_gb", CONF_REAL, LOAD(cdn_usd_gb), 0, BILLION, .fallback = "0.05",
     .doc = "from a CDN to users"},
    {.name = NULL},
};

static const struct conf_key failure_keys[] = {
    {"region_availability", CONF_REAL, LOAD(region_pct), 0, 100, .fallback = "99.9705137",
     .doc = "percent; default: the public history of one large region, 3 outages in 10 years"},
    {"outage_hours", CONF_REAL, LOAD(outage_h), 0, 8760, .fallback = "8.61",
     .doc = "mean length"},
    {"beta", CONF_REAL, LOAD(beta), 0, 1, .fallback = "0.1",
     .doc = "share of outages that take every region"},
    {"check_interval", CONF_REAL, LOAD(interval_s), 0, 3600, .fallback = "0.5",
     .doc = "seconds between probes"},
    {"checks", CONF_REAL, LOAD(checks), 1, 100, .fallback = "3", .doc = "missed in a row"},
    {"check_timeout", CONF_REAL, LOAD(timeout_s), 0, 3600, .fallback = "1", .doc = "seconds"},
    {"ttl", CONF_REAL, LOAD(ttl_s), 0, 86400, .fallback = "30",
     .doc = "seconds, of DNS answers"},
    {"takeover", CONF_REAL, LOAD(steps_s), 0, 86400, .fallback = "6",
     .doc = "seconds to decide, fence and promote"},
    {"standby", CONF_REAL, LOAD(standby), 0, 1, .fallback = "0.3",
     .doc = "running share of a warm standby"},
    {"standby_warm_up", CONF_REAL, LOAD(warm_s), 0, 86400, .fallback = "240",
     .doc = "seconds to its full size"},
    {"pilot", CONF_REAL, LOAD(pilot_standby), 0, 1, .fallback = "0.1",
     .doc = "running share of a pilot light"},
    {"pilot_warm_up", CONF_REAL, LOAD(pilot_warm_s), 0, 86400, .fallback = "1800",
     .doc = "seconds to its full size"},
    {"restore", CONF_REAL, LOAD(restore_s), 0, 1000000, .fallback = "14400",
     .doc = "seconds to restore a backup elsewhere"},
    {"backup_interval", CONF_REAL, LOAD(backup_s), 0, 1000000, .fallback = "3600",
     .doc = "seconds"},
    {.name = NULL},
};

static const struct conf_key workload_keys[] = {
    {"name", CONF_TEXT, LOAD(name), .fallback = "workload", .doc = "for the report"},
    {"users", CONF_CUSTOM, .read = read_users, .doc = "country: share, such as US: 40"},
    {"regions", CONF_CUSTOM, .read = read_candidates,
     .doc = "list of candidates; default: the AWS regions with measured round trips, and where "
            "residency leaves users without any of them, unmeasured ones that it allows"},
    {"replicas_max", CONF_UINT, LOAD(replicas_max), 1, PLAN_REPLICAS_MAX, .fallback = "3",
     .doc = "regions of one class"},
    {"downtime_usd_hour", CONF_REAL, LOAD(downtime_usd_hour), 0, BILLION,
     .doc = "what an hour down costs"},
    {"budget_usd_month", CONF_REAL, LOAD(budget_usd_month), 0, BILLION,
     .doc = "for everything"},
    {"processing_ms", CONF_REAL, LOAD(processing_ms), 0, 100000, .fallback = "20",
     .doc = "of a request, beside the network"},
    {"link_mbit", CONF_REAL, LOAD(link_mbit), 1, BILLION, .fallback = "1000",
     .doc = "between regions"},
    {"prices", CONF_SECTION, .keys = price_keys, .doc = "USD"},
    {"failures", CONF_SECTION, .keys = failure_keys, .doc = "what fails and how recovery goes"},
    {"classes", CONF_CUSTOM, .read = read_plan_classes, .keys = class_keys,
     .doc = "list, at most 8"},
    {.name = NULL},
};

static const struct conf_key root_keys[] = {
    {"workload", CONF_SECTION, .keys = workload_keys, .doc = "the workload"},
    {.name = NULL},
};

static void read_rules(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct plan_class *c = base;

    if (!conf_expect(doc, node, CONF_LIST, "a list of {users, stored}")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (c->residency_count == PLAN_RULES_PER_CLASS) {
            conf_error_at(doc, n, "more than %d rules in one class; leave the rest out",
                          PLAN_RULES_PER_CLASS);
            return;
        }
        if (!conf_expect(doc, n, CONF_MAP, "a mapping with users and stored")) {
            continue;
        }
        conf_read_map(doc, rule_keys, n, &c->residency[c->residency_count++]);
        if (!conf_has(n, "users") || !conf_has(n, "stored")) {
            conf_error_at(doc, n, "a rule needs both users and stored; add what is missing");
        }
    }
}

static void read_users(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct read_load *b = base;
    struct plan_workload *w = &b->load;
    double sum = 0;

    if (!conf_expect(doc, node, CONF_MAP, "a mapping of country: share")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        int country = plan_country_find(b->data, n->key);
        double share = 0;
        if (!conf_expect(doc, n, CONF_SCALAR, "a number")) {
            continue;
        }
        if (country < 0) {
            conf_error_key(
                doc, n, "\"%.40s\" is no country; write its ISO 3166 code, such as US", n->key);
        } else if (!conf_parse_number(n->text, 0, 1e12, &share)) {
            conf_error_at(doc, n, "\"%.40s\" is no share; write a number of at least 0",
                          n->text);
        } else if (w->user_count == PLAN_USERS_MAX) {
            conf_error_key(doc, n, "more than %d countries; leave the smallest out",
                           PLAN_USERS_MAX);
            return;
        } else {
            w->users[w->user_count++] = (struct plan_user){country, share};
            sum += share;
        }
    }
    if (w->user_count == node->count && !(sum > 0)) {
        conf_error_at(doc, node, "no users in the list; give a country a share above 0");
    }
    for (unsigned i = 0; i < w->user_count && sum > 0; i++) {
        w->users[i].share /= sum;
    }
}

static void read_candidates(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct read_load *b = base;
    struct plan_workload *w = &b->load;

    if (!conf_expect(doc, node, CONF_LIST, "a list of regions")) {
        return;
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (!conf_expect(doc, n, CONF_SCALAR, "the name of a region")) {
            continue;
        }
        int r = plan_region_find(b->data, n->text);
        for (unsigned i = 0; r >= 0 && i < w->candidate_count; i++) {
            if (w->candidates[i] == r) {
                conf_error_at(doc, n, "\"%.40s\" stands there twice; leave one out", n->text);
            }
        }
        if (r < 0) {
            conf_error_at(doc, n, "\"%.40s\" is no known region; write one of regions.csv",
                          n->text);
        } else if (w->candidate_count == PLAN_CANDIDATES_MAX) {
            conf_error_at(doc, n, "more than %d regions; leave the rest out",
                          PLAN_CANDIDATES_MAX);
            return;
        } else {
            w->candidates[w->candidate_count++] = r;
        }
    }
    if (!node->bad && node->count == 0) {
        conf_error_at(doc, node, "no regions in the list; name some, or leave \"regions\" out");
    }
}

/** Is the key there with a value that is a mistake of its own? */
static bool mistaken(const struct conf_node *n, const char *key)
{
    return conf_has(n, key) && conf_get(n, key) == NULL;
}

static void check_class(struct conf_doc *doc, const struct conf_node *n, struct read_load *b,
                        struct plan_class *c)
{
    if (!conf_has(n, "name")) {
        conf_error_at(doc, n, "a class without a name; add name:");
    }
    if (c->reads_per_s + c->writes_per_s <= 0 && !n->bad && !mistaken(n, "reads_per_s") &&
        !mistaken(n, "writes_per_s")) {
        conf_error_at(doc, n, "a class without load; add reads_per_s or writes_per_s");
    }
    if (c->availability_pct >= 100) {
        conf_error_at(doc, conf_get(conf_get(n, "targets"), "availability"),
                      "100 is out of range; availability takes a number below 100");
    }
    for (unsigned i = 0; i + 1 < b->load.class_count; i++) {
        if (strcmp(b->load.classes[i].name, c->name) == 0 && c->name[0] != '\0') {
            conf_error_at(doc, n, "a second class \"%.40s\"; give it another name", c->name);
        }
    }
    for (unsigned i = 0; i < c->residency_count; i++) {
        const char *sides[] = {c->residency[i].users, c->residency[i].stored};
        for (unsigned k = 0; k < 2; k++) {
            if (sides[k][0] != '\0' && !plan_bloc_known(b->data, sides[k])) {
                conf_error_at(doc, conf_get(n, "residency"),
                              "\"%.23s\" is neither a country nor a bloc of blocs.csv",
                              sides[k]);
            }
        }
    }
}

static void read_plan_classes(struct conf_doc *doc, const struct conf_node *node, void *base)
{
    struct read_load *b = base;
    struct plan_workload *w = &b->load;

    if (!conf_expect(doc, node, CONF_LIST, "a list of classes")) {
        return;
    }
    if (node->count == 0) {
        conf_error_at(doc, node, "no classes in the list; describe one");
    }
    for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
        if (w->class_count == PLAN_CLASSES_MAX) {
            conf_error_at(doc, n, "more than %d classes; leave the rest out", PLAN_CLASSES_MAX);
            return;
        }
        if (!conf_expect(doc, n, CONF_MAP, "a mapping that describes a class")) {
            continue;
        }
        struct plan_class *c = &w->classes[w->class_count++];
        c->availability_pct = -1;
        c->read_p95_ms = c->write_p95_ms = c->rpo_ms = c->rto_ms = PLAN_NO_TARGET;
        conf_defaults(doc, class_keys, c);
        conf_read_map(doc, class_keys, n, c);
        c->read_bytes_given = conf_has(n, "read_bytes");
        c->write_bytes_given = conf_has(n, "write_bytes");
        check_class(doc, n, b, c);
    }
}

static void find_given(const struct conf_node *top, struct plan_workload *w)
{
    static const struct {
        const char *section, *key; /* no section: of the workload itself */
    } keys[PLAN_GIVENS] = {
        [PLAN_GIVEN_REGION_USD] = {"prices", "region_usd_month"},
        [PLAN_GIVEN_STORAGE_USD] = {"prices", "storage_usd_gb"},
        [PLAN_GIVEN_CDN_USD] = {"prices", "cdn_usd_gb"},
        [PLAN_GIVEN_AVAILABILITY] = {"failures", "region_availability"},
        [PLAN_GIVEN_INTERVAL] = {"failures", "check_interval"},
        [PLAN_GIVEN_CHECKS] = {"failures", "checks"},
        [PLAN_GIVEN_TIMEOUT] = {"failures", "check_timeout"},
        [PLAN_GIVEN_TTL] = {"failures", "ttl"},
        [PLAN_GIVEN_TAKEOVER] = {"failures", "takeover"},
        [PLAN_GIVEN_STANDBY] = {"failures", "standby"},
        [PLAN_GIVEN_WARM_UP] = {"failures", "standby_warm_up"},
        [PLAN_GIVEN_PILOT] = {"failures", "pilot"},
        [PLAN_GIVEN_PILOT_WARM_UP] = {"failures", "pilot_warm_up"},
        [PLAN_GIVEN_RESTORE] = {"failures", "restore"},
        [PLAN_GIVEN_BACKUP] = {"failures", "backup_interval"},
        [PLAN_GIVEN_LINK] = {NULL, "link_mbit"},
    };
    for (unsigned i = 0; i < PLAN_GIVENS; i++) {
        const struct conf_node *of =
            keys[i].section != NULL ? conf_get(top, keys[i].section) : top;
        w->given |= (uint32_t)(of != NULL && conf_has(of, keys[i].key)) << i;
    }
}

/** What no single key can know. */
static void check(struct conf_doc *doc, struct read_load *b)
{
    const struct conf_node *top = conf_get(doc->tree.root, "workload");
    struct plan_workload *w = &b->load;

    if (top == NULL) {
        if (!conf_has(doc->tree.root, "workload")) {
            conf_error_at(doc, doc->tree.root,
                          "nothing to plan here; put it under \"workload:\"");
        }
        return;
    }
    find_given(top, w);
    if (!conf_has(top, "users")) {
        conf_error_key(doc, top, "no users; add users: with a share per country");
    }
    if (!conf_has(top, "classes")) {
        conf_error_key(doc, top, "no classes; add classes:");
    }
    if (!(w->interval_s > 0)) {
        conf_error_at(doc, conf_get(conf_get(top, "failures"), "check_interval"),
                      "0 is out of range; check_interval takes a number above 0");
    }
    if (!(w->outage_h > 0)) {
        conf_error_at(doc, conf_get(conf_get(top, "failures"), "outage_hours"),
                      "0 is out of range; outage_hours takes a number above 0");
    }
    if (!(w->region_pct > 0)) {
        conf_error_at(doc, conf_get(conf_get(top, "failures"), "region_availability"),
                      "0 is out of range; region_availability takes a number above 0");
    }
}

static int refuse(struct mrd_conf_errors *errors, int code, const char *what, const char *why)
{
    memset(errors, 0, sizeof(*errors));
    errors->count = 1;
    errors->errors[0].line = errors->errors[0].column = 1;
    snprintf(errors->errors[0].text, sizeof(errors->errors[0].text), "%s%s", what, why);
    return code;
}

static void fill_defaults(struct conf_doc *doc, struct read_load *b)
{
    b->load.downtime_usd_hour = b->load.budget_usd_month = -1;
    b->load.compute_usd_month = b->load.database_usd_month = -1;
    b->load.transfer_usd_gb = b->load.internet_usd_gb = -1;
    conf_defaults(doc, root_keys, b);
}

void plan_workload_defaults(const struct plan_data *data, struct plan_workload *ret)
{
    static struct mrd_conf_errors errors;
    static struct conf_doc doc;
    static struct read_load b;

    memset(&doc, 0, sizeof(doc));
    memset(&b, 0, sizeof(b));
    doc.errors = &errors;
    b.data = data;
    fill_defaults(&doc, &b);
    *ret = b.load;
}

int plan_workload_parse(const struct plan_data *data, const char *text, size_t len,
                        struct plan_workload *ret, struct mrd_conf_errors *errors)
{
    struct conf_doc *doc = calloc(1, sizeof(*doc));
    struct read_load *b = calloc(1, sizeof(*b));
    int rc = MRD_ECONFIG;

    memset(errors, 0, sizeof(*errors));
    if (doc == NULL || b == NULL) {
        rc = refuse(errors, MRD_ECONFIG, "out of memory", "");
        goto out;
    }
    doc->errors = errors;
    doc->begins_with = "workload:";
    b->data = data;
    fill_defaults(doc, b);
    if (conf_tree_parse(doc, text, len) &&
        conf_expect(doc, doc->tree.root, CONF_MAP, "\"workload:\"")) {
        conf_read_map(doc, root_keys, doc->tree.root, b);
        check(doc, b);
    }
    if (b->load.candidate_count == 0) {
        plan_candidates_choose(data, &b->load);
    }
    conf_errors_sort(errors);
    if (errors->count == 0) {
        *ret = b->load;
        rc = 0;
    }
    conf_tree_fini(&doc->tree);
out:
    free(doc);
    free(b);
    return rc;
}

int plan_workload_load(const struct plan_data *data, const char *path,
                       struct plan_workload *ret, struct mrd_conf_errors *errors)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        return refuse(errors, MRD_EIO, "could not read the file: ", strerror(errno));
    }
    size_t cap = CONF_BYTES_MAX + 1; /* one more than allowed, so that the parser sees it */
    char *text = malloc(cap);
    size_t len = text != NULL ? fread(text, 1, cap, f) : 0;
    int rc = text == NULL || ferror(f)
                 ? refuse(errors, MRD_EIO,
                          "could not read the file: ", strerror(text == NULL ? ENOMEM : errno))
                 : plan_workload_parse(data, text, len, ret, errors);
    free(text);
    fclose(f);
    return rc;
}
