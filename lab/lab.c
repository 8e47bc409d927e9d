/*
 * `meridian lab ...`: several regions on one machine. The command line; each command is a
 * request to the daemon (daemon.h), or runs a program inside a region.
 *
 * Everything here needs root, for namespaces and devices; a user with sudo is asked once.
 */
#include <cli.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "link.h"
#include "up.h"
#include "workload.h"

static const char usage_text[] =
    "usage: meridian lab COMMAND [--dir DIR] ...\n"
    "  up [-f FILE] [--detach] [--fresh] [--bare] [--no-schema] [--wait TIME]\n"
    "                                boot a world; returns 0 once every region serves\n"
    "  status [--json]               regions, addresses, links with their measured lateness\n"
    "  psql REGION [-- ARG...]       psql inside that region\n"
    "  exec REGION -- CMD...         run a program inside that region\n"
    "  link A B [--delay T] [--jitter T] [--loss P%] [--duplicate P%] [--rate 100mbit]\n"
    "           [--queue BYTES] [--one-way] [--cut | --cut-one-way | --heal | --reset]\n"
    "                                delays are one way; both directions unless --one-way (A "
    "to B)\n"
    "  kill REGION [--part agent|pg|nginx|knot|shop [--hold]]\n"
    "  start REGION [--part agent|shop]\n"
    "  pause REGION [--part P]       SIGSTOP; resume REGION [--part P]: SIGCONT\n"
    "  isolate REGION                cut every link of the region\n"
    "  heal [A B | REGION]           join cut links: one, a region's, all\n"
    "  clock REGION +300s|-5m|0      step the wall clock of its servers\n"
    "  load [...]                    workload that keeps receipts; see: meridian lab load "
    "--help\n"
    "  down [--purge]                stop everything; --purge removes the data too\n"
    "DIR is $MERIDIAN_LAB or " LAB_DIR_DEFAULT ".\n";

static int usage(void)
{
    fputs(usage_text, stderr);
    return 2;
}

static int complain(const struct mrd_err *err)
{
    fprintf(stderr, "meridian lab: %s\n", err->text);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "hint: %s\n", err->hint);
    }
    return 1;
}

/* Send a request of which only success matters. */
static int order(const char *dir, json_t *request)
{
    struct mrd_err err;
    json_t *answer = lab_request(dir, request, &err);

    if (answer == NULL) {
        return complain(&err);
    }
    json_decref(answer);
    return 0;
}

/* ---- status, down ---- */

static int run_status(const char *dir, int argc, char **argv)
{
    struct mrd_err err;
    json_t *status;

    if (argc == 1) {
        return lab_print_status(dir);
    }
    if (argc != 2 || strcmp(argv[1], "--json") != 0) {
        return usage();
    }
    status = lab_request(dir, json_pack("{ss}", "command", "status"), &err);
    if (status == NULL) {
        return complain(&err);
    }
    json_dumpf(status, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(status);
    return 0;
}

/* Wait until the daemon has let go of its lock: then nothing of the lab is left. */
static bool wait_unlocked(const struct lab_world *w)
{
    char path[LAB_PATH];
    int fd;
    bool free_now = false;

    snprintf(path, sizeof(path), "%s/lab.lock", w->dir);
    fd = open(path, O_RDWR | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < 300 && !free_now; i++) {
        free_now = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!free_now) {
            usleep(100000);
        }
    }
    if (fd < 0) {
        return true;
    }
    close(fd);
    return free_now;
}

static int run_down(const char *dir, int argc, char **argv)
{
    bool purge = argc == 2 && strcmp(argv[1], "--purge") == 0;
    struct lab_world w;
    struct mrd_err err;
    json_t *answer;

    memset(&w, 0, sizeof(w));
    if (argc > 2 || (argc == 2 && !purge)) {
        return usage();
    }
    if (access(dir, F_OK) != 0) {
        return 0; /* no lab was ever here */
    }
    if (lab_world_locate(&w, dir, &err) != 0) {
        return complain(&err);
    }
    answer = lab_request(w.dir, json_pack("{ss}", "command", "down"), &err);
    json_decref(answer);
    if (!wait_unlocked(&w)) {
        fprintf(stderr, "meridian lab: the daemon of \"%s\" does not end\n", w.dir);
        return 1;
    }
    /* After a crash nobody else does this; after an orderly end it finds nothing. */
    lab_world_sweep(&w, false);
    if (purge && lab_world_open(&w, dir, NULL, &err) == 0) {
        lab_world_sweep(&w, true);
        lab_world_close(&w);
    }
    return 0;
}

