/*
 * `meridian lab up`: booting a world and knowing when it serves.
 *
 * This process forks the daemon, then looks at the world as a user would: the snapshot for the
 * lease and the homes, SQL and HTTP and DNS through the doors. Every region passes every check
 * or the wait ends, bounded, naming the check that failed and the last lines of the log that
 * knows why. Then, when the database is empty of it, the example's schema is loaded at the
 * schema's home, and seen to arrive everywhere.
 *
 * In the foreground it stays as the daemon's keeper: Ctrl-C takes the lab down, and if this
 * process is killed the daemon hears of it (parent-death signal) and does the same.
 */
#include "front.h"

#include <table.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "daemon.h"
#include "files.h"
#include "link.h"
#include "serves.h"

#define REMIND_MS 10000
#define DAEMON_MS 60000 /* namespaces, devices, copies of what the build made */

struct up {
    const char *dir, *file;
    bool detach, bare, fresh, no_schema;
    uint64_t wait_ms;
    struct lab_world world;
    pid_t daemon;
};

/* What was seen of the regions, and what of it was said. */
struct wait {
    const char *why[MRD_REGIONS_MAX], *last[MRD_REGIONS_MAX]; /* NULL: serves */
    size_t first;                                             /* that does not serve */
    uint64_t start_ms, said_ms, limit_ms;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- waiting and explaining ---- */

/* The last lines of every log of the region; init's says what keeps dying. */
static void print_logs(json_t *region)
{
    static const char *const logs[] = {"init.log", "agent.log", "shop.log"};

    for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
        char path[LAB_PATH];
        char *text;
        size_t len;
        unsigned lines = 0;

        snprintf(path, sizeof(path), "%s/%s", lab_text_of(region, "log_dir"), logs[i]);
        text = lab_read_file(path, 64u << 20, &len);
        if (text == NULL) {
            continue;
        }
        while (len > 0 && (lines += text[len - 1] == '\n') <= 8) {
            len--;
        }
        fprintf(stderr, "--- the end of %s\n%s", path, text + len);
        free(text);
    }
}

/* The logs first, so that the reasons stand at the end, where they are seen. */
static void diagnose(const struct up *u, json_t *regions,
                     const char *const why[MRD_REGIONS_MAX])
{
    json_t *region;
    size_t i;

    json_array_foreach(regions, i, region)
    {
        if (why[i] != NULL) {
            print_logs(region);
        }
    }
    json_array_foreach(regions, i, region)
    {
        if (why[i] != NULL) {
            cli_fail(NULL, "region \"%s\" does not serve: %s", lab_text_of(region, "name"),
                     why[i]);
        }
    }
    cli_fail(u->detach ? "It goes on by itself: see meridian lab status; or stop it with: "
                         "meridian lab down."
                       : "Allow it more time with --wait.",
             "gave up waiting after %llu s", (unsigned long long)u->wait_ms / 1000);
}

static json_t *fetch_status(const char *dir, struct mrd_err *err)
{
    return lab_request(dir, json_pack("{ss}", "command", "status"), err);
}

/* A line when a region's state changes, and one now and then when nothing does. */
static void show_progress(struct wait *w, json_t *regions)
{
    uint64_t now = clock_ms(CLOCK_MONOTONIC);
    bool changed = false;

    for (size_t i = 0; i < json_array_size(regions); i++) {
        if (w->why[i] != w->last[i]) {
            printf("  %-16s %s\n", lab_text_of(json_array_get(regions, i), "name"),
                   w->why[i] != NULL ? w->why[i] : "serves");
            w->last[i] = w->why[i];
            changed = true;
        }
    }
    if (changed) {
        w->said_ms = now;
    } else if (now - w->said_ms >= REMIND_MS) {
        printf("  still waiting for %s, %llu s of %llu s\n",
               lab_text_of(json_array_get(regions, w->first), "name"),
               (unsigned long long)(now - w->start_ms) / 1000,
               (unsigned long long)w->limit_ms / 1000);
        w->said_ms = now;
    }
    fflush(stdout);
}

/* Ask every region; returns how many do not serve. */
static unsigned look(struct wait *w, json_t *regions, const char *zone)
{
    unsigned missing = 0;

    for (size_t i = 0; i < json_array_size(regions) && !interrupted; i++) {
        w->why[i] = lab_serves(json_array_get(regions, i), zone);
        if (w->why[i] != NULL && missing++ == 0) {
            w->first = i;
        }
    }
    return missing;
}

