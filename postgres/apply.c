/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  The apply worker: one origin's stream, transaction by transaction.
 *
 * A remote transaction becomes one local transaction under the origin's
 * replication origin, so that its commit record carries the position: it is
 * applied once, whatever crashes.  Here messages become transactions; rows.c
 * makes their rows.  How far we are is in positions.c, the bytes in receive.c,
 * connections in connect.c.
 *
 * Before each transaction, and again before its commit, the worker looks at the
 * snapshot: its own region's lease and its own order (orders.c), and the
 * authority of every partition that the transaction was stamped for: whether it
 * counts, and whether all that counts of the epochs before it is here
 * (accept.c).  Of an origin that another region hands over, it also looks
 * whether that is still the order.
 *
 * No error skips a change.  The worker ends, the launcher starts another one,
 * and the transaction is tried again; links say why it waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ddl.h"
#include "worker.h"

#define FULL_IMAGES_FOR 100		/* accepted transactions after which they are not asked for again */

MeridianApply meridian_apply;

static MeridianWireReader reader;
static MeridianWireMsg msg;
static MeridianWireOut content;
static struct ZSTD_DCtx_s *decompressor;

const char *
meridian_apply_origin(XLogRecPtr *lsn)
{
	*lsn = meridian_apply.xact.lsn;
	return meridian_apply.xact.origin;
}

/* ----------------------------------------------------------------
 * the local transaction
 * ----------------------------------------------------------------
 */

/*
 * What is not a row goes into our own WAL again, under the origin: if this
 * region must hand the transaction over to another one, it is complete.
 */
static void
repeat_message(const char *prefix, const void *payload, size_t len)
{
	if (!meridian_apply.xact.tail)
		(void) LogLogicalMessage(prefix, payload, len, true);
}

/* A buffer that lives as long as the process */
static void
empty(MeridianWireOut *out)
{
	if (out->data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		meridian_wire_out_init(out);
		MemoryContextSwitchTo(old);
	}
	out->len = 0;
}

static void
repeat_stamps(void)
{
	static MeridianWireOut out;

	if (meridian_apply.xact.stamps.count == 0 || meridian_apply.xact.tail)
		return;
	empty(&out);
	meridian_wire_put_stamp(&out, &meridian_apply.xact.stamps);
	repeat_message(MERIDIAN_STAMP_PREFIX, out.data, out.len);
}

void
meridian_apply_start(void)
{
	SetCurrentStatementStartTimestamp();
	if (meridian_apply.xact.started)
		return;
	StartTransactionCommand();
	MemoryContextSwitchTo(meridian_apply.context);
	meridian_apply.xact.started = true;
	repeat_stamps();
}

void
meridian_apply_abandon(void)
{
	AbortOutOfAnyTransaction();
	meridian_rows_abandon();
	meridian_apply.xact.open = meridian_apply.xact.started = false;
	MemoryContextSwitchTo(meridian_apply.context);
}

/*
 * The transaction at hand must not be applied, and part of it may have been:
 * run it again from its start as lost tail.
 */
void
meridian_apply_put_aside(const char *why)
{
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	strlcpy(meridian_apply.stream->tail_origin, meridian_apply.xact.origin, MRD_NAME_MAX);
	meridian_apply.stream->tail_lsn = meridian_apply.xact.lsn;
	meridian_apply.stream->full_images = true;
	LWLockRelease(meridian_streams->lock);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the transaction of region \"%s\" at %X/%X is put aside: %s",
					meridian_apply.xact.origin, LSN_FORMAT_ARGS(meridian_apply.xact.lsn), why)));
}

