/*-------------------------------------------------------------------------
 *
 * gaps.c
 *	  Which rows this region ought to hold, and which of them it does.
 *
 * meridian.copied has a row for each partition of each attached table of which
 * this region has, or had under that epoch, everything: because it copied it
 * from its home, because it was home itself, or because it saw the table
 * created.  Later changes come by the streams of the homes of that epoch and
 * those after it, so the mark holds as long as this region has the stream of
 * each of them; a home whose stream it got only after that home's epoch had
 * ended breaks it.  What has no mark that holds is a gap.  Gaps arise when a
 * home moves between a new region's joins of two others, when a table is
 * attached that has rows, when a stream was lost.  A region with a gap is not
 * given that partition (the agent reports it, core's mrdi_copy_of).
 *
 * A table that does not exist here has no marks; meridian.missing names it from
 * the first change of it that was left out, in the transaction that left it out
 * (missing.c).  So wherever this region's position says that such a change is
 * here, a gap says that it is not.
 *
 * Gaps are closed by cover.c, from the home or, when this region is that itself,
 * from another one (lend.c).  Marks are written only while the snapshot still
 * shows the same home and epoch: a later home's first changes may have gone in
 * under the copy, and then there is no mark, and it is copied again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#include "worker.h"

PG_FUNCTION_INFO_V1(meridian_gaps_sql);
PG_FUNCTION_INFO_V1(meridian_copy_lock_sql);

/* ----------------------------------------------------------------
 * gaps
 * ----------------------------------------------------------------
 */

static bool
is_joined(const char *region)
{
	return meridian_stream_origin(region) != InvalidRepOriginId;
}

static const struct mrd_authority *
schema_authority(const struct mrd_snapshot *s)
{
	int			n = mrd_snapshot_find(s, MRD_CLASS_SCHEMA, NULL);

	return n < 0 ? NULL : &s->partitions[n].authority;
}

bool
meridian_is_schema_home(const char *region)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	const struct mrd_authority *a = schema_authority(s);

	return a != NULL && a->region == mrd_snapshot_region(s, region);
}

/*
 * Has this region all that the homes before wrote, as far as it has their
 * streams at all?  What origin wrote comes in its own stream.
 */
bool
meridian_has_past(const struct mrd_snapshot *s, const struct mrd_authority *a, mrd_region origin)
{
	mrd_lsn		applied[MRD_REGIONS_MAX] = {0};

	for (int r = 0; r < s->region_count; r++)
		applied[r] = meridian_stream_applied(s->regions[r].name);
	return mrd_authority_complete(a, s->self, origin, a->epoch, applied);
}

/*
 * Is this region the schema's home, with every statement of the homes before?  Then
 * none is to come, and a table that is not here only others have.
 */
bool
meridian_is_defining(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	const struct mrd_authority *a = schema_authority(s);

	return a != NULL && a->region == s->self && meridian_has_past(s, a, s->self);
}

/* Is origin the home of partition i, and all here that the homes before it wrote? */
bool
meridian_takeable(const struct mrd_snapshot *s, int i, const char *origin)
{
	const struct mrd_authority *a = &s->partitions[i].authority;
	int			region = mrd_snapshot_region(s, origin);

	return region >= 0 && a->region == region && a->state != MRD_AUTH_VACANT &&
		meridian_has_past(s, a, (mrd_region) region);
}

/* Has this region been made home of partition i, and may another one lend it what it lacks? */
static bool
is_borrower(const struct mrd_snapshot *s, int i)
{
	const struct mrd_authority *a = &s->partitions[i].authority;

	return a->region == s->self && a->state != MRD_AUTH_VACANT && meridian_has_past(s, a, s->self);
}

/* Does a mark of this epoch still say that everything is here? */
static bool
mark_holds(const struct mrd_snapshot *s, const struct mrd_authority *a, uint64 epoch)
{
	if (a->region < s->region_count && a->region != s->self &&
		!is_joined(s->regions[a->region].name))
		return false;
	for (int k = 0; k < a->history_count; k++)
	{
		const struct mrd_closed_epoch *c = &a->history[k];

		if (c->epoch >= epoch && c->region != s->self && c->region < s->region_count &&
			!is_joined(s->regions[c->region].name))
			return false;
	}
	return true;
}

