/*-------------------------------------------------------------------------
 *
 * ddl.h
 *	  DDL capture, for main.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_DDL_H
#define MERIDIAN_DDL_H

extern void meridian_ddl_init(void);

#endif							/* MERIDIAN_DDL_H */
