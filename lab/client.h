/*
 * One client of the workload, and what it shares with the others.
 *
 * Thread: each client has its own; `tracks` is guarded by the mutex, the rest of struct
 * lab_load does not change while clients run.
 */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <args.h>
#include <libpq-fe.h>

#include "ledger.h"

#define LAB_CLIENTS_MAX 512
#define LAB_LATENCY_BUCKETS 24

struct lab_where {
    char name[MRD_NAME_MAX];
    char dsn[512];
    char url[128];
};

/* One class, or one partition of orders. */
struct lab_track {
    uint64_t accepted, last_us, gap_us, gap_began_wall_ms;
    unsigned last_region, gap_before, gap_after;
    uint64_t latency[LAB_LATENCY_BUCKETS]; /* bucket i: below 2^i * 100 us */
    uint64_t latency_max_us;
};

struct lab_load {
    const char *dir, *ledger_path;
    uint64_t duration_ms, timeout_ms, settle_ms;
    double rate;
    unsigned clients; /* per class, region and way */
    bool json, check, sql, http;
    bool gone; /* the lab went down while clients ran */
    unsigned class_mask;
    struct cli_words region_names;

    struct lab_where regions[MRD_REGIONS_MAX];
    unsigned region_count;
    uint16_t from; /* regions with clients */
    struct lab_ledger *ledger;
    unsigned client_count;
    uint64_t end_us;

    pthread_mutex_t mutex;
    struct lab_track tracks[LAB_CLASSES][MRD_REGIONS_MAX];
};

struct lab_client {
    struct lab_load *load;
    enum lab_class class;
    unsigned region; /* where the customer is, and the partition of its orders */
    bool http;
    unsigned number;
    unsigned target; /* where it writes now */
    PGconn *conn;
    CURL *curl;
    pthread_t thread;
    uint64_t product, seq;
};

/** Set by a signal, or by a client that cannot keep the ledger: everybody ends. */
extern volatile sig_atomic_t lab_interrupted;

/** The thread of a client, a struct lab_client; returns NULL when its time is over. */
void *lab_client_run(void *client);

uint64_t lab_now_us(void); /* CLOCK_MONOTONIC */
/** A random UUID as text. */
void lab_make_uuid(char ret[LAB_TAG_MAX]);