/* A replica yielded to the home: count it, in the same transaction. */
void
meridian_apply_count(const char *schema_name, const char *table_name, const char *kind)
{
	static const char add[] =
	"INSERT INTO meridian.conflict_count AS c (origin, relation, kind, count) "
	"VALUES ($1, $2, $3, 1) ON CONFLICT (origin, relation, kind) "
	"DO UPDATE SET count = c.count + 1, last_at = pg_catalog.clock_timestamp()";
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];

	values[0] = CStringGetTextDatum(meridian_apply.xact.origin);
	values[1] = CStringGetTextDatum(quote_qualified_identifier(schema_name, table_name));
	values[2] = CStringGetTextDatum(kind);
	SPI_connect();
	if (SPI_execute_with_args(add, 3, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not count a conflict");
	SPI_finish();
}

/* Everything after this belongs to the lost tail. */
static void
turn_to_tail(void)
{
	if (meridian_apply.xact.tail)
		return;
	if (meridian_apply.xact.started)
		meridian_apply_put_aside("part of it is past the cut");
	if (!meridian_apply.full_images)
		meridian_apply_put_aside("its images before the change are needed");
	meridian_apply.xact.tail = true;
	meridian_tail_begin(0);
}

/* ----------------------------------------------------------------
 * between transactions
 * ----------------------------------------------------------------
 */

/* A gap is closed here, before anything more is applied (cover.c). */
static void
cover(void)
{
	/* should the order change meanwhile: what is applied is durable */
	meridian_positions_flush();
	meridian_apply.streaming = false;
	meridian_cover_copy(meridian_apply.conninfo);
	meridian_apply.streaming = true;
	meridian_apply.last_heard = meridian_instant();
}

/* Between transactions: is there anything that this region ought to have and has not? */
void
meridian_apply_tend_cover(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (meridian_apply.xact.open || meridian_apply.leave || meridian_apply.reconnect ||
		s == NULL || !mrd_may_apply(s, meridian_boot_ns()))
		return;
	meridian_cover_tend(meridian_apply.conninfo, meridian_positions_done(),
						meridian_part_count > 1);
	if (meridian_cover_due(meridian_positions_done(), true))
		cover();
	MemoryContextSwitchTo(meridian_apply.context);
	MemoryContextReset(meridian_apply.context);
}

/*
 * Between transactions: what we write on our own account because of this origin.
 * Not under its name.  Who waits for our word on what came before has it first.
 */
void
meridian_apply_tend(const struct mrd_snapshot *s)
{
	mrd_lsn		applied[MRD_REGIONS_MAX] = {0};
	RepOriginId origin = replorigin_session_origin;

	if (s == NULL || meridian_apply.xact.open || !mrd_may_apply(s, meridian_boot_ns()))
		return;
	for (int i = 0; i < s->region_count; i++)
		applied[i] = meridian_stream_applied(s->regions[i].name);
	replorigin_session_origin = InvalidRepOriginId;
	meridian_settled_note(s, applied);
	if (meridian_repairs_due(s))
	{
		if (meridian_positions_dirty())
			meridian_positions_flush();
		meridian_repairs_send();
	}
	replorigin_session_origin = origin;
	MemoryContextSwitchTo(meridian_apply.context);
}

/* ----------------------------------------------------------------
 * begin and commit
 * ----------------------------------------------------------------
 */

static void
malformed_position(XLogRecPtr lsn)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent a position that cannot be: %X/%X", meridian_apply.origin,
					LSN_FORMAT_ARGS(lsn))));
}

/*
 * Nothing in a frame is later than the frame.  A position that is too high would
 * make us leave out all that is really before it.
 */
static void
check_position(XLogRecPtr lsn)
{
	if (lsn > meridian_apply.frame_end)
		malformed_position(lsn);
}

/*
 * A forwarded origin's changes past its cut have begun, so all that counts has
 * been handed over.  The rest has to come from the origin itself: the tail in it
 * was put aside where it passed, and is not in this stream.
 */
static void
end_forward(MeridianPart *f, XLogRecPtr cut)
{
	meridian_origin_use(f->id);
	meridian_origin_advance(cut);
	meridian_part_reached(f, cut);
	meridian_positions_flush();
	meridian_forward_close(f);
}

