/*-------------------------------------------------------------------------
 *
 * unfenced.h
 *	  What the files that look past a cut share: unfenced.c, which decides when and
 *	  for which origin; unfenced_wal.c, which looks; unfenced_outcome.c, which does
 *	  what follows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_UNFENCED_H
#define MERIDIAN_UNFENCED_H

#include "nodes/pg_list.h"

#include "apply.h"

/* One closed epoch that went on without us, and that we are past */
typedef struct MeridianPast
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	uint64		epoch;
	XLogRecPtr	cut;
	XLogRecPtr	reached;
	uint64		transactions;	/* of it between the two */
	uint64		rows;
	bool		complete;		/* there is no more of them than that */
	bool		copied;
} MeridianPast;

/* Those of one origin, and what is found of them */
typedef struct MeridianPasts
{
	MemoryContext memory;		/* has all below */
	char		origin[MRD_NAME_MAX];
	List	   *pasts;			/* MeridianPast *; NIL: there is no origin */
	List	   *lost;			/* ends of its transactions that are past a cut, XLogRecPtr * */
	List	   *touched;		/* partitions that these speak for, MeridianWireStampEntry * */
} MeridianPasts;

/* unfenced_wal.c: finds lost and touched, counts transactions, and files them */
extern void meridian_unfenced_read(MeridianPasts *p);

/* unfenced_outcome.c: all but the filing, in the same transaction; then the lines for people */
extern void meridian_unfenced_conclude(const MeridianPasts *p);
extern void meridian_unfenced_say(const MeridianPasts *p);

#endif							/* MERIDIAN_UNFENCED_H */
