/*
 * Reading the facts (data.h), and asking them.
 *
 * A region's name is unique for the user: where two providers use one name, the first in the
 * file has it and the other is called PROVIDER/NAME.
 */
#include <csv.h>
#include <data.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <mrd/latency.h>

#include "embedded.h"

#define OWN_BYTES_MAX ((size_t)8 << 20)
#define GB_PRICE_MAX 1000.0

static const struct plan_source sources[PLAN_SOURCES] = {
    [PLAN_RTT_OWN] = {"rtt.csv", "round trips the operator measured", "", "", "", false, false,
                      "", 0, 0, 0},
    [PLAN_RTT_AWS] = {"rtt_aws_ping_2020-06-05.csv", "ping between 19 AWS regions, average",
                      "2020-06-05", "MIT", "github.com/vitorenesduarte/fantoch", false, false,
                      "", 0, 0, 0},
    [PLAN_RTT_GCP] = {"rtt_gcp_ping_2019-09-18.csv", "ping between 20 GCP regions, average",
                      "2019-09-18", "MIT", "github.com/vitorenesduarte/fantoch", false, false,
                      "", 0, 0, 0},
    [PLAN_RTT_AZURE] = {"rtt_azure_p95_2026-07-30.csv",
                        "95th percentile of round trips between 54 Azure regions", "2026-07-30",
                        "CC BY 4.0", "Microsoft, azure-docs", false, false, "", 0, 0, 0},
    [PLAN_SOURCE_REGIONS] = {"regions.csv", "where 257 cloud regions are", "2026-01-21", "MIT",
                             "github.com/jasonwilbur/mcp-server-cloud-regions", false, false,
                             "", 0, 0, 0},
    [PLAN_SOURCE_COUNTRIES] = {"countries.csv", "population and its centre, by country",
                               "2026-11-20", "CC BY 4.0", "World Bank, GeoNames", false, false,
                               "", 0, 0, 0},
    [PLAN_SOURCE_METROS] = {"metros.csv", "the largest cities of each country", "2026-11-20",
                            "CC BY 4.0", "GeoNames", false, false, "", 0, 0, 0},
    [PLAN_SOURCE_BLOCS] = {"blocs.csv", "blocs of law; not legal advice", "2026-11-20", "facts",
                           "public law", false, false, "", 0, 0, 0},
    [PLAN_SOURCE_PRICES_AWS] = {"transfer_aws_usd_per_gb_2022.csv",
                                "list prices of transfer, AWS", "2022-11", "Apache-2.0",
                                "github.com/skyplane-project/skyplane", false, false, "", 0, 0,
                                0},
    [PLAN_SOURCE_PRICES_RULES] = {"transfer_rules_gcp_azure_2023.csv",
                                  "list prices of transfer by continent, GCP and Azure",
                                  "2024-01-09", "facts", "github.com/skyplane-project/skyplane",
                                  false, false, "", 0, 0, 0},
};

const unsigned char *plan_embedded(const char *name, size_t *ret_size)
{
    for (size_t i = 0; i < sizeof(embedded) / sizeof(embedded[0]); i++) {
        if (strcmp(embedded[i].name, name) == 0) {
            *ret_size = embedded[i].size;
            return embedded[i].bytes;
        }
    }
    return NULL;
}

/* ---- files ---- */

/** The whole of the operator's file @path into @ret; 1, 0 when there is none. */
static int own_file(const char *path, unsigned char **ret, size_t *ret_size, char ret_date[12],
                    struct mrd_err *err)
{
    struct stat st = {0};
    struct tm when = {0};
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        return errno == ENOENT ? 0
                               : mrd_err_set(err, MRD_EIO, "could not read \"%s\": %s", path,
                                             strerror(errno));
    }
    unsigned char *bytes = malloc(OWN_BYTES_MAX + 1);
    size_t n = bytes != NULL ? fread(bytes, 1, OWN_BYTES_MAX + 1, f) : 0;
    bool failed = bytes == NULL || ferror(f) != 0 || fstat(fileno(f), &st) != 0;
    fclose(f);
    strftime(ret_date, 12, "%Y-%m-%d", gmtime_r(&st.st_mtime, &when));
    if (failed || n > OWN_BYTES_MAX) {
        free(bytes);
        return mrd_err_set(err, MRD_EIO, "could not read \"%s\": %s", path,
                           failed ? strerror(errno) : "larger than 8 MiB");
    }
    *ret = bytes;
    *ret_size = n;
    return 1;
}