/* ---- faults ---- */

static int run_region_command(const char *dir, int argc, char **argv)
{
    static const struct option options[] = {{"part", required_argument, NULL, 'p'},
                                            {"hold", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    json_t *request = json_pack("{ss}", "command", argv[0]);
    bool plain = strcmp(argv[0], "isolate") == 0;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'p' && !plain) {
            json_object_set_new(request, "part", json_string(optarg));
        } else if (c == 'h' && strcmp(argv[0], "kill") == 0) {
            json_object_set_new(request, "hold", json_true());
        } else {
            json_decref(request);
            return usage();
        }
    }
    if (argc - optind != 1) {
        json_decref(request);
        return usage();
    }
    json_object_set_new(request, "region", json_string(argv[optind]));
    return order(dir, request);
}

static int run_clock(const char *dir, int argc, char **argv)
{
    const char *text = argc == 3 ? argv[2] : "";
    bool back = text[0] == '-';
    uint64_t ns;

    if (argc != 3) {
        return usage();
    }
    if (lab_parse_duration(text + (back || text[0] == '+'), &ns) != 0) {
        fprintf(stderr, "meridian lab: \"%s\" is not a step; try +300s, -5m or 0\n", text);
        return 2;
    }
    return order(dir, json_pack("{ss ss sI}", "command", "clock", "region", argv[1],
                                "offset_ns", back ? -(json_int_t)ns : (json_int_t)ns));
}

static int run_heal(const char *dir, int argc, char **argv)
{
    if (argc == 1) {
        return order(dir, json_pack("{ss}", "command", "heal"));
    }
    if (argc == 2) {
        return order(dir, json_pack("{ss ss}", "command", "heal", "region", argv[1]));
    }
    if (argc == 3) {
        return order(dir,
                     json_pack("{ss ss ss}", "command", "heal", "a", argv[1], "b", argv[2]));
    }
    return usage();
}

static int take_duration(json_t *request, const char *key, const char *text)
{
    uint64_t ns;

    if (lab_parse_duration(text, &ns) != 0 || ns > LAB_DELAY_MAX_NS) {
        fprintf(stderr, "meridian lab: \"%s\" is not a delay; try 80ms\n", text);
        return -1;
    }
    json_object_set_new(request, key, json_integer((json_int_t)ns));
    return 0;
}

static int take_share(json_t *request, const char *key, const char *text)
{
    uint32_t ppm;

    if (lab_parse_share(text, &ppm) != 0) {
        fprintf(stderr, "meridian lab: \"%s\" is not a share; try 1%%\n", text);
        return -1;
    }
    json_object_set_new(request, key, json_integer(ppm));
    return 0;
}

static int take_rate(json_t *request, const char *text)
{
    uint64_t bps;

    if (lab_parse_rate(text, &bps) != 0) {
        fprintf(stderr, "meridian lab: \"%s\" is not a rate; try 100mbit, or none\n", text);
        return -1;
    }
    json_object_set_new(request, "rate_bps", json_integer((json_int_t)bps));
    return 0;
}

static int take_link_option(json_t *request, int c, const char *text)
{
    switch (c) {
    case 'd':
        return take_duration(request, "delay_ns", text);
    case 'j':
        return take_duration(request, "jitter_ns", text);
    case 'l':
        return take_share(request, "loss_ppm", text);
    case 'D':
        return take_share(request, "dup_ppm", text);
    case 'r':
        return take_rate(request, text);
    case 'q':
        return json_object_set_new(request, "queue_bytes", json_integer(atoll(text)));
    case 'o':
        return json_object_set_new(request, "one_way", json_true());
    case 'C':
        json_object_set_new(request, "one_way", json_true());
        return json_object_set_new(request, "cut", json_true());
    case 'c':
        return json_object_set_new(request, "cut", json_true());
    case 'h':
        return json_object_set_new(request, "cut", json_false());
    case 'R':
        return json_object_set_new(request, "reset", json_true());
    default:
        return -1;
    }
}

