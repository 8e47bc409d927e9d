/*
 * dnsload PORT NAME COUNT
 *
 * Sends COUNT queries for A of NAME to 127.0.0.1:PORT over UDP, each with a client subnet drawn
 * from 10.0.0.0/8, keeping a window of them in flight, and says what came back:
 *
 *     answered 200000 wrong 0 lost 0 seconds 1.234
 *
 * It measures nothing else: what a query costs is read from the server's CPU time, because on
 * loopback the sender and the kernel cost more than the server. A window without an answer for
 * 300 ms is counted as lost and begun anew, so the program always ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 256u
#define BATCH 32u
#define SILENCE_MS 300
#define PACKET_MAX 512u

struct load {
    int fd;
    uint8_t query[PACKET_MAX];
    size_t len, subnet_at; /* where the three address bytes stand */
    uint32_t random;
    unsigned long sent, answered, wrong, lost;
};

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t draw(struct load *l)
{
    l->random = l->random * 1664525u + 1013904223u;
    return l->random >> 8;
}

/* Header, question, and an OPT record with a client subnet of 24 bits (RFC 7871, 6). */
static bool make_query(struct load *l, const char *name)
{
    static const uint8_t head[12] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
    static const uint8_t tail[] = {0, 0,  1,  0,    1,                /* root, A, IN */
                                   0, 0,  41, 0x04, 0xd0, 0, 0, 0, 0, /* OPT, 1232 bytes */
                                   0, 11, 0,  8,    0,    7, 0, 1, 24, 0, 10, 0, 0};
    uint8_t *at = l->query + sizeof(head);

    memcpy(l->query, head, sizeof(head));
    while (*name != '\0') {
        size_t label = strcspn(name, ".");

        if (label == 0 || label > 63 || at - l->query > 200) {
            return false;
        }
        *at++ = (uint8_t)label;
        memcpy(at, name, label);
        at += label;
        name += label + (name[label] == '.');
    }
    memcpy(at, tail, sizeof(tail));
    l->len = (size_t)(at - l->query) + sizeof(tail);
    l->subnet_at = l->len - 3;
    return true;
}

/* Send up to @count more; fewer when the socket is full. */
static void send_some(struct load *l, unsigned count)
{
    static uint8_t packets[BATCH][PACKET_MAX];
    struct mmsghdr msgs[BATCH] = {0};
    struct iovec iov[BATCH];
    int done = 0;

    count = count < BATCH ? count : BATCH;
    for (unsigned i = 0; i < count; i++) {
        uint32_t r = draw(l);

        memcpy(packets[i], l->query, l->len);
        memcpy(packets[i], &r, 2);
        packets[i][l->subnet_at + 1] = (uint8_t)(r >> 16);
        packets[i][l->subnet_at + 2] = (uint8_t)draw(l);
        iov[i] = (struct iovec){packets[i], l->len};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    done = sendmmsg(l->fd, msgs, count, MSG_DONTWAIT);
    l->sent += done > 0 ? (unsigned)done : 0;
}

static void receive_some(struct load *l)
{
    static uint8_t packets[BATCH][PACKET_MAX];
    struct mmsghdr msgs[BATCH] = {0};
    struct iovec iov[BATCH];
    int got = 0;

    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){packets[i], PACKET_MAX};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    got = recvmmsg(l->fd, msgs, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        bool fine = msgs[i].msg_len >= 12 && (packets[i][3] & 15) == 0 && packets[i][7] == 2;

        l->answered++;
        l->wrong += !fine;
    }
}

static void run(struct load *l, unsigned long count)
{
    while (l->answered + l->lost < count) {
        unsigned long flying = l->sent - l->answered - l->lost;
        struct pollfd p = {.fd = l->fd, .events = POLLIN};

        if (flying < WINDOW && l->sent < count) {
            unsigned long room = count - l->sent;

            send_some(l, (unsigned)(room < WINDOW - flying ? room : WINDOW - flying));
            continue;
        }
        if (poll(&p, 1, SILENCE_MS) > 0) {
            receive_some(l);
        } else {
            l->lost += flying;
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct load l = {.random = 1};
    double began = 0;

    if (argc != 4 || !make_query(&l, argv[2])) {
        fprintf(stderr, "usage: dnsload PORT NAME COUNT\n");
        return 2;
    }
    to.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (l.fd < 0 || connect(l.fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        perror("dnsload");
        return 1;
    }
    began = seconds();
    run(&l, strtoul(argv[3], NULL, 10));
    printf("answered %lu wrong %lu lost %lu seconds %.3f\n", l.answered, l.wrong, l.lost,
           seconds() - began);
    close(l.fd);
    return 0;
}
