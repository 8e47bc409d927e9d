/*-------------------------------------------------------------------------
 *
 * unfenced.c
 *	  What this region applied past a cut that it had not heard of.
 *
 * A failover goes on without a replica that is down (`unfenced` in the closed
 * epoch).  The replica may have applied more of the lost home than anybody who
 * was asked, and the cut lies before that.  Those commits are lost tail like any
 * other; only here they are rows, and nobody but this region may have them: the
 * old home, which would file them when it returns, may never do so.
 *
 * So before anything more of that home is applied, each worker looks (settle):
 *
 *	 1. How far were we when we first heard of the cut?  That is written down
 *		once, in meridian.past_cut.  Later positions say nothing: what is taken
 *		after that is judged by the cut, and moves them past it rightly.
 *	 2. Past it, our own WAL has these commits, as we applied them (with full
 *		images, but for what was kept beside a copy): each slot of another region
 *		keeps what that region lacks of any origin, and nobody takes the lost
 *		home's stream past the cut before it returned.  They are decoded out of a
 *		copy of the slot that reaches back furthest, as if they were to be handed
 *		over, and filed in meridian.reconcile under the numbers that the old home's
 *		stream gives them: should it return, nothing is filed twice.  All regions
 *		are told.
 *	 3. The partitions that they touched are gaps from then on (gaps.c), so the
 *		present home's rows replace ours.  Where our WAL does not show that there
 *		was nothing, the partition is copied as well.
 *
 * 2 and 3 are one transaction.  When it fails, that is a problem of this region
 * (meridian.past_cut, agent_status) and tried again later; no stream stops for it,
 * because how far we were is written down.  Until it is done, and the copy made, the region
 * is not made home of the partition (agent_status: compared_epoch; core's
 * mrdi_uncompared).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "plugin.h"
#include "worker.h"

#define AGAIN_MS 2000			/* while another worker compares */
#define TRY_AGAIN_MS 10000		/* after it failed; each time twice as long */
#define TRY_AGAIN_MS_MAX (10 * 60 * 1000)
#define FETCH_ROWS 64			/* frames of our own WAL at a time */
#define SEQ_OTHERS (1 << 26)	/* entries of a transaction, each region's of its own (first_seq) */

/* One closed epoch that went on without us, and that we are past */
typedef struct Past
{
	char		class_name[MRD_NAME_MAX];
	char		partition[MRD_NAME_MAX];
	uint64		epoch;
	char		origin[MRD_NAME_MAX];
	XLogRecPtr	cut;
	XLogRecPtr	reached;
	uint64		transactions;	/* of it between the two */
	uint64		rows;
	bool		complete;		/* there is no more of them than that */
	bool		copied;
} Past;

static uint64 seen;				/* closed epochs that were looked at */
static char others[MRD_REGIONS_MAX][MRD_NAME_MAX]; /* origins that other workers had to look at */
static int	others_count;
static TimestampTz again_at;	/* another worker was comparing, or it failed; 0: neither */
static int	try_again_ms;		/* it failed the last time; 0: it did not */

/* ----------------------------------------------------------------
 * which
 * ----------------------------------------------------------------
 */

static bool
is_ours(const struct mrd_snapshot *s, const struct mrd_authority *a, int k)
{
	return (a->history[k].unfenced >> s->self & 1) != 0 && a->history[k].region < s->region_count &&
		a->history[k].region != s->self;
}

/* May the partition hold something here that does not count, for all that the snapshot says? */
bool
meridian_unfenced(const struct mrd_snapshot *s, const struct mrd_authority *a)
{
	for (int k = 0; k < a->history_count; k++)
	{
		if (is_ours(s, a, k))
			return true;
	}
	return false;
}

