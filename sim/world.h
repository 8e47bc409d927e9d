/*
 * The inside of a world: what its parts share (sim.h). Everything that decides is shipped code
 * (core, and libraft's own core); what is modelled is the network, disks, clocks, processes,
 * PostgreSQL at the level of commits, and people.
 *
 * Time is true time in microseconds since the world began. Nothing but the queue (queue.c)
 * makes it pass. A machine's own clocks are read through sim_boot_ns() and sim_wall_ms().
 *
 * Chance comes from named streams, so that leaving out a fault changes what the fault changed
 * and nothing else.
 */
#pragma once

#include <raft.h>

#include <mrd/node.h>
#include <mrd/patience.h>
#include <mrd/route.h>
#include <mrd/verdict.h>

#include "sim.h"

#define SIM_REGIONS_MAX 5
#define SIM_PARTITIONS_MAX 16
#define SIM_NS_PER_US 1000u
#define SIM_NS_PER_MS 1000000ull
#define SIM_MS UINT64_C(1000) /* microseconds */

typedef uint64_t sim_us;

/* ---- chance ---- */

struct sim_random {
    uint64_t state;
};

uint64_t sim_random(struct sim_random *r);
/** Uniform in [0, n); n > 0. */
unsigned sim_below(struct sim_random *r, unsigned n);
/** Uniform in [low, high]. */
uint64_t sim_between(struct sim_random *r, uint64_t low, uint64_t high);
/** True @permille times in a thousand. */
bool sim_chance(struct sim_random *r, unsigned permille);

/* ---- events ---- */

enum sim_event_kind {
    SIM_RAFT_TIMER,
    SIM_RAFT_MESSAGE, /* p: struct sim_message */
    SIM_RAFT_DISK,    /* the oldest write of this machine is on disk */
    SIM_RAFT_IMAGE,   /* the image that is being installed is on disk */
    SIM_PROPOSE,      /* a: payload, b: flight << 4 | role; at the leader */
    SIM_RESULT,       /* a: flight << 4 | role, b: revision << 8 | -code; at the proposer */
    SIM_AGENT,        /* a: when it was meant to wake */
    SIM_CANARY,       /* a: when it was sent (ns of the machine), b: session */
    SIM_STATUS,       /* a: when it was asked (ns of the machine) */
    SIM_PROMOTE,      /* a: partition, b: epoch */
    SIM_DRAIN,        /* a: partition, b: move; c: call's deadline has passed */
    SIM_STREAM,       /* from peer into region */
    SIM_ACK,          /* a: position; from peer at region */
    SIM_COMPARE,      /* what was past a cut has been filed, or copied */
    SIM_BEGIN,        /* a: transaction; at the home */
    SIM_PRECOMMIT,    /* a: transaction */
    SIM_COMMIT,       /* a: transaction */
    SIM_CLIENT,       /* a client of this region acts */
    SIM_FAULT,        /* a: index in the schedule, b: 0 begins, 1 ends */
    SIM_QUIET,        /* clients stop */
    SIM_PEOPLE,       /* an operator looks at what waits for approval */
    SIM_CHECK,        /* properties that look at intervals */
};

struct sim_event {
    sim_us at;
    uint8_t kind, region, peer, c;
    uint32_t life; /* of the process it is for; an older one is for the dead */
    uint64_t a, b;
    void *p;
};

/* When an event is due, and where it lies. */
struct sim_due {
    sim_us at;
    uint64_t seq; /* of two at the same time, the one made first */
    uint32_t slot;
};

struct sim_queue {
    struct sim_due *heap;
    struct sim_event *events;
    uint32_t *free; /* slots of events that have happened */
    size_t count, free_count;
    uint32_t slot_count, room;
};

/* ---- the store's servers (raft.c) ---- */

struct sim_entry {
    raft_term term;
    uint64_t payload; /* index into the world's payloads; 0: nothing to apply */
};

struct sim_log {
    struct sim_entry *entries;
    size_t count, room;
    raft_index first; /* index of entries[0]; 2 at first: index 1 is the set of voters */
};

/* The store as a whole, instead of a log's beginning. */
struct sim_image {
    raft_index index; /* 0: there is none */
    raft_term term;
    uint64_t payload; /* mrd_store_dump */
};

