/*
 * Keeping PostgreSQL, nginx and knotd running (supervise.h).
 *
 * A guest is in one of four states: absent (start it when its wait is over), preparing (initdb
 * runs), running, or refused (it cannot be started until something is changed by hand, such as
 * a configuration file that is not there; looked at again every 10 s).
 *
 * Guests run in the foreground of their own session, so the process we started is the master.
 * A master that was killed outright may leave workers that hold its ports: they are in its
 * process group and are killed with it before the next start. PostgreSQL's own children end by
 * themselves when their postmaster is gone; its start is refused until they have, and tried
 * again.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "log.h"
#include "pgconf.h"
#include "problems.h"

#define LOOK_NS (200 * UINT64_C(1000000))
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000
#define STABLE_NS (10 * UINT64_C(1000000000))
#define ARGS_MAX 12
#define SEGMENT_BYTES (UINT64_C(16) << 20)
#define PATH_LEN 1200

enum guest_state { ABSENT, PREPARING, RUNNING, REFUSED };

struct guest {
    struct supervise *s;
    unsigned bit;
    const char *name;
    enum guest_state state;
    pid_t pid;
    unsigned long long start; /* of the process, in ticks since boot */
    uint64_t started_ns, try_ns;
    unsigned backoff_ms;
    bool initialised;         /* pg.new is whole, and waits for its name */
    bool child;               /* started by this agent: its end comes as an event */
    char why[PATH_LEN + 256]; /* refused, or why it ended last */
};

struct supervise {
    uv_loop_t *loop;
    const struct mrd_config *config;
    mrd_region self;
    struct supervise_options opt;
    unsigned pg_version;
    uint64_t looked_ns;
    bool stopped;
    struct guest guests[3];
};

/* A process of ours, and what to do when it ends. Outlives neither loop nor supervise. */
struct child {
    uv_process_t process;
    struct guest *g;
    void (*ended)(struct guest *g, int64_t status, int signal);
};

static void refuse(struct guest *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct guest *g, const char *fmt, ...)
{
    char why[sizeof(g->why)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    if (g->state != REFUSED || strcmp(why, g->why) != 0) {
        log_event("event=guest.refused guest=%s reason=\"%s\"", g->name, why);
    }
    memcpy(g->why, why, sizeof(why));
    g->state = REFUSED;
    g->try_ns = clock_boot_ns() + BACKOFF_MAX_MS * UINT64_C(1000000);
}

/* ---- who is running ---- */

/* Start time of process @pid in ticks since boot, 0 when there is none or it is a zombie. */
static unsigned long long start_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    /* The name, field 2, is in parentheses and may hold anything; the state follows. */
    const char *at = strrchr(text, ')');
    char state;
    unsigned long long start;
    if (at == NULL || sscanf(at + 1,
                             " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                             "%*s %*s %*s %*s %*s %llu",
                             &state, &start) != 2) {
        return 0;
    }
    return state == 'Z' || state == 'X' ? 0 : start;
}

/* Process ids mean something only inside their namespace, which ends with a lab region. */
static unsigned long long pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static void guest_file(const struct guest *g, char *out)
{
    snprintf(out, PATH_LEN, "%s/%s.guest", g->s->opt.run_dir, g->name);
}

static void remember(const struct guest *g)
{
    char path[PATH_LEN], tmp[PATH_LEN + 4];
    guest_file(g, path);
    snprintf(tmp, sizeof(tmp), "%s.new", path);
    FILE *f = fopen(tmp, "we");
    bool good =
        f != NULL && fprintf(f, "%ld %llu %llu\n", (long)g->pid, g->start, pid_namespace()) > 0;
    if (f != NULL && fclose(f) != 0) {
        good = false;
    }
    if (!good || rename(tmp, path) != 0) {
        log_event("event=guest.unrecorded guest=%s reason=\"%s\"", g->name, strerror(errno));
    }
}

/* Take over the process that an agent before us started, if it still runs. */
static bool adopt(struct guest *g)
{
    char path[PATH_LEN];
    long pid;
    unsigned long long start, ns;
    guest_file(g, path);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    bool good =
        fscanf(f, "%ld %llu %llu", &pid, &start, &ns) == 3 && pid > 1 && ns == pid_namespace();
    fclose(f);
    if (!good) {
        return false;
    }
    g->pid = (pid_t)pid;
    g->start = start;
    if (start_of(g->pid) != start) {
        return false;
    }
    g->state = RUNNING;
    g->child = false;
    g->started_ns = clock_boot_ns();
    log_event("event=guest.adopted guest=%s pid=%ld", g->name, pid);
    return true;
}

