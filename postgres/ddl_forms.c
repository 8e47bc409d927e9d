/*-------------------------------------------------------------------------
 *
 * ddl_forms.c
 *	  DDL that is refused before it runs.
 *
 * Refused is what cannot be repeated elsewhere with the same outcome, namely CREATE
 * TABLE AS and SELECT INTO (the rows would be computed twice), the CONCURRENTLY forms
 * (they cannot run inside a replicated transaction), and conversions whose expression
 * would give each region other values.
 *
 * Away from home, what is about a relation of a class's schema is refused before it
 * waits for that relation's lock; everything else by the event triggers (ddl.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "attach.h"
#include "ddl.h"
#include "meridian.h"

/*
 * What is ours
 */

bool
meridian_ddl_true(const char *sql)
{
	bool		isnull;
	bool		result = false;

	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	if (SPI_processed > 0)
		result = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
											SPI_tuptable->tupdesc, 1, &isnull)) && !isnull;
	return result;
}

typedef struct Question
{
	const char *sql;
	bool		answer;
} Question;

static void
ask_question(void *arg)
{
	Question   *q = arg;

	PushActiveSnapshot(GetLatestSnapshot());
	q->answer = meridian_ddl_true(q->sql);
	PopActiveSnapshot();
}

/* As superuser, who may read our tables */
bool
meridian_ddl_ask(const char *sql)
{
	Question	q = {sql, false};

	meridian_as_superuser(ask_question, &q);
	return q.answer;
}

/* Does a class name a table in this schema? */
bool
meridian_is_class_schema(Oid nspid)
{
	char	   *name = OidIsValid(nspid) ? get_namespace_name(nspid) : NULL;

	return name != NULL && OidIsValid(get_extension_oid("meridian", true)) &&
		meridian_ddl_ask(psprintf("SELECT EXISTS (SELECT FROM meridian.table_config "
								  "WHERE schema_name = %s)", quote_literal_cstr(name)));
}

bool
meridian_is_class_relation(RangeVar *rv)
{
	Oid			relid = RangeVarGetRelid(rv, NoLock, true);

	return OidIsValid(relid) && meridian_is_class_schema(get_rel_namespace(relid));
}

/*
 * Which cannot be repeated
 */

static void
refuse_form(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot run %s in a schema of a data class", what),
			 errdetail("Every region runs the statement itself, inside the replicated transaction."),
			 errhint("%s", hint)));
}

static void
check_create_table_as(CreateTableAsStmt *stmt)
{
	RangeVar   *rv = stmt->into->rel;

	if (stmt->objtype != OBJECT_TABLE || rv->relpersistence == RELPERSISTENCE_TEMP)
		return;
	if (meridian_is_class_schema(RangeVarGetCreationNamespace(rv)))
		refuse_form(stmt->is_select_into ? "SELECT INTO" : "CREATE TABLE AS",
					"Use CREATE TABLE, then INSERT ... SELECT.");
}

static bool
drops_class_relation(DropStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
		if (meridian_is_class_relation(makeRangeVarFromNameList((List *) lfirst(lc))))
			return true;
	return false;
}

bool
meridian_ddl_has_rows(Relation rel)
{
	return meridian_ddl_ask(psprintf("SELECT EXISTS (SELECT FROM ONLY %s)",
									 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
																RelationGetRelationName(rel))));
}

/* USING may name any column of the table, as it was before. */
static void
check_using(RangeVar *rv, const char *column, Node *raw)
{
	Oid			relid = RangeVarGetRelid(rv, AccessShareLock, true);
	Relation	rel;
	MeridianAttachment att;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION)
		return;
	rel = table_open(relid, NoLock);
	if (meridian_attachment(rel, &att))
	{
		ParseState *pstate = make_parsestate(NULL);
		Node	   *expr;

		addNSItemToQuery(pstate,
						 addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL,
													   false, true),
						 false, true, true);
		expr = transformExpr(pstate, copyObject(raw), EXPR_KIND_ALTER_COL_TRANSFORM);
		if (contain_mutable_functions(expr) && meridian_ddl_has_rows(rel))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot convert column \"%s\" by an expression that each region would compute for itself",
							column),
					 errhint("Add a new column, UPDATE the rows, then drop the old one.")));
		free_parsestate(pstate);
	}
	table_close(rel, NoLock);
}