struct sim_write {
    raft_index first;
    size_t count;
    bool stale; /* a newer one overwrites a part of it: libraft is not told of it */
    struct sim_entry *entries;
};

#define SIM_WRITES_MAX 512
#define SIM_PENDING_MAX 64

struct sim_pending {
    raft_index index;
    raft_term term;
    uint8_t from;
    uint64_t flight;
};

struct sim_server {
    struct raft raft;
    bool open, late;          /* handling a message of an older term */
    struct sim_log log, disk; /* in memory; durable */
    raft_term disk_term;
    raft_id disk_vote;
    struct sim_write writes[SIM_WRITES_MAX]; /* on their way to disk, a ring */
    size_t write_first, write_count;
    struct sim_image image, coming; /* on disk; being installed */
    raft_index applied;
    sim_us timer_at;
    struct sim_pending pending[SIM_PENDING_MAX];
    size_t pending_count;
};

/* ---- PostgreSQL (postgres.c) ---- */

enum sim_record_kind { SIM_REC_COMMIT, SIM_REC_HEARTBEAT, SIM_REC_REPAIR };

enum sim_fate {
    SIM_ABSENT,
    SIM_APPLIED,
    SIM_PAST, /* applied, and past a cut that it heard of later: still held */
    SIM_TAIL,
};

struct sim_record {
    sim_us at;
    mrd_lsn lsn; /* end of the commit record */
    enum sim_record_kind kind;
    uint8_t partition, target;
    bool acked, repaired; /* lost tail: its origin holds its home's rows instead */
    uint16_t repairs;     /* lost tail: bit i: region i knows of a repair that counts */
    uint8_t fate[SIM_REGIONS_MAX], filed[SIM_REGIONS_MAX];
    mrd_epoch epoch;
    mrd_session session; /* heartbeat */
    uint64_t boot_ms;    /* heartbeat; repair: index of the commit that is repaired */
};

struct sim_stream {
    size_t taken; /* records of the origin that were taken, in order */
    mrd_session through_session;
    uint64_t through_boot_ms;
    sim_us next_at;   /* a SIM_STREAM event is due then; 0: none */
    sim_us refuse_at; /* the worker has let go by then; 0: no order to refuse */
    bool gone;        /* must be copied anew */
};

enum sim_txn_state {
    SIM_TXN_FREE,
    SIM_TXN_COMING, /* on its way to its home */
    SIM_TXN_BEGUN,
    SIM_TXN_CHECKED,
    SIM_TXN_WAITS,
};

struct sim_txn {
    enum sim_txn_state state;
    uint8_t home, edge, partition;
    bool cancelled;
    uint32_t life; /* of the PostgreSQL it runs in */
    mrd_epoch epoch;
    size_t record;
};
#define SIM_TXNS_MAX 256

struct sim_postgres {
    struct sim_record *wal;
    size_t count, room;
    struct sim_stream streams[SIM_REGIONS_MAX];
    mrd_lsn acked[SIM_REGIONS_MAX]; /* by each peer: on its disk */
    mrd_epoch opened[SIM_PARTITIONS_MAX];
    /* Of earlier epochs: it is written down what was past a cut; it is filed as well. */
    mrd_epoch noted[SIM_PARTITIONS_MAX], compared[SIM_PARTITIONS_MAX];
    bool past[SIM_PARTITIONS_MAX];  /* something waits to be filed, */
    bool lacks[SIM_PARTITIONS_MAX]; /* to be copied from its home */
    bool compares;                  /* a SIM_COMPARE event is due */
    mrd_wall_ms first_write_ms[SIM_PARTITIONS_MAX];
    bool duty_busy[SIM_PARTITIONS_MAX];
    mrd_epoch
        repaired[SIM_PARTITIONS_MAX]; /* as home of it, all that is filed; 0: look again */
};

/* ---- regions ---- */

struct sim_probe {
    struct mrd_patience seen[3]; /* agent, SQL, edge */
    bool answered;
};

struct sim_token {
    bool used;
    uint8_t partition, origin;
    size_t record;
    struct mrd_token token;
};
#define SIM_TOKENS_MAX 8

