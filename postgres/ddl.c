/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  DDL on the classes' schemas: captured once at the schema's home, refused
 *	  elsewhere.
 *
 * The utility hook remembers the outermost DDL statement and its own text; the
 * event triggers, which know exactly what a statement did, decide whether it
 * touched a schema that a class's tables live in.  If so, the class "schema" is
 * touched like any partition (so DDL obeys its home, lease, moves and
 * durability), and the text is emitted as one transactional message.  Nested
 * statements (of CREATE SCHEMA, CREATE EXTENSION, our own attachment) are part
 * of the outermost one and emit nothing.
 *
 * Refused before they run: what cannot be repeated elsewhere with the same
 * outcome, namely CREATE TABLE AS and SELECT INTO (the rows would be computed
 * twice), the CONCURRENTLY forms (they cannot run inside a replicated
 * transaction), and new columns or conversions whose expression would give each
 * region other values.
 *
 * Away from home, what is about a relation of such a schema is refused before it
 * waits for that relation's lock; everything else by the event triggers.
 *
 * Maintenance that changes no definition (REINDEX, CLUSTER, REFRESH) is every
 * region's own affair.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "replication/message.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/queryjumble.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include <mrd/buf.h>

#include "attach.h"
#include "ddl.h"
#include "meridian.h"

PG_FUNCTION_INFO_V1(meridian_on_ddl_end);
PG_FUNCTION_INFO_V1(meridian_on_drop);

/* The outermost DDL statement that is running; NULL: none. */
typedef struct Outermost
{
	Node	   *parsetree;
	const char *text;			/* not NUL-terminated */
	int			len;
	bool		emitted;
} Outermost;

static Outermost *outermost;
static ProcessUtility_hook_type prev_ProcessUtility;

/*
 * What is ours
 */

static bool
capturing(void)
{
	return !meridian_applying && !meridian_restoring && !meridian_attaching &&
		meridian_region[0] != '\0';
}

static bool
query_true(const char *sql)
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
	q->answer = query_true(q->sql);
	PopActiveSnapshot();
}

/* Does a class name a table in this schema? */
static bool
is_class_schema(Oid nspid)
{
	char	   *name = OidIsValid(nspid) ? get_namespace_name(nspid) : NULL;
	Question	q = {NULL, false};

	if (name == NULL || !OidIsValid(get_extension_oid("meridian", true)))
		return false;
	q.sql = psprintf("SELECT EXISTS (SELECT FROM meridian.table_config "
					 "WHERE schema_name = %s)", quote_literal_cstr(name));
	meridian_as_superuser(ask_question, &q);
	return q.answer;
}

static bool
is_class_relation(RangeVar *rv)
{
	Oid			relid = RangeVarGetRelid(rv, NoLock, true);

	return OidIsValid(relid) && is_class_schema(get_rel_namespace(relid));
}

/*
 * Refused before they run
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
	if (is_class_schema(RangeVarGetCreationNamespace(rv)))
		refuse_form(stmt->is_select_into ? "SELECT INTO" : "CREATE TABLE AS",
					"Use CREATE TABLE, then INSERT ... SELECT.");
}

static bool
drops_class_relation(DropStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
		if (is_class_relation(makeRangeVarFromNameList((List *) lfirst(lc))))
			return true;
	return false;
}

static bool
has_rows(Relation rel)
{
	Question	q = {NULL, false};

	q.sql = psprintf("SELECT EXISTS (SELECT FROM ONLY %s)",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)));
	meridian_as_superuser(ask_question, &q);
	return q.answer;
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
		if (contain_mutable_functions(expr) && has_rows(rel))
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
			((PartitionCmd *) cmd->def)->concurrent && is_class_relation(stmt->relation))
			refuse_form("DETACH PARTITION CONCURRENTLY", "Leave out CONCURRENTLY.");
		if (cmd->subtype == AT_AlterColumnType && ((ColumnDef *) cmd->def)->raw_default != NULL)
			check_using(stmt->relation, cmd->name, ((ColumnDef *) cmd->def)->raw_default);
	}
}

static void
check_form(Node *parsetree)
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
					check_form(query->utilityStmt);
				break;
			}
		case T_IndexStmt:
			if (((IndexStmt *) parsetree)->concurrent &&
				is_class_relation(((IndexStmt *) parsetree)->relation))
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
static RangeVar *
target_of(Node *parsetree)
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
				if (is_class_relation(makeRangeVarFromNameList(list_delete_last(name))))
					return true;
			}
			return false;
		case OBJECT_SCHEMA:
			foreach(lc, stmt->objects)
				if (is_class_schema(get_namespace_oid(strVal(lfirst(lc)), true)))
					return true;
			return false;
		default:
			return false;
	}
}

static void
touch_early(Node *parsetree)
{
	RangeVar   *rv = target_of(parsetree);

	if (rv != NULL ? is_class_relation(rv) && !makes_nothing(parsetree) :
		IsA(parsetree, DropStmt) && drops_in_class((DropStmt *) parsetree))
		meridian_touch(MRD_CLASS_SCHEMA, NULL);
}

/*
 * The hook
 */

