/*-------------------------------------------------------------------------
 *
 * repaired.c
 *	  What arrives of a repair: rows at the old home, entries of the queue and
 *	  decisions about them everywhere.
 *
 * repair.c says how the home of a partition makes these messages.  Here it is
 * taken at its word only where its stamp says that it is home: a repair, an
 * entry or a decision for a partition that the transaction is not stamped for is
 * refused, or changes nothing; but for an entry that is still open, of an epoch
 * that is closed, and of another region's than the teller (unfenced.c).  Such an
 * entry that may not be told is left, and the stream goes on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "apply.h"

#define REPAIR_RELATION UINT32_MAX	/* our own id for the table of a repair */
#define COMMITTING_WAIT_MS 5000 /* for commits of ours that wait for others */
#define COMMITTING_NAP_MS 10

/* ----------------------------------------------------------------
 * rows
 * ----------------------------------------------------------------
 */

static MeridianWireRepair repair;
static MeridianWireRelation repair_relation;
static MeridianWireTuple repair_key;
static MeridianWireTuple repair_image;

static void
malformed(const char *what, int rc)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent a malformed %s: %s", meridian_apply.origin, what,
					mrd_strerror(rc))));
}

/*
 * Only the home of a partition says what its rows are, and its stamp says that
 * it is, under which epoch.  The last counts; NULL: there is none.
 */
static const MeridianWireStampEntry *
stamp_of(const char *class_name, const char *partition)
{
	const MeridianWireStamp *stamps = &meridian_apply.xact.stamps;
	const MeridianWireStampEntry *ret = NULL;

	for (int i = 0; i < stamps->count; i++)
	{
		if (strcmp(stamps->entries[i].class_name, class_name) == 0 &&
			strcmp(stamps->entries[i].partition, partition) == 0)
			ret = &stamps->entries[i];
	}
	return ret;
}

static void
not_home(const char *what, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("region \"%s\" sent %s of %s, of which it was not home",
					meridian_apply.xact.origin, what, table)));
}

static bool
may_repair(const MeridianWireTuple *key)
{
	char		partition[MRD_NAME_MAX] = MRD_PARTITION_ALL;
	int			att = repair_relation.partition_att;

	if (att >= 0)
	{
		if (key->value[att] == NULL || key->len[att] >= MRD_NAME_MAX)
			return false;
		memcpy(partition, key->value[att], key->len[att]);
		partition[key->len[att]] = '\0';
	}
	return stamp_of(repair.class_name, partition) != NULL;
}

/* Describe the repaired table as a stream would, with our own attachment. */
static bool
learn_repair(void)
{
	RangeVar   *rv = makeRangeVar(repair.schema_name, repair.table_name, -1);
	Relation	rel = table_openrv_extended(rv, AccessShareLock, true);
	MeridianAttachment a;

	if (rel == NULL)
		return false;
	if (!meridian_attachment(rel, &a))
	{
		table_close(rel, AccessShareLock);
		return false;
	}
	table_close(rel, AccessShareLock);
	repair_relation.id = REPAIR_RELATION;
	strlcpy(repair_relation.schema_name, repair.schema_name, MRD_NAME_MAX);
	strlcpy(repair_relation.table_name, repair.table_name, MRD_NAME_MAX);
	strlcpy(repair_relation.class_name, repair.class_name, MRD_NAME_MAX);
	repair_relation.natts = repair.natts;
	memcpy(repair_relation.attrs, repair.attrs, sizeof(MeridianWireAttr) * (size_t) repair.natts);
	repair_relation.partition_att = -1;
	for (int i = 0; i < repair.natts; i++)
	{
		if (repair.attrs[i].type != 0)
			return false;
		if (a.partition_attno != 0 && strcmp(repair.attrs[i].name, a.partition_by) == 0)
			repair_relation.partition_att = i;
	}
	meridian_rows_learn(&repair_relation, NULL, 0);
	return true;
}

static bool
any_committing(char *ret, Size size)
{
	const MeridianWireStamp *stamps = &meridian_apply.xact.stamps;
	const struct mrd_snapshot *s = meridian_snapshot();

	for (int i = 0; i < stamps->count; i++)
	{
		const MeridianWireStampEntry *e = &stamps->entries[i];
		int			p = mrd_snapshot_find(s, e->class_name, e->partition);

		if (p >= 0 && s->partitions[p].authority.region == s->self)
			continue;
		snprintf(ret, size, "%s/%s", e->class_name, e->partition);
		if (meridian_guard_committing(e->class_name, e->partition))
			return true;
	}
	return false;
}