struct sim_region {
    bool machine_up, agent_up, postgres_up, edge_up, paused;
    uint32_t machine_life, agent_life, postgres_life;
    /* clocks */
    sim_us clock_at; /* since then @rate_ppm counts, from @clock_ns on */
    uint64_t clock_ns;
    int64_t rate_ppm, wall_offset_ms;
    bool clock_stops; /* it stands still during the present pause */

    struct sim_server server;
    struct mrd_store *store;
    struct mrd_node *node;
    bool has_snapshot, led;
    uint64_t led_ns; /* its clock when it began to lead the store */
    uint64_t led_term;
    sim_us wake_at;          /* the agent's next look, */
    sim_us round_at;         /* and its next round at the latest */
    mrd_region round_leader; /* who led the store in the last one */
    sim_us probe_at, canary_at, status_at;
    bool canary_busy, status_busy;
    struct sim_probe probes[SIM_REGIONS_MAX];
    bool disk_full;

    struct sim_postgres postgres;
    struct sim_token tokens[SIM_TOKENS_MAX];
    unsigned next_token;
    struct sim_event *parked; /* what reached it while it was paused */
    size_t parked_count, parked_room;
    struct sim_random random;
};

struct sim_link {
    bool cut;
    sim_us delay_us, jitter_us, extra_us;
    unsigned loss, duplicate, reorder; /* permille */
    sim_us last_at;                    /* arrival of the last message: streams keep order */
};

/* ---- the schedule (swarm.c) ---- */

enum sim_fault_kind {
    SIM_KILL_MACHINE,
    SIM_KILL_AGENT,
    SIM_KILL_POSTGRES,
    SIM_PAUSE,
    SIM_SUSPEND, /* its clock stands still: only in worlds that allow it */
    SIM_ISOLATE,
    SIM_CUT,
    SIM_CUT_ONE_WAY,
    SIM_SPLIT,
    SIM_SLOW_LINK,
    SIM_LOSSY_LINK,
    SIM_SLOW_DISK,
    SIM_DISK_FULL,
    SIM_SLOW_POSTGRES,
    SIM_SLOW_APPLY,
    SIM_SLOW_COMMITS, /* long between the last check and the commit */
    SIM_WALL_STEP,
    SIM_CLOCK_RATE, /* beyond the drift bound: only in worlds that allow it */
    SIM_LEAD,       /* operators: hand the store over, */
    SIM_MOVE,       /* move a partition, */
    SIM_DIAL,       /* give a region less traffic, */
    SIM_EMPTY,      /* drain a region, and undrain it */
    SIM_FAULT_KINDS,
};

struct sim_fault {
    enum sim_fault_kind kind;
    uint8_t region, peer, partition;
    sim_us at, until;
    uint64_t amount;
};

/* ---- facts: what the properties are told ---- */

enum sim_fact_kind {
    SIM_SAYS_PUBLISHED,  /* region */
    SIM_SAYS_COMMITTED,  /* region, record */
    SIM_SAYS_ACKED,      /* region, record */
    SIM_SAYS_TAKEN,      /* region took record of peer; number: enum sim_fate */
    SIM_SAYS_AUTHORITY,  /* a partition's authority changed: record a */
    SIM_SAYS_FAILOVER,   /* failover record: record f */
    SIM_SAYS_RENEWED,    /* a session record of region */
    SIM_SAYS_HANDS_OVER, /* region, leading, lets another lead */
    SIM_SAYS_REFUSED,    /* region refused the stream of peer, as the store has it */
    SIM_SAYS_READ,       /* region served a read of token; number: enum mrd_route_why */
    SIM_SAYS_APPLIED,    /* region's store applied payload at index number */
    SIM_SAYS_END,
};

struct sim_fact {
    enum sim_fact_kind kind;
    uint8_t region, peer, partition;
    size_t record;
    uint64_t number, payload;
    const struct mrd_authority_record *authority, *before;
    const struct mrd_failover_record *failover;
    const struct sim_token *token;
};

struct sim;

struct sim_property {
    const char *name;
    void (*look)(struct sim *w, const struct sim_fact *fact);
    const char *text; /* what should hold */
};

/** All of them, ended by an empty row. */
extern const struct sim_property sim_properties[];

/* ---- the world ---- */

struct sim_payload {
    uint8_t *bytes;
    size_t len;
};