/* 0: there are none.  Asked at each transaction, so it is worked out once for each snapshot. */
static uint64
fingerprint(const struct mrd_snapshot *s)
{
	static mrd_boot_ns published;
	static uint64 generation;
	static uint64 h;

	if (s->published_ns == published && s->generation == generation)
		return h;
	published = s->published_ns;
	generation = s->generation;
	h = 0;
	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		for (int k = 0; k < a->history_count; k++)
		{
			if (is_ours(s, a, k))
				h = (h ^ (((uint64) i + 1) << 48) ^ a->history[k].epoch) * UINT64CONST(1099511628211);
		}
	}
	return h;
}

/*
 * A worker that applies the origin at this moment looks itself, before it goes
 * on: only then is the position that of before.
 */
static bool
is_mine(const char *origin)
{
	MeridianStream *stream;
	bool		ret;

	LWLockAcquire(meridian_streams->lock, LW_SHARED);
	stream = meridian_stream_find(origin);
	ret = stream == NULL || stream->pid == MyProcPid ||
		(stream->pid == 0 && (stream->forwarder == 0 || stream->forwarder == MyProcPid));
	LWLockRelease(meridian_streams->lock);
	return ret;
}

/*
 * Has a failover gone on without us that this worker has not looked at?  What is
 * another worker's to look at is news only when that has gone: a stream that
 * begins again ends the copy that is being made beside it.
 */