/* The part that the transaction belongs to; NULL: it is not to be handed over any more. */
static MeridianPart *
begin_part(void)
{
	MeridianPart *p;
	XLogRecPtr	cut;

	if (msg.region[0] == '\0')
	{
		if (msg.lsn != msg.local_lsn)
			malformed_position(msg.lsn);
		return meridian_own;
	}
	p = meridian_part_forwarded(msg.region);
	if (p == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent changes of \"%s\", for which it was not asked",
						meridian_apply.origin, msg.region)));
	if (!meridian_forward_allowed(p, meridian_apply.present))
		return NULL;
	cut = meridian_furthest_cut(meridian_apply.present, p->region);
	if (msg.lsn > cut)
	{
		end_forward(p, cut);
		return NULL;
	}
	return p;
}

static void
on_begin(void)
{
	MeridianXact *x = &meridian_apply.xact;
	MeridianPart *p;

	if (meridian_cover_due(msg.local_lsn, false))
		cover();
	meridian_apply.present = meridian_orders_go_on();
	if (meridian_apply.present == NULL)
		return;
	meridian_orders_state(MERIDIAN_STREAM_RUNNING);
	p = begin_part();
	if (p == NULL)
	{
		meridian_apply.reconnect = true;
		return;
	}
	strlcpy(x->origin, p->region, MRD_NAME_MAX);
	x->origin_id = p->id;
	x->open = true;
	x->started = x->tail = false;
	x->number++;
	x->lsn = msg.lsn;
	x->local_lsn = msg.local_lsn;
	x->commit_time = msg.commit_time;
	x->xid = msg.xid;
	x->stamps.count = 0;
	x->careful = x->local_lsn <= meridian_apply.stream->careful_until;
	meridian_origin_use(x->origin_id);
	if (x->lsn <= replorigin_session_get_progress(false))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a transaction of \"%s\" again", meridian_apply.origin,
						x->origin)));
	if (meridian_apply.stream->tail_lsn == x->lsn &&
		strcmp(meridian_apply.stream->tail_origin, x->origin) == 0)
		turn_to_tail();
}

/* The commit record carries the position. */
static void
commit_local(void)
{
	replorigin_session_origin_lsn = meridian_apply.xact.lsn;
	replorigin_session_origin_timestamp = meridian_apply.xact.commit_time;
	meridian_rows_close();
	CommitTransactionCommand();
	meridian_positions_committed(XactLastCommitEnd);
	pgstat_report_stat(false);
	MemoryContextSwitchTo(meridian_apply.context);
}

static void
after_commit(void)
{
	static int	accepted = 0;	/* since the last of the tail */
	MeridianXact *x = &meridian_apply.xact;
	MeridianPart *p = x->origin_id == meridian_own->id ? meridian_own :
	meridian_part_forwarded(x->origin);

	/* what no commit record carried */
	if (!x->started)
		meridian_origin_advance(x->lsn);
	meridian_part_reached(p, x->lsn);
	if (p != meridian_own)
	{
		/* the slot may follow to here, and must not overtake our position */
		meridian_origin_use(meridian_own->id);
		meridian_origin_advance(x->local_lsn);
		meridian_part_reached(meridian_own, x->local_lsn);
	}
	meridian_positions_applied(x->local_lsn);
	x->open = x->started = false;
	meridian_apply.stream->transactions++;
	if (p == meridian_own)
		meridian_cover_applied(x->xid);
	if (x->tail)
	{
		meridian_apply.stream->tail_lsn = InvalidXLogRecPtr;
		accepted = 0;
	}
	else if (++accepted == FULL_IMAGES_FOR)
		meridian_apply.stream->full_images = false; /* from the next connection on */
}

