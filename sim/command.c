/*
 * `meridian sim`: one world's story, many worlds, or the least trouble that breaks one.
 *
 * Many worlds run in processes of their own (--jobs); each takes the next seed that nobody has
 * and says, in one word on a pipe, how it ended. The first broken one stops all of them; so
 * does an interrupt, and what was done until then is told and counts.
 */
#include "sim.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 64
#define TRACE_LINES 60

struct asked {
    uint64_t seed, runs, minimize;
    unsigned jobs; /* 0: nobody said */
    bool has_seed, has_minimize;
    const char *file;
    char *story; /* what is in it */
    struct sim_options options;
};

/* What a worker says of one seed. */
struct word {
    uint64_t seed;
    bool held;
    unsigned acked, failovers, moves, reads;
    char broken[64], how[512];
};

#define WORLD_TEXT 4200 /* a path, and two numbers */

/* The options that a seed means the same world with, to print behind it. */
static const char *same_world(const struct asked *a, char out[WORLD_TEXT])
{
    char minutes[32] = "", regions[32] = "";

    if (a->options.minutes != 0) {
        snprintf(minutes, sizeof(minutes), " --minutes %u", a->options.minutes);
    }
    if (a->options.regions != 0) {
        snprintf(regions, sizeof(regions), " --regions %u", a->options.regions);
    }
    snprintf(out, WORLD_TEXT, "%s%s%s%s", a->file != NULL ? " --story " : "",
             a->file != NULL ? a->file : "", minutes, regions);
    return out;
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: meridian sim [--seed N] [--runs N] [--jobs J] [--minimize SEED]\n"
        "                    [--story FILE] [--minutes M] [--regions R] [--verbose]\n\n"
        "  --seed N         run world N and tell its story; with --runs, begin there\n"
        "  --runs N         run N worlds, stop at the first that breaks a property\n"
        "  --jobs J         in J processes (default: as many as there are processors)\n"
        "  --minimize SEED  leave out faults of a broken world until each matters, and write\n"
        "                   what is left as sim-SEED.story\n"
        "  --story FILE     run the world that is written there; --seed and --runs choose its\n"
        "                   chances\n"
        "  --minutes M      simulated minutes of each world (default 10)\n"
        "  --regions R      3 to 5 regions (default: drawn)\n"
        "  --verbose        tell with each decision its audit event, as it is in the store\n\n"
        "A story's lines begin with the world's seconds. Positions (0/CC) are in the WAL of\n"
        "the region that is named with them.\n");
}

/* ---- one world ---- */

static void print_faults(const struct sim_options *o, const struct sim_report *r)
{
    unsigned left_out = 0;

    for (unsigned k = 0; k < r->faults; k++) {
        left_out += o->skip[k];
    }
    printf("  %u of %u faults took effect; %u found nothing to break", r->took, r->faults,
           r->idle);
    if (left_out > 0) {
        printf("; %u were left out", left_out);
    }
    if (r->took + r->idle + left_out < r->faults) {
        printf("; %u were still to come", r->faults - r->took - r->idle - left_out);
    }
    printf("\n");
}

static void print_end(const struct sim_options *o, const struct sim_report *r)
{
    if (r->broken == NULL) {
        printf("seed %llu: every property held\n", (unsigned long long)o->seed);
    } else {
        printf("seed %llu: \"%s\" is broken\n  at %llu.%03llu s: %s\n  should: %s\n",
               (unsigned long long)o->seed, r->broken, (unsigned long long)(r->at_ms / 1000),
               (unsigned long long)(r->at_ms % 1000), r->how, sim_property_text(r->broken));
    }
    print_faults(o, r);
    printf("  %u failovers; %u moves begun (%u by a drain), %u ended with another home\n",
           r->failovers, r->moves, r->drained, r->moved);
    printf("  %u writes acknowledged, %u in the lost tail, %u reads; trace %016llx\n", r->acked,
           r->reconciled, r->reads, (unsigned long long)r->trace);
}

/* The end of a story: its last lines. */
static const char *tail_of(const char *story, unsigned lines)
{
    const char *p = story + strlen(story);

    while (p > story) {
        if (p[-1] == '\n' && lines-- == 0) {
            break;
        }
        p--;
    }
    return p;
}

static int tell_one(struct sim_options *o, unsigned lines)
{
    struct sim_report r;
    bool held;

    o->tell = true;
    held = sim_run(o, &r);
    if (r.story != NULL) {
        fputs(lines != 0 ? tail_of(r.story, lines) : r.story, stdout);
    }
    print_end(o, &r);
    free(r.story);
    return held ? 0 : 1;
}