static const char attached_and_marks[] =
"SELECT a.relid, a.class, "
"coalesce(array_agg(c.partition) FILTER (WHERE c.relid IS NOT NULL), '{}'), "
"coalesce(array_agg(c.epoch) FILTER (WHERE c.relid IS NOT NULL), '{}'), NULL "
"FROM meridian.attachment a LEFT JOIN meridian.copied c ON c.relid = a.relid "
"GROUP BY 1, 2 UNION ALL "
"SELECT 0::pg_catalog.oid, m.class, '{}', '{}', pg_catalog.format('%I.%I', m.schema_name, m.table_name) "
"FROM meridian.missing m ORDER BY 1, 5";

/* Who looks for gaps, and what is known meanwhile */
typedef struct Search
{
	const struct mrd_snapshot *s;
	const char *from;			/* only what this region could give now; NULL: all */
	uint64		opened[MRD_PARTITIONS_MAX]; /* epochs under which this region opened */
	uint64		let[MRD_PARTITIONS_MAX];	/* and may open, with what is here */
} Search;

typedef struct Marks
{
	int			count;
	Datum	   *partitions;
	Datum	   *epochs;
} Marks;

static void
read_marks(HeapTuple row, TupleDesc desc, Marks *ret)
{
	bool		isnull;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(row, desc, 3, &isnull)), TEXTOID, -1,
					  false, TYPALIGN_INT, &ret->partitions, NULL, &ret->count);
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(row, desc, 4, &isnull)), INT8OID, 8,
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &ret->epochs, NULL, &n);
}

#define NO_MARK (-2)
#define ROWS_TO_COME (-1)		/* attach.c: a table of ours whose rows may be elsewhere */

static int64
mark_of(const struct mrd_snap_partition *p, const Marks *marks)
{
	for (int i = 0; i < marks->count; i++)
	{
		text	   *name = DatumGetTextPP(marks->partitions[i]);

		if (strlen(p->name) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(p->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0)
			return DatumGetInt64(marks->epochs[i]);
	}
	return NO_MARK;
}

/*
 * Is it this region's to say what is in the partition?  Nobody had anything before
 * the first home, and a person may have said that what is here counts.  Opening it
 * is not enough: a table that came later may be whole elsewhere.  One that does not
 * exist here brings its rows when it comes (copy.c).
 */
static bool
is_ours(const Search *search, int i, int64 epoch, bool exists)
{
	const struct mrd_authority *a = &search->s->partitions[i].authority;

	return a->region == search->s->self &&
		((a->history_count == 0 && epoch != ROWS_TO_COME) || search->let[i] == a->epoch ||
		 (!exists && search->opened[i] >= a->epoch));
}

/*
 * Could it be copied from there now?  While this region is home, it is lent what it
 * lacks; once it is open here, nobody else has what counts, and it gets rows only
 * where it has none.
 */
static bool
is_to_be_had(const Search *search, int i, MeridianCopied *c)
{
	const struct mrd_authority *a = &search->s->partitions[i].authority;

	c->lent = is_borrower(search->s, i);
	c->along = c->lent && (search->opened[i] >= a->epoch || a->history_count == 0);
	if (search->from == NULL)
		return true;
	return c->lent ? !c->along || meridian_is_schema_home(search->from) :
		meridian_takeable(search->s, i, search->from);
}

/* The gaps of one table; missing is its name if it does not exist here. */
static List *
gaps_of(const Search *search, Oid relid, const char *class_name, const Marks *marks,
		const char *missing)
{
	const struct mrd_snapshot *s = search->s;
	int			class = mrd_snapshot_class(s, class_name);
	List	   *ret = NIL;

	if (class < 0 || (s->classes[class].replicas & (1u << s->self)) == 0)
		return NIL;
	for (int i = s->classes[class].first; i < s->classes[class].first + s->classes[class].count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		int64		epoch = mark_of(p, marks);
		MeridianCopied *c;

		if (is_ours(search, i, epoch, missing == NULL) ||
			(epoch >= 0 && mark_holds(s, &p->authority, (uint64) epoch)))
			continue;
		c = meridian_copied_new(relid, class_name, p->name, p->authority.epoch, false);
		if (!is_to_be_had(search, i, c))
			continue;
		strlcpy(c->missing, missing == NULL ? "" : missing, sizeof(c->missing));
		ret = lappend(ret, c);
	}
	return ret;
}

/* With a snapshot of its own: newer than positions that the caller has looked at. */
static void
query(const char *sql)
{
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
}

static void
read_opened(Search *search)
{
	query("SELECT class, partition, pg_catalog.max(opened), pg_catalog.max(let) FROM ("
		  "SELECT class, partition, opened_epoch, 0::pg_catalog.int8 FROM meridian.promotion UNION ALL "
		  "SELECT class, partition, 0, epoch FROM meridian.opened_with_gaps) "
		  "AS x(class, partition, opened, let) GROUP BY 1, 2");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		int			n = mrd_snapshot_find(search->s, SPI_getvalue(row, desc, 1),
										  SPI_getvalue(row, desc, 2));
		bool		isnull;

		if (n < 0)
			continue;
		search->opened[n] = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 3, &isnull));
		search->let[n] = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 4, &isnull));
	}
}