static int wait_serving(const struct up *u)
{
    static const char unknown[] = "";
    struct wait w = {.start_ms = clock_ms(CLOCK_MONOTONIC), .limit_ms = u->wait_ms};
    struct mrd_err err;

    for (unsigned i = 0; i < MRD_REGIONS_MAX; i++) {
        w.last[i] = unknown;
    }
    w.said_ms = w.start_ms;
    for (;;) {
        json_t *status = fetch_status(u->world.dir, &err);
        json_t *regions = json_object_get(status, "regions");
        bool late = clock_ms(CLOCK_MONOTONIC) - w.start_ms > u->wait_ms;

        if (status == NULL) {
            return lab_fail(&err);
        }
        unsigned missing = look(&w, regions, u->world.config->dns_zone);
        if (!interrupted) {
            show_progress(&w, regions);
        }
        if (missing > 0 && late && !interrupted) {
            diagnose(u, regions, w.why);
        }
        json_decref(status);
        if (missing == 0 || late || interrupted) {
            return missing == 0 && !interrupted ? 0 : 1;
        }
        poll(NULL, 0, 300);
    }
}

/* ---- the example's data ---- */

static bool has_tables(const struct mrd_config *config)
{
    for (unsigned i = 0; i < config->class_count; i++) {
        if (config->classes[i].table_count > 0) {
            return true;
        }
    }
    return false;
}

/* How many of the configured tables this region has. */
static long count_tables(const struct up *u, PGconn *c, long *ret_wanted)
{
    long found = 0;

    *ret_wanted = 0;
    for (unsigned i = 0; i < u->world.config->class_count; i++) {
        const struct mrd_conf_class *class = &u->world.config->classes[i];

        for (unsigned t = 0; t < class->table_count; t++) {
            char sql[4 * MRD_NAME_MAX];
            char *quoted = PQescapeLiteral(c, class->tables[t], strlen(class->tables[t]));

            snprintf(sql, sizeof(sql), "SELECT count(to_regclass(%s))",
                     quoted != NULL ? quoted : "''");
            PQfreemem(quoted);
            found += lab_sql_number(c, sql) == 1;
            ++*ret_wanted;
        }
    }
    return found;
}

static int schema_home(const struct up *u)
{
    int class = mrd_config_class(u->world.config, MRD_CLASS_SCHEMA);

    return class >= 0 ? u->world.config->classes[class].home : 0;
}

static int load_schema(const struct up *u, json_t *region, struct mrd_err *err)
{
    char schema[LAB_PATH + 16], seed[LAB_PATH + 16], seconds[24];
    char *dsn = (char *)(uintptr_t)lab_text_of(json_object_get(region, "pg"), "dsn");

    snprintf(schema, sizeof(schema), "%s/schema.sql", u->world.templates);
    snprintf(seed, sizeof(seed), "%s/seed.sql", u->world.templates);
    snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)u->wait_ms / 1000 + 1);
    /* A quorum class whose replicas take nothing would make it wait for ever. */
    char *argv[] = {(char *)"timeout",
                    seconds,
                    (char *)"psql",
                    dsn,
                    (char *)"-qX",
                    (char *)"-v",
                    (char *)"ON_ERROR_STOP=1",
                    (char *)"-f",
                    schema,
                    (char *)"-f",
                    seed,
                    NULL};
    if (access(seed, R_OK) != 0) {
        argv[9] = NULL;
    }
    if (lab_run(argv, err) != 0) {
        if (strstr(err->text, "failed: ") != NULL && strstr(err->text, "failed: ")[8] == '\0') {
            mrd_err_set(err, MRD_ETIMEDOUT, "loading the schema took longer than %s s",
                        seconds);
            mrd_err_hint(err, "See whether the streams run with: meridian links.");
        }
        return err->code;
    }
    return 0;
}

static bool all_have_tables(const struct up *u, json_t *regions, long expected)
{
    json_t *region;
    size_t i;
    long wanted;

    json_array_foreach(regions, i, region)
    {
        if (!json_is_true(json_object_get(region, "witness"))) {
            PGconn *c = lab_sql_open(region);
            long found = count_tables(u, c, &wanted);

            PQfinish(c);
            if (found < expected) {
                return false;
            }
        }
    }
    return true;
}