static void
on_commit(void)
{
	MeridianXact *x = &meridian_apply.xact;

	if (!x->open)
		return;
	check_position(msg.local_lsn);
	if (msg.local_lsn != x->local_lsn)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent the end of another transaction", meridian_apply.origin)));
	meridian_apply.present = meridian_orders_go_on();
	if (meridian_apply.present == NULL)
		return;
	if (!meridian_orders_still_ours(meridian_apply.present))
	{
		meridian_apply.reconnect = true;	/* which abandons it */
		return;
	}
	if (!x->tail && meridian_accept_verdict(meridian_apply.present) != MRD_ACCEPT)
		meridian_apply_put_aside("its authority ended meanwhile");
	if (x->started)
		commit_local();
	after_commit();
}

/* ----------------------------------------------------------------
 * within a transaction
 * ----------------------------------------------------------------
 */

static void
on_stamp(void)
{
	static MeridianWireStamp more;
	enum mrd_accept accept;
	MeridianWireStamp *all = &meridian_apply.xact.stamps;
	int			rc = meridian_wire_read_stamp(msg.payload, msg.payload_len, &more);

	if (rc != MRD_OK || all->count + more.count > MERIDIAN_WIRE_STAMPS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed stamp: %s", meridian_apply.origin,
						mrd_strerror(rc))));
	memcpy(&all->entries[all->count], more.entries, sizeof(more.entries[0]) * (size_t) more.count);
	all->count += more.count;
	accept = meridian_accept_verdict(meridian_apply.present);
	if (accept == MRD_ACCEPT && !meridian_apply.xact.tail &&
		!meridian_accept_past_is_here(meridian_apply.present))
	{
		if (!meridian_accept_wait())
			return;
		accept = meridian_accept_verdict(meridian_apply.present);
	}
	switch (accept)
	{
		case MRD_ACCEPT:
			if (meridian_apply.xact.started)
				repeat_message(MERIDIAN_STAMP_PREFIX, msg.payload, msg.payload_len);
			break;
		case MRD_ACCEPT_TAIL:
		case MRD_ACCEPT_GONE:
			turn_to_tail();
			break;
	}
}

static bool
schema_stamped(void)
{
	for (int i = 0; i < meridian_apply.xact.stamps.count; i++)
	{
		if (strcmp(meridian_apply.xact.stamps.entries[i].class_name, MRD_CLASS_SCHEMA) == 0)
			return true;
	}
	return false;
}

static void
run_ddl(const MeridianWireDdl *ddl)
{
	char	   *text = pnstrdup(ddl->text, ddl->text_len);
	char	   *path = pnstrdup(ddl->search_path, ddl->search_path_len);
	Oid			role = get_role_oid(ddl->role, true);
	Oid			saved_user;
	int			saved_context;
	int			nest;

	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\", which ran a statement at the schema's home, does not exist here",
						ddl->role),
				 errhint("Roles belong to each region: create it here.")));
	pg_verifymbstr(text, (int) ddl->text_len, false);
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(role, saved_context | SECURITY_LOCAL_USERID_CHANGE);
	PushActiveSnapshot(GetTransactionSnapshot());
	meridian_ddl_repeat(text);
	PopActiveSnapshot();
	SetUserIdAndSecContext(saved_user, saved_context);
	AtEOXact_GUC(true, nest);
	CommandCounterIncrement();
}

static void
on_ddl(void)
{
	MeridianWireDdl ddl;
	int			rc = meridian_wire_read_ddl(msg.payload, msg.payload_len, &ddl);

	if (rc != MRD_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed statement: %s", meridian_apply.origin,
						mrd_strerror(rc))));
	if (!schema_stamped())
		meridian_apply_put_aside("a statement that no guard stamped");
	meridian_apply_start();
	meridian_cover_disturb(InvalidOid);
	meridian_rows_close();
	run_ddl(&ddl);
	repeat_message(MERIDIAN_DDL_PREFIX, msg.payload, msg.payload_len);
}

static void
on_change(void)
{
	if (meridian_apply.xact.tail)
	{
		meridian_tail_change(&msg);
		return;
	}
	meridian_apply_start();
	meridian_rows_change(&msg);
}

