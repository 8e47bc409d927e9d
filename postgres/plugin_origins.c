/*-------------------------------------------------------------------------
 *
 * plugin_origins.c
 *	  The output plugin's view of changes that arrived here from elsewhere.
 *
 * They are dropped by the origin filter before they are queued, but not
 * forgotten: the filter reads the origin's position from the commit record and
 * the next frame carries a note "origin O up to LSN x stands before this point".
 * From the notes the receiver knows how far it may let this slot discard WAL,
 * which makes every slot a rescue slot.  With the option "forward" the plugin
 * hands over such an origin's transactions instead of dropping them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/syscache.h"

#include "plugin.h"

static MeridianPlugin *plugin;	/* of the stream that runs, for invalidations */

XLogRecPtr
meridian_plugin_lsn(const char *option, const char *text)
{
	bool		error = false;
	XLogRecPtr	lsn = pg_lsn_in_internal(text, &error);

	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not a WAL position: \"%s\"", option, text)));
	return lsn;
}

/* forward is a list of region=position */
void
meridian_plugin_forward(MeridianPlugin *state, char *text)
{
	char	   *save = NULL;

	for (char *item = strtok_r(text, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save))
	{
		char	   *eq = strchr(item, '=');
		MeridianPluginOrigin *o = &state->origins[state->norigins];

		if (eq == NULL || eq - item >= MRD_NAME_MAX || state->norigins == MERIDIAN_PLUGIN_ORIGINS_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"forward\" is not a list of region=position")));
		*eq = '\0';
		strlcpy(o->region, item, sizeof(o->region));
		o->forward = true;
		o->forward_from = meridian_plugin_lsn("forward", eq + 1);
		o->id = meridian_stream_origin(o->region);
		o->through_lsn = meridian_stream_applied(o->region);
		o->through_at = GetXLogInsertRecPtr();
		state->norigins++;
	}
}

MeridianPluginOrigin *
meridian_plugin_origin(MeridianPlugin *state, RepOriginId id)
{
	for (int i = 0; i < state->norigins; i++)
	{
		if (state->origins[i].id == id)
			return &state->origins[i];
	}
	return NULL;
}

static const char *
region_of_origin_name(const char *origin_name)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	for (int i = 0; s != NULL && i < s->region_count; i++)
	{
		char		name[NAMEDATALEN];

		meridian_stream_name(s->regions[i].name, name, sizeof(name));
		if (strcmp(name, origin_name) == 0)
			return s->regions[i].name;
	}
	return "";
}

/*
 * The filter is called while records are read, outside any transaction, but a
 * name is in the catalog.  This happens once per origin and stream.
 */
static MeridianPluginOrigin *
learn_origin(MeridianPlugin *state, RepOriginId id)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_xact = !IsTransactionState();
	MeridianPluginOrigin *o;
	char	   *name;

	if (state->norigins == MERIDIAN_PLUGIN_ORIGINS_MAX)
		return NULL;
	o = &state->origins[state->norigins];
	memset(o, 0, sizeof(*o));
	o->id = id;
	if (own_xact)
		StartTransactionCommand();
	if (id != DoNotReplicateId && replorigin_by_oid(id, true, &name))
		strlcpy(o->region, region_of_origin_name(name), sizeof(o->region));
	if (own_xact)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	state->norigins++;
	return o;
}

/* A foreign transaction's commit passes: remember to tell the receiver. */
static void
note_commit(MeridianPlugin *state, MeridianPluginOrigin *o, XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record);
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(record) != RM_XACT_ID ||
		((info & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT &&
		 (info & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT_PREPARED))
		return;
	if (o->region[0] == '\0' || strcmp(o->region, state->receiver) == 0)
		return;
	ParseCommitRecord(info, (xl_xact_commit *) XLogRecGetData(record), &parsed);
	if (parsed.origin_lsn == InvalidXLogRecPtr)
		return;
	if (o->noted_at == InvalidXLogRecPtr)
		o->noted_at = record->ReadRecPtr;
	o->noted_lsn = Max(o->noted_lsn, parsed.origin_lsn);
}

bool
meridian_plugin_filter(LogicalDecodingContext *ctx, RepOriginId id)
{
	MeridianPlugin *state = ctx->output_plugin_private;
	MeridianPluginOrigin *o;

	if (id == InvalidRepOriginId)
		return false;
	o = meridian_plugin_origin(state, id);
	if (o == NULL)
		o = learn_origin(state, id);
	if (o == NULL)
		return true;
	if (o->forward)
		return false;
	note_commit(state, o, ctx->reader);
	return true;
}

static void
forget_origins(Datum arg, int cacheid, uint32 hashvalue)
{
	if (plugin == NULL)
		return;
	/* an id may have been given to another region: keep only what was asked for */
	for (int i = plugin->norigins - 1; i >= 0; i--)
	{
		MeridianPluginOrigin *o = &plugin->origins[i];

		if (!o->forward && o->noted_lsn == InvalidXLogRecPtr)
			*o = plugin->origins[--plugin->norigins];
	}
}

void
meridian_plugin_origins_begin(MeridianPlugin *state)
{
	static bool registered = false;

	plugin = state;
	if (!registered)
		CacheRegisterSyscacheCallback(REPLORIGIDENT, forget_origins, (Datum) 0);
	registered = true;
}

void
meridian_plugin_origins_end(void)
{
	plugin = NULL;
}

/* ----------------------------------------------------------------
 * what the receiver is told
 * ----------------------------------------------------------------
 */

/* Notes go in front of what the frame was made for, but after the greeting. */
void
meridian_plugin_put_notes(MeridianPlugin *state)
{
	for (int i = 0; i < state->norigins; i++)
	{
		MeridianPluginOrigin *o = &state->origins[i];

		if (o->noted_lsn == InvalidXLogRecPtr)
			continue;
		meridian_wire_put_origin(&state->out, o->region, o->noted_lsn, o->noted_at);
		o->noted_lsn = o->noted_at = InvalidXLogRecPtr;
	}
}

bool
meridian_plugin_has_notes(MeridianPlugin *state)
{
	for (int i = 0; i < state->norigins; i++)
	{
		if (state->origins[i].noted_lsn != InvalidXLogRecPtr)
			return true;
	}
	return false;
}

/*
 * A forwarded origin that is silent still has a position: what its stream had
 * brought here when we last looked is before what we had written by then.  Not
 * past the cut: what stands there is put aside here and not handed over.
 */
void
meridian_plugin_put_through(MeridianPlugin *state, XLogRecPtr lsn)
{
	for (int i = 0; i < state->norigins; i++)
	{
		MeridianPluginOrigin *o = &state->origins[i];
		XLogRecPtr	through = o->through_lsn;

		if (!o->forward || lsn < o->through_at)
			continue;
		through = Min(through, meridian_furthest_cut(meridian_plugin_snapshot(), o->region));
		if (through != InvalidXLogRecPtr)
			meridian_wire_put_origin(&state->out, o->region, through, lsn);
		o->through_lsn = meridian_stream_applied(o->region);
		o->through_at = GetXLogInsertRecPtr();
	}
}
