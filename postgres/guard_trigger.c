/*-------------------------------------------------------------------------
 *
 * guard_trigger.c
 *	  The triggers of attached tables, which tell the guard what is touched.
 *
 * Their arguments were written at attachment: the class and, in a partitioned
 * class, the partition column.  A table of an unpartitioned class has one
 * statement trigger; a row of a partitioned class answers for itself, and only
 * TRUNCATE, which takes the rows of all homes, is asked as a statement.
 *
 * With the extension they would all go, whichever statement takes it along.  The
 * database would then be written by whoever likes, and its agent, which makes an
 * extension where there is none, would be home again of rows that no stream has.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "guard.h"
#include "meridian.h"

PG_FUNCTION_INFO_V1(meridian_guard);
PG_FUNCTION_INFO_V1(meridian_guard_row);

static void
check_called_as_trigger(FunctionCallInfo fcinfo, int nargs)
{
	if (!CALLED_AS_TRIGGER(fcinfo) ||
		((TriggerData *) fcinfo->context)->tg_trigger->tgnargs < nargs)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("the guard can only be called by the triggers of an attached table")));
}

Datum
meridian_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger;

	check_called_as_trigger(fcinfo, 1);
	trigger = (TriggerData *) fcinfo->context;
	if (meridian_guard_idle())
		return PointerGetDatum(NULL);
	/* a second argument is the partition column: rows are asked one by one */
	if (trigger->tg_trigger->tgnargs < 2)
		meridian_touch(trigger->tg_trigger->tgargs[0], NULL);
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		meridian_touch_class(trigger->tg_trigger->tgargs[0]);
	return PointerGetDatum(NULL);
}

/* Attribute number of the partition column, looked up once per statement. */
static AttrNumber
partition_attno(FunctionCallInfo fcinfo, TriggerData *trigger)
{
	AttrNumber *cached = fcinfo->flinfo->fn_extra;

	if (cached == NULL)
	{
		int			attno = SPI_fnumber(RelationGetDescr(trigger->tg_relation),
										trigger->tg_trigger->tgargs[1]);

		if (attno <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("partition column \"%s\" of table \"%s\" does not exist",
							trigger->tg_trigger->tgargs[1],
							RelationGetRelationName(trigger->tg_relation))));
		cached = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(AttrNumber));
		*cached = (AttrNumber) attno;
		fcinfo->flinfo->fn_extra = cached;
	}
	return *cached;
}

static text *
partition_value(HeapTuple tuple, TriggerData *trigger, AttrNumber attno)
{
	bool		isnull;
	Datum		d = heap_getattr(tuple, attno, RelationGetDescr(trigger->tg_relation),
								 &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("partition column \"%s\" of table \"%s\" is null",
						trigger->tg_trigger->tgargs[1],
						RelationGetRelationName(trigger->tg_relation)),
				 errhint("Its value names the home of the row.")));
	return DatumGetTextPP(d);
}

static void
refuse_rehome(TriggerData *trigger)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot update partition column \"%s\" of table \"%s\"",
					trigger->tg_trigger->tgargs[1],
					RelationGetRelationName(trigger->tg_relation)),
			 errdetail("It would move the row to another home."),
			 errhint("Moving a row is what meridian.rehome() is for, which this version does not have yet; delete the row at its home and insert it at the new one.")));
}

Datum
meridian_guard_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger;
	HeapTuple	result;
	AttrNumber	attno;
	text	   *value;

	check_called_as_trigger(fcinfo, 2);
	trigger = (TriggerData *) fcinfo->context;
	result = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	if (meridian_guard_idle())
		return PointerGetDatum(result);

	attno = partition_attno(fcinfo, trigger);
	value = partition_value(trigger->tg_trigtuple, trigger, attno);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		text	   *newvalue = partition_value(trigger->tg_newtuple, trigger, attno);

		if (VARSIZE_ANY_EXHDR(value) != VARSIZE_ANY_EXHDR(newvalue) ||
			memcmp(VARDATA_ANY(value), VARDATA_ANY(newvalue),
				   VARSIZE_ANY_EXHDR(value)) != 0)
			refuse_rehome(trigger);
	}
	meridian_touch_value(trigger->tg_trigger->tgargs[0], VARDATA_ANY(value),
						 VARSIZE_ANY_EXHDR(value));
	return PointerGetDatum(result);
}

static object_access_hook_type prev_object_access_hook;

static bool
is_region_database(void)
{
	const char *name = get_database_name(MyDatabaseId);

	return meridian_region[0] != '\0' && name != NULL && strcmp(name, meridian_database) == 0;
}

static void
meridian_object_access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, classId, objectId, subId, arg);
	if (access == OAT_DROP && classId == ExtensionRelationId && !meridian_restoring &&
		objectId == get_extension_oid("meridian", true) && is_region_database())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot drop extension \"meridian\" in the database of region \"%s\"",
						meridian_region),
				 errdetail("Its tables would lose their guards, and the other regions what is written to them."),
				 errhint("To take the region out of Meridian for good: stop its agent, then drop the extension as superuser with meridian.restoring on. It can come back with \"meridian anew\" only.")));
}

void
meridian_guard_trigger_init(void)
{
	prev_object_access_hook = object_access_hook;
	object_access_hook = meridian_object_access;
}
