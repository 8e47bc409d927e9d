/*-------------------------------------------------------------------------
 *
 * repair.c
 *	  What follows from a lost tail: the old home's copy becomes the others' again,
 *	  and every region has the same queue.
 *
 * Filed entries (tail.c) wait here for whoever is home of their partition.  The
 * home tells all regions of each entry, the one that lost it included, and
 * sends the old home its own present image of every row that the tail touched;
 * the old home makes its copy equal to it.  That happens between transactions
 * of the old home's stream, in transactions of the home's own: they carry no
 * origin, or they would be filtered out of the stream to that region.
 *
 * The image is read while a table lock keeps writers out, and the message is
 * written before the lock is released; so whatever is written to the row later
 * comes after the repair in the home's WAL, too.
 *
 * A repair is stamped with the home's epoch like any write.  If that home was
 * itself replaced before the others had the repair, it is past the cut and
 * counts nowhere.  An entry therefore says under which epoch it was repaired,
 * as far as this region knows, and a home sends what is not known to be: when
 * it is promoted, when the origin's stream starts, when an entry arrives late.
 * A repair may be repeated: it says what a row is, not how it changes.
 *
 * The order of steps, for a crash between any two of them: an entry is filed;
 * its repair is committed; the entry is marked.  The next pass sends again what
 * is not marked.
 *
 * What the others make of these messages is in repaired.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "apply.h"
#include "guard.h"

#define BATCH_ENTRIES 100		/* repaired under one lock */
#define MESSAGE_TARGET (1024 * 1024)	/* rows of one repair message, in bytes */
#define LOCK_WAIT "1s"			/* writers behind us wait as long */
#define AGAIN_MS 500			/* after a lock was not to be had */

/* ----------------------------------------------------------------
 * when
 * ----------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(meridian_forget_lost_repairs);

static bool fresh = true;		/* what was given up or marked before is looked at anew */
static uint64 seen_authorities; /* as of the last pass */
static TimestampTz not_before;	/* the next pass */

void
meridian_repairs_begin(void)
{
	fresh = true;
	not_before = 0;
}

void
meridian_repairs_expect(const char *origin)
{
	MeridianStream *s;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	s = meridian_stream_find(origin);
	if (s != NULL)
		s->repairs = true;
	LWLockRelease(meridian_streams->lock);
}

/* Differs whenever any partition's home, epoch or state does. */
static uint64
fingerprint(const struct mrd_snapshot *s)
{
	uint64		h = UINT64CONST(14695981039346656037);

	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;
		uint64		words[] = {a->epoch, a->region, a->state};

		for (int n = 0; n < lengthof(words); n++)
			h = (h ^ words[n]) * UINT64CONST(1099511628211);
	}
	return h;
}

bool
meridian_repairs_due(const struct mrd_snapshot *s)
{
	uint64		authorities = fingerprint(s);

	if (authorities != seen_authorities)
		fresh = true;
	seen_authorities = authorities;
	if (!fresh && !meridian_apply.stream->repairs)
		return false;
	return mrd_may_apply(s, meridian_boot_ns()) && meridian_instant() >= not_before;
}

static void
try_again(void)
{
	meridian_repairs_expect(meridian_apply.origin);
	not_before = TimestampTzPlusMilliseconds(meridian_instant(), AGAIN_MS);
}

/* ----------------------------------------------------------------
 * sending
 * ----------------------------------------------------------------
 */

/* Entries of one table and partition that are repaired together. */
typedef struct Batch
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	mrd_epoch	epoch;
	char	   *relation;
	bool		truncate;		/* the one entry stands for every row of the home's */
	int			limit;			/* of entries */
	int			count;
	StringInfoData lsns;		/* which entries: array literals */
	StringInfoData seqs;
	bool		resumed;		/* truncate: rows up to last were sent already */
	char	   *last[INDEX_MAX_KEYS];
	MemoryContext context;
} Batch;

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

typedef enum Outcome
{
	NOTHING_LEFT,
	SENT,						/* there may be more */
	DIVIDE,						/* one of them cannot be repaired: find out which */
	LATER						/* a lock is not to be had, or the home changed */
} Outcome;

