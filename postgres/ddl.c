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
 * Some forms are refused before they run, and away from home so is what would wait
 * for a lock (ddl_forms.c).  Everything else is refused by the event triggers, new
 * columns whose values each region would compute for itself among it.  What was
 * captured is repeated by ddl_repeat.c.
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
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "replication/message.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/queryjumble.h"
#include "utils/rel.h"

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
		meridian_ddl_check_form(pstmt->utilityStmt);
		meridian_ddl_touch_early(pstmt->utilityStmt);
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

		if (IsA(object, RangeVar) && meridian_is_class_relation((RangeVar *) object))
			return true;
		if (IsA(object, String) &&
			meridian_is_class_schema(get_namespace_oid(strVal(object), true)))
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

	if (expr != NULL && contain_mutable_functions(expr) && meridian_ddl_has_rows(rel))
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

/* What each warning is of: a message, its detail and its hint */
static const char *const unattached =
"SELECT pg_catalog.format('table \"%s.%s\" is not attached: %s', t.schema_name, t.table_name, t.problem), "
"'It is neither guarded nor replicated.', t.hint "
"FROM meridian.table_config t "
"JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name "
"JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name "
"WHERE t.problem IS NOT NULL";

/* The definition goes everywhere, which looks as if the rows did. */
static const char *const unlisted =
"SELECT pg_catalog.format('table \"%s.%s\" belongs to no class', u.schema_name, u.table_name), "
"'Every region has the table, but its rows stay in the region where they are written.', "
"'Add it to the tables of a class in the configuration.' "
"FROM meridian.unlisted u JOIN pg_catalog.pg_event_trigger_ddl_commands() c "
"ON c.classid = 'pg_catalog.pg_class'::regclass AND c.objid = u.relid "
"WHERE c.command_tag = 'CREATE TABLE'";

static void
warn_of(void *sql)
{
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for tables to warn of");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		ereport(WARNING,
				(errmsg("%s", SPI_getvalue(row, desc, 1)),
				 errdetail("%s", SPI_getvalue(row, desc, 2)),
				 errhint("%s", SPI_getvalue(row, desc, 3))));
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
	bool		ours;

	check_event_trigger(fcinfo);
	if (meridian_restoring || meridian_attaching || extension_at_work())
		return (Datum) 0;
	parsetree = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (maintenance(parsetree))
		return (Datum) 0;
	ours = meridian_ddl_ask(commands_in_class_schema);
	if (!ours && IsA(parsetree, GrantStmt))
		ours = grant_in_class_schema((GrantStmt *) parsetree);
	/* a table that was renamed or moved out of a class's schema is still attached */
	meridian_as_superuser(check_attached, NULL);
	if (!ours)
		return (Datum) 0;
	capture();
	if (IsA(parsetree, AlterTableStmt) && capturing())
		check_new_columns((AlterTableStmt *) parsetree);
	meridian_attach_all();
	if (IsA(parsetree, CreateStmt) || IsA(parsetree, AlterTableStmt))
		meridian_as_superuser(warn_of, unconstify(char *, unattached));
	if (IsA(parsetree, CreateStmt) && capturing())
		meridian_as_superuser(warn_of, unconstify(char *, unlisted));
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

	if (!capturing())
		return;
	if (meridian_ddl_ask(drops_attached) &&
		(!is_drop || (((DropStmt *) parsetree)->removeType != OBJECT_TABLE &&
					  ((DropStmt *) parsetree)->removeType != OBJECT_SCHEMA)))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop a table of a data class with something else"),
				 errdetail("Every region runs the statement itself, and may not have that."),
				 errhint("Drop the table first, with DROP TABLE.")));
	if (is_drop && meridian_ddl_ask(drops_others_too))
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
	check_event_trigger(fcinfo);
	if (meridian_attaching || extension_at_work())
		return (Datum) 0;
	if (meridian_ddl_ask(drops_in_class_schema))
	{
		check_drop();
		capture();
	}
	meridian_as_superuser(forget_dropped, NULL);
	return (Datum) 0;
}