/* What is left of a broken world, to keep. */
static int write_story(const struct asked *a, const char *broken)
{
    char name[64];
    FILE *f;

    snprintf(name, sizeof(name), "sim-%llu.story", (unsigned long long)a->options.seed);
    f = fopen(name, "w");
    if (f == NULL) {
        fprintf(stderr, "meridian sim: could not write \"%s\": %s\n", name, strerror(errno));
        return 1;
    }
    fprintf(f, "breaks %s\n", broken);
    sim_story_write(&a->options, f);
    if (fclose(f) != 0) {
        fprintf(stderr, "meridian sim: could not write \"%s\": %s\n", name, strerror(errno));
        return 1;
    }
    printf("  they are in %s: meridian sim --story %s\n", name, name);
    return 0;
}

static double minimize_told_s;

/* On a terminal one line that changes, elsewhere a line every ten seconds. */
static void minimize_told(unsigned worlds, unsigned left, unsigned faults)
{
    if (now_s() - minimize_told_s > (isatty(2) ? 0.2 : 10)) {
        minimize_told_s = now_s();
        fprintf(stderr, "%s%u worlds tried, %u of %u faults are left%s", isatty(2) ? "\r" : "",
                worlds, left, faults, isatty(2) ? "   " : "\n");
    }
}

static int minimize(struct asked *a)
{
    struct sim_report r;
    unsigned left;

    a->options.seed = a->minimize;
    a->options.tell = true;
    fprintf(stderr, "world %llu, and then again without some of its faults\n",
            (unsigned long long)a->minimize);
    minimize_told_s = now_s();
    left = sim_minimize(&a->options, minimize_told, &r);
    if (isatty(2)) {
        fputc('\n', stderr);
    }
    if (r.broken == NULL) {
        printf("seed %llu: every property held, there is nothing to minimize\n",
               (unsigned long long)a->minimize);
        free(r.story);
        return 1;
    }
    fputs(r.story, stdout);
    print_end(&a->options, &r);
    free(r.story);
    printf("  %u of %u faults are needed\n", left, r.faults);
    return write_story(a, r.broken);
}

/* ---- many ---- */

/* What the workers share. */
struct board {
    _Atomic uint64_t next;           /* of the runs */
    _Atomic uint64_t hand[JOBS_MAX]; /* the run that each is at */
};

static void work(const struct asked *a, struct board *board, unsigned job, int out)
{
    struct sim_options o = a->options;

    signal(SIGINT, SIG_IGN); /* whoever hired us says when to stop */
    for (;;) {
        struct sim_report r;
        struct word said = {0};
        uint64_t k = board->next;
        board->hand[job] = k; /* or a later one */
        k = board->next++;
        board->hand[job] = k;
        if (k >= a->runs) {
            break;
        }
        o.seed = said.seed = a->seed + k;
        said.held = sim_run(&o, &r);
        said.acked = r.acked;
        said.failovers = r.failovers;
        said.moves = r.moves;
        said.reads = r.reads;
        if (!said.held) {
            snprintf(said.broken, sizeof(said.broken), "%s", r.broken);
            snprintf(said.how, sizeof(said.how), "%s", r.how);
        }
        if (write(out, &said, sizeof(said)) != (ssize_t)sizeof(said) || !said.held) {
            break;
        }
    }
    _exit(0);
}

