/*
 * `meridian lab-init`: pid 1 of a region. Not for people.
 *
 * It was cloned into fresh namespaces and makes a host out of them: mounts (a proc of its own,
 * /run and /dev/shm as tmpfs, the build laid over the system's PostgreSQL directories with
 * overlayfs, so nothing is installed into the host), a name, a loopback and one TUN device
 * with the region's addresses. The device goes to the daemon, which is the network. Then it
 * reaps, and keeps the agent and the shop running with growing pauses between attempts. The
 * agent starts PostgreSQL, nginx and knotd itself.
 *
 * It ends when the daemon does: by parent-death signal, or by end of file on the control
 * socket, whichever comes first; the kernel then kills all that is left in the namespace.
 *
 * Arguments: DIR full|bare INDEX. Descriptor 3 is the control socket, 4 the region's lock,
 * which children inherit.
 */
#include <cli.h>

#include "files.h"
#include "paths.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CTL 3
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 10000
#define STEADY_MS 30000 /* ran this long: the next pause is short again */
#define ARGS_MAX 24

struct service {
    const char *name;
    char *argv[ARGS_MAX];
    pid_t pid; /* 0: not running */
    bool held; /* kept down on purpose */
    uint64_t started_ms, retry_at_ms, retry_ms;
};

static uint64_t mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    va_list ap;

    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", gmtime_r(&now, &tm));
    fprintf(stderr, "%s ", stamp);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- the host we make ---- */

static int failed(struct mrd_err *err, const char *what, const char *path)
{
    return mrd_err_set(err, MRD_EIO, "could not %s %s: %s", what, path, strerror(errno));
}

/* Lay @from over @to. */
static int overlay(const char *from, const char *to, struct mrd_err *err)
{
    char options[LAB_PATH + PATH_MAX];

    snprintf(options, sizeof(options), "lowerdir=%s:%s", from, to);
    if (mount("overlay", to, "overlay", MS_RDONLY | MS_NODEV, options) != 0) {
        return failed(err, "lay the build over", to);
    }
    return 0;
}

static int mount_overlays(const struct lab_world *w, unsigned index, struct mrd_err *err)
{
    char from[LAB_PATH];
    int code;

    lab_world_path(w, index, "stage/pg-lib", from);
    code = overlay(from, LAB_PG_LIBDIR, err);
    if (code == 0) {
        lab_world_path(w, index, "stage/pg-ext", from);
        code = overlay(from, LAB_PG_EXTDIR, err);
    }
    return code;
}

static int mount_runtime(const struct lab_world *w, unsigned index, struct mrd_err *err)
{
    char run[LAB_PATH], hosts[LAB_PATH];

    snprintf(run, sizeof(run), "%s/%s", w->run_root, w->config->regions[index].name);
    lab_world_path(w, index, "hosts", hosts);
    /* /run first, then the host's /dev/shm below it, and only then hide that one. */
    if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0 ||
        mkdir(LAB_RUN_INSIDE, 0755) != 0 ||
        mount(run, LAB_RUN_INSIDE, NULL, MS_BIND, NULL) != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0) {
        return failed(err, "mount", "/run and /dev/shm");
    }
    if (mount(hosts, "/etc/hosts", NULL, MS_BIND, NULL) != 0) {
        return failed(err, "mount", "/etc/hosts");
    }
    return 0;
}

static int make_mounts(const struct lab_world *w, unsigned index, struct mrd_err *err)
{
    int code = 0;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        return failed(err, "mount", "/proc");
    }
    if (!w->bare && w->build[0] != '\0') {
        code = mount_overlays(w, index, err);
    }
    return code != 0 ? code : mount_runtime(w, index, err);
}

static void set_sysctl(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0) {
        say("could not set %s to \"%s\": %s", path, value, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* The default buffers would hold 80 ms paths at a few hundred Mbit/s. */
static void set_sysctls(void)
{
    set_sysctl("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 33554432");
    set_sysctl("/proc/sys/net/ipv4/tcp_wmem", "4096 65536 33554432");
    set_sysctl("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    set_sysctl("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}

static int open_tun(struct mrd_err *err)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "wan0");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
        failed(err, "make a TUN device with", "/dev/net/tun");
        return -1;
    }
    return fd;
}

