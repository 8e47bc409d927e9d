/*
 * The doors' thread (forward.h): a plain two-way copy with one bounded buffer per direction.
 *
 * A side is read only while its buffer is empty, so a slow reader stops a fast writer by TCP's
 * own flow control. Ends of stream are passed on one direction at a time (shutdown), errors
 * close both. Only the thread touches connections; other threads hand it namespaces under the
 * mutex and wait until they are in force.
 */
#include "forward.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <mrd/err.h>

#define DOORS_MAX (MRD_REGIONS_MAX * 4)
#define CONNS_MAX 2048
#define FLOWS_MAX 256 /* datagram clients remembered */
#define FLOW_IDLE_S 10
#define BUFFER 32768

enum kind { KICK, DOOR, CONN, FLOW };

struct door {
    int fd;
    bool udp;
    mrd_region region;
    struct sockaddr_in to;
};

struct half { /* from fd[i] to fd[1 - i] */
    size_t start, len;
    bool ended, shut;
    uint8_t data[BUFFER];
};

struct conn {
    int fd[2]; /* host, region */
    mrd_region region;
    bool connecting;
    struct half half[2];
};

struct flow {
    int fd; /* 0: free */
    unsigned door;
    struct sockaddr_in client;
    time_t used_s;
};

struct lab_forward {
    int epoll_fd, event_fd, host_ns;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards the next five */
    pthread_cond_t applied_cond;
    uint64_t wanted, applied;
    int next_ns[MRD_REGIONS_MAX]; /* -1: gone */
    bool changed[MRD_REGIONS_MAX];
    bool stop;

    int ns[MRD_REGIONS_MAX];
    unsigned door_count;
    struct door doors[DOORS_MAX]; /* filled before the thread sees the door's fd */
    struct conn *conns[CONNS_MAX];
    struct flow flows[FLOWS_MAX];
};

static uint64_t tag(enum kind kind, unsigned index, unsigned side)
{
    return (uint64_t)kind << 32 | index << 1 | side;
}

static void watch(struct lab_forward *f, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event e = {.events = events, .data = {.u64 = data}};

    epoll_ctl(f->epoll_fd, op, fd, &e);
}

/* A socket that belongs to the region's namespace although this process does not. */
static int socket_inside(struct lab_forward *f, mrd_region region, int type)
{
    int fd = -1;

    if (f->ns[region] < 0 || setns(f->ns[region], CLONE_NEWNET) != 0) {
        return -1;
    }
    fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Listening in the wrong place would be worse than stopping. */
    mrd_assert(setns(f->host_ns, CLONE_NEWNET) == 0);
    return fd;
}

static void no_delay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* Close so that the other end sees a reset, not an orderly end. */
static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

/* ---- connections ---- */

static void conn_close(struct lab_forward *f, unsigned i, bool hard)
{
    struct conn *c = f->conns[i];

    if (hard) {
        reset(c->fd[0]);
    } else {
        close(c->fd[0]);
    }
    close(c->fd[1]);
    free(c);
    f->conns[i] = NULL;
}

static void conn_interest(struct lab_forward *f, unsigned i)
{
    struct conn *c = f->conns[i];

    for (unsigned s = 0; s < 2; s++) {
        uint32_t events = 0;

        if (c->half[s].len == 0 && !c->half[s].ended && !c->connecting) {
            events |= EPOLLIN;
        }
        if (c->half[1 - s].len > 0 || (s == 1 && c->connecting)) {
            events |= EPOLLOUT;
        }
        watch(f, EPOLL_CTL_MOD, c->fd[s], events, tag(CONN, i, s));
    }
}

static void conn_open(struct lab_forward *f, const struct door *d, int client)
{
    struct conn *c = NULL;
    unsigned i = 0;
    int inside;

    while (i < CONNS_MAX && f->conns[i] != NULL) {
        i++;
    }
    inside = i < CONNS_MAX ? socket_inside(f, d->region, SOCK_STREAM) : -1;
    if (inside >= 0) {
        c = calloc(1, sizeof(*c));
    }
    if (c == NULL || (connect(inside, (const struct sockaddr *)&d->to, sizeof(d->to)) != 0 &&
                      errno != EINPROGRESS)) {
        free(c);
        if (inside >= 0) {
            close(inside);
        }
        reset(client);
        return;
    }
    no_delay(client);
    no_delay(inside);
    c->fd[0] = client;
    c->fd[1] = inside;
    c->region = d->region;
    c->connecting = true;
    f->conns[i] = c;
    watch(f, EPOLL_CTL_ADD, client, 0, tag(CONN, i, 0));
    watch(f, EPOLL_CTL_ADD, inside, EPOLLOUT, tag(CONN, i, 1));
}

