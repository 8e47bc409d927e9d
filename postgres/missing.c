/*-------------------------------------------------------------------------
 *
 * missing.c
 *	  What a transaction changed at its home and does not change here.
 *
 * Two kinds of changes are not made where they stand in a stream: of tables that
 * do not exist here yet, and of rows that are being copied (cover.c).  The
 * position moves on past both, and others rely on positions: the home, that what
 * it commits is on this region's disk; core, that a region which has applied
 * everything up to a cut has all that counts; a region that is behind, that it may
 * get from us what a lost home wrote.
 *
 * So the very transaction says so.  For the first two there is a gap here: while
 * rows are copied, because they have no mark; of a table that is missing, because
 * meridian.missing names it.  Then an acknowledgement of this region does not make
 * it fit to be home.  For the third, a message goes into our WAL under the origin.
 * A change of rows that are being copied stands there whole (meridian.kept), and is
 * handed on as what it is.  A change of a missing table does not: whoever is handed
 * the transaction is told (meridian.left_out), forgets that it holds the partition
 * whole, and copies it anew.  A home that a person lets open with gaps says the
 * same in its own first transaction.
 *
 * A deletion that finds nothing here is handed on as well: this region may hold less
 * than it should (unfenced.c), and others have the row.
 *
 * Rows of a table that was dropped here, by a statement that their home had not
 * heard of, are left out, too, and nobody misses them: they are only counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "replication/message.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"

#include <mrd/buf.h>

#include "rows.h"

PG_FUNCTION_INFO_V1(meridian_emit_stamp);
PG_FUNCTION_INFO_V1(meridian_emit_left_out);

static void
execute(const char *sql, int expected, const char *const *texts, int n)
{
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];

	Assert(n <= lengthof(values));
	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(texts[i]);
	meridian_sql_write(sql, n, types, values, NULL, expected);
}

/* The table is named only while it is not attached here: after that its marks speak. */
static void
note_missing(const char *schema_name, const char *table_name, const char *class_name)
{
	const char *texts[3] = {schema_name, table_name, class_name};

	execute("INSERT INTO meridian.missing (schema_name, table_name, class) SELECT $1, $2, $3 "
			"WHERE NOT EXISTS (SELECT FROM meridian.attachment WHERE relid = "
			"pg_catalog.to_regclass(pg_catalog.format('%I.%I', $1, $2))) "
			"ON CONFLICT (schema_name, table_name) DO NOTHING", SPI_OK_INSERT, texts, 3);
}

/*
 * The transaction speaks for that partition, under that epoch.  The guard is not
 * asked: whether it counts is for those to say who take it.
 */
static void
speak_for(const char *class_name, const char *partition, uint64 epoch)
{
	MeridianWireStamp *stamp = palloc(sizeof(*stamp));
	MeridianWireOut out;

	stamp->count = 1;
	strlcpy(stamp->entries[0].class_name, class_name, MRD_NAME_MAX);
	strlcpy(stamp->entries[0].partition, partition, MRD_NAME_MAX);
	stamp->entries[0].epoch = epoch;
	meridian_wire_out_init(&out);
	meridian_wire_put_stamp(&out, stamp);
	(void) LogLogicalMessage(MERIDIAN_STAMP_PREFIX, (const char *) out.data, out.len, true);
	pfree(stamp);
}

static void
tell(const MeridianWireLeftOut *what)
{
	uint8_t		bytes[1 + 4 * (2 + MRD_NAME_MAX)];
	struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));

	mrd_buf_put_u8(&b, 1);
	mrd_buf_put_str(&b, what->class_name);
	mrd_buf_put_str(&b, what->schema_name);
	mrd_buf_put_str(&b, what->table_name);
	mrd_buf_put_str(&b, what->partition);
	Assert(!b.failed);
	(void) LogLogicalMessage(MERIDIAN_LEFT_OUT_PREFIX, (const char *) bytes, b.pos, true);
}

/* The transaction at hand changes rows of a table, and we leave them out.  Said once for neighbouring rows. */
static void
leave_out(const MeridianWireRelation *def)
{
	static uint64 last_xact;
	static MeridianWireLeftOut last;
	MeridianWireLeftOut what;

	memset(&what, 0, sizeof(what));
	strlcpy(what.class_name, def->class_name, sizeof(what.class_name));
	strlcpy(what.schema_name, def->schema_name, sizeof(what.schema_name));
	strlcpy(what.table_name, def->table_name, sizeof(what.table_name));
	if (last_xact == meridian_apply.xact.number && memcmp(&last, &what, sizeof(what)) == 0)
		return;
	last_xact = meridian_apply.xact.number;
	last = what;
	note_missing(what.schema_name, what.table_name, what.class_name);
	tell(&what);
}

/* ----------------------------------------------------------------
 * whether a change is left out
 * ----------------------------------------------------------------
 */

/*
 * Was the table dropped, by a statement that the sender had not heard of when it
 * wrote this?  Before the first row of a table made anew under the name stands,
 * in the sender's stream, the note that it has the statement which made it, and
 * that is later than the one that dropped it.
 */
