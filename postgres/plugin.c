/*-------------------------------------------------------------------------
 *
 * plugin.c
 *	  The output plugin: one region's WAL as the stream another region reads.
 *
 * A transaction becomes a few frames (wire.h), usually one.  Only rows of
 * attached tables travel, and only to regions that hold a copy of their class:
 * what may not travel is dropped here, where it is decoded (plugin_rows.c).
 * What came here from elsewhere is only noted, or handed over when the receiver
 * asks for it (plugin_origins.c).
 *
 * The decoder always starts at the slot's confirmed position, which may lie
 * well before what the receiver has applied; transactions it already has are
 * left out by the positions in the options own_from and forward.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "plugin.h"

#define FRAME_TARGET (64 * 1024)	/* content after which a frame is sent */
#define PROGRESS_EVERY 100			/* changes left out between keepalives */
#define POSITION_EVERY_MS 1000

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

/* ----------------------------------------------------------------
 * buffers and frames
 * ----------------------------------------------------------------
 */

static bool
wire_grow(MeridianWireOut *out, size_t need)
{
	size_t		cap = Max(out->cap * 2, 8192);

	cap = Max(cap, need);
	cap = Min(cap, MERIDIAN_WIRE_FRAME_MAX);
	if (out->data == NULL)
		out->data = palloc(cap);
	else
		out->data = repalloc(out->data, cap);
	out->cap = cap;
	return true;
}

void
meridian_wire_out_init(MeridianWireOut *out)
{
	memset(out, 0, sizeof(*out));
	out->grow = wire_grow;
	wire_grow(out, 8192);
}

/* Call before the first message outside or at the start of a transaction. */
static void
open_frame(MeridianPlugin *state)
{
	if (!state->greeted)
	{
		meridian_wire_put_hello(&state->out, meridian_region, GetDatabaseEncodingName(),
								PG_VERSION_NUM);
		state->greeted = true;
	}
	meridian_plugin_put_notes(state);
}

static void
send_frame(LogicalDecodingContext *ctx, bool last)
{
	MeridianPlugin *state = ctx->output_plugin_private;
	int			rc;

	state->frame.len = 0;
	rc = meridian_wire_pack(state->compressor, &state->out, &state->frame);
	if (rc != MRD_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("could not pack a frame for region \"%s\": %s",
						state->receiver, mrd_strerror(rc))));
	OutputPluginPrepareWrite(ctx, last);
	appendBinaryStringInfo(ctx->out, (char *) state->frame.data, (int) state->frame.len);
	OutputPluginWrite(ctx, last);
	state->out.len = 0;
	state->left_out = 0;
	state->last_frame = meridian_instant();
}

/* ----------------------------------------------------------------
 * options
 * ----------------------------------------------------------------
 */

const struct mrd_snapshot *
meridian_plugin_snapshot(void)
{
	const struct mrd_snapshot *s = meridian_snapshot_lately();

	if (s == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not decide what may travel: this region's agent has published nothing yet")));
	return s;
}

static void
parse_option(MeridianPlugin *state, DefElem *elem)
{
	char	   *value = elem->arg == NULL ? "" : strVal(elem->arg);

	if (strcmp(elem->defname, "wire") == 0)
	{
		if (strcmp(value, CppAsString2(MERIDIAN_WIRE_VERSION)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("wire format %s is not known here", value),
					 errhint("Run the same version of meridian in every region.")));
	}
	else if (strcmp(elem->defname, "region") == 0)
		strlcpy(state->receiver, value, sizeof(state->receiver));
	else if (strcmp(elem->defname, "own_from") == 0)
		state->own_from = meridian_plugin_lsn("own_from", value);
	else if (strcmp(elem->defname, "forward") == 0)
		meridian_plugin_forward(state, pstrdup(value));
	else if (strcmp(elem->defname, "images") == 0)
		state->full_images = strcmp(value, "full") == 0;
	else if (strcmp(elem->defname, "compression") == 0)
	{
		if (strcmp(value, "zstd") == 0)
			state->compressor = meridian_wire_compressor();
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not known", elem->defname)));
}

static void
parse_options(MeridianPlugin *state, List *options)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_xact = !IsTransactionState();
	ListCell   *lc;

	/* forwarded origins are looked up in the catalog */
	if (own_xact)
		StartTransactionCommand();
	MemoryContextSwitchTo(state->context);
	foreach(lc, options)
		parse_option(state, lfirst_node(DefElem, lc));
	if (own_xact)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	if (state->receiver[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"region\" must name the receiving region")));
	meridian_plugin_snapshot();
}

/* ----------------------------------------------------------------
 * callbacks
 * ----------------------------------------------------------------
 */

