/*-------------------------------------------------------------------------
 *
 * plugin.h
 *	  What the files of the output plugin share: plugin.c (callbacks and frames),
 *	  plugin_rows.c (what travels, and how) and plugin_origins.c (what came here
 *	  from elsewhere).
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_PLUGIN_H
#define MERIDIAN_PLUGIN_H

#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"

#include "streams.h"

#define MERIDIAN_PLUGIN_ORIGINS_MAX 64

typedef struct MeridianPluginColumn MeridianPluginColumn;

typedef struct MeridianPluginRelation
{
	Oid			relid;			/* hash key */
	bool		valid;
	bool		travels;		/* attached, and the receiver holds its class */
	bool		sent;			/* the receiver knows its columns */
	uint64		config_version; /* of the snapshot that decided travels */
	char		class_name[MRD_NAME_MAX];
	AttrNumber	partition_attno;
	int			natts;
	MeridianPluginColumn *columns;
	MemoryContext context;
} MeridianPluginRelation;

/* An origin of this cluster, as the filter sees it. */
typedef struct MeridianPluginOrigin
{
	RepOriginId id;
	char		region[MRD_NAME_MAX];	/* empty: none of ours */
	bool		forward;
	XLogRecPtr	forward_from;	/* receiver's position of it */
	XLogRecPtr	noted_lsn;		/* not yet told: up to here ... */
	XLogRecPtr	noted_at;		/* ... before this record */
	XLogRecPtr	through_lsn;	/* forward: known to be applied here ... */
	XLogRecPtr	through_at;		/* ... by this position of our WAL */
} MeridianPluginOrigin;

typedef struct MeridianPlugin
{
	MemoryContext context;		/* life of the stream */
	MemoryContext change_context;	/* one change */
	struct ZSTD_CCtx_s *compressor;
	MeridianWireOut out;		/* content of the next frame */
	MeridianWireOut frame;
	char		receiver[MRD_NAME_MAX];
	bool		full_images;
	bool		greeted;
	XLogRecPtr	own_from;
	int			norigins;
	MeridianPluginOrigin origins[MERIDIAN_PLUGIN_ORIGINS_MAX];

	/* the transaction at hand */
	const struct mrd_snapshot *snapshot;
	bool		skip;			/* the receiver has it already */
	bool		begun;			/* begin has been written */
	const char *origin_region;	/* "" for our own */
	int			left_out;

	TimestampTz last_frame;
} MeridianPlugin;

/* plugin.c: an ERROR when there is none */
extern const struct mrd_snapshot *meridian_plugin_snapshot(void);

/* plugin_rows.c */
extern void meridian_plugin_rows_begin(MeridianPlugin *state);
extern void meridian_plugin_rows_end(void);
extern bool meridian_plugin_receiver_holds(MeridianPlugin *state, const struct mrd_snapshot *s,
										   const char *class_name);
extern MeridianPluginRelation *meridian_plugin_relation(MeridianPlugin *state, Relation rel);
extern void meridian_plugin_tell(MeridianPlugin *state, MeridianPluginRelation *entry, Relation rel);
extern void meridian_plugin_tell_again(Oid relid);
extern void meridian_plugin_put_change(MeridianPlugin *state, MeridianPluginRelation *entry,
									   TupleDesc desc, ReorderBufferChange *change);

/* plugin_origins.c */
extern void meridian_plugin_origins_begin(MeridianPlugin *state);
extern void meridian_plugin_origins_end(void);
extern XLogRecPtr meridian_plugin_lsn(const char *option, const char *text);
extern void meridian_plugin_forward(MeridianPlugin *state, char *text);
extern MeridianPluginOrigin *meridian_plugin_origin(MeridianPlugin *state, RepOriginId id);
extern bool meridian_plugin_filter(LogicalDecodingContext *ctx, RepOriginId id);
extern bool meridian_plugin_has_notes(MeridianPlugin *state);
extern void meridian_plugin_put_notes(MeridianPlugin *state);
extern void meridian_plugin_put_through(MeridianPlugin *state, XLogRecPtr lsn);

#endif							/* MERIDIAN_PLUGIN_H */
