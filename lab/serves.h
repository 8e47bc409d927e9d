/*
 * Does a region serve? Asked as a user would: the snapshot for the lease and the homes, SQL,
 * HTTP and DNS through the doors.
 */
#pragma once

#include <jansson.h>
#include <libpq-fe.h>

/**
 * @region  its entry in what `lab status --json` prints
 * @zone    the deployment's DNS zone, may be empty
 *
 * Returns NULL when it serves, else what is missing, as a sentence that lives for ever. Takes
 * some seconds at most.
 */
const char *lab_serves(json_t *region, const char *zone);

/** A string of a region's entry, empty when it is not there. */
const char *lab_text_of(json_t *region, const char *key);
/** A port of one of its doors ("pg", "dns"). */
int lab_port_of(json_t *region, const char *door, const char *key);

/** Connect to its PostgreSQL; as PQconnectdb, never NULL but perhaps not connected. */
PGconn *lab_sql_open(json_t *region);
/** The first value of the answer as a number, or -1 when there is none. */
long lab_sql_number(PGconn *c, const char *sql);