static int configure_network(unsigned index, struct mrd_err *err)
{
    char script[1024];

    snprintf(script, sizeof(script),
             "ip link set lo up && ip link set wan0 addrgenmode none && "
             "ip link set wan0 mtu 1500 up txqueuelen 1000 && "
             "ip addr add 10.77.%u.1/32 dev wan0 && ip route add 10.77.0.0/16 dev wan0 && "
             "ip -6 addr add fd77::%x/128 dev wan0 nodad && ip -6 route add fd77::/64 dev wan0",
             index + 1, index + 1);
    return lab_run((char *[]){(char *)"sh", (char *)"-c", script, NULL}, err);
}

static int make_host(const struct lab_world *w, unsigned index, struct mrd_err *err)
{
    const char *name = w->config->regions[index].name;
    int tun = -1;

    if (make_mounts(w, index, err) == 0 && sethostname(name, strlen(name)) == 0) {
        set_sysctls();
        tun = open_tun(err);
        if (tun >= 0 && configure_network(index, err) != 0) {
            close(tun);
            tun = -1;
        }
    }
    return tun;
}

/* ---- the handshake ---- */

static int send_ready(int tun)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec iov = {(void *)(uintptr_t) "ready", 5};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    char go[8];

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &tun, sizeof(tun));
    if (sendmsg(CTL, &msg, MSG_NOSIGNAL) != 5 || recv(CTL, go, sizeof(go), 0) != 2) {
        return -1;
    }
    close(tun); /* the daemon's copy is the network */
    return 0;
}

/* ---- services ---- */

static void add_arg(struct service *s, const char *text)
{
    size_t n = 0;

    while (s->argv[n] != NULL) {
        n++;
    }
    mrd_assert(n + 1 < ARGS_MAX);
    s->argv[n] = strdup(text);
    mrd_assert(s->argv[n] != NULL);
}

static void program_path(const struct lab_world *w, unsigned index, const char *name,
                         char ret[LAB_PATH])
{
    char relative[64];

    snprintf(relative, sizeof(relative), "stage/bin/%s", name);
    if (w->build[0] != '\0') {
        lab_world_path(w, index, relative, ret);
    } else {
        snprintf(ret, LAB_PATH, "%s/%s",
                 strcmp(name, "meridian") == 0 ? LAB_BIN_DIR : LAB_LIBEXEC_DIR, name);
    }
}

static void describe_agent(struct service *s, const struct lab_world *w, unsigned index)
{
    char path[LAB_PATH];

    s->name = "agent";
    program_path(w, index, "meridian", path);
    add_arg(s, path);
    add_arg(s, "agent");
    add_arg(s, "-f");
    snprintf(path, sizeof(path), "%s/meridian.yaml", w->dir);
    add_arg(s, path);
    add_arg(s, "--region");
    add_arg(s, w->config->regions[index].name);
    add_arg(s, "--state");
    lab_world_path(w, index, "state", path);
    add_arg(s, path);
    add_arg(s, "--run");
    add_arg(s, LAB_RUN_INSIDE);
    add_arg(s, "--log");
    lab_world_path(w, index, "log", path);
    add_arg(s, path);
    if (w->config->regions[index].witness) {
        return;
    }
    add_arg(s, "--manage");
    add_arg(s, "pg,nginx,knot");
    add_arg(s, "--nginx-conf");
    lab_world_path(w, index, "state/nginx/nginx.conf", path);
    add_arg(s, path);
    add_arg(s, "--knot-conf");
    lab_world_path(w, index, "state/knot/knot.conf", path);
    add_arg(s, path);
}

static void describe_shop(struct service *s, const struct lab_world *w, unsigned index)
{
    char text[LAB_PATH];

    s->name = "shop";
    program_path(w, index, "shop", text);
    add_arg(s, text);
    add_arg(s, "--listen");
    add_arg(s, "127.0.0.1:9000");
    add_arg(s, "--db");
    snprintf(text, sizeof(text), "host=%s dbname=%s user=%s", LAB_RUN_INSIDE,
             w->config->regions[index].db_name, LAB_USER);
    add_arg(s, text);
    add_arg(s, "--region");
    add_arg(s, w->config->regions[index].name);
}

