/*
 * The emulator's thread (wan.h): read, hold, release.
 *
 * One epoll set with the TUN devices and an eventfd for changes; the timeout is the moment the
 * next packet is due (epoll_pwait2, nanoseconds, with the thread's timer slack at 1 ns: the
 * default slack alone costs 50 us a hop). With nothing under way the thread sleeps for ever
 * and costs nothing. The clock is read for each packet: one reading per batch would date
 * packets back and deliver them early. A packet is never released before it is due; how late
 * it is goes into its link's histogram, so that a report can say what the figures are worth.
 *
 * Devices are plain TUN without offloads: the kernel hands over packets of at most the MTU
 * with finished checksums, which are never touched here, and a lost packet is one packet.
 *
 * Changes: callers edit `next` under the mutex, raise `wanted`, kick the eventfd and wait until
 * the thread has copied it. Only the thread touches `now`, the devices and the heap.
 */
#include "wan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <mrd/err.h>

#define PACKET_MAX 65536
#define READS_PER_WAKE 64

struct packet {
    uint64_t due_ns;
    uint64_t serial; /* ties: first in, first out */
    uint32_t len;
    mrd_region from, to;
    uint8_t data[];
};

struct matrix {
    int tun[MRD_REGIONS_MAX];       /* -1: none */
    uint64_t life[MRD_REGIONS_MAX]; /* counts attachments, so that the thread sees a change */
    struct lab_link_conf link[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    uint64_t edits[MRD_REGIONS_MAX][MRD_REGIONS_MAX]; /* counts settings of each link */
};

struct counters {
    _Atomic uint64_t packets, bytes, lost, dropped_cut, dropped_full;
    struct lab_hist late;
};

struct lab_wan {
    unsigned regions;
    int epoll_fd, event_fd;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards the next five */
    pthread_cond_t applied_cond;
    struct matrix next;
    uint64_t wanted, applied;
    bool stop;

    struct counters counters[MRD_REGIONS_MAX][MRD_REGIONS_MAX];