static const char unrepaired[] =
"FROM meridian.reconcile_entry WHERE origin = $1 AND class = $2 AND partition = $3 "
"AND repaired_epoch IS NULL AND problem IS NULL ";

static int
execute(const char *sql, int n, Oid *types, Datum *values)
{
	int			rc = SPI_execute_with_args(sql, n, types, values, NULL, false, 0);

	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(rc));
	return (int) SPI_processed;
}

/* ---- the table ---- */

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
open_table(Table *t, const Batch *b)
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
find_named(const Table *t, const Batch *b)
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
	return execute(sql.data, 4, types, values);
}

/* After a lost TRUNCATE: all rows of the partition, the next after b->last. */
static int
find_next(const Table *t, const Batch *b)
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
	appendStringInfo(&sql, " ORDER BY %s LIMIT %d", keys, BATCH_ENTRIES);
	return execute(sql.data, 0, NULL, NULL);
}

/* ---- messages ---- */

static void
emit(const char *prefix, MeridianWireOut *out)
{
	if (out->failed)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a row is too large for a repair")));
	(void) LogLogicalMessage(prefix, (const char *) out->data, out->len, true);
	out->len = 0;
}

static void
emit_stamp(const Batch *b)
{
	MeridianWireStamp *stamp = palloc(sizeof(*stamp));
	MeridianWireOut out;

	stamp->count = 1;
	strlcpy(stamp->entries[0].class_name, b->class_name, MRD_NAME_MAX);
	strlcpy(stamp->entries[0].partition, b->partition, MRD_NAME_MAX);
	stamp->entries[0].epoch = b->epoch;
	meridian_wire_out_init(&out);
	meridian_wire_put_stamp(&out, stamp);
	emit(MERIDIAN_STAMP_PREFIX, &out);
	pfree(stamp);
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
put_head(MeridianWireOut *out, const Table *t, const Batch *b)
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
emit_rows(const Table *t, const Batch *b, int rows)
{
	MeridianWireOut out;

	meridian_wire_out_init(&out);
	for (int row = 0; row < rows; row++)
	{
		if (out.len == 0)
			put_head(&out, t, b);
		put_row(&out, t, row);
		if (out.failed || out.len >= MESSAGE_TARGET)
			emit(MERIDIAN_REPAIR_PREFIX, &out);
	}
	if (out.len > 0)
		emit(MERIDIAN_REPAIR_PREFIX, &out);
	pfree(out.data);
}

/* ---- entries ---- */

/* Keep which entries the last query gave. */
static void
name_entries(Batch *b)
{
	MemoryContext old = MemoryContextSwitchTo(b->context);

	initStringInfo(&b->lsns);
	initStringInfo(&b->seqs);
	b->count = (int) SPI_processed;
	for (int row = 0; row < b->count; row++)
	{
		appendStringInfo(&b->lsns, "%s%s", row == 0 ? "{" : ",", meridian_sql_text(row, 1));
		appendStringInfo(&b->seqs, "%s%s", row == 0 ? "{" : ",", meridian_sql_text(row, 2));
	}
	appendStringInfoString(&b->lsns, b->count == 0 ? "{}" : "}");
	appendStringInfoString(&b->seqs, b->count == 0 ? "{}" : "}");
	MemoryContextSwitchTo(old);
}

static void
emit_entry(const Batch *b, int row, MeridianWireOut *out)
{
	MeridianWireEntry *e = palloc0(sizeof(*e));
	const char *who = meridian_sql_text(row, 7);
	char	   *before = meridian_sql_text(row, 9);
	char	   *after = meridian_sql_text(row, 10);

	strlcpy(e->class_name, b->class_name, sizeof(e->class_name));
	strlcpy(e->partition, b->partition, sizeof(e->partition));
	strlcpy(e->origin, meridian_apply.origin, sizeof(e->origin));
	e->commit_lsn = DatumGetLSN(meridian_sql_datum(row, 1));
	e->seq = (uint32) DatumGetInt32(meridian_sql_datum(row, 2));
	e->epoch = (uint64) DatumGetInt64(meridian_sql_datum(row, 3));
	e->committed_at = DatumGetTimestampTz(meridian_sql_datum(row, 4));
	strlcpy(e->relation, b->relation, sizeof(e->relation));
	strlcpy(e->operation, meridian_sql_text(row, 5), sizeof(e->operation));
	strlcpy(e->status, meridian_sql_text(row, 6), sizeof(e->status));
	strlcpy(e->who, who == NULL ? "" : who, sizeof(e->who));
	e->decided_at = DatumGetTimestampTz(meridian_sql_datum(row, 8));
	e->before = before;
	e->before_len = before == NULL ? 0 : strlen(before);
	e->after = after;
	e->after_len = after == NULL ? 0 : strlen(after);
	meridian_wire_put_entry(out, e);
	emit(MERIDIAN_ENTRY_PREFIX, out);
	pfree(e);
}

/*
 * Which entries are next?  All of one table.  They stay locked, so that whoever
 * decides about one does it before we tell of it, or after.
 */
static bool
choose(Batch *b)
{
	Oid			types[6] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, INT4OID};
	Datum		values[6];
	MemoryContext old;

	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->class_name);
	values[2] = CStringGetTextDatum(b->partition);
	if (execute(psprintf("SELECT relation, operation = 'truncate' %s ORDER BY commit_lsn, seq LIMIT 1",
						 unrepaired), 3, types, values) == 0)
		return false;
	old = MemoryContextSwitchTo(b->context);
	b->relation = meridian_sql_text(0, 1);
	b->truncate = DatumGetBool(meridian_sql_datum(0, 2));
	MemoryContextSwitchTo(old);
	values[3] = CStringGetTextDatum(b->relation);
	values[4] = BoolGetDatum(b->truncate);
	values[5] = Int32GetDatum(b->truncate ? 1 : b->limit);
	(void) execute(psprintf("SELECT commit_lsn, seq, epoch, committed_at, operation, status, decided_by, "
							"decided_at, before::text, after::text %s AND relation = $4 "
							"AND (operation = 'truncate') = $5 ORDER BY commit_lsn, seq LIMIT $6 FOR UPDATE",
							unrepaired), 6, types, values);
	name_entries(b);
	return true;
}

