/*
 * The daemon's loop, its commands and lab.json (daemon.h).
 *
 * Commands run one at a time in the main thread, each to its end: when the answer arrives, the
 * fault is in force. The network and the doors have threads of their own and never wait for a
 * command.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <load.h>

#include "files.h"
#include "forward.h"
#include "region.h"
#include "wan.h"

#define REQUEST_MAX 8192
#define CLIENT_TIMEOUT_S 2

enum door { DOOR_PG, DOOR_HTTP, DOOR_DNS_TCP, DOOR_DNS_UDP, DOORS };

static const struct {
    const char *name; /* in ports.json */
    uint16_t port;    /* inside */
    bool udp, loopback;
} doors[DOORS] = {
    /* PostgreSQL trusts its own host; the others answer on the region's address. */
    {"pg", 5432, false, true},
    {"http", 8080, false, false},
    {"dns_tcp", 53, false, false},
    {"dns", 53, true, false},
};

struct daemon {
    struct lab_world *world;
    struct lab_wan *wan;
    struct lab_forward *forward;
    struct lab_region regions[MRD_REGIONS_MAX];
    int ports[MRD_REGIONS_MAX][DOORS];
    unsigned count;
    int lock_fd, listen_fd, signal_fd;
    bool stop;
};

static const char *region_name(const struct daemon *d, unsigned i)
{
    return d->world->config->regions[i].name;
}

static void dir_path(const struct daemon *d, const char *name, char ret[LAB_PATH])
{
    snprintf(ret, LAB_PATH, "%s/%s", d->world->dir, name);
}

/* ---- status ---- */

static json_t *link_json(struct daemon *d, unsigned a, unsigned b)
{
    struct lab_link_conf c;
    struct lab_wan_stats s;

    lab_wan_get(d->wan, (mrd_region)a, (mrd_region)b, &c);
    lab_wan_stats(d->wan, (mrd_region)a, (mrd_region)b, &s);
    return json_pack(
        "{ss ss sf sf sf sf sf sb sI sI sI sI sI sf sf sf}", "from", region_name(d, a), "to",
        region_name(d, b), "delay_ms", (double)c.delay_ns / 1e6, "jitter_ms",
        (double)c.jitter_ns / 1e6, "loss_percent", c.loss_ppm / 1e4, "duplicate_percent",
        c.dup_ppm / 1e4, "rate_mbit", (double)c.rate_bps / 1e6, "cut", c.cut, "packets",
        (json_int_t)s.packets, "bytes", (json_int_t)s.bytes, "lost", (json_int_t)s.lost,
        "dropped_cut", (json_int_t)s.dropped_cut, "dropped_full", (json_int_t)s.dropped_full,
        "late_us_p50", (double)s.late_ns_p50 / 1e3, "late_us_p99", (double)s.late_ns_p99 / 1e3,
        "late_us_max", (double)s.late_ns_max / 1e3);
}

static json_t *region_json(struct daemon *d, unsigned i)
{
    const struct lab_world *w = d->world;
    const struct mrd_conf_region *conf = &w->config->regions[i];
    const int *ports = d->ports[i];
    char state[LAB_PATH], log[LAB_PATH], run[LAB_PATH], agent[LAB_PATH + 16],
        snapshot[LAB_PATH + 16], dsn[256], url[64], address[32];

    lab_world_path(w, i, "state", state);
    lab_world_path(w, i, "log", log);
    snprintf(run, sizeof(run), "%s/%s", w->run_root, conf->name);
    snprintf(agent, sizeof(agent), "%s/agent.sock", run);
    snprintf(snapshot, sizeof(snapshot), "%s/snapshot", run);
    snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%d dbname=%s user=%s", ports[DOOR_PG],
             conf->db_name, LAB_USER);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ports[DOOR_HTTP]);
    snprintf(address, sizeof(address), "10.77.%u.1", i + 1);
    return json_pack("{ss ss sb si sf ss ss ss ss ss ss s{ss si ss ss} ss s{ss si si}}", "name",
                     conf->name, "state", lab_state_name(d->regions[i].state), "witness",
                     conf->witness, "init_pid", (int)d->regions[i].init_pid, "clock_offset_s",
                     (double)lab_world_clock(w, i) / 1e9, "address", address, "state_dir",
                     state, "run_dir", run, "agent_socket", agent, "snapshot", snapshot,
                     "log_dir", log, "pg", "host", "127.0.0.1", "port", ports[DOOR_PG],
                     "database", conf->db_name, "dsn", dsn, "http_url", url, "dns", "host",
                     "127.0.0.1", "port", ports[DOOR_DNS_UDP], "tcp_port", ports[DOOR_DNS_TCP]);
}