static void service_exec(const struct service *s, const struct lab_world *w, unsigned index)
{
    char path[LAB_PATH], name[64];
    sigset_t none;
    int log;

    snprintf(name, sizeof(name), "log/%s.log", s->name);
    lab_world_path(w, index, name, path);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(CTL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (initgroups(LAB_USER, w->gid) != 0 || setgid(w->gid) != 0 || setuid(w->uid) != 0 ||
        chdir(w->dir) != 0) {
        _exit(126);
    }
    setenv("HOME", "/var/lib/postgresql", 1);
    program_path(w, index, "lab-clockshim.so", path);
    setenv("LD_PRELOAD", path, 1);
    setenv("MERIDIAN_LAB_CLOCK", LAB_RUN_INSIDE "/clock", 1);
    execv(s->argv[0], s->argv);
    fprintf(stderr, "could not run %s: %s\n", s->argv[0], strerror(errno));
    _exit(127);
}

static void service_start(struct service *s, const struct lab_world *w, unsigned index)
{
    s->started_ms = mono_ms();
    s->pid = fork();
    if (s->pid == 0) {
        service_exec(s, w, index);
    }
    if (s->pid < 0) {
        s->pid = 0;
        s->retry_at_ms = s->started_ms + RETRY_MAX_MS;
    }
}

static void service_ended(struct service *s, int status)
{
    uint64_t now = mono_ms();

    s->pid = 0;
    if (s->retry_ms == 0 || now - s->started_ms > STEADY_MS) {
        s->retry_ms = RETRY_MIN_MS;
    }
    s->retry_at_ms = now + s->retry_ms;
    say("%s ended, %s %d; starting it again in %llu ms", s->name,
        WIFSIGNALED(status) ? "signal" : "status",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        (unsigned long long)s->retry_ms);
    s->retry_ms = s->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : s->retry_ms * 2;
}

static void reap(struct service *services, size_t count)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < count; i++) {
            if (services[i].pid == pid) {
                service_ended(&services[i], status);
            }
        }
    }
}

/* Start what is due; returns how long to sleep, or -1 for ever. */
static int start_due(struct service *services, size_t count, const struct lab_world *w,
                     unsigned index)
{
    uint64_t now = mono_ms();
    int timeout = -1;

    for (size_t i = 0; i < count; i++) {
        struct service *s = &services[i];

        if (s->pid != 0 || s->held) {
            continue;
        }
        if (s->retry_at_ms <= now) {
            service_start(s, w, index);
        } else if (timeout < 0 || s->retry_at_ms - now < (uint64_t)timeout) {
            timeout = (int)(s->retry_at_ms - now);
        }
    }
    return timeout;
}

static void obey(const char *order, struct service *services, size_t count)
{
    char verb[16], name[16];

    if (sscanf(order, "%15s %15s", verb, name) != 2) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(services[i].name, name) == 0) {
            services[i].held = strcmp(verb, "hold") == 0;
            services[i].retry_at_ms = 0;
            services[i].retry_ms = 0;
        }
    }
}

static int serve(struct service *services, size_t count, const struct lab_world *w,
                 unsigned index)
{
    sigset_t chld;
    struct pollfd polls[2] = {{.fd = CTL, .events = POLLIN}, {.events = POLLIN}};

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    polls[1].fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    for (;;) {
        int timeout = start_due(services, count, w, index);

        poll(polls, 2, timeout);
        if (polls[0].revents != 0) {
            char order[64];
            ssize_t n = recv(CTL, order, sizeof(order) - 1, 0);

            if (n <= 0) {
                return 0; /* the daemon is gone; so are we, and all with us */
            }
            order[n] = '\0';
            obey(order, services, count);
        }
        if (polls[1].revents != 0) {
            struct signalfd_siginfo info;

            while (read(polls[1].fd, &info, sizeof(info)) > 0) {
            }
        }
        reap(services, count);
    }
}

int cli_lab_init(int argc, char **argv)
{
    static struct lab_world w;
    struct service services[2] = {{.pid = 0}, {.pid = 0}};
    struct mrd_err err = {.code = 0};
    size_t count = 0;
    unsigned index;
    int tun = -1;

    if (argc != 4 || getpid() != 1) {
        fprintf(stderr, "meridian lab-init: only `meridian lab` starts this\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fcntl(CTL, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    index = (unsigned)strtoul(argv[3], NULL, 10);
    if (lab_world_enter(&w, argv[1], &err) == 0 && index < w.config->region_count) {
        w.bare = strcmp(argv[2], "bare") == 0;
        tun = make_host(&w, index, &err);
    }
    if (tun < 0) {
        send(CTL, err.text, strlen(err.text), MSG_NOSIGNAL);
        say("%s", err.text);
        return 1;
    }
    if (send_ready(tun) != 0) {
        return 1;
    }
    if (!w.bare) {
        describe_agent(&services[count++], &w, index);
        if (!w.config->regions[index].witness) {
            describe_shop(&services[count++], &w, index);
        }
    }
    return serve(services, count, &w, index);
}
