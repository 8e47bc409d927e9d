/*
 * One request to an agent over its unix socket.
 *
 * The agent is looked for where it would be in production, and then in a lab, so that the same
 * commands work in both without options. In a lab any region will do, since every agent answers
 * for the whole deployment. One that was killed is passed over, and so is one that is cut off
 * from the leader of the store, as long as what it was asked was certainly not done. A host
 * that has an agent of its own is never answered by a lab instead.
 */
#include <client.h>
#include <table.h>

#include <curl/curl.h>
#include <errno.h>
#include <load.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUN_SOCKET "/run/meridian/agent.sock"
#define RUN_SNAPSHOT "/run/meridian/snapshot"
#define LAB_DIR "/var/tmp/meridian-lab"
#define HINT_WORDS 64
#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

/* ---- the lab ---- */

static const char *lab_dir(const struct cli_place *place)
{
    const char *env = getenv("MERIDIAN_LAB");
    return place->dir != NULL ? place->dir : env != NULL && env[0] != '\0' ? env : LAB_DIR;
}

static json_t *load_lab(const struct cli_place *place)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/lab.json", lab_dir(place));
    return json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
}

bool cli_lab_has(const struct cli_place *place, const char *name)
{
    const char *env = getenv("MERIDIAN_AGENT");
    bool elsewhere = place->agent != NULL || place->region != NULL ||
                     (env != NULL && env[0] != '\0') ||
                     (place->dir == NULL && access(RUN_SOCKET, F_OK) == 0);
    json_t *lab = elsewhere ? NULL : load_lab(place);
    bool has = lab != NULL && cli_named(lab, "regions", name) != NULL;
    json_decref(lab);
    return has;
}

bool cli_lab_dsn(const struct cli_place *place, const char *name, char *out, size_t cap)
{
    json_t *lab = place->agent == NULL ? load_lab(place) : NULL;
    const char *dsn = cli_text(json_object_get(cli_named(lab, "regions", name), "pg"), "dsn");
    bool known = dsn[0] != '\0' && (size_t)snprintf(out, cap, "%s", dsn) < cap;

    json_decref(lab);
    return known;
}

/* ---- fields ---- */

const char *cli_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

long long cli_int(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_real(v) ? (long long)json_real_value(v) : json_integer_value(v);
}

bool cli_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool cli_known(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v != NULL && !json_is_null(v);
}

const json_t *cli_list(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_array(v) ? v : NULL; /* iterating over NULL visits nothing */
}

const json_t *cli_named(const json_t *object, const char *key, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(cli_list(object, key), i, entry)
    {
        if (strcmp(cli_text(entry, "name"), name) == 0) {
            return entry;
        }
    }
    return NULL;
}

char *cli_hint(const json_t *object, const char *key, const char *name, const char *where,
               char out[CLI_HINT_MAX])
{
    const char *words[HINT_WORDS + 1];
    size_t i, n = 0;
    const json_t *entry;
    json_array_foreach(cli_list(object, key), i, entry)
    {
        if (n < HINT_WORDS) {
            words[n++] = cli_text(entry, "name");
        }
    }
    words[n] = NULL;
    return mrd_config_hint(name, words, where, out, CLI_HINT_MAX);
}

int cli_print_json(json_t *answer, bool compact)
{
    /* Outside of ASCII there are control characters, too, which JSON does not escape. */
    size_t flags = (compact ? JSON_COMPACT : JSON_INDENT(2)) |
                   (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);
    int rc = json_dumpf(answer, stdout, flags);
    json_decref(answer);
    putchar('\n');
    return rc == 0 && fflush(stdout) == 0
               ? 0
               : cli_fail("Is there room where the output goes?",
                          "could not write the answer: %s", strerror(errno));
}

/** Replace control characters in every string of an answer, except in images of rows. */
static void disarm(json_t *v)
{
    size_t i;
    json_t *entry;
    const char *key;

    if (json_is_string(v)) {
        size_t cap = json_string_length(v) + 1;
        char *clean = malloc(cap);
        json_string_set(v, clean != NULL ? cli_clean(json_string_value(v), clean, cap) : "?");
        free(clean);
    }
    json_array_foreach(v, i, entry)
    {
        disarm(entry);
    }
    json_object_foreach(v, key, entry)
    {
        if (strcmp(key, "before") != 0 && strcmp(key, "after") != 0) {
            disarm(entry);
        }
    }
}

/* ---- one request ---- */

struct answer {
    char *data;
    size_t len;
};

static size_t collect(char *data, size_t size, size_t n, void *to)
{
    struct answer *a = to;
    size_t len = size * n;
    if (len > ANSWER_MAX - a->len) {
        return 0;
    }
    char *grown = realloc(a->data, a->len + len + 1);
    if (grown == NULL) {
        return 0;
    }
    a->data = grown;
    memcpy(a->data + a->len, data, len);
    a->len += len;
    return len;
}

#define RETRIES 12 /* 5 s in all */
#define RETRY_MS 400

