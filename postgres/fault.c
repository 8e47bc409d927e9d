/*-------------------------------------------------------------------------
 *
 * fault.c
 *	  Places where a test can make a process wait.
 *
 * meridian.fault = 'PLACE:MILLISECONDS' makes whoever reaches that place sleep
 * so long, not to be woken by signals: as if the host had been paused there.
 * Only a superuser can set it.  Places: before-commit (the guard has checked
 * for the last time, nothing is committed), after-touch (registered and
 * checked, not yet stamped), join-copied (a joining region has copied all, and
 * has not committed), cover-copied (a copier likewise), cover-started (it has its
 * snapshot, and has not looked what is still wanted), tail-filed (the home has
 * entries and has sent no repair), repair-sent (it has, and has not marked them),
 * repair-applied (the old home has changed its rows, and has not committed).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "utils/guc.h"

#include "meridian.h"

#define FAULT_MS_MAX 600000

static char *fault_setting;

static bool
check_fault(char **newval, void **extra, GucSource source)
{
	const char *colon = strchr(*newval, ':');
	char	   *end;
	long		ms;

	if (**newval == '\0')
		return true;
	if (colon == NULL || colon == *newval)
	{
		GUC_check_errdetail("The form is PLACE:MILLISECONDS.");
		return false;
	}
	ms = strtol(colon + 1, &end, 10);
	if (end == colon + 1 || *end != '\0' || ms < 0 || ms > FAULT_MS_MAX)
	{
		GUC_check_errdetail("The time must be 0 to %d milliseconds.", FAULT_MS_MAX);
		return false;
	}
	return true;
}

void
meridian_fault_init(void)
{
	DefineCustomStringVariable("meridian.fault",
							   "Makes a process wait at a named place, for tests.",
							   NULL,
							   &fault_setting,
							   "",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL,
							   check_fault, NULL, NULL);
}

void
meridian_fault(const char *place)
{
	size_t		len = strlen(place);
	struct timespec left;
	long		ms;

	if (likely(fault_setting == NULL || fault_setting[0] == '\0'))
		return;
	if (strncmp(fault_setting, place, len) != 0 || fault_setting[len] != ':')
		return;
	ms = strtol(fault_setting + len + 1, NULL, 10);
	left.tv_sec = ms / 1000;
	left.tv_nsec = (ms % 1000) * 1000000L;
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}
