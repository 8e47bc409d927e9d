/*-------------------------------------------------------------------------
 *
 * ddl.h
 *	  DDL capture, for main.c; and its repetition, for apply.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_DDL_H
#define MERIDIAN_DDL_H

extern void meridian_ddl_init(void);

/* Under the role and the search_path that it was run with, with a snapshot pushed. */
extern void meridian_ddl_repeat(const char *text);

#endif							/* MERIDIAN_DDL_H */
