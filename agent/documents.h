/*
 * The API's answers as JSON, made from the agent's state. docs/internals/api.md says what each
 * member means; this is the only writer.
 */
#pragma once

#include <jansson.h>

#include "agent.h"

/* Each returns a new object, or NULL when out of memory. */
json_t *document_status(const struct agent *a);
json_t *document_regions(const struct agent *a);
json_t *document_classes(const struct agent *a);
json_t *document_links(const struct agent *a);
json_t *document_leases(const struct agent *a);
json_t *document_events(const struct agent *a, uint64_t after);
json_t *document_moves(const struct agent *a);
json_t *document_receipts(const struct agent *a);
json_t *document_pending(const struct agent *a);

/** The row, as in document_moves, of the move that @p asks for; NULL when it asks for none. */
json_t *document_move_asked(const struct mrd_proposal *p, const char *class_name,
                            const char *partition);

/** The row, as in document_pending, that @p writes; NULL when it writes none. */
json_t *document_approval_asked(const struct agent *a, const struct mrd_proposal *p);

/** What @p makes of a region's dial; NULL when it leaves it alone. */
json_t *document_dial_asked(const struct mrd_proposal *p, const char *region);

/** An answer's frame: who answered, and when. */
json_t *document_new(const struct agent *a);

/** Prometheus text into @out; its length. */
size_t document_metrics(const struct agent *a, char *out, size_t cap);
