/*-------------------------------------------------------------------------
 *
 * repair.h
 *	  What repair.c, which decides what is repaired and when, and repair_rows.c,
 *	  which says what the rows are, share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_REPAIR_H
#define MERIDIAN_REPAIR_H

#include "lib/stringinfo.h"

#include "apply.h"

#define MERIDIAN_REPAIR_ENTRIES 100 /* repaired under one lock */

/* Entries of one table and partition that are repaired together. */
typedef struct MeridianRepairBatch
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	mrd_epoch	epoch;
	char	   *relation;
	bool		truncate;		/* the one entry stands for every row of the home's */
	int			limit;			/* of entries */
	int			count;
	StringInfoData lsns;		/* which entries: array literals */
	StringInfoData seqs;
	bool		resumed;		/* truncate: rows up to last were sent already */
	char	   *last[INDEX_MAX_KEYS];
	MemoryContext context;
} MeridianRepairBatch;

/* repair_rows.c: in the transaction that tells of the entries */
extern bool meridian_repair_rows(MeridianRepairBatch *b);
extern void meridian_repair_emit(const char *prefix, MeridianWireOut *out);

#endif							/* MERIDIAN_REPAIR_H */