    /* The thread's own. */
    struct matrix now;
    struct lab_link state[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    struct packet **heap;
    size_t heap_len, heap_cap;
    uint64_t serial;
    uint64_t random[2];
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * LAB_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* xorshift128+ (Vigna 2014): fast, and good enough to lose packets by. */
static uint64_t next_random(struct lab_wan *w)
{
    uint64_t a = w->random[0];
    uint64_t b = w->random[1];

    w->random[0] = b;
    a ^= a << 23;
    w->random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return w->random[1] + b;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

mrd_region lab_wan_destination(const uint8_t *packet, uint32_t len, unsigned regions)
{
    unsigned i = 0;

    if (len >= 20 && packet[0] >> 4 == 4 && packet[16] == 10 && packet[17] == 77) {
        i = packet[18];
    } else if (len >= 40 && packet[0] >> 4 == 6) {
        static const uint8_t prefix[15] = {0xfd, 0x77};

        if (memcmp(packet + 24, prefix, sizeof(prefix)) == 0) {
            i = packet[39];
        }
    }
    return i >= 1 && i <= regions ? (mrd_region)(i - 1) : MRD_REGION_NONE;
}

/* ---- the heap: the packet that is due first is on top ---- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->serial < b->serial;
}

static bool heap_push(struct lab_wan *w, struct packet *p)
{
    size_t i = w->heap_len;

    if (i == w->heap_cap) {
        size_t cap = w->heap_cap == 0 ? 1024 : w->heap_cap * 2;
        struct packet **heap = realloc(w->heap, cap * sizeof(struct packet *));

        if (heap == NULL) {
            return false;
        }
        w->heap = heap;
        w->heap_cap = cap;
    }
    w->heap_len++;
    while (i > 0 && before(p, w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = p;
    return true;
}

/* Put @p where it belongs at or below @i, whose place is free. */
static void heap_sink(struct lab_wan *w, size_t i, struct packet *p)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= w->heap_len) {
            break;
        }
        if (child + 1 < w->heap_len && before(w->heap[child + 1], w->heap[child])) {
            child++;
        }
        if (!before(w->heap[child], p)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = p;
}

static struct packet *heap_pop(struct lab_wan *w)
{
    struct packet *top = w->heap[0];

    w->heap_len--;
    if (w->heap_len > 0) {
        heap_sink(w, 0, w->heap[w->heap_len]);
    }
    return top;
}

/* ---- packets ---- */

static void hold(struct lab_wan *w, mrd_region from, mrd_region to, const uint8_t *data,
                 uint32_t len, uint64_t due_ns)
{
    struct packet *p = malloc(sizeof(*p) + len);

    if (p == NULL) {
        w->state[from][to].inflight_bytes -= len;
        count(&w->counters[from][to].dropped_full, 1);
        return;
    }
    p->due_ns = due_ns;
    p->serial = w->serial++;
    p->len = len;
    p->from = from;
    p->to = to;
    memcpy(p->data, data, len);
    if (!heap_push(w, p)) {
        free(p);
        w->state[from][to].inflight_bytes -= len;
        count(&w->counters[from][to].dropped_full, 1);
    }
}

static void take(struct lab_wan *w, mrd_region from, const uint8_t *data, uint32_t len)
{
    mrd_region to = lab_wan_destination(data, len, w->regions);
    const struct lab_link_conf *conf;
    struct counters *c;
    uint64_t due_ns;

    if (to == MRD_REGION_NONE || to == from) {
        return; /* such as a router solicitation: nobody there */
    }
    conf = &w->now.link[from][to];
    c = &w->counters[from][to];
    switch (lab_link_offer(&w->state[from][to], conf, len, now_ns(), next_random(w), &due_ns)) {
    case LAB_CARRIED:
        hold(w, from, to, data, len, due_ns);
        if (conf->dup_ppm != 0 && lab_link_twice(conf, next_random(w))) {
            w->state[from][to].inflight_bytes += len;
            hold(w, from, to, data, len, due_ns);
        }
        break;
    case LAB_LOST:
        count(&c->lost, 1);
        break;
    case LAB_CUT:
        count(&c->dropped_cut, 1);
        break;
    case LAB_FULL:
        count(&c->dropped_full, 1);
        break;
    }
}

static void deliver(struct lab_wan *w, struct packet *p, uint64_t at_ns)
{
    struct counters *c = &w->counters[p->from][p->to];

    w->state[p->from][p->to].inflight_bytes -= p->len;
    if (w->now.link[p->from][p->to].cut || w->now.tun[p->to] < 0) {
        count(&c->dropped_cut, 1);
    } else if (write(w->now.tun[p->to], p->data, p->len) == (ssize_t)p->len) {
        count(&c->packets, 1);
        count(&c->bytes, p->len);
        lab_hist_add(&c->late, at_ns - p->due_ns);
    } else {
        count(&c->dropped_full, 1); /* the region's stack did not take it */
    }
    free(p);
}

static void release_due(struct lab_wan *w)
{
    while (w->heap_len > 0) {
        uint64_t at_ns = now_ns();

        if (w->heap[0]->due_ns > at_ns) {
            break;
        }
        deliver(w, heap_pop(w), at_ns);
    }
}

static void read_device(struct lab_wan *w, mrd_region from)
{
    static _Thread_local uint8_t data[PACKET_MAX];

    for (unsigned i = 0; i < READS_PER_WAKE && w->now.tun[from] >= 0; i++) {
        ssize_t n = read(w->now.tun[from], data, sizeof(data));

        if (n <= 0) {
            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                /* The device is gone with its namespace: stop hearing about it. */
                epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->now.tun[from], NULL);
            }
            break;
        }
        take(w, from, data, (uint32_t)n);
        release_due(w);
    }
}

/* ---- changes ---- */

/* Packets to or from a region that is gone are gone too, whatever comes back in its place. */
static void purge(struct lab_wan *w, mrd_region region)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->heap_len; i++) {
        struct packet *p = w->heap[i];

        if (p->from == region || p->to == region) {
            w->state[p->from][p->to].inflight_bytes -= p->len;
            count(&w->counters[p->from][p->to].dropped_cut, 1);
            free(p);
        } else {
            w->heap[kept++] = p;
        }
    }
    w->heap_len = kept;
    for (size_t i = kept / 2; i-- > 0;) {
        heap_sink(w, i, w->heap[i]);
    }
}