static int bring_schema(const struct up *u)
{
    struct mrd_err err;
    json_t *status = fetch_status(u->world.dir, &err);
    json_t *regions = json_object_get(status, "regions");
    json_t *home = json_array_get(regions, (size_t)schema_home(u));
    uint64_t start = clock_ms(CLOCK_MONOTONIC);
    PGconn *c = lab_sql_open(home);
    long wanted;
    long found = count_tables(u, c, &wanted);
    int code = 0;

    PQfinish(c);
    if (found == 0) {
        printf("  loading the schema of %s at %s\n", u->world.config->name,
               lab_text_of(home, "name"));
        fflush(stdout);
        code = load_schema(u, home, &err);
        found = wanted;
    }
    /* a table that somebody dropped at the schema's home will not come */
    while (code == 0 && !interrupted && !all_have_tables(u, regions, found)) {
        if (clock_ms(CLOCK_MONOTONIC) - start > u->wait_ms) {
            code = mrd_err_set(&err, MRD_ETIMEDOUT, "the schema has not reached every region");
            mrd_err_hint(&err, "See why with: meridian links.");
        }
        poll(NULL, 0, 300);
    }
    json_decref(status);
    return code == 0 ? 0 : lab_fail(&err);
}

/* ---- processes ---- */

static void become_daemon(struct up *u, int ready_fd, pid_t parent)
{
    char path[LAB_PATH];
    int null = open("/dev/null", O_RDWR);
    int log;

    setsid();
    if (!u->detach) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(1);
        }
    }
    snprintf(path, sizeof(path), "%s/lab.log", u->world.dir);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(null);
    close(log);
    signal(SIGPIPE, SIG_IGN);
    _exit(lab_daemon(&u->world, ready_fd));
}

static void take_down(const struct up *u)
{
    kill(u->daemon, SIGTERM);
    while (waitpid(u->daemon, NULL, 0) < 0 && errno == EINTR) {
    }
}

static int start_daemon(struct up *u)
{
    char answer[1024] = "";
    size_t len = 0;
    ssize_t n;
    int pipes[2];
    pid_t me = getpid();

    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return cli_fail(NULL, "could not make a pipe: %s", strerror(errno));
    }
    struct pollfd p = {.fd = pipes[0], .events = POLLIN};
    u->daemon = fork();
    if (u->daemon == 0) {
        close(pipes[0]);
        become_daemon(u, pipes[1], me);
    }
    close(pipes[1]);
    while (len < sizeof(answer) - 1 && !interrupted && poll(&p, 1, DAEMON_MS) > 0 &&
           (n = read(pipes[0], answer + len, sizeof(answer) - 1 - len)) > 0) {
        len += (size_t)n;
    }
    close(pipes[0]);
    if (strcmp(answer, "ok") == 0) {
        return 0;
    }
    char *hint = strchr(answer, '\n');
    if (hint != NULL) {
        *hint++ = '\0';
    }
    take_down(u);
    return len > 0 ? cli_fail(hint, "%s", answer)
                   : cli_fail("See lab.log in its directory.",
                              "the lab's daemon in \"%s\" died or did not answer in time",
                              u->world.dir);
}

