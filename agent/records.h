/*
 * Reading the store: a region's session, a partition's authority, and what follows from them
 * here and now. Records that do not decode count as absent, as core counts them.
 */
#pragma once

#include "agent.h"

/** Region @i's session; false: it never joined. */
bool records_session(const struct agent *a, unsigned i, struct mrd_session_record *ret);
bool records_authority(const struct agent *a, const char *class_name, const char *partition,
                       struct mrd_authority_record *ret);
/** What @s says of @region; NULL: nothing. */
const struct mrd_peer_report *records_peer(const struct mrd_session_record *s,
                                           const char *region);
/** How long ago we applied region @i's last renewal; 0 when never. */
uint64_t records_renewed_ms_ago(const struct agent *a, unsigned i);
/** Not expired, and renewed within lease and margin as seen here. */
bool records_live(const struct agent *a, unsigned i, const struct mrd_session_record *s);
/** Do both regions carry some class? */
bool records_share_class(const struct mrd_config *c, unsigned from, unsigned to);
