/*
 * The facts that the planner reckons with: regions, measured round trips, countries and their
 * cities, transfer prices. They are built in, from data/; a file of the same name in the
 * operator's directory takes the place of a built-in one, and `rtt.csv` there is asked first.
 * Each file is a row in the table of sources with its date and licence, and knows whether
 * anything was read from it, so that a report can say what it rests on and how old that is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrd/err.h>

#define PLAN_NAME_MAX 40
#define PLAN_REGIONS_DATA_MAX 320
#define PLAN_MATRIX_MAX 80 /* regions of one matrix */
#define PLAN_METROS_MAX 12 /* of one country */

enum plan_source_id {
    PLAN_RTT_OWN,
    PLAN_RTT_AWS,
    PLAN_RTT_GCP,
    PLAN_RTT_AZURE,
    PLAN_SOURCE_REGIONS,
    PLAN_SOURCE_COUNTRIES,
    PLAN_SOURCE_METROS,
    PLAN_SOURCE_BLOCS,
    PLAN_SOURCE_PRICES_AWS,
    PLAN_SOURCE_PRICES_RULES,
    PLAN_SOURCES,
};
#define PLAN_MATRICES 4 /* the first of the sources */

struct plan_source {
    const char *file;
    const char *what, *date, *licence, *origin; /* of the built-in file */
    bool own;                                   /* the operator's stood in for it */
    bool used;
    char own_date[12]; /* when that was last changed, UTC */
    int missing;       /* of a matrix: pairs of its regions without a round trip */
    /* Of an operator's matrix: round trips shorter than light takes in fibre, and where the
     * first of them stands. */
    int too_short, too_short_line;
};

struct plan_region {
    char provider[16];
    char id[PLAN_NAME_MAX]; /* unique among those a user can name: "eu-west-1" */
    char name[64];
    char country[3];
    char continent[16];
    double latitude, longitude;
    int row[PLAN_MATRICES]; /* in each matrix, or -1 */
};

struct plan_place {
    double latitude, longitude, weight;
};

struct plan_country {
    char iso2[3], iso3[4];
    int iso_num;
    char name[64];
    double population;
    struct plan_place centre; /* of the population */
    int metro_count;          /* at least 1: a country without cities here has its centre */
    struct plan_place metros[PLAN_METROS_MAX];
};

struct plan_matrix {
    int count;
    int region[PLAN_MATRIX_MAX];                     /* index into regions */
    double rtt_ms[PLAN_MATRIX_MAX][PLAN_MATRIX_MAX]; /* NAN: not measured */
};

#define PLAN_COUNTRIES_MAX 256
#define PLAN_BLOCS_MAX 32

struct plan_bloc {
    char name[24];
    char members[512]; /* ISO codes with a space on both sides of each */
};

struct plan_price {
    int16_t from, to; /* regions; to -1: the internet */
    double usd_per_gb;
};
#define PLAN_PRICES_MAX 1024

struct plan_rule {
    char provider[16], from[64], to[64];
    double usd_per_gb;
};
#define PLAN_RULES_MAX 64

struct plan_data {
    struct plan_source sources[PLAN_SOURCES];
    int region_count;
    struct plan_region regions[PLAN_REGIONS_DATA_MAX];
    struct plan_matrix matrices[PLAN_MATRICES];
    int country_count;
    struct plan_country countries[PLAN_COUNTRIES_MAX];
    int bloc_count;
    struct plan_bloc blocs[PLAN_BLOCS_MAX];
    int price_count;
    struct plan_price prices[PLAN_PRICES_MAX];
    int rule_count;
    struct plan_rule rules[PLAN_RULES_MAX];
};

/**
 * Read the built-in files, or those of @dir (NULL: none) that stand in for them. Of a file with
 * mistakes @err has all of them, a line each, as far as there is room.
 */
int plan_data_new(const char *dir, struct plan_data **ret, struct mrd_err *err);
void plan_data_free(struct plan_data *data);

/** Index of the region a user calls @name, or -1. */
int plan_region_find(const struct plan_data *data, const char *name);
/** One more region, at a place; its index, or -1 when the table is full. */
int plan_region_add(struct plan_data *data, const char *name, const char *country,
                    double latitude, double longitude);
/** Index of the country with that ISO 3166 code of two letters, or -1. */
int plan_country_find(const struct plan_data *data, const char *iso2);
/** Is @iso2 @set itself, or a member of the bloc @set? */
bool plan_in_bloc(const struct plan_data *data, const char *iso2, const char *set);
/** Is @set the code of a known country or the name of a bloc? */
bool plan_bloc_known(const struct plan_data *data, const char *set);

/**
 * Round trip from region @a to region @b in milliseconds: measured where a matrix has both
 * (*ret_source is its index; either direction stands for the other), else estimated by way of
 * the nearest regions that a matrix has
 * (*ret_source is -1). Marks the source as used.
 */
double plan_rtt_ms(struct plan_data *data, int a, int b, int *ret_source);

/** F22: round trip of a user at @place to region @r. */
double plan_user_rtt_ms(struct plan_data *data, const struct plan_place *place, int r);

/** The same to each of @count regions. */
void plan_user_rtts(struct plan_data *data, const struct plan_place *place, const int *regions,
                    unsigned count, double *ret_ms);

/** List price of a GB from region @a to region @b (-1: the internet), and why it is that. */
double plan_usd_per_gb(struct plan_data *data, int a, int b, enum plan_source_id *ret_source);

/** The bytes of a built-in file, or NULL. */
const unsigned char *plan_embedded(const char *name, size_t *ret_size);
