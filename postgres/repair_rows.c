/*-------------------------------------------------------------------------
 *
 * repair_rows.c
 *	  What the rows that a lost tail touched are here, as repair messages.
 *
 * Which rows these are, the images of its entries say: their keys, and nothing else
 * is read of an image, since the rest may not fit the table any more.  A lost
 * TRUNCATE touched every row; those are sent in the order of their keys, a batch at
 * a time.
 *
 * The rows are read while a table lock keeps writers out, and the message is
 * written before the lock is released; so whatever is written to a row later
 * comes after the repair in the home's WAL, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "replication/message.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "repair.h"

#define MESSAGE_TARGET (1024 * 1024)	/* rows of one repair message, in bytes */

/* The table of a batch, and how its rows are asked for. */
typedef struct Table
{
	Relation	rel;
	char	   *name;			/* quoted */
	char	   *partition_by;	/* quoted; NULL: not partitioned */
	int			nkeys;
	AttrNumber	keys[INDEX_MAX_KEYS];
	int			natts;			/* columns that travel */
	AttrNumber *atts;
} Table;

/* ----------------------------------------------------------------
 * the table
 * ----------------------------------------------------------------
 */

static bool
open_keys(Table *t)
{
	Oid			oid = meridian_identity_index(t->rel);
	Relation	index;

	if (!OidIsValid(oid))
		return false;
	index = index_open(oid, AccessShareLock);
	t->nkeys = index->rd_index->indnkeyatts;
	memcpy(t->keys, index->rd_index->indkey.values, sizeof(AttrNumber) * (size_t) t->nkeys);
	index_close(index, AccessShareLock);
	return true;
}

/*
 * Lock the batch's table against writers.  false: there is none here that
 * belongs to the class, as when the tail made it, and no row to compare with.
 */
static bool
open_table(Table *t, const MeridianRepairBatch *b)
{
	MeridianAttachment a;
	TupleDesc	desc;

	memset(t, 0, sizeof(*t));
	if (b->relation[0] == '\0')
		return false;			/* a statement */
	t->rel = table_openrv_extended(makeRangeVarFromNameList(stringToQualifiedNameList(b->relation)),
								   ShareRowExclusiveLock, true);
	if (t->rel == NULL)
		return false;
	if (!meridian_attachment(t->rel, &a) || strcmp(a.class_name, b->class_name) != 0 || !open_keys(t))
	{
		table_close(t->rel, NoLock);
		return false;
	}
	t->name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(t->rel)),
										 RelationGetRelationName(t->rel));
	if (a.partition_by[0] != '\0')
		t->partition_by = pstrdup(quote_identifier(a.partition_by));
	desc = RelationGetDescr(t->rel);
	t->atts = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attgenerated == '\0')
			t->atts[t->natts++] = att->attnum;
	}
	return true;
}

static Form_pg_attribute
attribute(const Table *t, AttrNumber attno)
{
	return TupleDescAttr(RelationGetDescr(t->rel), attno - 1);
}

static int
key_position(const Table *t, AttrNumber attno)
{
	for (int i = 0; i < t->nkeys; i++)
	{
		if (t->keys[i] == attno)
			return i;
	}
	return -1;
}

/* "alias.a, alias.b" of the key columns */
static char *
key_list(const Table *t, const char *alias)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < t->nkeys; i++)
		appendStringInfo(&out, "%s%s.%s", i == 0 ? "" : ", ", alias,
						 quote_identifier(NameStr(attribute(t, t->keys[i])->attname)));
	return out.data;
}

/* "a type, b type": of an image nothing else is read, since the rest may not fit any more */
static char *
key_definition(const Table *t)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < t->nkeys; i++)
	{
		Form_pg_attribute att = attribute(t, t->keys[i]);

		appendStringInfo(&out, "%s%s %s", i == 0 ? "" : ", ", quote_identifier(NameStr(att->attname)),
						 format_type_be_qualified(att->atttypid));
	}
	return out.data;
}

/* The columns that every query for rows gives: the key, whether a row has it, the row. */
static void
put_columns(StringInfo sql, const Table *t, const char *alias)
{
	appendStringInfo(sql, "SELECT %s, t.tableoid IS NOT NULL", key_list(t, alias));
	for (int i = 0; i < t->natts; i++)
		appendStringInfo(sql, ", t.%s",
						 quote_identifier(NameStr(attribute(t, t->atts[i])->attname)));
}

/* The rows that the batch's images name, as they are here now. */
static int
find_named(const Table *t, const MeridianRepairBatch *b)
{
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];
	StringInfoData sql;

	initStringInfo(&sql);
	put_columns(&sql, t, "k");
	appendStringInfo(&sql, " FROM (SELECT DISTINCT %s FROM meridian.reconcile_entry e "
					 "JOIN ROWS FROM (pg_catalog.unnest($3::pg_catalog.pg_lsn[]), "
					 "pg_catalog.unnest($4::int[])) AS w(lsn, n) ON e.commit_lsn = w.lsn AND e.seq = w.n, "
					 "LATERAL (VALUES (e.before), (e.after)) AS v(image), "
					 "LATERAL pg_catalog.jsonb_to_record(v.image) AS r(%s) "
					 "WHERE e.origin = $1 AND e.relation = $2 AND v.image IS NOT NULL) AS k "
					 "LEFT JOIN ONLY %s AS t ON (%s) = (%s)",
					 key_list(t, "r"), key_definition(t), t->name, key_list(t, "t"), key_list(t, "k"));
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->relation);
	values[2] = CStringGetTextDatum(b->lsns.data);
	values[3] = CStringGetTextDatum(b->seqs.data);
	return meridian_sql_run(sql.data, 4, types, values);
}