static int keep(const struct up *u)
{
    int status = 0;

    printf("Ctrl-C takes the lab down.\n");
    fflush(stdout);
    while (!interrupted && waitpid(u->daemon, &status, 0) < 0 && errno == EINTR) {
    }
    if (interrupted) {
        printf("\ntaking the lab down\n");
        take_down(u);
        return 0;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int boot(struct up *u)
{
    struct mrd_err err = {.code = 0};
    int code = lab_world_open(&u->world, u->dir, u->file, u->fresh, &err);

    u->world.bare = u->bare;
    if (code == 0 && !u->bare) {
        code = lab_world_certs(&u->world, &err);
    }
    if (code != 0) {
        return lab_fail(&err);
    }
    printf("booting %u regions in %s\n", u->world.config->region_count, u->world.dir);
    fflush(stdout);
    if (start_daemon(u) != 0) {
        return 1;
    }
    code = u->bare ? 0 : wait_serving(u);
    if (code == 0 && !u->bare && !u->no_schema && has_tables(u->world.config)) {
        code = bring_schema(u);
    }
    if (code != 0 && (interrupted || !u->detach)) {
        take_down(u);
    }
    return code;
}

static int parse(struct up *u, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *wait = NULL;
    int count = 0;
    const struct cli_option options[] = {
        {"-f", "FILE", &u->file, "the configuration; else the lab's last one, else the shop's"},
        {"--detach", NULL, &u->detach, "return once every region serves; the lab goes on"},
        {"--fresh", NULL, &u->fresh, "remove what an earlier lab left in the directory"},
        {"--bare", NULL, &u->bare, "namespaces and network only, no servers"},
        {"--no-schema", NULL, &u->no_schema, "leave the example's tables out"},
        {"--wait", "TIME", &wait, "how long to wait until every region serves; default 180s"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "lab up [-f FILE] [--detach] [--fresh] [--bare] [--no-schema] [--wait TIME]",
        "Boot a world: every region of the configuration, with its servers, on this machine.\n"
        "Without --detach it stays in the foreground, and Ctrl-C takes it down.",
        options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);
    uint64_t ns = 180ull * LAB_NS_PER_S;

    if (rc < 0 && wait != NULL && lab_parse_duration(wait, &ns) != 0) {
        rc = cli_misuse(&usage, "--wait takes a time such as 120s, not \"%s\"", wait);
    }
    u->wait_ms = ns / LAB_NS_PER_MS;
    return rc;
}

int lab_up(const char *dir, int argc, char **argv)
{
    static struct up u;
    struct sigaction act = {.sa_handler = on_signal};
    int code = parse(&u, argc, argv);

    if (code >= 0) {
        return code;
    }
    u.dir = dir;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    code = boot(&u);
    if (code == 0) {
        lab_print_status(u.world.dir);
        code = u.detach ? 0 : keep(&u);
    }
    lab_world_close(&u.world);
    return code;
}

static void print_regions(json_t *status)
{
    static const char *const titles[] = {"REGION",   "STATE", "ADDRESS", "HTTP",
                                         "POSTGRES", "DNS",   NULL};
    struct cli_table *t = cli_table_new(titles);
    json_t *r;
    size_t i;

    json_array_foreach(json_object_get(status, "regions"), i, r)
    {
        cli_cell(t, "%s", lab_text_of(r, "name"));
        cli_cell(t, "%s", lab_text_of(r, "state"));
        cli_cell(t, "%s", lab_text_of(r, "address"));
        cli_cell(t, "%s", lab_text_of(r, "http_url"));
        cli_cell(t, "port %d", lab_port_of(r, "pg", "port"));
        cli_cell(t, "port %d", lab_port_of(r, "dns", "port"));
    }
    cli_table_print(t, NULL);
}

static void print_links(json_t *status)
{
    static const char *const titles[] = {"LINK, ONE WAY", ">DELAY",   ">JITTER",      ">LOSS",
                                         ">RATE",         ">PACKETS", "LATE P50/P99", NULL};
    struct cli_table *t = cli_table_new(titles);
    json_t *l;
    size_t i;

    json_array_foreach(json_object_get(status, "links"), i, l)
    {
        double rate = json_real_value(json_object_get(l, "rate_mbit"));
        bool cut = json_is_true(json_object_get(l, "cut"));

        cli_cell(t, "%s > %s", lab_text_of(l, "from"), lab_text_of(l, "to"));
        cli_cell(t, "%.2f ms", json_real_value(json_object_get(l, "delay_ms")));
        cli_cell(t, "%.1f ms", json_real_value(json_object_get(l, "jitter_ms")));
        cli_cell(t, "%.3g%%", json_real_value(json_object_get(l, "loss_percent")));
        if (cut || rate <= 0) {
            cli_cell(t, "%s", cut ? "CUT" : "none");
        } else {
            cli_cell(t, "%.4g mbit", rate);
        }
        cli_cell(t, "%lld", (long long)json_integer_value(json_object_get(l, "packets")));
        cli_cell(t, "%.0f/%.0f us", json_real_value(json_object_get(l, "late_us_p50")),
                 json_real_value(json_object_get(l, "late_us_p99")));
    }
    cli_table_print(t, NULL);
}

/* What "running" does not say. A region that was killed or paused serves nothing, of course. */
static void print_faults(json_t *status)
{
    json_t *r;
    size_t i;

    json_array_foreach(json_object_get(status, "regions"), i, r)
    {
        const char *why = strcmp(lab_text_of(r, "state"), "running") == 0
                              ? lab_serves(r, lab_text_of(status, "zone"))
                              : NULL;
        if (why != NULL) {
            printf("%s does not serve: %s\n", lab_text_of(r, "name"), why);
        }
    }
}

int lab_print_status(const char *dir)
{
    struct mrd_err err;
    json_t *status = fetch_status(dir, &err);

    if (status == NULL) {
        return lab_fail(&err);
    }
    putchar('\n');
    print_regions(status);
    if (!json_is_true(json_object_get(status, "bare"))) {
        print_faults(status);
    }
    putchar('\n');
    print_links(status);
    json_decref(status);
    return 0;
}
