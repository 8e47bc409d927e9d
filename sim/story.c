/*
 * A world as a text: its shape and its faults, one a line, so that what broke once can be told
 * again after the order of the draws that made it has changed (sim.h). What chance there is
 * within it (when clients act, which message is lost) still comes from the seed.
 *
 *   seed 83
 *   minutes 10
 *   times 4                                     all protocol times, against the defaults
 *   failover automatic | manual | two-person
 *   region us clock 55000 postgres 5000 disk 900   ppm off; us for an answer, and to disk
 *   region sa clock 0 postgres 5000 disk 900 witness
 *   class orders quorum home us replicas 7 allowed 7   sets of regions, as bits in their order
 *   class orders quorum home each replicas 7 allowed 7
 *   link us eu delay 40000 jitter 2000 duplicate 0 reorder 0    us; permille
 *   habits clients 900000 status 400000 tick 300000 images 0 trailing 1 reorders 0
 *   at 100.000000 for 20.500000 us eu 0 0: isolated    region, peer, partition, amount
 *
 * Empty lines and lines that begin with # say nothing. "bug", "breaks" and "shows" are for
 * the tests.
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {[MRD_FAILOVER_AUTOMATIC] = "automatic",
                                    [MRD_FAILOVER_MANUAL] = "manual",
                                    [MRD_FAILOVER_TWO_PERSON] = "two-person"};

/* ---- writing ---- */

static void write_shape(const struct sim *w, FILE *out)
{
    const struct mrd_config *c = w->config;

    fprintf(out, "minutes %u\ntimes %u\nfailover %s\n", w->minutes, w->scale,
            modes[c->failover]);
    for (unsigned i = 0; i < c->region_count; i++) {
        fprintf(out, "region %s clock %lld postgres %llu disk %llu%s\n", c->regions[i].name,
                (long long)w->regions[i].rate_ppm, (unsigned long long)w->postgres_us[i],
                (unsigned long long)w->disk_us[i], c->regions[i].witness ? " witness" : "");
    }
    for (unsigned i = 0; i < c->class_count; i++) {
        const struct mrd_conf_class *k = &c->classes[i];
        fprintf(out, "class %s %s home %s replicas %u allowed %u\n", k->name,
                k->durability == MRD_QUORUM ? "quorum" : "async",
                k->posture == MRD_PARTITIONED ? "each" : c->regions[k->home].name, k->replicas,
                k->allowed);
    }
    for (unsigned i = 0; i < c->region_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            const struct sim_link *l = &w->links[i][j];
            fprintf(out, "link %s %s delay %llu jitter %llu duplicate %u reorder %u\n",
                    c->regions[i].name, c->regions[j].name, (unsigned long long)l->delay_us,
                    (unsigned long long)l->jitter_us, l->duplicate, l->reorder);
        }
    }
    fprintf(out,
            "habits clients %llu status %llu tick %llu images %u trailing %u reorders %d\n",
            (unsigned long long)w->client_us, (unsigned long long)w->status_us,
            (unsigned long long)w->tick_us, w->compact, w->trailing, w->reorders);
}

static void write_fault(const struct sim *w, const struct sim_fault *f, FILE *out)
{
    sim_us lasts = f->until - f->at;

    fprintf(out, "at %llu.%06llu for %llu.%06llu %s %s %u %llu: %s\n",
            (unsigned long long)(f->at / 1000000), (unsigned long long)(f->at % 1000000),
            (unsigned long long)(lasts / 1000000), (unsigned long long)(lasts % 1000000),
            sim_name(w, f->region), sim_name(w, f->peer), f->partition,
            (unsigned long long)f->amount, sim_fault_name(f->kind));
}

void sim_story_write(const struct sim_options *options, FILE *out)
{
    struct sim *w = sim_draw(options);

    fprintf(out, "seed %llu\n", (unsigned long long)options->seed);
    write_shape(w, out);
    for (unsigned k = 0; k < w->fault_count; k++) {
        if (!options->skip[k]) {
            write_fault(w, &w->faults[k], out);
        }
    }
    free(w->story);
    sim_drop(w);
}