/* Move what can be moved from side @s to the other. Returns false on a broken connection. */
static bool half_pump(struct conn *c, unsigned s)
{
    struct half *h = &c->half[s];

    if (h->len == 0 && !h->ended) {
        ssize_t n = recv(c->fd[s], h->data, sizeof(h->data), 0);

        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        h->ended = n == 0;
        h->start = 0;
        h->len = (size_t)n;
    }
    if (h->len > 0) {
        ssize_t n = send(c->fd[1 - s], h->data + h->start, h->len, MSG_NOSIGNAL);

        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        h->start += (size_t)n;
        h->len -= (size_t)n;
    }
    if (h->ended && h->len == 0 && !h->shut) {
        h->shut = true;
        shutdown(c->fd[1 - s], SHUT_WR);
    }
    return true;
}

static void conn_event(struct lab_forward *f, unsigned i, uint32_t events)
{
    struct conn *c = f->conns[i];

    if (c == NULL) {
        return; /* closed earlier in this turn */
    }
    if (c->connecting) {
        int error = 0;
        socklen_t size = sizeof(error);

        getsockopt(c->fd[1], SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0 || (events & (EPOLLHUP | EPOLLERR)) != 0) {
            conn_close(f, i, true);
            return;
        }
        if ((events & EPOLLOUT) == 0) {
            return;
        }
        c->connecting = false;
    } else if (!half_pump(c, 0) || !half_pump(c, 1) || (events & EPOLLERR) != 0) {
        conn_close(f, i, true);
        return;
    }
    if (c->half[0].shut && c->half[1].shut) {
        conn_close(f, i, false);
        return;
    }
    conn_interest(f, i);
}

/* ---- datagrams ---- */

static void flow_close(struct flow *w)
{
    close(w->fd);
    w->fd = 0;
}

static struct flow *flow_of(struct lab_forward *f, unsigned door,
                            const struct sockaddr_in *client)
{
    time_t now_s = time(NULL);
    struct flow *spare = &f->flows[0];

    for (unsigned i = 0; i < FLOWS_MAX; i++) {
        struct flow *w = &f->flows[i];

        if (w->fd != 0 && w->door == door && w->client.sin_port == client->sin_port &&
            w->client.sin_addr.s_addr == client->sin_addr.s_addr) {
            w->used_s = now_s;
            return w;
        }
        if (w->fd != 0 && now_s - w->used_s > FLOW_IDLE_S) {
            flow_close(w);
        }
        if (w->fd == 0 || (spare->fd != 0 && w->used_s < spare->used_s)) {
            spare = w;
        }
    }
    if (spare->fd != 0) {
        flow_close(spare);
    }
    spare->fd = socket_inside(f, f->doors[door].region, SOCK_DGRAM);
    if (spare->fd < 0) {
        spare->fd = 0;
        return NULL;
    }
    if (connect(spare->fd, (const struct sockaddr *)&f->doors[door].to,
                sizeof(f->doors[door].to)) != 0) {
        flow_close(spare);
        return NULL;
    }
    spare->door = door;
    spare->client = *client;
    spare->used_s = now_s;
    watch(f, EPOLL_CTL_ADD, spare->fd, EPOLLIN, tag(FLOW, (unsigned)(spare - f->flows), 0));
    return spare;
}

static void flow_event(struct lab_forward *f, unsigned i)
{
    struct flow *w = &f->flows[i];
    uint8_t data[BUFFER];
    ssize_t n;

    if (w->fd == 0) {
        return;
    }
    n = recv(w->fd, data, sizeof(data), 0);
    if (n >= 0) {
        sendto(f->doors[w->door].fd, data, (size_t)n, 0, (struct sockaddr *)&w->client,
               sizeof(w->client));
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) {
        flow_close(w);
    }
}

static void door_event(struct lab_forward *f, unsigned i)
{
    struct door *d = &f->doors[i];

    if (d->udp) {
        uint8_t data[BUFFER];
        struct sockaddr_in client = {.sin_family = AF_INET};
        socklen_t size = sizeof(client);
        ssize_t n = recvfrom(d->fd, data, sizeof(data), 0, (struct sockaddr *)&client, &size);
        struct flow *w = n >= 0 ? flow_of(f, i, &client) : NULL;

        if (w != NULL) {
            send(w->fd, data, (size_t)n, MSG_NOSIGNAL);
        }
    } else {
        int client = accept4(d->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            conn_open(f, d, client);
        }
    }
}

/* ---- changes ---- */

/* Everything made in the old namespace goes, or the namespace would stay. */
static void change_region(struct lab_forward *f, mrd_region r, int ns)
{
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        if (f->conns[i] != NULL && f->conns[i]->region == r) {
            conn_close(f, i, true);
        }
    }
    for (unsigned i = 0; i < FLOWS_MAX; i++) {
        if (f->flows[i].fd != 0 && f->doors[f->flows[i].door].region == r) {
            flow_close(&f->flows[i]);
        }
    }
    if (f->ns[r] >= 0) {
        close(f->ns[r]);
    }
    f->ns[r] = ns;
}

