/*-------------------------------------------------------------------------
 *
 * attach.c
 *	  Which tables belong to a data class, and what makes a table fit for it.
 *
 * The configuration names tables by name (meridian.table_config); attaching one
 * makes it so in the database: REPLICA IDENTITY FULL, the guard's triggers, and
 * a row in meridian.attachment, which the output plugin reads under historic
 * snapshots.  Attaching is idempotent, and a table that cannot be attached is
 * reported with the reason and the way out rather than attached in part.
 *
 * What is refused is what could not arrive intact or could not be told apart:
 * no usable primary key; rows that are not in WAL or not here; a partition
 * column that may be null or computed; and, in a partitioned class, any unique
 * index without the partition column, because two homes could then both
 * accept the same key.
 *
 * All of it runs as the bootstrap superuser with a fixed search_path, because a
 * table's owner, who may create it, need not own the extension.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "replication/origin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "attach.h"
#include "meridian.h"

#define TRIGGER_STATEMENT "meridian_guard"
#define TRIGGER_ROW "meridian_guard_row"

bool		meridian_attaching = false;

PG_FUNCTION_INFO_V1(meridian_attach_all_sql);

/*
 * Reading meridian.attachment
 */

#define ATT_RELID 1
#define ATT_CLASS 2
#define ATT_PARTITION_BY 3

bool
meridian_attachment(Relation rel, MeridianAttachment *ret)
{
	Oid			nsp = get_namespace_oid("meridian", true);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid("attachment", nsp) : InvalidOid;
	Oid			indexid = OidIsValid(nsp) ? get_relname_relid("attachment_pkey", nsp) : InvalidOid;
	Relation	catalog;
	SysScanDesc scan;
	ScanKeyData key;
	Snapshot	snapshot = NULL;
	HeapTuple	tuple;
	bool		found = false;

	if (!OidIsValid(relid) || !OidIsValid(indexid))
		return false;
	catalog = table_open(relid, AccessShareLock);
	ScanKeyInit(&key, ATT_RELID, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(rel)));

	/* a cached catalog snapshot would not notice changes of a user catalog */
	if (!HistoricSnapshotActive())
		snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(catalog, indexid, true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		d;

		memset(ret, 0, sizeof(*ret));
		d = heap_getattr(tuple, ATT_CLASS, RelationGetDescr(catalog), &isnull);
		text_to_cstring_buffer(DatumGetTextPP(d), ret->class_name, sizeof(ret->class_name));
		d = heap_getattr(tuple, ATT_PARTITION_BY, RelationGetDescr(catalog), &isnull);
		if (!isnull)
		{
			text_to_cstring_buffer(DatumGetTextPP(d), ret->partition_by,
								   sizeof(ret->partition_by));
			ret->partition_attno = get_attnum(RelationGetRelid(rel), ret->partition_by);
		}
		found = true;
	}
	systable_endscan(scan);
	if (snapshot != NULL)
		UnregisterSnapshot(snapshot);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * Is the table fit?
 */

static bool
problem(MeridianProblem *p, char *text, const char *hint)
{
	p->text = text;
	p->hint = hint;
	return false;
}

static bool
check_kind(Relation rel, MeridianProblem *p)
{
	Form_pg_class form = rel->rd_rel;

	switch (form->relkind)
	{
		case RELKIND_RELATION:
			break;
		case RELKIND_PARTITIONED_TABLE:
			return problem(p, "it is a partitioned table",
						   "Use a plain table; the data class itself divides the rows.");
		case RELKIND_FOREIGN_TABLE:
			return problem(p, "it is a foreign table",
						   "Attach the table where its rows are stored.");
		default:
			return problem(p, "it is not a table", "Remove it from the class.");
	}
	if (form->relpersistence == RELPERSISTENCE_UNLOGGED)
		return problem(p, "it is unlogged, so its changes are not in the WAL",
					   "Change it with: ALTER TABLE ... SET LOGGED.");
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		return problem(p, "it is a temporary table", "Remove it from the class.");
	if (form->relispartition || has_superclass(RelationGetRelid(rel)) ||
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		return problem(p, "it takes part in inheritance or partitioning",
					   "Use a plain table; the data class itself divides the rows.");
	if (IsCatalogRelation(rel) ||
		RelationGetNamespace(rel) == get_namespace_oid("meridian", true))
		return problem(p, "it belongs to the system", "Remove it from the class.");
	return true;
}

static bool
check_partition_column(Relation rel, const char *column, MeridianProblem *p)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), column);
	Form_pg_attribute att;
	Oid			type;

	if (attno <= 0)
		return problem(p, psprintf("it has no column \"%s\", by which the class is partitioned", column),
					   "Add the column, as text NOT NULL, to the table and its primary key.");
	att = TupleDescAttr(RelationGetDescr(rel), attno - 1);
	type = getBaseType(att->atttypid);
	if (type != TEXTOID && type != VARCHAROID)
		return problem(p, psprintf("its partition column \"%s\" is of type %s", column,
								   format_type_be(att->atttypid)),
					   "The partition column must be text or character varying.");
	if (att->attgenerated)
		return problem(p, psprintf("its partition column \"%s\" is generated", column),
					   "The partition column must be an ordinary column.");
	if (!att->attnotnull)
		return problem(p, psprintf("its partition column \"%s\" may be null", column),
					   "Change it with: ALTER TABLE ... ALTER COLUMN ... SET NOT NULL.");
	return true;
}

