/*-------------------------------------------------------------------------
 *
 * lend.c
 *	  What a region that was made home lacks, another one may hold.
 *
 * A region that was made home and has a gap stays closed, and nobody is there to
 * copy from: then another one lends what it holds.  Nobody writes the partition
 * meanwhile, so a region that has all that counts of the earlier homes and no gap
 * has just what it must begin from, in any snapshot.  One that was home itself
 * may have more, its lost tail: it says where its WAL ends by when it can write no
 * more of the partition, and what it holds counts once our position has reached
 * that and nothing of it was filed.
 *
 * Both sides are here: meridian.holds(), which a region answers with, and the
 * worker's question to the region that it streams from.  The copy itself is
 * cover.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

#include "apply.h"

PG_FUNCTION_INFO_V1(meridian_holds);
PG_FUNCTION_INFO_V1(meridian_defines);

/* Where the WAL of a region that was home itself ended when it was first asked */
typedef struct Lender
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	uint64		epoch;
	XLogRecPtr	end;
} Lender;

static List *lenders;			/* until the stream ends */

/* ----------------------------------------------------------------
 * the answer
 * ----------------------------------------------------------------
 */

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
 * Has this region all that the homes before that epoch wrote, and nothing to write
 * any more?  *ret is where its WAL ends if it was one of them.
 */
static bool
has_ended(const char *class_name, const char *partition, uint64 epoch, XLogRecPtr *ret)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	int			n = mrd_snapshot_find(s, class_name, partition);
	const struct mrd_authority *a = n < 0 ? NULL : &s->partitions[n].authority;

	if (a == NULL || a->epoch != epoch || a->region == s->self ||
		(s->classes[s->partitions[n].class_index].replicas & (1u << s->self)) == 0 ||
		meridian_unfenced(s, a) || !meridian_has_past(s, a, s->self) ||
		meridian_guard_committing(class_name, partition))
		return false;
	*ret = was_home(a, s->self) ? GetXLogInsertRecPtr() : InvalidXLogRecPtr;
	return true;
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
	XLogRecPtr	end;

	if (!has_ended(class_name, partition, (uint64) PG_GETARG_INT64(2), &end) ||
		has_gap(meridian_find_gaps(NULL), class_name, partition))
		PG_RETURN_NULL();
	PG_RETURN_LSN(end);
}

/*
 * For a home that has nothing in a table, which was attached with rows where the
 * schema is defined: may it have those that are here?  Likewise.
 */
Datum
meridian_defines(PG_FUNCTION_ARGS)
{
	XLogRecPtr	end;

	if (!meridian_is_defining() ||
		!has_ended(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
				   (uint64) PG_GETARG_INT64(2), &end))
		PG_RETURN_NULL();
	PG_RETURN_LSN(end);
}

/* ----------------------------------------------------------------
 * the question
 * ----------------------------------------------------------------
 */

/* A new stream: its region is asked anew. */
void
meridian_lends_reset(void)
{
	list_free_deep(lenders);
	lenders = NIL;
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
	ret = !meridian_sql_any(psprintf("SELECT FROM meridian.reconcile_entry WHERE origin = %s "
									 "AND class = %s AND partition = %s "
									 "AND repaired_epoch IS NULL LIMIT 1",
									 quote_literal_cstr(meridian_apply.origin),
									 quote_literal_cstr(c->class_name),
									 quote_literal_cstr(c->partition)));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return ret;
}

/*
 * Does the region that we stream from lend it?  Asked before the snapshot that it
 * is copied in: what the region holds, it goes on holding.
 */
bool
meridian_lends(PGconn *source, const MeridianCopied *c)
{
	char	   *sql = psprintf("SELECT meridian.%s(%s, %s, " UINT64_FORMAT ")",
							   c->along ? "defines" : "holds",
							   meridian_link_literal(source, c->class_name),
							   meridian_link_literal(source, c->partition), c->epoch);
	PGresult   *res = meridian_link_row(source, sql);
	bool		ret = !PQgetisnull(res, 0, 0);
	XLogRecPtr	end = ret ? meridian_link_position(PQgetvalue(res, 0, 0)) : InvalidXLogRecPtr;

	PQclear(res);
	return ret && (end == InvalidXLogRecPtr || lost_nothing(c, first_end(c, end)));
}