static json_t *status_json(struct daemon *d)
{
    json_t *regions = json_array();
    json_t *links = json_array();

    for (unsigned i = 0; i < d->count; i++) {
        json_array_append_new(regions, region_json(d, i));
        for (unsigned j = 0; j < d->count; j++) {
            if (i != j) {
                json_array_append_new(links, link_json(d, i, j));
            }
        }
    }
    return json_pack("{ss si ss ss sb so so}", "dir", d->world->dir, "pid", (int)getpid(),
                     "config", d->world->config->name, "zone", d->world->config->dns_zone,
                     "bare", d->world->bare, "regions", regions, "links", links);
}

static void write_json(struct daemon *d, const char *name, json_t *value)
{
    char path[LAB_PATH];
    char *text = json_dumps(value, JSON_INDENT(2));

    dir_path(d, name, path);
    if (text == NULL || lab_write_file(path, text, strlen(text), 0644) != 0) {
        fprintf(stderr, "could not write %s: %s\n", path, strerror(errno));
    }
    free(text);
    json_decref(value);
}

static void publish(struct daemon *d)
{
    write_json(d, "lab.json", status_json(d));
}

/* ---- doors ---- */

/* The ports of this lab's last life, so that bookmarks go on working. */
static int remembered_port(json_t *old, const char *region, const char *door)
{
    json_int_t port = json_integer_value(json_object_get(json_object_get(old, region), door));

    return port > 0 && port < 65536 ? (int)port : 0;
}

static int open_doors(struct daemon *d, struct mrd_err *err)
{
    char path[LAB_PATH];
    json_t *old;
    json_t *ports = json_object();

    dir_path(d, "ports.json", path);
    old = json_load_file(path, 0, NULL);
    for (unsigned i = 0; i < d->count; i++) {
        json_t *mine = json_object();

        for (unsigned k = 0; k < DOORS; k++) {
            struct in_addr to = {
                htonl(doors[k].loopback ? INADDR_LOOPBACK : 0x0a4d0001u | (i + 1) << 8)};
            int wanted = k == DOOR_DNS_UDP
                             ? d->ports[i][DOOR_DNS_TCP]
                             : remembered_port(old, region_name(d, i), doors[k].name);
            int port = lab_forward_open(d->forward, (mrd_region)i, doors[k].udp, to,
                                        doors[k].port, (uint16_t)wanted);

            if (port < 0) {
                json_decref(old);
                json_decref(ports);
                json_decref(mine);
                return mrd_err_set(err, MRD_EIO, "could not listen on 127.0.0.1: %s",
                                   strerror(errno));
            }
            d->ports[i][k] = port;
            json_object_set_new(mine, doors[k].name, json_integer(port));
        }
        json_object_set_new(ports, region_name(d, i), mine);
    }
    json_decref(old);
    write_json(d, "ports.json", ports);
    return 0;
}

/* ---- commands ---- */

static json_t *refuse(const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static json_t *refuse(const char *hint, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return json_pack("{ss ss}", "error", text, "hint", hint);
}

static json_t *done(void)
{
    return json_pack("{sb}", "ok", true);
}

static int find_region(const struct daemon *d, json_t *request, const char *key)
{
    const char *name = json_string_value(json_object_get(request, key));

    return name != NULL ? mrd_config_region(d->world->config, name) : -1;
}

static json_t *no_region(const struct daemon *d, json_t *request, const char *key)
{
    const char *name = json_string_value(json_object_get(request, key));
    const char *words[MRD_REGIONS_MAX + 1];
    char hint[160];

    name = name != NULL ? name : "";
    mrd_config_region_words(d->world->config, words);
    mrd_config_hint(name, words, "List the regions with: meridian lab status.", hint,
                    sizeof(hint));
    return refuse(hint, "there is no region \"%s\"", name);
}

static json_t *not_running(const struct daemon *d, int r)
{
    const char *name = region_name(d, (unsigned)r);
    char hint[100];

    snprintf(hint, sizeof(hint), "Start it with: meridian lab start %s.", name);
    return refuse(hint, "region \"%s\" is killed", name);
}

static int start_region(struct daemon *d, unsigned i, struct mrd_err *err)
{
    int tun = -1;
    int netns = -1;
    int code = lab_region_start(d->world, i, &d->regions[i], &tun, &netns, err);

    if (code == 0) {
        lab_wan_attach(d->wan, (mrd_region)i, tun);
        lab_forward_region(d->forward, (mrd_region)i, netns);
    }
    return code;
}

/*
 * The network first: a host that loses power sends nothing more, and above all not the
 * resets by which its kernel would tell the others at once.
 */
static void kill_region(struct daemon *d, unsigned i)
{
    lab_wan_detach(d->wan, (mrd_region)i);
    lab_region_kill(&d->regions[i]);
    lab_forward_region(d->forward, (mrd_region)i, -1);
}

static enum lab_part part_of(json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "part"));

    return name == NULL ? LAB_ALL : lab_part_parse(name);
}

