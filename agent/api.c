/*
 * HTTP on a unix socket (api.h): libmicrohttpd without threads.
 *
 * libmicrohttpd gets a listening socket of our own and puts what it waits for into one epoll
 * descriptor, which is one more thing in the loop. What can be answered from the agent's state
 * is answered at once; what needs the store or PostgreSQL suspends the connection until the
 * answer is there. Such an answer may come when the client or the API itself is gone already:
 * between a request and what was asked on its behalf stands a struct api_wait that knows.
 *
 * The socket's permissions are the access control: the agent's own user and group.
 */
#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>

#include "agent.h"
#include "api_request.h"
#include "documents.h"
#include "log.h"

#define BODY_MAX ((size_t)64 * 1024)
#define METRICS_MAX ((size_t)64 * 1024)
#define CONNECTIONS_MAX 64
#define SETTLE_NS (UINT64_C(2000) * 1000000)

struct api {
    struct agent *a;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    bool polling, stopped;
    struct api_request *suspended; /* list */
    struct api_wait *committed;    /* list; see api_wait_for */
    char path[108];
};

/* ---- answering ---- */

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, const char *type,
                                 char *text, size_t len)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result rv = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rv;
}

static enum MHD_Result send_answer(struct api_request *r)
{
    char *text = json_dumps(r->answer, JSON_COMPACT);
    json_decref(r->answer);
    r->answer = NULL;
    return text != NULL
               ? send_text(r->connection, r->status, "application/json", text, strlen(text))
               : MHD_NO;
}

static void kick(struct api *api);

static void unlist(struct api_request *r)
{
    *r->link = r->next;
    if (r->next != NULL) {
        r->next->link = r->link;
    }
}

void api_answer(struct api_request *r, unsigned status, json_t *answer)
{
    json_decref(r->answer);
    r->status = status;
    r->answer = answer;
    r->answered = true;
    if (r->suspended) {
        r->suspended = false;
        unlist(r);
        MHD_resume_connection(r->connection);
        kick(r->api);
    }
}

void api_refuse(struct api_request *r, unsigned status, const char *error, const char *hint)
{
    api_answer(r, status,
               json_pack("{s:s, s:s}", "error", error, "hint", hint != NULL ? hint : ""));
}

struct api_wait *api_wait_new(struct api_request *r)
{
    struct api_wait *w = calloc(1, sizeof(*w));
    if (w != NULL) {
        w->request = r;
        r->wait = w;
    }
    return w;
}

struct api_request *api_wait_end(struct api_wait *w)
{
    struct api_request *r = w->request;
    if (r != NULL) {
        r->wait = NULL;
    }
    free(w);
    return r;
}

void api_wait_for(struct api_wait *w, uint64_t revision)
{
    struct api *api = w->request->api;
    w->revision = revision;
    w->until_ns = clock_boot_ns() + SETTLE_NS;
    w->next = api->committed;
    api->committed = w;
}

void api_settle(struct api *api)
{
    struct api_wait **p = &api->committed;
    while (*p != NULL) {
        struct api_wait *w = *p;
        if (w->request != NULL && w->revision > mrd_store_revision(api->a->store) &&
            clock_boot_ns() < w->until_ns) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        api_committed(w);
    }
}

/* ---- who asks ---- */

static bool peer_uid(const struct api_request *r, uid_t *ret)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (info == NULL ||
        getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        return false;
    }
    *ret = peer.uid;
    return true;
}

static bool plain(const char *name)
{
    for (const char *p = name; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\') {
            return false;
        }
    }
    return name[0] != '\0';
}