static void
slice(PlannedStmt *pstmt, const char *query, Outermost *o)
{
	int			location = pstmt->stmt_location;
	int			len = pstmt->stmt_len;

	o->text = CleanQuerytext(query, &location, &len);
	o->len = len;
}

static void
run_outermost(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	Outermost	o = {0};

	o.parsetree = pstmt->utilityStmt;
	slice(pstmt, queryString, &o);
	outermost = &o;
	PG_TRY();
	{
		(prev_ProcessUtility ? prev_ProcessUtility : standard_ProcessUtility)
			(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	}
	PG_FINALLY();
	{
		outermost = NULL;
	}
	PG_END_TRY();
}

static void
meridian_ProcessUtility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
						ProcessUtilityContext context, ParamListInfo params,
						QueryEnvironment *queryEnv, DestReceiver *dest,
						QueryCompletion *qc)
{
	if (capturing() && outermost == NULL && IsTransactionState() &&
		GetCommandLogLevel(pstmt->utilityStmt) == LOGSTMT_DDL)
	{
		check_form(pstmt->utilityStmt);
		touch_early(pstmt->utilityStmt);
		/* ANALYZE of an EXPLAIN is not DDL itself */
		if (!IsA(pstmt->utilityStmt, ExplainStmt))
		{
			run_outermost(pstmt, queryString, readOnlyTree, context, params, queryEnv,
						  dest, qc);
			return;
		}
	}
	(prev_ProcessUtility ? prev_ProcessUtility : standard_ProcessUtility)
		(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
}

void
meridian_ddl_init(void)
{
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = meridian_ProcessUtility;
}

/*
 * Emitting
 */

static void
emit(Outermost *o)
{
	const char *role = GetUserNameFromId(GetUserId(), false);
	const char *path = namespace_search_path;
	size_t		size = 1 + 2 + strlen(role) + 2 + strlen(path) + 4 + (size_t) o->len;
	uint8_t    *bytes = palloc(size);
	struct mrd_buf b = mrd_buf_writer(bytes, size);

	mrd_buf_put_u8(&b, 1);
	mrd_buf_put_str(&b, role);
	mrd_buf_put_str(&b, path);
	mrd_buf_put_u32(&b, (uint32_t) o->len);
	mrd_buf_put_bytes(&b, o->text, (size_t) o->len);
	if (b.failed)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("could not capture the statement: its search_path is too long")));
	LogLogicalMessage("meridian.ddl", (const char *) bytes, size, true);
	pfree(bytes);
}

static void
capture(void)
{
	if (!capturing() || outermost == NULL || outermost->emitted)
		return;
	meridian_touch(MRD_CLASS_SCHEMA, NULL);
	emit(outermost);
	outermost->emitted = true;
}

/*
 * Repeating
 */

