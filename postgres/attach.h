/*-------------------------------------------------------------------------
 *
 * attach.h
 *	  Attachment, for the other files of the write side.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_ATTACH_H
#define MERIDIAN_ATTACH_H

#include "postgres.h"

#include "utils/relcache.h"

/* Why a table cannot be attached, and what to do; palloc'd or static. */
typedef struct MeridianProblem
{
	const char *text;			/* completes "cannot attach TABLE: ..." */
	const char *hint;
} MeridianProblem;

/* Our own DDL is being run: capture and event triggers let it pass. */
extern bool meridian_attaching;

/* partition_by is NULL for a class that is not partitioned. */
extern bool meridian_check_table(Relation rel, const char *partition_by,
								 MeridianProblem *p);
extern bool meridian_guard_intact(Relation rel, const char *class_name,
								  const char *partition_by);

/* Run fn inside SPI as the bootstrap superuser with a fixed search_path. */
extern void meridian_as_superuser(void (*fn) (void *arg), void *arg);

#endif							/* MERIDIAN_ATTACH_H */