static bool
index_has_key(Relation index, AttrNumber attno)
{
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
		if (index->rd_index->indkey.values[i] == attno)
			return true;
	return false;
}

/* One index; *usable_key is set when it is the identity that we need. */
static bool
check_index(Relation rel, Relation index, AttrNumber partition_attno,
			const char *partition_by, bool *usable_key, MeridianProblem *p)
{
	Form_pg_index form = index->rd_index;

	if (form->indisexclusion)
		return problem(p, psprintf("it has the exclusion constraint \"%s\"",
								   RelationGetRelationName(index)),
					   "Drop the constraint: copies cannot decide it in the order of the home.");
	if (form->indisprimary)
	{
		if (!form->indimmediate)
			return problem(p, "its primary key is deferrable",
						   "Make the primary key NOT DEFERRABLE.");
		if (partition_attno != 0 && !index_has_key(index, partition_attno))
			return problem(p, psprintf("its primary key does not contain the partition column \"%s\"",
									   partition_by),
						   "Add the partition column to the primary key, so that ids of different homes cannot collide.");
		*usable_key = form->indisvalid;
	}
	else if (form->indisunique && partition_attno != 0 &&
			 !index_has_key(index, partition_attno))
		return problem(p, psprintf("its unique index \"%s\" does not contain the partition column \"%s\"",
								   RelationGetRelationName(index), partition_by),
					   "Add the partition column to the index: two homes could otherwise accept the same value.");
	return true;
}

static bool
check_indexes(Relation rel, const char *partition_by, MeridianProblem *p)
{
	AttrNumber	attno = partition_by == NULL ? 0 :
		get_attnum(RelationGetRelid(rel), partition_by);
	List	   *indexes = RelationGetIndexList(rel);
	bool		usable_key = false;
	bool		ok = true;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		ok = check_index(rel, index, attno, partition_by, &usable_key, p);
		index_close(index, AccessShareLock);
		if (!ok)
			break;
	}
	list_free(indexes);
	if (ok && !usable_key)
		return problem(p, "it has no primary key", "Add one with: ALTER TABLE ... ADD PRIMARY KEY.");
	return ok;
}

/*
 * BEFORE ROW triggers fire in the order of their names; one after ours could
 * still change the partition column that ours has checked.
 */
static bool
check_triggers(Relation rel, MeridianProblem *p)
{
	TriggerDesc *desc = rel->trigdesc;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		const Trigger *t = &desc->triggers[i];

		if (TRIGGER_FOR_ROW(t->tgtype) && TRIGGER_FOR_BEFORE(t->tgtype) &&
			(TRIGGER_FOR_INSERT(t->tgtype) || TRIGGER_FOR_UPDATE(t->tgtype)) &&
			strcmp(t->tgname, TRIGGER_ROW) > 0)
			return problem(p, psprintf("its trigger \"%s\" would run after the guard", t->tgname),
						   "Rename the trigger so that it sorts before \"" TRIGGER_ROW "\".");
	}
	return true;
}

bool
meridian_check_table(Relation rel, const char *partition_by, MeridianProblem *p)
{
	if (!check_kind(rel, p))
		return false;
	if (partition_by != NULL &&
		(!check_partition_column(rel, partition_by, p) || !check_triggers(rel, p)))
		return false;
	return check_indexes(rel, partition_by, p);
}

/*
 * Attaching
 */

static const Trigger *
find_trigger(Relation rel, const char *name)
{
	TriggerDesc *desc = rel->trigdesc;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
		if (strcmp(desc->triggers[i].tgname, name) == 0)
			return &desc->triggers[i];
	return NULL;
}