static void
on_statement(void)
{
	if (meridian_apply.xact.tail)
	{
		meridian_tail_statement(&msg);
		return;
	}
	if (msg.type == MERIDIAN_WIRE_DDL)
	{
		on_ddl();
		return;
	}
	meridian_apply_start();
	meridian_rows_truncate(&msg);
}

/* A malformed one is said by who makes the repair. */
static void
disturb_repaired(void)
{
	MeridianWireRepair *repair = palloc(sizeof(*repair));

	if (meridian_wire_read_repair(msg.payload, msg.payload_len, repair) == MRD_OK &&
		strcmp(repair->target, meridian_region) == 0)
	{
		Oid			relid = meridian_table(repair->schema_name, repair->table_name);

		if (OidIsValid(relid))
			meridian_cover_disturb(relid);
	}
	pfree(repair);
}

static void
on_decision(void)
{
	/* in the lost tail of a home, what it said of another's tail is only news of that */
	if (meridian_apply.xact.tail && msg.type != MERIDIAN_WIRE_ENTRY)
		return;
	meridian_apply_start();
	switch (msg.type)
	{
		case MERIDIAN_WIRE_REPAIR:
			disturb_repaired();
			meridian_repair(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_REPAIR_PREFIX, msg.payload, msg.payload_len);
			break;
		case MERIDIAN_WIRE_LEFT_OUT:
			meridian_cover_outdate();
			meridian_left_out(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_LEFT_OUT_PREFIX, msg.payload, msg.payload_len);
			break;
		case MERIDIAN_WIRE_ENTRY:
			meridian_entry(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_ENTRY_PREFIX, msg.payload, msg.payload_len);
			break;
		default:
			meridian_resolve(msg.payload, msg.payload_len);
			repeat_message(MERIDIAN_RESOLVE_PREFIX, msg.payload, msg.payload_len);
			break;
	}
}

/* ----------------------------------------------------------------
 * outside transactions
 * ----------------------------------------------------------------
 */

static void
on_hello(void)
{
	if (strcmp(msg.region, meridian_apply.origin) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("expected region \"%s\" but reached \"%s\"", meridian_apply.origin, msg.region)));
	if (strcmp(msg.encoding, GetDatabaseEncodingName()) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("region \"%s\" has the encoding %s, this one %s", msg.region,
						msg.encoding, GetDatabaseEncodingName())));
}

/* Nothing before this position is still to come. */
static void
on_position(XLogRecPtr lsn)
{
	check_position(lsn);
	meridian_positions_applied(lsn);
	meridian_origin_use(meridian_own->id);
	meridian_origin_advance(lsn);
	meridian_part_reached(meridian_own, lsn);
}

static void
on_heartbeat(void)
{
	MeridianStream *s = meridian_apply.stream;

	/* between transactions, however busy the stream is */
	meridian_apply_tend(meridian_snapshot());
	on_position(msg.local_lsn);
	meridian_positions_flush();
	/* who reads here is told of what can be read here */
	if (meridian_cover_is_behind())
		return;
	LWLockAcquire(meridian_streams->lock, LW_EXCLUSIVE);
	if (msg.session > s->through_session ||
		(msg.session == s->through_session && msg.boot_ms > s->through_boot_ms))
	{
		s->through_session = msg.session;
		s->through_boot_ms = msg.boot_ms;
	}
	LWLockRelease(meridian_streams->lock);
}

static void
on_origin(void)
{
	MeridianPart *f = meridian_part_forwarded(msg.region);
	const struct mrd_snapshot *s;
	XLogRecPtr	lsn;

	meridian_positions_remember(msg.region, msg.lsn);
	if (f == NULL)
	{
		meridian_positions_note(msg.region, msg.lsn, msg.local_lsn);
		return;
	}
	/* all of a forwarded origin up to there has been handed over already */
	s = meridian_snapshot_lately();
	if (s == NULL || !meridian_forward_allowed(f, s))
		return;
	lsn = Min(msg.lsn, meridian_furthest_cut(s, f->region));
	meridian_origin_use(f->id);
	meridian_origin_advance(lsn);
	meridian_part_reached(f, lsn);
}

