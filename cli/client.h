/*
 * Asking an agent: where its socket is, one request, its JSON answer (docs/internals/api.md).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <args.h>
#include <jansson.h>

#define CLI_HINT_MAX 300

/** Where to look; the fields are what the user gave, or NULL. */
struct cli_place {
    const char *agent;  /* socket */
    const char *region; /* one of the lab's */
    const char *dir;    /* the lab's directory */
    bool json; /* answers go out as they are; else nothing in them can hurt a terminal */
};

/* clang-format off */
#define CLI_PLACE_OPTIONS(p)                                                                   \
    {"--json", NULL, &(p)->json, "the answer as JSON"},                                        \
    {"--agent", "SOCKET", &(p)->agent, "ask this agent; else $MERIDIAN_AGENT, "                \
                                       "/run/meridian/agent.sock or a lab"},                   \
    {"--region", "NAME", &(p)->region, "ask the agent of this region of a lab"},               \
    {"--dir", "DIR", &(p)->dir, "the lab; else $MERIDIAN_LAB or /var/tmp/meridian-lab"}
/* clang-format on */

/**
 * Ask, in a lab the first region that answers and knows a leader of the store (another that is
 * passed over is named on stderr). Unless place->json, control characters in the
 * answer's strings are replaced; "before" and "after", which hold data, stay as they are.
 *
 * @body  borrowed; NULL: GET, else POST
 * @ret   out: the answer, an object, owned by the caller; NULL on failure
 *
 * Returns 0, or 1 after a message about what to do next.
 */
int cli_ask(const struct cli_place *place, const char *path, json_t *body, json_t **ret);

/** As cli_ask, but silent: for polling. */
int cli_try(const struct cli_place *place, const char *path, json_t **ret);

/**
 * The snapshot file to read: @given, else /run/meridian/snapshot, else the lab's. Returns
 * malloc'd text, or NULL after a message.
 */
char *cli_snapshot_path(const struct cli_place *place, const char *given);

/** Does the lab at hand know region @name? */
bool cli_lab_has(const struct cli_place *place, const char *name);

/** Where the PostgreSQL of the lab's region @name is reached from here; false when not known.
 */
bool cli_lab_dsn(const struct cli_place *place, const char *name, char *out, size_t cap);

/* ---- fields of answers; wrong or missing ones give the neutral value ---- */

const char *cli_text(const json_t *object, const char *key);   /* "" */
long long cli_int(const json_t *object, const char *key);      /* 0 */
bool cli_true(const json_t *object, const char *key);          /* false */
bool cli_known(const json_t *object, const char *key);         /* there and not null */
const json_t *cli_list(const json_t *object, const char *key); /* an empty list */

/** The entry of list @key whose "name" is @name, or NULL. */
const json_t *cli_named(const json_t *object, const char *key, const char *name);

/** The hint about a @name that list @key has not: what was meant, and @where. Returns @out. */
char *cli_hint(const json_t *object, const char *key, const char *name, const char *where,
               char out[CLI_HINT_MAX]);

/** Print as JSON and free. Returns the exit status. */
int cli_print_json(json_t *answer, bool compact);