static void print_link(json_t *link)
{
    printf("%s -> %s: delay %.3f ms, jitter %.3f ms, loss %.4g%%, rate %.6g mbit%s\n",
           json_string_value(json_object_get(link, "from")),
           json_string_value(json_object_get(link, "to")),
           json_real_value(json_object_get(link, "delay_ms")),
           json_real_value(json_object_get(link, "jitter_ms")),
           json_real_value(json_object_get(link, "loss_percent")),
           json_real_value(json_object_get(link, "rate_mbit")),
           json_is_true(json_object_get(link, "cut")) ? ", CUT" : "");
}

static int run_link(const char *dir, int argc, char **argv)
{
    static const struct option options[] = {
        {"delay", required_argument, NULL, 'd'}, {"jitter", required_argument, NULL, 'j'},
        {"loss", required_argument, NULL, 'l'},  {"duplicate", required_argument, NULL, 'D'},
        {"rate", required_argument, NULL, 'r'},  {"queue", required_argument, NULL, 'q'},
        {"one-way", no_argument, NULL, 'o'},     {"cut", no_argument, NULL, 'c'},
        {"cut-one-way", no_argument, NULL, 'C'}, {"heal", no_argument, NULL, 'h'},
        {"reset", no_argument, NULL, 'R'},       {NULL, 0, NULL, 0},
    };
    json_t *request = json_pack("{ss}", "command", "link");
    json_t *answer;
    struct mrd_err err;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (take_link_option(request, c, optarg) != 0) {
            json_decref(request);
            return 2;
        }
    }
    if (argc - optind != 2) {
        json_decref(request);
        return usage();
    }
    json_object_set_new(request, "a", json_string(argv[optind]));
    json_object_set_new(request, "b", json_string(argv[optind + 1]));
    answer = lab_request(dir, request, &err);
    if (answer == NULL) {
        return complain(&err);
    }
    print_link(json_object_get(answer, "there"));
    print_link(json_object_get(answer, "back"));
    json_decref(answer);
    return 0;
}

/* ---- programs inside a region ---- */