bool
meridian_unfenced_news(const struct mrd_snapshot *s)
{
	uint64		now = fingerprint(s);

	if (now == 0)
		return false;
	if (now != seen || (again_at != 0 && meridian_instant() >= again_at))
		return true;
	for (int i = 0; i < others_count; i++)
	{
		if (is_mine(others[i]))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------
 * how far we were
 * ----------------------------------------------------------------
 */

static XLogRecPtr
position_of(const char *origin)
{
	RepOriginId id = meridian_stream_origin(origin);

	return id == InvalidRepOriginId ? InvalidXLogRecPtr : replorigin_get_progress(id, false);
}

/* Only the first look counts. */
static void
note_one(const struct mrd_snapshot *s, const struct mrd_snap_partition *p, int k)
{
	static const char note[] =
	"INSERT INTO meridian.past_cut (class, partition, epoch, origin, cut, reached, compared_at) "
	"VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN NULL ELSE pg_catalog.now() END) "
	"ON CONFLICT DO NOTHING";
	const struct mrd_closed_epoch *c = &p->authority.history[k];
	const char *origin = s->regions[c->region].name;
	XLogRecPtr	reached = position_of(origin);
	Oid			types[7] = {TEXTOID, TEXTOID, INT8OID, TEXTOID, LSNOID, LSNOID, BOOLOID};
	Datum		values[7];

	values[0] = CStringGetTextDatum(s->classes[p->class_index].name);
	values[1] = CStringGetTextDatum(p->name);
	values[2] = Int64GetDatum((int64) c->epoch);
	values[3] = CStringGetTextDatum(origin);
	values[4] = LSNGetDatum(c->cut);
	values[5] = LSNGetDatum(reached);
	values[6] = BoolGetDatum(mrd_authority_past_cut(&p->authority, (unsigned) k, s->self, reached));
	if (SPI_execute_with_args(note, 7, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write meridian.past_cut");
}

/*
 * More epochs ended while this region was away than are remembered, and it may be
 * past the cut of one of those: nobody can tell what of it.
 */
static void
forget_unknown(const struct mrd_snapshot *s, const struct mrd_snap_partition *p)
{
	const struct mrd_authority *a = &p->authority;
	const char *class_name = s->classes[p->class_index].name;

	if (a->history_count == MRD_HISTORY_MAX && meridian_unfenced(s, a) &&
		!meridian_settled_before(class_name, p->name, a->history[0].epoch - 1))
		meridian_forget_partition(s, class_name, p->name, a->history[0].epoch - 1);
}

static bool
is_noted(const struct mrd_snapshot *s, const struct mrd_snap_partition *p, int k)
{
	return meridian_sql_any(psprintf("SELECT FROM meridian.past_cut WHERE class = %s AND partition = %s "
									 "AND epoch = " UINT64_FORMAT,
									 quote_literal_cstr(s->classes[p->class_index].name),
									 quote_literal_cstr(p->name),
									 (uint64) p->authority.history[k].epoch));
}

static void
leave_to_other(const char *origin)
{
	for (int i = 0; i < others_count; i++)
	{
		if (strcmp(others[i], origin) == 0)
			return;
	}
	strlcpy(others[others_count++], origin, MRD_NAME_MAX);
}

static void
note_positions(const struct mrd_snapshot *s)
{
	others_count = 0;
	meridian_sql_begin();
	for (int i = 0; i < s->partition_count; i++)
	{
		const struct mrd_authority *a = &s->partitions[i].authority;

		forget_unknown(s, &s->partitions[i]);
		for (int k = 0; k < a->history_count; k++)
		{
			const char *origin;

			if (!is_ours(s, a, k) || is_noted(s, &s->partitions[i], k))
				continue;
			origin = s->regions[a->history[k].region].name;
			if (is_mine(origin))
				note_one(s, &s->partitions[i], k);
			else
				leave_to_other(origin);
		}
	}
	meridian_sql_end();
}

/* ----------------------------------------------------------------
 * what our own WAL has
 * ----------------------------------------------------------------
 */

static MeridianWireReader reader;
static MeridianWireMsg msg;
static MeridianWireOut content;
static List *pasts;				/* of one origin */
static List *lost;				/* ends of the transactions that are past a cut, XLogRecPtr * */
static List *touched;			/* partitions that these speak for, MeridianWireStampEntry * */
static bool filing;				/* the second time */
static int	next_lost;			/* in lost, then: both times have the same order */
static bool is_lost;			/* the transaction at hand, then */

static void
note_touched(const MeridianWireStampEntry *e)
{
	MeridianWireStampEntry *copy;
	ListCell   *lc;

	foreach(lc, touched)
	{
		MeridianWireStampEntry *t = lfirst(lc);

		if (strcmp(t->class_name, e->class_name) == 0 && strcmp(t->partition, e->partition) == 0)
		{
			t->epoch = Max(t->epoch, e->epoch);
			return;
		}
	}
	copy = palloc(sizeof(*copy));
	*copy = *e;
	touched = lappend(touched, copy);
}

/* The whole transaction is lost if one of its partitions is, as elsewhere. */
static void
judge(void)
{
	const MeridianXact *x = &meridian_apply.xact;
	bool		past = false;
	ListCell   *lc;

	foreach(lc, pasts)
	{
		Past	   *p = lfirst(lc);

		for (int i = 0; i < x->stamps.count; i++)
		{
			const MeridianWireStampEntry *e = &x->stamps.entries[i];

			if (x->lsn > p->cut && x->lsn <= p->reached && e->epoch == p->epoch &&
				strcmp(e->class_name, p->class_name) == 0 && strcmp(e->partition, p->partition) == 0)
			{
				p->transactions++;
				past = true;
				break;
			}
		}
	}
	if (!past)
		return;
	lost = lappend(lost, memcpy(palloc(sizeof(XLogRecPtr)), &x->lsn, sizeof(XLogRecPtr)));
	for (int i = 0; i < x->stamps.count; i++)
		note_touched(&x->stamps.entries[i]);
}

static void
add_stamps(void)
{
	static MeridianWireStamp more;
	MeridianWireStamp *all = &meridian_apply.xact.stamps;

	if (meridian_wire_read_stamp(msg.payload, msg.payload_len, &more) != MRD_OK ||
		all->count + more.count > MERIDIAN_WIRE_STAMPS_MAX)
		elog(ERROR, "a stamp in this region's own WAL is malformed");
	memcpy(&all->entries[all->count], more.entries, sizeof(more.entries[0]) * (size_t) more.count);
	all->count += more.count;
}

StaticAssertDecl(MRD_REGIONS_MAX + 1 <= PG_INT32_MAX / SEQ_OTHERS,
				 "entries have numbers for every region");

/*
 * Each entry has the number that the origin's own stream gives it, if nothing of
 * that is missing here; else one that nobody else gives.
 */
static int
first_seq(const struct mrd_snapshot *s)
{
	int			origin = mrd_snapshot_region(s, meridian_apply.xact.origin);

	for (int i = 0; i < s->class_count; i++)
	{
		mrd_regions replicas = s->classes[i].replicas;

		if ((replicas >> origin & 1) != 0 && (replicas >> s->self & 1) == 0)
			return (1 + s->self) * SEQ_OTHERS;
	}
	return 0;
}

static void
on_begin(void)
{
	MeridianXact *x = &meridian_apply.xact;

	strlcpy(x->origin, msg.region, sizeof(x->origin));
	x->lsn = msg.lsn;
	x->local_lsn = msg.local_lsn;
	x->commit_time = msg.commit_time;
	x->stamps.count = 0;
	x->number++;
	/* a transaction of ours is running, and what it does is file */
	x->open = x->started = x->tail = true;
	is_lost = filing && next_lost < list_length(lost) &&
		*(XLogRecPtr *) list_nth(lost, next_lost) == x->lsn;
	next_lost += is_lost;
	if (is_lost)
		meridian_tail_begin(first_seq(meridian_plugin_snapshot()));
}

static void
on_message(MemoryContext keep)
{
	MemoryContext old;

	switch (msg.type)
	{
		case MERIDIAN_WIRE_BEGIN:
			on_begin();
			break;
		case MERIDIAN_WIRE_STAMP:
			add_stamps();
			break;
		case MERIDIAN_WIRE_RELATION:
			meridian_rows_learn(&msg.relation, NULL, 0);
			break;
		case MERIDIAN_WIRE_INSERT:
		case MERIDIAN_WIRE_UPDATE:
		case MERIDIAN_WIRE_DELETE:
			if (is_lost)
				meridian_tail_change(&msg);
			break;
		case MERIDIAN_WIRE_TRUNCATE:
		case MERIDIAN_WIRE_DDL:
			if (is_lost)
				meridian_tail_statement(&msg);
			break;
		case MERIDIAN_WIRE_COMMIT:
			old = MemoryContextSwitchTo(keep);
			if (!filing)
				judge();
			MemoryContextSwitchTo(old);
			meridian_apply.xact.open = meridian_apply.xact.started = meridian_apply.xact.tail = false;
			break;
		default:
			break;				/* positions, and what was decided of other tails */
	}
}

static void
read_frame(bytea *frame, MemoryContext keep)
{
	MemoryContext old = CurrentMemoryContext;
	int			rc;

	content.len = 0;
	rc = meridian_wire_unpack(NULL, VARDATA_ANY(frame), VARSIZE_ANY_EXHDR(frame), &content);
	if (rc == MRD_OK)
		meridian_wire_feed(&reader, content.data, content.len);
	while (rc == MRD_OK && (rc = meridian_wire_next(&reader, &msg)) == 1)
	{
		rc = MRD_OK;
		on_message(keep);
		MemoryContextSwitchTo(old);
		CHECK_FOR_INTERRUPTS();
	}
	if (rc < 0)
		elog(ERROR, "could not read what this region's own WAL has of region \"%s\": %s",
			 ((Past *) linitial(pasts))->origin, mrd_strerror(rc));
}

/* One pass over what the portal has */
static void
read_all(Portal portal, MemoryContext keep)
{
	MemoryContext frame = AllocSetContextCreate(CurrentMemoryContext, "meridian past cut",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;

	memset(&reader, 0, sizeof(reader));
	for (;;)
	{
		SPITupleTable *tuples;
		uint64		n;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		tuples = SPI_tuptable;
		n = SPI_processed;
		old = MemoryContextSwitchTo(frame);
		for (uint64 i = 0; i < n; i++)
		{
			bool		isnull;

			read_frame(DatumGetByteaPP(SPI_getbinval(tuples->vals[i], tuples->tupdesc, 1, &isnull)), keep);
			MemoryContextReset(frame);
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(tuples);
		if (n == 0)
			break;
	}
	MemoryContextDelete(frame);
}

/*
 * A slot of our own that begins where the furthest behind of the others' does.
 * false: there is none.
 */
static bool
copy_slot(const char *name)
{
	static const char copy[] =
	"SELECT pg_catalog.pg_copy_logical_replication_slot(x.slot_name, %s, true) FROM ("
	"SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE plugin = 'meridian' AND NOT temporary "
	"AND database = pg_catalog.current_database() AND wal_status <> 'lost' "
	"AND confirmed_flush_lsn IS NOT NULL ORDER BY confirmed_flush_lsn LIMIT 1) x";

	if (SPI_execute(psprintf(copy, quote_literal_cstr(name)), false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not copy a replication slot");
	return SPI_processed == 1;
}

static void
read_wal(const char *name, XLogRecPtr from, MemoryContext keep)
{
	const char *origin = ((Past *) linitial(pasts))->origin;
	char	   *sql = psprintf("SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes(%s, NULL, NULL, "
							   "'wire', '%d', 'region', %s, 'own_from', 'FFFFFFFF/FFFFFFFF', 'images', 'full', "
							   "'forward', %s)", quote_literal_cstr(name), MERIDIAN_WIRE_VERSION,
							   quote_literal_cstr(meridian_region),
							   quote_literal_cstr(psprintf("%s=%X/%X", origin, LSN_FORMAT_ARGS(from))));
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, 0, NULL, CURSOR_OPT_SCROLL);
	Portal		portal;

	if (plan == NULL)
		elog(ERROR, "could not read this region's own WAL");
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	filing = false;
	read_all(portal, keep);
	if (lost != NIL)
	{
		SPI_scroll_cursor_move(portal, FETCH_ABSOLUTE, 0);
		filing = true;
		next_lost = 0;
		read_all(portal, keep);
	}
	SPI_cursor_close(portal);
	meridian_rows_forget();
}

/* ----------------------------------------------------------------
 * what follows
 * ----------------------------------------------------------------
 */

/* In what is told of an entry, its stamp is missing: it is of nobody's present epoch. */
bool
meridian_unfenced_may_tell(const struct mrd_snapshot *s, const char *teller, const char *origin,
						   const char *class_name, const char *partition, uint64 epoch)
{
	int			n = mrd_snapshot_find(s, class_name, partition);
	int			by = n < 0 ? -1 : mrd_snapshot_region(s, teller);
	int			of = n < 0 ? -1 : mrd_snapshot_region(s, origin);

	return by >= 0 && of >= 0 && by != of &&
		(s->classes[s->partitions[n].class_index].replicas >> by & 1) != 0 &&
		mrd_authority_accepts(&s->partitions[n].authority, (mrd_region) of, epoch,
							  PG_UINT64_MAX) != MRD_ACCEPT;
}

static char *
column(int row, int n)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, n);
}

static Datum
datum(int row, int n)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, n, &isnull);
}

/* The entry in this row of the last query */
static void
tell_entry(const struct mrd_snapshot *s, const char *origin, int row)
{
	MeridianWireEntry *e = palloc0(sizeof(*e));
	MeridianWireOut out;

	strlcpy(e->origin, origin, sizeof(e->origin));
	strlcpy(e->class_name, column(row, 1), sizeof(e->class_name));
	strlcpy(e->partition, column(row, 2), sizeof(e->partition));
	e->commit_lsn = DatumGetLSN(datum(row, 3));
	e->seq = (uint32) DatumGetInt32(datum(row, 4));
	e->epoch = (uint64) DatumGetInt64(datum(row, 5));
	e->committed_at = DatumGetTimestampTz(datum(row, 6));
	strlcpy(e->relation, column(row, 7), sizeof(e->relation));
	strlcpy(e->operation, column(row, 8), sizeof(e->operation));
	strlcpy(e->status, "open", sizeof(e->status));
	e->before = column(row, 9);
	e->before_len = e->before == NULL ? 0 : strlen(e->before);
	e->after = column(row, 10);
	e->after_len = e->after == NULL ? 0 : strlen(e->after);
	if (meridian_unfenced_may_tell(s, meridian_region, origin, e->class_name, e->partition, e->epoch))
	{
		meridian_wire_out_init(&out);
		meridian_wire_put_entry(&out, e);
		if (out.failed)
			ereport(LOG,
					(errmsg("an entry of table %s is too long to be told: only this region has it in meridian.reconcile",
							e->relation)));
		else
			(void) LogLogicalMessage(MERIDIAN_ENTRY_PREFIX, (char *) out.data, out.len, true);
		pfree(out.data);
	}
	pfree(e);
}

/* All regions have the same queue. */
static void
tell_entries(const struct mrd_snapshot *s)
{
	const char *origin = ((Past *) linitial(pasts))->origin;
	ListCell   *lc;

	foreach(lc, lost)
	{
		SPI_execute(psprintf("SELECT class, partition, commit_lsn, seq, epoch, committed_at, relation, operation, "
							 "before::text, after::text FROM meridian.reconcile_entry "
							 "WHERE origin = %s AND commit_lsn = '%X/%X' AND status = 'open' ORDER BY seq",
							 quote_literal_cstr(origin), LSN_FORMAT_ARGS(*(XLogRecPtr *) lfirst(lc))), false, 0);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char	   *class_name = column((int) i, 1);
			char	   *partition = column((int) i, 2);
			ListCell   *of;

			tell_entry(s, origin, (int) i);
			foreach(of, pasts)
			{
				Past	   *p = lfirst(of);

				p->rows += strcmp(p->class_name, class_name) == 0 && strcmp(p->partition, partition) == 0;
			}
		}
	}
}

/* Rows that were copied from the origin are not in our WAL as transactions of its. */
static bool
copied_past_cut(const Past *p)
{
	return meridian_sql_any(psprintf("SELECT FROM meridian.copied c JOIN meridian.attachment a USING (relid) "
									 "WHERE a.class = %s AND c.partition = %s AND c.epoch = " UINT64_FORMAT
									 " AND c.reached > '%X/%X'",
									 quote_literal_cstr(p->class_name), quote_literal_cstr(p->partition),
									 p->epoch, LSN_FORMAT_ARGS(p->cut)));
}

/*
 * Was all of it found?  Only if our WAL reaches back to the cut.  It does if the
 * present home's slot was there when we were (reach.c), as long as nobody takes the
 * lost home's stream again, and no other partition's cut let it go on further.
 */
static bool
is_complete(const struct mrd_snapshot *s, const Past *p)
{
	int			n = mrd_snapshot_find(s, p->class_name, p->partition);
	int			origin = mrd_snapshot_region(s, p->origin);
	mrd_region	home = n < 0 ? MRD_REGION_NONE : s->partitions[n].authority.region;
	char		slot[NAMEDATALEN];

	if (origin < 0 || home >= s->region_count || s->regions[origin].stream == MRD_STREAM_RUN ||
		meridian_furthest_cut(s, p->origin) != p->cut || copied_past_cut(p))
		return false;
	meridian_stream_name(s->regions[home].name, slot, sizeof(slot));
	return meridian_reach_covers(slot, p->origin, p->cut) &&
		meridian_sql_any(psprintf("SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %s "
								  "AND wal_status <> 'lost'", quote_literal_cstr(slot)));
}

static void
forget_marks(const struct mrd_snapshot *s)
{
	ListCell   *lc;

	/* before the marks go, which it asks */
	foreach(lc, pasts)
		((Past *) lfirst(lc))->complete = is_complete(s, lfirst(lc));
	foreach(lc, touched)
	{
		const MeridianWireStampEntry *e = lfirst(lc);

		meridian_forget_partition(s, e->class_name, e->partition, e->epoch);
	}
	foreach(lc, pasts)
	{
		Past	   *p = lfirst(lc);

		p->copied = p->transactions > 0 || !p->complete;
		if (p->copied)
			meridian_forget_partition(s, p->class_name, p->partition, p->epoch);
	}
}

static void
note_compared(void)
{
	ListCell   *lc;

	foreach(lc, pasts)
	{
		Past	   *p = lfirst(lc);

		SPI_execute(psprintf("UPDATE meridian.past_cut SET compared_at = pg_catalog.now(), problem = NULL "
							 "WHERE class = %s AND partition = %s AND epoch = " UINT64_FORMAT,
							 quote_literal_cstr(p->class_name), quote_literal_cstr(p->partition),
							 p->epoch), false, 0);
	}
}

static void
say(const Past *p)
{
	meridian_audit(InvalidOid, InvalidOid,
				   "event=replica.past_cut region=%s class=%s partition=%s from=%s epoch=" UINT64_FORMAT
				   " cut=%X/%X reached=%X/%X transactions=" UINT64_FORMAT " rows=" UINT64_FORMAT
				   " complete=%s",
				   meridian_region, p->class_name, p->partition, p->origin, p->epoch,
				   LSN_FORMAT_ARGS(p->cut), LSN_FORMAT_ARGS(p->reached), p->transactions, p->rows,
				   p->complete ? "yes" : "no");
	ereport(LOG,
			(errmsg("this region held " UINT64_FORMAT " transactions of region \"%s\" that do not count in %s/%s: they are filed, and the partition is copied again",
					p->transactions, p->origin, p->class_name, p->partition),
			 p->complete ? 0 : errdetail("What of it this region's WAL may no longer have is not filed.")));
}

/* ----------------------------------------------------------------
 * one origin after the other
 * ----------------------------------------------------------------
 */

/* What is not compared yet, of the first origin that has something; until the end of the transaction */
static void
find_pasts(MemoryContext keep)
{
	MemoryContext old;

	pasts = lost = touched = NIL;
	if (SPI_execute("SELECT class, partition, epoch, origin, cut, reached FROM meridian.past_cut "
					"WHERE compared_at IS NULL AND origin = (SELECT origin FROM meridian.past_cut "
					"WHERE compared_at IS NULL ORDER BY problem IS NOT NULL, origin LIMIT 1) ORDER BY 1, 2, 3", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read meridian.past_cut");
	old = MemoryContextSwitchTo(keep);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Past	   *p = palloc0(sizeof(*p));

		strlcpy(p->class_name, column((int) i, 1), sizeof(p->class_name));
		strlcpy(p->partition, column((int) i, 2), sizeof(p->partition));
		p->epoch = (uint64) DatumGetInt64(datum((int) i, 3));
		strlcpy(p->origin, column((int) i, 4), sizeof(p->origin));
		p->cut = DatumGetLSN(datum((int) i, 5));
		p->reached = DatumGetLSN(datum((int) i, 6));
		pasts = lappend(pasts, p);
	}
	MemoryContextSwitchTo(old);
}

static XLogRecPtr
earliest_cut(void)
{
	XLogRecPtr	ret = PG_UINT64_MAX;
	ListCell   *lc;

	foreach(lc, pasts)
		ret = Min(ret, ((Past *) lfirst(lc))->cut);
	return ret;
}

/* In a transaction that has written nothing: a slot is made */
static void
compare_origin(MemoryContext keep)
{
	char	   *slot = psprintf("meridian_past_cut_%d", MyProcPid);
	const struct mrd_snapshot *s;

	XLogFlush(GetXLogInsertRecPtr());	/* decoding ends where the disk does */
	if (copy_slot(slot))
	{
		read_wal(slot, earliest_cut(), keep);
		SPI_execute(psprintf("SELECT pg_catalog.pg_drop_replication_slot(%s)", quote_literal_cstr(slot)),
					false, 0);
	}
	s = meridian_plugin_snapshot(); /* as of after the slot was copied */
	tell_entries(s);
	forget_marks(s);
	note_compared();
}

typedef enum Compared
{
	COMPARED_ALL,
	COMPARED_ONE,				/* origin; there may be more */
	COMPARED_BY_OTHER,			/* who may have looked before there was something */
	COMPARED_NOT				/* it failed */
} Compared;

static Compared
compare_next(MemoryContext keep)
{
	ListCell   *lc;
	Compared	ret = COMPARED_BY_OTHER;

	meridian_sql_begin();
	if (meridian_past_cut_lock())
	{
		find_pasts(keep);
		ret = pasts == NIL ? COMPARED_ALL : COMPARED_ONE;
		if (pasts != NIL)
			compare_origin(keep);
	}
	meridian_sql_end();
	foreach(lc, pasts)
	{
		if (((Past *) lfirst(lc))->copied)
			say(lfirst(lc));
	}
	return ret;
}

/* In a transaction of its own */
static void
note_problem(const char *origin, const char *problem)
{
	static const char note[] =
	"UPDATE meridian.past_cut SET problem = $2 WHERE origin = $1 AND compared_at IS NULL";
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(origin), CStringGetTextDatum(problem)};

	meridian_sql_begin();
	if (SPI_execute_with_args(note, 2, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write meridian.past_cut");
	meridian_sql_end();
}

/* The streams go on, and it is tried again. */
static void
on_failure(MemoryContext keep)
{
	ErrorData  *e;

	MemoryContextSwitchTo(keep);
	e = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	meridian_rows_abandon();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	ReplicationSlotCleanup();
	MemoryContextSwitchTo(keep);
	ereport(LOG,
			(errmsg("could not compare what this region has past a cut: %s", e->message)));
	if (pasts != NIL)
		note_problem(((Past *) linitial(pasts))->origin, e->message);
}

static Compared
try_next(void)
{
	MemoryContext keep = AllocSetContextCreate(TopMemoryContext, "meridian past cut",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	volatile Compared ret = COMPARED_NOT;

	PG_TRY();
	{
		ret = compare_next(keep);
	}
	PG_CATCH();
	{
		on_failure(keep);
	}
	PG_END_TRY();
	pasts = lost = touched = NIL;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(keep);
	return ret;
}

static void
plan_again(Compared done)
{
	int			ms = AGAIN_MS;

	if (done != COMPARED_NOT)
		try_again_ms = 0;
	else
		ms = try_again_ms = Min(Max(2 * try_again_ms, TRY_AGAIN_MS), TRY_AGAIN_MS_MAX);
	again_at = done == COMPARED_ALL ? 0 : TimestampTzPlusMilliseconds(meridian_instant(), ms);
}

/*
 * Called by a worker that applies nothing at the moment, before it does.  What it
 * writes is this region's own.
 */
void
meridian_unfenced_settle(void)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	RepOriginId saved = replorigin_session_origin;
	MemoryContext old = CurrentMemoryContext;
	uint64		number;
	Compared	done;

	if (s == NULL || !meridian_unfenced_news(s))
		return;
	if (content.data == NULL)
	{
		MemoryContextSwitchTo(TopMemoryContext);
		meridian_wire_out_init(&content);
		MemoryContextSwitchTo(old);
	}
	replorigin_session_origin = InvalidRepOriginId;
	seen = fingerprint(s);
	note_positions(s);
	while ((done = try_next()) == COMPARED_ONE)
		;
	plan_again(done);
	number = meridian_apply.xact.number;
	memset(&meridian_apply.xact, 0, sizeof(meridian_apply.xact));
	meridian_apply.xact.number = number;
	replorigin_session_origin = saved;
	MemoryContextSwitchTo(old);
}
