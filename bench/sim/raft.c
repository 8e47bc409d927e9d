/*
 * CPU seconds of libraft alone: raft WORLDS. Each world is libraft's own simulated cluster
 * (raft/fixture.h) of five servers for ten minutes, with the timers, delays and number of
 * proposals that a quiet world of `meridian sim` has at its slowest scale, where least happens,
 * and nothing else: no faults, agents, databases or clients. It compares the servers' logs at
 * each step, as the simulator's properties look at each fact.
 */
#include <raft.h>
#include <raft/fixture.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SERVERS 5
#define WORLD_MS (10 * 60 * 1000)
#define DELAY_MS 60 /* the middle of what a world draws */
#define DISK_MS 3
#define RENEW_MS 500 /* each server's lease is an entry */
#define SCALE 8      /* the slowest of sim/swarm.c */

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    (void)fsm;
    (void)buf;
    *result = NULL;
    return 0;
}

static void applied(struct raft_apply *req, int status, void *result)
{
    (void)status;
    (void)result;
    free(req);
}

static void propose(struct raft_fixture *f)
{
    unsigned leader = raft_fixture_leader_index(f);
    struct raft_apply *req = malloc(sizeof(*req));
    struct raft_buffer buf = {.base = raft_calloc(1, 256), .len = 256};

    if (req == NULL || buf.base == NULL || leader >= SERVERS ||
        raft_apply(raft_fixture_get(f, leader), req, &buf, 1, applied) != 0) {
        free(req);
        raft_free(buf.base);
    }
}

static int world(void)
{
    static struct raft_fixture f;
    struct raft_fsm fsms[SERVERS] = {{.version = 1, .apply = apply}};
    struct raft_configuration voters;
    int rv = raft_fixture_init(&f);

    for (unsigned i = 0; i < SERVERS && rv == 0; i++) {
        fsms[i] = fsms[0];
        rv = raft_fixture_grow(&f, &fsms[i]);
    }
    rv = rv != 0 ? rv : raft_fixture_configuration(&f, SERVERS, &voters);
    rv = rv != 0 ? rv : raft_fixture_bootstrap(&f, &voters);
    raft_configuration_close(&voters);
    for (unsigned i = 0; i < SERVERS && rv == 0; i++) {
        raft_fixture_get(&f, i)->tracer = NULL;
        raft_set_election_timeout(raft_fixture_get(&f, i), 1200 * SCALE);
        raft_set_heartbeat_timeout(raft_fixture_get(&f, i), 150 * SCALE);
        raft_fixture_set_randomized_election_timeout(&f, i, 1200 * SCALE + i * 500);
        raft_fixture_set_network_latency(&f, i, DELAY_MS);
        raft_fixture_set_disk_latency(&f, i, DISK_MS);
    }
    rv = rv != 0 ? rv : raft_fixture_start(&f);
    /* It steps from timer to timer, so what is due since goes in together. */
    for (raft_time due = 0; raft_fixture_time(&f) < WORLD_MS && rv == 0;) {
        raft_fixture_step_until_elapsed(&f, RENEW_MS * SCALE / SERVERS);
        for (; due < raft_fixture_time(&f); due += RENEW_MS * SCALE / SERVERS) {
            propose(&f);
        }
    }
    raft_fixture_close(&f);
    return rv;
}

int main(int argc, char **argv)
{
    int worlds = argc > 1 ? atoi(argv[1]) : 5;

    for (int i = 0; i < worlds; i++) {
        if (world() != 0) {
            fprintf(stderr, "libraft's simulated cluster does not start\n");
            return 1;
        }
    }
    printf("%.3f\n", (double)clock() / CLOCKS_PER_SEC);
    return 0;
}
