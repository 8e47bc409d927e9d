/*
 * Booting a world and knowing when it serves (up.h).
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
#include "up.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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

struct up {
    const char *dir, *file;
    bool detach, bare, fresh, no_schema;
    uint64_t wait_ms;
    struct lab_world world;
    pid_t daemon;
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

static int complain(const struct mrd_err *err)
{
    fprintf(stderr, "meridian lab: %s\n", err->text);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "hint: %s\n", err->hint);
    }
    return 1;
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
        fprintf(stderr, "--- the end of %s\n%s", path, text + len + (len > 0));
        free(text);
    }
}

static void diagnose(json_t *regions, const char *const why[MRD_REGIONS_MAX])
{
    json_t *region;
    size_t i;

    json_array_foreach(regions, i, region)
    {
        if (why[i] != NULL) {
            fprintf(stderr, "meridian lab: region \"%s\" does not serve: %s\n",
                    lab_text_of(region, "name"), why[i]);
            print_logs(region);
        }
    }
}

static json_t *fetch_status(const char *dir, struct mrd_err *err)
{
    return lab_request(dir, json_pack("{ss}", "command", "status"), err);
}

static void show_progress(json_t *regions, const char *const why[MRD_REGIONS_MAX],
                          const char *last[MRD_REGIONS_MAX])
{
    for (size_t i = 0; i < json_array_size(regions); i++) {
        if (why[i] != last[i]) {
            printf("  %-16s %s\n", lab_text_of(json_array_get(regions, i), "name"),
                   why[i] != NULL ? why[i] : "serves");
            fflush(stdout);
            last[i] = why[i];
        }
    }
}

static int wait_serving(const struct up *u)
{
    static const char unknown[] = "";
    const char *why[MRD_REGIONS_MAX];
    const char *last[MRD_REGIONS_MAX];
    uint64_t start = clock_ms(CLOCK_MONOTONIC);
    struct mrd_err err;

    for (unsigned i = 0; i < MRD_REGIONS_MAX; i++) {
        last[i] = unknown;
    }
    for (;;) {
        json_t *status = fetch_status(u->world.dir, &err);
        json_t *regions = json_object_get(status, "regions");
        bool late = clock_ms(CLOCK_MONOTONIC) - start > u->wait_ms;
        unsigned missing = 0;

        if (status == NULL) {
            return complain(&err);
        }
        for (size_t i = 0; i < json_array_size(regions) && !interrupted; i++) {
            why[i] = lab_serves(json_array_get(regions, i), u->world.config->dns_zone);
            missing += why[i] != NULL;
        }
        if (!interrupted) {
            show_progress(regions, why, last);
        }
        if (missing > 0 && late) {
            diagnose(regions, why);
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

static bool all_have_tables(const struct up *u, json_t *regions)
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
            if (found < wanted) {
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
    }
    while (code == 0 && !interrupted && !all_have_tables(u, regions)) {
        if (clock_ms(CLOCK_MONOTONIC) - start > u->wait_ms) {
            code = mrd_err_set(&err, MRD_ETIMEDOUT, "the schema has not reached every region");
            mrd_err_hint(&err, "See why with: meridian links.");
        }
        poll(NULL, 0, 300);
    }
    json_decref(status);
    return code == 0 ? 0 : complain(&err);
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

static int start_daemon(struct up *u)
{
    char answer[1024] = "";
    size_t len = 0;
    ssize_t n;
    int pipes[2];
    pid_t me = getpid();

    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return -1;
    }
    u->daemon = fork();
    if (u->daemon == 0) {
        close(pipes[0]);
        become_daemon(u, pipes[1], me);
    }
    close(pipes[1]);
    while (len < sizeof(answer) - 1 &&
           ((n = read(pipes[0], answer + len, sizeof(answer) - 1 - len)) > 0 ||
            (n < 0 && errno == EINTR))) {
        len += n > 0 ? (size_t)n : 0;
    }
    close(pipes[0]);
    if (strcmp(answer, "ok") != 0) {
        fprintf(stderr, "meridian lab: %s\n",
                len > 0 ? answer : "the daemon died; see lab.log in the lab's directory");
        waitpid(u->daemon, NULL, 0);
        return 1;
    }
    return 0;
}

static void take_down(const struct up *u)
{
    kill(u->daemon, SIGTERM);
    while (waitpid(u->daemon, NULL, 0) < 0 && errno == EINTR) {
    }
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
    int code = lab_world_open(&u->world, u->dir, u->file, &err);

    u->world.bare = u->bare;
    if (code == 0 && !u->bare) {
        code = lab_world_certs(&u->world, &err);
    }
    if (code != 0) {
        return complain(&err);
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
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"detach", no_argument, NULL, 'd'},
        {"bare", no_argument, NULL, 'b'},
        {"no-schema", no_argument, NULL, 's'},
        {"fresh", no_argument, NULL, 'F'},
        {"wait", required_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    uint64_t ns;
    int c;

    while ((c = getopt_long(argc, argv, "f:d", options, NULL)) != -1) {
        switch (c) {
        case 'f':
            u->file = optarg;
            break;
        case 'd':
            u->detach = true;
            break;
        case 'b':
            u->bare = true;
            break;
        case 's':
            u->no_schema = true;
            break;
        case 'F':
            u->fresh = true;
            break;
        case 'w':
            if (lab_parse_duration(optarg, &ns) != 0) {
                fprintf(stderr, "meridian lab: \"%s\" is not a time; try 120s\n", optarg);
                return -1;
            }
            u->wait_ms = ns / LAB_NS_PER_MS;
            break;
        default:
            return -1;
        }
    }
    return optind == argc ? 0 : -1;
}

int lab_up(const char *dir, int argc, char **argv)
{
    static struct up u;
    struct sigaction act = {.sa_handler = on_signal};
    int code;

    u.dir = dir;
    u.wait_ms = 180000;
    if (parse(&u, argc, argv) != 0) {
        fprintf(stderr, "usage: meridian lab up [-f FILE] [--dir DIR] [--detach] [--fresh] "
                        "[--bare] [--no-schema] [--wait TIME]\n");
        return 2;
    }
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    if (u.fresh && lab_world_locate(&u.world, dir, NULL) == 0) {
        struct mrd_err err;
        json_t *status = fetch_status(u.world.dir, &err);

        if (status == NULL && lab_world_open(&u.world, dir, NULL, &err) == 0) {
            lab_world_sweep(&u.world, true);
            lab_world_close(&u.world);
        }
        json_decref(status);
    }
    code = boot(&u);
    if (code == 0) {
        lab_print_status(u.world.dir);
        code = u.detach ? 0 : keep(&u);
    }
    lab_world_close(&u.world);
    return code;
}

int lab_print_status(const char *dir)
{
    struct mrd_err err;
    json_t *status = fetch_status(dir, &err);
    json_t *item;
    size_t i;

    if (status == NULL) {
        return complain(&err);
    }
    printf("\n%-16s %-8s %-10s %-26s %-16s %s\n", "region", "state", "address", "http",
           "postgres", "dns");
    json_array_foreach(json_object_get(status, "regions"), i, item)
    {
        printf("%-16s %-8s %-10s %-26s port %-11d port %d\n", lab_text_of(item, "name"),
               lab_text_of(item, "state"), lab_text_of(item, "address"),
               lab_text_of(item, "http_url"), lab_port_of(item, "pg", "port"),
               lab_port_of(item, "dns", "port"));
    }
    printf("\n%-33s %9s %8s %6s %9s %10s %12s\n", "link (one way)", "delay", "jitter", "loss",
           "rate", "packets", "late p50/p99");
    json_array_foreach(json_object_get(status, "links"), i, item)
    {
        double rate = json_real_value(json_object_get(item, "rate_mbit"));
        char name[80], rates[32] = "none";

        snprintf(name, sizeof(name), "%s -> %s", lab_text_of(item, "from"),
                 lab_text_of(item, "to"));
        if (rate > 0) {
            snprintf(rates, sizeof(rates), "%.4gmbit", rate);
        }
        if (json_is_true(json_object_get(item, "cut"))) {
            snprintf(rates, sizeof(rates), "CUT");
        }
        printf("%-33s %7.2fms %6.1fms %5.3g%% %9s %10lld %5.0f/%.0fus\n", name,
               json_real_value(json_object_get(item, "delay_ms")),
               json_real_value(json_object_get(item, "jitter_ms")),
               json_real_value(json_object_get(item, "loss_percent")), rates,
               (long long)json_integer_value(json_object_get(item, "packets")),
               json_real_value(json_object_get(item, "late_us_p50")),
               json_real_value(json_object_get(item, "late_us_p99")));
    }
    json_decref(status);
    return 0;
}
