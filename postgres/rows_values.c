/*-------------------------------------------------------------------------
 *
 * rows_values.c
 *	  What the bytes of a column mean.
 *
 * A value travels in its type's binary form when that is the same in every
 * cluster, else as text.  The forms that nearly all columns have are read here,
 * the others by the type's own receive function.  The bytes are a peer's: a length
 * or an encoding that is wrong is an ERROR that names the column.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "rows.h"

static StringInfoData receive_buffer;

/* The buffer lives in context. */
void
meridian_rows_init_values(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	initStringInfo(&receive_buffer);
	MemoryContextSwitchTo(old);
}

static MeridianInForm
in_form(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return MERIDIAN_IN_BOOL;
		case INT2OID:
			return MERIDIAN_IN_INT2;
		case INT4OID:
		case OIDOID:
		case FLOAT4OID:
			return MERIDIAN_IN_INT4;
		case INT8OID:
		case FLOAT8OID:
			return MERIDIAN_IN_INT8;
		case TEXTOID:
		case VARCHAROID:
			return MERIDIAN_IN_TEXT;
		case BYTEAOID:
			return MERIDIAN_IN_BYTEA;
		case UUIDOID:
			return MERIDIAN_IN_UUID;
		default:
			return MERIDIAN_IN_RECEIVE;
	}
}

/* How values of the local column arrive; what is looked up lives in context. */
void
meridian_rows_init_column(MeridianInColumn *col, const MeridianWireAttr *att,
						  Form_pg_attribute local, MemoryContext context)
{
	Oid			func;

	col->typmod = local->atttypmod;
	/* a domain's own receive function checks its constraints */
	col->form = local->atttypid == att->type ? in_form(att->type) : MERIDIAN_IN_RECEIVE;
	if (att->type != 0)
	{
		getTypeBinaryInputInfo(local->atttypid, &func, &col->receive_param);
		fmgr_info_cxt(func, &col->receive, context);
	}
	getTypeInputInfo(local->atttypid, &func, &col->input_param);
	fmgr_info_cxt(func, &col->input, context);
}

void
meridian_rows_malformed(const MeridianWireRelation *def, int i)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("region \"%s\" sent a malformed value for column \"%s\" of table \"%s.%s\"",
					meridian_apply.origin, def->attrs[i].name, def->schema_name,
					def->table_name)));
}

static void
need_len(MeridianApplyRel *r, int i, uint32 len, uint32 wanted)
{
	if (len != wanted)
		meridian_rows_malformed(r->def, i);
}

static Datum
receive(MeridianApplyRel *r, int i, const uint8_t *value, uint32 len)
{
	MeridianInColumn *col = &r->columns[i];
	Datum		ret;

	resetStringInfo(&receive_buffer);
	appendBinaryStringInfo(&receive_buffer, (const char *) value, (int) len);
	ret = ReceiveFunctionCall(&col->receive, &receive_buffer, col->receive_param, col->typmod);
	if (receive_buffer.cursor != receive_buffer.len)
		meridian_rows_malformed(r->def, i);
	return ret;
}

static Datum
from_binary(MeridianApplyRel *r, int i, const uint8_t *value, uint32 len)
{
	if (r->def->attrs[i].type == 0)
		meridian_rows_malformed(r->def, i);
	switch (r->columns[i].form)
	{
		case MERIDIAN_IN_BOOL:
			need_len(r, i, len, 1);
			return BoolGetDatum(value[0] != 0);
		case MERIDIAN_IN_INT2:
			{
				uint16		v;

				need_len(r, i, len, sizeof(v));
				memcpy(&v, value, sizeof(v));
				return Int16GetDatum((int16) pg_ntoh16(v));
			}
		case MERIDIAN_IN_INT4:
			{
				uint32		v;

				need_len(r, i, len, sizeof(v));
				memcpy(&v, value, sizeof(v));
				return Int32GetDatum((int32) pg_ntoh32(v));
			}
		case MERIDIAN_IN_INT8:
			{
				uint64		v;

				need_len(r, i, len, sizeof(v));
				memcpy(&v, value, sizeof(v));
				return Int64GetDatum((int64) pg_ntoh64(v));
			}
		case MERIDIAN_IN_UUID:
			need_len(r, i, len, 16);
			return PointerGetDatum(memcpy(palloc(16), value, 16));
		case MERIDIAN_IN_TEXT:
			pg_verifymbstr((const char *) value, (int) len, false);
			/* FALLTHROUGH */
		case MERIDIAN_IN_BYTEA:
			return PointerGetDatum(cstring_to_text_with_len((const char *) value, (int) len));
		case MERIDIAN_IN_RECEIVE:
			break;
	}
	return receive(r, i, value, len);
}

static Datum
from_text(MeridianApplyRel *r, int i, const uint8_t *value, uint32 len)
{
	MeridianInColumn *col = &r->columns[i];
	char	   *text;

	pg_verifymbstr((const char *) value, (int) len, false);
	text = pnstrdup((const char *) value, len);
	return InputFunctionCall(&col->input, text, col->input_param, col->typmod);
}

/* false: unchanged, there is no value */
bool
meridian_rows_value(MeridianApplyRel *r, const MeridianWireTuple *t, int i, Datum *value,
					bool *isnull)
{
	*isnull = false;
	*value = (Datum) 0;
	switch (t->kind[i])
	{
		case MERIDIAN_COL_NULL:
			*isnull = true;
			return true;
		case MERIDIAN_COL_BINARY:
			*value = from_binary(r, i, t->value[i], t->len[i]);
			return true;
		case MERIDIAN_COL_TEXT:
			*value = from_text(r, i, t->value[i], t->len[i]);
			return true;
		default:
			return false;
	}
}