static bool
trigger_intact(Relation rel, const char *name, const char *function, int16 type,
			   const char *class_name, const char *partition_by)
{
	const Trigger *t = find_trigger(rel, name);
	List	   *fname = list_make2(makeString("meridian"), makeString(pstrdup(function)));

	return t != NULL && t->tgenabled == TRIGGER_FIRES_ALWAYS && t->tgtype == type &&
		t->tgfoid == LookupFuncName(fname, 0, NULL, true) && t->tgqual == NULL &&
		t->tgnattr == 0 &&
		t->tgnargs == (partition_by == NULL ? 1 : 2) &&
		strcmp(t->tgargs[0], class_name) == 0 &&
		(partition_by == NULL || strcmp(t->tgargs[1], partition_by) == 0);
}

bool
meridian_guard_intact(Relation rel, const char *class_name, const char *partition_by)
{
	const int16 rows = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;

	if (rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
		return false;
	if (partition_by == NULL)
		return trigger_intact(rel, TRIGGER_STATEMENT, "guard",
							  TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE | rows,
							  class_name, NULL);
	return trigger_intact(rel, TRIGGER_STATEMENT, "guard",
						  TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE,
						  class_name, partition_by) &&
		trigger_intact(rel, TRIGGER_ROW, "guard_row",
					   TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | rows,
					   class_name, partition_by);
}

static void
run(const char *sql)
{
	int			rc = SPI_execute(sql, false, 0);

	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(rc));
}

static char *
qualified(const char *schema, const char *table)
{
	return quote_qualified_identifier(schema, table);
}

static void
drop_triggers(Oid relid, const char *name)
{
	if (OidIsValid(get_trigger_oid(relid, TRIGGER_STATEMENT, true)))
		run(psprintf("DROP TRIGGER " TRIGGER_STATEMENT " ON %s", name));
	if (OidIsValid(get_trigger_oid(relid, TRIGGER_ROW, true)))
		run(psprintf("DROP TRIGGER " TRIGGER_ROW " ON %s", name));
}

static void
create_triggers(const char *name, const char *class_name, const char *partition_by)
{
	const char *args = quote_literal_cstr(class_name);
	const char *rows = "INSERT OR UPDATE OR DELETE";

	if (partition_by != NULL)
		args = psprintf("%s, %s", args, quote_literal_cstr(partition_by));
	run(psprintf("CREATE TRIGGER " TRIGGER_STATEMENT " BEFORE %s%sTRUNCATE ON %s "
				 "FOR EACH STATEMENT EXECUTE FUNCTION meridian.guard(%s)",
				 partition_by == NULL ? rows : "", partition_by == NULL ? " OR " : "",
				 name, args));
	run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " TRIGGER_STATEMENT, name));
	if (partition_by == NULL)
		return;
	run(psprintf("CREATE TRIGGER " TRIGGER_ROW " BEFORE %s ON %s "
				 "FOR EACH ROW EXECUTE FUNCTION meridian.guard_row(%s)",
				 rows, name, args));
	run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " TRIGGER_ROW, name));
}

/* true: it is new */
static bool
record_attachment(Oid relid, const char *class_name, const char *partition_by)
{
	const char *c = quote_literal_cstr(class_name);
	const char *by = partition_by == NULL ? "NULL" : quote_literal_cstr(partition_by);

	/* ON CONFLICT does not work on user catalog tables */
	run(psprintf("DELETE FROM meridian.attachment WHERE relid = %u "
				 "AND (class, partition_by) IS DISTINCT FROM (%s, %s)", relid, c, by));
	run(psprintf("INSERT INTO meridian.attachment SELECT %u, %s, %s WHERE NOT EXISTS "
				 "(SELECT FROM meridian.attachment WHERE relid = %u)", relid, c, by, relid));
	return SPI_processed > 0;
}

static bool
is_empty(const char *name)
{
	run(psprintf("SELECT FROM ONLY %s LIMIT 1", name));
	return SPI_processed == 0;
}

static void
mark(Oid relid, const char *partition, int64 epoch)
{
	run(psprintf("INSERT INTO meridian.copied (relid, partition, epoch) VALUES (%u, %s, "
				 INT64_FORMAT ") ON CONFLICT (relid, partition) DO UPDATE SET "
				 "epoch = excluded.epoch, copied_at = excluded.copied_at, reached = NULL",
				 relid, quote_literal_cstr(partition), epoch));
}

/* Does this region say what is in the partition?  Not before it opened it, if another had it before. */
static bool
is_home(const struct mrd_snapshot *s, const char *class_name, const struct mrd_snap_partition *p)
{
	const struct mrd_authority *a = &p->authority;

	if (a->region != s->self || a->state == MRD_AUTH_VACANT)
		return false;
	if (a->history_count == 0)
		return true;
	run(psprintf("SELECT FROM meridian.promotion WHERE class = %s AND partition = %s "
				 "AND opened_epoch >= " UINT64_FORMAT, quote_literal_cstr(class_name),
				 quote_literal_cstr(p->name), a->epoch));
	return SPI_processed > 0;
}