struct crew {
    pid_t pids[JOBS_MAX];
    struct pollfd fds[JOBS_MAX];
    struct board *board;
    uint64_t last[JOBS_MAX]; /* the run that each ended last, plus one */
    unsigned open;
    uint64_t done, acked, failovers, reads;
    struct word broken; /* the lowest seed that broke */
    bool found;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static int hire(const struct asked *a, struct crew *c)
{
    c->board = mmap(NULL, sizeof(*c->board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0);
    if (c->board == MAP_FAILED) {
        return -1;
    }
    for (unsigned j = 0; j < a->jobs; j++) {
        c->board->hand[j] = UINT64_MAX;
    }
    for (unsigned j = 0; j < a->jobs; j++) {
        int ends[2];
        if (pipe(ends) != 0) {
            return -1;
        }
        fflush(stdout);
        c->pids[j] = fork();
        if (c->pids[j] < 0) {
            return -1;
        }
        if (c->pids[j] == 0) {
            close(ends[0]);
            work(a, c->board, j, ends[1]);
        }
        close(ends[1]);
        c->fds[j] = (struct pollfd){.fd = ends[0], .events = POLLIN};
        c->open++;
    }
    return 0;
}

static void progress(const struct asked *a, const struct crew *c, double since_s, bool last)
{
    double took_s = now_s() - since_s, rate = took_s > 0 ? (double)c->done / took_s : 0;
    char left[40] = "";

    if (!last && rate > 0) {
        snprintf(left, sizeof(left), ", %.0f min left",
                 (double)(a->runs - c->done) / rate / 60);
    }
    fprintf(stderr, "%s%llu of %llu worlds, %.0f a minute%s, %llu failovers, %llu writes%s",
            isatty(2) ? "\r" : "", (unsigned long long)c->done, (unsigned long long)a->runs,
            rate * 60, left, (unsigned long long)c->failovers, (unsigned long long)c->acked,
            last || !isatty(2) ? "\n" : "   ");
}

/* A whole word, or the end of that worker. */
static void hear(const struct asked *a, struct crew *c, unsigned j)
{
    struct word said = {0};
    size_t have = 0;

    while (have < sizeof(said)) {
        ssize_t n = read(c->fds[j].fd, (char *)&said + have, sizeof(said) - have);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            close(c->fds[j].fd);
            c->fds[j].fd = -1;
            c->open--;
            return;
        }
        have += (size_t)n;
    }
    c->last[j] = said.seed - a->seed + 1;
    c->done++;
    c->acked += said.acked;
    c->failovers += said.failovers;
    c->reads += said.reads;
    if (!said.held && (!c->found || said.seed < c->broken.seed)) {
        c->broken = said;
        c->found = true;
    }
}

/* False: one of them had died. */
static bool dismiss(const struct asked *a, struct crew *c)
{
    bool stop = c->found || interrupted != 0, died = false;
    char world[WORLD_TEXT];

    for (unsigned j = 0; j < a->jobs; j++) {
        int status = 0;
        bool ended = waitpid(c->pids[j], &status, WNOHANG) != 0; /* by itself */
        if (!ended) {
            if (stop) {
                kill(c->pids[j], SIGKILL);
            }
            waitpid(c->pids[j], &status, 0);
            ended = !stop;
        }
        while (c->fds[j].fd >= 0) {
            hear(a, c, j); /* what it had said before */
        }
        if (ended && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
            uint64_t seed = a->seed + c->board->hand[j];
            fprintf(stderr,
                    "meridian sim: the worker on seed %llu died: meridian sim --seed %llu%s\n",
                    (unsigned long long)seed, (unsigned long long)seed, same_world(a, world));
            died = true;
        }
    }
    return !died;
}

/* What has been run without a gap, from the first on. */
static uint64_t whole(const struct asked *a, const struct crew *c)
{
    uint64_t next = c->board->next;

    for (unsigned j = 0; j < a->jobs; j++) {
        uint64_t hand = c->board->hand[j]; /* not ended: */
        next = c->last[j] <= hand && hand < next ? hand : next;
    }
    return next;
}

static void listen_to(const struct asked *a, struct crew *c, double began_s)
{
    double told_s = began_s;

    while (c->open > 0 && !c->found && interrupted == 0) {
        poll(c->fds, a->jobs, 1000);
        for (unsigned j = 0; j < a->jobs; j++) {
            if (c->fds[j].fd >= 0 && c->fds[j].revents != 0) {
                hear(a, c, j);
            }
        }
        if (now_s() - told_s > (isatty(2) ? 0.2 : 10)) {
            told_s = now_s();
            progress(a, c, began_s, false);
        }
    }
}

static int sum_up(const struct asked *a, const struct crew *c, double took_s)
{
    char world[WORLD_TEXT];

    printf("%llu worlds from seed %llu: every property held, in %.0f s\n",
           (unsigned long long)c->done, (unsigned long long)a->seed, took_s);
    if (interrupted == 0) {
        return 0;
    }
    if (whole(a, c) < a->runs) {
        printf("interrupted; go on with: meridian sim --seed %llu --runs %llu%s\n",
               (unsigned long long)(a->seed + whole(a, c)),
               (unsigned long long)(a->runs - whole(a, c)), same_world(a, world));
    }
    return 128 + (int)interrupted;
}

static int many(struct asked *a)
{
    static struct crew c;
    char world[WORLD_TEXT];
    double began_s = now_s();

    if (a->jobs > a->runs) {
        a->jobs = (unsigned)a->runs;
    }
    if (hire(a, &c) != 0) {
        fprintf(stderr, "meridian sim: could not start workers: %s\n", strerror(errno));
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    listen_to(a, &c, began_s);
    if (!dismiss(a, &c)) {
        return 1;
    }
    progress(a, &c, began_s, true);
    if (!c.found) {
        return sum_up(a, &c, now_s() - began_s);
    }
    a->options.seed = c.broken.seed;
    (void)tell_one(&a->options, TRACE_LINES);
    same_world(a, world);
    printf("replay: meridian sim --seed %llu%s; shrink: meridian sim --minimize %llu%s\n",
           (unsigned long long)c.broken.seed, world, (unsigned long long)c.broken.seed, world);
    return 1;
}

/* ---- a story from a file ---- */

#define STORY_MAX 65536

/* The whole of a small file, or NULL with errno. */
static char *slurp(const char *name)
{
    FILE *f = fopen(name, "r");
    char *text = f != NULL ? calloc(1, STORY_MAX) : NULL;
    size_t n = text != NULL ? fread(text, 1, STORY_MAX - 1, f) : 0;

    if (f != NULL && (ferror(f) || n == STORY_MAX - 1)) {
        errno = ferror(f) ? EIO : EFBIG;
        free(text);
        text = NULL;
    }
    if (f != NULL) {
        fclose(f);
    }
    return text;
}

static int load_story(struct asked *a, const char *name)
{
    struct sim_story_error error;
    const char *seed;

    a->story = slurp(name);
    if (a->story == NULL) {
        fprintf(stderr, "meridian sim: could not read \"%s\": %s\n", name, strerror(errno));
        return 1;
    }
    if (!sim_story_check(a->story, &error)) {
        fprintf(stderr, "%s:%u: %s\n", name, error.line, error.what);
        return 1;
    }
    a->options.story = a->story;
    seed = strncmp(a->story, "seed ", 5) == 0 ? a->story : strstr(a->story, "\nseed ");
    if (!a->has_seed && seed != NULL) {
        a->seed = strtoull(strchr(seed, ' '), NULL, 10);
    }
    a->has_seed = true;
    return 0;
}

/* ---- arguments ---- */

static bool number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *ret <= max;
}

static bool take(struct asked *a, const char *name, const char *value)
{
    uint64_t n;

    if (value != NULL && strcmp(name, "--story") == 0) {
        a->file = value;
        return true;
    }
    if (value == NULL || !number(value, UINT64_MAX, &n)) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        a->seed = n;
        a->has_seed = true;
    } else if (strcmp(name, "--runs") == 0 && n > 0) {
        a->runs = n;
    } else if (strcmp(name, "--jobs") == 0 && n > 0 && n <= JOBS_MAX) {
        a->jobs = (unsigned)n;
    } else if (strcmp(name, "--minimize") == 0) {
        a->minimize = n;
        a->has_minimize = true;
    } else if (strcmp(name, "--minutes") == 0 && n > 0 && n <= 1440) {
        a->options.minutes = (unsigned)n;
    } else if (strcmp(name, "--regions") == 0 && n >= 3 && n <= 5) {
        a->options.regions = (unsigned)n;
    } else {
        return false;
    }
    return true;
}