/*
 * What this region ought to hold and does not; with from, only what could be
 * copied from there now.  Needs a transaction.
 */
List *
meridian_find_gaps(const char *from)
{
	Search		search = {.s = meridian_snapshot(), .from = from};
	MemoryContext caller = CurrentMemoryContext;
	List	   *ret = NIL;

	if (search.s == NULL)
		return NIL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	read_opened(&search);
	query(attached_and_marks);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Oid			relid;
		char	   *missing = SPI_getvalue(row, desc, 5);
		MemoryContext old;
		Marks		marks;
		bool		isnull;

		relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		if (from != NULL && missing != NULL)
			continue;			/* its definition has to come first */
		read_marks(row, desc, &marks);
		old = MemoryContextSwitchTo(caller);
		ret = list_concat(ret, gaps_of(&search, relid, SPI_getvalue(row, desc, 2), &marks, missing));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return ret;
}

/* ----------------------------------------------------------------
 * why there still is one
 * ----------------------------------------------------------------
 */

typedef enum GapReason
{
	GAP_MISSING_TABLE,
	GAP_NO_HOME,
	GAP_NOT_JOINED,
	GAP_PAST,
	GAP_COPY,					/* from its home, whose stream says how far that is */
	GAP_LENT,					/* we are the home; somebody may hold it */
	GAP_NOT_LENT,				/* nobody who is connected does */
	GAP_ALONG
} GapReason;

/* Each has a word for programs and a text for people; %s is the home. */
static const struct
{
	const char *word;
	const char *text;
}			gap_reasons[] = {
	[GAP_MISSING_TABLE] = {"missing_table", "missing table"},
	[GAP_NO_HOME] = {"no_home", "no region is its home"},
	[GAP_NOT_JOINED] = {"not_joined", "region \"%s\" is not joined yet"},
	[GAP_PAST] = {"past", "what earlier homes wrote is not all here yet"},
	[GAP_COPY] = {"copy", "to be copied from \"%s\""},
	[GAP_LENT] = {"lent", "closed until it is copied from another region that holds all of it"},
	[GAP_NOT_LENT] = {"not_lent", "closed until it is copied, and no region that is connected holds all of it; "
	"see meridian.open_with_gaps"},
	[GAP_ALONG] = {"along", "its rows are to come from the schema's home, while there are none here; "
	"or see meridian.open_with_gaps"},
};

/* Of a partition that this region was made home of and cannot open */
static GapReason
why_closed(const struct mrd_snapshot *s)
{
	GapReason	ret = GAP_NOT_LENT;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	for (int r = 0; r < s->region_count; r++)
	{
		const MeridianStream *stream = meridian_stream_find(s->regions[r].name);

		if (stream != NULL && stream->state == MERIDIAN_STREAM_RUNNING && !stream->lends_not)
			ret = GAP_LENT;
	}
	LWLockRelease(meridian_streams->lock);
	return ret;
}

/* *home: the region that it is about, or "" */
static GapReason
why_gap(const struct mrd_snapshot *s, const MeridianCopied *c, const char **home)
{
	int			n = s == NULL ? -1 : mrd_snapshot_find(s, c->class_name, c->partition);
	const struct mrd_authority *a = n < 0 ? NULL : &s->partitions[n].authority;

	*home = "";
	if (c->missing[0] != '\0')
		return GAP_MISSING_TABLE;
	if (a == NULL || a->state == MRD_AUTH_VACANT || a->region >= s->region_count)
		return GAP_NO_HOME;
	*home = s->regions[a->region].name;
	if (a->region != s->self && !is_joined(*home))
		return GAP_NOT_JOINED;
	if (!meridian_has_past(s, a, a->region))
		return GAP_PAST;
	if (a->region != s->self)
		return GAP_COPY;
	return c->along ? GAP_ALONG : why_closed(s);
}

/* The sentence; of a copy, what the worker of that stream says that it waits for */
static char *
gap_text(GapReason reason, const char *home)
{
	MeridianStream *stream;
	char	   *ret = NULL;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	stream = reason == GAP_COPY ? meridian_stream_find(home) : NULL;
	if (stream != NULL && stream->copying[0] != '\0')
		ret = pstrdup(stream->copying);
	LWLockRelease(meridian_streams->lock);
	return ret != NULL ? ret : psprintf(gap_reasons[reason].text, home);
}