static void
tell_entries(const Batch *b)
{
	MeridianWireOut out;

	meridian_wire_out_init(&out);
	for (int row = 0; row < b->count; row++)
		emit_entry(b, row, &out);
}

/* Where the next rows after a lost TRUNCATE begin; false: there are none. */
static bool
remember_last(Batch *b, const Table *t, int rows)
{
	MemoryContext old = MemoryContextSwitchTo(b->context);

	for (int i = 0; i < t->nkeys && rows == BATCH_ENTRIES; i++)
		b->last[i] = meridian_sql_text(rows - 1, i + 1);
	b->resumed = rows == BATCH_ENTRIES;
	MemoryContextSwitchTo(old);
	return b->resumed;
}

/* Is the partition still ours under that epoch?  A repair that is late is no repair. */
static bool
still_home(const Batch *b)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	struct mrd_verdict v = mrd_guard(s, mrd_snapshot_find(s, b->class_name, b->partition),
									 meridian_boot_ns());

	return v.allow && v.epoch == b->epoch;
}

static void
mark(const Batch *b, XLogRecPtr lsn)
{
	Oid			types[5] = {TEXTOID, TEXTOID, TEXTOID, INT8OID, LSNOID};
	Datum		values[5];

	meridian_sql_begin();
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->lsns.data);
	values[2] = CStringGetTextDatum(b->seqs.data);
	values[3] = Int64GetDatum((int64) b->epoch);
	values[4] = LSNGetDatum(lsn);
	(void) execute("UPDATE meridian.reconcile_entry e SET repaired_epoch = $4, repaired_lsn = $5 "
				   "FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.pg_lsn[]), "
				   "pg_catalog.unnest($3::int[])) AS w(lsn, n) "
				   "WHERE e.origin = $1 AND e.commit_lsn = w.lsn AND e.seq = w.n", 5, types, values);
	meridian_sql_end();
}