static json_t *signal_part(struct daemon *d, int r, enum lab_part part, int signal)
{
    int n = lab_region_signal(&d->regions[r], part, signal);

    if (n == MRD_ETIMEDOUT) {
        return refuse("", "some processes of region \"%s\" did not stop",
                      region_name(d, (unsigned)r));
    }
    if (n == 0) {
        return refuse("See what runs with: meridian lab exec REGION -- ps ax.",
                      "no such process in region \"%s\"", region_name(d, (unsigned)r));
    }
    return json_pack("{sb si}", "ok", true, "processes", n);
}

static json_t *do_kill(struct daemon *d, json_t *request, int r)
{
    enum lab_part part = part_of(request);
    bool hold = json_is_true(json_object_get(request, "hold"));

    if (part == LAB_ALL) {
        kill_region(d, (unsigned)r);
        return done();
    }
    if (hold && part != LAB_AGENT && part != LAB_SHOP) {
        return refuse("The agent restarts its servers; hold the agent first.",
                      "only the agent and the shop can be held down");
    }
    if (hold) {
        lab_region_hold(&d->regions[r], part, true);
    }
    return signal_part(d, r, part, SIGKILL);
}

static json_t *not_killed(const struct daemon *d, int r)
{
    const char *name = region_name(d, (unsigned)r);
    bool paused = d->regions[r].state == LAB_PAUSED;
    char hint[100];

    snprintf(hint, sizeof(hint), "Let it go on with: meridian lab resume %s.", name);
    return refuse(paused ? hint : "Only a killed region can be started.", "region \"%s\" is %s",
                  name, paused ? "paused" : "already running");
}

static json_t *do_start(struct daemon *d, json_t *request, int r)
{
    struct mrd_err err;
    enum lab_part part = part_of(request);

    if (part == LAB_AGENT || part == LAB_SHOP) {
        return lab_region_hold(&d->regions[r], part, false) == 0 ? done() : not_running(d, r);
    }
    if (part != LAB_ALL) {
        return refuse("", "only the agent and the shop are started by hand");
    }
    if (d->regions[r].state != LAB_KILLED) {
        return not_killed(d, r);
    }
    if (json_is_true(json_object_get(request, "anew")) &&
        lab_region_lose_disk(d->world, (unsigned)r, &err) != 0) {
        return refuse(err.hint, "%s", err.text);
    }
    if (start_region(d, (unsigned)r, &err) != 0) {
        return refuse(err.hint, "%s", err.text);
    }
    return done();
}

static json_t *do_pause(struct daemon *d, json_t *request, int r, bool pause)
{
    enum lab_part part = part_of(request);
    int stopped = lab_region_stopped(&d->regions[r], part);
    json_t *answer = signal_part(d, r, part, pause ? SIGSTOP : SIGCONT);

    if (!pause && stopped == 0 && json_object_get(answer, "ok") != NULL) {
        json_object_set_new(answer, "note",
                            json_sprintf("region \"%s\" is already running: nothing was paused",
                                         region_name(d, (unsigned)r)));
    }
    if (part == LAB_ALL && json_object_get(answer, "ok") != NULL) {
        d->regions[r].state = pause ? LAB_PAUSED : LAB_RUNNING;
    }
    return answer;
}

static json_t *command_region(struct daemon *d, json_t *request, const char *command)
{
    int r = find_region(d, request, "region");
    json_t *answer;

    if (r < 0) {
        return no_region(d, request, "region");
    }
    if (part_of(request) == LAB_PARTS) {
        return refuse("", "no such part; it is one of agent, pg, nginx, knot, shop");
    }
    if (strcmp(command, "start") == 0) {
        answer = do_start(d, request, r);
    } else if (d->regions[r].state == LAB_KILLED) {
        answer = not_running(d, r);
    } else if (strcmp(command, "kill") == 0) {
        answer = do_kill(d, request, r);
    } else {
        answer = do_pause(d, request, r, strcmp(command, "pause") == 0);
    }
    publish(d);
    return answer;
}