void api_operator(const struct api_request *r, char ret[64])
{
    uid_t uid;
    FILE *f;
    snprintf(ret, 64, "unknown");
    if (!peer_uid(r, &uid)) {
        return;
    }
    snprintf(ret, 64, "uid %lu", (unsigned long)uid);
    f = fopen("/etc/passwd", "re");
    for (struct passwd *pw = NULL; f != NULL && (pw = fgetpwent(f)) != NULL;) {
        if (pw->pw_uid == uid && plain(pw->pw_name)) {
            snprintf(ret, 64, "%.63s", pw->pw_name);
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
}

/* ---- routing ---- */

static uint64_t number_argument(struct MHD_Connection *c, const char *name, uint64_t fallback)
{
    const char *text = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return fallback;
    }
    unsigned long long v = strtoull(text, &end, 10);
    return *end == '\0' ? v : fallback;
}

static json_t *document_for(struct api_request *r)
{
    static const struct {
        const char *path;
        json_t *(*make)(const struct agent *a);
    } documents[] = {
        {"/v1/status", document_status},     {"/v1/regions", document_regions},
        {"/v1/classes", document_classes},   {"/v1/links", document_links},
        {"/v1/leases", document_leases},     {"/v1/moves", document_moves},
        {"/v1/receipts", document_receipts}, {"/v1/pending", document_pending},
    };
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        if (strcmp(r->path, documents[i].path) == 0) {
            return documents[i].make(r->agent);
        }
    }
    if (strcmp(r->path, "/v1/events") == 0) {
        return document_events(r->agent, number_argument(r->connection, "after", 0));
    }
    return NULL;
}

static enum MHD_Result send_metrics(struct api_request *r)
{
    char *text = malloc(METRICS_MAX);
    if (text == NULL) {
        return MHD_NO;
    }
    size_t len = document_metrics(r->agent, text, METRICS_MAX);
    return send_text(r->connection, MHD_HTTP_OK, "text/plain; version=0.0.4", text, len);
}

static bool known_path(const char *path)
{
    static const char *const paths[] = {
        "/v1/status",    "/v1/regions", "/v1/classes",  "/v1/links",
        "/v1/leases",    "/v1/moves",   "/v1/receipts", "/v1/events",
        "/v1/reconcile", "/v1/move",    "/v1/pending",  "/v1/approve",
        "/v1/reject",    "/v1/drain",   "/v1/dial",     "/metrics"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strcmp(path, paths[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void route_get(struct api_request *r)
{
    json_t *document = document_for(r);
    if (document != NULL) {
        api_answer(r, MHD_HTTP_OK, document);
    } else if (strcmp(r->path, "/v1/reconcile") == 0) {
        api_reconcile_list(r);
    } else if (known_path(r->path)) {
        api_refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, "this path takes POST only", "");
    } else {
        api_refuse(r, MHD_HTTP_NOT_FOUND, "no such path", "The paths begin with /v1/.");
    }
}

static void route_post(struct api_request *r)
{
    static const struct {
        const char *path;
        void (*act)(struct api_request *r, const json_t *body);
    } actions[] = {
        {"/v1/move", api_move},     {"/v1/drain", api_drain},
        {"/v1/dial", api_dial},     {"/v1/approve", api_decide},
        {"/v1/reject", api_decide}, {"/v1/reconcile", api_reconcile_act},
    };
    size_t i = 0, count = sizeof(actions) / sizeof(actions[0]);
    json_error_t bad;
    while (i < count && strcmp(r->path, actions[i].path) != 0) {
        i++;
    }
    if (i == count) {
        api_refuse(r, known_path(r->path) ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND,
                   known_path(r->path) ? "this path takes GET only" : "no such path", "");
        return;
    }
    json_t *body =
        json_loadb(r->body != NULL ? r->body : "", r->body_len, JSON_REJECT_DUPLICATES, &bad);
    if (!json_is_object(body)) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST, "the body is no JSON object", "");
    } else {
        actions[i].act(r, body);
    }
    json_decref(body);
}

static enum MHD_Result take_body(struct api_request *r, const char *data, size_t *len)
{
    if (r->body_len + *len > BODY_MAX) {
        r->too_long = true;
    } else {
        char *grown = realloc(r->body, r->body_len + *len);
        if (grown == NULL) {
            return MHD_NO;
        }
        r->body = grown;
        memcpy(r->body + r->body_len, data, *len);
        r->body_len += *len;
    }
    *len = 0;
    return MHD_YES;
}

static enum MHD_Result answer_or_wait(struct api_request *r)
{
    if (r->answered) {
        return send_answer(r);
    }
    if (r->wait == NULL) {
        api_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, "could not answer: out of memory", "");
        return send_answer(r);
    }
    r->suspended = true;
    r->next = r->api->suspended;
    r->link = &r->api->suspended;
    if (r->next != NULL) {
        r->next->link = &r->next;
    }
    r->api->suspended = r;
    MHD_suspend_connection(r->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **state)
{
    struct api *api = cls;
    struct api_request *r = *state;
    bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
    (void)version;

    if (r == NULL) {
        r = calloc(1, sizeof(*r));
        if (r == NULL) {
            return MHD_NO;
        }
        r->api = api;
        r->agent = api->a;
        r->connection = c;
        snprintf(r->path, sizeof(r->path), "%s", url);
        *state = r;
        return MHD_YES;
    }
    if (*len > 0) {
        return take_body(r, data, len);
    }
    if (r->answered) {
        return send_answer(r); /* resumed */
    }
    if (r->too_long) {
        api_refuse(r, MHD_HTTP_BAD_REQUEST, "the body is longer than 64 KiB", "");
    } else if (post) {
        route_post(r);
    } else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0) {
        api_refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and POST are known here", "");
    } else if (strcmp(r->path, "/metrics") == 0) {
        return send_metrics(r);
    } else {
        route_get(r);
    }
    return answer_or_wait(r);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct api_request *r = *state;
    (void)cls;
    (void)c;
    (void)why;
    if (r == NULL) {
        return;
    }
    if (r->suspended) {
        unlist(r);
    }
    if (r->wait != NULL) {
        r->wait->request = NULL; /* the answer will find nobody */
    }
    json_decref(r->answer);
    free(r->body);
    free(r);
    *state = NULL;
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *t);