/* Is a table of a class not here yet, in this schema (NULL: in whichever), or this very one? */
static bool
lacks_tables(const char *schema, const char *table)
{
	Question	q = {NULL, false};

	q.sql = psprintf("SELECT EXISTS (SELECT FROM (SELECT schema_name, table_name FROM meridian.table_config "
					 "UNION ALL SELECT schema_name, table_name FROM meridian.missing) t "
					 "WHERE (schema_name = %s OR %s) AND (table_name = %s OR %s) "
					 "AND to_regclass(format('%%I.%%I', schema_name, table_name)) IS NULL)",
					 quote_literal_cstr(schema == NULL ? "" : schema),
					 schema == NULL ? "true" : "false",
					 quote_literal_cstr(table == NULL ? "" : table),
					 table == NULL ? "true" : "false");
	meridian_as_superuser(ask_question, &q);
	return q.answer;
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
	return target_of(parsetree);
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

/*
 * Run what the schema's home ran.  A table that was attached there with rows in
 * it and is not here yet comes with the definition that it has by then, and with
 * its whole schema if that is not here either (copy.c): a statement about either
 * is left out, and a DROP drops what is here.
 */
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

/*
 * Which statements: asked of the event triggers' own functions
 */

#define IN_CLASS_SCHEMA " IN (SELECT schema_name FROM meridian.table_config)"

static const char commands_in_class_schema[] =
"SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() c "
"LEFT JOIN pg_catalog.pg_trigger t ON c.classid = 'pg_catalog.pg_trigger'::regclass AND t.oid = c.objid "
"LEFT JOIN pg_catalog.pg_policy p ON c.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = c.objid "
"LEFT JOIN pg_catalog.pg_rewrite r ON c.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = c.objid "
"LEFT JOIN pg_catalog.pg_class k ON k.oid = coalesce(t.tgrelid, p.polrelid, r.ev_class) "
"LEFT JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(k.relnamespace, "
"CASE WHEN c.classid = 'pg_catalog.pg_namespace'::regclass THEN c.objid END) "
"WHERE coalesce(c.schema_name, n.nspname)" IN_CLASS_SCHEMA ")";

static const char drops_in_class_schema[] =
"SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() d "
"WHERE NOT d.is_temporary AND (d.original OR d.normal) "
"AND coalesce(d.schema_name, d.address_names[1])" IN_CLASS_SCHEMA ")";

/* GRANT reports no objects, so its own list is read. */
static bool
grant_in_class_schema(GrantStmt *stmt)
{
	ListCell   *lc;

	if (stmt->targtype == ACL_TARGET_DEFAULTS)
		return false;
	foreach(lc, stmt->objects)
	{
		Node	   *object = lfirst(lc);

		if (IsA(object, RangeVar) && is_class_relation((RangeVar *) object))
			return true;
		if (IsA(object, String) &&
			is_class_schema(get_namespace_oid(strVal(object), true)))
			return true;
	}
	return false;
}

static bool
maintenance(Node *parsetree)
{
	return IsA(parsetree, RefreshMatViewStmt) || IsA(parsetree, ClusterStmt);
}

static void
check_event_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function can only be called by an event trigger")));
}

/*
 * A new column of rows that exist gets the same values everywhere only if its
 * default does not depend on when and where it is computed.
 */
static void
check_new_column(Relation rel, const char *column)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), column);
	Node	   *expr = attno > 0 ? build_column_default(rel, attno) : NULL;

	if (expr != NULL && contain_mutable_functions(expr) && has_rows(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot add column \"%s\" with a default that each region would compute for itself",
						column),
				 errdetail("The rows that are already in table \"%s\" would get different values.",
						   RelationGetRelationName(rel)),
				 errhint("Add the column without the default, set the default with ALTER COLUMN, then UPDATE the rows.")));
}

static void
check_new_columns(AlterTableStmt *stmt)
{
	Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	MeridianAttachment att;
	Relation	rel;
	ListCell   *lc;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION)
		return;
	rel = table_open(relid, NoLock);
	if (meridian_attachment(rel, &att))
		foreach(lc, stmt->cmds)
		{
			AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

			if (cmd->subtype == AT_AddColumn && IsA(cmd->def, ColumnDef))
				check_new_column(rel, ((ColumnDef *) cmd->def)->colname);
		}
	table_close(rel, NoLock);
}

