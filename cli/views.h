/*
 * Parts of views that other commands print too.
 */
#pragma once

#include <jansson.h>

/** One receipt of /v1/receipts, in full. */
void cli_print_receipt(const json_t *receipt);

/** An id without its leading zeros, for people; cli_find_id takes it so, too. */
const char *cli_short_id(const char *id);

/** The entry of @answer's list @list whose id is @id; borrowed; or NULL. */
const json_t *cli_find_id(const json_t *answer, const char *list, const char *id);
