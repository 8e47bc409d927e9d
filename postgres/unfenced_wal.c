/*-------------------------------------------------------------------------
 *
 * unfenced_wal.c
 *	  What this region's own WAL has of another past a cut.
 *
 * Our WAL has these commits as we applied them, with full images but for what was
 * kept beside a copy (kept.c).  Each slot of another region keeps what that region
 * lacks of any origin, and nobody takes the lost home's stream past the cut before
 * it returned: they are decoded out of a copy of the slot that reaches back
 * furthest, as if they were to be handed over.
 *
 * The WAL is read twice.  The first time judges: a transaction is lost as a whole
 * when one of its stamps is past the cut of that partition.  The second time files
 * those that are, under the numbers that the old home's stream gives them: should
 * it return, nothing is filed twice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "plugin.h"
#include "unfenced.h"

#define FETCH_ROWS 64			/* frames of our own WAL at a time */
#define SEQ_OTHERS (1 << 26)	/* entries of a transaction, each region's of its own (first_seq) */

static MeridianWireReader reader;
static MeridianWireMsg msg;
static MeridianWireOut content;
static MeridianPasts *found;
static bool filing;				/* the second time */
static int	next_lost;			/* in found->lost, then: both times have the same order */
static bool is_lost;			/* the transaction at hand, then */

/* ----------------------------------------------------------------
 * its transactions
 * ----------------------------------------------------------------
 */

static void
note_touched(const MeridianWireStampEntry *e)
{
	MeridianWireStampEntry *copy;
	ListCell   *lc;

	foreach(lc, found->touched)
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
	found->touched = lappend(found->touched, copy);
}

/* The whole transaction is lost if one of its partitions is, as elsewhere. */
static void
judge(void)
{
	const MeridianXact *x = &meridian_apply.xact;
	bool		past = false;
	ListCell   *lc;

	foreach(lc, found->pasts)
	{
		MeridianPast *p = lfirst(lc);

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
	found->lost = lappend(found->lost, memcpy(palloc(sizeof(XLogRecPtr)), &x->lsn, sizeof(XLogRecPtr)));
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
	is_lost = filing && next_lost < list_length(found->lost) &&
		*(XLogRecPtr *) list_nth(found->lost, next_lost) == x->lsn;
	next_lost += is_lost;
	if (is_lost)
		meridian_tail_begin(first_seq(meridian_plugin_snapshot()));
}

static void
on_message(void)
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
			old = MemoryContextSwitchTo(found->memory);
			if (!filing)
				judge();
			MemoryContextSwitchTo(old);
			meridian_apply.xact.open = meridian_apply.xact.started = meridian_apply.xact.tail = false;
			break;
		default:
			break;				/* positions, and what was decided of other tails */
	}
}

/* ----------------------------------------------------------------
 * its frames
 * ----------------------------------------------------------------
 */

static void
read_frame(bytea *frame)
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
		on_message();
		MemoryContextSwitchTo(old);
		CHECK_FOR_INTERRUPTS();
	}
	if (rc < 0)
		elog(ERROR, "could not read what this region's own WAL has of region \"%s\": %s",
			 found->origin, mrd_strerror(rc));
}

/* One pass over what the portal has */
static void
read_all(Portal portal)
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

			read_frame(DatumGetByteaPP(SPI_getbinval(tuples->vals[i], tuples->tupdesc, 1, &isnull)));
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

static XLogRecPtr
earliest_cut(void)
{
	XLogRecPtr	ret = PG_UINT64_MAX;
	ListCell   *lc;

	foreach(lc, found->pasts)
		ret = Min(ret, ((MeridianPast *) lfirst(lc))->cut);
	return ret;
}

static void
read_wal(const char *name, XLogRecPtr from)
{
	char	   *sql = psprintf("SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes(%s, NULL, NULL, "
							   "'wire', '%d', 'region', %s, 'own_from', 'FFFFFFFF/FFFFFFFF', 'images', 'full', "
							   "'forward', %s)", quote_literal_cstr(name), MERIDIAN_WIRE_VERSION,
							   quote_literal_cstr(meridian_region),
							   quote_literal_cstr(psprintf("%s=%X/%X", found->origin, LSN_FORMAT_ARGS(from))));
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, 0, NULL, CURSOR_OPT_SCROLL);
	Portal		portal;

	if (plan == NULL)
		elog(ERROR, "could not read this region's own WAL");
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	filing = false;
	read_all(portal);
	if (found->lost != NIL)
	{
		SPI_scroll_cursor_move(portal, FETCH_ABSOLUTE, 0);
		filing = true;
		next_lost = 0;
		read_all(portal);
	}
	SPI_cursor_close(portal);
	meridian_rows_forget();
}

void
meridian_unfenced_read(MeridianPasts *p)
{
	char	   *slot = psprintf("meridian_past_cut_%d", MyProcPid);

	found = p;
	if (content.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		meridian_wire_out_init(&content);
		MemoryContextSwitchTo(old);
	}
	XLogFlush(GetXLogInsertRecPtr());	/* decoding ends where the disk does */
	if (!copy_slot(slot))
		return;
	read_wal(slot, earliest_cut());
	SPI_execute(psprintf("SELECT pg_catalog.pg_drop_replication_slot(%s)", quote_literal_cstr(slot)),
				false, 0);
}
