/*
 * A world: what is on disk for one lab, and how it comes to be there.
 *
 *     DIR/meridian.yaml          the configuration as used
 *     DIR/lab.json, lab.sock     for tools; while the lab runs
 *     DIR/certs/REGION/          from `meridian certs`
 *     DIR/REGION/state           the agent's --state: Raft, PostgreSQL, nginx, knot
 *     DIR/REGION/stage           copies of what the build made, laid over the system inside
 *     DIR/REGION/log             one file per process that init starts
 *     DIR/REGION/hosts           names of the configuration -> lab addresses
 *     /dev/shm/meridian-H/REGION the agent's --run (inside: /run/meridian); H from DIR. Its
 *                                file `clock` holds how wrong the region's clock is
 *
 * State survives `lab down`; runtime files do not survive a start of the region, as on any
 * host whose /run is a tmpfs. Files are staged per region at each start, so that a rebuilt
 * binary reaches one region at a time.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <mrd/config.h>
#include <mrd/err.h>

#define LAB_DIR_DEFAULT "/var/tmp/meridian-lab"
#define LAB_DIR_MAX 512 /* leaves room for what is under it */
#define LAB_PATH (LAB_DIR_MAX + 512)
#define LAB_RUN_INSIDE "/run/meridian"
#define LAB_LOCK "lab.lock" /* held by the daemon; every lab's directory has it */
#define LAB_USER "postgres" /* PostgreSQL refuses to run as root */

struct lab_world {
    char dir[LAB_DIR_MAX];    /* absolute, no symbolic links */
    char run_root[64];        /* /dev/shm/meridian-H */
    char bin[LAB_PATH];       /* this program */
    char build[LAB_PATH];     /* its directory when that is a build tree, else empty */
    char templates[LAB_PATH]; /* nginx.conf.in, schema.sql, ... */
    bool bare;                /* namespaces and network only, no servers */
    uid_t uid;                /* of LAB_USER */
    gid_t gid;
    struct mrd_config *config; /* owned */
};

/**
 * Find or make the world in @dir. Nothing there changes unless the configuration is sound and
 * no lab runs in it.
 *
 * @file   configuration to use from now on; NULL: the one already there, else the shop's
 * @fresh  remove what an earlier lab left there
 */
int lab_world_open(struct lab_world *w, const char *dir, const char *file, bool fresh,
                   struct mrd_err *err);
/** The world in @dir as it is, for those who live in it. */
int lab_world_enter(struct lab_world *w, const char *dir, struct mrd_err *err);
void lab_world_close(struct lab_world *w);

/** Absolute path of @dir without making it; fills only dir and run_root. */
int lab_world_locate(struct lab_world *w, const char *dir, struct mrd_err *err);

/** Make certificates for all regions, once. Runs this program. */
int lab_world_certs(const struct lab_world *w, struct mrd_err *err);

/** Make a region's directories, stage the build, render its templates, empty its run dir. */
int lab_world_prepare(const struct lab_world *w, unsigned region, struct mrd_err *err);

/** Is there a lab in @dir, running or not? */
bool lab_world_exists(const char *dir);

/** Remove what only a running lab needs. */
void lab_world_sweep(const struct lab_world *w);

/** Remove the ledgers that loads wrote into DIR. */
void lab_world_drop_ledgers(const struct lab_world *w);

/**
 * Remove everything that a lab made under DIR, whatever became of its configuration: regions,
 * ledgers, certificates; then DIR itself, unless something else is in it.
 *
 * @ret_left  out: a name that is still there, or empty
 */
void lab_world_purge(const struct lab_world *w, char ret_left[NAME_MAX + 1]);

/** Start with the measured delay of that pair of cloud regions. 0 when it is not known. */
uint64_t lab_world_delay_ns(const char *a, const char *b);

/** How wrong the region's wall clock is; set returns 0 or MRD_EIO. Zero after each start. */
int lab_world_set_clock(const struct lab_world *w, unsigned region, int64_t offset_ns);
int64_t lab_world_clock(const struct lab_world *w, unsigned region);

/** DIR/REGION/NAME into @ret. */
void lab_world_path(const struct lab_world *w, unsigned region, const char *name,
                    char ret[LAB_PATH]);
