/*
 * The checks behind "serves" (serves.h). Each is NULL when it passes, else what is missing.
 */
#include "serves.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <mrd/snapshot.h>

#define PROBE_S 2
#define CONNECT_S "3"
#define CONNECT_MS 3000
#define ANSWER_MS 3000

/* When PostgreSQL does not answer there is no lease either: the agent is not to blame. */
static const char no_lease[] = "the agent holds no live lease";
static const char no_postgres[] = "PostgreSQL does not answer";
static const char deaf_postgres[] = "PostgreSQL is there and says nothing: is it paused?";

static uint64_t boot_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

const char *lab_text_of(json_t *region, const char *key)
{
    const char *text = json_string_value(json_object_get(region, key));

    return text != NULL ? text : "";
}

int lab_port_of(json_t *region, const char *door, const char *key)
{
    return (int)json_integer_value(json_object_get(json_object_get(region, door), key));
}

static const char *judge_snapshot(const struct mrd_snapshot *s)
{
    if (s->lease_deadline_ns <= boot_ns()) {
        return no_lease;
    }
    for (unsigned i = 0; i < s->partition_count; i++) {
        if (s->partitions[i].authority.region == MRD_REGION_NONE ||
            s->partitions[i].authority.state != MRD_AUTH_OPEN) {
            return "a class has no home yet";
        }
    }
    return s->partition_count > 0 ? NULL : "no class is known yet";
}

/* Origins whose changes this region should be taking. */
static long count_streams(const struct mrd_snapshot *s)
{
    long n = 0;

    for (unsigned i = 0; i < s->region_count; i++) {
        n += s->regions[i].stream == MRD_STREAM_RUN;
    }
    return n;
}

static const char *check_snapshot(json_t *region, long *ret_streams)
{
    static struct mrd_snapshot copy;
    const char *why = "the agent has published no snapshot";
    int fd = open(lab_text_of(region, "snapshot"), O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *map;

    if (fd < 0 || fstat(fd, &st) != 0 || (size_t)st.st_size < mrd_snapshot_file_size()) {
        if (fd >= 0) {
            close(fd);
        }
        return why;
    }
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        return why;
    }
    memset(&copy, 0, sizeof(copy));
    if (mrd_snapshot_check(map, (size_t)st.st_size) == 0 &&
        mrd_snapshot_read(map, &copy) >= 0) {
        why = judge_snapshot(&copy);
        *ret_streams = count_streams(&copy);
    }
    munmap(map, (size_t)st.st_size);
    return why;
}

static uint64_t mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

PGconn *lab_sql_open(json_t *region)
{
    char dsn[512];

    snprintf(dsn, sizeof(dsn), "%s connect_timeout=" CONNECT_S " application_name=lab",
             lab_text_of(json_object_get(region, "pg"), "dsn"));
    return PQconnectdb(dsn);
}

/* A backend that stands still must not stop us: wait for the answer, but not for ever. */
static PGresult *answer_to(PGconn *c, const char *sql)
{
    uint64_t end = mono_ms() + ANSWER_MS;
    uint64_t now;
    PGresult *r, *more;

    if (PQsendQuery(c, sql) == 0) {
        return NULL;
    }
    while (PQisBusy(c) && (now = mono_ms()) < end) {
        struct pollfd p = {.fd = PQsocket(c), .events = POLLIN};

        if (poll(&p, 1, (int)(end - now)) > 0 && PQconsumeInput(c) == 0) {
            return NULL;
        }
    }
    if (PQisBusy(c)) {
        return NULL;
    }
    r = PQgetResult(c);
    while (!PQisBusy(c) && (more = PQgetResult(c)) != NULL) {
        PQclear(more);
    }
    return r;
}

/* The first value of the answer, or -1 when there is none. */
long lab_sql_number(PGconn *c, const char *sql)
{
    PGresult *r = answer_to(c, sql);
    long n = -1;

    if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) > 0) {
        n = strtol(PQgetvalue(r, 0, 0), NULL, 10);
    }
    PQclear(r);
    return n;
}

static const char *check_sql(json_t *region, long streams)
{
    uint64_t start = mono_ms();
    PGconn *c = lab_sql_open(region);
    const char *why = NULL;

    if (lab_sql_number(c, "SELECT 1") != 1) {
        why = mono_ms() - start >= CONNECT_MS - 100 ? deaf_postgres : no_postgres;
    } else if (lab_sql_number(c, "SELECT count(*) FROM "
                                 "jsonb_array_elements(meridian.agent_status() -> 'streams') s "
                                 "WHERE s ->> 'state' = 'streaming'") < streams) {
        why = "the streams from other regions have not joined";
    }

    PQfinish(c);
    return why;
}

static int dial(int type, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {PROBE_S, 0};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Send, and receive the first bytes of the answer. */
static ssize_t ask(int type, int port, const void *data, size_t len, char *answer, size_t cap)
{
    int fd = dial(type, port);
    ssize_t n = -1;

    if (fd >= 0 && send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len) {
        n = recv(fd, answer, cap, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    return n;
}

static const char *check_http(json_t *region)
{
    static const char request[] = "GET /meridian/health HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: close\r\n\r\n";
    const char *url = strrchr(lab_text_of(region, "http_url"), ':');
    char answer[64];
    ssize_t n = ask(SOCK_STREAM, url != NULL ? (int)strtol(url + 1, NULL, 10) : 0, request,
                    sizeof(request) - 1, answer, sizeof(answer));

    return n >= 12 && memcmp(answer + 8, " 200", 4) == 0 ? NULL : "nginx does not answer";
}

/* The zone's SOA (RFC 1035, 4.1): any answer without an error will do. */
static const char *check_dns(json_t *region, const char *zone)
{
    uint8_t query[300] = {0x4d, 0x52, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    static const uint8_t question[] = {0, 0, 6, 0, 1}; /* root, type SOA, class IN */
    char answer[512];
    size_t len = 12;
    ssize_t n;

    for (const char *label = zone; *label != '\0';) {
        size_t size = strcspn(label, ".");

        if (size == 0 || size > 63 || len + size + 6 > sizeof(query)) {
            return "the zone's name is not valid";
        }
        query[len++] = (uint8_t)size;
        memcpy(query + len, label, size);
        len += size;
        label += size + (label[size] == '.');
    }
    memcpy(query + len, question, sizeof(question));
    n = ask(SOCK_DGRAM, lab_port_of(region, "dns", "port"), query, len + sizeof(question),
            answer, sizeof(answer));
    return n >= 12 && (answer[3] & 0x0f) == 0 ? NULL : "knotd does not answer for the zone";
}

const char *lab_serves(json_t *region, const char *zone)
{
    const char *why = NULL;
    long streams = 0;

    if (strcmp(lab_text_of(region, "state"), "running") != 0) {
        return "the region is not running";
    }
    if (json_is_true(json_object_get(region, "witness"))) {
        return check_snapshot(region, &streams);
    }
    why = check_snapshot(region, &streams);
    if (why == NULL || why == no_lease) {
        const char *sql = check_sql(region, streams);

        why = why == NULL || sql == no_postgres || sql == deaf_postgres ? sql : why;
    }
    if (why == NULL) {
        why = check_http(region);
    }
    if (why == NULL && zone[0] != '\0') {
        why = check_dns(region, zone);
    }
    return why;
}
