/*-------------------------------------------------------------------------
 *
 * kept.c
 *	  Changes of rows that are being copied, kept until the copy is here.
 *
 * While a copier works (copier.c), the stream goes on.  What it brings of the
 * partitions that are copied, and what is not in the copy's snapshot, is put into a
 * temporary file, message by message as it came, and done after the copy has been
 * committed: in the order of the stream, so that the rows end as their home has
 * them.  The file only grows, and goes when all of it is done; meridian.kept_limit
 * is about what was written, done or not.  The file is this process's.  Should that end, the partitions are still
 * a gap, and are copied again.
 *
 * They are done on our own account, like the copy itself.  For those who get the
 * transaction from us, missing.c has written each change into our WAL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply.h"

typedef struct Place
{
	int			file;
	off_t		offset;
} Place;

static BufFile *file;
static Place written;			/* the end of what is there */
static Place done;				/* what was before this has been done */
static uint64 waiting;			/* bytes between the two */
static uint64 size;				/* of all that was written */

static void
go_to(Place place)
{
	if (BufFileSeek(file, place.file, place.offset, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in the file of changes that wait for a copy: %m")));
}

static Place
here(void)
{
	Place		ret;

	BufFileTell(file, &ret.file, &ret.offset);
	return ret;
}

void
meridian_kept_reset(void)
{
	if (file != NULL)
		BufFileClose(file);
	file = NULL;
	memset(&written, 0, sizeof(written));
	memset(&done, 0, sizeof(done));
	waiting = size = 0;
}

/* In a transaction: a change, as it came */
void
meridian_kept_add(const MeridianWireMsg *msg)
{
	uint32		len = (uint32) msg->raw_len;

	if (file == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		PrepareTempTablespaces();
		file = BufFileCreateTemp(true);
		MemoryContextSwitchTo(old);
	}
	go_to(written);
	BufFileWrite(file, &len, sizeof(len));
	BufFileWrite(file, unconstify(uint8_t *, msg->raw), len);
	written = here();
	waiting += sizeof(len) + len;
	size += sizeof(len) + len;
}

uint64
meridian_kept_size(void)
{
	return size;
}

static void
read_exactly(void *into, size_t len)
{
	if (BufFileRead(file, into, len) != len)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read changes that wait for a copy: %m")));
}

/* The next change is done, in the transaction at hand. */
static void
do_next(void)
{
	static MeridianWireReader reader;
	static MeridianWireMsg msg;
	uint32		len;
	char	   *raw;

	read_exactly(&len, sizeof(len));
	raw = palloc(len);
	read_exactly(raw, len);
	reader.greeted = reader.in_xact = true;
	meridian_wire_feed(&reader, raw, len);
	if (meridian_wire_next(&reader, &msg) != 1)
		elog(ERROR, "a change that waits for a copy cannot be read");
	meridian_rows_redo(&msg);
	waiting -= sizeof(len) + len;
}

/*
 * Between transactions of the stream: do what waits, in one of our own, for so
 * long.  true: nothing is left.
 */
bool
meridian_kept_do(int ms)
{
	TimestampTz began = meridian_instant();

	if (waiting == 0)
		return true;
	StartTransactionCommand();
	go_to(done);
	do
	{
		MemoryContextSwitchTo(meridian_apply.context);
		do_next();
		MemoryContextReset(meridian_apply.context);
		CHECK_FOR_INTERRUPTS();
	} while (waiting > 0 && !TimestampDifferenceExceeds(began, meridian_instant(), ms));
	done = here();
	meridian_rows_close();
	CommitTransactionCommand();
	return waiting == 0;
}