static void change_device(struct lab_wan *w, mrd_region r, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data = {.u32 = r}};

    if (w->now.tun[r] >= 0) {
        epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->now.tun[r], NULL);
        close(w->now.tun[r]);
    }
    purge(w, r);
    for (unsigned i = 0; i < w->regions; i++) {
        memset(&w->state[r][i], 0, sizeof(w->state[r][i]));
        memset(&w->state[i][r], 0, sizeof(w->state[i][r]));
    }
    w->now.tun[r] = fd;
    if (fd >= 0) {
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

/* A slower link would hold back a packet behind the delays of the old one for ever. */
static void change_link(struct lab_wan *w, unsigned from, unsigned to)
{
    if (w->next.edits[from][to] != w->now.edits[from][to]) {
        w->now.link[from][to] = w->next.link[from][to];
        w->now.edits[from][to] = w->next.edits[from][to];
        w->state[from][to].busy_ns = 0;
        w->state[from][to].last_due_ns = 0;
    }
}

/* Returns false when it is time to stop. */
static bool apply_changes(struct lab_wan *w)
{
    uint64_t kicks;
    bool stop;

    if (read(w->event_fd, &kicks, sizeof(kicks)) < 0) {
        return true;
    }
    pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < w->regions; i++) {
        if (w->next.life[i] != w->now.life[i]) {
            change_device(w, (mrd_region)i, w->next.tun[i]);
            w->now.life[i] = w->next.life[i];
        }
        for (unsigned j = 0; j < w->regions; j++) {
            change_link(w, i, j);
        }
    }
    w->applied = w->wanted;
    stop = w->stop;
    pthread_cond_broadcast(&w->applied_cond);
    pthread_mutex_unlock(&w->mutex);
    return !stop;
}

static int wait_events(struct lab_wan *w, struct epoll_event *events, int max)
{
    struct timespec timeout;
    uint64_t at_ns;
    uint64_t due_ns;

    if (w->heap_len == 0) {
        return epoll_pwait2(w->epoll_fd, events, max, NULL, NULL);
    }
    at_ns = now_ns();
    due_ns = w->heap[0]->due_ns > at_ns ? w->heap[0]->due_ns - at_ns : 0;
    timeout.tv_sec = (time_t)(due_ns / LAB_NS_PER_S);
    timeout.tv_nsec = (long)(due_ns % LAB_NS_PER_S);
    return epoll_pwait2(w->epoll_fd, events, max, &timeout, NULL);
}

static void *run(void *arg)
{
    struct lab_wan *w = arg;
    struct epoll_event events[MRD_REGIONS_MAX + 1];
    bool go = true;

    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    pthread_setname_np(pthread_self(), "lab-wan");
    while (go) {
        int n = wait_events(w, events, MRD_REGIONS_MAX + 1);

        release_due(w);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == MRD_REGION_NONE) {
                go = apply_changes(w);
            } else {
                read_device(w, (mrd_region)events[i].data.u32);
            }
        }
    }
    return NULL;
}

/* Called with the mutex held, after editing `next`; releases it. */
static void commit_change(struct lab_wan *w)
{
    uint64_t one = 1;
    uint64_t mine = ++w->wanted;

    if (write(w->event_fd, &one, sizeof(one)) == (ssize_t)sizeof(one)) {
        while (w->applied < mine) {
            pthread_cond_wait(&w->applied_cond, &w->mutex);
        }
    }
    pthread_mutex_unlock(&w->mutex);
}

