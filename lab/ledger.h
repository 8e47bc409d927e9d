/*
 * The ledger of a workload: what clients intended, and what they were told.
 *
 * Every write has a line before it is sent and a line when its outcome is known, in a file that
 * is only appended to, so that nothing a server or the workload itself does later can change
 * what was acknowledged. `lab load --check` reads it back.
 *
 *     run TAG                               first line; the rows of this run carry TAG
 *     I WALL_US CLASS PARTITION ID          intended; sent next, perhaps several times
 *     A WALL_US ID REGION                   acknowledged by that region
 *     U WALL_US ID                          unknown: sent, but no answer came
 *     R WALL_US ID                          refused or never sent; it must not be counted
 *
 * A write that is both unknown and later acknowledged (a retry with the same id) is
 * acknowledged. ID is a UUID, or PRODUCT:SEQ for the catalog: "the price of that product was
 * set to SEQ", which only grows.
 *
 * Thread: any; one mutex inside.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <mrd/err.h>
#include <mrd/topology.h>

#define LAB_TAG_MAX 37 /* a UUID */
#define LAB_WRITES_MAX 5000000u
#define LAB_ID_MAX 48

enum lab_class { LAB_CATALOG, LAB_ACCOUNTS, LAB_ORDERS, LAB_EVENTS, LAB_CLASSES };
enum lab_outcome { LAB_INTENDED, LAB_ACKED, LAB_UNKNOWN, LAB_REFUSED };

struct lab_write {
    char id[LAB_ID_MAX];
    uint8_t class_index; /* enum lab_class */
    uint8_t partition;   /* for orders the region's index, else 0 */
    uint8_t outcome;
    /* For the check. */
    uint16_t present;  /* regions that have it */
    uint8_t copies;    /* most rows of this id seen in one region */
    uint8_t reconcile; /* it is in some region's reconcile queue */
};

struct lab_ledger; /* opaque */

const char *lab_class_name(enum lab_class c);
/** Returns LAB_CLASSES for a name that is none. */
enum lab_class lab_class_parse(const char *name);

/** Begin a ledger in a new file; NULL with @err. */
struct lab_ledger *lab_ledger_new(const char *path, const char *tag, struct mrd_err *err);
/** Read a finished one; malformed lines are refused, a torn last line is dropped. */
struct lab_ledger *lab_ledger_load(const char *path, struct mrd_err *err);
void lab_ledger_free(struct lab_ledger *l);

const char *lab_ledger_tag(const struct lab_ledger *l);

/** Note an intention. Returns its number, or a negative code: then the write must not be sent.
 */
long lab_ledger_intend(struct lab_ledger *l, enum lab_class c, unsigned partition,
                       const char *id);
/** Note an outcome of write @number; @region is a name, for LAB_ACKED. */
int lab_ledger_outcome(struct lab_ledger *l, long number, enum lab_outcome outcome,
                       const char *region);

/** All writes, sorted by id; borrowed until the next call. Nobody may be writing. */
struct lab_write *lab_ledger_sorted(struct lab_ledger *l, size_t *ret_count);
/** The write of that id in a sorted array, or NULL. */
struct lab_write *lab_ledger_find(struct lab_write *writes, size_t count, const char *id);