/* ---- starting ---- */

static void on_child_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_child_exit(uv_process_t *p, int64_t status, int sig)
{
    struct child *c = p->data;
    if (!c->g->s->stopped) {
        c->ended(c->g, status, sig);
    }
    uv_close((uv_handle_t *)p, on_child_closed);
}

static int open_log(const struct guest *g)
{
    char path[PATH_LEN];
    mkdir(g->s->opt.log_dir, 0755);
    snprintf(path, sizeof(path), "%s/%s.log", g->s->opt.log_dir, g->name);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

/* Start @args detached; 0 and *@ret_pid, or -1 with the reason noted. */
static int spawn(struct guest *g, char **args,
                 void (*ended)(struct guest *g, int64_t status, int signal), pid_t *ret_pid)
{
    struct child *c = calloc(1, sizeof(*c));
    int log = open_log(g);
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
                                     {.flags = log < 0 ? UV_IGNORE : UV_INHERIT_FD},
                                     {.flags = log < 0 ? UV_IGNORE : UV_INHERIT_FD}};
    stdio[1].data.fd = stdio[2].data.fd = log;
    uv_process_options_t options = {.exit_cb = on_child_exit,
                                    .file = args[0],
                                    .args = args,
                                    .cwd = g->s->opt.state_dir,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .flags = UV_PROCESS_DETACHED};
    int rv = UV_ENOMEM;
    if (c != NULL) {
        c->g = g;
        c->ended = ended;
        rv = uv_spawn(g->s->loop, &c->process, &options);
        c->process.data = c;
    }
    if (log >= 0) {
        close(log);
    }
    if (rv != 0) {
        refuse(g, "could not run %s: %s", args[0], uv_strerror(rv));
        if (c != NULL) {
            uv_close((uv_handle_t *)&c->process, on_child_closed);
        }
        return -1;
    }
    uv_unref((uv_handle_t *)&c->process);
    *ret_pid = c->process.pid;
    return 0;
}

static void note_end(struct guest *g, const char *how)
{
    uint64_t now_ns = clock_boot_ns();
    g->state = ABSENT;
    g->backoff_ms = now_ns - g->started_ns > STABLE_NS   ? BACKOFF_MIN_MS
                    : g->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
                                                         : g->backoff_ms * 2;
    g->try_ns = now_ns + g->backoff_ms * UINT64_C(1000000);
    snprintf(g->why, sizeof(g->why), "%s", how);
    log_event("event=guest.ended guest=%s pid=%ld reason=\"%s\" again_ms=%u", g->name,
              (long)g->pid, how, g->backoff_ms);
}

static void on_guest_end(struct guest *g, int64_t status, int sig)
{
    char how[64];
    if (sig != 0) {
        snprintf(how, sizeof(how), "signal %d", sig);
    } else {
        snprintf(how, sizeof(how), "exit status %lld", (long long)status);
    }
    note_end(g, how);
}

static void start_guest(struct guest *g, char **args)
{
    if (g->pid > 1 && start_of(g->pid) == 0) {
        kill(-g->pid, SIGKILL); /* workers that outlived their master */
    }
    if (spawn(g, args, on_guest_end, &g->pid) != 0) {
        return;
    }
    g->state = RUNNING;
    g->child = true;
    g->started_ns = clock_boot_ns();
    g->start = start_of(g->pid);
    g->why[0] = '\0';
    remember(g);
    log_event("event=guest.started guest=%s pid=%ld", g->name, (long)g->pid);
}