/*
 * Attached tables must still be what they were attached as.
 */

static void
check_attached_table(Oid relid, const char *schema, const char *table,
					 const char *class_name, const char *partition_by, bool named)
{
	Relation	rel = table_open(relid, AccessShareLock);
	MeridianProblem p = {NULL, NULL};

	if (!named)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot rename attached table \"%s.%s\" or its schema", schema, table),
				 errhint("Change the name in the configuration of class \"%s\" first.",
						 class_name)));
	if (!meridian_check_table(rel, partition_by, &p))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table \"%s.%s\" could no longer belong to class \"%s\": %s", schema,
						table, class_name, p.text),
				 errhint("%s", p.hint)));
	if (!meridian_guard_intact(rel, class_name, partition_by))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot change the guard or the replica identity of attached table \"%s.%s\"",
						schema, table),
				 errhint("Remove the table from class \"%s\" in the configuration first.",
						 class_name)));
	table_close(rel, AccessShareLock);
}

static void
check_attached(void *arg)
{
	SPITupleTable *rows;
	uint64		n;

	if (SPI_execute("SELECT a.relid, n.nspname::text, c.relname::text, a.class, "
					"a.partition_by, t.table_name IS NOT NULL "
					"FROM meridian.attachment a "
					"JOIN pg_catalog.pg_class c ON c.oid = a.relid "
					"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
					"LEFT JOIN meridian.table_config t ON t.schema_name = n.nspname "
					"AND t.table_name = c.relname", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.attachment");
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	row = rows->vals[i];
		bool		isnull;

		check_attached_table(DatumGetObjectId(SPI_getbinval(row, rows->tupdesc, 1, &isnull)),
							 SPI_getvalue(row, rows->tupdesc, 2),
							 SPI_getvalue(row, rows->tupdesc, 3),
							 SPI_getvalue(row, rows->tupdesc, 4),
							 SPI_getvalue(row, rows->tupdesc, 5),
							 DatumGetBool(SPI_getbinval(row, rows->tupdesc, 6, &isnull)));
	}
}

static void
warn_unattached(void *arg)
{
	if (SPI_execute("SELECT t.schema_name, t.table_name, t.problem, t.hint "
					"FROM meridian.table_config t "
					"JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name "
					"JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid "
					"AND c.relname = t.table_name WHERE t.problem IS NOT NULL",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.table_config");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		ereport(WARNING,
				(errmsg("table \"%s.%s\" is not attached: %s", SPI_getvalue(row, desc, 1),
						SPI_getvalue(row, desc, 2), SPI_getvalue(row, desc, 3)),
				 errdetail("It is neither guarded nor replicated."),
				 errhint("%s", SPI_getvalue(row, desc, 4))));
	}
}

/* The event triggers also fire for the statement that creates or drops us. */
static bool
extension_at_work(void)
{
	return creating_extension || !OidIsValid(get_extension_oid("meridian", true));
}

Datum
meridian_on_ddl_end(PG_FUNCTION_ARGS)
{
	Node	   *parsetree;
	Question	q = {commands_in_class_schema, false};

	check_event_trigger(fcinfo);
	if (meridian_restoring || meridian_attaching || extension_at_work())
		return (Datum) 0;
	parsetree = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (maintenance(parsetree))
		return (Datum) 0;
	meridian_as_superuser(ask_question, &q);
	if (!q.answer && IsA(parsetree, GrantStmt))
		q.answer = grant_in_class_schema((GrantStmt *) parsetree);
	/* a table that was renamed or moved out of a class's schema is still attached */
	meridian_as_superuser(check_attached, NULL);
	if (!q.answer)
		return (Datum) 0;
	capture();
	if (IsA(parsetree, AlterTableStmt) && capturing())
		check_new_columns((AlterTableStmt *) parsetree);
	meridian_attach_all();
	if (IsA(parsetree, CreateStmt) || IsA(parsetree, AlterTableStmt))
		meridian_as_superuser(warn_unattached, NULL);
	return (Datum) 0;
}

/*
 * What a class's table is dropped by must mean the same in every region.  Others
 * need not have the extension, nor the role's other objects.
 */
static const char drops_attached[] =
"SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() d "
"JOIN meridian.attachment a ON a.relid = d.objid "
"WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0)";

static const char drops_others_too[] =
"SELECT count(DISTINCT coalesce(d.schema_name, d.address_names[1])" IN_CLASS_SCHEMA ") > 1 "
"FROM pg_catalog.pg_event_trigger_dropped_objects() d "
"WHERE d.original AND NOT d.is_temporary";

static void
check_drop(void)
{
	Node	   *parsetree = outermost == NULL ? NULL : outermost->parsetree;
	bool		is_drop = parsetree != NULL && IsA(parsetree, DropStmt);
	Question	attached = {drops_attached, false};
	Question	others = {drops_others_too, false};

	if (!capturing())
		return;
	meridian_as_superuser(ask_question, &attached);
	if (attached.answer &&
		(!is_drop || (((DropStmt *) parsetree)->removeType != OBJECT_TABLE &&
					  ((DropStmt *) parsetree)->removeType != OBJECT_SCHEMA)))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop a table of a data class with something else"),
				 errdetail("Every region runs the statement itself, and may not have that."),
				 errhint("Drop the table first, with DROP TABLE.")));
	if (is_drop)
		meridian_as_superuser(ask_question, &others);
	if (others.answer)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot drop objects in schemas of data classes together with others"),
				 errdetail("Every region runs the statement itself, and may not have the others."),
				 errhint("Drop them in separate statements.")));
}

