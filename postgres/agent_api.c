/*-------------------------------------------------------------------------
 *
 * agent_api.c
 *	  SQL functions: what the region's agent asks of its database, and the
 *	  snapshot for people.
 *
 * The agent calls these as superuser over the local socket, many times a
 * second, so they read shared memory and the snapshot and little else.  Stored
 * configuration, promotion and reconciliation are SQL in meridian--0.1.sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/statvfs.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogutils.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

#include <mrd/buf.h>

#include "meridian.h"

#define DATABASE_SIZE_EVERY_NS 10000000000	/* walking the files is not cheap */

PG_FUNCTION_INFO_V1(meridian_heartbeat);
PG_FUNCTION_INFO_V1(meridian_late_commit);
PG_FUNCTION_INFO_V1(meridian_drain);
PG_FUNCTION_INFO_V1(meridian_agent_partitions);
PG_FUNCTION_INFO_V1(meridian_database_size);
PG_FUNCTION_INFO_V1(meridian_touch_sql);
PG_FUNCTION_INFO_V1(meridian_emit_resolve);
PG_FUNCTION_INFO_V1(meridian_snapshot_sql);
PG_FUNCTION_INFO_V1(meridian_home_of);

/*
 * Heartbeat and drain
 */

static XLogRecPtr
heartbeat(mrd_session session, uint64 boot_ms)
{
	uint8_t		bytes[32];
	struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));
	XLogRecPtr	lsn;

	mrd_buf_put_u8(&b, 1);
	mrd_buf_put_u64(&b, session);
	mrd_buf_put_u64(&b, boot_ms);
	Assert(!b.failed);
	lsn = LogLogicalMessage("meridian.heartbeat", (const char *) bytes, b.pos, false);
	XLogFlush(lsn);
	return lsn;
}

/*
 * A full disk fails INSERTs long before it fails a heartbeat, which fits into
 * the WAL segment at hand; and the next segment is a PANIC.  So a heartbeat
 * needs room for a segment, and once it was refused, for two.
 */
static void
need_space(void)
{
	static bool full = false;
	static const char *const places[] = {".", XLOGDIR};
	uint64		least = PG_UINT64_MAX;

	for (int i = 0; i < lengthof(places); i++)
	{
		struct statvfs st;

		if (statvfs(places[i], &st) == 0)
			least = Min(least, (uint64) st.f_bavail * st.f_frsize);
	}
	full = least < (uint64) wal_segment_size * (full ? 2 : 1);
	if (full)
		ereport(ERROR,
				(errcode(ERRCODE_DISK_FULL),
				 errmsg("the disk under PostgreSQL is full"),
				 errdetail("There is room for less than " UINT64_FORMAT " MB of WAL.",
						   (uint64) wal_segment_size * 2 / (1024 * 1024)),
				 errhint("Free some space. Until then this region holds no lease.")));
}

Datum
meridian_heartbeat(PG_FUNCTION_ARGS)
{
	int64		session = PG_GETARG_INT64(0);
	int64		boot_ms = PG_GETARG_INT64(1);

	if (session < 0 || boot_ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("session and time must not be negative")));
	need_space();
	PG_RETURN_LSN(heartbeat((mrd_session) session, (uint64) boot_ms));
}

/*
 * A commit that passed its last check here before its partition got another
 * home, and has not ended: the agent says that this region is back only when
 * there is none.  NULL: there is none, and there will be none, because whoever
 * is not past that check yet asks the same snapshot.
 */
Datum
meridian_late_commit(PG_FUNCTION_ARGS)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	for (int i = 0; s != NULL && i < s->partition_count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		const char *class_name = s->classes[p->class_index].name;

		if (p->authority.region != s->self && p->authority.state != MRD_AUTH_VACANT &&
			meridian_guard_committing(class_name, p->name))
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("a commit that wrote %s/%s as its home has not ended",
													  class_name, p->name)));
	}
	if (s == NULL)
		PG_RETURN_TEXT_P(cstring_to_text(mrd_reason_sentence(MRD_WHY_NO_SNAPSHOT)));
	PG_RETURN_NULL();
}

/* Index of the partition in the snapshot; ERROR when there is none. */
static int
known_partition(const struct mrd_snapshot *s, const char *class_name,
				const char *partition)
{
	int			p = mrd_snapshot_find(s, class_name, partition);

	if (p < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s: %s/%s",
						mrd_reason_sentence(s == NULL ? MRD_WHY_NO_SNAPSHOT :
											MRD_WHY_UNKNOWN_PARTITION),
						class_name, partition),
				 errhint("%s", mrd_reason_hint(s == NULL ? MRD_WHY_NO_SNAPSHOT :
											   MRD_WHY_UNKNOWN_PARTITION))));
	return p;
}

/*
 * The partition must be frozen in the very snapshot that writers read: then
 * whoever starts from now on is refused, and the count can only fall.
 */