/* What was asked for and would have no effect, or NULL. */
static const char *ignored(const struct asked *a)
{
    if (a->has_minimize && (a->has_seed || a->runs > 0)) {
        return "--minimize names its world, and does not go with --seed or --runs";
    }
    if (a->jobs != 0 && a->runs == 0) {
        return "--jobs says how --runs are done, and is nothing without it";
    }
    if (a->file != NULL && (a->options.minutes != 0 || a->options.regions != 0)) {
        return "--story says how long its world is and which regions it has: no --minutes, "
               "--regions";
    }
    return NULL;
}

static int misuse(const char *what)
{
    fprintf(stderr, "meridian sim: %s\n", what);
    usage(stderr);
    return 2;
}

static int run(struct asked *a)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (a->file != NULL && load_story(a, a->file) != 0) {
        return 1;
    }
    if (a->has_minimize) {
        return minimize(a);
    }
    if (a->runs > 0) {
        if (a->jobs == 0) {
            a->jobs = processors > 0 && processors < JOBS_MAX ? (unsigned)processors : 1;
        }
        return many(a);
    }
    if (!a->has_seed) {
        usage(stderr);
        return 2;
    }
    a->options.seed = a->seed;
    return tell_one(&a->options, 0);
}

int cli_sim(int argc, char **argv)
{
    static struct asked a;

    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--verbose") == 0) {
            a.options.verbose = true;
            i--; /* it has no value */
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            return 0;
        }
        if (!take(&a, argv[i], value)) {
            char what[300];
            snprintf(what, sizeof(what), "not understood: %s%s%s", argv[i],
                     value != NULL ? " " : "", value != NULL ? value : "");
            return misuse(what);
        }
    }
    return ignored(&a) != NULL ? misuse(ignored(&a)) : run(&a);
}