static void
check_alter_table(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_DetachPartition &&
			((PartitionCmd *) cmd->def)->concurrent && meridian_is_class_relation(stmt->relation))
			refuse_form("DETACH PARTITION CONCURRENTLY", "Leave out CONCURRENTLY.");
		if (cmd->subtype == AT_AlterColumnType && ((ColumnDef *) cmd->def)->raw_default != NULL)
			check_using(stmt->relation, cmd->name, ((ColumnDef *) cmd->def)->raw_default);
	}
}

void
meridian_ddl_check_form(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_CreateTableAsStmt:
			check_create_table_as((CreateTableAsStmt *) parsetree);
			break;
		case T_ExplainStmt:		/* EXPLAIN ANALYZE runs it, unseen by event triggers */
			{
				Query	   *query = (Query *) ((ExplainStmt *) parsetree)->query;

				if (IsA(query, Query) && query->utilityStmt != NULL)
					meridian_ddl_check_form(query->utilityStmt);
				break;
			}
		case T_IndexStmt:
			if (((IndexStmt *) parsetree)->concurrent &&
				meridian_is_class_relation(((IndexStmt *) parsetree)->relation))
				refuse_form("CREATE INDEX CONCURRENTLY", "Leave out CONCURRENTLY.");
			break;
		case T_DropStmt:
			if (((DropStmt *) parsetree)->concurrent &&
				drops_class_relation((DropStmt *) parsetree))
				refuse_form("DROP INDEX CONCURRENTLY", "Leave out CONCURRENTLY.");
			break;
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) parsetree);
			break;
		default:
			break;
	}
}

/*
 * Refused before they wait for a lock, and hold up others: what changes something
 * that stands in a class's schema.  It is touched here already; the event triggers,
 * which know better, find what is left.
 */

/* The relation that the statement is about */
RangeVar *
meridian_ddl_target(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_AlterTableStmt:
			return ((AlterTableStmt *) parsetree)->relation;
		case T_RenameStmt:
			return ((RenameStmt *) parsetree)->relation;
		case T_AlterObjectSchemaStmt:
			return ((AlterObjectSchemaStmt *) parsetree)->relation;
		case T_IndexStmt:
			return ((IndexStmt *) parsetree)->relation;
		case T_CreateTrigStmt:
			return ((CreateTrigStmt *) parsetree)->relation;
		case T_RuleStmt:
			return ((RuleStmt *) parsetree)->relation;
		case T_CreatePolicyStmt:
			return ((CreatePolicyStmt *) parsetree)->table;
		case T_AlterPolicyStmt:
			return ((AlterPolicyStmt *) parsetree)->table;
		default:
			return NULL;
	}
}

/* An index that is there already is left as it is, everywhere. */
static bool
makes_nothing(Node *parsetree)
{
	IndexStmt  *stmt = (IndexStmt *) parsetree;
	Oid			relid;

	if (!IsA(parsetree, IndexStmt) || !stmt->if_not_exists || stmt->idxname == NULL)
		return false;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	return OidIsValid(relid) && OidIsValid(get_relname_relid(stmt->idxname, get_rel_namespace(relid)));
}

static bool
drops_in_class(DropStmt *stmt)
{
	ListCell   *lc;

	switch (stmt->removeType)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_SEQUENCE:
			return drops_class_relation(stmt);
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
			foreach(lc, stmt->objects)
			{
				List	   *name = list_copy(lfirst(lc));

				/* of the table, then its own */
				if (meridian_is_class_relation(makeRangeVarFromNameList(list_delete_last(name))))
					return true;
			}
			return false;
		case OBJECT_SCHEMA:
			foreach(lc, stmt->objects)
				if (meridian_is_class_schema(get_namespace_oid(strVal(lfirst(lc)), true)))
					return true;
			return false;
		default:
			return false;
	}
}

void
meridian_ddl_touch_early(Node *parsetree)
{
	RangeVar   *rv = meridian_ddl_target(parsetree);

	if (rv != NULL ? meridian_is_class_relation(rv) && !makes_nothing(parsetree) :
		IsA(parsetree, DropStmt) && drops_in_class((DropStmt *) parsetree))
		meridian_touch(MRD_CLASS_SCHEMA, NULL);
}
