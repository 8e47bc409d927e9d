/*
 * Starting, killing and pausing a region (region.h).
 *
 * Start is a handshake over a socket pair: init arms its parent-death signal and builds its
 * side, sends the TUN device, and waits for "go". If the daemon died in between, init reads
 * end of file instead and exits, so there is no moment at which it could be left behind.
 *
 * Two things guard the data directory against a second life while the first is still dying:
 * waitpid on pid 1 returns only when its namespace is empty, and REGION/lock is held through a
 * descriptor that every process of the region inherits.
 */
#include "region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

#define START_MS 15000
#define LOCK_TRIES 50 /* of 100 ms */
#define STOP_ROUNDS 200

const char *lab_state_name(enum lab_state s)
{
    static const char *const names[] = {"killed", "running", "paused"};

    return names[s];
}

static const char *const part_names[LAB_PARTS] = {"all",   "agent", "pg",
                                                  "nginx", "knot",  "shop"};

enum lab_part lab_part_parse(const char *name)
{
    unsigned i = 0;

    while (i < LAB_PARTS && strcmp(name, part_names[i]) != 0) {
        i++;
    }
    return (enum lab_part)i;
}

static void nap_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* ---- start ---- */

/* The lock that outlives no process of the region; -1 when an earlier one still has it. */
static int take_lock(const struct lab_world *w, unsigned index, struct mrd_err *err)
{
    char path[LAB_PATH];
    int fd;

    lab_world_path(w, index, "lock", path);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return fd;
        }
        nap_ms(100);
    }
    if (fd >= 0) {
        close(fd);
    }
    mrd_err_set(err, MRD_EUNAVAILABLE,
                "could not start region \"%s\": processes of its earlier life still run",
                w->config->regions[index].name);
    mrd_err_hint(err, "Find them with: fuser %s.", path);
    return -1;
}

/*
 * In the child, which shares nothing but is a copy of one thread of a threaded program: only
 * system calls until exec.
 */
static void become_init(int ctl, int lock, int log, char *const argv[])
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    /* 10 and 11 first: 3 or 4 may be one of the originals. */
    ctl = fcntl(ctl, F_DUPFD, 10);
    lock = fcntl(lock, F_DUPFD, 10);
    dup2(ctl, 3);
    dup2(lock, 4);
    close(ctl);
    close(lock);
    execv("/proc/self/exe", argv);
    _exit(127);
}

int lab_region_lose_disk(const struct lab_world *w, unsigned index, struct mrd_err *err)
{
    char state[LAB_PATH], path[LAB_PATH];
    char *argv[] = {(char *)w->bin, (char *)"anew",   (char *)"--state",
                    state,          (char *)"--wipe", NULL};

    if (w->bare) {
        return mrd_err_set(err, MRD_EINVAL, "a bare region has no disk to lose");
    }
    lab_world_path(w, index, "state", state);
    /* A number from another pid namespace, which may be somebody's in ours. */
    lab_world_path(w, index, "state/pg/postmaster.pid", path);
    unlink(path);
    return lab_run(argv, err);
}

static pid_t spawn(const struct lab_world *w, unsigned index, int ctl, int lock)
{
    char log_path[LAB_PATH], number[8];
    char *argv[] = {(char *)w->bin, (char *)"lab-init",
                    (char *)w->dir, w->bare ? (char *)"bare" : (char *)"full",
                    number,         NULL};
    unsigned long flags =
        CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD;
    pid_t pid = -1;
    int log;

    snprintf(number, sizeof(number), "%u", index);
    lab_world_path(w, index, "log/init.log", log_path);
    log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log >= 0) {
        pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
        if (pid == 0) {
            become_init(ctl, lock, log, argv);
        }
        close(log);
    }
    return pid;
}

/* Init's first word: "ready" with the TUN device, or "error ..." */
static int receive_ready(int ctl, int *ret_tun, struct mrd_err *err)
{
    char text[512] = "";
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {text, sizeof(text) - 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct pollfd p = {.fd = ctl, .events = POLLIN};
    struct cmsghdr *c;

    if (poll(&p, 1, START_MS) != 1 || recvmsg(ctl, &msg, MSG_CMSG_CLOEXEC) <= 0) {
        return mrd_err_set(err, MRD_EIO, "its init died or did not answer; see log/init.log");
    }
    c = CMSG_FIRSTHDR(&msg);
    if (strcmp(text, "ready") != 0 || c == NULL || c->cmsg_type != SCM_RIGHTS) {
        return mrd_err_set(err, MRD_EIO, "%s", text);
    }
    memcpy(ret_tun, CMSG_DATA(c), sizeof(*ret_tun));
    return 0;
}

static int handshake(struct lab_region *r, int *ret_tun, int *ret_netns, struct mrd_err *err)
{
    char path[64];
    int code = receive_ready(r->ctl_fd, ret_tun, err);

    if (code != 0) {
        return code;
    }
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)r->init_pid);
    *ret_netns = open(path, O_RDONLY | O_CLOEXEC);
    if (*ret_netns < 0 || send(r->ctl_fd, "go", 2, MSG_NOSIGNAL) != 2) {
        close(*ret_tun);
        if (*ret_netns >= 0) {
            close(*ret_netns);
        }
        return mrd_err_set(err, MRD_EIO, "its init died: %s", strerror(errno));
    }
    return 0;
}

