/*-------------------------------------------------------------------------
 *
 * cover.c
 *	  Which rows this region ought to hold, which of them it does, and how it
 *	  gets the others from a region whose stream it has already.
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
 * A gap is closed from the present home in the middle of its running stream,
 * which names the transaction of each change.  A snapshot there says which of
 * its transactions are in it.  That is not the order of its WAL: a commit that
 * waits for its acknowledgements is in the WAL, perhaps long applied here, and
 * in nobody's snapshot yet.  So:
 *
 *	 1. Remember which transactions changed a table with a gap from now on; wait
 *		until all that are older have ended at the home.
 *	 2. Hold the stream, all of it acknowledged, until what is remembered has
 *		ended there, too.  That takes a round trip or two, unless acknowledgements
 *		of others are missing: then it goes on, and later again.
 *	 3. Copy, in a snapshot taken then: all that is applied here is in it.  The
 *		end of the home's WAL, read after it, is after every commit in it.
 *	 4. Up to there the stream brings changes that are in the copy and others that
 *		are not, and the snapshot tells which: the former are left out of what was
 *		copied.  After that the partitions are whole.
 *
 * Definitions of tables that do not exist here are made first, in a copy of their
 * own, when the stream has come to the end of its snapshot and no further; else it
 * would bring statements that have been run.  What those did must be in it, so
 * only they are remembered.
 *
 * Nothing is held at the home during 4.  A definition that changes, a TRUNCATE or
 * a repair meanwhile is more than its rows: the copy then does not count.
 *
 * Changes of earlier homes are in both: the snapshot was taken after the home
 * opened the partition, that is with all of them up to their cuts, and copying
 * is done only when this region has reached the cuts too (meridian_takeable).
 * Nothing of them that counts can come afterwards.
 *
 * Marks are written at the end of 4, so an interrupted one is done again, and only while the snapshot
 * still shows the same home and epoch: a later home's first changes may have
 * gone in under the copy, and then there is no mark, and it is copied again.
 *
 * The stream stands still during 2 and 3.
 *
 * A table that does not exist here has no marks; meridian.missing names it from
 * the first change of it that was left out, in the transaction that left it out.
 * So wherever this region's position says that such a change is here, a gap says
 * that it is not.
 *
 * A region that was made home and has a gap stays closed, and nobody is there to
 * copy from: then another one lends what it holds.  Nobody writes the partition
 * meanwhile, so a region that has all that counts of the earlier homes and no gap
 * has just what it must begin from, in any snapshot.  One that was home itself
 * may have more, its lost tail: it says where its WAL ends by when it can write no
 * more of the partition, and what it holds counts once our position has reached
 * that and nothing of it was filed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "apply.h"

#define LOOK_EVERY_MS 1000		/* for gaps */
#define TRY_EVERY_MS 1000		/* while there are some */
#define TRY_AGAIN_MS 5000		/* when nothing came of it */
#define HOLD_MS 1000			/* the stream, for acknowledgements of others */
#define CATCH_UP_MS (10 * 60 * 1000)	/* else the stream is not going anywhere */
#define IMAGE_MS (2 * 60 * 1000)	/* likewise, but the home keeps dead rows meanwhile */
#define ASK_EVERY_MS 3000		/* for tables that do not exist here */
#define REMEMBERED_MAX (1 << 20)	/* transactions between 1 and 3 */

PG_FUNCTION_INFO_V1(meridian_gaps_sql);
PG_FUNCTION_INFO_V1(meridian_holds);

/* ----------------------------------------------------------------
 * gaps
 * ----------------------------------------------------------------
 */

static bool
is_joined(const char *region)
{
	char		name[NAMEDATALEN];

	meridian_stream_name(region, name, sizeof(name));
	return replorigin_by_name(name, true) != InvalidRepOriginId;
}

bool
meridian_is_schema_home(const char *region)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			home = s == NULL ? -1 : mrd_snapshot_region(s, region);
	int			n = mrd_snapshot_find(s, MRD_CLASS_SCHEMA, NULL);

	return n >= 0 && s->partitions[n].authority.region == home;
}

/*
 * Has this region all that the homes before wrote, as far as it has their
 * streams at all?  What origin wrote comes in its own stream.
 */
