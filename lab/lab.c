/*
 * `meridian lab ...`: several regions on one machine. The command line; each command is a
 * request to the daemon (daemon.h), or runs a program inside a region (inside.c).
 *
 * Everything here needs root, for namespaces and devices; a user with sudo is asked once.
 */
#include <cli.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <client.h> /* of cli/ */
#include <load.h>

#include "daemon.h"
#include "front.h"
#include "link.h"

static const struct cli_option no_options[] = {{NULL, NULL, NULL, NULL}};

int lab_fail(const struct mrd_err *err)
{
    return cli_fail(err->hint, "%s", err->text);
}

/* Send a request of which only success matters. */
static int order(const char *dir, json_t *request)
{
    struct mrd_err err;
    json_t *answer = lab_request(dir, request, &err);

    if (answer == NULL) {
        return lab_fail(&err);
    }
    if (cli_known(answer, "note")) {
        printf("%s\n", cli_text(answer, "note"));
    }
    json_decref(answer);
    return 0;
}

/* ---- status, down ---- */

static int run_status(const char *dir, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    bool json = false;
    const struct cli_option options[] = {
        {"--json", NULL, &json, "addresses, ports, states and links as JSON"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "lab status [--json]",
        "Regions with what to open, which of them do not serve and why, and links with their\n"
        "measured lateness.",
        options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);
    struct mrd_err err;

    if (rc >= 0) {
        return rc;
    }
    if (!json) {
        return lab_print_status(dir);
    }
    json_t *status = lab_request(dir, json_pack("{ss}", "command", "status"), &err);
    if (status == NULL) {
        return lab_fail(&err);
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

    snprintf(path, sizeof(path), "%s/" LAB_LOCK, w->dir);
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

static int take_down(const char *dir, bool purge)
{
    struct lab_world w;
    struct mrd_err err;
    char left[NAME_MAX + 1];
    json_t *answer;

    memset(&w, 0, sizeof(w));
    if (!lab_world_exists(dir)) {
        return cli_fail("Name its directory with --dir DIR or $MERIDIAN_LAB.",
                        "there is no lab in \"%s\"", dir);
    }
    if (lab_world_locate(&w, dir, &err) != 0) {
        return lab_fail(&err);
    }
    if (purge) {
        lab_world_drop_ledgers(&w); /* first: a load that loses its lab names only what stays */
    }
    printf("stopping the lab in %s: load, agents, servers\n", w.dir);
    fflush(stdout);
    answer = lab_request(w.dir, json_pack("{ss}", "command", "down"), &err);
    json_decref(answer);
    if (!wait_unlocked(&w)) {
        return cli_fail("See lab.log there for what it waits for.",
                        "the daemon of the lab in \"%s\" does not end", w.dir);
    }
    /* After a crash nobody else does this; after an orderly end it finds nothing. */
    lab_world_sweep(&w);
    if (purge) {
        puts("removing its data");
        fflush(stdout);
        lab_world_purge(&w, left);
        if (left[0] != '\0') {
            printf("kept %s: \"%s\" in it is not the lab's\n", w.dir, left);
        }
    }
    return 0;
}

static int run_down(const char *dir, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    bool purge = false;
    const struct cli_option options[] = {
        {"--purge", NULL, &purge, "remove the data, the ledgers and the directory, too"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {
        "lab down [--purge]",
        "Stop everything. The data stays for the next `lab up` unless --purge.", options, 0, 0};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    return rc >= 0 ? rc : take_down(dir, purge);
}

/* ---- faults ---- */

#define PARTS "agent, pg, nginx, knot or shop"

static const struct {
    const char *name, *synopsis, *text;
} faults[] = {
    {"kill", "lab kill REGION [--part P [--hold]]",
     "A power cut: its packets vanish, then every process of the region. With --part, SIGKILL\n"
     "to the processes of that part; the agent or init starts them again."},
    {"start", "lab start REGION [--part agent|shop | --anew]",
     "Start a killed region, or a part that is held down. With --anew on a new disk: nothing\n"
     "of the region is left but its configuration and certificates."},
    {"pause", "lab pause REGION [--part P]", "SIGSTOP to every process of the region or part."},
    {"resume", "lab resume REGION [--part P]", "SIGCONT to what was paused."},
    {"isolate", "lab isolate REGION",
     "Cut every link of the region; join them with: meridian lab heal."},
};

static int run_fault(const char *dir, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX], *part = NULL;
    int count = 0;
    bool hold = false, anew = false;
    size_t f = 0;

    while (strcmp(argv[0], faults[f].name) != 0) {
        f++;
    }
    /* The second is the verb's own, if it has one. */
    struct cli_option options[] = {
        {"--part", "P", &part, "only this: " PARTS},
        {NULL, NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL},
    };
    bool whole = strcmp(argv[0], "isolate") == 0;
    const struct cli_usage usage = {faults[f].synopsis, faults[f].text,
                                    whole ? no_options : options, 1, 1};
    if (strcmp(argv[0], "kill") == 0) {
        options[1] = (struct cli_option){"--hold", NULL, &hold,
                                         "keep the agent or the shop down until started"};
    } else if (strcmp(argv[0], "start") == 0) {
        options[1] = (struct cli_option){"--anew", NULL, &anew,
                                         "its disk is lost for good; begin from nothing"};
    }
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (hold && part == NULL) {
        return cli_misuse(&usage, "--hold needs --part agent or --part shop");
    }
    if (anew && part != NULL) {
        return cli_misuse(&usage, "--anew belongs to a whole region");
    }
    return order(dir, json_pack("{ss ss ss* sb sb}", "command", argv[0], "region", words[0],
                                "part", part, "hold", hold, "anew", anew));
}

static int run_clock(const char *dir, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    const struct cli_usage usage = {"lab clock REGION +300s|-5m|0",
                                    "Set the wall clock of the region's servers that far from\n"
                                    "the true time; 0 sets it right. Boot time stays true.\n"
                                    "meridian status says whose clock is off.",
                                    no_options, 2, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);
    uint64_t ns;

    if (rc >= 0) {
        return rc;
    }
    bool back = words[1][0] == '-';
    if (lab_parse_duration(words[1] + (back || words[1][0] == '+'), &ns) != 0) {
        return cli_misuse(&usage, "\"%s\" is not a step; try +300s, -5m or 0", words[1]);
    }
    return order(dir, json_pack("{ss ss sI}", "command", "clock", "region", words[0],
                                "offset_ns", back ? -(json_int_t)ns : (json_int_t)ns));
}

static int run_heal(const char *dir, int argc, char **argv)
{
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    const struct cli_usage usage = {"lab heal [A B | REGION]",
                                    "Join cut links: the one between A and B, a region's, or "
                                    "all. Other settings stay.",
                                    no_options, 0, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    if (count == 2) {
        return order(dir,
                     json_pack("{ss ss ss}", "command", "heal", "a", words[0], "b", words[1]));
    }
    return order(
        dir, json_pack("{ss ss*}", "command", "heal", "region", count == 1 ? words[0] : NULL));
}

/* ---- links ---- */

struct link_words {
    const char *delay, *jitter, *loss, *duplicate, *rate, *queue;
    bool one_way, cut, cut_one_way, heal, reset;
};

static int take_duration(const struct cli_usage *u, json_t *request, const char *key,
                         const char *text)
{
    uint64_t ns;

    if (text == NULL) {
        return -1;
    }
    if (lab_parse_duration(text, &ns) != 0 || ns > LAB_DELAY_MAX_NS) {
        return cli_misuse(u, "\"%s\" is not a delay of at most %llu s; try 80ms", text,
                          LAB_DELAY_MAX_NS / 1000000000ull);
    }
    json_object_set_new(request, key, json_integer((json_int_t)ns));
    return -1;
}

static int take_share(const struct cli_usage *u, json_t *request, const char *key,
                      const char *text)
{
    uint32_t ppm;

    if (text == NULL) {
        return -1;
    }
    if (lab_parse_share(text, &ppm) != 0) {
        bool bare = text[0] != '\0' && strspn(text, "0123456789.") == strlen(text);
        return cli_misuse(u,
                          bare ? "\"%s\" lacks its percent sign; try %s%%"
                               : "\"%s\" is not a share; try 1%%",
                          text, text);
    }
    json_object_set_new(request, key, json_integer(ppm));
    return -1;
}

static int take_rate(const struct cli_usage *u, json_t *request, const char *text)
{
    uint64_t bps;

    if (text == NULL) {
        return -1;
    }
    if (lab_parse_rate(text, &bps) != 0) {
        return cli_misuse(u, "\"%s\" is not a rate; try 100mbit, or none", text);
    }
    json_object_set_new(request, "rate_bps", json_integer((json_int_t)bps));
    return -1;
}

static int take_queue(const struct cli_usage *u, json_t *request, const char *text)
{
    unsigned long long bytes;

    if (text == NULL) {
        return -1;
    }
    if (!cli_number(text, LAB_INFLIGHT_MAX, &bytes)) {
        return cli_misuse(u, "--queue takes bytes, at most %llu, not \"%s\"",
                          (unsigned long long)LAB_INFLIGHT_MAX, text);
    }
    json_object_set_new(request, "queue_bytes", json_integer((json_int_t)bytes));
    return -1;
}

static int take_flags(const struct cli_usage *u, json_t *request, const struct link_words *w)
{
    if (w->cut + w->cut_one_way + w->heal + w->reset > 1) {
        return cli_misuse(u, "only one of --cut, --cut-one-way, --heal and --reset at a time");
    }
    if (w->one_way || w->cut_one_way) {
        json_object_set_new(request, "one_way", json_true());
    }
    if (w->cut || w->cut_one_way || w->heal) {
        json_object_set_new(request, "cut", json_boolean(!w->heal));
    }
    if (w->reset) {
        json_object_set_new(request, "reset", json_true());
    }
    return -1;
}

static int take_settings(const struct cli_usage *u, json_t *request, const struct link_words *w)
{
    int rc = take_duration(u, request, "delay_ns", w->delay);

    rc = rc >= 0 ? rc : take_duration(u, request, "jitter_ns", w->jitter);
    rc = rc >= 0 ? rc : take_share(u, request, "loss_ppm", w->loss);
    rc = rc >= 0 ? rc : take_share(u, request, "dup_ppm", w->duplicate);
    rc = rc >= 0 ? rc : take_rate(u, request, w->rate);
    rc = rc >= 0 ? rc : take_queue(u, request, w->queue);
    return rc >= 0 ? rc : take_flags(u, request, w);
}

static void print_link(json_t *link)
{
    double rate = json_real_value(json_object_get(link, "rate_mbit"));
    char text[40] = "no rate limit";

    if (rate > 0) {
        snprintf(text, sizeof(text), "rate %.6g mbit", rate);
    }
    printf("%s -> %s: delay %.3f ms, jitter %.3f ms, loss %.4g%%, %s%s\n",
           json_string_value(json_object_get(link, "from")),
           json_string_value(json_object_get(link, "to")),
           json_real_value(json_object_get(link, "delay_ms")),
           json_real_value(json_object_get(link, "jitter_ms")),
           json_real_value(json_object_get(link, "loss_percent")), text,
           json_is_true(json_object_get(link, "cut")) ? ", CUT" : "");
}

static int send_link(const char *dir, json_t *request)
{
    struct mrd_err err;
    json_t *answer = lab_request(dir, request, &err);

    if (answer == NULL) {
        return lab_fail(&err);
    }
    print_link(json_object_get(answer, "there"));
    print_link(json_object_get(answer, "back"));
    json_decref(answer);
    return 0;
}

static int run_link(const char *dir, int argc, char **argv)
{
    struct link_words w = {0};
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    const struct cli_option options[] = {
        {"--delay", "T", &w.delay, "each way, as 80ms; a round trip takes both"},
        {"--jitter", "T", &w.jitter, "how much the delay varies"},
        {"--loss", "P%", &w.loss, "share of packets that vanish"},
        {"--duplicate", "P%", &w.duplicate, "share of packets that arrive twice"},
        {"--rate", "R", &w.rate, "as 100mbit; none: no limit"},
        {"--queue", "BYTES", &w.queue, "what waits for the rate before packets are dropped"},
        {"--one-way", NULL, &w.one_way, "only from A to B"},
        {"--cut", NULL, &w.cut, "drop everything, also what is under way"},
        {"--cut-one-way", NULL, &w.cut_one_way, "drop everything from A to B"},
        {"--heal", NULL, &w.heal, "join the link again"},
        {"--reset", NULL, &w.reset, "back to the first settings"},
        {NULL, NULL, NULL, NULL},
    };
    const struct cli_usage usage = {"lab link A B [OPTION...]",
                                    "Change the path between two regions while it is in use, "
                                    "and show it.",
                                    options, 2, 2};
    int rc = cli_parse(&usage, argc, argv, words, &count);

    if (rc >= 0) {
        return rc;
    }
    json_t *request = json_pack("{ss ss ss}", "command", "link", "a", words[0], "b", words[1]);
    rc = take_settings(&usage, request, &w);
    if (rc >= 0) {
        json_decref(request);
        return rc;
    }
    return send_link(dir, request);
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
    return cli_fail("There is no sudo here; run it as root.",
                    "a lab needs root for namespaces and network devices");
}

static const struct {
    const char *name, *summary;
    int (*run)(const char *dir, int argc, char **argv);
} commands[] = {
    {"up", "boot a world; returns 0 once every region serves", lab_up},
    {"status", "regions, what to open, links with their measured lateness", run_status},
    {"psql", "psql inside a region", lab_psql},
    {"exec", "run a program inside a region", lab_exec},
    {"load", "customers everywhere, who keep receipts; ends with a verdict", lab_load},
    {"kill", "power cut of a region, or SIGKILL to a part of it", run_fault},
    {"start", "start a killed region, or a part that is held down", run_fault},
    {"pause", "SIGSTOP to a region or a part of it", run_fault},
    {"resume", "SIGCONT to it", run_fault},
    {"isolate", "cut every link of a region", run_fault},
    {"link", "delay, jitter, loss, rate and cuts of one path", run_link},
    {"heal", "join cut links", run_heal},
    {"clock", "step the wall clock of a region's servers", run_clock},
    {"down", "stop everything; --purge removes the data too", run_down},
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: meridian lab COMMAND [ARG ...] [--dir DIR]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out, "\nDIR is $MERIDIAN_LAB or " LAB_DIR_DEFAULT ".\n"
                 "meridian lab COMMAND --help says more.\n");
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Is help all that is asked for? In exec and psql, later words are another program's. */
static bool asks_help(int argc, char **argv)
{
    bool foreign = strcmp(argv[1], "exec") == 0 || strcmp(argv[1], "psql") == 0;
    bool asked = false;

    for (int i = 2; i < (foreign && argc > 3 ? 3 : argc) && strcmp(argv[i], "--") != 0; i++) {
        asked = asked || is_help(argv[i]);
    }
    return asked;
}

int cli_lab(int argc, char **argv)
{
    const char *dir = take_dir(&argc, argv);

    if (argc >= 2 && (is_help(argv[1]) || strcmp(argv[1], "help") == 0)) {
        print_usage(stdout);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return geteuid() == 0 || asks_help(argc, argv)
                       ? commands[i].run(dir, argc - 1, argv + 1)
                       : become_root(argc, argv, dir);
        }
    }
    if (argc >= 2) {
        const char *words[sizeof(commands) / sizeof(commands[0]) + 1] = {NULL};
        char hint[100];

        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
            words[i] = commands[i].name;
        }
        cli_fail(mrd_config_hint(argv[1], words, "It is one of these.", hint, sizeof(hint)),
                 "no such command: \"lab %s\"", argv[1]);
    }
    print_usage(stderr);
    return 2;
}