static void set_cut(struct daemon *d, unsigned a, unsigned b, bool cut)
{
    struct lab_link_conf c;

    if (a != b) {
        lab_wan_get(d->wan, (mrd_region)a, (mrd_region)b, &c);
        c.cut = cut;
        lab_wan_set(d->wan, (mrd_region)a, (mrd_region)b, &c);
    }
}

static void set_cut_region(struct daemon *d, unsigned r, bool cut)
{
    for (unsigned i = 0; i < d->count; i++) {
        set_cut(d, r, i, cut);
        set_cut(d, i, r, cut);
    }
}

static void set_first_link(struct daemon *d, unsigned a, unsigned b)
{
    struct lab_link_conf c;

    memset(&c, 0, sizeof(c));
    c.delay_ns = lab_world_delay_ns(region_name(d, a), region_name(d, b));
    lab_wan_set(d->wan, (mrd_region)a, (mrd_region)b, &c);
}

/* A number of the request, if it is there; false when it is out of range. */
static bool take_number(json_t *request, const char *key, uint64_t max, uint64_t *ret)
{
    json_t *v = json_object_get(request, key);

    if (v == NULL) {
        return true;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        (uint64_t)json_integer_value(v) > max) {
        return false;
    }
    *ret = (uint64_t)json_integer_value(v);
    return true;
}

static bool edit_link(json_t *request, struct lab_link_conf *c)
{
    uint64_t loss = c->loss_ppm;
    uint64_t dup = c->dup_ppm;
    json_t *cut = json_object_get(request, "cut");

    if (!take_number(request, "delay_ns", LAB_DELAY_MAX_NS, &c->delay_ns) ||
        !take_number(request, "jitter_ns", LAB_DELAY_MAX_NS, &c->jitter_ns) ||
        !take_number(request, "loss_ppm", LAB_MILLION, &loss) ||
        !take_number(request, "dup_ppm", LAB_MILLION, &dup) ||
        !take_number(request, "rate_bps", LAB_RATE_MAX_BPS, &c->rate_bps) ||
        !take_number(request, "queue_bytes", LAB_INFLIGHT_MAX, &c->queue_bytes) ||
        (c->rate_bps != 0 && c->rate_bps < LAB_RATE_MIN_BPS)) {
        return false;
    }
    c->loss_ppm = (uint32_t)loss;
    c->dup_ppm = (uint32_t)dup;
    if (cut != NULL) {
        c->cut = json_is_true(cut);
    }
    return true;
}

static json_t *command_link(struct daemon *d, json_t *request)
{
    int a = find_region(d, request, "a");
    int b = find_region(d, request, "b");
    bool one_way = json_is_true(json_object_get(request, "one_way"));
    struct lab_link_conf c;

    if (a < 0 || b < 0) {
        return no_region(d, request, a < 0 ? "a" : "b");
    }
    if (a == b) {
        return refuse("", "a region has no link to itself");
    }
    for (int way = 0; way < (one_way ? 1 : 2); way++) {
        mrd_region from = (mrd_region)(way == 0 ? a : b);
        mrd_region to = (mrd_region)(way == 0 ? b : a);

        if (json_is_true(json_object_get(request, "reset"))) {
            set_first_link(d, from, to);
        }
        lab_wan_get(d->wan, from, to, &c);
        if (!edit_link(request, &c)) {
            return refuse("", "a setting of the link is out of range");
        }
        lab_wan_set(d->wan, from, to, &c);
    }
    publish(d);
    return json_pack("{sb so so}", "ok", true, "there", link_json(d, (unsigned)a, (unsigned)b),
                     "back", link_json(d, (unsigned)b, (unsigned)a));
}

static json_t *command_heal(struct daemon *d, json_t *request)
{
    int a = find_region(d, request, "a");
    int b = find_region(d, request, "b");
    int r = find_region(d, request, "region");

    if (json_object_get(request, "region") != NULL && r < 0) {
        return no_region(d, request, "region");
    }
    if (json_object_get(request, "a") != NULL && (a < 0 || b < 0)) {
        return no_region(d, request, a < 0 ? "a" : "b");
    }
    for (unsigned i = 0; a < 0 && i < d->count; i++) {
        if (r < 0 || i == (unsigned)r) {
            set_cut_region(d, i, false);
        }
    }
    if (a >= 0) {
        set_cut(d, (unsigned)a, (unsigned)b, false);
        set_cut(d, (unsigned)b, (unsigned)a, false);
    }
    publish(d);
    return done();
}