/*
 * A commit of ours that was past its last check when the authority moved on, or
 * that waits for its acknowledgements, becomes visible only when that ends: a
 * repair before it would miss the row.  No further commit can get so far,
 * because the snapshot that each must ask knows the new home as we do.
 */
static void
wait_for_committing(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(meridian_instant(), COMMITTING_WAIT_MS);
	char		which[2 * MRD_NAME_MAX];

	while (any_committing(which, sizeof(which)))
	{
		if (meridian_instant() >= until)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot repair %s yet: a commit that this region began as its home has not ended",
							which)));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 COMMITTING_NAP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static int
repair_rows(void)
{
	MeridianApplyRel *r;
	bool		has_image;
	int			rc;

	while ((rc = meridian_wire_read_repair_row(&repair, &repair_key, &has_image,
											   &repair_image)) == 1)
	{
		if (!may_repair(&repair_key))
			not_home("a repair", repair.table_name);
		PushActiveSnapshot(GetLatestSnapshot());
		r = meridian_rows_open(REPAIR_RELATION);
		meridian_rows_set(r, &repair_key, has_image ? &repair_image : NULL);
		meridian_rows_done(r);
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	return rc;
}

void
meridian_repair(const void *payload, size_t len)
{
	int			rc = meridian_wire_read_repair(payload, len, &repair);

	if (rc == MRD_OK && strcmp(repair.target, meridian_region) != 0)
		return;					/* another region's */
	if (rc == MRD_OK)
	{
		meridian_apply_start();
		if (!learn_repair())
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("cannot repair table \"%s.%s\": it is not attached here",
							repair.schema_name, repair.table_name)));
		wait_for_committing();
		rc = repair_rows();
	}
	if (rc < 0)
		malformed("repair", rc);
	meridian_fault("repair-applied");
}

/* ----------------------------------------------------------------
 * the queue
 * ----------------------------------------------------------------
 */

static bool
one_of(const char *word, const char *const words[], int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

static const char *const decisions[] = {"applied", "discarded", "open"};
static const char *const operations[] = {"insert", "update", "delete", "truncate", "ddl"};

/*
 * false: it is not taken.  What a region tells without its home's stamp is judged
 * by what is known here now; who told may have left the class since, and a stream
 * that stopped for that would stop for good.
 */
static bool
check_entry(const MeridianWireEntry *e)
{
	const struct mrd_snapshot *s = meridian_snapshot();

	if (!one_of(e->status, decisions, lengthof(decisions)) ||
		!one_of(e->operation, operations, lengthof(operations)) ||
		s == NULL || mrd_snapshot_region(s, e->origin) < 0 || e->seq > PG_INT32_MAX)
		malformed("entry", MRD_EFORMAT);
	if (stamp_of(e->class_name, e->partition) != NULL)
		return true;
	if (strcmp(e->status, "open") != 0)
		not_home("an entry", e->class_name);
	if (meridian_unfenced_may_tell(s, meridian_apply.xact.origin, e->origin, e->class_name,
								   e->partition, e->epoch))
		return true;
	ereport(LOG,
			(errmsg("an entry of %s that region \"%s\" sent is not taken: it was not home of it, and may not tell",
					e->class_name, meridian_apply.xact.origin)));
	return false;
}

/*
 * The mark is the home's: in a transaction that counts, the repair does too.  In
 * one that is lost itself, and in what a region tells that held it past a cut
 * (unfenced.c), only the entry is news, and the present home must see to its repair.
 */
static const char upsert_entry[] =
"INSERT INTO meridian.reconcile_entry AS e (origin, commit_lsn, seq, class, partition, epoch, "
"committed_at, relation, operation, before, after, status, decided_by, decided_at, repaired_epoch) "
"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::pg_catalog.jsonb, $11::pg_catalog.jsonb, $12, $13, $14, $15) "
"ON CONFLICT (origin, commit_lsn, seq) DO UPDATE SET "
"status = CASE e.status WHEN 'open' THEN excluded.status ELSE e.status END, "
"decided_by = CASE e.status WHEN 'open' THEN excluded.decided_by ELSE e.decided_by END, "
"decided_at = CASE e.status WHEN 'open' THEN excluded.decided_at ELSE e.decided_at END, "
"repaired_epoch = excluded.repaired_epoch, repaired_lsn = NULL, problem = NULL "
"WHERE e.class = excluded.class AND e.partition = excluded.partition "
"AND excluded.repaired_epoch >= coalesce(e.repaired_epoch, 0)";

static Datum
image_datum(const char *image, size_t len, char *isnull)
{
	*isnull = image == NULL ? 'n' : ' ';
	return image == NULL ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(image, (int) len));
}

