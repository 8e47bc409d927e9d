/*-------------------------------------------------------------------------
 *
 * ddl.h
 *	  DDL capture, for main.c; its repetition, for apply.c; and what ddl.c, ddl_forms.c
 *	  and ddl_repeat.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_DDL_H
#define MERIDIAN_DDL_H

#include "nodes/parsenodes.h"
#include "utils/relcache.h"

extern void meridian_ddl_init(void);

/* ddl_repeat.c: under the role and the search_path that it was run with, with a snapshot pushed */
extern void meridian_ddl_repeat(const char *text);

/* ddl_forms.c: an ERROR for a form that is none for classes, and where a lock would be waited for */
extern void meridian_ddl_check_form(Node *parsetree);
extern void meridian_ddl_touch_early(Node *parsetree);

/* ddl_forms.c: the answer to a query of one boolean, within SPI; as superuser, without */
extern bool meridian_ddl_true(const char *sql);
extern bool meridian_ddl_ask(const char *sql);

/* ddl_forms.c: does a class name a table in this schema?  Is it such a schema's? */
extern bool meridian_is_class_schema(Oid nspid);
extern bool meridian_is_class_relation(RangeVar *rv);

/* ddl_forms.c: what the statement changes, if it stands in a schema; NULL: nothing, or several */
extern RangeVar *meridian_ddl_target(Node *parsetree);
extern bool meridian_ddl_has_rows(Relation rel);

#endif							/* MERIDIAN_DDL_H */