static bool
has_past(const struct mrd_snapshot *s, const struct mrd_authority *a, mrd_region origin)
{
	mrd_lsn		applied[MRD_REGIONS_MAX] = {0};

	for (int r = 0; r < s->region_count; r++)
		applied[r] = meridian_stream_applied(s->regions[r].name);
	return mrd_authority_complete(a, s->self, origin, a->epoch, applied);
}

/* Is origin the home of partition i, and all here that the homes before it wrote? */
bool
meridian_takeable(const struct mrd_snapshot *s, int i, const char *origin)
{
	const struct mrd_authority *a = &s->partitions[i].authority;
	int			region = mrd_snapshot_region(s, origin);

	return region >= 0 && a->region == region && a->state != MRD_AUTH_VACANT &&
		has_past(s, a, (mrd_region) region);
}

/* Has this region been made home of partition i, and may another one lend it what it lacks? */
static bool
is_borrower(const struct mrd_snapshot *s, int i)
{
	const struct mrd_authority *a = &s->partitions[i].authority;

	return a->region == s->self && a->state != MRD_AUTH_VACANT && has_past(s, a, s->self);
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

static bool
is_covered(const struct mrd_snapshot *s, const struct mrd_snap_partition *p, const Marks *marks)
{
	for (int i = 0; i < marks->count; i++)
	{
		text	   *name = DatumGetTextPP(marks->partitions[i]);

		if (strlen(p->name) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(p->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0)
			return mark_holds(s, &p->authority, (uint64) DatumGetInt64(marks->epochs[i]));
	}
	return false;
}

/* What this region has opened itself is whole here; and nobody had anything before the first home. */
static bool
is_ours(const Search *search, int i)
{
	const struct mrd_authority *a = &search->s->partitions[i].authority;

	return a->region == search->s->self &&
		(a->history_count == 0 || search->opened[i] >= a->epoch);
}

/* Could it be copied from there now?  *lent: because nobody else is home. */
static bool
is_to_be_had(const Search *search, int i, bool *lent)
{
	*lent = is_borrower(search->s, i);
	return search->from == NULL || *lent || meridian_takeable(search->s, i, search->from);
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
		MeridianCopied *c;
		bool		lent;

		if (is_ours(search, i) || is_covered(s, p, marks) || !is_to_be_had(search, i, &lent))
			continue;
		c = palloc0(sizeof(*c));
		c->relid = relid;
		strlcpy(c->class_name, class_name, sizeof(c->class_name));
		strlcpy(c->partition, p->name, sizeof(c->partition));
		strlcpy(c->missing, missing == NULL ? "" : missing, sizeof(c->missing));
		c->epoch = p->authority.epoch;
		c->lent = lent;
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
	query("SELECT class, partition, opened_epoch FROM meridian.promotion");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		int			n = mrd_snapshot_find(search->s, SPI_getvalue(row, desc, 1),
										  SPI_getvalue(row, desc, 2));
		bool		isnull;

		if (n >= 0)
			search->opened[n] = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 3, &isnull));
	}
}

/*
 * What this region ought to hold and does not; with from, only what could be
 * copied from there now.  Needs a transaction.
 */
static List *
find_gaps(const char *from)
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

/* What the worker of that stream says that its copy waits for */
static const char *
stream_says(const char *home)
{
	MeridianStream *stream;
	char	   *ret;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	stream = meridian_stream_find(home);
	ret = pstrdup(stream == NULL ? "" : stream->copying);
	LWLockRelease(meridian_streams->lock);
	return ret[0] == '\0' ? psprintf("to be copied from \"%s\"", home) : ret;
}

/* What is told of a partition that this region was made home of and cannot open */
static const char *
why_closed(const struct mrd_snapshot *s)
{
	const char *ret = "closed until it is copied, and no region that is connected holds all of it; see meridian.open_with_gaps";

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	for (int r = 0; r < s->region_count; r++)
	{
		const MeridianStream *stream = meridian_stream_find(s->regions[r].name);

		if (stream != NULL && stream->state == MERIDIAN_STREAM_RUNNING && !stream->lends_not)
			ret = "closed until it is copied from another region that holds all of it";
	}
	LWLockRelease(meridian_streams->lock);
	return ret;
}