struct sim {
    const struct sim_options *options;
    struct mrd_config *config;
    unsigned minutes;
    unsigned scale; /* of all protocol times against the defaults */
    sim_us now, heal_at, quiet_at, end_at;
    uint64_t seq;
    struct sim_queue queue;
    struct sim_region regions[SIM_REGIONS_MAX];
    struct sim_link links[SIM_REGIONS_MAX][SIM_REGIONS_MAX];
    struct sim_fault faults[SIM_FAULTS_MAX];
    unsigned fault_count;
    struct sim_payload *payloads; /* 1 on */
    size_t payload_count, payload_room;
    uint64_t *committed; /* payload at each index: the same everywhere */
    size_t committed_count, committed_room;
    struct sim_txn txns[SIM_TXNS_MAX];
    unsigned txn_end; /* none from here on was ever used */
    struct mrd_authority_record authority[SIM_PARTITIONS_MAX]; /* the newest anybody has */
    uint64_t authority_revision[SIM_PARTITIONS_MAX];
    mrd_epoch seen_epoch[SIM_REGIONS_MAX][SIM_PARTITIONS_MAX];
    mrd_epoch applied_epoch[SIM_REGIONS_MAX][SIM_PARTITIONS_MAX];
    mrd_epoch begun_epoch[SIM_PARTITIONS_MAX]; /* written under */
    bool refused[SIM_REGIONS_MAX]
                [SIM_REGIONS_MAX]; /* on record: this region that one's stream */
    sim_us
        renewed_at[SIM_REGIONS_MAX]; /* the last renewal was in the store for the first time */
    unsigned in_vain[SIM_REGIONS_MAX]; /* failovers for a vacant partition, without a home */
    uint8_t said_yes[SIM_REGIONS_MAX]; /* operators, since the region's last failover */
    unsigned struck;                   /* faults so far */
    bool converged,
        equal; /* healed: homes and leases are there; and replicas hold everything */
    uint64_t told_revision; /* audit events and records are facts when first applied */
    struct sim_random net, people;
    bool clocks_valid; /* so far: within the drift bound, and none stood still */
    bool reorders;     /* links may duplicate and reorder */
    bool quiet;
    unsigned compact, trailing; /* entries between images, and kept behind one; 0: never */
    sim_us client_us, status_us, tick_us, slip_us[SIM_REGIONS_MAX];
    sim_us postgres_us[SIM_REGIONS_MAX], disk_us[SIM_REGIONS_MAX], apply_us[SIM_REGIONS_MAX];
    uint8_t *scratch; /* MRD_TXN_MAX bytes */
    struct mrd_txn *txn;
    struct sim_report *report;
    uint64_t trace;
    char *story;
    size_t story_len, story_room;
};

