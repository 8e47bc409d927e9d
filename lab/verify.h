/*
 * Holding a ledger against the databases: what was acknowledged must be somewhere.
 *
 * Reads every running region, again and again until all agree with the ledger or time is up.
 * An acknowledged write is *present* when every region that could be read has it, else *in
 * reconcile* when some region's reconcile queue holds it, else *missing*, or *unjudged* where
 * that cannot be told: a region is away that may be the only one to have it, a link is cut that
 * it would come by, a stream stands that would bring it, its table is not there any more. The
 * four add up.
 */
#pragma once

#include <jansson.h>

#include "ledger.h"

struct lab_counts {
    unsigned long acknowledged, present, in_reconcile, missing, unjudged;
    unsigned long partial;    /* of the missing: some running region has it */
    unsigned long duplicated; /* acknowledged or not: more than one row in a region */
    unsigned long unknown, unknown_present, refused, refused_present;
};

/**
 * @dir        the lab's; its status is asked for again and again: regions come and go
 * @settle_ms  how long to wait for everything to arrive everywhere
 * @ret_json   out: the verdict with the regions read and skipped, why what is unjudged is so,
 *             and a sample of what is missing
 *
 * Returns 0 (read @ret to judge), or MRD_EUNAVAILABLE when the lab is gone.
 */
int lab_verify(struct lab_ledger *l, const char *dir, unsigned settle_ms,
               struct lab_counts *ret, json_t **ret_json, struct mrd_err *err);