typedef int read_fn(struct plan_data *data, struct plan_csv *csv, int which,
                    struct mrd_err *err);

/**
 * Read the rows through @read, and after a mistake those behind it, so that all mistakes are
 * told: a line each, as far as there is room.
 */
static int read_rows(struct plan_data *data, struct plan_csv *csv, enum plan_source_id id,
                     read_fn *read, struct mrd_err *err)
{
    struct mrd_err next = {0};
    int first = read(data, csv, (int)id, err), rc = first;
    unsigned untold = 0;

    while (rc != 0 && rc != MRD_EFULL && csv->line > 1) {
        rc = read(data, csv, (int)id, &next);
        size_t used = err != NULL ? strlen(err->text) : 0;
        if (rc == 0 || err == NULL) {
            continue;
        }
        if (untold > 0 ||
            used + 1 + strlen(next.text) + sizeof("\nand 99999 more") >= sizeof(err->text)) {
            untold++;
        } else {
            snprintf(err->text + used, sizeof(err->text) - used, "\n%s", next.text);
        }
    }
    if (untold > 0) {
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof(err->text) - used, "\nand %u more",
                 untold < 99999 ? untold : 99999);
    }
    return first;
}

/** Read one of the sources through @read, from @dir if it is there. */
static int load(struct plan_data *data, const char *dir, enum plan_source_id id, read_fn *read,
                struct mrd_err *err)
{
    struct plan_source *s = &data->sources[id];
    struct plan_csv csv;
    unsigned char *own = NULL;
    char path[4096];
    size_t size = 0;

    if (snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : "", s->file) >=
        (int)sizeof(path)) {
        return mrd_err_set(err, MRD_EINVAL, "the path of \"%s\" is too long", s->file);
    }
    int rc = dir != NULL ? own_file(path, &own, &size, s->own_date, err) : 0;
    if (rc < 0) {
        return rc;
    }
    s->own = rc == 1;
    const unsigned char *text = s->own ? own : plan_embedded(s->file, &size);
    if (text == NULL) {
        return 0; /* rtt.csv is the operator's or nobody's */
    }
    rc = plan_csv_init(&csv, s->own ? path : s->file, text, size, err);
    if (rc == 0) {
        rc = read_rows(data, &csv, id, read, err);
        if (rc == 0 && csv.line == 1) {
            rc = mrd_err_set(err, MRD_EFORMAT, "%s:2:1: no rows under the titles", csv.name);
        }
        plan_csv_fini(&csv);
    }
    free(own);
    return rc;
}

/* ---- regions ---- */

int plan_region_find(const struct plan_data *data, const char *name)
{
    for (int i = 0; i < data->region_count; i++) {
        if (strcmp(data->regions[i].id, name) == 0) {
            return i;
        }
    }
    return -1;
}

int plan_region_add(struct plan_data *data, const char *name, const char *country,
                    double latitude, double longitude)
{
    if (data->region_count == PLAN_REGIONS_DATA_MAX) {
        return -1;
    }
    struct plan_region *r = &data->regions[data->region_count];

    *r = (struct plan_region){.latitude = latitude, .longitude = longitude};
    snprintf(r->id, sizeof(r->id), "%.*s", (int)sizeof(r->id) - 1, name);
    snprintf(r->country, sizeof(r->country), "%.2s", country);
    for (int m = 0; m < PLAN_MATRICES; m++) {
        r->row[m] = -1;
    }
    return data->region_count++;
}

static int read_regions(struct plan_data *data, struct plan_csv *csv, int which,
                        struct mrd_err *err)
{
    size_t provider, id, name, country, continent, lat, lon;
    int rc;
    (void)which;