static bool apply_changes(struct lab_forward *f)
{
    uint64_t kicks;
    bool stop;

    if (read(f->event_fd, &kicks, sizeof(kicks)) < 0) {
        return true;
    }
    pthread_mutex_lock(&f->mutex);
    for (unsigned r = 0; r < MRD_REGIONS_MAX; r++) {
        if (f->changed[r]) {
            f->changed[r] = false;
            change_region(f, (mrd_region)r, f->next_ns[r]);
        }
    }
    f->applied = f->wanted;
    stop = f->stop;
    pthread_cond_broadcast(&f->applied_cond);
    pthread_mutex_unlock(&f->mutex);
    return !stop;
}

static void *run(void *arg)
{
    struct lab_forward *f = arg;
    struct epoll_event events[64];
    bool go = true;

    pthread_setname_np(pthread_self(), "lab-forward");
    while (go) {
        int n = epoll_wait(f->epoll_fd, events, 64, -1);

        for (int e = 0; e < n; e++) {
            unsigned index = (unsigned)(events[e].data.u64 & 0xffffffffu) >> 1;

            switch ((enum kind)(events[e].data.u64 >> 32)) {
            case KICK:
                go = apply_changes(f);
                break;
            case DOOR:
                door_event(f, index);
                break;
            case CONN:
                conn_event(f, index, events[e].events);
                break;
            case FLOW:
                flow_event(f, index);
                break;
            }
        }
    }
    return NULL;
}

/* Called with the mutex held, after the change is noted; releases it. */
static void commit_change(struct lab_forward *f)
{
    uint64_t one = 1;
    uint64_t mine = ++f->wanted;

    if (write(f->event_fd, &one, sizeof(one)) == (ssize_t)sizeof(one)) {
        while (f->applied < mine) {
            pthread_cond_wait(&f->applied_cond, &f->mutex);
        }
    }
    pthread_mutex_unlock(&f->mutex);
}

struct lab_forward *lab_forward_new(void)
{
    struct lab_forward *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return NULL;
    }
    for (unsigned r = 0; r < MRD_REGIONS_MAX; r++) {
        f->ns[r] = f->next_ns[r] = -1;
    }
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->applied_cond, NULL);
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    f->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (f->epoll_fd < 0 || f->event_fd < 0 || f->host_ns < 0) {
        free(f);
        return NULL;
    }
    watch(f, EPOLL_CTL_ADD, f->event_fd, EPOLLIN, tag(KICK, 0, 0));
    errno = pthread_create(&f->thread, NULL, run, f);
    if (errno != 0) {
        free(f);
        return NULL;
    }
    return f;
}

void lab_forward_free(struct lab_forward *f)
{
    if (f == NULL) {
        return;
    }
    pthread_mutex_lock(&f->mutex);
    f->stop = true;
    commit_change(f);
    pthread_join(f->thread, NULL);
    for (unsigned r = 0; r < MRD_REGIONS_MAX; r++) {
        change_region(f, (mrd_region)r, -1);
    }
    for (unsigned i = 0; i < f->door_count; i++) {
        close(f->doors[i].fd);
    }
    close(f->epoll_fd);
    close(f->event_fd);
    close(f->host_ns);
    pthread_cond_destroy(&f->applied_cond);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}

static int listen_on(bool udp, uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int one = 1;
    int fd =
        socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -1;
    }
    /* Old connections in TIME_WAIT must not cost a lab its port; for UDP it would share one. */
    if (!udp) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || (!udp && listen(fd, 128) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

int lab_forward_open(struct lab_forward *f, mrd_region region, bool udp, struct in_addr address,
                     uint16_t port, uint16_t wanted)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    unsigned i = f->door_count;
    int fd = listen_on(udp, wanted);

    if (fd < 0 && wanted != 0) {
        fd = listen_on(udp, 0);
    }
    if (fd < 0 || i == DOORS_MAX || getsockname(fd, (struct sockaddr *)&at, &size) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    f->doors[i] = (struct door){
        .fd = fd,
        .udp = udp,
        .region = region,
        .to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address},
    };
    f->door_count++;
    watch(f, EPOLL_CTL_ADD, fd, EPOLLIN, tag(DOOR, i, 0));
    return ntohs(at.sin_port);
}

void lab_forward_region(struct lab_forward *f, mrd_region region, int netns_fd)
{
    pthread_mutex_lock(&f->mutex);
    f->next_ns[region] = netns_fd;
    f->changed[region] = true;
    commit_change(f);
}