/* ---- PostgreSQL ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void on_initdb_end(struct guest *g, int64_t status, int sig)
{
    g->state = ABSENT;
    g->try_ns = 0;
    g->initialised = status == 0 && sig == 0;
    if (!g->initialised) {
        refuse(g, "initdb failed; see %s/pg.log", g->s->opt.log_dir);
    }
}

static void name_cluster(struct guest *g)
{
    char made[PATH_LEN], data[PATH_LEN];
    snprintf(made, sizeof(made), "%s/pg.new", g->s->opt.state_dir);
    snprintf(data, sizeof(data), "%s/pg", g->s->opt.state_dir);
    g->initialised = false;
    if (rename(made, data) != 0) {
        refuse(g, "could not rename \"%s\": %s", made, strerror(errno));
    } else {
        log_event("event=guest.created guest=pg data=%s", data);
        g->try_ns = 0;
    }
}

static void on_resetwal_end(struct guest *g, int64_t status, int sig)
{
    g->state = ABSENT;
    if (status != 0 || sig != 0) {
        g->initialised = false;
        refuse(g, "pg_resetwal failed; see %s/pg.log", g->s->opt.log_dir);
    } else {
        name_cluster(g);
    }
}

/* The first segment of the new WAL names where it begins; timeline 1, 16 MiB each. */
static void set_beginning(struct guest *g, mrd_lsn begins)
{
    char program[PATH_LEN], dir[PATH_LEN], segment[32];
    pid_t pid;
    snprintf(program, sizeof(program), "%s/pg_resetwal", g->s->opt.pg_bin);
    snprintf(dir, sizeof(dir), "%s/pg.new", g->s->opt.state_dir);
    snprintf(segment, sizeof(segment), "00000001%08X%08X", (unsigned)(begins >> 32),
             (unsigned)begins >> 24);
    char *args[] = {program, (char *)"-l", segment, (char *)"-D", dir, NULL};
    if (spawn(g, args, on_resetwal_end, &pid) == 0) {
        g->state = PREPARING;
    }
}

/* Which life of the region this is, the store knows: see core's anew.c. */
static void finish_cluster(struct guest *g, uint64_t now_ns)
{
    mrd_lsn begins = 0;
    switch (g->s->opt.cluster(g->s->opt.cluster_ctx, &begins)) {
    case CLUSTER_WAIT:
        snprintf(g->why, sizeof(g->why),
                 "whether this region had a database before is not known yet");
        g->try_ns = now_ns + LOOK_NS;
        break;
    case CLUSTER_LOST:
        refuse(g, "its data directory is gone; put it back, or lose it for good with: "
                  "meridian anew");
        break;
    case CLUSTER_MAKE:
        if (begins == 0) {
            name_cluster(g);
        } else {
            set_beginning(g, begins);
        }
        break;
    }
}

/* Into pg.new, renamed when whole: half a cluster must not pass for one. */
static void make_cluster(struct guest *g)
{
    if (g->initialised) {
        finish_cluster(g, clock_boot_ns());
        return;
    }
    char initdb[PATH_LEN], dir[PATH_LEN];
    pid_t pid;
    snprintf(initdb, sizeof(initdb), "%s/initdb", g->s->opt.pg_bin);
    snprintf(dir, sizeof(dir), "%s/pg.new", g->s->opt.state_dir);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    /* The bootstrap superuser is named as the user we run as, for "peer" on the socket. */
    char *args[] = {initdb,
                    (char *)"-D",
                    dir,
                    (char *)"-E",
                    (char *)"UTF8",
                    (char *)"--locale",
                    (char *)"C.UTF-8",
                    (char *)"--data-checksums",
                    (char *)"--auth",
                    (char *)"peer",
                    NULL};
    if (spawn(g, args, on_initdb_end, &pid) == 0) {
        g->state = PREPARING;
    }
}

/* Write what PostgreSQL reads at its start; *ret_changed: it was not so before. */
static int configure_pg(struct supervise *s, const char *data, bool *ret_changed,
                        struct mrd_err *err)
{
    const struct pgconf conf = {.config = s->config,
                                .self = s->self,
                                .data_dir = data,
                                .run_dir = s->opt.run_dir,
                                .certs_dir = s->opt.certs_dir,
                                .bind = s->opt.bind,
                                .extra_hba = s->opt.pg_hba,
                                .version = s->pg_version};

    return pgconf_write(&conf, ret_changed, err);
}

static void start_pg(struct guest *g)
{
    struct supervise *s = g->s;
    char program[PATH_LEN], data[PATH_LEN], probe[PATH_LEN + 16];
    struct mrd_err err = {0};
    bool changed;

    snprintf(data, sizeof(data), "%s/pg", s->opt.state_dir);
    snprintf(probe, sizeof(probe), "%s/PG_VERSION", data);
    if (access(probe, F_OK) != 0) {
        make_cluster(g);
        return;
    }
    if (configure_pg(s, data, &changed, &err) != 0) {
        refuse(g, "%s", err.text);
        return;
    }
    snprintf(program, sizeof(program), "%s/postgres", s->opt.pg_bin);
    char *args[] = {program, (char *)"-D", data, NULL};
    start_guest(g, args);
}

