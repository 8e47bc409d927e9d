/*-------------------------------------------------------------------------
 *
 * dump.c
 *	  Definitions of another region, by pg_dump.
 *
 * It may wait for a lock at the other region, or for the network.  So it is a
 * child whose process id we know and whose output we poll: an order that changes
 * is heeded, and whatever way we leave, it does not stay behind.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/fork_process.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#include "apply.h"

#define LOCK_WAIT_MS "10000"		/* of pg_dump, for a table at the other region */

static pid_t dumper;

static void
end_dump(int code, Datum arg)
{
	if (dumper == 0)
		return;
	(void) kill(dumper, SIGKILL);
	while (waitpid(dumper, NULL, 0) < 0 && errno == EINTR)
		;
	dumper = 0;
}

/* Returns the end of the pipe that its output comes out of. */
static int
start_dump(char **argv)
{
	static bool registered = false;
	int			ends[2];

	if (!registered)
		on_proc_exit(end_dump, (Datum) 0);
	registered = true;
	if (pipe(ends) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ||
		fcntl(ends[0], F_SETFD, FD_CLOEXEC) != 0)
		ereport(ERROR, (errcode_for_socket_access(), errmsg("could not create a pipe: %m")));
	dumper = fork_process();
	if (dumper == 0)
	{
		(void) dup2(ends[1], STDOUT_FILENO);
		(void) pqsignal(SIGPIPE, SIG_DFL);
		(void) execv(argv[0], argv);
		_exit(127);
	}
	(void) close(ends[1]);
	if (dumper < 0)
	{
		dumper = 0;
		(void) close(ends[0]);
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not start pg_dump: %m")));
	}
	return ends[0];
}

/* All that it writes, and how it ended */
static int
read_all(int pipe_end, StringInfo text)
{
	int			status;

	for (;;)
	{
		char		buf[8192];
		ssize_t		n = read(pipe_end, buf, sizeof(buf));

		if (n == 0)
			break;
		if (n > 0)
			appendBinaryStringInfo(text, buf, (int) n);
		else if (errno == EAGAIN)
			(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH |
									 WL_SOCKET_READABLE, pipe_end, 50, PG_WAIT_EXTENSION);
		else if (errno != EINTR)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not read from pg_dump: %m")));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		meridian_apply_heed();
	}
	while (waitpid(dumper, &status, 0) < 0)
	{
		if (errno != EINTR)
			elog(ERROR, "could not wait for pg_dump: %m");
	}
	dumper = 0;
	return status;
}

/* Without psql's own commands: \restrict and \unrestrict */
static char *
without_commands(char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	for (char *line = text; line != NULL && *line != '\0';)
	{
		char	   *end = strchr(line, '\n');

		if (strncmp(line, "\\restrict", 9) != 0 && strncmp(line, "\\unrestrict", 11) != 0)
			appendBinaryStringInfo(&out, line, end == NULL ? (int) strlen(line) : (int) (end + 1 - line));
		line = end == NULL ? NULL : end + 1;
	}
	return out.data;
}

static char *
read_dump(char **argv)
{
	StringInfoData text;
	int			pipe_end = start_dump(argv);
	volatile int status = 0;

	initStringInfo(&text);
	PG_TRY();
	{
		status = read_all(pipe_end, &text);
	}
	PG_FINALLY();
	{
		(void) close(pipe_end);
		end_dump(0, (Datum) 0);
	}
	PG_END_TRY();
	if (status != 0)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not copy the schema of region \"%s\": pg_dump failed (%s)",
						meridian_apply.origin, wait_result_to_str(status)),
				 errhint("Its messages are in the server's log.")));
	return without_commands(text.data);
}

static char *
pg_dump_path(void)
{
	char		dir[MAXPGPATH];

	strlcpy(dir, my_exec_path, sizeof(dir));
	get_parent_directory(dir);
	return psprintf("%s/pg_dump", dir);
}

/* What the options name, as SQL: definitions only, in that snapshot of the other region */
char *
meridian_dump(const char *conninfo, const char *snapshot, List *options)
{
	char	  **argv = palloc0(sizeof(char *) * (list_length(options) + 9));
	ListCell   *lc;
	int			n = 0;

	argv[n++] = pg_dump_path();
	argv[n++] = "--schema-only";
	argv[n++] = "--no-publications";
	argv[n++] = "--no-subscriptions";
	argv[n++] = "--lock-wait-timeout=" LOCK_WAIT_MS;
	argv[n++] = psprintf("--snapshot=%s", snapshot);
	foreach(lc, options)
		argv[n++] = lfirst(lc);
	argv[n++] = "-d";
	argv[n++] = pstrdup(conninfo);
	return read_dump(argv);
}