static json_t *command_clock(struct daemon *d, json_t *request)
{
    int r = find_region(d, request, "region");
    json_t *offset = json_object_get(request, "offset_ns");

    if (r < 0) {
        return no_region(d, request, "region");
    }
    if (!json_is_integer(offset)) {
        return refuse("Write it as +300s, -5m or 0.", "the clock's offset is not a time");
    }
    if (d->regions[r].state == LAB_KILLED) {
        return not_running(d, r);
    }
    if (lab_world_set_clock(d->world, (unsigned)r, json_integer_value(offset)) != 0) {
        return refuse("", "could not set the clock: %s", strerror(errno));
    }
    publish(d);
    return done();
}

static json_t *command(struct daemon *d, json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "command"));

    if (name == NULL) {
        return refuse("", "the request has no command");
    }
    if (strcmp(name, "status") == 0) {
        return status_json(d);
    }
    if (strcmp(name, "link") == 0) {
        return command_link(d, request);
    }
    if (strcmp(name, "heal") == 0) {
        return command_heal(d, request);
    }
    if (strcmp(name, "isolate") == 0) {
        int r = find_region(d, request, "region");

        if (r < 0) {
            return no_region(d, request, "region");
        }
        set_cut_region(d, (unsigned)r, true);
        publish(d);
        return done();
    }
    if (strcmp(name, "clock") == 0) {
        return command_clock(d, request);
    }
    if (strcmp(name, "down") == 0) {
        d->stop = true;
        return done();
    }
    if (strcmp(name, "kill") == 0 || strcmp(name, "start") == 0 || strcmp(name, "pause") == 0 ||
        strcmp(name, "resume") == 0) {
        return command_region(d, request, name);
    }
    return refuse("", "no such command \"%s\"", name);
}

/* ---- the loop ---- */

static void send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return;
        }
        text += n;
        len -= (size_t)n;
    }
}

static void serve_client(struct daemon *d)
{
    struct timeval limit = {CLIENT_TIMEOUT_S, 0};
    char text[REQUEST_MAX];
    size_t len = 0;
    ssize_t n = 0;
    int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    json_t *request;
    json_t *answer;
    char *out;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    while (len < sizeof(text) && (len == 0 || text[len - 1] != '\n') &&
           (n = recv(fd, text + len, sizeof(text) - len, 0)) > 0) {
        len += (size_t)n;
    }
    request = json_loadb(text, len, JSON_DISABLE_EOF_CHECK, NULL);
    answer = request != NULL ? command(d, request) : refuse("", "the request is not JSON");
    out = json_dumps(answer, JSON_COMPACT);
    if (out != NULL) {
        send_all(fd, out, strlen(out));
    }
    free(out);
    json_decref(answer);
    json_decref(request);
    close(fd);
}

/* A region whose init died by itself is as dead as one that was killed. */
static void reap(struct daemon *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        siginfo_t info = {.si_pid = 0};
        pid_t pid = d->regions[i].init_pid;

        if (pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == pid) {
            fprintf(stderr, "init of region %s ended by itself\n", region_name(d, i));
            kill_region(d, i);
            publish(d);
        }
    }
}

static void serve_signal(struct daemon *d)
{
    struct signalfd_siginfo info;

    while (read(d->signal_fd, &info, sizeof(info)) > 0) {
        if (info.ssi_signo != SIGCHLD) {
            d->stop = true;
        }
    }
    reap(d);
}

static void serve(struct daemon *d)
{
    struct pollfd polls[2] = {{.fd = d->listen_fd, .events = POLLIN},
                              {.fd = d->signal_fd, .events = POLLIN}};

    while (!d->stop) {
        if (poll(polls, 2, -1) <= 0) {
            continue;
        }
        if (polls[1].revents != 0) {
            serve_signal(d);
        }
        if (polls[0].revents != 0) {
            serve_client(d);
        }
    }
}

/* ---- from nothing to running and back ---- */