static void run(struct api *api)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (api->stopped) {
        return;
    }
    MHD_run(api->daemon);
    if (MHD_get_timeout(api->daemon, &ms) == MHD_YES) {
        uv_timer_start(&api->timer, on_timer, ms, 0);
    } else {
        uv_timer_stop(&api->timer);
    }
}

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    run(p->data);
}

/* A resumed connection is taken up by the next MHD_run. */
static void kick(struct api *api)
{
    if (!api->stopped) {
        uv_timer_start(&api->timer, on_timer, 0, 0);
    }
}

static int problem(struct mrd_err *err, const char *path)
{
    return mrd_err_set(err, MRD_EIO, "could not listen on \"%s\": %s", path, strerror(errno));
}

static int listen_at(const char *path, struct mrd_err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(sa.sun_path)) {
        mrd_err_set(err, MRD_ETOOBIG, "\"%s\" is too long for a socket's name", path);
        mrd_err_hint(err, "Give a shorter directory with --run.");
        return MRD_ETOOBIG;
    }
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path); /* ours alone: the state directory's lock says that no other agent runs */
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || chmod(path, 0660) != 0 ||
        listen(fd, 32) != 0) {
        problem(err, path);
        if (fd >= 0) {
            close(fd);
        }
        return MRD_EIO;
    }
    return fd;
}

int api_new(struct agent *a, struct api **ret, struct mrd_err *err)
{
    struct api *api = calloc(1, sizeof(*api));
    char path[1200];
    if (api == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "could not start the API: out of memory");
    }
    api->a = a;
    snprintf(path, sizeof(path), "%s/agent.sock", a->opt->run_dir);
    int fd = listen_at(path, err);
    if (fd < 0) {
        free(api);
        return fd;
    }
    snprintf(api->path, sizeof(api->path), "%.*s", (int)sizeof(api->path) - 1, path);
    api->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request,
                         api, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, NULL, MHD_OPTION_CONNECTION_TIMEOUT, 120u,
                         MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_END);
    if (api->daemon == NULL) {
        problem(err, path);
        close(fd);
        free(api);
        return MRD_EIO;
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    mrd_assert(info != NULL && uv_poll_init(&a->loop, &api->poll, info->epoll_fd) == 0);
    uv_timer_init(&a->loop, &api->timer);
    api->poll.data = api->timer.data = api;
    uv_poll_start(&api->poll, UV_READABLE, on_poll);
    *ret = api;
    return 0;
}

void api_stop(struct api *api)
{
    if (api->stopped) {
        return;
    }
    while (api->suspended != NULL) {
        api_refuse(api->suspended, MHD_HTTP_SERVICE_UNAVAILABLE, "the agent is stopping", "");
    }
    api->stopped = true;
    MHD_run(api->daemon); /* sends those answers */
    uv_close((uv_handle_t *)&api->poll, NULL);
    uv_close((uv_handle_t *)&api->timer, NULL);
    MHD_stop_daemon(api->daemon);
    unlink(api->path);
}

void api_free(struct api *api)
{
    while (api != NULL && api->committed != NULL) {
        struct api_wait *w = api->committed;
        api->committed = w->next;
        json_decref(w->row);
        free(w);
    }
    free(api);
}