int lab_region_start(const struct lab_world *w, unsigned index, struct lab_region *r,
                     int *ret_tun, int *ret_netns, struct mrd_err *err)
{
    int pair[2] = {-1, -1};
    int lock;
    int code = lab_world_prepare(w, index, err);

    if (code != 0) {
        return code;
    }
    lock = take_lock(w, index, err);
    if (lock < 0) {
        return MRD_EUNAVAILABLE;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0) {
        r->init_pid = spawn(w, index, pair[1], lock);
        r->ctl_fd = pair[0];
        close(pair[1]);
    }
    close(lock);
    if (pair[0] < 0 || r->init_pid < 0) {
        r->init_pid = 0;
        return mrd_err_set(err, MRD_EIO, "could not make the region's namespaces: %s",
                           strerror(errno));
    }
    code = handshake(r, ret_tun, ret_netns, err);
    if (code != 0) {
        lab_region_kill(r);
        return code;
    }
    r->state = LAB_RUNNING;
    return 0;
}

void lab_region_kill(struct lab_region *r)
{
    if (r->init_pid > 0) {
        kill(r->init_pid, SIGKILL);
        while (waitpid(r->init_pid, NULL, 0) < 0 && errno == EINTR) {
        }
        close(r->ctl_fd);
    }
    r->init_pid = 0;
    r->ctl_fd = -1;
    r->state = LAB_KILLED;
}

/* ---- signals to the processes inside ---- */

static bool file_starts(const char *path, const char *want, size_t skip_words)
{
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    const char *p = text;

    if (fd >= 0) {
        close(fd);
    }
    if (n <= 0) {
        return false;
    }
    text[n] = '\0';
    while (skip_words-- > 0) {
        p += strlen(p) + 1;
        if (p >= text + n) {
            return false;
        }
    }
    return strcmp(p, want) == 0;
}

static bool belongs(int pid, enum lab_part part)
{
    static const char *const comms[LAB_PARTS] = {"",        "meridian\n", "postgres\n",
                                                 "nginx\n", "knotd\n",    "shop\n"};
    char path[64];

    if (part == LAB_ALL) {
        return true;
    }
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    if (!file_starts(path, comms[part], 0)) {
        return false;
    }
    if (part == LAB_AGENT) { /* not init, which is the same program */
        snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
        return file_starts(path, "agent", 1);
    }
    return true;
}

static bool same_namespace(int pid, ino_t ns)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
    return stat(path, &st) == 0 && st.st_ino == ns;
}

/* The letter of proc(5); X, dead, when it is gone. */
static char state_of(int pid)
{
    char path[64], text[512];
    const char *paren;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    if (n <= 0) {
        return 'X';
    }
    text[n] = '\0';
    paren = strrchr(text, ')'); /* the name before it may contain anything */
    return paren != NULL && paren[1] == ' ' ? paren[2] : '?';
}

/* Stopped, or past caring. */
static bool at_rest(int pid)
{
    return strchr("TtZX", state_of(pid)) != NULL;
}

/* One pass over the region's processes; returns how many, how many stand, and how many move. */
static int signal_once(ino_t ns, enum lab_part part, int signal, int *ret_stopped,
                       int *ret_restless)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    int hit = 0;

    *ret_stopped = *ret_restless = 0;
    while (d != NULL && (e = readdir(d)) != NULL) {
        int pid = atoi(e->d_name);

        if (pid > 0 && same_namespace(pid, ns) && belongs(pid, part)) {
            hit++;
            *ret_stopped += state_of(pid) == 'T';
            if (signal != SIGSTOP) {
                kill(pid, signal);
            } else if (!at_rest(pid)) {
                ++*ret_restless;
                kill(pid, signal);
            }
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return hit;
}

static bool find_namespace(const struct lab_region *r, ino_t *ret)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)r->init_pid);
    if (r->init_pid == 0 || stat(path, &st) != 0) {
        return false;
    }
    *ret = st.st_ino;
    return true;
}

int lab_region_stopped(const struct lab_region *r, enum lab_part part)
{
    ino_t ns;
    int stopped = 0, restless;

    if (find_namespace(r, &ns)) {
        signal_once(ns, part, 0, &stopped, &restless);
    }
    return stopped;
}

int lab_region_signal(const struct lab_region *r, enum lab_part part, int signal)
{
    ino_t ns;
    int stopped, restless;
    int hit = 0;

    if (!find_namespace(r, &ns)) {
        return 0;
    }
    /* Pid 1 first, so that it restarts nothing that stops. */
    if (part == LAB_ALL) {
        kill(r->init_pid, signal);
    }
    for (int i = 0; i < STOP_ROUNDS; i++) {
        hit = signal_once(ns, part, signal, &stopped, &restless);
        if (restless == 0) {
            return hit;
        }
        nap_ms(5);
    }
    return MRD_ETIMEDOUT;
}

int lab_region_hold(const struct lab_region *r, enum lab_part part, bool hold)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%s %s", hold ? "hold" : "release", part_names[part]);

    return send(r->ctl_fd, text, (size_t)n, MSG_NOSIGNAL) == n ? 0 : MRD_EIO;
}