/* An adopted server gets what changed in its configuration by a reload; what needs a restart is
 * the operator's to decide. */
static void reload_pg(struct guest *g)
{
    struct supervise *s = g->s;
    char data[PATH_LEN];
    struct mrd_err err = {0};
    bool changed = false;

    snprintf(data, sizeof(data), "%s/pg", s->opt.state_dir);
    if (configure_pg(s, data, &changed, &err) != 0) {
        log_event("event=guest.unconfigured guest=pg reason=\"%s\"", err.text);
    } else if (changed) {
        kill(g->pid, SIGHUP);
        log_event("event=guest.reloaded guest=pg");
    }
}

/* ---- nginx and knotd ---- */

/* Does a line of @path begin with directive @word? */
static bool has_directive(const char *path, const char *word)
{
    char line[1024];
    bool found = false;
    FILE *f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        const char *at = line + strspn(line, " \t");
        size_t len = strlen(word);
        found = strncmp(at, word, len) == 0 && (at[len] == ' ' || at[len] == '\t');
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}

static void start_nginx(struct guest *g)
{
    struct supervise *s = g->s;
    char prefix[PATH_LEN], global[PATH_LEN + 64];
    if (access(s->opt.nginx_conf, R_OK) != 0) {
        refuse(g, "could not read \"%s\": %s", s->opt.nginx_conf, strerror(errno));
        return;
    }
    snprintf(prefix, sizeof(prefix), "%s/nginx", s->opt.state_dir);
    mkdir(prefix, 0755);
    global[0] = '\0';
    if (!has_directive(s->opt.nginx_conf, "daemon")) {
        snprintf(global, sizeof(global), "daemon off;");
    }
    if (!has_directive(s->opt.nginx_conf, "pid")) {
        snprintf(global + strlen(global), sizeof(global) - strlen(global), " pid %s/nginx.pid;",
                 s->opt.run_dir);
    }
    /* Logging to stderr until the configuration is read: the compiled-in path is not ours. */
    char *args[] = {(char *)s->opt.nginx,
                    (char *)"-p",
                    prefix,
                    (char *)"-c",
                    (char *)s->opt.nginx_conf,
                    (char *)"-e",
                    (char *)"stderr",
                    (char *)"-g",
                    global,
                    NULL};
    start_guest(g, args);
}

static void start_knot(struct guest *g)
{
    struct supervise *s = g->s;
    char dir[PATH_LEN];
    if (access(s->opt.knot_conf, R_OK) != 0) {
        refuse(g, "could not read \"%s\": %s", s->opt.knot_conf, strerror(errno));
        return;
    }
    snprintf(dir, sizeof(dir), "%s/knot", s->opt.state_dir);
    mkdir(dir, 0755);
    char *args[] = {(char *)s->opt.knotd, (char *)"-c", (char *)s->opt.knot_conf, NULL};
    start_guest(g, args);
}

/* ---- the round ---- */

static void look_after(struct guest *g, uint64_t now_ns)
{
    if (g->state == RUNNING && !g->child && start_of(g->pid) != g->start) {
        note_end(g, "found dead");
    }
    if ((g->state == ABSENT || g->state == REFUSED) && now_ns >= g->try_ns) {
        switch (g->bit) {
        case GUEST_PG:
            start_pg(g);
            break;
        case GUEST_NGINX:
            start_nginx(g);
            break;
        default:
            start_knot(g);
            break;
        }
    }
}

void supervise_tick(struct supervise *s, uint64_t now_ns)
{
    if (s->stopped || now_ns - s->looked_ns < LOOK_NS) {
        return;
    }
    s->looked_ns = now_ns;
    for (size_t i = 0; i < 3; i++) {
        if ((s->opt.manage & s->guests[i].bit) != 0) {
            look_after(&s->guests[i], now_ns);
        }
    }
}

/* ---- what is wrong ---- */

/* Room for less than a segment of WAL, below which PostgreSQL does not come up. */
static bool full(const char *dir, uint64_t *ret_left)
{
    struct statvfs st;

    if (statvfs(dir, &st) != 0) {
        return false;
    }
    *ret_left = (uint64_t)st.f_bavail * st.f_frsize;
    return *ret_left < SEGMENT_BYTES;
}

static bool same_file_system(const char *a, const char *b)
{
    struct stat at, bt;

    return stat(a, &at) == 0 && stat(b, &bt) == 0 && at.st_dev == bt.st_dev;
}

