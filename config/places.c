/*
 * Where regions are: the table of known names (made from data/regions.csv), the codes of
 * countries (from data/countries.csv), and how far apart two places are for a signal in fibre.
 */
#include <conf.h>

#include <math.h>
#include <string.h>

static const struct place {
    const char *name, *country, *continent;
    double latitude, longitude;
} places[] = {
#include "regions_table.h"
};

#include "countries_table.h"

static const char *const continents[] = {"AF", "AN", "AS", "EU", "NA", "OC", "SA", NULL};

static bool listed(const char *const *list, const char *text, size_t len)
{
    while (*list != NULL && (strlen(*list) != len || strncmp(*list, text, len) != 0)) {
        list++;
    }
    return *list != NULL;
}

bool conf_valid_country(const char *text)
{
    return listed(countries, text, strlen(text));
}

bool conf_valid_continent(const char *text)
{
    return listed(continents, text, strlen(text));
}

/* The second half of an ISO 3166-2 code has one to three letters or digits. */
bool conf_valid_jurisdiction(const char *text)
{
    static const char part[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t len = strcspn(text, "-"), rest = text[len] == '-' ? strlen(text + len + 1) : 0;

    if (text[len] == '\0' && listed(blocs, text, len)) {
        return true;
    }
    return listed(countries, text, len) &&
           (text[len] == '\0' ||
            (rest >= 1 && rest <= 3 && strspn(text + len + 1, part) == rest));
}

static const struct place *find(const char *name)
{
    size_t low = 0, high = sizeof(places) / sizeof(places[0]);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(name, places[mid].name);
        if (order == 0) {
            return &places[mid];
        }
        *(order < 0 ? &high : &low) = order < 0 ? mid : mid + 1;
    }
    return NULL;
}

void conf_place(struct mrd_conf_region *r)
{
    const struct place *p = find(r->name);
    /* Somebody who names the country means a place of that name elsewhere. */
    if (p == NULL || (r->country[0] != '\0' && strcmp(r->country, p->country) != 0)) {
        return;
    }
    memcpy(r->country, p->country, strlen(p->country) + 1);
    if (r->continent[0] == '\0') {
        memcpy(r->continent, p->continent, strlen(p->continent) + 1);
    }
    if (isnan(r->latitude)) {
        r->latitude = p->latitude;
        r->longitude = p->longitude;
    }
}

/** Great circle in kilometres (haversine). */
static double distance_km(const struct mrd_conf_region *a, const struct mrd_conf_region *b)
{
    const double radian = acos(-1.0) / 180.0;
    double dlat = (b->latitude - a->latitude) * radian;
    double dlon = (b->longitude - a->longitude) * radian;
    double h = pow(sin(dlat / 2), 2) +
               cos(a->latitude * radian) * cos(b->latitude * radian) * pow(sin(dlon / 2), 2);
    return 2 * 6371.0 * asin(sqrt(fmin(1.0, h)));
}

uint32_t conf_rtt_ms(const struct mrd_conf_region *a, const struct mrd_conf_region *b)
{
    if (isnan(a->latitude) || isnan(b->latitude)) {
        return 0;
    }
    /* Light in fibre covers 100 km there and back in 1 ms; cables are about half as long again
     * as the great circle (the AWS pairs of data/ lie between 1.2 and 2). */
    return (uint32_t)(distance_km(a, b) / 100.0 * 1.5);
}
