/*-------------------------------------------------------------------------
 *
 * ddl_repeat.c
 *	  Running here what the schema's home ran.
 *
 * A table that was attached there with rows in it and is not here yet comes with
 * the definition that it has by then, and with its whole schema if that is not here
 * either (copy.c): a statement about either is left out, and a DROP drops what is
 * here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "attach.h"
#include "ddl.h"

/* Is a table of a class not here yet, in this schema (NULL: in whichever), or this very one? */
static bool
lacks_tables(const char *schema, const char *table)
{
	return meridian_ddl_ask(psprintf("SELECT EXISTS (SELECT FROM (SELECT schema_name, table_name FROM meridian.table_config "
					 "UNION ALL SELECT schema_name, table_name FROM meridian.missing) t "
					 "WHERE (schema_name = %s OR %s) AND (table_name = %s OR %s) "
					 "AND to_regclass(format('%%I.%%I', schema_name, table_name)) IS NULL)",
					 quote_literal_cstr(schema == NULL ? "" : schema),
					 schema == NULL ? "true" : "false",
					 quote_literal_cstr(table == NULL ? "" : table),
					 table == NULL ? "true" : "false"));
}

/* What the statement is about, also where nobody need wait for a lock */
static RangeVar *
subject_of(Node *parsetree)
{
	if (IsA(parsetree, GrantStmt))
	{
		GrantStmt  *stmt = (GrantStmt *) parsetree;

		return stmt->targtype == ACL_TARGET_OBJECT && list_length(stmt->objects) == 1 &&
			IsA(linitial(stmt->objects), RangeVar) ? linitial(stmt->objects) : NULL;
	}
	if (IsA(parsetree, CommentStmt))
	{
		CommentStmt *stmt = (CommentStmt *) parsetree;

		if (stmt->objtype == OBJECT_TABLE)
			return makeRangeVarFromNameList((List *) stmt->object);
		if (stmt->objtype == OBJECT_COLUMN)
			return makeRangeVarFromNameList(list_delete_last(list_copy((List *) stmt->object)));
		return NULL;
	}
	return meridian_ddl_target(parsetree);
}

static const char *
schema_in(List *name)
{
	return list_length(name) > 1 ? strVal(linitial(name)) : NULL;
}

/* The schema that the statement names for what it makes; NULL: none, or it makes nothing */
static const char *
schema_of_new(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_CreateStmt:
			return ((CreateStmt *) parsetree)->relation->schemaname;
		case T_ViewStmt:
			return ((ViewStmt *) parsetree)->view->schemaname;
		case T_CreateSeqStmt:
			return ((CreateSeqStmt *) parsetree)->sequence->schemaname;
		case T_CompositeTypeStmt:
			return ((CompositeTypeStmt *) parsetree)->typevar->schemaname;
		case T_CreateEnumStmt:
			return schema_in(((CreateEnumStmt *) parsetree)->typeName);
		case T_CreateDomainStmt:
			return schema_in(((CreateDomainStmt *) parsetree)->domainname);
		case T_CreateFunctionStmt:
			return schema_in(((CreateFunctionStmt *) parsetree)->funcname);
		default:
			return NULL;
	}
}

/* Is it about what will be copied here with the definition that it has by then? */
static bool
comes_later(Node *parsetree)
{
	const char *schema = schema_of_new(parsetree);
	RangeVar   *rv = subject_of(parsetree);

	if (schema != NULL)
		return !OidIsValid(get_namespace_oid(schema, true)) && lacks_tables(schema, NULL);
	if (rv == NULL || OidIsValid(RangeVarGetRelid(rv, NoLock, true)))
		return false;
	/* an index or a sequence does not say whose it is, nor is anything here of a whole schema */
	if ((rv->schemaname != NULL && !OidIsValid(get_namespace_oid(rv->schemaname, true))) ||
		(IsA(parsetree, AlterTableStmt) && ((AlterTableStmt *) parsetree)->objtype != OBJECT_TABLE))
		return lacks_tables(rv->schemaname, NULL);
	return lacks_tables(rv->schemaname, rv->relname);
}

/* Does it drop something that may have been left out? */
static bool
drops_later(DropStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		List	   *name = IsA(lfirst(lc), List) ? lfirst_node(List, lc) : NIL;
		const char *schema = list_length(name) > 1 ? strVal(list_nth(name, list_length(name) - 2)) : NULL;
		bool		whole = stmt->removeType != OBJECT_TABLE ||
			(schema != NULL && !OidIsValid(get_namespace_oid(schema, true)));

		if (stmt->removeType == OBJECT_TRIGGER || stmt->removeType == OBJECT_POLICY || stmt->removeType == OBJECT_RULE)
			schema = NULL;		/* the table's name comes before its own */
		if (lacks_tables(schema, whole || name == NIL ? NULL : strVal(llast(name))))
			return true;
	}
	return false;
}

static void
run_parsed(Node *parsetree, const char *text)
{
	PlannedStmt *pstmt = makeNode(PlannedStmt);

	pstmt->commandType = CMD_UTILITY;
	pstmt->utilityStmt = parsetree;
	pstmt->stmt_len = (int) strlen(text);
	ProcessUtility(pstmt, text, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
}

/* See the head of this file. */
void
meridian_ddl_repeat(const char *text)
{
	List	   *parsed = raw_parser(text, RAW_PARSE_DEFAULT);
	Node	   *stmt = list_length(parsed) == 1 ? linitial_node(RawStmt, parsed)->stmt : NULL;

	if (stmt != NULL && comes_later(stmt))
	{
		ereport(LOG,
				(errmsg("left out a statement about a table that is still to be copied"),
				 errdetail("%s", text)));
		return;
	}
	if (stmt != NULL && IsA(stmt, DropStmt) && drops_later((DropStmt *) stmt))
	{
		((DropStmt *) stmt)->missing_ok = true;
		run_parsed(stmt, text);
		return;
	}
	SPI_connect();
	if (SPI_execute(text, false, 0) < 0)
		elog(ERROR, "could not run the statement: %s", text);
	SPI_finish();
}