void
meridian_entry(const void *payload, size_t len)
{
	Oid			types[15] = {TEXTOID, LSNOID, INT4OID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID,
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[15];
	char		nulls[16] = "               ";
	MeridianWireEntry e;
	const MeridianWireStampEntry *stamp;
	int			rc = meridian_wire_read_entry(payload, len, &e);

	if (rc != MRD_OK)
		malformed("entry", rc);
	if (!check_entry(&e))
		return;
	stamp = meridian_apply.xact.tail ? NULL : stamp_of(e.class_name, e.partition);
	values[0] = CStringGetTextDatum(e.origin);
	values[1] = LSNGetDatum(e.commit_lsn);
	values[2] = Int32GetDatum((int32) e.seq);
	values[3] = CStringGetTextDatum(e.class_name);
	values[4] = CStringGetTextDatum(e.partition);
	values[5] = Int64GetDatum((int64) e.epoch);
	values[6] = TimestampTzGetDatum(e.committed_at);
	values[7] = CStringGetTextDatum(e.relation);
	values[8] = CStringGetTextDatum(e.operation);
	values[9] = image_datum(e.before, e.before_len, &nulls[9]);
	values[10] = image_datum(e.after, e.after_len, &nulls[10]);
	values[11] = CStringGetTextDatum(e.status);
	values[12] = CStringGetTextDatum(e.who);
	values[13] = TimestampTzGetDatum(e.decided_at);
	values[14] = Int64GetDatum(stamp == NULL ? 0 : (int64) stamp->epoch);
	if (strcmp(e.status, "open") == 0)
		nulls[12] = nulls[13] = 'n';
	if (stamp == NULL)
		nulls[14] = 'n';
	meridian_sql_write(upsert_entry, 15, types, values, nulls, SPI_OK_INSERT);
	if (stamp == NULL)
		meridian_repairs_expect(e.origin);
}

/* What was decided about an entry at the home holds here too. */
void
meridian_resolve(const void *payload, size_t len)
{
	static const char update_entry[] =
	"UPDATE meridian.reconcile_entry e SET status = $4, decided_by = $5, decided_at = $6 "
	"WHERE origin = $1 AND commit_lsn = $2 AND seq = $3 AND status = 'open' "
	"AND (class, partition) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest($7), pg_catalog.unnest($8)))";
	Oid			types[8] = {TEXTOID, LSNOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTARRAYOID,
	TEXTARRAYOID};
	Datum		values[8];
	const char *classes[MERIDIAN_WIRE_STAMPS_MAX];
	const char *partitions[MERIDIAN_WIRE_STAMPS_MAX];
	MeridianWireStamp *stamps = &meridian_apply.xact.stamps;
	MeridianWireResolve d;
	int			rc = meridian_wire_read_resolve(payload, len, &d);

	if (rc == MRD_OK && (strcmp(d.status, "open") == 0 ||
						 !one_of(d.status, decisions, lengthof(decisions))))
		rc = MRD_EFORMAT;
	if (rc != MRD_OK)
		malformed("decision", rc);
	for (int i = 0; i < stamps->count; i++)
	{
		classes[i] = stamps->entries[i].class_name;
		partitions[i] = stamps->entries[i].partition;
	}
	values[0] = CStringGetTextDatum(d.origin);
	values[1] = LSNGetDatum(d.commit_lsn);
	values[2] = Int32GetDatum((int32) d.seq);
	values[3] = CStringGetTextDatum(d.status);
	values[4] = CStringGetTextDatum(d.who);
	values[5] = TimestampTzGetDatum(meridian_apply.xact.commit_time);
	values[6] = meridian_text_array(classes, stamps->count);
	values[7] = meridian_text_array(partitions, stamps->count);
	meridian_sql_write(update_entry, 8, types, values, NULL, SPI_OK_UPDATE);
}