/* One step: the entries of a batch, or the next rows after a lost TRUNCATE. */
static Outcome
send_batch(Batch *b)
{
	Table		t;
	bool		more = false;
	XLogRecPtr	lsn;

	meridian_sql_begin();
	(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
	if (!b->resumed && !choose(b))
	{
		meridian_sql_end();
		return NOTHING_LEFT;
	}
	emit_stamp(b);
	if (!b->resumed)
		tell_entries(b);
	if (b->count > 0 && open_table(&t, b))
	{
		int			rows = b->truncate ? find_next(&t, b) : find_named(&t, b);

		emit_rows(&t, b, rows);
		more = b->truncate && remember_last(b, &t, rows);
		table_close(t.rel, NoLock);
	}
	if (!still_home(b))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the home of %s/%s changed", b->class_name, b->partition)));
	meridian_sql_end();
	lsn = XactLastCommitEnd;
	XLogFlush(lsn);
	meridian_fault("repair-sent");
	if (!more && b->count > 0)
		mark(b, lsn);
	return SENT;
}

/* The entry cannot be repaired.  That must not stop what comes behind it, but be said. */
static void
give_up(const Batch *b, const char *why)
{
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];

	if (b->count == 0)
		elog(ERROR, "could not repair what region \"%s\" lost: %s", meridian_apply.origin, why);
	meridian_sql_begin();
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(b->lsns.data);
	values[2] = CStringGetTextDatum(b->seqs.data);
	values[3] = CStringGetTextDatum(why);
	(void) execute("UPDATE meridian.reconcile_entry e SET problem = $4 "
				   "FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.pg_lsn[]), "
				   "pg_catalog.unnest($3::int[])) AS w(lsn, n) "
				   "WHERE e.origin = $1 AND e.commit_lsn = w.lsn AND e.seq = w.n", 4, types, values);
	meridian_sql_end();
}

