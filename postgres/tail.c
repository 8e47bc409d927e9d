/*-------------------------------------------------------------------------
 *
 * tail.c
 *	  The lost tail: what a replaced home committed past its cut.
 *
 * Such a transaction is not applied.  Its rows go to meridian.reconcile_entry,
 * in every region that takes the stream, with their images before and after.
 * What follows from an entry, that the old home's copy is made equal to the
 * present home's, is repair.c's.
 *
 * A row is filed in the stream's own words: the column names that the origin
 * has, and each value as its own type writes it.  The local tables are not
 * looked at, so a lost ALTER TABLE cannot stop the stream behind it.
 *
 * Filing is a transaction under the origin, like any other: its commit record
 * carries the position, so each entry is filed once, whatever crashes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "apply.h"

static int	tail_seq;			/* of the next entry of this transaction */

/*
 * Called at the start of the transaction, before anything of it is applied.  0 is
 * its first entry's number in the origin's own stream.
 */
void
meridian_tail_begin(int first_seq)
{
	tail_seq = first_seq;
}

/* ----------------------------------------------------------------
 * entries
 * ----------------------------------------------------------------
 */

typedef struct Entry
{
	const char *class_name;
	const char *partition;
	uint64		epoch;
	const char *relation;
	const char *operation;
	const char *before;			/* JSON; NULL: none */
	const char *after;
} Entry;

static const char insert_entry[] =
"INSERT INTO meridian.reconcile_entry (origin, commit_lsn, seq, class, partition, epoch, "
"committed_at, relation, operation, before, after) "
"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::pg_catalog.jsonb, $11::pg_catalog.jsonb) "
"ON CONFLICT DO NOTHING";