/* After a lost TRUNCATE: all rows of the partition, the next after b->last. */
static int
find_next(const Table *t, const MeridianRepairBatch *b)
{
	StringInfoData sql;
	const char *keys = key_list(t, "t");

	initStringInfo(&sql);
	put_columns(&sql, t, "t");
	appendStringInfo(&sql, " FROM ONLY %s AS t WHERE true", t->name);
	if (t->partition_by != NULL)
		appendStringInfo(&sql, " AND t.%s = %s", t->partition_by, quote_literal_cstr(b->partition));
	if (b->resumed)
	{
		appendStringInfo(&sql, " AND (%s) > (", keys);
		for (int i = 0; i < t->nkeys; i++)
			appendStringInfo(&sql, "%s%s::%s", i == 0 ? "" : ", ", quote_literal_cstr(b->last[i]),
							 format_type_be_qualified(attribute(t, t->keys[i])->atttypid));
		appendStringInfoChar(&sql, ')');
	}
	appendStringInfo(&sql, " ORDER BY %s LIMIT %d", keys, MERIDIAN_REPAIR_ENTRIES);
	return meridian_sql_run(sql.data, 0, NULL, NULL);
}

/* ----------------------------------------------------------------
 * messages
 * ----------------------------------------------------------------
 */

void
meridian_repair_emit(const char *prefix, MeridianWireOut *out)
{
	if (out->failed)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a row is too large for a repair")));
	(void) LogLogicalMessage(prefix, (const char *) out->data, out->len, true);
	out->len = 0;
}

static void
put_value(MeridianWireOut *out, const char *value)
{
	if (value == NULL)
		meridian_wire_put_col(out, MERIDIAN_COL_NULL, NULL, 0);
	else
		meridian_wire_put_col(out, MERIDIAN_COL_TEXT, value, strlen(value));
}

static void
put_row(MeridianWireOut *out, const Table *t, int row)
{
	bool		found = DatumGetBool(meridian_sql_datum(row, t->nkeys + 1));

	meridian_wire_put_natts(out, t->natts);
	for (int i = 0; i < t->natts; i++)
	{
		int			key = key_position(t, t->atts[i]);

		put_value(out, key < 0 ? NULL : meridian_sql_text(row, key + 1));
	}
	meridian_wire_put_repair_image(out, found);
	if (!found)
		return;
	meridian_wire_put_natts(out, t->natts);
	for (int i = 0; i < t->natts; i++)
		put_value(out, meridian_sql_text(row, t->nkeys + 2 + i));
}

static void
put_head(MeridianWireOut *out, const Table *t, const MeridianRepairBatch *b)
{
	meridian_wire_put_repair(out, b->class_name, meridian_apply.origin,
							 get_namespace_name(RelationGetNamespace(t->rel)),
							 RelationGetRelationName(t->rel), t->natts);
	for (int i = 0; i < t->natts; i++)
	{
		Form_pg_attribute att = attribute(t, t->atts[i]);

		meridian_wire_put_attr(out, NameStr(att->attname), format_type_be(att->atttypid),
							   key_position(t, t->atts[i]) < 0 ? 0 : MERIDIAN_ATTR_KEY, 0);
	}
}

/* The rows of the last query. */
static void
emit_rows(const Table *t, const MeridianRepairBatch *b, int rows)
{
	MeridianWireOut out;

	meridian_wire_out_init(&out);
	for (int row = 0; row < rows; row++)
	{
		if (out.len == 0)
			put_head(&out, t, b);
		put_row(&out, t, row);
		if (out.failed || out.len >= MESSAGE_TARGET)
			meridian_repair_emit(MERIDIAN_REPAIR_PREFIX, &out);
	}
	if (out.len > 0)
		meridian_repair_emit(MERIDIAN_REPAIR_PREFIX, &out);
	pfree(out.data);
}

/* Where the next rows after a lost TRUNCATE begin; false: there are none. */
static bool
remember_last(MeridianRepairBatch *b, const Table *t, int rows)
{
	MemoryContext old = MemoryContextSwitchTo(b->context);

	for (int i = 0; i < t->nkeys && rows == MERIDIAN_REPAIR_ENTRIES; i++)
		b->last[i] = meridian_sql_text(rows - 1, i + 1);
	b->resumed = rows == MERIDIAN_REPAIR_ENTRIES;
	MemoryContextSwitchTo(old);
	return b->resumed;
}

/*
 * Say what rows of the batch are here now: those that its entries name, or the next
 * after a lost TRUNCATE.  True if there may be more of these.
 */
bool
meridian_repair_rows(MeridianRepairBatch *b)
{
	Table		t;
	int			rows;
	bool		more;

	if (!open_table(&t, b))
		return false;
	rows = b->truncate ? find_next(&t, b) : find_named(&t, b);
	emit_rows(&t, b, rows);
	more = b->truncate && remember_last(b, &t, rows);
	table_close(t.rel, NoLock);
	return more;
}