/* ---- reading ---- */

/* What is wrong with a line; false, for the reader to return. */
static bool __attribute__((format(printf, 2, 3))) wrong(char what[400], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, 400, fmt, ap);
    va_end(ap);
    return false;
}

static int region_of(const struct sim *w, const char *name)
{
    return mrd_config_region(w->config, name);
}

/* Both are regions of lines above. */
static bool regions_of(const struct sim *w, const char *a, const char *b, int ret[2],
                       char what[400])
{
    ret[0] = region_of(w, a);
    ret[1] = region_of(w, b);
    if (ret[0] < 0 || ret[1] < 0) {
        return wrong(what, "there is no region \"%s\": name one of a \"region\" line above",
                     ret[0] < 0 ? a : b);
    }
    return true;
}

static bool read_region(struct sim *w, const char *line, char what[400])
{
    unsigned i = w->config->region_count;
    struct mrd_conf_region *r = &w->config->regions[i];
    char name[16], witness[16] = "";
    long long clock;
    unsigned postgres, disk;
    int n = sscanf(line, "region %15s clock %lld postgres %u disk %u %15s", name, &clock,
                   &postgres, &disk, witness);

    if (n < 4 || (n == 5 && strcmp(witness, "witness") != 0)) {
        return false;
    }
    if (i == SIM_REGIONS_MAX) {
        return wrong(what, "a world has at most %d regions", SIM_REGIONS_MAX);
    }
    if (region_of(w, name) >= 0) {
        return wrong(what, "there is a region \"%s\" above: names differ", name);
    }
    if (clock < -500000 || clock > 500000) {
        return wrong(what, "a clock that is %lld ppm off: at most 500000 to either side",
                     clock);
    }
    sim_add_region(w, name);
    r->witness = n == 5;
    w->regions[i].rate_ppm = clock;
    w->postgres_us[i] = postgres;
    w->disk_us[i] = disk;
    return true;
}

/* Sets of regions, and a home among those that may be. */
static bool check_class(const struct sim *w, unsigned replicas, unsigned allowed,
                        const char *home, char what[400])
{
    unsigned all = (1u << w->config->region_count) - 1;
    int at = region_of(w, home);

    if (w->config->class_count == 3) {
        return wrong(what, "a world has at most 3 classes");
    }
    if (replicas == 0 || (replicas & ~all) != 0) {
        return wrong(what,
                     "replicas %u: a sum of 1 for the first region above, 2 for the second, "
                     "4 for the third..., from 1 to %u here",
                     replicas, all);
    }
    if ((allowed & ~replicas) != 0) {
        return wrong(what, "allowed %u has regions that are not in replicas %u", allowed,
                     replicas);
    }
    if (strcmp(home, "each") != 0 && at < 0) {
        return wrong(what,
                     "there is no region \"%s\": the home is \"each\", or one of a "
                     "\"region\" line above",
                     home);
    }
    return at < 0 || (allowed >> at & 1u) != 0 ||
           wrong(what, "the home \"%s\" is not in allowed %u", home, allowed);
}

static bool read_class(struct sim *w, const char *line, char what[400])
{
    char name[16], durability[16], home[16];
    unsigned replicas, allowed;

    if (sscanf(line, "class %15s %15s home %15s replicas %u allowed %u", name, durability, home,
               &replicas, &allowed) != 5 ||
        (strcmp(durability, "quorum") != 0 && strcmp(durability, "async") != 0)) {
        return false;
    }
    if (!check_class(w, replicas, allowed, home, what)) {
        return false;
    }
    sim_add_class(w, name, strcmp(durability, "quorum") == 0 ? MRD_QUORUM : MRD_ASYNC,
                  region_of(w, home), (mrd_regions)replicas, (mrd_regions)allowed);
    return true;
}