void sim_push(struct sim *w, const struct sim_event *e);
bool sim_pop(struct sim *w, struct sim_event *ret);
/** Tell the properties; the digest takes it in as well. */
void sim_say(struct sim *w, const struct sim_fact *fact);
/** A property is broken: the first one is kept, and the world stops. */
void sim_broken(struct sim *w, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** A line of the story. */
void sim_tell(struct sim *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* world.c */
const char *sim_name(const struct sim *w, unsigned region);
const struct mrd_conf_class *sim_class(const struct sim *w, unsigned partition);
uint64_t sim_boot_ns(const struct sim *w, unsigned region);
uint64_t sim_wall_ms(const struct sim *w, unsigned region);
void sim_clock_rate(struct sim *w, unsigned region, int64_t rate_ppm);
/** What its guests read now, or NULL. */
const struct mrd_snapshot *sim_snapshot(const struct sim *w, unsigned region);
/** Does a message sent now arrive, and when? */
bool sim_send(struct sim *w, unsigned from, unsigned to, sim_us *ret_at);
bool sim_linked(const struct sim *w, unsigned a, unsigned b); /* both ways, both machines up */
void sim_machine(struct sim *w, unsigned region, bool up);
void sim_agent(struct sim *w, unsigned region, bool up);
void sim_postgres(struct sim *w, unsigned region, bool up);
void sim_pause(struct sim *w, unsigned region, bool paused, bool clock_stops);

/* raft.c */
void sim_server_start(struct sim *w, unsigned region);
void sim_server_stop(struct sim *w, unsigned region, bool crash);
void sim_server_free(struct sim_server *s);
void sim_server_timer(struct sim *w, unsigned region);
void sim_server_receive(struct sim *w, unsigned region, void *message);
void sim_server_written(struct sim *w, unsigned region);
void sim_server_installed(struct sim *w, unsigned region);
void sim_server_transfer(struct sim *w, unsigned region, unsigned to);
mrd_region sim_server_leader(const struct sim *w, unsigned region);
bool sim_server_leads(const struct sim *w, unsigned region);
/** At the leader: 0, or an error at once. */
int sim_server_propose(struct sim *w, unsigned region, uint64_t payload, unsigned from,
                       uint64_t flight);
void sim_message_free(void *message);

/** Keep what w->scratch holds, for as long as the world lasts. */
uint64_t sim_payload(struct sim *w, const void *bytes, size_t len);

/* agent.c */
void sim_agent_start(struct sim *w, unsigned region);
void sim_agent_stop(struct sim *w, unsigned region);
void sim_agent_wake(struct sim *w, unsigned region, sim_us at);
void sim_agent_event(struct sim *w, const struct sim_event *e);
/** Send @txn to the store's leader, as @region knows it. */
int sim_propose(struct sim *w, unsigned region, const struct mrd_txn *txn, uint64_t flight);

/* postgres.c */
void sim_postgres_event(struct sim *w, const struct sim_event *e);
void sim_postgres_stop(struct sim *w, unsigned region);
mrd_lsn sim_wal_end(const struct sim *w, unsigned region);
struct sim_record *sim_wal_append(struct sim *w, unsigned region, enum sim_record_kind kind);
/** @i, if it is home of the partition, sends the origins of what it filed its own rows. */
void sim_repair(struct sim *w, unsigned i, unsigned p);
/** What @i had applied before it heard of a cut, and is past it, gives way to the home's rows.
 */
mrd_lsn sim_applied(const struct sim *w, unsigned region, unsigned origin);
/** Look at all streams into @region: its orders or its positions changed. */
void sim_streams(struct sim *w, unsigned region);
/** Transactions of the partition that are not over; those past their last check too. */
unsigned sim_in_flight(const struct sim *w, unsigned region, unsigned partition,
                       unsigned *ret_checked);
void sim_cancel(struct sim *w, unsigned region, unsigned partition);

/* client.c */
void sim_client_event(struct sim *w, const struct sim_event *e);
void sim_client_answered(struct sim *w, struct sim_txn *t);

/* people.c */
void sim_people(struct sim *w, const struct sim_event *e);

/* swarm.c */
void sim_swarm(struct sim *w); /* configuration, links, clocks, schedule: all from the seed */
void sim_fault(struct sim *w, unsigned index, bool begins);
void sim_heal(struct sim *w);
const char *sim_fault_name(enum sim_fault_kind kind);
enum sim_fault_kind sim_fault_kind(const char *name); /* SIM_FAULT_KINDS: there is none */
void sim_add_region(struct sim *w, const char *name);
/** @home < 0: a partition for each replica, at home there. */
void sim_add_class(struct sim *w, const char *name, enum mrd_durability durability, int home,
                   mrd_regions replicas, mrd_regions allowed);

/* arena.c */
void sim_arena_begin(void);
void sim_arena_end(void);

/* words.c */
void sim_words_world(struct sim *w);
void sim_words_fault(struct sim *w, unsigned index, bool begins);

/** Fault @index begins or ends and @why changes nothing, or NULL. */
void sim_words_idle(struct sim *w, unsigned index, bool begins, const char *why);
/** Fault @index, an operator's act. */
void sim_words_operator(struct sim *w, unsigned index, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* events.c */
/** What an audit event ("NAME key=value ...") says; false: there are no words for it. */
bool sim_event_words(const char *event, char *out, size_t cap);

/* healed.c */
/** After everything is healed: tell when the world has converged, and at its end, whether. */
void sim_healed_look(struct sim *w, bool ends);

/* story.c */
/** Shape and faults from @text; false: @ret says what cannot be understood. */
bool sim_story_read(struct sim *w, const char *text, struct sim_story_error *ret);

/* world.c */
/** A world before its first moment; free it with sim_drop. */
struct sim *sim_draw(const struct sim_options *options);
void sim_drop(struct sim *w);