static bool
is_of_dropped(MeridianApplyRel *r)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	bool		isnull;
	bool		ret = false;

	values[0] = CStringGetTextDatum(r->def->schema_name);
	values[1] = CStringGetTextDatum(r->def->table_name);
	SPI_connect();
	if (SPI_execute_with_args("SELECT origin, lsn FROM meridian.dropped "
							  "WHERE schema_name = $1 AND table_name = $2",
							  2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.dropped");
	if (SPI_processed == 1)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *origin = SPI_getvalue(row, desc, 1);
		XLogRecPtr	lsn = DatumGetLSN(SPI_getbinval(row, desc, 2, &isnull));

		/* what was dropped here first is made anew here first */
		ret = lsn == InvalidXLogRecPtr || meridian_apply_noted(origin) < lsn;
	}
	SPI_finish();
	return ret;
}

bool
meridian_rows_left_out(MeridianApplyRel *r)
{
	if (r->open || r->mapped ||
		OidIsValid(meridian_table(r->def->schema_name, r->def->table_name)))
		return false;

	/*
	 * The schema's home tells of each table before its rows, unless the table was
	 * attached there with rows in it.  Then the whole of it is still to be
	 * copied, and what changes until then is part of that (cover.c).
	 */
	if (meridian_is_schema_home(meridian_apply.xact.origin))
	{
		meridian_cover_touch(InvalidOid);
		leave_out(r->def);
		return true;
	}
	if (!is_of_dropped(r))
		return false;
	meridian_apply_count(r->def->schema_name, r->def->table_name, "table_dropped");
	return true;
}

/*
 * The change goes into our WAL, with the words that it is told by, for who is handed
 * the transaction.  Who is handed one that together with those is too long for a
 * message is told that it lacks it.
 */
void
meridian_hand_on(const MeridianApplyRel *r, const MeridianWireMsg *msg)
{
	MeridianWireOut out;

	meridian_wire_out_init(&out);
	meridian_wire_put_kept(&out, r->raw, r->raw_len, msg);
	if (out.failed)
	{
		leave_out(r->def);
		return;
	}
	(void) LogLogicalMessage(MERIDIAN_KEPT_PREFIX, (const char *) out.data, out.len, true);
}

bool
meridian_rows_copied(const MeridianApplyRel *r, const MeridianWireMsg *msg,
					 const MeridianWireTuple *tuple)
{
	int			n = r->def->partition_att;
	MeridianCover cover;

	meridian_cover_touch(r->relid);
	cover = meridian_cover_of(r->relid, n < 0 ? NULL : (const char *) tuple->value[n],
							  n < 0 ? 0 : tuple->len[n]);
	if (cover == MERIDIAN_COVER_NONE)
		return false;
	meridian_hand_on(r, msg);
	if (cover == MERIDIAN_COVER_BEHIND)
		meridian_kept_add(msg);
	return true;
}

/* ----------------------------------------------------------------
 * what others have left out
 * ----------------------------------------------------------------
 */

Datum
meridian_emit_stamp(PG_FUNCTION_ARGS)
{
	speak_for(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
			  (uint64) PG_GETARG_INT64(2));
	PG_RETURN_VOID();
}

/*
 * For a home: the others are to copy the table anew, because it begins from less
 * than they may hold, or has rows that no stream brought.  After a stamp.
 */
Datum
meridian_emit_left_out(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(1);
	char	   *table_name = get_rel_name(relid);
	MeridianWireLeftOut what;

	memset(&what, 0, sizeof(what));
	if (table_name == NULL)
		PG_RETURN_VOID();
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), what.class_name, sizeof(what.class_name));
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(2), what.partition, sizeof(what.partition));
	strlcpy(what.schema_name, get_namespace_name(get_rel_namespace(relid)), sizeof(what.schema_name));
	strlcpy(what.table_name, table_name, sizeof(what.table_name));
	tell(&what);
	PG_RETURN_VOID();
}

/*
 * Forget that the partitions which the transaction speaks for are whole here; of
 * others it changed nothing.  false: it speaks for none.
 */
static bool
forget_stamped(const MeridianWireLeftOut *what)
{
	static const char forget[] =
	"DELETE FROM meridian.copied c USING meridian.attachment a "
	"WHERE a.relid = c.relid AND a.class = $1 AND c.partition = $4 "
	"AND a.relid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', $2, $3))";
	const MeridianWireStamp *stamps = &meridian_apply.xact.stamps;
	bool		ret = false;

	for (int i = 0; i < stamps->count; i++)
	{
		const char *partition = stamps->entries[i].partition;
		const char *texts[4] = {what->class_name, what->schema_name, what->table_name, partition};

		if (strcmp(stamps->entries[i].class_name, what->class_name) != 0 ||
			(what->partition[0] != '\0' && strcmp(partition, what->partition) != 0))
			continue;
		execute(forget, SPI_OK_DELETE, texts, 4);
		ret = true;
	}
	return ret;
}

/* Who hands the transaction over has left that out of it, so it is not here either. */
void
meridian_left_out(const void *payload, size_t len)
{
	MeridianWireLeftOut what;
	int			rc = meridian_wire_read_left_out(payload, len, &what);

	if (rc != MRD_OK || !forget_stamped(&what))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed note of what it left out: %s",
						meridian_apply.origin, mrd_strerror(rc != MRD_OK ? rc : MRD_EFORMAT))));
	note_missing(what.schema_name, what.table_name, what.class_name);
}