static bool read_link(struct sim *w, const char *line, char what[400])
{
    char a[16], b[16];
    unsigned delay, jitter, duplicate, reorder;
    int ends[2];

    if (sscanf(line, "link %15s %15s delay %u jitter %u duplicate %u reorder %u", a, b, &delay,
               &jitter, &duplicate, &reorder) != 6) {
        return false;
    }
    if (!regions_of(w, a, b, ends, what)) {
        return false;
    }
    if (ends[0] == ends[1]) {
        return wrong(what, "a link from \"%s\" to itself: name two regions", a);
    }
    w->links[ends[0]][ends[1]] = (struct sim_link){
        .delay_us = delay, .jitter_us = jitter, .duplicate = duplicate, .reorder = reorder};
    w->links[ends[1]][ends[0]] = w->links[ends[0]][ends[1]];
    return true;
}

static bool read_habits(struct sim *w, const char *line, char what[400])
{
    unsigned clients, status, tick, images, trailing, reorders;

    if (sscanf(line, "habits clients %u status %u tick %u images %u trailing %u reorders %u",
               &clients, &status, &tick, &images, &trailing, &reorders) != 6) {
        return false;
    }
    if (clients == 0 || status == 0 || tick == 0 || reorders > 1) {
        return wrong(what,
                     "clients, status and tick are microseconds, at least 1; reorders is 0 "
                     "or 1");
    }
    w->client_us = clients;
    w->status_us = status;
    w->tick_us = tick;
    w->compact = images;
    w->trailing = trailing;
    w->reorders = reorders == 1;
    return true;
}

/* Names of all faults, as far as there is room. */
static bool wrong_fault(const char *name, char what[400])
{
    size_t used = (size_t)snprintf(what, 400, "there is no fault \"%.40s\"; the faults:", name);

    for (unsigned k = 0; k < SIM_FAULT_KINDS && used < 400; k++) {
        used += (size_t)snprintf(what + used, 400 - used, "%s %s", k > 0 ? "," : "",
                                 sim_fault_name((enum sim_fault_kind)k));
    }
    return false;
}

static bool read_fault(struct sim *w, const char *line, char what[400])
{
    struct sim_fault *f = &w->faults[w->fault_count];
    unsigned long long at_s, lasts_s, amount;
    unsigned at_us, lasts_us, partition;
    char a[16], b[16];
    int ends[2], used = 0;

    if (sscanf(line, "at %llu.%6u for %llu.%6u %15s %15s %u %llu: %n", &at_s, &at_us, &lasts_s,
               &lasts_us, a, b, &partition, &amount, &used) != 8 ||
        used == 0) {
        return false;
    }
    if (w->fault_count == SIM_FAULTS_MAX) {
        return wrong(what, "a world has at most %d faults", SIM_FAULTS_MAX);
    }
    if (at_s > 100000 || lasts_s > 100000) {
        return wrong(what, "nothing begins after, or lasts longer than, 100000 s");
    }
    if (!regions_of(w, a, b, ends, what)) {
        return false;
    }
    if (partition >= mrd_partition_count(w->config)) {
        return wrong(what, "partition %u: the classes above have %u, counted from 0", partition,
                     mrd_partition_count(w->config));
    }
    *f = (struct sim_fault){.kind = sim_fault_kind(line + used),
                            .region = (uint8_t)ends[0],
                            .peer = (uint8_t)ends[1],
                            .partition = (uint8_t)partition,
                            .at = at_s * 1000000 + at_us,
                            .amount = amount};
    f->until = f->at + lasts_s * 1000000 + lasts_us;
    w->fault_count += f->kind != SIM_FAULT_KINDS;
    return f->kind != SIM_FAULT_KINDS || wrong_fault(line + used, what);
}

static bool read_mode(struct sim *w, const char *line, char what[400])
{
    (void)what;
    for (unsigned k = 0; k < sizeof(modes) / sizeof(modes[0]); k++) {
        if (modes[k] != NULL && strcmp(line + strlen("failover "), modes[k]) == 0) {
            w->config->failover = (enum mrd_failover_mode)k;
            return true;
        }
    }
    return false;
}

