/*
 * Do the regions hold the same rows? Compared table by table and partition by partition, each
 * replica with the partition's present home, while both may be written.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <libpq-fe.h>

/**
 * One region's PostgreSQL. The caller fills name and dsn, or leaves dsn empty and says in error
 * why it is not asked; cli_site_close frees the rest.
 */
struct cli_site {
    char name[128];
    char dsn[1024];
    PGconn *conn;
    char error[256];  /* why the last question had no answer */
    uint64_t left_ms; /* how long it may still be waited for; cli_compare's */
};

void cli_site_close(struct cli_site *site);

/**
 * Compare one class.
 *
 * @class       its entry in /v1/classes
 * @sites       regions that can be asked; those of the class that are not among them are named
 *              as not compared
 * @timeout_ms  how long each replica may take to catch up and its differences to go away
 *
 * Returns
 *   {"class", "equal", "tables": [{"table", "partition", "home", "rows", "digest", "why",
 *     "regions": [{"region", "state": "equal|differs|unknown", "why", "rows", "digest",
 *                  "differing", "more", "keys": [{"key", "what": "missing|extra|differs"}]}]}]}
 * owned by the caller. `equal` is true when every pair was seen equal; at most 100 keys of a
 * pair are listed, `more` when there may be others that were not looked at.
 */
json_t *cli_compare(const json_t *class, struct cli_site *sites, unsigned count,
                    unsigned timeout_ms);

/** The rows of a query by @end_ms of cli_mono_ms, or NULL with site->error; to be cleared. */
PGresult *cli_site_ask(struct cli_site *site, uint64_t end_ms, const char *sql, int count,
                       const char *const params[]);
uint64_t cli_mono_ms(void);

/** The one of that name, or NULL. */
struct cli_site *cli_site_find(struct cli_site *sites, unsigned count, const char *name);

/** What became of the replicas that differed, and of tables without a home. */
struct cli_repairs {
    unsigned done, failed, homeless;
};

struct cli_repair_wish {
    unsigned timeout_ms; /* for each copy */
    bool force;          /* also while no other replica could take over */
};

/**
 * Copy again from its home, table by table and region by region, what @comparison found to
 * differ, and wait until it is there; messages about what could not be done. Ends with the
 * first copy that is not whole in time. (repair.c)
 */
struct cli_repairs cli_repair(const json_t *comparison, struct cli_site *sites, unsigned count,
                              const struct cli_repair_wish *wish);

/** Print a comparison: a table, and the keys that differ. */
void cli_print_comparison(const json_t *comparison);