/* Why is it still a gap? */
static const char *
why_gap(const struct mrd_snapshot *s, const MeridianCopied *c)
{
	int			class = s == NULL ? -1 : mrd_snapshot_class(s, c->class_name);
	int			n = class < 0 ? -1 : mrd_snapshot_partition(s, class, c->partition);
	const struct mrd_authority *a = n < 0 ? NULL : &s->partitions[n].authority;
	const char *home;

	if (c->missing[0] != '\0')
		return "missing table";
	if (a == NULL || a->state == MRD_AUTH_VACANT || a->region >= s->region_count)
		return "no region is its home";
	home = s->regions[a->region].name;
	if (a->region != s->self && !is_joined(home))
		return psprintf("region \"%s\" is not joined yet", home);
	if (!has_past(s, a, a->region))
		return "what earlier homes wrote is not all here yet";
	return a->region == s->self ? why_closed(s) : stream_says(home);
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
	List	   *gaps = find_gaps(NULL);

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	foreach(lc, gaps)
	{
		MeridianCopied *c = lfirst(lc);

		appendStringInfo(&out, "%s{\"relation\": ", lc == list_head(gaps) ? "" : ", ");
		escape_json(&out, relation_name(c));
		appendStringInfoString(&out, ", \"class\": ");
		escape_json(&out, c->class_name);
		appendStringInfoString(&out, ", \"partition\": ");
		escape_json(&out, c->partition);
		appendStringInfoString(&out, ", \"why\": ");
		escape_json(&out, why_gap(meridian_snapshot(), c));
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, ']');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/* Has the list a gap of this partition, in whatever table? */
static bool
has_gap(List *gaps, const char *class_name, const char *partition)
{
	ListCell   *lc;

	foreach(lc, gaps)
	{
		MeridianCopied *c = lfirst(lc);

		if (strcmp(c->class_name, class_name) == 0 && strcmp(c->partition, partition) == 0)
			return true;
	}
	return false;
}

static bool
was_home(const struct mrd_authority *a, mrd_region region)
{
	for (int k = 0; k < a->history_count; k++)
	{
		if (a->history[k].region == region)
			return true;
	}
	return false;
}

/*
 * For a region that was made home under this epoch: does this one hold just what
 * it begins from?  NULL: no.  A position: yes, if nothing that it wrote itself up
 * to there is lost tail, and there will be nothing after it.
 */
Datum
meridian_holds(PG_FUNCTION_ARGS)
{
	const char *class_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *partition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const struct mrd_snapshot *s = meridian_snapshot();
	int			n = mrd_snapshot_find(s, class_name, partition);
	const struct mrd_authority *a = n < 0 ? NULL : &s->partitions[n].authority;
	bool		wrote;

	if (a == NULL || a->epoch != (uint64) PG_GETARG_INT64(2) || a->region == s->self ||
		(s->classes[s->partitions[n].class_index].replicas & (1u << s->self)) == 0 ||
		!has_past(s, a, s->self) || meridian_guard_committing(class_name, partition))
		PG_RETURN_NULL();
	wrote = was_home(a, s->self);
	if (has_gap(find_gaps(NULL), class_name, partition))
		PG_RETURN_NULL();
	PG_RETURN_LSN(wrote ? GetXLogInsertRecPtr() : InvalidXLogRecPtr);
}

/* ----------------------------------------------------------------
 * marks
 * ----------------------------------------------------------------
 */

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

static bool
is_still_home(const struct mrd_snapshot *s, const MeridianCopied *c)
{
	int			n = mrd_snapshot_find(s, c->class_name, c->partition);

	if (n < 0 || s->partitions[n].authority.epoch != c->epoch)
		return false;
	return s->partitions[n].authority.region ==
		(c->lent ? s->self : mrd_snapshot_region(s, meridian_apply.origin));
}

static void
mark_one(const MeridianCopied *c)
{
	static const char mark[] =
	"INSERT INTO meridian.copied (relid, partition, epoch) "
	"SELECT a.relid, $2, $3 FROM meridian.attachment a WHERE a.relid = $1 AND a.class = $4 "
	"ON CONFLICT (relid, partition) "
	"DO UPDATE SET epoch = excluded.epoch, copied_at = excluded.copied_at";
	Oid			types[4] = {OIDOID, TEXTOID, INT8OID, TEXTOID};
	Datum		values[4];

	values[0] = ObjectIdGetDatum(c->relid);
	values[1] = CStringGetTextDatum(c->partition);
	values[2] = Int64GetDatum((int64) c->epoch);
	values[3] = CStringGetTextDatum(c->class_name);
	if (SPI_execute_with_args(mark, 4, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.copied");
}

/* In a transaction of its own; copied and its members are freed. */
void
meridian_mark_copied(List *copied)
{
	const struct mrd_snapshot *s;
	ListCell   *lc;

	if (copied == NIL)
		return;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	s = meridian_snapshot();
	foreach(lc, copied)
	{
		if (is_still_home(s, lfirst(lc)))
			mark_one(lfirst(lc));
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	list_free_deep(copied);
}

static void
forget_partition(const char *class_name, const char *partition, uint64 epoch)
{
	static const char forget[] =
	"DELETE FROM meridian.copied c USING meridian.attachment a WHERE a.relid = c.relid "
	"AND a.class = $1 AND c.partition = $2 AND c.epoch <= $3";
	Oid			types[3] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[3];

	values[0] = CStringGetTextDatum(class_name);
	values[1] = CStringGetTextDatum(partition);
	values[2] = Int64GetDatum((int64) epoch);
	if (SPI_execute_with_args(forget, 3, types, values, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not update meridian.copied");
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

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	s = meridian_snapshot();
	region = s == NULL ? -1 : mrd_snapshot_region(s, origin);
	for (int i = 0; region >= 0 && i < s->partition_count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		const char *class_name = s->classes[p->class_index].name;

		if (p->authority.region == region)
			forget_partition(class_name, p->name, p->authority.epoch);
		for (int k = 0; k < p->authority.history_count; k++)
		{
			const struct mrd_closed_epoch *c = &p->authority.history[k];

			if (c->region == region && c->cut > applied)
				forget_partition(class_name, p->name, c->epoch);
		}
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* ----------------------------------------------------------------
 * closing them
 * ----------------------------------------------------------------
 */

/* Where the WAL of a region that was home itself ended when it was first asked */
typedef struct Lender
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	uint64		epoch;
	XLogRecPtr	end;
} Lender;

typedef enum CoverPhase
{
	COVER_IDLE,
	COVER_LENT,					/* the stream is to be held, and what we lack as home copied */
	COVER_SETTLING,				/* 1: older transactions are still running there */
	COVER_IMAGE,				/* definitions: the stream is on its way to the image's end */
	COVER_READY,				/* the stream is to be held, and the copy made */
	COVER_CATCHING_UP			/* 4: the stream is on its way to the copy's end */
} CoverPhase;

static CoverPhase phase;
static TimestampTz look_after;	/* before that there is nothing to do */
static TimestampTz asked;		/* for tables that do not exist here */
static TimestampTz catch_up_by;
static PGconn *source;			/* of copy.c, while there is one */
static uint64 settled_xid;		/* older ones have to end first */
static bool defining;			/* it is about definitions, not rows */
static List *watched;			/* tables with gaps, as of 1 */
static List *lent;				/* what this region lacks as home */
static List *lenders;			/* until the stream ends */
static bool touched;			/* by the transaction at hand */
static uint32 *applied_xids;
static int	napplied;
static int	applied_cap;

/* the copy */
static char image_name[64];
static XLogRecPtr image_end;
static uint64 image_xmax;
static uint32 *running;			/* not in it: had not ended */
static int	nrunning;
static List *held;				/* what was copied, while catching up */

/* One copy at a time in this region; until the end of the transaction. */
bool
meridian_copy_lock(void)
{
	LOCKTAG		tag;
	Oid			nsp = get_namespace_oid("meridian", false);

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   get_relname_relid("copied", nsp), 1);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* For meridian.links and meridian.gaps: what a copy waits for; NULL: nothing */
static void
say(const char *text)
{
	MeridianStream *stream = meridian_apply.stream;

	if (strcmp(stream->copying, text == NULL ? "" : text) == 0)
		return;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	strlcpy(stream->copying, text == NULL ? "" : text, sizeof(stream->copying));
	LWLockRelease(meridian_streams->lock);
}

/* For meridian.gaps: it was asked, and does not hold what this region lacks as home. */
static void
set_lends_not(bool lends_not)
{
	if (meridian_apply.stream->lends_not == lends_not)
		return;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	meridian_apply.stream->lends_not = lends_not;
	LWLockRelease(meridian_streams->lock);
}

static void
next_look(int ms)
{
	look_after = TimestampTzPlusMilliseconds(meridian_instant(), ms);
}

static void
give_up(void)
{
	meridian_copy_close();
	source = NULL;
	phase = COVER_IDLE;
	napplied = 0;
	list_free(watched);
	list_free_deep(lent);
	watched = lent = NIL;
	list_free_deep(held);
	held = NIL;
}

/* A new stream: what the one before it was about is forgotten. */
void
meridian_cover_reset(void)
{
	give_up();
	say(NULL);
	set_lends_not(false);
	list_free_deep(lenders);
	lenders = NIL;
	touched = false;
	look_after = asked = 0;
}

static uint64
number(PGresult *res, int column)
{
	char	   *end;
	uint64		n = strtoull(PQgetvalue(res, 0, column), &end, 10);

	if (PQgetisnull(res, 0, column) || *end != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed snapshot", meridian_apply.origin)));
	return n;
}

static PGresult *
ask(const char *sql)
{
	PGresult   *res = meridian_link_exec(source, sql, PGRES_TUPLES_OK);

	if (PQntuples(res) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent no snapshot", meridian_apply.origin)));
	return res;
}

static bool
query_true(const char *sql)
{
	bool		ret;

	SPI_connect();
	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	ret = SPI_processed == 1;
	SPI_finish();
	return ret;
}

/* A table that is configured, or missing, but only the schema's home can say what it is */
static bool
tables_missing(void)
{
	return meridian_is_schema_home(meridian_apply.origin) &&
		query_true("SELECT FROM meridian.table_config t WHERE pg_catalog.to_regclass("
				   "pg_catalog.format('%I.%I', t.schema_name, t.table_name)) IS NULL "
				   "UNION ALL SELECT FROM meridian.missing LIMIT 1");
}

static void
watch(List *gaps)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ListCell   *lc;

	foreach(lc, gaps)
	{
		MeridianCopied *c = lfirst(lc);

		if (c->lent)
			lent = list_concat(lent, meridian_copied_keep(list_make1(c)));
		else
			watched = list_append_unique_oid(watched, c->relid);
	}
	MemoryContextSwitchTo(old);
}

/* Is there anything to get?  Without the home's own word about tables that are missing. */
static void
look(bool *gaps, bool *missing)
{
	MemoryContext old = CurrentMemoryContext;
	TimestampTz now = meridian_instant();

	give_up();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	watch(find_gaps(meridian_apply.origin));
	*gaps = watched != NIL;
	*missing = TimestampDifferenceExceeds(asked, now, ASK_EVERY_MS) && tables_missing();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	if (*missing)
		asked = now;
}

/* Does the schema's home have what is missing, or has it no longer what we miss? */
static bool
there_are_tables(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		ret;

	meridian_copy_begin(NULL);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ret = meridian_copy_lacks_tables() || meridian_copy_misses_in_vain(false);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	meridian_copy_end();
	return ret;
}

static void
start(const char *conninfo, bool gaps)
{
	PGresult   *res;

	source = meridian_copy_open(conninfo);
	if (!gaps && !there_are_tables())
	{
		give_up();
		return;
	}
	res = ask("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())");
	settled_xid = number(res, 0);
	PQclear(res);
	phase = COVER_SETTLING;
}

static void
read_running(char *list)
{
	char	   *save = NULL;

	nrunning = 0;
	if (running != NULL)
		pfree(running);
	running = MemoryContextAlloc(TopMemoryContext, sizeof(uint32) * (strlen(list) / 2 + 1));
	for (char *item = strtok_r(list, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save))
		running[nrunning++] = (uint32) strtoull(item, NULL, 10);
}

/* Which transactions are in the home's present snapshot? */
static PGresult *
ask_image(const char *more)
{
	PGresult   *res = ask(psprintf("SELECT pg_catalog.pg_snapshot_xmax(s), "
								   "pg_catalog.array_to_string(ARRAY(SELECT "
								   "pg_catalog.pg_snapshot_xip(s)), ',')%s "
								   "FROM pg_catalog.pg_current_snapshot() AS s", more));

	image_xmax = number(res, 0);
	read_running(PQgetvalue(res, 0, 1));
	return res;
}

/* Step 3: a snapshot and the end of the WAL after it */
static void
take_image(void)
{
	PGresult   *res;
	bool		error = false;

	meridian_copy_begin(NULL);
	res = ask_image(", pg_catalog.pg_export_snapshot()");
	strlcpy(image_name, PQgetvalue(res, 0, 2), sizeof(image_name));
	PQclear(res);
	/* a later statement: nothing in the snapshot was committed after this */
	res = ask("SELECT pg_catalog.pg_current_wal_insert_lsn()");
	image_end = pg_lsn_in_internal(PQgetvalue(res, 0, 0), &error);
	PQclear(res);
	if (error || strspn(image_name, "0123456789ABCDEF-") != strlen(image_name))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed position or snapshot", meridian_apply.origin)));
}

/* Has everything ended that was running at step 1? */
static void
settle(void)
{
	PGresult   *res = ask("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())");
	uint64		oldest = number(res, 0);

	PQclear(res);
	if (oldest >= settled_xid && defining)
	{
		take_image();
		phase = COVER_IMAGE;
		catch_up_by = TimestampTzPlusMilliseconds(meridian_instant(), IMAGE_MS);
	}
	else if (oldest < settled_xid)
		say(psprintf("waits for transaction " UINT64_FORMAT " at \"%s\"", oldest,
					 meridian_apply.origin));
	else
		phase = COVER_READY;
}

static bool
in_image(uint32 xid)
{
	if ((int32) (xid - (uint32) image_xmax) >= 0)
		return false;
	for (int i = 0; i < nrunning; i++)
	{
		if (running[i] == xid)
			return false;
	}
	return true;
}

/* Of what was applied here and matters; 0: all of it */
static uint32
not_in_image(void)
{
	for (int i = 0; i < napplied; i++)
	{
		if (!in_image(applied_xids[i]))
			return applied_xids[i];
	}
	return 0;
}

/*
 * Step 2.  Nothing is applied meanwhile, so what has ended once is in every later
 * snapshot.
 */
static bool
hold_until_ended(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(), HOLD_MS);
	uint32		xid;

	for (;;)
	{
		PQclear(ask_image(""));
		xid = not_in_image();
		if (xid == 0)
			return true;
		if (meridian_instant() > until)
			break;
		meridian_link_wait(source, 0, 10);
	}
	say(psprintf("waits for transaction %u at \"%s\", which lacks acknowledgements", xid,
				 meridian_apply.origin));
	return false;
}

/* What is to be copied.  Of tables not watched, changes may have been applied unseen. */
static List *
wanted_now(void)
{
	List	   *ret = NIL;
	ListCell   *lc;

	if (phase == COVER_LENT)
		return lent;
	foreach(lc, find_gaps(meridian_apply.origin))
	{
		if (list_member_oid(watched, ((MeridianCopied *) lfirst(lc))->relid))
			ret = lappend(ret, lfirst(lc));
	}
	return ret;
}

/* Into held; false: another copy is being made */
static bool
copy_image(const char *conninfo)
{
	RepOriginId saved = replorigin_session_origin;
	XLogRecPtr	saved_lsn = replorigin_session_origin_lsn;
	TimestampTz saved_time = replorigin_session_origin_timestamp;
	bool		ret;

	replorigin_session_origin = DoNotReplicateId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
	StartTransactionCommand();
	ret = meridian_copy_lock();
	if (ret)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		if (phase == COVER_IMAGE)
		{
			(void) meridian_copy_misses_in_vain(true);
			meridian_copy_definitions(conninfo, image_name);
		}
		else
			held = meridian_copied_keep(meridian_copy_rows(false, wanted_now()));
		PopActiveSnapshot();
		meridian_fault("cover-copied");
	}
	CommitTransactionCommand();
	if (held != NIL)
		XLogFlush(XactLastCommitEnd);
	replorigin_session_origin = saved;
	replorigin_session_origin_lsn = saved_lsn;
	replorigin_session_origin_timestamp = saved_time;
	return ret;
}

/* The stream is where the image is. */
static void
define(const char *conninfo)
{
	MemoryContext old = CurrentMemoryContext;
	bool		done = not_in_image() == 0 && copy_image(conninfo);

	MemoryContextSwitchTo(old);
	meridian_copy_end();
	give_up();
	next_look(done ? 0 : TRY_AGAIN_MS);
}

static XLogRecPtr
first_end(const MeridianCopied *c, XLogRecPtr end)
{
	MemoryContext old;
	ListCell   *lc;
	Lender	   *l;

	foreach(lc, lenders)
	{
		l = lfirst(lc);
		if (l->epoch == c->epoch && strcmp(l->class_name, c->class_name) == 0 &&
			strcmp(l->partition, c->partition) == 0)
			return l->end;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	l = palloc0(sizeof(*l));
	strlcpy(l->class_name, c->class_name, sizeof(l->class_name));
	strlcpy(l->partition, c->partition, sizeof(l->partition));
	l->epoch = c->epoch;
	l->end = end;
	lenders = lappend(lenders, l);
	MemoryContextSwitchTo(old);
	return end;
}

/* Did the region that we stream from lose nothing of the partition up to there? */
static bool
lost_nothing(const MeridianCopied *c, XLogRecPtr end)
{
	bool		ret;

	if (meridian_stream_applied(meridian_apply.origin) < end)
		return false;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ret = !query_true(psprintf("SELECT FROM meridian.reconcile_entry WHERE origin = %s "
							   "AND class = %s AND partition = %s AND repaired_epoch IS NULL LIMIT 1",
							   quote_literal_cstr(meridian_apply.origin),
							   quote_literal_cstr(c->class_name), quote_literal_cstr(c->partition)));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return ret;
}

/* Before the snapshot that it is copied in: what the region holds, it goes on holding. */
static bool
holds(const MeridianCopied *c)
{
	PGresult   *res = ask(psprintf("SELECT meridian.holds(%s, %s, " UINT64_FORMAT ")",
								   meridian_link_literal(source, c->class_name),
								   meridian_link_literal(source, c->partition), c->epoch));
	bool		ret = !PQgetisnull(res, 0, 0);
	bool		error = false;
	XLogRecPtr	end = ret ? pg_lsn_in_internal(PQgetvalue(res, 0, 0), &error) : InvalidXLogRecPtr;

	PQclear(res);
	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed position", meridian_apply.origin)));
	return ret && (end == InvalidXLogRecPtr || lost_nothing(c, first_end(c, end)));
}

/* This region is home of what it lacks, and the one that we stream from may have it. */
static void
borrow(const char *conninfo)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *lc;

	source = meridian_copy_open(conninfo);
	foreach(lc, lent)
	{
		if (!holds(lfirst(lc)))
		{
			pfree(lfirst(lc));
			lent = foreach_delete_current(lent, lc);
		}
	}
	set_lends_not(lent == NIL);
	if (lent != NIL)
	{
		meridian_copy_begin(NULL);
		(void) copy_image(conninfo);
		meridian_copy_end();
		meridian_mark_copied(held);
		held = NIL;
	}
	MemoryContextSwitchTo(old);
	give_up();
	next_look(TRY_AGAIN_MS);
}

/* The stream stands still, and what is applied of it is acknowledged. */
void
meridian_cover_copy(const char *conninfo)
{
	MemoryContext old = CurrentMemoryContext;
	bool		done = false;

	if (phase == COVER_LENT)
	{
		borrow(conninfo);
		return;
	}
	if (phase == COVER_IMAGE)
	{
		define(conninfo);
		return;
	}
	if (hold_until_ended())
	{
		take_image();
		done = copy_image(conninfo);
		meridian_copy_end();
		if (done && held == NIL)
			say(psprintf("waits until \"%s\" has opened it", meridian_apply.origin));
	}
	MemoryContextSwitchTo(old);
	if (held != NIL)
	{
		meridian_copy_close();
		source = NULL;
		napplied = 0;
		phase = COVER_CATCHING_UP;
		catch_up_by = TimestampTzPlusMilliseconds(meridian_instant(), CATCH_UP_MS);
		return;
	}
	if (done)
		give_up();
	else
		phase = COVER_SETTLING;
	next_look(TRY_AGAIN_MS);
}

/* Step 4 is done: everything up to image_end is applied. */
static void
caught_up(void)
{
	List	   *copied = held;
	MemoryContext old = CurrentMemoryContext;

	held = NIL;
	meridian_mark_copied(copied);
	MemoryContextSwitchTo(old);
	give_up();
	say(NULL);
	next_look(0);				/* there may be more by now */
}

/* The transaction at hand changes this table; InvalidOid: one that does not exist here. */
void
meridian_cover_touch(Oid relid)
{
	if ((phase == COVER_SETTLING || phase == COVER_READY) && !defining)
		touched |= !OidIsValid(relid) || list_member_oid(watched, relid);
}

/* The transaction at hand does what cannot be told apart by rows. */
void
meridian_cover_disturb(void)
{
	touched = true;
	if (phase == COVER_CATCHING_UP)
		give_up();
}

/* Is what the transaction at hand does to this partition in the copy? */
bool
meridian_cover_has(Oid relid, const char *partition, size_t len)
{
	const MeridianXact *x = &meridian_apply.xact;
	ListCell   *lc;

	if (phase != COVER_CATCHING_UP || strcmp(x->origin, meridian_apply.origin) != 0 ||
		x->local_lsn > image_end || !in_image(x->xid))
		return false;
	foreach(lc, held)
	{
		const MeridianCopied *c = lfirst(lc);

		if (c->relid == relid && (partition == NULL || (strlen(c->partition) == len &&
														memcmp(c->partition, partition, len) == 0)))
			return true;
	}
	return false;
}

/* An own transaction of the region was applied. */
void
meridian_cover_applied(uint32 xid)
{
	bool		matters = touched;

	touched = false;
	if (!matters || phase == COVER_IDLE || phase == COVER_CATCHING_UP)
		return;
	if (napplied == REMEMBERED_MAX)
	{
		give_up();
		return;
	}
	if (napplied == applied_cap)
	{
		applied_cap = applied_cap == 0 ? 1024 : applied_cap * 2;
		if (applied_xids == NULL)
			applied_xids = MemoryContextAlloc(TopMemoryContext, sizeof(uint32) * applied_cap);
		else
			applied_xids = repalloc(applied_xids, sizeof(uint32) * applied_cap);
	}
	applied_xids[napplied++] = xid;
}

/*
 * Is the stream to be held now, for meridian_cover_copy()?  next is the end of
 * the transaction that is about to be applied, or how far everything is applied.
 */
bool
meridian_cover_due(XLogRecPtr next, bool applied)
{
	return phase == COVER_READY || phase == COVER_LENT ||
		(phase == COVER_IMAGE && (applied ? next >= image_end : next > image_end));
}

/*
 * Between transactions, often.  applied: there is nothing to apply before this.
 * What blocks is done at most once in TRY_EVERY_MS, however long it takes.  While
 * the region hands over another's changes, it can lend, but its own positions and
 * transactions alone do not say what its snapshots hold.
 */
void
meridian_cover_tend(const char *conninfo, XLogRecPtr applied, bool forwarding)
{
	bool		gaps;
	bool		missing;

	if (phase == COVER_CATCHING_UP || phase == COVER_IMAGE)
	{
		if (phase == COVER_CATCHING_UP && applied >= image_end)
			caught_up();
		else if (meridian_instant() > catch_up_by)
			give_up();
		return;
	}
	if (meridian_instant() < look_after)
		return;
	if (phase == COVER_IDLE)
	{
		look(&gaps, &missing);
		defining = !gaps;
		if (lent != NIL && !(gaps && meridian_apply.stream->lends_not))
			phase = COVER_LENT;
		else if ((gaps || missing) && !forwarding)
			start(conninfo, gaps);
		else
			say(NULL);
		if (lent == NIL)
			set_lends_not(false);
	}
	if (phase == COVER_SETTLING)
		settle();
	next_look(phase == COVER_IDLE ? LOOK_EVERY_MS : TRY_EVERY_MS);
}