/* ---- the interface ---- */

static int start(struct lab_wan *w)
{
    struct epoll_event e = {.events = EPOLLIN, .data = {.u32 = MRD_REGION_NONE}};

    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->epoll_fd < 0 || w->event_fd < 0 ||
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->event_fd, &e) != 0 ||
        getrandom(w->random, sizeof(w->random), 0) != (ssize_t)sizeof(w->random)) {
        return -1;
    }
    w->random[0] |= 1; /* the generator must not start from zero */
    errno = pthread_create(&w->thread, NULL, run, w);
    return errno == 0 ? 0 : -1;
}

struct lab_wan *lab_wan_new(unsigned regions)
{
    struct lab_wan *w = calloc(1, sizeof(*w));

    mrd_assert(regions >= 1 && regions <= MRD_REGIONS_MAX);
    if (w == NULL) {
        return NULL;
    }
    w->regions = regions;
    for (unsigned i = 0; i < MRD_REGIONS_MAX; i++) {
        w->next.tun[i] = w->now.tun[i] = -1;
    }
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->applied_cond, NULL);
    if (start(w) != 0) {
        int saved = errno;

        close(w->epoll_fd);
        close(w->event_fd);
        free(w);
        errno = saved;
        return NULL;
    }
    return w;
}

void lab_wan_free(struct lab_wan *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    commit_change(w);
    pthread_join(w->thread, NULL);
    for (unsigned i = 0; i < w->regions; i++) {
        if (w->now.tun[i] >= 0) {
            close(w->now.tun[i]);
        }
    }
    while (w->heap_len > 0) {
        free(w->heap[--w->heap_len]);
    }
    free(w->heap);
    close(w->epoll_fd);
    close(w->event_fd);
    pthread_cond_destroy(&w->applied_cond);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

void lab_wan_attach(struct lab_wan *w, mrd_region region, int tun_fd)
{
    fcntl(tun_fd, F_SETFL, fcntl(tun_fd, F_GETFL) | O_NONBLOCK);
    pthread_mutex_lock(&w->mutex);
    w->next.tun[region] = tun_fd;
    w->next.life[region]++;
    commit_change(w);
}

void lab_wan_detach(struct lab_wan *w, mrd_region region)
{
    pthread_mutex_lock(&w->mutex);
    w->next.tun[region] = -1;
    w->next.life[region]++;
    commit_change(w);
}

void lab_wan_get(struct lab_wan *w, mrd_region from, mrd_region to, struct lab_link_conf *ret)
{
    pthread_mutex_lock(&w->mutex);
    *ret = w->next.link[from][to];
    pthread_mutex_unlock(&w->mutex);
}

void lab_wan_set(struct lab_wan *w, mrd_region from, mrd_region to,
                 const struct lab_link_conf *conf)
{
    pthread_mutex_lock(&w->mutex);
    w->next.link[from][to] = *conf;
    w->next.edits[from][to]++;
    commit_change(w);
}

void lab_wan_stats(struct lab_wan *w, mrd_region from, mrd_region to, struct lab_wan_stats *ret)
{
    const struct counters *c = &w->counters[from][to];

    ret->packets = atomic_load_explicit(&c->packets, memory_order_relaxed);
    ret->bytes = atomic_load_explicit(&c->bytes, memory_order_relaxed);
    ret->lost = atomic_load_explicit(&c->lost, memory_order_relaxed);
    ret->dropped_cut = atomic_load_explicit(&c->dropped_cut, memory_order_relaxed);
    ret->dropped_full = atomic_load_explicit(&c->dropped_full, memory_order_relaxed);
    ret->late_ns_p50 = lab_hist_percentile(&c->late, 50);
    ret->late_ns_p99 = lab_hist_percentile(&c->late, 99);
    ret->late_ns_max = atomic_load_explicit(&c->late.max_ns, memory_order_relaxed);
}