static void
record(const Entry *e)
{
	Oid			types[11] = {TEXTOID, LSNOID, INT4OID, TEXTOID, TEXTOID, INT8OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[11];
	char		nulls[12] = "           ";

	values[0] = CStringGetTextDatum(meridian_apply.xact.origin);
	values[1] = LSNGetDatum(meridian_apply.xact.lsn);
	values[2] = Int32GetDatum(tail_seq++);
	values[3] = CStringGetTextDatum(e->class_name);
	values[4] = CStringGetTextDatum(e->partition);
	values[5] = Int64GetDatum((int64) e->epoch);
	values[6] = TimestampTzGetDatum(meridian_apply.xact.commit_time);
	values[7] = CStringGetTextDatum(e->relation);
	values[8] = CStringGetTextDatum(e->operation);
	values[9] = e->before == NULL ? (Datum) 0 : CStringGetTextDatum(e->before);
	values[10] = e->after == NULL ? (Datum) 0 : CStringGetTextDatum(e->after);
	if (e->before == NULL)
		nulls[9] = 'n';
	if (e->after == NULL)
		nulls[10] = 'n';
	SPI_connect();
	if (SPI_execute_with_args(insert_entry, 11, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.reconcile_entry");
	SPI_finish();
	meridian_repairs_expect(meridian_apply.xact.origin);
}

/* ----------------------------------------------------------------
 * images
 * ----------------------------------------------------------------
 */

/* A value of a built-in type, as that type is written in JSON. */
static void
put_json(StringInfo out, Oid type, Datum value)
{
	Expr	   *call = (Expr *) makeFuncExpr(F_TO_JSON, JSONOID,
											 list_make1(makeNullConst(type, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	FmgrInfo	to_json;
	text	   *json;

	fmgr_info(F_TO_JSON, &to_json);
	fmgr_info_set_expr((Node *) call, &to_json);
	json = DatumGetTextPP(FunctionCall1(&to_json, value));
	appendBinaryStringInfo(out, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

static void
put_binary(StringInfo out, const MeridianWireRelation *def, int i, const uint8_t *value, uint32 len)
{
	Oid			type = def->attrs[i].type;
	StringInfoData bytes;
	Oid			receive;
	Oid			param;
	Datum		datum;

	if (type == 0 || meridian_binary_type(type) != type)
		meridian_rows_malformed(def, i);
	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, (const char *) value, (int) len);
	getTypeBinaryInputInfo(type, &receive, &param);
	datum = OidReceiveFunctionCall(receive, &bytes, param, -1);
	if (bytes.cursor != bytes.len)
		meridian_rows_malformed(def, i);
	put_json(out, type, datum);
	pfree(bytes.data);
}

static void
put_text(StringInfo out, const uint8_t *value, uint32 len)
{
	pg_verifymbstr((const char *) value, (int) len, false);
	escape_json(out, pnstrdup((const char *) value, len));
}

/* One column; what did not travel with t is taken from rest, or left out. */
static void
put_column(StringInfo out, const MeridianWireRelation *def, int i, const MeridianWireTuple *t,
		   const MeridianWireTuple *rest)
{
	if (t->kind[i] == MERIDIAN_COL_UNCHANGED)
		t = rest;
	if (t == NULL || t->kind[i] == MERIDIAN_COL_UNCHANGED)
		return;
	if (out->data[out->len - 1] != '{')
		appendStringInfoString(out, ", ");
	escape_json(out, def->attrs[i].name);
	appendStringInfoString(out, ": ");
	if (t->kind[i] == MERIDIAN_COL_NULL)
		appendStringInfoString(out, "null");
	else if (t->kind[i] == MERIDIAN_COL_BINARY)
		put_binary(out, def, i, t->value[i], t->len[i]);
	else
		put_text(out, t->value[i], t->len[i]);
}

static char *
image(const MeridianWireRelation *def, const MeridianWireTuple *t, const MeridianWireTuple *rest)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < def->natts; i++)
		put_column(&out, def, i, t, rest);
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* ----------------------------------------------------------------
 * changes
 * ----------------------------------------------------------------
 */

static const char *
operation_name(MeridianWireType type)
{
	switch (type)
	{
		case MERIDIAN_WIRE_INSERT:
			return "insert";
		case MERIDIAN_WIRE_UPDATE:
			return "update";
		default:
			return "delete";
	}
}

/* One row of the lost transaction. */
void
meridian_tail_change(const MeridianWireMsg *msg)
{
	bool		is_delete = msg->type == MERIDIAN_WIRE_DELETE;
	const MeridianWireTuple *old_tuple = msg->has_old ? &msg->old_tuple : NULL;
	const MeridianWireTuple *which = is_delete ? old_tuple : &msg->new_tuple;
	MeridianApplyRel *r = meridian_rows_told(msg->rel);
	const MeridianWireRelation *def = meridian_rows_definition(r);
	Entry		e = {0};

	meridian_rows_check(r, which);
	if (old_tuple != NULL)
		meridian_rows_check(r, old_tuple);
	meridian_apply_start();
	PushActiveSnapshot(GetLatestSnapshot());
	e.class_name = def->class_name;
	if (!meridian_rows_stamped(r, which, &e.partition, &e.epoch))
	{
		e.partition = MRD_PARTITION_ALL;
		if (def->partition_att >= 0 && which->value[def->partition_att] != NULL)
			e.partition = pnstrdup((const char *) which->value[def->partition_att],
								   which->len[def->partition_att]);
	}
	e.relation = quote_qualified_identifier(def->schema_name, def->table_name);
	e.operation = operation_name(msg->type);
	if (old_tuple != NULL)
		e.before = image(def, old_tuple, NULL);
	if (!is_delete)
		e.after = image(def, &msg->new_tuple, old_tuple);
	record(&e);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* A partition is stamped again after a subtransaction was rolled back. */
static bool
stamped_before(const MeridianWireStamp *stamps, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(stamps->entries[i].class_name, stamps->entries[n].class_name) == 0 &&
			strcmp(stamps->entries[i].partition, stamps->entries[n].partition) == 0)
			return true;
	}
	return false;
}

/* TRUNCATE takes the rows of every partition, and each has a home of its own. */
static void
tail_truncate(const MeridianWireMsg *msg)
{
	const MeridianWireStamp *stamps = &meridian_apply.xact.stamps;

	for (int i = 0; i < msg->nrels; i++)
	{
		const MeridianWireRelation *def =
		meridian_rows_definition(meridian_rows_told(msg->rels[i]));
		Entry		e = {0};
		bool		stamped = false;

		e.class_name = def->class_name;
		e.relation = quote_qualified_identifier(def->schema_name, def->table_name);
		e.operation = "truncate";
		for (int n = 0; n < stamps->count; n++)
		{
			if (strcmp(stamps->entries[n].class_name, def->class_name) != 0 ||
				stamped_before(stamps, n))
				continue;
			e.partition = stamps->entries[n].partition;
			e.epoch = stamps->entries[n].epoch;
			record(&e);
			stamped = true;
		}
		e.partition = MRD_PARTITION_ALL;
		if (!stamped)
			record(&e);
	}
}

static void
tail_ddl(const MeridianWireMsg *msg)
{
	MeridianWireDdl ddl;
	StringInfoData text;
	Entry		e = {0};

	if (meridian_wire_read_ddl(msg->payload, msg->payload_len, &ddl) != MRD_OK)
		return;
	e.class_name = MRD_CLASS_SCHEMA;
	e.partition = MRD_PARTITION_ALL;
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		if (strcmp(meridian_apply.xact.stamps.entries[i].class_name, MRD_CLASS_SCHEMA) == 0)
			e.epoch = meridian_apply.xact.stamps.entries[i].epoch;
	}
	e.relation = "";
	e.operation = "ddl";
	initStringInfo(&text);
	put_text(&text, (const uint8_t *) ddl.text, (uint32) ddl.text_len);
	e.after = text.data;
	record(&e);
}

/* TRUNCATE or DDL of the lost transaction: there are no row images. */
void
meridian_tail_statement(const MeridianWireMsg *msg)
{
	meridian_apply_start();
	PushActiveSnapshot(GetLatestSnapshot());
	if (msg->type == MERIDIAN_WIRE_TRUNCATE)
		tail_truncate(msg);
	else
		tail_ddl(msg);
	PopActiveSnapshot();
	CommandCounterIncrement();
}