static Outcome
try_batch(Batch *b)
{
	MemoryContext outer = CurrentMemoryContext;
	volatile Outcome ret = SENT;

	PG_TRY();
	{
		ret = send_batch(b);
	}
	PG_CATCH();
	{
		ErrorData  *e;

		MemoryContextSwitchTo(b->context);
		e = CopyErrorData();
		if (e->sqlerrcode == ERRCODE_QUERY_CANCELED || e->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		if (e->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
			ERRCODE_TO_CATEGORY(e->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
			ret = LATER;
		else if (b->count > 1)
			ret = DIVIDE;
		else
			give_up(b, e->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer);
	return ret;
}

static Batch *
new_batch(MemoryContext context, const char *class_name, const char *partition, mrd_epoch epoch,
		  int limit)
{
	Batch	   *b;

	MemoryContextReset(context);
	b = MemoryContextAllocZero(context, sizeof(*b));
	strlcpy(b->class_name, class_name, MRD_NAME_MAX);
	strlcpy(b->partition, partition, MRD_NAME_MAX);
	b->epoch = epoch;
	b->limit = limit;
	b->context = context;
	return b;
}

static void
send_partition(MemoryContext context, const char *class_name, const char *partition)
{
	Batch	   *b = NULL;
	int			alone = 0;		/* so many of the next are tried one by one */

	for (;;)
	{
		const struct mrd_snapshot *s = meridian_snapshot();
		struct mrd_verdict v = mrd_guard(s, mrd_snapshot_find(s, class_name, partition),
										 meridian_boot_ns());

		if (!v.allow)
		{
			if (s != NULL && v.home == s->self)
				try_again();	/* ours, but not at this moment */
			return;
		}
		if (b == NULL || !b->resumed || b->epoch != v.epoch)
			b = new_batch(context, class_name, partition, v.epoch,
						  alone > 0 ? 1 : BATCH_ENTRIES);
		switch (try_batch(b))
		{
			case NOTHING_LEFT:
				return;
			case SENT:
				alone = Max(alone - 1, 0);
				break;
			case DIVIDE:
				alone = b->count;
				break;
			case LATER:
				try_again();
				return;
		}
		if (!meridian_apply_stay())
		{
			try_again();
			return;
		}
	}
}

/* ---- a pass ---- */

Datum
meridian_text_array(const char **names, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(names[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * What we repaired ourselves past the cut of an epoch of ours is not repaired.
 * Of that origin; an empty name is all of them.
 */
static void
forget_lost(const struct mrd_snapshot *s, const char *origin)
{
	int			max = MRD_PARTITIONS_MAX * MRD_HISTORY_MAX;
	const char **classes = palloc(sizeof(char *) * max);
	const char **partitions = palloc(sizeof(char *) * max);
	StringInfoData epochs;
	StringInfoData cuts;
	Oid			types[5] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[5];
	int			n = 0;

	initStringInfo(&epochs);
	initStringInfo(&cuts);
	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		for (int h = 0; h < a->history_count; h++)
		{
			if (a->history[h].region != s->self)
				continue;
			appendStringInfo(&epochs, "%s" UINT64_FORMAT, n == 0 ? "{" : ",",
							 (uint64) a->history[h].epoch);
			appendStringInfo(&cuts, "%s%X/%X", n == 0 ? "{" : ",",
							 LSN_FORMAT_ARGS(a->history[h].cut));
			classes[n] = s->classes[s->partitions[i].class_index].name;
			partitions[n++] = s->partitions[i].name;
		}
	}
	if (n == 0)
		return;
	appendStringInfoChar(&epochs, '}');
	appendStringInfoChar(&cuts, '}');
	values[0] = CStringGetTextDatum(origin);
	values[1] = meridian_text_array(classes, n);
	values[2] = meridian_text_array(partitions, n);
	values[3] = CStringGetTextDatum(epochs.data);
	values[4] = CStringGetTextDatum(cuts.data);
	(void) execute("UPDATE meridian.reconcile_entry e SET repaired_epoch = NULL, repaired_lsn = NULL "
				   "FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), "
				   "pg_catalog.unnest($4::int8[]), pg_catalog.unnest($5::pg_catalog.pg_lsn[])) "
				   "AS h(class, partition, epoch, cut) "
				   "WHERE $1 IN (e.origin, '') AND e.class = h.class AND e.partition = h.partition "
				   "AND e.repaired_epoch = h.epoch AND e.repaired_lsn > h.cut", 5, types, values);
}

/*
 * For meridian.promote(): whoever is home again says how much is not repaired
 * from its first moment on, also where no worker has looked yet.
 */
Datum
meridian_forget_lost_repairs(PG_FUNCTION_ARGS)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	SPI_connect();
	if (s != NULL)
		forget_lost(s, "");
	SPI_finish();
	PG_RETURN_VOID();
}

static void
look_anew(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(meridian_apply.origin)};

	if (s != NULL)
		forget_lost(s, meridian_apply.origin);
	(void) execute("UPDATE meridian.reconcile_entry SET problem = NULL "
				   "WHERE origin = $1 AND problem IS NOT NULL AND repaired_epoch IS NULL", 1, types, values);
}

typedef struct Waiting
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
} Waiting;

/* The partitions with something to repair; statements first, rows may depend on them. */
static int
find_waiting(MemoryContext context, Waiting **ret)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	int			n;

	meridian_sql_begin();
	if (fresh)
		look_anew();
	values[0] = CStringGetTextDatum(meridian_apply.origin);
	values[1] = CStringGetTextDatum(MRD_CLASS_SCHEMA);
	n = execute("SELECT class, partition FROM meridian.reconcile_entry "
				"WHERE origin = $1 AND repaired_epoch IS NULL AND problem IS NULL "
				"GROUP BY class, partition ORDER BY class <> $2, class, partition", 2, types, values);
	*ret = MemoryContextAllocZero(context, sizeof(Waiting) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		strlcpy((*ret)[i].class_name, meridian_sql_text(i, 1), MRD_NAME_MAX);
		strlcpy((*ret)[i].partition, meridian_sql_text(i, 2), MRD_NAME_MAX);
	}
	meridian_sql_end();
	fresh = false;
	return n;
}

/* Called between transactions of the stream, when due, and without its origin. */
void
meridian_repairs_send(void)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext pass = AllocSetContextCreate(TopMemoryContext, "meridian repairs",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext context = AllocSetContextCreate(pass, "meridian repair batch",
												  ALLOCSET_DEFAULT_SIZES);
	Waiting    *waiting;
	int			n;

	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	meridian_apply.stream->repairs = false;
	LWLockRelease(meridian_streams->lock);
	n = find_waiting(pass, &waiting);
	if (n > 0)
		meridian_fault("tail-filed");
	for (int i = 0; i < n; i++)
		send_partition(context, waiting[i].class_name, waiting[i].partition);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(pass);
}
