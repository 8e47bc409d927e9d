/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  What the files that change rows share: rows.c (the changes), rows_tables.c
 *	  (which table here is meant, and what the executor needs of it), rows_values.c
 *	  (what a column's bytes mean) and missing.c (what is left out).  What they
 *	  offer to others is in apply.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MERIDIAN_ROWS_H
#define MERIDIAN_ROWS_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/executor.h"

#include "apply.h"

/* How a column's bytes become a value */
typedef enum MeridianInForm
{
	MERIDIAN_IN_RECEIVE,
	MERIDIAN_IN_BOOL,
	MERIDIAN_IN_INT2,
	MERIDIAN_IN_INT4,
	MERIDIAN_IN_INT8,
	MERIDIAN_IN_TEXT,
	MERIDIAN_IN_BYTEA,
	MERIDIAN_IN_UUID
} MeridianInForm;

typedef struct MeridianInColumn
{
	AttrNumber	attno;			/* local */
	bool		key;
	MeridianInForm form;		/* of binary values */
	FmgrInfo	receive;
	Oid			receive_param;
	FmgrInfo	input;			/* of text values */
	Oid			input_param;
	int32		typmod;
} MeridianInColumn;

struct MeridianApplyRel
{
	uint32		id;				/* hash key: the sender's OID */

	/* as told */
	MeridianWireRelation *def;	/* palloc'd with just its columns */
	uint8_t    *raw;			/* the message that told it */
	size_t		raw_len;
	MemoryContext context;		/* of both */

	/* as mapped to the local table; again after an invalidation */
	bool		mapped;
	Oid			relid;
	MemoryContext map_context;
	MeridianInColumn *columns;		/* one per column told */
	Oid			index;			/* that finds rows */
	int			nkeys;
	ScanKeyData *keys;			/* without arguments */
	int		   *key_columns;	/* index into columns, per key */
	bool		has_extra;		/* local columns that were not told have defaults */

	/* open in the present transaction */
	bool		open;
	struct MeridianApplyRel *next_open;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	EPQState	epq;
	TupleTableSlot *remote;
	TupleTableSlot *local;
	Relation	index_rel;
	IndexScanDesc scan;
	bool		has_triggers;
	ExprState **defaults;		/* per local column, NULL: none */

	/* the stamp that covered this relation's last row */
	uint64		stamp_xact;
	int			stamp;
};

/* rows_tables.c: the scan key's operator for one key column of a unique index */
extern void meridian_rows_init_key(ScanKey key, Relation index, int n);

/* rows_values.c; value false: unchanged, there is none */
extern void meridian_rows_init_values(MemoryContext context);
extern void meridian_rows_init_column(MeridianInColumn *col, const MeridianWireAttr *att,
									  Form_pg_attribute local, MemoryContext context);
extern bool meridian_rows_value(MeridianApplyRel *r, const MeridianWireTuple *t, int i,
								Datum *value, bool *isnull);

/*
 * missing.c: rows of a table that does not exist here, which need not wait for it;
 * a change that is in a copy made ahead of the stream, or is done behind it; one
 * that is not made here, for whoever is handed the transaction.
 */
extern bool meridian_rows_left_out(MeridianApplyRel *r);
extern bool meridian_rows_copied(const MeridianApplyRel *r, const MeridianWireMsg *msg,
								 const MeridianWireTuple *tuple);
extern void meridian_hand_on(const MeridianApplyRel *r, const MeridianWireMsg *msg);

#endif							/* MERIDIAN_ROWS_H */
