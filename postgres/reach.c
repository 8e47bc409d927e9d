/*-------------------------------------------------------------------------
 *
 * reach.c
 *	  How far back the WAL that a slot keeps reaches, in the others' positions.
 *
 * That a slot of another region keeps what that region lacks (positions.c) is
 * true of its whole life, and of nothing before: a slot that was lost and made
 * again begins where this region was then.  So what had been applied here of
 * each other region soon after the slot was made is written down in a file beside
 * the slot's own state.  A slot's directory is made and removed with the slot, so
 * the file lives just as long, through any crash, and is never in a base backup.
 *
 * Whoever comes first writes it, later than the slot was made or not at all:
 * both only mean that less is shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"
#include "replication/origin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

#include "worker.h"

#define FILE_NAME "meridian"

static void
path_of(const char *slot, char ret[MAXPGPATH])
{
	snprintf(ret, MAXPGPATH, "pg_replslot/%s/" FILE_NAME, slot);
}

/* It has found where it begins: what is applied here now is not before that. */
static bool
has_begun(const char *slot)
{
	return meridian_sql_any(psprintf("SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %s "
									 "AND plugin = 'meridian' AND confirmed_flush_lsn IS NOT NULL",
									 quote_literal_cstr(slot)));
}

static XLogRecPtr
position_of(const char *region)
{
	RepOriginId id = meridian_stream_origin(region);

	return id == InvalidRepOriginId ? InvalidXLogRecPtr : replorigin_get_progress(id, false);
}

static bool
put_positions(FILE *file, const struct mrd_snapshot *s)
{
	for (int i = 0; i < s->region_count; i++)
	{
		if (i != s->self)
			fprintf(file, "%s %X/%X\n", s->regions[i].name,
					LSN_FORMAT_ARGS(position_of(s->regions[i].name)));
	}
	return ferror(file) == 0;
}

/*
 * The file is opened before the slot is asked for: if that is dropped meanwhile
 * and made again, the file is in the directory that has gone.
 */
static void
write_file(const struct mrd_snapshot *s, const char *slot, const char *path)
{
	char		new_path[MAXPGPATH];
	FILE	   *file;
	bool		written;

	snprintf(new_path, sizeof(new_path), "%s.%d", path, MyProcPid);
	file = AllocateFile(new_path, "w");
	if (file == NULL)
		return;					/* there is no such slot */
	written = has_begun(slot) && put_positions(file, s);
	if (FreeFile(file) == 0 && written)
		(void) durable_rename(new_path, path, LOG);
	else
		(void) unlink(new_path);
}

static void
note_slot(const struct mrd_snapshot *s, const char *slot)
{
	char		path[MAXPGPATH];

	path_of(slot, path);
	if (access(path, F_OK) == 0)
		return;
	meridian_sql_begin();
	write_file(s, slot, path);
	meridian_sql_end();
}

/* Between transactions, now and then */
void
meridian_reach_note(const struct mrd_snapshot *s)
{
	MemoryContext old = CurrentMemoryContext;

	for (int i = 0; i < s->region_count; i++)
	{
		char		slot[NAMEDATALEN];

		meridian_stream_name(s->regions[i].name, slot, sizeof(slot));
		if (i != s->self)
			note_slot(s, slot);
	}
	MemoryContextSwitchTo(old);
}

/* Was the slot there when not more of the origin than lsn was applied here? */
bool
meridian_reach_covers(const char *slot, const char *origin, XLogRecPtr lsn)
{
	char		path[MAXPGPATH];
	char		line[MRD_NAME_MAX + 32];
	size_t		len = strlen(origin);
	bool		ret = false;
	FILE	   *file;

	path_of(slot, path);
	file = AllocateFile(path, "r");
	if (file == NULL)
		return false;
	while (!ret && fgets(line, sizeof(line), file) != NULL)
	{
		uint32		hi;
		uint32		lo;

		ret = strncmp(line, origin, len) == 0 && line[len] == ' ' &&
			sscanf(line + len, "%X/%X", &hi, &lo) == 2 && (((uint64) hi) << 32 | lo) <= lsn;
	}
	FreeFile(file);
	return ret;
}