/* ----------------------------------------------------------------
 * frames and messages
 * ----------------------------------------------------------------
 */

static void
dispatch_outside(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (s != NULL && meridian_unfenced_news(s))
	{
		meridian_apply.reconnect = true;	/* our positions are looked at before they move */
		return;
	}
	switch (msg.type)
	{
		case MERIDIAN_WIRE_HELLO:
			on_hello();
			break;
		case MERIDIAN_WIRE_BEGIN:
			on_begin();
			break;
		case MERIDIAN_WIRE_HEARTBEAT:
			on_heartbeat();
			break;
		case MERIDIAN_WIRE_ORIGIN:
			on_origin();
			break;
		case MERIDIAN_WIRE_POSITION:
			on_position(msg.local_lsn);
			break;
		default:
			break;				/* of a transaction that we are leaving */
	}
}

static void
dispatch_within(void)
{
	switch (msg.type)
	{
		case MERIDIAN_WIRE_COMMIT:
			on_commit();
			break;
		case MERIDIAN_WIRE_RELATION:
			meridian_rows_learn(&msg.relation, msg.raw, msg.raw_len);
			break;
		case MERIDIAN_WIRE_INSERT:
		case MERIDIAN_WIRE_UPDATE:
		case MERIDIAN_WIRE_DELETE:
			on_change();
			break;
		case MERIDIAN_WIRE_TRUNCATE:
		case MERIDIAN_WIRE_DDL:
			on_statement();
			break;
		case MERIDIAN_WIRE_STAMP:
			on_stamp();
			break;
		case MERIDIAN_WIRE_REPAIR:
		case MERIDIAN_WIRE_RESOLVE:
		case MERIDIAN_WIRE_ENTRY:
		case MERIDIAN_WIRE_LEFT_OUT:
			on_decision();
			break;
		default:
			break;
	}
}

void
meridian_apply_malformed(int rc)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent malformed bytes: %s", meridian_apply.origin,
					mrd_strerror(rc))));
}

/* While a long transaction is applied, the sender must keep hearing of us. */
static void
stay_in_touch(void)
{
	if (!meridian_positions_report_due())
		return;
	if (meridian_order(meridian_snapshot()) != MRD_STREAM_RUN)
		meridian_apply.leave = true;
}

bool
meridian_apply_stay(void)
{
	CHECK_FOR_INTERRUPTS();
	stay_in_touch();
	return !meridian_apply.leave;
}

void
meridian_apply_frame(const char *data, size_t len)
{
	int			rc;
	int			n = 0;

	empty(&content);
	rc = meridian_wire_unpack(decompressor, data, len, &content);
	if (rc != MRD_OK)
		meridian_apply_malformed(rc);
	meridian_wire_feed(&reader, content.data, content.len);
	while (!meridian_apply.leave && !meridian_apply.reconnect && (rc = meridian_wire_next(&reader, &msg)) == 1)
	{
		MemoryContextSwitchTo(meridian_apply.context);
		if (meridian_apply.xact.open)
			dispatch_within();
		else
			dispatch_outside();
		MemoryContextReset(meridian_apply.context);
		if (++n % 64 == 0)
			stay_in_touch();
		CHECK_FOR_INTERRUPTS();
	}
	if (rc < 0)
		meridian_apply_malformed(rc);
}

/* A new stream tells of everything from the start. */
void
meridian_apply_reset(void)
{
	uint64		number = meridian_apply.xact.number;

	meridian_rows_forget();
	meridian_cover_reset();
	if (decompressor != NULL)
		meridian_wire_decompressor_free(decompressor);
	decompressor = meridian_wire_decompressor();
	if (decompressor == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memset(&reader, 0, sizeof(reader));
	memset(&meridian_apply.xact, 0, sizeof(meridian_apply.xact));
	meridian_apply.xact.number = number;	/* what was noted of one is of no later one */
	meridian_apply.full_images = meridian_apply.stream->full_images;
}
