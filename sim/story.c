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
    fprintf(out, "habits clients %llu status %llu tick %llu images %u trailing %u reorders %d\n",
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

static int region_of(const struct sim *w, const char *name)
{
    return mrd_config_region(w->config, name);
}

static bool read_region(struct sim *w, const char *line)
{
    unsigned i = w->config->region_count;
    struct mrd_conf_region *r = &w->config->regions[i];
    char name[16], witness[16] = "";
    long long clock;
    unsigned postgres, disk;
    int n = sscanf(line, "region %15s clock %lld postgres %u disk %u %15s", name, &clock,
                   &postgres, &disk, witness);

    if (n < 4 || i == SIM_REGIONS_MAX || (n == 5 && strcmp(witness, "witness") != 0) ||
        clock < -500000 || clock > 500000 || region_of(w, name) >= 0) {
        return false;
    }
    sim_add_region(w, name);
    r->witness = n == 5;
    w->regions[i].rate_ppm = clock;
    w->postgres_us[i] = postgres;
    w->disk_us[i] = disk;
    return true;
}

static bool read_class(struct sim *w, const char *line)
{
    char name[16], durability[16], home[16];
    unsigned replicas, allowed, all = (1u << w->config->region_count) - 1;
    int at;

    if (sscanf(line, "class %15s %15s home %15s replicas %u allowed %u", name, durability, home,
               &replicas, &allowed) != 5 ||
        w->config->class_count == 3 || replicas == 0 || (replicas & ~all) != 0 ||
        (allowed & ~replicas) != 0) {
        return false;
    }
    at = region_of(w, home);
    if (strcmp(home, "each") != 0 && (at < 0 || (allowed >> at & 1u) == 0)) {
        return false;
    }
    sim_add_class(w, name, strcmp(durability, "quorum") == 0 ? MRD_QUORUM : MRD_ASYNC, at,
                  (mrd_regions)replicas, (mrd_regions)allowed);
    return strcmp(durability, "quorum") == 0 || strcmp(durability, "async") == 0;
}

static bool read_link(struct sim *w, const char *line)
{
    char a[16], b[16];
    unsigned delay, jitter, duplicate, reorder;
    int i, j;

    if (sscanf(line, "link %15s %15s delay %u jitter %u duplicate %u reorder %u", a, b, &delay,
               &jitter, &duplicate, &reorder) != 6) {
        return false;
    }
    i = region_of(w, a);
    j = region_of(w, b);
    if (i < 0 || j < 0 || i == j) {
        return false;
    }
    w->links[i][j] = (struct sim_link){
        .delay_us = delay, .jitter_us = jitter, .duplicate = duplicate, .reorder = reorder};
    w->links[j][i] = w->links[i][j];
    return true;
}

static bool read_habits(struct sim *w, const char *line)
{
    unsigned clients, status, tick, images, trailing, reorders;

    if (sscanf(line, "habits clients %u status %u tick %u images %u trailing %u reorders %u",
               &clients, &status, &tick, &images, &trailing, &reorders) != 6 ||
        clients == 0 || status == 0 || tick == 0 || reorders > 1) {
        return false;
    }
    w->client_us = clients;
    w->status_us = status;
    w->tick_us = tick;
    w->compact = images;
    w->trailing = trailing;
    w->reorders = reorders == 1;
    return true;
}

static bool read_fault(struct sim *w, const char *line)
{
    struct sim_fault *f = &w->faults[w->fault_count];
    unsigned long long at_s, lasts_s, amount;
    unsigned at_us, lasts_us, partition;
    char a[16], b[16];
    int region, peer, used = 0;

    if (w->fault_count == SIM_FAULTS_MAX ||
        sscanf(line, "at %llu.%6u for %llu.%6u %15s %15s %u %llu: %n", &at_s, &at_us, &lasts_s,
               &lasts_us, a, b, &partition, &amount, &used) != 8 ||
        used == 0 || at_s > 100000 || lasts_s > 100000) {
        return false;
    }
    region = region_of(w, a);
    peer = region_of(w, b);
    if (region < 0 || peer < 0 || partition >= mrd_partition_count(w->config)) {
        return false;
    }
    *f = (struct sim_fault){.kind = sim_fault_kind(line + used),
                            .region = (uint8_t)region,
                            .peer = (uint8_t)peer,
                            .partition = (uint8_t)partition,
                            .at = at_s * 1000000 + at_us,
                            .amount = amount};
    f->until = f->at + lasts_s * 1000000 + lasts_us;
    w->fault_count += f->kind != SIM_FAULT_KINDS;
    return f->kind != SIM_FAULT_KINDS;
}

static bool read_mode(struct sim *w, const char *line)
{
    for (unsigned k = 0; k < sizeof(modes) / sizeof(modes[0]); k++) {
        if (modes[k] != NULL && strcmp(line + strlen("failover "), modes[k]) == 0) {
            w->config->failover = (enum mrd_failover_mode)k;
            return true;
        }
    }
    return false;
}

static bool read_line(struct sim *w, const char *line)
{
    static const struct {
        const char *word;
        bool (*read)(struct sim *w, const char *line);
    } words[] = {{"failover ", read_mode}, {"region ", read_region}, {"class ", read_class},
                 {"link ", read_link},     {"habits ", read_habits}, {"at ", read_fault}};

    if (line[0] == '\0' || line[0] == '#' || strncmp(line, "bug ", 4) == 0 ||
        strncmp(line, "breaks ", 7) == 0 || strncmp(line, "seed ", 5) == 0 ||
        strncmp(line, "shows ", 6) == 0) {
        return true;
    }
    if (sscanf(line, "minutes %u", &w->minutes) == 1) {
        return w->minutes > 0 && w->minutes <= 1440;
    }
    if (sscanf(line, "times %u", &w->scale) == 1) {
        return w->scale > 0 && w->scale <= 100;
    }
    for (unsigned k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
        if (strncmp(line, words[k].word, strlen(words[k].word)) == 0) {
            return words[k].read(w, line);
        }
    }
    return false;
}

unsigned sim_story_read(struct sim *w, const char *text)
{
    unsigned number = 1;
    char line[256];

    w->minutes = 10;
    w->scale = 0;
    for (const char *p = text; *p != '\0'; number++) {
        size_t n = strcspn(p, "\n");
        if (n >= sizeof(line)) {
            return number;
        }
        memcpy(line, p, n);
        line[n] = '\0';
        if (!read_line(w, line)) {
            return number;
        }
        p += n + (p[n] == '\n');
    }
    return w->config->region_count < 3 || w->config->class_count == 0 || w->scale == 0 ||
                   w->client_us == 0
               ? number
               : 0;
}

unsigned sim_story_check(const char *text)
{
    struct sim *w = calloc(1, sizeof(*w));
    unsigned bad;

    mrd_assert(w != NULL);
    w->config = calloc(1, sizeof(*w->config));
    mrd_assert(w->config != NULL);
    bad = sim_story_read(w, text);
    sim_drop(w);
    return bad;
}