Datum
meridian_drain(PG_FUNCTION_ARGS)
{
	char	   *class_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *partition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int32		wait_ms = PG_GETARG_INT32(2);
	const struct mrd_snapshot *s = meridian_snapshot();
	int			p = known_partition(s, class_name, partition);
	const struct mrd_authority *a = &s->partitions[p].authority;

	if (a->region == s->self && a->state == MRD_AUTH_OPEN)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot drain %s/%s: it is open for writes", class_name, partition),
				 errhint("Freeze it first, with: meridian move.")));
	if (!meridian_guard_drain(class_name, partition, Max(wait_ms, 0)))
		PG_RETURN_NULL();
	s = meridian_snapshot();
	PG_RETURN_LSN(heartbeat(s == NULL ? 0 : s->session, meridian_boot_ns() / 1000000));
}

/*
 * Status
 */

static void
put_text(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, "\"%s\":", key);
	escape_json(out, value);
}

/*
 * The closed epochs that went on without this region.  Not once it is home: then
 * its rows are those that count.
 */
static void
put_unfenced(StringInfo out, const struct mrd_snapshot *s, const struct mrd_authority *a)
{
	bool		first = true;

	appendStringInfo(out, ",\"epoch\":" UINT64_FORMAT ",\"unfenced\":[", (uint64) a->epoch);
	for (int k = 0; a->region != s->self && k < a->history_count; k++)
	{
		if ((a->history[k].unfenced >> s->self & 1) == 0 || a->history[k].region == s->self)
			continue;
		appendStringInfo(out, "%s" UINT64_FORMAT, first ? "" : ",", (uint64) a->history[k].epoch);
		first = false;
	}
	appendStringInfoChar(out, ']');
}

/* JSON array of this region's view of each partition, less what SQL adds. */
Datum
meridian_agent_partitions(PG_FUNCTION_ARGS)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (int i = 0; s != NULL && i < s->partition_count; i++)
	{
		const struct mrd_snap_partition *p = &s->partitions[i];
		const char *class_name = s->classes[p->class_index].name;
		MeridianGuardState state;

		meridian_guard_state(class_name, p->name, &state);
		appendStringInfoString(&out, i > 0 ? ",{" : "{");
		put_text(&out, "class", class_name);
		appendStringInfoChar(&out, ',');
		put_text(&out, "partition", p->name);
		put_unfenced(&out, s, &p->authority);
		appendStringInfo(&out, ",\"first_write_ms\":" UINT64_FORMAT ",\"in_flight\":%u,\"in_doubt\":%u}",
						 state.first_write_epoch == p->authority.epoch ?
						 state.first_write_ms : UINT64CONST(0),
						 state.in_flight, state.in_doubt);
	}
	appendStringInfoChar(&out, ']');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/* Size of this database in bytes, at most ten seconds old. */
Datum
meridian_database_size(PG_FUNCTION_ARGS)
{
	static int64 size;
	static mrd_boot_ns taken_ns;
	mrd_boot_ns now = meridian_boot_ns();

	if (taken_ns == 0 || now - taken_ns > DATABASE_SIZE_EVERY_NS)
	{
		size = DatumGetInt64(DirectFunctionCall1(pg_database_size_oid,
												 ObjectIdGetDatum(MyDatabaseId)));
		taken_ns = now;
	}
	PG_RETURN_INT64(size);
}

/*
 * For reconciliation
 */

Datum
meridian_touch_sql(PG_FUNCTION_ARGS)
{
	meridian_touch(text_to_cstring(PG_GETARG_TEXT_PP(0)),
				   text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
meridian_emit_resolve(PG_FUNCTION_ARGS)
{
	uint8_t		bytes[4 * (MRD_NAME_MAX + 2) + 32];
	struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));

	mrd_buf_put_u8(&b, 1);
	mrd_buf_put_str(&b, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	mrd_buf_put_u64(&b, PG_GETARG_LSN(1));
	mrd_buf_put_u32(&b, (uint32_t) PG_GETARG_INT32(2));
	mrd_buf_put_str(&b, text_to_cstring(PG_GETARG_TEXT_PP(3)));
	mrd_buf_put_str(&b, text_to_cstring(PG_GETARG_TEXT_PP(4)));
	if (b.failed)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg("the names in the decision are too long")));
	LogLogicalMessage("meridian.resolve", (const char *) bytes, b.pos, true);
	PG_RETURN_VOID();
}

/*
 * The snapshot, for people.  The token key stays out.
 */

static const char *
state_name(uint8 state)
{
	switch (state)
	{
		case MRD_AUTH_OPEN:
			return "open";
		case MRD_AUTH_FROZEN:
			return "frozen";
		case MRD_AUTH_FENCING:
			return "fencing";
		default:
			return "vacant";
	}
}