static char *
relation_name(const MeridianCopied *c)
{
	char	   *name = c->missing[0] != '\0' ? NULL : get_rel_name(c->relid);

	/* dropped a moment ago, perhaps */
	return name == NULL ? pstrdup(c->missing) :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(c->relid)), name);
}

/* For meridian.gaps: one object for each */
Datum
meridian_gaps_sql(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	ListCell   *lc;
	List	   *gaps = meridian_find_gaps(NULL);

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	foreach(lc, gaps)
	{
		MeridianCopied *c = lfirst(lc);
		const char *home;
		GapReason	reason = why_gap(meridian_snapshot(), c, &home);

		appendStringInfo(&out, "%s{\"relation\": ", lc == list_head(gaps) ? "" : ", ");
		escape_json(&out, relation_name(c));
		appendStringInfoString(&out, ", \"class\": ");
		escape_json(&out, c->class_name);
		appendStringInfoString(&out, ", \"partition\": ");
		escape_json(&out, c->partition);
		appendStringInfo(&out, ", \"reason\": \"%s\", \"why\": ", gap_reasons[reason].word);
		escape_json(&out, gap_text(reason, home));
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, ']');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/* ----------------------------------------------------------------
 * marks
 * ----------------------------------------------------------------
 */

MeridianCopied *
meridian_copied_new(Oid relid, const char *class_name, const char *partition, uint64 epoch,
					bool lent)
{
	MeridianCopied *c = palloc0(sizeof(*c));

	c->relid = relid;
	strlcpy(c->class_name, class_name, sizeof(c->class_name));
	strlcpy(c->partition, partition, sizeof(c->partition));
	c->epoch = epoch;
	c->lent = lent;
	return c;
}

/* So that it outlives the transaction */
List *
meridian_copied_keep(List *copied)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	List	   *ret = NIL;
	ListCell   *lc;

	foreach(lc, copied)
	{
		MeridianCopied *c = palloc(sizeof(*c));

		*c = *(MeridianCopied *) lfirst(lc);
		ret = lappend(ret, c);
	}
	MemoryContextSwitchTo(old);
	return ret;
}

/* Is the region that it is copied from, or this one if it is lent, still home under that epoch? */
bool
meridian_copied_stands(const struct mrd_snapshot *s, const MeridianCopied *c)
{
	int			n = mrd_snapshot_find(s, c->class_name, c->partition);

	if (n < 0 || s->partitions[n].authority.epoch != c->epoch)
		return false;
	return s->partitions[n].authority.region ==
		(c->lent ? s->self : mrd_snapshot_region(s, meridian_apply.origin));
}

/* The copy that is marked was made before our stream came to this point of the home's WAL. */
static XLogRecPtr
reached_at_home(void)
{
	RepOriginId id = meridian_stream_origin(meridian_apply.origin);
	XLogRecPtr	lsn = id == InvalidRepOriginId ? InvalidXLogRecPtr : replorigin_get_progress(id, false);

	return Max(lsn, meridian_positions_done());
}