    if ((rc = plan_csv_column(csv, "provider", &provider, err)) != 0 ||
        (rc = plan_csv_column(csv, "region", &id, err)) != 0 ||
        (rc = plan_csv_column(csv, "name", &name, err)) != 0 ||
        (rc = plan_csv_column(csv, "country_iso2", &country, err)) != 0 ||
        (rc = plan_csv_column(csv, "continent", &continent, err)) != 0 ||
        (rc = plan_csv_column(csv, "lat", &lat, err)) != 0 ||
        (rc = plan_csv_column(csv, "lon", &lon, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        struct plan_region *r = &data->regions[data->region_count];
        char text[PLAN_NAME_MAX];
        if (data->region_count == PLAN_REGIONS_DATA_MAX) {
            return plan_csv_refuse(csv, 0, err, MRD_EFULL, "more than %d regions",
                                   PLAN_REGIONS_DATA_MAX);
        }
        memset(r, 0, sizeof(*r));
        memset(r->row, 0xff, sizeof(r->row));
        if ((rc = plan_csv_text(csv, provider, r->provider, sizeof(r->provider), err)) != 0 ||
            (rc = plan_csv_text(csv, id, text, sizeof(text), err)) != 0 ||
            (rc = plan_csv_text(csv, name, r->name, sizeof(r->name), err)) != 0 ||
            (rc = plan_csv_text(csv, country, r->country, sizeof(r->country), err)) != 0 ||
            (rc = plan_csv_text(csv, continent, r->continent, sizeof(r->continent), err)) !=
                0 ||
            (rc = plan_csv_number(csv, lat, -90, 90, &r->latitude, err)) != 0 ||
            (rc = plan_csv_number(csv, lon, -180, 180, &r->longitude, err)) != 0) {
            return rc;
        }
        int first = plan_region_find(data, text);
        bool taken = first >= 0;
        if (taken && strcmp(data->regions[first].provider, r->provider) == 0) {
            return plan_csv_refuse(csv, id, err, MRD_EINVAL, "a second region \"%.40s\" of %s",
                                   text, r->provider);
        }
        if (snprintf(r->id, sizeof(r->id), "%s%s%s", taken ? r->provider : "", taken ? "/" : "",
                     text) >= (int)sizeof(r->id)) {
            return plan_csv_refuse(csv, 0, err, MRD_ETOOBIG, "region is too long");
        }
        data->region_count++;
    }
    return rc;
}

/** The region that a matrix calls @name: by id among those of @provider, or by its title. */
static int matrix_region(const struct plan_data *data, const char *provider, const char *name)
{
    for (int i = 0; i < data->region_count; i++) {
        const struct plan_region *r = &data->regions[i];
        const char *slash = strchr(r->id, '/');
        const char *id = slash != NULL ? slash + 1 : r->id;
        if ((provider == NULL || strcmp(r->provider, provider) == 0) &&
            (strcmp(provider == NULL ? r->id : id, name) == 0 || strcmp(r->name, name) == 0)) {
            return i;
        }
    }
    return -1;
}

/** The row of region @r in matrix @which, made if need be; -1 when the matrix is full. */
static int matrix_row(struct plan_data *data, int which, int r)
{
    struct plan_matrix *m = &data->matrices[which];
    int *row = &data->regions[r].row[which];

    if (*row < 0 && m->count < PLAN_MATRIX_MAX) {
        *row = m->count++;
        m->region[*row] = r;
    }
    return *row;
}

/** One round trip: between whom is text that stands in two columns, or in a title. */
struct rtt_cell {
    const char *from, *to;
    size_t from_column, to_column, column;
};

static int put_rtt(struct plan_data *data, struct plan_csv *csv, int which, struct rtt_cell at,
                   struct mrd_err *err)
{
    static const char *const providers[PLAN_MATRICES] = {NULL, "aws", "gcp", "azure"};
    int a = matrix_region(data, providers[which], at.from);
    int b = matrix_region(data, providers[which], at.to);
    double rtt = 0;

    if (a < 0 || b < 0) {
        return plan_csv_refuse(csv, a < 0 ? at.from_column : at.to_column, err, MRD_ENOTFOUND,
                               "no region \"%.40s\"", a < 0 ? at.from : at.to);
    }
    int i = matrix_row(data, which, a), j = matrix_row(data, which, b);
    if (i < 0 || j < 0) {
        return plan_csv_refuse(csv, 0, err, MRD_EFULL, "more than %d regions", PLAN_MATRIX_MAX);
    }
    double *cell = &data->matrices[which].rtt_ms[i][j];
    int rc = plan_csv_number(csv, at.column, 0, 10000, &rtt, err);
    if (rc == 0 && i != j && !isnan(*cell)) {
        return plan_csv_refuse(csv, at.column, err, MRD_EINVAL,
                               "a second round trip from \"%.40s\" to \"%.40s\"", at.from,
                               at.to);
    }
    *cell = rc != 0 ? *cell : i == j ? 0 : rtt;
    const struct plan_region *ra = &data->regions[a], *rb = &data->regions[b];
    struct plan_source *source = &data->sources[which];
    double km = mrd_distance_km(ra->latitude, ra->longitude, rb->latitude, rb->longitude);
    if (rc == 0 && source->own && a != b && rtt < mrd_fibre_rtt_ms(km)) {
        source->too_short_line = source->too_short++ == 0 ? csv->line : source->too_short_line;
    }
    return rc;
}

/** src, dst, ..., rtt_avg_ms: one row per pair. */
static int read_pairs(struct plan_data *data, struct plan_csv *csv, int which,
                      struct mrd_err *err)
{
    size_t src, dst, avg;
    int rc;

    if ((rc = plan_csv_column(csv, "src", &src, err)) != 0 ||
        (rc = plan_csv_column(csv, "dst", &dst, err)) != 0 ||
        (rc = plan_csv_column(csv, "rtt_avg_ms", &avg, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        rc = put_rtt(data, csv, which,
                     (struct rtt_cell){csv->field[src], csv->field[dst], src, dst, avg}, err);
        if (rc != 0) {
            return rc;
        }
    }
    return rc;
}

/** One row and one column per region; the diagonal is empty. */
static int read_square(struct plan_data *data, struct plan_csv *csv, int which,
                       struct mrd_err *err)
{
    int rc;
    while ((rc = plan_csv_next(csv, err)) == 1) {
        for (size_t c = 1; c < csv->columns; c++) {
            if (csv->field[c][0] == '\0') {
                continue;
            }
            rc = put_rtt(data, csv, which,
                         (struct rtt_cell){csv->field[0], csv->title[c], 0, c, c}, err);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return rc;
}

/* ---- countries ---- */

int plan_country_find(const struct plan_data *data, const char *iso2)
{
    for (int i = 0; i < data->country_count; i++) {
        if (strcmp(data->countries[i].iso2, iso2) == 0) {
            return i;
        }
    }
    return -1;
}

static int read_countries(struct plan_data *data, struct plan_csv *csv, int which,
                          struct mrd_err *err)
{
    size_t iso2, iso3, num, name, population, lat, lon;
    int rc;
    (void)which;

    if ((rc = plan_csv_column(csv, "iso2", &iso2, err)) != 0 ||
        (rc = plan_csv_column(csv, "iso3", &iso3, err)) != 0 ||
        (rc = plan_csv_column(csv, "iso_num", &num, err)) != 0 ||
        (rc = plan_csv_column(csv, "name", &name, err)) != 0 ||
        (rc = plan_csv_column(csv, "population", &population, err)) != 0 ||
        (rc = plan_csv_column(csv, "popcentre_lat", &lat, err)) != 0 ||
        (rc = plan_csv_column(csv, "popcentre_lon", &lon, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        struct plan_country *c = &data->countries[data->country_count];
        double number = 0;
        if (data->country_count == PLAN_COUNTRIES_MAX) {
            return plan_csv_refuse(csv, 0, err, MRD_EFULL, "more than %d countries",
                                   PLAN_COUNTRIES_MAX);
        }
        memset(c, 0, sizeof(*c));
        if ((rc = plan_csv_text(csv, iso2, c->iso2, sizeof(c->iso2), err)) != 0 ||
            (rc = plan_csv_text(csv, iso3, c->iso3, sizeof(c->iso3), err)) != 0 ||
            (rc = plan_csv_text(csv, name, c->name, sizeof(c->name), err)) != 0 ||
            (csv->field[num][0] != '\0' &&
             (rc = plan_csv_number(csv, num, 0, 999, &number, err)) != 0) ||
            (rc = plan_csv_number(csv, population, 0, 1e10, &c->population, err)) != 0 ||
            (rc = plan_csv_number(csv, lat, -90, 90, &c->centre.latitude, err)) != 0 ||
            (rc = plan_csv_number(csv, lon, -180, 180, &c->centre.longitude, err)) != 0) {
            return rc;
        }
        if (plan_country_find(data, c->iso2) >= 0) {
            return plan_csv_refuse(csv, iso2, err, MRD_EINVAL, "a second country \"%s\"",
                                   c->iso2);
        }
        c->iso_num = (int)number;
        c->centre.weight = 1;
        data->country_count++;
    }
    return rc;
}

static int read_metros(struct plan_data *data, struct plan_csv *csv, int which,
                       struct mrd_err *err)
{
    size_t iso2, population, lat, lon;
    int rc;
    (void)which;

    if ((rc = plan_csv_column(csv, "iso2", &iso2, err)) != 0 ||
        (rc = plan_csv_column(csv, "population", &population, err)) != 0 ||
        (rc = plan_csv_column(csv, "lat", &lat, err)) != 0 ||
        (rc = plan_csv_column(csv, "lon", &lon, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        int c = plan_country_find(data, csv->field[iso2]);
        struct plan_place p = {0};
        if (c < 0) {
            continue; /* an operator's countries.csv may have fewer */
        }
        if (data->countries[c].metro_count == PLAN_METROS_MAX) {
            return plan_csv_refuse(csv, 0, err, MRD_EFULL, "more than %d cities in %s",
                                   PLAN_METROS_MAX, csv->field[iso2]);
        }
        if ((rc = plan_csv_number(csv, population, 0, 1e10, &p.weight, err)) != 0 ||
            (rc = plan_csv_number(csv, lat, -90, 90, &p.latitude, err)) != 0 ||
            (rc = plan_csv_number(csv, lon, -180, 180, &p.longitude, err)) != 0) {
            return rc;
        }
        data->countries[c].metros[data->countries[c].metro_count++] = p;
    }
    return rc;
}

/** Weights of a country's cities sum to 1; one without any has its centre. */
static void settle_metros(struct plan_data *data)
{
    for (int i = 0; i < data->country_count; i++) {
        struct plan_country *c = &data->countries[i];
        double sum = 0;
        for (int k = 0; k < c->metro_count; k++) {
            sum += c->metros[k].weight;
        }
        if (!(sum > 0)) {
            c->metro_count = 1;
            c->metros[0] = c->centre;
            continue;
        }
        for (int k = 0; k < c->metro_count; k++) {
            c->metros[k].weight /= sum;
        }
    }
}

/** Pairs of a matrix that nobody measured, in neither direction. */
static void count_missing(struct plan_data *data)
{
    for (int which = 0; which < PLAN_MATRICES; which++) {
        const struct plan_matrix *m = &data->matrices[which];
        for (int i = 0; i < m->count; i++) {
            for (int j = 0; j < i; j++) {
                data->sources[which].missing +=
                    isnan(m->rtt_ms[i][j]) && isnan(m->rtt_ms[j][i]);
            }
        }
    }
}

static struct plan_bloc *bloc_make(struct plan_data *data, const char *name)
{
    for (int i = 0; i < data->bloc_count; i++) {
        if (strcmp(data->blocs[i].name, name) == 0) {
            return &data->blocs[i];
        }
    }
    if (data->bloc_count == PLAN_BLOCS_MAX) {
        return NULL;
    }
    struct plan_bloc *b = &data->blocs[data->bloc_count++];
    snprintf(b->name, sizeof(b->name), "%s", name);
    snprintf(b->members, sizeof(b->members), " ");
    return b;
}

static int read_blocs(struct plan_data *data, struct plan_csv *csv, int which,
                      struct mrd_err *err)
{
    size_t name, members;
    int rc;
    (void)which;

    if ((rc = plan_csv_column(csv, "bloc", &name, err)) != 0 ||
        (rc = plan_csv_column(csv, "iso2", &members, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        char text[24];
        rc = plan_csv_text(csv, name, text, sizeof(text), err);
        struct plan_bloc *b = rc == 0 ? bloc_make(data, text) : NULL;
        size_t used = b != NULL ? strlen(b->members) : 0;
        if (rc != 0) {
            return rc;
        }
        if (b == NULL || snprintf(b->members + used, sizeof(b->members) - used, "%s ",
                                  csv->field[members]) >= (int)(sizeof(b->members) - used)) {
            return plan_csv_refuse(csv, 0, err, MRD_EFULL, "too many blocs or members");
        }
    }
    return rc;
}

bool plan_in_bloc(const struct plan_data *data, const char *iso2, const char *set)
{
    char word[8];
    if (strcmp(iso2, set) == 0) {
        return true;
    }
    snprintf(word, sizeof(word), " %.4s ", iso2);
    for (int i = 0; i < data->bloc_count; i++) {
        if (strcmp(data->blocs[i].name, set) == 0) {
            return strstr(data->blocs[i].members, word) != NULL;
        }
    }
    return false;
}

bool plan_bloc_known(const struct plan_data *data, const char *set)
{
    for (int i = 0; i < data->bloc_count; i++) {
        if (strcmp(data->blocs[i].name, set) == 0) {
            return true;
        }
    }
    return plan_country_find(data, set) >= 0;
}

/* ---- prices ---- */

static int read_prices(struct plan_data *data, struct plan_csv *csv, int which,
                       struct mrd_err *err)
{
    size_t src, dst, cost;
    int rc;
    (void)which;

    if ((rc = plan_csv_column(csv, "src", &src, err)) != 0 ||
        (rc = plan_csv_column(csv, "dst", &dst, err)) != 0 ||
        (rc = plan_csv_column(csv, "cost", &cost, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        double usd = 0;
        bool internet = strcmp(csv->field[dst], "internet") == 0;
        int a = plan_region_find(data, csv->field[src]);
        int b = internet ? -1 : plan_region_find(data, csv->field[dst]);
        if ((rc = plan_csv_number(csv, cost, 0, GB_PRICE_MAX, &usd, err)) != 0) {
            return rc;
        }
        if (a < 0 || (b < 0 && !internet)) {
            continue; /* regions we cannot place, such as those of governments */
        }
        if (data->price_count == PLAN_PRICES_MAX) {
            return plan_csv_refuse(csv, 0, err, MRD_EFULL, "more than %d prices",
                                   PLAN_PRICES_MAX);
        }
        data->prices[data->price_count++] = (struct plan_price){(int16_t)a, (int16_t)b, usd};
    }
    return rc;
}

static int read_rules(struct plan_data *data, struct plan_csv *csv, int which,
                      struct mrd_err *err)
{
    size_t provider, from, to, usd;
    int rc;
    (void)which;

    if ((rc = plan_csv_column(csv, "provider", &provider, err)) != 0 ||
        (rc = plan_csv_column(csv, "from", &from, err)) != 0 ||
        (rc = plan_csv_column(csv, "to", &to, err)) != 0 ||
        (rc = plan_csv_column(csv, "usd_per_gb", &usd, err)) != 0) {
        return rc;
    }
    while ((rc = plan_csv_next(csv, err)) == 1) {
        struct plan_rule *r = &data->rules[data->rule_count];
        if (data->rule_count == PLAN_RULES_MAX) {
            return plan_csv_refuse(csv, 0, err, MRD_EFULL, "more than %d rules",
                                   PLAN_RULES_MAX);
        }
        if ((rc = plan_csv_text(csv, provider, r->provider, sizeof(r->provider), err)) != 0 ||
            (rc = plan_csv_text(csv, from, r->from, sizeof(r->from), err)) != 0 ||
            (rc = plan_csv_text(csv, to, r->to, sizeof(r->to), err)) != 0 ||
            (rc = plan_csv_number(csv, usd, 0, GB_PRICE_MAX, &r->usd_per_gb, err)) != 0) {
            return rc;
        }
        data->rule_count++;
    }
    return rc;
}

/** A rule's side speaks of continents by the names that its provider uses for them. */
static bool side_matches(const char *side, const struct plan_region *r)
{
    static const struct {
        const char *continent, *word;
    } words[] = {
        {"north-america", "north america"},
        {"north-america", "americas"},
        {"south-america", "south america"},
        {"south-america", "americas"},
        {"europe", "europe"},
        {"asia", "asia"},
        {"middle-east", "asia"},
        {"africa", "mea"},
        {"middle-east", "mea"},
        {"oceania", "oceania"},
        {"oceania", "australia"},
    };
    if (strcmp(side, "any") == 0) {
        return true;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i].continent, r->continent) == 0 &&
            strstr(side, words[i].word) != NULL) {
            return true;
        }
    }
    return strstr(side, "jakarta") != NULL && strcmp(r->country, "ID") == 0;
}

static double rule_price(const struct plan_data *data, const struct plan_region *a,
                         const struct plan_region *b)
{
    bool same = b != NULL && strcmp(a->continent, b->continent) == 0;
    double usd = NAN;

    for (int i = 0; i < data->rule_count; i++) {
        const struct plan_rule *r = &data->rules[i];
        bool internet = strstr(r->to, "internet") != NULL;
        if (strcmp(r->provider, a->provider) != 0 || !side_matches(r->from, a) ||
            internet != (b == NULL)) {
            continue;
        }
        bool fits = internet ||
                    strcmp(r->to, same ? "same continent" : "other continent") == 0 ||
                    (strstr(r->to, "continent") == NULL && side_matches(r->to, b));
        if (fits && !(r->usd_per_gb <= usd)) {
            usd = r->usd_per_gb; /* of several that fit, the dearest: never too cheap */
        }
        if (fits && same && strcmp(r->from, r->to) == 0) {
            return r->usd_per_gb;
        }
    }
    return usd;
}

double plan_usd_per_gb(struct plan_data *data, int a, int b, enum plan_source_id *ret_source)
{
    for (int i = 0; i < data->price_count; i++) {
        const struct plan_price *p = &data->prices[i];
        if (p->from == a && p->to == b) {
            *ret_source = PLAN_SOURCE_PRICES_AWS;
            data->sources[*ret_source].used = true;
            return p->usd_per_gb;
        }
    }
    const struct plan_region *ra = &data->regions[a], *rb = b >= 0 ? &data->regions[b] : NULL;
    if (rb != NULL && strcmp(ra->provider, rb->provider) != 0) {
        return plan_usd_per_gb(data, a, -1, ret_source); /* between clouds: by the internet */
    }
    double usd = rule_price(data, ra, rb);
    *ret_source = isnan(usd) ? PLAN_SOURCES : PLAN_SOURCE_PRICES_RULES;
    if (!isnan(usd)) {
        data->sources[*ret_source].used = true;
        return usd;
    }
    return rb == NULL ? 0.09 : 0.02; /* the commonest list prices; the caller says so */
}

/* ---- round trips ---- */

static double measured(struct plan_data *data, int which, int a, int b)
{
    int i = data->regions[a].row[which], j = data->regions[b].row[which];
    const struct plan_matrix *m = &data->matrices[which];

    if (i < 0 || j < 0) {
        return (double)NAN;
    }
    /* It is there and back: where one direction was not measured, the other has it. */
    return isnan(m->rtt_ms[i][j]) ? m->rtt_ms[j][i] : m->rtt_ms[i][j];
}

/** The three regions of matrix @which nearest to a place; how many there are. */
static int nearest(const struct plan_data *data, int which, double lat, double lon,
                   int ret[MRD_NEAREST_REGIONS], double ret_km[MRD_NEAREST_REGIONS])
{
    const struct plan_matrix *m = &data->matrices[which];
    int n = 0;

    for (int i = 0; i < m->count; i++) {
        const struct plan_region *r = &data->regions[m->region[i]];
        double km = mrd_distance_km(lat, lon, r->latitude, r->longitude);
        int at = n < MRD_NEAREST_REGIONS ? n++ : n;
        for (; at > 0 && ret_km[at - 1] > km; at--) {
            if (at < MRD_NEAREST_REGIONS) {
                ret_km[at] = ret_km[at - 1];
                ret[at] = ret[at - 1];
            }
        }
        if (at < MRD_NEAREST_REGIONS) {
            ret_km[at] = km;
            ret[at] = m->region[i];
        }
    }
    return n;
}

/** To region @r by way of the nearest measured regions; NAN when there is none. */
static double through(struct plan_data *data, int which, const int near[MRD_NEAREST_REGIONS],
                      const double km[MRD_NEAREST_REGIONS], int n, int r)
{
    double best = NAN;
    for (int i = 0; i < n; i++) {
        double rtt = near[i] == r ? 0 : measured(data, which, near[i], r);
        double sum = MRD_MS_PER_KM * km[i] + rtt;
        best = sum >= best ? best : isnan(sum) ? best : sum;
    }
    return best;
}

static double via_nearest(struct plan_data *data, int which, double lat, double lon, int r)
{
    int near[MRD_NEAREST_REGIONS];
    double km[MRD_NEAREST_REGIONS];
    int n = nearest(data, which, lat, lon, near, km);
    return through(data, which, near, km, n, r);
}

double plan_rtt_ms(struct plan_data *data, int a, int b, int *ret_source)
{
    const struct plan_region *ra = &data->regions[a], *rb = &data->regions[b];
    int ignored = 0;

    ret_source = ret_source != NULL ? ret_source : &ignored;
    for (int m = 0; m < PLAN_MATRICES; m++) {
        double rtt = a == b ? 0 : measured(data, m, a, b);
        if (!isnan(rtt)) {
            *ret_source = m;
            data->sources[m].used |= a != b;
            return rtt;
        }
    }
    /* No matrix has both: to the last mile's end of the other by way of the AWS matrix. */
    int near[MRD_NEAREST_REGIONS];
    double km[MRD_NEAREST_REGIONS], best = NAN;
    int n = nearest(data, PLAN_RTT_AWS, rb->latitude, rb->longitude, near, km);
    for (int i = 0; i < n; i++) {
        double sum = MRD_MS_PER_KM * km[i] +
                     via_nearest(data, PLAN_RTT_AWS, ra->latitude, ra->longitude, near[i]);
        best = sum >= best ? best : sum;
    }
    *ret_source = -1;
    data->sources[PLAN_RTT_AWS].used = true;
    double straight = MRD_MS_PER_KM *
                      mrd_distance_km(ra->latitude, ra->longitude, rb->latitude, rb->longitude);
    return isnan(best) || straight > best ? straight : best;
}

void plan_user_rtts(struct plan_data *data, const struct plan_place *place, const int *regions,
                    unsigned count, double *ret_ms)
{
    int near[PLAN_MATRICES][MRD_NEAREST_REGIONS], n[PLAN_MATRICES];
    double km[PLAN_MATRICES][MRD_NEAREST_REGIONS];

    for (int m = 0; m < PLAN_MATRICES; m++) {
        n[m] = -1; /* looked up when a region of that matrix is asked for */
    }
    for (unsigned i = 0; i < count; i++) {
        const struct plan_region *to = &data->regions[regions[i]];
        double rtt = NAN;
        for (int m = 0; m < PLAN_MATRICES && isnan(rtt); m++) {
            if (to->row[m] < 0) {
                continue;
            }
            if (n[m] < 0) {
                n[m] = nearest(data, m, place->latitude, place->longitude, near[m], km[m]);
            }
            rtt = through(data, m, near[m], km[m], n[m], regions[i]);
            data->sources[m].used |= !isnan(rtt);
        }
        if (isnan(rtt)) {
            rtt = MRD_MS_PER_KM * mrd_distance_km(place->latitude, place->longitude,
                                                  to->latitude, to->longitude);
        }
        ret_ms[i] = MRD_LAST_MILE_MS + rtt;
    }
}

double plan_user_rtt_ms(struct plan_data *data, const struct plan_place *place, int r)
{
    double ms;
    plan_user_rtts(data, place, &r, 1, &ms);
    return ms;
}

/* ---- all of it ---- */

int plan_data_new(const char *dir, struct plan_data **ret, struct mrd_err *err)
{
    struct plan_data *data = NULL;
    struct stat st;
    int rc;

    if (dir != NULL && (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))) {
        return mrd_err_set(err, MRD_EIO, "could not read \"%s\": it is no directory", dir);
    }
    data = calloc(1, sizeof(*data));
    if (data == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    memcpy(data->sources, sources, sizeof(sources));
    for (int m = 0; m < PLAN_MATRICES; m++) {
        for (int i = 0; i < PLAN_MATRIX_MAX * PLAN_MATRIX_MAX; i++) {
            (&data->matrices[m].rtt_ms[0][0])[i] = NAN;
        }
    }
    if ((rc = load(data, dir, PLAN_SOURCE_REGIONS, read_regions, err)) != 0 ||
        (rc = load(data, dir, PLAN_RTT_OWN, read_pairs, err)) != 0 ||
        (rc = load(data, dir, PLAN_RTT_AWS, read_pairs, err)) != 0 ||
        (rc = load(data, dir, PLAN_RTT_GCP, read_pairs, err)) != 0 ||
        (rc = load(data, dir, PLAN_RTT_AZURE, read_square, err)) != 0 ||
        (rc = load(data, dir, PLAN_SOURCE_COUNTRIES, read_countries, err)) != 0 ||
        (rc = load(data, dir, PLAN_SOURCE_METROS, read_metros, err)) != 0 ||
        (rc = load(data, dir, PLAN_SOURCE_BLOCS, read_blocs, err)) != 0 ||
        (rc = load(data, dir, PLAN_SOURCE_PRICES_AWS, read_prices, err)) != 0 ||
        (rc = load(data, dir, PLAN_SOURCE_PRICES_RULES, read_rules, err)) != 0) {
        plan_data_free(data);
        return rc;
    }
    settle_metros(data);
    count_missing(data);
    *ret = data;
    return 0;
}

void plan_data_free(struct plan_data *data)
{
    free(data);
}