static void
put_regions(StringInfo out, const struct mrd_snapshot *s, const char *key,
			mrd_regions set)
{
	bool		first = true;

	appendStringInfo(out, "\"%s\":[", key);
	for (int i = 0; i < s->region_count; i++)
	{
		if ((set & (1u << i)) == 0)
			continue;
		if (!first)
			appendStringInfoChar(out, ',');
		escape_json(out, s->regions[i].name);
		first = false;
	}
	appendStringInfoChar(out, ']');
}

static void
put_region(StringInfo out, const struct mrd_snapshot *s, int i)
{
	const struct mrd_snap_region *r = &s->regions[i];

	put_text(out, "region", r->name);
	appendStringInfo(out, ",\"position\":%d,\"self\":%s,\"witness\":%s,\"alive\":%s,",
					 i, i == s->self ? "true" : "false", r->witness ? "true" : "false",
					 r->alive ? "true" : "false");
	put_text(out, "health", mrd_health_name(r->health));
	appendStringInfo(out, ",\"dial_percent\":%u,\"rtt_ms\":%.3f,\"session\":" UINT64_FORMAT
					 ",\"applied_lsn\":\"%X/%X\",\"lag_bytes\":" UINT64_FORMAT,
					 r->dial_percent, r->rtt_us / 1000.0, (uint64) r->session,
					 LSN_FORMAT_ARGS(r->applied_lsn), (uint64) r->lag_bytes);
}

static void
put_class(StringInfo out, const struct mrd_snapshot *s, int i)
{
	const struct mrd_snap_class *c = &s->classes[i];

	put_text(out, "class", c->name);
	appendStringInfoChar(out, ',');
	put_text(out, "posture", mrd_posture_name(c->posture));
	appendStringInfoChar(out, ',');
	put_text(out, "durability", mrd_durability_name(c->durability));
	appendStringInfo(out, ",\"remote_acks\":%u,", c->remote_acks);
	put_regions(out, s, "replicas", c->replicas);
	appendStringInfoChar(out, ',');
	put_regions(out, s, "allowed", c->allowed);
}

/* Name of the home, or NULL while nobody is. */
static const char *
home_name(const struct mrd_snapshot *s, const struct mrd_authority *a)
{
	if (a->state == MRD_AUTH_VACANT || a->region >= s->region_count)
		return NULL;
	return s->regions[a->region].name;
}

static void
put_partition(StringInfo out, const struct mrd_snapshot *s, int i)
{
	const struct mrd_snap_partition *p = &s->partitions[i];
	struct mrd_verdict v = mrd_guard(s, i, meridian_boot_ns());
	const char *home = home_name(s, &p->authority);

	put_text(out, "class", s->classes[p->class_index].name);
	appendStringInfoChar(out, ',');
	put_text(out, "partition", p->name);
	appendStringInfoString(out, ",\"home\":");
	if (home != NULL)
		escape_json(out, home);
	else
		appendStringInfoString(out, "null");
	appendStringInfo(out, ",\"epoch\":" UINT64_FORMAT ",", (uint64) p->authority.epoch);
	put_text(out, "state", state_name(p->authority.state));
	appendStringInfo(out, ",\"writable\":%s,", v.allow ? "true" : "false");
	put_text(out, "why", mrd_reason_sentence(v.why));
}

typedef void (*put_fn) (StringInfo out, const struct mrd_snapshot *s, int i);

static void
put_all(StringInfo out, const struct mrd_snapshot *s, const char *key, int count, put_fn put)
{
	appendStringInfo(out, ",\"%s\":[", key);
	for (int i = 0; i < count; i++)
	{
		appendStringInfoString(out, i > 0 ? ",{" : "{");
		put(out, s, i);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}

Datum
meridian_snapshot_sql(PG_FUNCTION_ARGS)
{
	const struct mrd_snapshot *s = meridian_snapshot();
	mrd_boot_ns now = meridian_boot_ns();
	StringInfoData out;

	if (s == NULL)
		PG_RETURN_NULL();
	initStringInfo(&out);
	appendStringInfo(&out, "{\"generation\":" UINT64_FORMAT ",\"config_version\":" UINT64_FORMAT
					 ",\"session\":" UINT64_FORMAT ",\"lease_left_ms\":" UINT64_FORMAT,
					 (uint64) s->generation, (uint64) s->config_version, (uint64) s->session,
					 (uint64) (s->lease_deadline_ns > now ?
							   (s->lease_deadline_ns - now) / 1000000 : 0));
	put_all(&out, s, "regions", s->region_count, put_region);
	put_all(&out, s, "classes", s->class_count, put_class);
	put_all(&out, s, "partitions", s->partition_count, put_partition);
	appendStringInfoChar(&out, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

Datum
meridian_home_of(PG_FUNCTION_ARGS)
{
	char	   *class_name;
	const char *partition = MRD_PARTITION_ALL;
	const struct mrd_snapshot *s = meridian_snapshot();
	const char *home;
	int			p;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	class_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		partition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	p = known_partition(s, class_name, partition);
	home = home_name(s, &s->partitions[p].authority);
	if (home == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(home));
}
