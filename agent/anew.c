/*
 * Asking to be let in again, and letting in (anew.h); and the command `meridian anew`, which
 * begins it all by emptying the state directory and drawing the number of the new life.
 */
#include "anew.h"

#include <cli.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "problems.h"

#define ASK_NS (300 * UINT64_C(1000000))
#define ASK_MS 2000
#define PATH_LEN 1200

/* ---- the region that was lost ---- */

static void marker(const char *state_dir, char out[PATH_LEN])
{
    snprintf(out, PATH_LEN, "%s/anew", state_dir);
}

int anew_load(struct agent *a)
{
    char path[PATH_LEN];
    FILE *f;
    bool good;

    marker(a->opt->state_dir, path);
    f = fopen(path, "re");
    if (f == NULL && errno == ENOENT) {
        return 0;
    }
    good = f != NULL && fscanf(f, "%" SCNx64, &a->life) == 1 && a->life != 0;
    if (f != NULL) {
        fclose(f);
    }
    if (!good) {
        fprintf(stderr, "meridian agent: could not read \"%s\": run meridian anew again\n",
                path);
        return -1;
    }
    return 0;
}

static void end_asking(struct agent *a)
{
    char path[PATH_LEN];

    marker(a->opt->state_dir, path);
    if (unlink(path) != 0 && errno != ENOENT) {
        log_event("event=agent.anew_kept path=%s reason=\"%s\"", path, strerror(errno));
        return; /* asking again does no harm */
    }
    a->life = 0;
    log_event("event=store.readmitted region=%s", a->config->regions[a->self].name);
}

static void on_answer(void *ctx, int code, const uint8_t *payload, size_t len)
{
    struct agent *a = ctx;
    struct mrd_buf b = mrd_buf_reader(payload, len);
    int refused = code == 0 ? (int)mrd_buf_get_u32(&b) : code;
    uint64_t stage = code == 0 ? mrd_buf_get_u64(&b) : ANEW_WAIT;

    if (refused != 0 || b.failed || a->life == 0 || a->stopping) {
        return;
    }
    if (stage >= ANEW_LISTEN) {
        raft_node_admit(a->raft);
    }
    if (stage == ANEW_DONE) {
        end_asking(a);
    }
}

void anew_tick(struct agent *a, mrd_boot_ns now_ns)
{
    uint8_t bytes[8];
    struct mrd_buf out = mrd_buf_writer(bytes, sizeof(bytes));

    if (a->life == 0 || now_ns < a->anew_next_ns) {
        return;
    }
    a->anew_next_ns = now_ns + ASK_NS;
    mrd_buf_put_u64(&out, a->life);
    for (mrd_region i = 0; i < a->config->region_count; i++) {
        if (i != a->self) { /* who does not lead does nothing */
            (void)rpc_call(a->rpc, i, RPC_ANEW, bytes, sizeof(bytes), ASK_MS, on_answer, a);
        }
    }
}

enum guest_cluster anew_cluster(void *ctx, mrd_lsn *ret_begins)
{
    struct agent *a = ctx;

    *ret_begins = 0;
    if (!a->node.caught_up) {
        return CLUSTER_WAIT;
    }
    switch (mrd_anew_data(a->config, a->store, a->self, ret_begins)) {
    case MRD_DATA_FIRST:
    case MRD_DATA_ANEW:
        return CLUSTER_MAKE;
    case MRD_DATA_LOST:
        break;
    }
    /* Of this life nothing may be written down yet that our store has applied. */
    return a->life != 0 ? CLUSTER_WAIT : CLUSTER_LOST;
}

void anew_problems(const struct agent *a, json_t *problems)
{
    mrd_lsn wal_lsn = a->node.local.report.wal_lsn;
    const char *why = NULL;

    if (a->node.caught_up) {
        why = mrd_anew_why(a->config, a->store, a->self, wal_lsn);
    } else if (a->life != 0) {
        why =
            "the others have not let it in again yet, which takes a majority of them, and the "
            "end of its old lease";
    }
    if (why != NULL) {
        problem(problems, "this region was made anew: %s", why);
    }
}

/* ---- the leader of the store ---- */

static void on_written(void *ctx, int code, uint64_t revision)
{
    struct agent *a = ctx;
    (void)code; /* asked again in a moment either way */
    (void)revision;
    a->anew_writing = false;
}

static void write_down(struct agent *a, mrd_region peer, uint64_t life)
{
    struct mrd_proposal *p = a->anew_writing ? NULL : calloc(1, sizeof(*p));

    if (p == NULL) {
        return;
    }
    mrd_anew_request(a->config, a->store, peer, life, clock_wall_ms(), p);
    a->anew_writing = p->wanted && agent_propose(a, p, on_written, a) == 0;
    free(p);
}

static enum anew_stage let_in(struct agent *a, mrd_region peer, uint64_t life)
{
    enum raft_seat seat;