static void
release_stream(void *arg)
{
	MeridianPlugin *state = arg;

	if (state->compressor != NULL)
		meridian_wire_compressor_free(state->compressor);
	state->compressor = NULL;
	meridian_plugin_rows_end();
	meridian_plugin_origins_end();
}

static void
plugin_startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt, bool is_init)
{
	MeridianPlugin *state = MemoryContextAllocZero(ctx->context, sizeof(MeridianPlugin));
	MemoryContextCallback *release = MemoryContextAlloc(ctx->context, sizeof(*release));
	MemoryContext old = MemoryContextSwitchTo(ctx->context);

	opt->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	opt->receive_rewrites = false;
	state->context = ctx->context;
	state->change_context = AllocSetContextCreate(ctx->context, "meridian plugin change",
												  ALLOCSET_DEFAULT_SIZES);
	meridian_wire_out_init(&state->out);
	meridian_wire_out_init(&state->frame);
	state->last_frame = meridian_instant();
	MemoryContextSwitchTo(old);

	release->func = release_stream;
	release->arg = state;
	MemoryContextRegisterResetCallback(ctx->context, release);
	ctx->output_plugin_private = state;
	meridian_plugin_rows_begin(state);
	meridian_plugin_origins_begin(state);
	if (!is_init)
		parse_options(state, ctx->output_plugin_options);
}

static void
plugin_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	MeridianPlugin *state = ctx->output_plugin_private;
	MeridianPluginOrigin *o = NULL;

	state->snapshot = meridian_plugin_snapshot();
	state->begun = false;
	state->left_out = 0;
	state->origin_region = "";
	if (txn->origin_id != InvalidRepOriginId)
		o = meridian_plugin_origin(state, txn->origin_id);
	if (o == NULL)
	{
		state->skip = txn->end_lsn <= state->own_from;
		return;
	}
	state->origin_region = o->region;
	state->skip = txn->origin_lsn <= o->forward_from;
}

/* The begin is written with the first thing that travels. */
static void
ensure_begun(MeridianPlugin *state, ReorderBufferTXN *txn)
{
	if (state->begun)
		return;
	open_frame(state);
	meridian_wire_put_begin(&state->out, state->origin_region,
							state->origin_region[0] == '\0' ? txn->end_lsn : txn->origin_lsn,
							txn->end_lsn, txn->xact_time.commit_time, txn->xid);
	state->begun = true;
}

static void
leave_out(LogicalDecodingContext *ctx, MeridianPlugin *state)
{
	if (++state->left_out >= PROGRESS_EVERY)
	{
		OutputPluginUpdateProgress(ctx, false);
		state->left_out = 0;
	}
}

static void
plugin_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
			  ReorderBufferChange *change)
{
	MeridianPlugin *state = ctx->output_plugin_private;
	MeridianPluginRelation *entry;
	MemoryContext old;

	if (state->skip)
	{
		leave_out(ctx, state);
		return;
	}
	old = MemoryContextSwitchTo(state->change_context);
	entry = meridian_plugin_relation(state, rel);
	if (!entry->travels)
		leave_out(ctx, state);
	else
	{
		ensure_begun(state, txn);
		if (!entry->sent)
			meridian_plugin_tell(state, entry, rel);
		meridian_plugin_put_change(state, entry, RelationGetDescr(rel), change);
		if (state->out.len >= FRAME_TARGET)
			send_frame(ctx, false);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->change_context);
}

static void
plugin_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
				Relation relations[], ReorderBufferChange *change)
{
	MeridianPlugin *state = ctx->output_plugin_private;
	MemoryContext old;
	uint32	   *ids;
	int			n = 0;
	uint8		flags = 0;

	if (state->skip)
		return;
	old = MemoryContextSwitchTo(state->change_context);
	ids = palloc(sizeof(uint32) * nrelations);
	for (int i = 0; i < nrelations; i++)
	{
		MeridianPluginRelation *entry = meridian_plugin_relation(state, relations[i]);

		if (!entry->travels)
			continue;
		ensure_begun(state, txn);
		if (!entry->sent)
			meridian_plugin_tell(state, entry, relations[i]);
		ids[n++] = entry->relid;
	}
	/* CASCADE has been followed already: what is listed is all there is */
	if (change->data.truncate.restart_seqs)
		flags |= MERIDIAN_TRUNCATE_RESTART;
	if (n > 0)
		meridian_wire_put_truncate(&state->out, flags, n, ids);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->change_context);
}

/* Outside transactions: a frame of its own, so that positions keep moving. */
static void
send_position(LogicalDecodingContext *ctx, XLogRecPtr lsn)
{
	MeridianPlugin *state = ctx->output_plugin_private;

	open_frame(state);
	meridian_wire_put_position(&state->out, lsn);
	send_frame(ctx, true);
}