/* Is it elsewhere that a table of this class is created first, and may be filled? */
static bool
is_defined_elsewhere(const struct mrd_snapshot *s, int class)
{
	int			n = mrd_snapshot_find(s, MRD_CLASS_SCHEMA, NULL);
	mrd_region	home = n < 0 ? s->self : s->partitions[n].authority.region;

	return home != s->self && home < s->region_count &&
		(s->classes[class].replicas & (1u << home)) != 0;
}

static bool
has_rows(const char *name, const char *partition_by, const struct mrd_snap_partition *p)
{
	run(psprintf("SELECT FROM ONLY %s WHERE %s LIMIT 1", name, partition_by == NULL ? "true" :
				 psprintf("%s = %s", quote_identifier(partition_by), quote_literal_cstr(p->name))));
	return SPI_processed > 0;
}

/* A table that was there before: whoever takes our stream is to copy it, wherever it got to. */
static void
announce(Oid relid, const char *class_name, const struct mrd_snap_partition *p)
{
	const char *c = quote_literal_cstr(class_name);
	const char *partition = quote_literal_cstr(p->name);

	run(psprintf("SELECT meridian.emit_stamp(%s, %s, " UINT64_FORMAT "), "
				 "meridian.emit_left_out(%s, %u, %s)", c, partition, p->authority.epoch,
				 c, relid, partition));
}

/*
 * The newly attached table's rows that need not be copied from elsewhere: all,
 * if it was created in this very transaction, because then it has none
 * anywhere; else those that this region is home of.  But a table that is only being
 * copied has none yet, and who copies it says what it got (copy.c).  And one that is
 * there and empty may have been filled where the schema is defined, which creates it
 * everywhere: then those rows are to come from there before it counts.
 */
static void
mark_present(Oid relid, const char *name, const char *class_name, const char *partition_by,
			 bool created, bool left_out)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			class = s == NULL ? -1 : mrd_snapshot_class(s, class_name);
	bool		copied = created && meridian_restoring;
	bool		fresh = created && !meridian_restoring && is_empty(name);

	/* what an earlier attachment left says nothing about now */
	run(psprintf("DELETE FROM meridian.copied WHERE relid = %u", relid));
	if (class < 0)
		return;
	for (int i = s->classes[class].first; i < s->classes[class].first + s->classes[class].count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		bool		home = !copied && is_home(s, class_name, p);

		if (home && !fresh && (left_out ||
							   (is_defined_elsewhere(s, class) && !has_rows(name, partition_by, p))))
		{
			mark(relid, p->name, -1);
			continue;
		}
		if (home || fresh)
			mark(relid, p->name, home ? (int64) p->authority.epoch : 0);
		if (home && !created && replorigin_session_origin == InvalidRepOriginId)
			announce(relid, class_name, p);
	}
}

/* The words are those of ddl.c, which says so at once. */
static bool
absent(const char *schema, const char *table, MeridianProblem *p)
{
	run(psprintf("SELECT FROM meridian.dropped WHERE schema_name = %s AND table_name = %s",
				 quote_literal_cstr(schema), quote_literal_cstr(table)));
	if (SPI_processed > 0)
		return problem(p, "it was dropped",
					   "It is attached again when it is created; or remove it from the class.");
	return problem(p, "it does not exist yet", "It is attached when it is created.");
}