void supervise_disk(const struct supervise *s, struct guest_disk *ret)
{
    static const char *const dirs[] = {"/pg/pg_wal", "/pg", ""};
    const struct guest *pg = &s->guests[0];
    char dir[PATH_LEN], raft[PATH_LEN];
    uint64_t left = 0;

    memset(ret, 0, sizeof(*ret));
    if ((s->opt.manage & GUEST_PG) == 0) {
        return;
    }
    snprintf(raft, sizeof(raft), "%s/raft", s->opt.state_dir);
    for (size_t i = 0; i < 3 && !ret->full; i++) {
        snprintf(dir, sizeof(dir), "%s%s", s->opt.state_dir, dirs[i]);
        ret->full = full(dir, &left);
        if (i == 1 && access(dir, F_OK) == 0) {
            break; /* what is above its directory is not PostgreSQL's */
        }
    }
    if (ret->full) {
        ret->runs = pg->state == RUNNING;
        ret->under_store = same_file_system(dir, raft);
        snprintf(ret->text, sizeof(ret->text),
                 " (the disk under \"%s\"%s is full, %" PRIu64
                 " kB are left: free some space, and it %s by itself)",
                 dir, ret->under_store ? " and the store" : "", left / 1024,
                 ret->runs ? "goes on" : "is started");
    }
}

static void say_guest(const struct guest *g, json_t *problems)
{
    const struct supervise *s = g->s;
    struct guest_disk disk = {0};

    if (g->state == RUNNING) {
        return;
    }
    if (g->bit == GUEST_PG) {
        supervise_disk(s, &disk);
    }
    if (g->state == PREPARING) {
        problem(problems, "%s does not run: its data directory is being made%s", g->name,
                disk.text);
    } else if (g->state == ABSENT && g->why[0] != '\0' && g->pid > 1) {
        problem(problems, "%s does not run: %s; what it said is in %s/%s.log%s", g->name,
                g->why, s->opt.log_dir, g->name, disk.text);
    } else {
        problem(problems, "%s does not run: %s%s", g->name,
                g->why[0] != '\0' ? g->why : "not started yet", disk.text);
    }
}

void supervise_problems(const struct supervise *s, json_t *problems)
{
    for (size_t i = 0; i < 3; i++) {
        const struct guest *g = &s->guests[i];
        if ((s->opt.manage & g->bit) != 0) {
            say_guest(g, problems);
        }
    }
}

static unsigned ask_version(const char *pg_bin)
{
    char command[PATH_LEN], text[256] = "";
    snprintf(command, sizeof(command), "'%s/postgres' -V", pg_bin);
    FILE *f = popen(command, "re");
    if (f == NULL) {
        return 0;
    }
    if (fgets(text, sizeof(text), f) == NULL) {
        text[0] = '\0';
    }
    pclose(f);
    return pgconf_version(text);
}

int supervise_new(uv_loop_t *loop, const struct mrd_config *config, mrd_region self,
                  const struct supervise_options *options, struct supervise **ret,
                  struct mrd_err *err)
{
    static const char *const names[3] = {"pg", "nginx", "knot"};
    if ((options->manage & GUEST_PG) != 0 && geteuid() == 0) {
        mrd_err_set(err, MRD_EINVAL, "cannot run PostgreSQL as root");
        mrd_err_hint(err, "Start the agent as another user, such as postgres.");
        return MRD_EINVAL;
    }
    struct supervise *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "could not start the supervisor: out of memory");
    }
    s->loop = loop;
    s->config = config;
    s->self = self;
    s->opt = *options;
    if ((s->opt.manage & GUEST_PG) != 0) {
        s->pg_version = ask_version(s->opt.pg_bin);
        if (s->pg_version == 0) {
            mrd_err_set(err, MRD_EIO, "could not run \"%s/postgres\"", s->opt.pg_bin);
            mrd_err_hint(err, "Say where PostgreSQL's programs are with --pg-bin.");
            free(s);
            return MRD_EIO;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        struct guest *g = &s->guests[i];
        *g = (struct guest){
            .s = s, .bit = 1u << i, .name = names[i], .backoff_ms = BACKOFF_MIN_MS / 2};
        if ((s->opt.manage & g->bit) != 0 && adopt(g) && g->bit == GUEST_PG) {
            reload_pg(g);
        }
    }
    *ret = s;
    return 0;
}

void supervise_stop(struct supervise *s)
{
    s->stopped = true;
}

void supervise_free(struct supervise *s)
{
    free(s);
}