/** What a transfer gave. @status 0: nobody answered, and @why says so. */
struct outcome {
    long status;
    json_t *json;   /* NULL when the answer was none */
    int number;     /* errno of a connection that could not be made, or 0 */
    bool taken;     /* somebody took the connection: a request may have been done */
    unsigned asked; /* regions of a lab that would not do it now, this one included */
    char why[CURL_ERROR_SIZE];
};

static CURL *prepare(const char *socket, const char *path, const char *body,
                     struct curl_slist *headers, struct answer *into, char *why)
{
    char url[2048];
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return NULL;
    }
    snprintf(url, sizeof(url), "http://agent%s", path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 2000L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, body != NULL ? 120000L : 10000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, into);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    if (body != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    return curl;
}

static struct outcome transfer(const char *socket, const char *path, const char *body)
{
    struct outcome out = {0};
    struct answer answer = {0};
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = prepare(socket, path, body, headers, &answer, out.why);

    if (curl == NULL) {
        snprintf(out.why, sizeof(out.why), "out of memory");
        curl_slist_free_all(headers);
        return out;
    }
    CURLcode rc = curl_easy_perform(curl);
    out.taken = rc != CURLE_COULDNT_CONNECT;
    if (rc == CURLE_COULDNT_CONNECT) {
        long number = 0;
        curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
        out.number = (int)number;
        snprintf(out.why, sizeof(out.why), "%s",
                 number != 0 ? strerror(out.number) : "no connection");
    } else if (rc == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out.status);
        out.json = answer.len > 0 ? json_loadb(answer.data, answer.len, 0, NULL) : NULL;
    } else if (out.why[0] == '\0') {
        snprintf(out.why, sizeof(out.why), "%s", curl_easy_strerror(rc));
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    free(answer.data);
    return out;
}

/* ---- whom to ask ---- */

static int nobody(const char *socket, const char *body, const struct outcome *out)
{
    if (body != NULL && out->taken) {
        return cli_fail("Look before you repeat it: meridian status, meridian events.",
                        "it is not known whether this was done: the agent at \"%s\" took the "
                        "request and gave no answer: %s",
                        socket, out->why);
    }
    return cli_fail(
        out->number == EACCES || out->number == EPERM
            ? "Only its user, its group and root may ask it: run this as one of them."
            : "Is the agent running? See: systemctl status meridian-agent, or "
              "meridian lab status.",
        "could not reach the agent at \"%s\": %s", socket, out->why);
}

/*
 * 503 means that nothing was done, as while the store changes its leader, which takes a second
 * or two, or when what was decided upon changed meanwhile: a request is worth repeating.
 */
static bool not_done(const struct outcome *out, const char *body)
{
    return body != NULL && out->status == 503;
}

static struct outcome persist(const char *socket, const char *path, const char *body)
{
    struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    struct outcome out = transfer(socket, path, body);

    for (int i = 0; i < RETRIES && not_done(&out, body); i++) {
        json_decref(out.json);
        nanosleep(&pause, NULL);
        out = transfer(socket, path, body);
    }
    return out;
}

/** Worth asking another region: it is not there, knows no leader, or certainly did nothing. */
static bool passed_over(const struct outcome *out, const char *body)
{
    if (out->status == 0) {
        return body == NULL || !out->taken;
    }
    return not_done(out, body) || (body == NULL && cli_known(out->json, "stale_s"));
}

/** Once in the life of a command, as it may ask many times. */
static void say_who(const char *passed, const char *name)
{
    static bool said;
    if (!said) {
        fprintf(stderr, "note: %s reaches no leader of the store now; %s answered\n", passed,
                name);
    }
    said = true;
}

/**
 * The first region of the lab that does it. Where none does: what the first that answers said.
 * @quiet: say nothing of who was passed over.
 */
static struct outcome ask_each(const json_t *lab, const char *path, const char *body,
                               bool quiet, const char **socket)
{
    struct outcome out = {0}, best = {0};
    const char *passed = NULL;
    unsigned asked = 0;
    size_t i;
    const json_t *r;

    json_array_foreach(cli_list(lab, "regions"), i, r)
    {
        const char *at = cli_text(r, "agent_socket");
        out = transfer(at, path, body);
        if (!passed_over(&out, body)) {
            if (passed != NULL && !quiet && out.status >= 200 && out.status < 300) {
                say_who(passed, cli_text(r, "name"));
            }
            json_decref(best.json);
            *socket = at;
            return out;
        }
        asked += out.status != 0;
        if (passed == NULL && out.status != 0) {
            passed = cli_text(r, "name");
        }
        if (best.status == 0) {
            json_decref(best.json);
            best = out;
            *socket = at;
        } else {
            json_decref(out.json);
        }
    }
    best.asked = asked;
    return best;
}

