/*
 * The snapshot file: how what was decided reaches PostgreSQL, nginx and knotd (mrd/snapshot.h).
 *
 * The file lives on tmpfs. It is made at full size under another name and renamed into place;
 * a file that is already there with the right header is kept, because guests have it mapped.
 */
#pragma once

#include <mrd/snapshot.h>

struct publish {
    void *map; /* NULL: closed */
};

/** Open or make @path. On failure @p stays closed. */
int publish_open(struct publish *p, const char *path, struct mrd_err *err);
void publish_close(struct publish *p);

/** What the file says now, as left by an agent before us; false when it says nothing. */
bool publish_last(const struct publish *p, struct mrd_snapshot *ret);

/** Make @s the newest generation. */
void publish_write(struct publish *p, struct mrd_snapshot *s);