static bool read_minutes(struct sim *w, const char *line, char what[400])
{
    (void)what;
    return sscanf(line, "minutes %u", &w->minutes) == 1 && w->minutes > 0 && w->minutes <= 1440;
}

static bool read_times(struct sim *w, const char *line, char what[400])
{
    (void)what;
    return sscanf(line, "times %u", &w->scale) == 1 && w->scale > 0 && w->scale <= 100;
}

/* The command takes it from there. */
static bool read_seed(struct sim *w, const char *line, char what[400])
{
    const char *digits = line + strlen("seed ");

    (void)w;
    (void)what;
    return digits[0] != '\0' && digits[strspn(digits, "0123456789")] == '\0';
}

static const struct {
    const char *word;
    bool (*read)(struct sim *w, const char *line, char what[400]); /* NULL: for the tests */
    const char *form;
} words[] = {
    {"seed ", read_seed, "seed N"},
    {"minutes ", read_minutes, "minutes 1..1440"},
    {"times ", read_times, "times 1..100"},
    {"failover ", read_mode, "failover automatic | manual | two-person"},
    {"region ", read_region, "region NAME clock PPM postgres US disk US [witness]"},
    {"class ", read_class, "class NAME quorum|async home REGION|each replicas SET allowed SET"},
    {"link ", read_link, "link REGION REGION delay US jitter US duplicate N reorder N"},
    {"habits ", read_habits,
     "habits clients US status US tick US images N trailing N reorders 0|1"},
    {"at ", read_fault, "at S.US for S.US REGION PEER PARTITION AMOUNT: FAULT"},
    {"bug ", NULL, NULL},
    {"breaks ", NULL, NULL},
    {"shows ", NULL, NULL},
};

static bool read_line(struct sim *w, const char *line, char what[400])
{
    what[0] = '\0';
    if (line[0] == '\0' || line[0] == '#') {
        return true;
    }
    for (unsigned k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
        if (strncmp(line, words[k].word, strlen(words[k].word)) == 0) {
            return words[k].read == NULL || words[k].read(w, line, what) ||
                   (what[0] == '\0' &&
                    wrong(what, "\"%.80s\" is not of the form: %s", line, words[k].form));
        }
    }
    return wrong(what,
                 "\"%.40s\" is no line of a story: one begins with seed, minutes, times, "
                 "failover, region, class, link, habits or at",
                 line);
}

/* What is missing at the end, or NULL. */
static const char *missing(const struct sim *w)
{
    return w->config->region_count < 3   ? "a world needs at least 3 lines \"region ...\""
           : w->config->class_count == 0 ? "a world needs a line \"class ...\""
           : w->scale == 0               ? "a world needs a line \"times 1..100\""
           : w->client_us == 0           ? "a world needs a line \"habits ...\""
                                         : NULL;
}

bool sim_story_read(struct sim *w, const char *text, struct sim_story_error *ret)
{
    char line[256];

    *ret = (struct sim_story_error){.line = 1};
    w->minutes = 10;
    w->scale = 0;
    for (const char *p = text; *p != '\0'; ret->line++) {
        size_t n = strcspn(p, "\n");
        if (n >= sizeof(line)) {
            return wrong(ret->what, "the line is longer than %zu bytes", sizeof(line) - 1);
        }
        memcpy(line, p, n);
        line[n] = '\0';
        if (!read_line(w, line, ret->what)) {
            return false;
        }
        p += n + (p[n] == '\n');
    }
    return missing(w) == NULL || wrong(ret->what, "the story ends here, and %s", missing(w));
}

bool sim_story_check(const char *text, struct sim_story_error *ret)
{
    struct sim *w = calloc(1, sizeof(*w));
    bool good;

    mrd_assert(w != NULL);
    w->config = calloc(1, sizeof(*w->config));
    mrd_assert(w->config != NULL);
    good = sim_story_read(w, text, ret);
    sim_drop(w);
    return good;
}