static struct outcome ask_lab(const struct cli_place *place, const json_t *lab,
                              const char *path, const char *body, bool quiet,
                              const char **socket)
{
    struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};

    if (place->region != NULL) {
        *socket = cli_text(cli_named(lab, "regions", place->region), "agent_socket");
        return persist(*socket, path, body);
    }
    struct outcome out = ask_each(lab, path, body, quiet, socket);
    for (int i = 0; i < RETRIES && not_done(&out, body); i++) {
        json_decref(out.json);
        nanosleep(&pause, NULL);
        out = ask_each(lab, path, body, quiet, socket);
    }
    return out;
}

static const char *own_socket(const struct cli_place *place)
{
    const char *env = getenv("MERIDIAN_AGENT");
    if (place->agent != NULL) {
        return place->agent;
    }
    if (place->dir != NULL || place->region != NULL) {
        return NULL;
    }
    if (env != NULL && env[0] != '\0') {
        return env;
    }
    return access(RUN_SOCKET, F_OK) == 0 ? RUN_SOCKET : NULL;
}

static int no_lab(const struct cli_place *place)
{
    return cli_fail(
        "Start the agent, name its socket with --agent, or boot a lab with: meridian "
        "lab up.",
        "no agent at \"%s\" and no lab in \"%s\"", RUN_SOCKET, lab_dir(place));
}

/** Turn an outcome into an exit status, with a message unless @quiet. */
static int judge(const struct cli_place *place, struct outcome *out, const char *socket,
                 const char *body, bool quiet, json_t **ret)
{
    int rc = 1;
    if (!place->json) {
        disarm(out->json);
    }
    if (out->status == 0) {
        rc = quiet ? 1 : nobody(socket, body, out);
    } else if (out->status >= 200 && out->status < 300 && json_is_object(out->json)) {
        *ret = json_incref(out->json);
        rc = 0;
    } else if (!quiet) {
        const char *error = cli_text(out->json, "error");
        if (error[0] != '\0' && out->asked > 1) {
            cli_fail("A majority of the regions must be up and connected; every one that "
                     "answers was asked. See: meridian status.",
                     "%s", error);
        } else if (error[0] != '\0') {
            cli_fail(cli_text(out->json, "hint"), "%s", error);
        } else {
            cli_fail("Does the agent have the same version as this command?",
                     "the agent at \"%s\" gave no proper answer (HTTP status %ld)", socket,
                     out->status);
        }
    }
    json_decref(out->json);
    return rc;
}

static int ask(const struct cli_place *place, const char *path, const char *body, bool quiet,
               json_t **ret)
{
    const char *socket = own_socket(place);
    struct outcome out;
    json_t *lab = NULL;
    int rc;

    *ret = NULL;
    if (socket != NULL) {
        out = persist(socket, path, body);
        return judge(place, &out, socket, body, quiet, ret);
    }
    lab = load_lab(place);
    if (lab == NULL) {
        return quiet ? 1 : no_lab(place);
    }
    if (place->region != NULL && cli_named(lab, "regions", place->region) == NULL) {
        char hint[CLI_HINT_MAX];
        cli_hint(lab, "regions", place->region, "List them with: meridian lab status.", hint);
        rc = quiet ? 1
                   : cli_fail(hint, "the lab in \"%s\" has no region \"%s\"", lab_dir(place),
                              place->region);
        json_decref(lab);
        return rc;
    }
    socket = "";
    out = ask_lab(place, lab, path, body, quiet, &socket);
    rc = judge(place, &out, socket, body, quiet, ret);
    json_decref(lab);
    return rc;
}

int cli_ask(const struct cli_place *place, const char *path, json_t *body, json_t **ret)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body != NULL && text == NULL) {
        *ret = NULL;
        return cli_fail("Arguments must be UTF-8.", "could not encode the request");
    }
    int rc = ask(place, path, text, false, ret);
    free(text);
    return rc;
}

int cli_try(const struct cli_place *place, const char *path, json_t **ret)
{
    return ask(place, path, NULL, true, ret);
}

/* ---- the snapshot ---- */

static char *lab_snapshot(const struct cli_place *place, const json_t *lab)
{
    size_t i;
    const json_t *r;
    json_array_foreach(cli_list(lab, "regions"), i, r)
    {
        const char *path = cli_text(r, "snapshot");
        if ((place->region == NULL || strcmp(cli_text(r, "name"), place->region) == 0) &&
            access(path, R_OK) == 0) {
            return strdup(path);
        }
    }
    return NULL;
}

char *cli_snapshot_path(const struct cli_place *place, const char *given)
{
    if (given != NULL) {
        return strdup(given);
    }
    if (place->dir == NULL && place->region == NULL && access(RUN_SNAPSHOT, F_OK) == 0) {
        return strdup(RUN_SNAPSHOT);
    }
    json_t *lab = load_lab(place);
    char *path = lab != NULL ? lab_snapshot(place, lab) : NULL;
    json_decref(lab);
    if (path == NULL) {
        cli_fail(
            "Name one with --snapshot FILE, start the agent, or boot a lab with: meridian lab "
            "up.",
            "no snapshot at \"%s\" and none that can be read in the lab \"%s\"", RUN_SNAPSHOT,
            lab_dir(place));
    }
    return path;
}
