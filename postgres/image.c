/*-------------------------------------------------------------------------
 *
 * image.c
 *	  Which transactions of another region are in a snapshot of it.
 *
 * That is not the order of its WAL: a commit that waits for its acknowledgements
 * is in the WAL, perhaps long applied here, and in nobody's snapshot yet.  So
 * cover.c asks by transaction: of those that it remembers as applied, is each in the
 * snapshot; and of one that the stream brings, is it?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "apply.h"

#define REMEMBERED_MAX (1 << 20)

static char name[64];			/* exported */
static XLogRecPtr end;			/* of its region's WAL: after every commit in it */
static uint64 xmax;
static uint32 *running;			/* not in it: had not ended */
static int	nrunning;

static uint32 *remembered;
static int	nremembered;
static int	cap;

uint64
meridian_image_number(PGresult *res, int column)
{
	char	   *rest;
	uint64		n = strtoull(PQgetvalue(res, 0, column), &rest, 10);

	if (PQgetisnull(res, 0, column) || *rest != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("region \"%s\" sent a malformed snapshot", meridian_apply.origin)));
	return n;
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

static PGresult *
ask(PGconn *source, const char *more)
{
	PGresult   *res = meridian_link_row(source, psprintf("SELECT pg_catalog.pg_snapshot_xmax(s), "
								   "pg_catalog.array_to_string(ARRAY(SELECT "
								   "pg_catalog.pg_snapshot_xip(s)), ',')%s "
								   "FROM pg_catalog.pg_current_snapshot() AS s", more));

	xmax = meridian_image_number(res, 0);
	read_running(PQgetvalue(res, 0, 1));
	return res;
}

/* The present one, only to see what is in it */
void
meridian_image_look(PGconn *source)
{
	PQclear(ask(source, ""));
}

/* One to copy in: the connection's transaction begins with it. */
void
meridian_image_take(PGconn *source)
{
	PGresult   *res;

	meridian_copy_begin(NULL);
	res = ask(source, ", pg_catalog.pg_export_snapshot()");
	strlcpy(name, meridian_link_snapshot(PQgetvalue(res, 0, 2)), sizeof(name));
	PQclear(res);
	/* a later statement: nothing in the snapshot was committed after this */
	res = meridian_link_row(source, "SELECT pg_catalog.pg_current_wal_insert_lsn()");
	end = meridian_link_position(PQgetvalue(res, 0, 0));
	PQclear(res);
}

const char *
meridian_image_name(void)
{
	return name;
}

XLogRecPtr
meridian_image_end(void)
{
	return end;
}

bool
meridian_image_has(uint32 xid)
{
	if ((int32) (xid - (uint32) xmax) >= 0)
		return false;
	for (int i = 0; i < nrunning; i++)
	{
		if (running[i] == xid)
			return false;
	}
	return true;
}

/* false: there is no room for so many */
bool
meridian_image_remember(uint32 xid)
{
	if (nremembered == REMEMBERED_MAX)
		return false;
	if (nremembered == cap)
	{
		cap = cap == 0 ? 1024 : cap * 2;
		if (remembered == NULL)
			remembered = MemoryContextAlloc(TopMemoryContext, sizeof(uint32) * cap);
		else
			remembered = repalloc(remembered, sizeof(uint32) * cap);
	}
	remembered[nremembered++] = xid;
	return true;
}

void
meridian_image_forget(void)
{
	nremembered = 0;
}

/* The first that is remembered and is not in it; 0: none */
uint32
meridian_image_lacks(void)
{
	for (int i = 0; i < nremembered; i++)
	{
		if (!meridian_image_has(remembered[i]))
			return remembered[i];
	}
	return 0;
}