    if (life == 0 || !a->node.caught_up || !raft_node_seat(a->raft, peer, &seat)) {
        return ANEW_WAIT;
    }
    enum mrd_life known = mrd_anew_life(a->config, a->store, peer, life, clock_wall_ms());
    if (known == MRD_LIFE_EARLY) {
        return ANEW_WAIT;
    }
    if (known == MRD_LIFE_NEW) {
        if (seat != RAFT_SEAT_NONE) {
            raft_node_reseat(a->raft, peer, true);
        } else {
            write_down(a, peer, life);
        }
        return ANEW_WAIT;
    }
    if (seat == RAFT_SEAT_VOTES) {
        return ANEW_DONE;
    }
    raft_node_reseat(a->raft, peer, false);
    return ANEW_LISTEN;
}

void anew_asked(struct agent *a, mrd_region peer, uint64_t life, uint64_t token)
{
    rpc_result(a->rpc, token, 0, a->stopping ? ANEW_WAIT : let_in(a, peer, life));
}

/* ---- the command ---- */

static const char usage_text[] =
    "usage: meridian anew [--state DIR] [--wipe]\n"
    "The region's disk is lost for good: let it begin again under its name, from nothing.\n\n"
    "  --state DIR  its state directory (default /var/lib/meridian)\n"
    "  --wipe       remove what is left of its database and its store there\n\n"
    "Run it on the region's new machine, with its configuration and certificates in place and\n"
    "its agent stopped; then start the agent. The others let it in when they are a majority "
    "and\n"
    "have taken over what it was home of. What it had sent to nobody is gone. The old machine\n"
    "must never run again under this name. Where the agent does not manage PostgreSQL, make a\n"
    "cluster and run pg_resetwal -l on it so that its WAL begins where the event region.anew\n"
    "says, before it is first started.\n";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* As the postmaster left it; a server that still runs must not lose its files. */
static bool server_runs(const char *state_dir)
{
    char path[PATH_LEN];
    long pid = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/pg/postmaster.pid", state_dir);
    f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    bool runs =
        fscanf(f, "%ld", &pid) == 1 && pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
    fclose(f);
    return runs;
}

/* The store first: half of it must not be taken for one, and the database is long to remove. */
static const char *const parts[] = {"raft", "pg.new", "pg"};

static int empty_state(const char *state_dir, bool wipe)
{
    char path[PATH_LEN];
    struct stat st;

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        snprintf(path, sizeof(path), "%s/%s", state_dir, parts[i]);
        if (lstat(path, &st) != 0) {
            continue;
        }
        if (!wipe) {
            fprintf(stderr,
                    "meridian anew: \"%s\" is still there\nhint: If it is any good, start the "
                    "agent instead. If it is not, remove it with: meridian anew --wipe.\n",
                    path);
            return -1;
        }
        if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
            fprintf(stderr, "meridian anew: could not remove \"%s\": %s\n", path,
                    strerror(errno));
            return -1;
        }
    }
    return 0;
}

static int write_life(const char *state_dir)
{
    char path[PATH_LEN], fresh[PATH_LEN + 8];
    uint64_t life = 0;
    FILE *f = NULL;
    bool good = getrandom(&life, sizeof(life), 0) == (ssize_t)sizeof(life);

    marker(state_dir, path);
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    life |= 1; /* 0 means none */
    if (good) {
        f = fopen(fresh, "we");
        good = f != NULL && fchmod(fileno(f), 0644) == 0 &&
               fprintf(f, "%016" PRIx64 "\n", life) > 0 && fflush(f) == 0 &&
               fsync(fileno(f)) == 0;
    }
    if (f != NULL && fclose(f) != 0) {
        good = false;
    }
    if (!good || rename(fresh, path) != 0) {
        fprintf(stderr, "meridian anew: could not write \"%s\": %s\n", path, strerror(errno));
        return -1;
    }
    return 0;
}

static int begin_anew(const char *state_dir, bool wipe)
{
    char path[PATH_LEN];
    int fd;

    snprintf(path, sizeof(path), "%s/agent.lock", state_dir);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        fprintf(stderr, "meridian anew: could not open \"%s\": %s\n", path, strerror(errno));
        return 1;
    }
    if (access(state_dir, W_OK) != 0) {
        fprintf(stderr,
                "meridian anew: could not write to \"%s\": %s\n"
                "hint: Name the region's state directory with --state DIR.\n",
                state_dir, strerror(errno));
        return 1;
    }
    if ((fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) || server_runs(state_dir)) {
        fprintf(stderr,
                "meridian anew: the region runs: its %s uses \"%s\"\nhint: Stop it first.\n",
                server_runs(state_dir) ? "PostgreSQL" : "agent", state_dir);
        return 1;
    }
    if (empty_state(state_dir, wipe) != 0 || write_life(state_dir) != 0) {
        return 1;
    }
    printf("\"%s\" is empty; start the agent\n", state_dir);
    return 0;
}

int cli_anew(int argc, char **argv)
{
    const char *state_dir = "/var/lib/meridian";
    bool wipe = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage_text, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--wipe") == 0) {
            wipe = true;
        } else if (strcmp(argv[i], "--state") == 0 && i + 1 < argc) {
            state_dir = argv[++i];
        } else {
            fprintf(stderr, "meridian: anew does not know \"%s\"\n", argv[i]);
            fputs(usage_text, stderr);
            return 2;
        }
    }
    return begin_anew(state_dir, wipe);
}