/* What other regions have written to the table until they hear of it still arrives. */
static void
remember_dropped(void)
{
	XLogRecPtr	lsn = InvalidXLogRecPtr;
	const char *origin = meridian_applying ? meridian_apply_origin(&lsn) : meridian_region;

	if (SPI_execute(psprintf("INSERT INTO meridian.dropped "
							 "SELECT d.schema_name, d.object_name, %s, '%X/%X' "
							 "FROM pg_catalog.pg_event_trigger_dropped_objects() d "
							 "JOIN meridian.attachment a ON a.relid = d.objid "
							 "WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0 "
							 "ON CONFLICT (schema_name, table_name) "
							 "DO UPDATE SET origin = excluded.origin, lsn = excluded.lsn",
							 quote_literal_cstr(origin), LSN_FORMAT_ARGS(lsn)),
					false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.dropped");
	if (SPI_execute("UPDATE meridian.table_config t SET problem = 'it was dropped', "
					"hint = 'It is attached again when it is created; or remove it from the class.' "
					"FROM pg_catalog.pg_event_trigger_dropped_objects() d "
					"JOIN meridian.attachment a ON a.relid = d.objid "
					"WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0 "
					"AND t.schema_name = d.schema_name AND t.table_name = d.object_name",
					false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update meridian.table_config");
}

static void
forget_dropped(void *arg)
{
	remember_dropped();
	if (SPI_execute("DELETE FROM meridian.attachment a USING "
					"pg_catalog.pg_event_trigger_dropped_objects() d "
					"WHERE d.classid = 'pg_catalog.pg_class'::regclass "
					"AND d.objsubid = 0 AND d.objid = a.relid", false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not update meridian.attachment");
	if (SPI_execute("DELETE FROM meridian.copied c WHERE NOT EXISTS "
					"(SELECT FROM meridian.attachment a WHERE a.relid = c.relid)",
					false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not update meridian.copied");
}

Datum
meridian_on_drop(PG_FUNCTION_ARGS)
{
	Question	q = {drops_in_class_schema, false};

	check_event_trigger(fcinfo);
	if (meridian_attaching || extension_at_work())
		return (Datum) 0;
	meridian_as_superuser(ask_question, &q);
	if (q.answer)
	{
		check_drop();
		capture();
	}
	meridian_as_superuser(forget_dropped, NULL);
	return (Datum) 0;
}
