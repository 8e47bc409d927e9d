/*
 * A measuring rod for the scenarios: round trips, loss and throughput, from inside a region.
 *
 *     netprobe ping ADDRESS COUNT INTERVAL_MS      ICMP echoes, answered by the peer's kernel
 *     netprobe sink PORT                           take one TCP connection and read it to its
 * end netprobe bulk ADDRESS PORT SECONDS           fill one TCP connection for that long
 *
 * ping prints "sent N received N p50_us N min_us N max_us N"; sink prints "mbit N", the rate
 * between its first and last byte, less the first second of ramp.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 20000
#define LAST_WAIT_MS 1500

static uint64_t sent_ns[COUNT_MAX];
static uint64_t rtt_ns[COUNT_MAX];

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void send_echo(int fd, bool v6, unsigned i)
{
    uint8_t packet[64] = {0};

    packet[0] = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    packet[6] = (uint8_t)(i >> 8);
    packet[7] = (uint8_t)i;
    sent_ns[i] = now_ns();
    (void)!write(fd, packet, sizeof(packet));
}

static unsigned receive_echo(int fd, unsigned count, unsigned received)
{
    uint8_t packet[256];
    ssize_t n = read(fd, packet, sizeof(packet));
    unsigned i = (unsigned)packet[6] << 8 | packet[7];

    if (n < 8 || i >= count || sent_ns[i] == 0) {
        return received;
    }
    rtt_ns[received] = now_ns() - sent_ns[i];
    sent_ns[i] = 0; /* a duplicate counts once */
    return received + 1;
}

static int ping(const char *address, unsigned count, unsigned interval_ms)
{
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
    struct sockaddr_in to4 = {.sin_family = AF_INET};
    bool v6 = inet_pton(AF_INET6, address, &to6.sin6_addr) == 1;
    int fd = v6 ? socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6)
                : socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    unsigned sent = 0;
    unsigned received = 0;
    uint64_t next = now_ns();

    if ((!v6 && inet_pton(AF_INET, address, &to4.sin_addr) != 1) || fd < 0 || count == 0 ||
        count > COUNT_MAX ||
        connect(fd, v6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4,
                v6 ? sizeof(to6) : sizeof(to4)) != 0) {
        fprintf(stderr, "netprobe: cannot ping %s: %s\n", address, strerror(errno));
        return 1;
    }
    while (received < count) {
        uint64_t at = now_ns();

        if (sent < count && at >= next) {
            send_echo(fd, v6, sent++);
            next += (uint64_t)interval_ms * 1000000u;
            continue;
        }
        if (sent == count && at > next + (uint64_t)LAST_WAIT_MS * 1000000u) {
            break;
        }
        if (poll(&p, 1, sent < count ? (int)((next - at) / 1000000u) : 100) > 0) {
            received = receive_echo(fd, count, received);
        }
    }
    qsort(rtt_ns, received, sizeof(*rtt_ns), compare);
    printf("sent %u received %u p50_us %llu min_us %llu max_us %llu\n", sent, received,
           (unsigned long long)(received ? rtt_ns[received / 2] / 1000 : 0),
           (unsigned long long)(received ? rtt_ns[0] / 1000 : 0),
           (unsigned long long)(received ? rtt_ns[received - 1] / 1000 : 0));
    return 0;
}

static int sink(uint16_t port)
{
    static char data[1 << 18];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t begin = 0, last = 0, bytes = 0;
    int in;
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0) {
        fprintf(stderr, "netprobe: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    in = accept(fd, NULL, NULL);
    while ((n = read(in, data, sizeof(data))) > 0) {
        last = now_ns();
        if (begin == 0) {
            begin = last + 1000000000u; /* after the ramp */
        }
        bytes += last >= begin ? (uint64_t)n : 0;
    }
    printf("mbit %.2f\n", last > begin ? (double)bytes * 8e3 / (double)(last - begin) : 0.0);
    return 0;
}

static int bulk(const char *address, uint16_t port, unsigned seconds)
{
    static char data[1 << 16];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t end = now_ns() + (uint64_t)seconds * 1000000000u;

    if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        fprintf(stderr, "netprobe: cannot connect to %s: %s\n", address, strerror(errno));
        return 1;
    }
    while (now_ns() < end && write(fd, data, sizeof(data)) > 0) {
    }
    return 0;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (argc == 5 && strcmp(argv[1], "ping") == 0) {
        return ping(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
    }
    if (argc == 3 && strcmp(argv[1], "sink") == 0) {
        return sink((uint16_t)atoi(argv[2]));
    }
    if (argc == 5 && strcmp(argv[1], "bulk") == 0) {
        return bulk(argv[2], (uint16_t)atoi(argv[3]), (unsigned)atoi(argv[4]));
    }
    fprintf(stderr, "usage: netprobe ping ADDRESS COUNT INTERVAL_MS | sink PORT | "
                    "bulk ADDRESS PORT SECONDS\n");
    return 2;
}