static int lock_dir(struct daemon *d, struct mrd_err *err)
{
    char path[LAB_PATH];

    dir_path(d, LAB_LOCK, path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "a lab is running in \"%s\"", d->world->dir);
        mrd_err_hint(err, "See it with: meridian lab status; stop it with: meridian lab down.");
        return MRD_EUNAVAILABLE;
    }
    return 0;
}

static int open_control(struct daemon *d, struct mrd_err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char path[LAB_PATH];
    sigset_t signals;

    dir_path(d, "lab.sock", path);
    if (strlen(path) >= sizeof(at.sun_path)) {
        return mrd_err_set(err, MRD_ETOOBIG, "the path \"%s\" is too long for a socket", path);
    }
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    unlink(path);
    d->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (d->listen_fd < 0 || bind(d->listen_fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        chmod(path, 0600) != 0 || listen(d->listen_fd, 16) != 0) {
        return mrd_err_set(err, MRD_EIO, "could not listen on \"%s\": %s", path,
                           strerror(errno));
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* threads made later inherit it */
    d->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return 0;
}

static int open_network(struct daemon *d, struct mrd_err *err)
{
    d->wan = lab_wan_new(d->count);
    d->forward = lab_forward_new();
    if (d->wan == NULL || d->forward == NULL) {
        return mrd_err_set(err, MRD_EIO, "could not start the network: %s", strerror(errno));
    }
    for (unsigned i = 0; i < d->count; i++) {
        for (unsigned j = 0; j < d->count; j++) {
            if (i != j) {
                set_first_link(d, i, j);
            }
        }
    }
    return open_doors(d, err);
}

static int boot(struct daemon *d, struct mrd_err *err)
{
    int code = lock_dir(d, err);

    if (code == 0) {
        lab_world_sweep(d->world); /* what a crash left; the lock says nobody uses it */
        code = open_control(d, err);
    }
    if (code == 0) {
        code = open_network(d, err);
    }
    for (unsigned i = 0; i < d->count && code == 0; i++) {
        code = start_region(d, i, err);
    }
    return code;
}

static void shut_down(struct daemon *d)
{
    for (unsigned i = 0; i < d->count && d->forward != NULL; i++) {
        if (d->regions[i].init_pid > 0) {
            kill_region(d, i);
        }
    }
    lab_forward_free(d->forward);
    lab_wan_free(d->wan);
    if (d->listen_fd > 0) {
        lab_world_sweep(d->world);
    }
}

static void tell(int fd, const struct mrd_err *err)
{
    if (err->code == 0) {
        dprintf(fd, "ok");
    } else {
        dprintf(fd, "%s%s%s", err->text, err->hint[0] != '\0' ? "\n" : "", err->hint);
    }
    close(fd);
}

int lab_daemon(struct lab_world *w, int ready_fd)
{
    static struct daemon d;
    struct mrd_err err = {.code = 0};

    d.world = w;
    d.count = w->config->region_count;
    for (unsigned i = 0; i < d.count; i++) {
        d.regions[i].ctl_fd = -1;
    }
    if (boot(&d, &err) == 0) {
        publish(&d);
        tell(ready_fd, &err);
        serve(&d);
    } else {
        fprintf(stderr, "%s\n", err.text);
        tell(ready_fd, &err);
    }
    shut_down(&d);
    return err.code == 0 ? 0 : 1;
}

/* ---- the other side ---- */

json_t *lab_request(const char *dir, json_t *request, struct mrd_err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char *text = json_dumps(request, JSON_COMPACT);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    json_t *answer = NULL;
    const char *error;

    snprintf(at.sun_path, sizeof(at.sun_path), "%s/lab.sock", dir);
    if (text == NULL || fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "could not reach the lab in \"%s\": %s", dir,
                    strerror(errno));
        mrd_err_hint(err, "Boot one with: meridian lab up --detach.");
    } else {
        send_all(fd, text, strlen(text));
        send_all(fd, "\n", 1);
        answer = json_loadfd(fd, 0, NULL);
        if (answer == NULL) {
            mrd_err_set(err, MRD_EIO, "the lab in \"%s\" did not answer", dir);
        }
    }
    free(text);
    close(fd);
    json_decref(request);
    error = json_string_value(json_object_get(answer, "error"));
    if (error != NULL) {
        const char *hint = json_string_value(json_object_get(answer, "hint"));

        mrd_err_set(err, MRD_EINVAL, "%s", error);
        mrd_err_hint(err, "%s", hint != NULL ? hint : "");
        json_decref(answer);
        answer = NULL;
    }
    return answer;
}