static void
plugin_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	MeridianPlugin *state = ctx->output_plugin_private;

	if (state->begun)
	{
		meridian_wire_put_commit(&state->out, txn->end_lsn);
		send_frame(ctx, true);
	}
	else if (meridian_plugin_has_notes(state) ||
			 TimestampDifferenceExceeds(state->last_frame, meridian_instant(),
										POSITION_EVERY_MS))
		send_position(ctx, txn->end_lsn);
	else
		OutputPluginUpdateProgress(ctx, true);
}

static void
plugin_heartbeat(LogicalDecodingContext *ctx, XLogRecPtr lsn, const char *message, Size size)
{
	MeridianPlugin *state = ctx->output_plugin_private;
	uint64		session;
	uint64		boot_ms;

	if (meridian_wire_read_heartbeat(message, size, &session, &boot_ms) != MRD_OK)
		return;					/* someone's own message under our prefix */
	open_frame(state);
	meridian_plugin_put_through(state, lsn);
	meridian_wire_put_heartbeat(&state->out, lsn, session, boot_ms);
	send_frame(ctx, true);
}

/* What is about rows goes only where their class may be. */
static bool
may_travel(MeridianPlugin *state, MeridianWireType type, const char *message, Size size)
{
	char		class_name[MRD_NAME_MAX];

	if (type != MERIDIAN_WIRE_REPAIR && type != MERIDIAN_WIRE_ENTRY &&
		type != MERIDIAN_WIRE_LEFT_OUT)
		return true;
	return meridian_wire_read_class(message, size, class_name) == MRD_OK &&
		meridian_plugin_receiver_holds(state, state->snapshot, class_name);
}

/*
 * A change that the apply worker which took the transaction could not make itself,
 * because the row was just being copied.  The words that describe its relation are
 * the origin's, whose numbers are not ours.
 */
static void
plugin_kept(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, const char *message, Size size)
{
	static MeridianWireMsg scratch;
	MeridianPlugin *state = ctx->output_plugin_private;
	MeridianWireKept kept;

	/* in a transaction of our own it is someone's own message under our prefix */
	if (state->origin_region[0] == '\0' ||
		meridian_wire_read_kept(message, size, &scratch, &kept) != MRD_OK ||
		!meridian_plugin_receiver_holds(state, state->snapshot, kept.class_name))
		return;
	ensure_begun(state, txn);
	meridian_wire_put_messages(&state->out, &kept);
	meridian_plugin_tell_again(kept.rel);
	if (state->out.len >= FRAME_TARGET)
		send_frame(ctx, false);
}

static void
plugin_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size size, const char *message)
{
	static const struct
	{
		const char *prefix;
		MeridianWireType type;
	}			known[] = {
		{MERIDIAN_STAMP_PREFIX, MERIDIAN_WIRE_STAMP},
		{MERIDIAN_DDL_PREFIX, MERIDIAN_WIRE_DDL},
		{MERIDIAN_REPAIR_PREFIX, MERIDIAN_WIRE_REPAIR},
		{MERIDIAN_RESOLVE_PREFIX, MERIDIAN_WIRE_RESOLVE},
		{MERIDIAN_ENTRY_PREFIX, MERIDIAN_WIRE_ENTRY},
		{MERIDIAN_LEFT_OUT_PREFIX, MERIDIAN_WIRE_LEFT_OUT},
	};
	MeridianPlugin *state = ctx->output_plugin_private;

	if (!transactional)
	{
		if (strcmp(prefix, MERIDIAN_HEARTBEAT_PREFIX) == 0)
			plugin_heartbeat(ctx, lsn, message, size);
		return;
	}
	if (state->skip)
		return;
	if (strcmp(prefix, MERIDIAN_KEPT_PREFIX) == 0)
	{
		plugin_kept(ctx, txn, message, size);
		return;
	}
	for (int i = 0; i < lengthof(known); i++)
	{
		if (strcmp(prefix, known[i].prefix) == 0)
		{
			if (!may_travel(state, known[i].type, message, size))
				return;
			ensure_begun(state, txn);
			meridian_wire_put_payload(&state->out, known[i].type, message, size);
			if (state->out.len >= FRAME_TARGET)
				send_frame(ctx, false);
			return;
		}
	}
}

static void
plugin_shutdown(LogicalDecodingContext *ctx)
{
	/* the context's reset callback gives back what is not its memory */
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = plugin_startup;
	cb->begin_cb = plugin_begin;
	cb->change_cb = plugin_change;
	cb->truncate_cb = plugin_truncate;
	cb->commit_cb = plugin_commit;
	cb->message_cb = plugin_message;
	cb->filter_by_origin_cb = meridian_plugin_filter;
	cb->shutdown_cb = plugin_shutdown;
}