/* Returns true when the table is attached afterwards; *p says why it is not. */
static bool
attach_table(const char *schema, const char *table, const char *class_name,
			 const char *partition_by, MeridianProblem *p)
{
	char	   *name = qualified(schema, table);
	RangeVar   *rv = makeRangeVar(pstrdup(schema), pstrdup(table), -1);
	Oid			relid = RangeVarGetRelid(rv, AccessShareLock, true);
	Relation	rel;
	bool		fit;
	bool		intact;
	bool		created;

	if (!OidIsValid(relid))
		return absent(schema, table, p);
	if (get_rel_relkind(relid) == RELKIND_INDEX ||
		get_rel_relkind(relid) == RELKIND_COMPOSITE_TYPE)
		return problem(p, "it is not a table", "Remove it from the class.");
	rel = table_open(relid, NoLock);
	fit = meridian_check_table(rel, partition_by, p);
	intact = fit && meridian_guard_intact(rel, class_name, partition_by);
	created = rel->rd_createSubid != InvalidSubTransactionId;
	table_close(rel, NoLock);
	if (!fit)
		return false;
	if (!intact)
	{
		run(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", name));
		drop_triggers(relid, name);
		create_triggers(name, class_name, partition_by);
	}
	if (record_attachment(relid, class_name, partition_by))
	{
		run(psprintf("DELETE FROM meridian.dropped WHERE schema_name = %s AND table_name = %s",
					 quote_literal_cstr(schema), quote_literal_cstr(table)));
		/* from now on its marks say what is here of it */
		run(psprintf("DELETE FROM meridian.missing WHERE schema_name = %s AND table_name = %s",
					 quote_literal_cstr(schema), quote_literal_cstr(table)));
		mark_present(relid, name, class_name, partition_by, created, SPI_processed > 0);
	}
	return true;
}

/*
 * Tables that left the configuration, or that were dropped, are let go.  What is
 * missing of them, only the schema's home decides: others may have an older
 * configuration than the region whose changes they left out.
 */
static void
detach_unnamed(void)
{
	SPITupleTable *rows;
	uint64		n;

	if (meridian_is_schema_home(meridian_region))
		run("DELETE FROM meridian.missing m WHERE NOT EXISTS (SELECT FROM meridian.table_config t "
			"WHERE t.schema_name = m.schema_name AND t.table_name = m.table_name)");
	run("SELECT a.relid, n.nspname, c.relname FROM meridian.attachment a "
		"LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.relid "
		"LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
		"WHERE NOT EXISTS (SELECT FROM meridian.table_config t "
		"WHERE t.schema_name = n.nspname AND t.table_name = c.relname)");
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		char	   *relid = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);
		char	   *schema = SPI_getvalue(rows->vals[i], rows->tupdesc, 2);
		char	   *table = SPI_getvalue(rows->vals[i], rows->tupdesc, 3);

		if (table != NULL)
			drop_triggers((Oid) strtoul(relid, NULL, 10), qualified(schema, table));
		run(psprintf("DELETE FROM meridian.attachment WHERE relid = %s", relid));
		run(psprintf("DELETE FROM meridian.copied WHERE relid = %s", relid));
	}
}

static void
note_problem(const char *schema, const char *table, const MeridianProblem *p)
{
	const char *text = p->text == NULL ? "NULL" : quote_literal_cstr(p->text);
	const char *hint = p->text == NULL ? "NULL" : quote_literal_cstr(p->hint);

	run(psprintf("UPDATE meridian.table_config SET problem = %s, hint = %s "
				 "WHERE schema_name = %s AND table_name = %s "
				 "AND problem IS DISTINCT FROM %s",
				 text, hint, quote_literal_cstr(schema), quote_literal_cstr(table), text));
}

static void
attach_named(void)
{
	SPITupleTable *rows;
	uint64		n;

	run("SELECT t.schema_name, t.table_name, t.class, "
		"CASE WHEN c.posture = 'partitioned' THEN c.partition_by END "
		"FROM meridian.table_config t JOIN meridian.class_config c ON c.name = t.class "
		"ORDER BY 1, 2");
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		char	   *schema = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);
		char	   *table = SPI_getvalue(rows->vals[i], rows->tupdesc, 2);
		MeridianProblem p = {NULL, NULL};

		(void) attach_table(schema, table, SPI_getvalue(rows->vals[i], rows->tupdesc, 3),
							SPI_getvalue(rows->vals[i], rows->tupdesc, 4), &p);
		note_problem(schema, table, &p);
	}
}

void
meridian_as_superuser(void (*fn) (void *arg), void *arg)
{
	Oid			saved_user;
	int			saved_context;
	int			nest = NewGUCNestLevel();

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
						   saved_context | SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* an error undoes all three with its (sub)transaction */
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	fn(arg);
	SPI_finish();
	AtEOXact_GUC(true, nest);
	SetUserIdAndSecContext(saved_user, saved_context);
}

static void
attach_all(void *arg)
{
	/* one at a time: the agent, an apply worker and a user may come together */
	run("LOCK TABLE meridian.attachment IN SHARE ROW EXCLUSIVE MODE");
	detach_unnamed();
	attach_named();
}

void
meridian_attach_all(void)
{
	bool		saved = meridian_attaching;

	meridian_attaching = true;
	PG_TRY();
	{
		meridian_as_superuser(attach_all, NULL);
	}
	PG_FINALLY();
	{
		meridian_attaching = saved;
	}
	PG_END_TRY();
}

Datum
meridian_attach_all_sql(PG_FUNCTION_ARGS)
{
	meridian_attach_all();
	PG_RETURN_VOID();
}