/* Fork inside the region and run @argv there; returns its exit status. */
static int run_inside(pid_t init, bool as_user, char **argv)
{
    char here[PATH_MAX] = "/";
    int fd = pidfd_open(init, 0);
    int status = 0;
    pid_t pid;

    if (getcwd(here, sizeof(here)) == NULL) {
        here[0] = '\0';
    }
    if (fd < 0 || setns(fd, CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                CLONE_NEWPID) != 0) {
        fprintf(stderr, "meridian lab: could not enter the region: %s\n", strerror(errno));
        return 1;
    }
    pid = fork();
    if (pid == 0) {
        struct passwd *user = as_user ? getpwnam(LAB_USER) : NULL;

        if (as_user && (user == NULL || initgroups(LAB_USER, user->pw_gid) != 0 ||
                        setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
            _exit(126);
        }
        /* Entering a mount namespace leads to its root; the same files are there. */
        if (chdir(here) != 0 && chdir("/") != 0) {
            _exit(126);
        }
        execvp(argv[0], argv);
        fprintf(stderr, "meridian lab: could not run \"%s\": %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    signal(SIGINT, SIG_IGN); /* the terminal tells the program itself */
    signal(SIGQUIT, SIG_IGN);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Pid 1 of the region, and its database's name when @database is not NULL; -1 with @err. */
static pid_t init_of(const char *dir, const char *name, char database[MRD_NAME_MAX],
                     struct mrd_err *err)
{
    json_t *status = lab_request(dir, json_pack("{ss}", "command", "status"), err);
    json_t *region;
    size_t i;
    pid_t pid = -1;

    if (status == NULL) {
        return -1;
    }
    json_array_foreach(json_object_get(status, "regions"), i, region)
    {
        if (strcmp(json_string_value(json_object_get(region, "name")), name) == 0) {
            json_t *pg = json_object_get(region, "pg");

            pid = (pid_t)json_integer_value(json_object_get(region, "init_pid"));
            if (database != NULL) {
                snprintf(database, MRD_NAME_MAX, "%s",
                         json_string_value(json_object_get(pg, "database")));
            }
        }
    }
    json_decref(status);
    if (pid < 0) {
        mrd_err_set(err, MRD_ENOTFOUND, "no region \"%s\"", name);
        mrd_err_hint(err, "List the regions with: meridian lab status.");
    } else if (pid == 0) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "region \"%s\" is killed", name);
        mrd_err_hint(err, "Start it with: meridian lab start %s.", name);
    }
    return pid > 0 ? pid : -1;
}

/* Words after the region's name, and after "--" when it is there. */
static char **rest_of(int argc, char **argv)
{
    return argc > 2 && strcmp(argv[2], "--") == 0 ? argv + 3 : argv + 2;
}

static int run_exec(const char *dir, int argc, char **argv)
{
    struct mrd_err err;
    char **words = argc >= 3 ? rest_of(argc, argv) : NULL;
    pid_t init;

    if (words == NULL || words[0] == NULL) {
        return usage();
    }
    init = init_of(dir, argv[1], NULL, &err);
    return init < 0 ? complain(&err) : run_inside(init, false, words);
}

static int run_psql(const char *dir, int argc, char **argv)
{
    char database[MRD_NAME_MAX] = "";
    char *words[256] = {(char *)"psql", (char *)"-h", (char *)LAB_RUN_INSIDE, (char *)"-d",
                        database};
    size_t n = 5;
    struct mrd_err err;
    pid_t init;

    if (argc < 2) {
        return usage();
    }
    for (char **w = rest_of(argc, argv); *w != NULL && n < 255; w++) {
        words[n++] = *w;
    }
    init = init_of(dir, argv[1], database, &err);
    return init < 0 ? complain(&err) : run_inside(init, true, words);
}

/* ---- the front ---- */

/* Take "--dir DIR" out of the words before "--". */
static const char *take_dir(int *argc, char **argv)
{
    const char *dir = getenv("MERIDIAN_LAB");

    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        int words = 0;

        if (strcmp(argv[i], "--dir") == 0 && i + 1 < *argc) {
            dir = argv[i + 1];
            words = 2;
        } else if (strncmp(argv[i], "--dir=", 6) == 0) {
            dir = argv[i] + 6;
            words = 1;
        }
        if (words > 0) {
            memmove(argv + i, argv + i + words,
                    (size_t)(*argc - i - words + 1) * sizeof(*argv));
            *argc -= words;
            i--;
        }
    }
    return dir != NULL && dir[0] != '\0' ? dir : LAB_DIR_DEFAULT;
}

/* Run the same words again through sudo, with this program by its path. */
static int become_root(int argc, char **argv, const char *dir)
{
    char self[PATH_MAX] = "";
    char *words[128] = {(char *)"sudo",        self, (char *)"lab", argv[1], (char *)"--dir",
                        (char *)(uintptr_t)dir};

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0 && argc < 120) {
        memcpy(words + 6, argv + 2, (size_t)(argc - 2) * sizeof(*words));
        execvp("sudo", words);
    }
    fprintf(stderr, "meridian lab: needs root for namespaces and network devices, and there is "
                    "no sudo here; run it as root\n");
    return 1;
}

static const struct {
    const char *name;
    int (*run)(const char *dir, int argc, char **argv);
} commands[] = {
    {"up", lab_up},
    {"status", run_status},
    {"psql", run_psql},
    {"exec", run_exec},
    {"link", run_link},
    {"kill", run_region_command},
    {"start", run_region_command},
    {"pause", run_region_command},
    {"resume", run_region_command},
    {"isolate", run_region_command},
    {"heal", run_heal},
    {"clock", run_clock},
    {"load", lab_load},
    {"down", run_down},
};

int cli_lab(int argc, char **argv)
{
    const char *dir = take_dir(&argc, argv);

    for (size_t i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return geteuid() == 0 ? commands[i].run(dir, argc - 1, argv + 1)
                                  : become_root(argc, argv, dir);
        }
    }
    return usage();
}