static void
mark_one(const MeridianCopied *c)
{
	static const char mark[] =
	"INSERT INTO meridian.copied (relid, partition, epoch, reached) "
	"SELECT a.relid, $2, $3, $5 FROM meridian.attachment a WHERE a.relid = $1 AND a.class = $4 "
	"ON CONFLICT (relid, partition) "
	"DO UPDATE SET epoch = excluded.epoch, copied_at = excluded.copied_at, reached = excluded.reached";
	Oid			types[5] = {OIDOID, TEXTOID, INT8OID, TEXTOID, LSNOID};
	Datum		values[5];
	char		nulls[6] = "     ";

	values[0] = ObjectIdGetDatum(c->relid);
	values[1] = CStringGetTextDatum(c->partition);
	values[2] = Int64GetDatum((int64) c->epoch);
	values[3] = CStringGetTextDatum(c->class_name);
	values[4] = LSNGetDatum(reached_at_home());
	if (c->lent)
		nulls[4] = 'n';
	if (SPI_execute_with_args(mark, 5, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.copied");
}

/* In the transaction at hand */
void
meridian_mark_now(List *copied)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	ListCell   *lc;

	SPI_connect();
	foreach(lc, copied)
	{
		if (meridian_copied_stands(s, lfirst(lc)))
			mark_one(lfirst(lc));
	}
	SPI_finish();
}

/* In a transaction of its own; copied and its members are freed. */
void
meridian_mark_copied(List *copied)
{
	if (copied == NIL)
		return;
	meridian_sql_begin();
	meridian_mark_now(copied);
	meridian_sql_end();
	list_free_deep(copied);
}

/*
 * In a transaction of its own, before changes of these partitions are left out: no
 * mark must hold again, should the copy that they are left to never end.
 */
void
meridian_unmark(List *copied)
{
	static const char unmark[] =
	"DELETE FROM meridian.copied WHERE relid = $1 AND partition = $2 AND epoch >= 0";
	Oid			types[2] = {OIDOID, TEXTOID};
	ListCell   *lc;

	meridian_sql_begin();
	foreach(lc, copied)
	{
		const MeridianCopied *c = lfirst(lc);
		Datum		values[2] = {ObjectIdGetDatum(c->relid), CStringGetTextDatum(c->partition)};

		if (SPI_execute_with_args(unmark, 2, types, values, NULL, false, 0) != SPI_OK_DELETE)
			elog(ERROR, "could not update meridian.copied");
	}
	meridian_sql_end();
}

/* Unless this region opened it under the epoch that it is home of now (0: none) */
static void
forget_partition(const char *class_name, const char *partition, uint64 epoch, uint64 open)
{
	static const char forget[] =
	"DELETE FROM meridian.copied c USING meridian.attachment a WHERE a.relid = c.relid "
	"AND a.class = $1 AND c.partition = $2 AND c.epoch <= $3 AND NOT EXISTS ("
	"SELECT FROM meridian.promotion p WHERE p.class = $1 AND p.partition = $2 AND p.opened_epoch = $4)";
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, INT8OID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(class_name);
	values[1] = CStringGetTextDatum(partition);
	values[2] = Int64GetDatum((int64) epoch);
	values[3] = Int64GetDatum((int64) open);
	if (SPI_execute_with_args(forget, 4, types, values, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not update meridian.copied");
}

/* In the transaction at hand: what is here of it, as of that epoch, is not what counts. */
void
meridian_forget_partition(const struct mrd_snapshot *s, const char *class_name,
						  const char *partition, uint64 epoch)
{
	int			n = mrd_snapshot_find(s, class_name, partition);
	const struct mrd_authority *a = n < 0 ? NULL : &s->partitions[n].authority;

	if (a != NULL)
		forget_partition(class_name, partition, epoch, a->region == s->self ? a->epoch : 0);
}

/*
 * What origin wrote beyond our position of it will not come by its stream:
 * forget the marks that counted on it.  In a transaction of its own.
 */
void
meridian_forget_copied(const char *origin)
{
	const struct mrd_snapshot *s;
	XLogRecPtr	applied = meridian_stream_applied(origin);
	int			region;

	meridian_sql_begin();
	s = meridian_snapshot();
	region = s == NULL ? -1 : mrd_snapshot_region(s, origin);
	for (int i = 0; region >= 0 && i < s->partition_count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		const char *class_name = s->classes[p->class_index].name;
		uint64		open = p->authority.region == s->self ? p->authority.epoch : 0;

		if (p->authority.region == region)
			forget_partition(class_name, p->name, p->authority.epoch, open);
		for (int k = 0; k < p->authority.history_count; k++)
		{
			const struct mrd_closed_epoch *c = &p->authority.history[k];

			if (c->region == region && c->cut > applied)
				forget_partition(class_name, p->name, c->epoch, open);
		}
	}
	meridian_sql_end();
}

/* Not the table's own lock */
static LockAcquireResult
lock_for(const char *table_name, bool wait)
{
	LOCKTAG		tag;
	Oid			nsp = get_namespace_oid("meridian", false);

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   get_relname_relid(table_name, nsp), 1);
	return LockAcquire(&tag, ExclusiveLock, false, !wait);
}

/* One copy at a time in this region; until the end of the transaction. */
bool
meridian_copy_lock(void)
{
	return lock_for("copied", false) != LOCKACQUIRE_NOT_AVAIL;
}

/* One worker looks at what is past a cut (unfenced.c); likewise. */
bool
meridian_past_cut_lock(void)
{
	return lock_for("past_cut", false) != LOCKACQUIRE_NOT_AVAIL;
}

/* For who decides what a copy would decide otherwise: waits for the one that is being made. */
Datum
meridian_copy_lock_sql(PG_FUNCTION_ARGS)
{
	(void) lock_for("copied", true);
	PG_RETURN_VOID();
}
