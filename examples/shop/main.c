/*
 * shop --listen ADDRESS:PORT --db CONNINFO --region NAME [--patience SECONDS]
 *
 * The HTTP side of the shop: libmicrohttpd with a thread per connection, a request's body
 * gathered up to a limit and parsed as JSON, and the answer sent as api.c gave it.
 */
#include "shop.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <microhttpd.h>

#define BODY_MAX (256u * 1024u)
#define PATH_BYTES_MAX 1024u
#define CONNECTIONS_MAX 48u /* each may hold a connection to the database */

struct upload {
    char *data;
    size_t len;
    bool too_big;
};

static const char *argument(void *http, const char *name)
{
    return MHD_lookup_connection_value(http, MHD_GET_ARGUMENT_KIND, name);
}

static bool gather(struct upload *u, const char *data, size_t len)
{
    char *grown;

    if (u->too_big || len > BODY_MAX - u->len) {
        u->too_big = true;
        return true;
    }
    grown = realloc(u->data, u->len + len);
    if (grown == NULL) {
        return false;
    }
    u->data = grown;
    memcpy(u->data + u->len, data, len);
    u->len += len;
    return true;
}

/* Cut the path, in place, at its slashes. False when there are too many parts. */
static bool split(char *path, struct shop_call *call)
{
    char *rest = NULL;

    for (char *s = strtok_r(path, "/", &rest); s != NULL; s = strtok_r(NULL, "/", &rest)) {
        if (call->segment_count == SHOP_SEGMENTS_MAX) {
            return false;
        }
        call->segments[call->segment_count++] = s;
    }
    return true;
}

static void answer(struct shop_call *call, const char *url, struct upload *u,
                   struct shop_reply *ret)
{
    char path[PATH_BYTES_MAX];

    if (u->too_big) {
        shop_fail(ret, 413, "the body is larger than 256 KiB");
        return;
    }
    if (strlen(url) >= sizeof(path) || !split(strcpy(path, url), call)) {
        shop_fail(ret, 404, "no such page");
        return;
    }
    if (u->len > 0) {
        call->body = json_loadb(u->data, u->len, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(call->body)) {
            shop_fail(ret, 400, "the body must be a JSON object");
            json_decref(call->body);
            return;
        }
    }
    shop_answer(call, ret);
    json_decref(call->body);
}

static enum MHD_Result send_reply(struct MHD_Connection *c, struct shop_reply *reply)
{
    struct MHD_Response *r;
    char seconds[16];
    enum MHD_Result code;

    if (reply->body == NULL) { /* out of memory */
        return MHD_NO;
    }
    r = MHD_create_response_from_buffer(strlen(reply->body), reply->body,
                                        MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(reply->body);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type", reply->type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    if (reply->retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%u", reply->retry_after_s);
        MHD_add_response_header(r, "Retry-After", seconds);
    }
    if (reply->allow[0] != '\0') {
        MHD_add_response_header(r, "Allow", reply->allow);
    }
    code = MHD_queue_response(c, reply->status, r);
    MHD_destroy_response(r);
    return code;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **state)
{
    struct shop_call call = {.shop = cls, .method = method, .argument = argument, .http = c};
    struct shop_reply reply = {0};

    (void)version;
    if (*state == NULL) {
        *state = calloc(1, sizeof(struct upload));
        return *state != NULL ? MHD_YES : MHD_NO;
    }
    if (*len > 0) {
        bool kept = gather(*state, data, *len);

        *len = 0;
        return kept ? MHD_YES : MHD_NO;
    }
    answer(&call, url, *state, &reply);
    return send_reply(c, &reply);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode how)
{
    struct upload *u = *state;

    (void)cls;
    (void)c;
    (void)how;
    if (u != NULL) {
        free(u->data);
        free(u);
    }
    *state = NULL;
}

static int usage(void)
{
    fprintf(stderr, "usage: shop --listen ADDRESS:PORT --db CONNINFO --region NAME"
                    " [--patience SECONDS]\n");
    return 2;
}

/* "127.0.0.1:9000" */
static bool parse_listen(const char *text, struct sockaddr_in *ret)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;

    if (colon == NULL || port == 0 || port > 65535 || *end != '\0' ||
        (size_t)(colon - text) >= sizeof(host)) {
        return false;
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    memset(ret, 0, sizeof(*ret));
    ret->sin_family = AF_INET;
    ret->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &ret->sin_addr) == 1;
}

static int serve(struct shop *shop, const struct sockaddr_in *addr, const char *listen)
{
    struct MHD_Daemon *d;
    sigset_t stop;
    int signal_number;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL); /* before there are threads, which inherit it */
    signal(SIGPIPE, SIG_IGN);
    /* Idle connections outlive those of nginx, so that it is never us who closes first. */
    d = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, 0,
                         NULL, NULL, on_request, shop, MHD_OPTION_SOCK_ADDR, addr,
                         MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, NULL, MHD_OPTION_END);
    if (d == NULL) {
        fprintf(stderr, "shop: could not listen on %s\n", listen);
        return 1;
    }
    sigwait(&stop, &signal_number);
    MHD_stop_daemon(d);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"db", required_argument, NULL, 'd'},
                                            {"region", required_argument, NULL, 'r'},
                                            {"patience", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    static struct shop shop = {.conninfo = "", .region = "here", .patience_ms = 10000};
    unsigned long patience_s;
    struct sockaddr_in addr;
    const char *listen = "127.0.0.1:9000";
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            listen = optarg;
            break;
        case 'd':
            shop.conninfo = optarg;
            break;
        case 'r':
            shop.region = optarg;
            break;
        case 'p':
            patience_s = strtoul(optarg, NULL, 10);
            if (patience_s < 1 || patience_s > 3600) {
                return usage();
            }
            shop.patience_ms = (unsigned)patience_s * 1000;
            break;
        default:
            return usage();
        }
    }
    if (optind != argc || !parse_listen(listen, &addr)) {
        return usage();
    }
    if (shop_db_init() != 0) {
        fprintf(stderr, "shop: out of thread keys\n");
        return 1;
    }
    return serve(&shop, &addr, listen);
}
