/*
 * Small work on files and programs that the lab's other parts share.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include <mrd/err.h>

/** Read a whole file of at most @max bytes; the caller frees. NULL on failure (errno). */
char *lab_read_file(const char *path, size_t max, size_t *ret_len);
/** Write a file by way of a rename, so that readers see the old or the new. 0 or MRD_EIO. */
int lab_write_file(const char *path, const char *text, size_t len, mode_t mode);

/** MRD_EIO with "could not @what "@path": reason", the reason from errno. */
int lab_file_failed(struct mrd_err *err, const char *what, const char *path);

/** Make a directory, or take the one there is, with this mode and owner. */
int lab_make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid, struct mrd_err *err);
/** Copy a file to a new one with this mode and owner; an old one is unlinked, not changed. */
int lab_copy_file(const char *from, const char *to, mode_t mode, uid_t uid, gid_t gid,
                  struct mrd_err *err);
/** Remove a file or a directory with all in it; does not cross into another file system. */
void lab_remove_tree(const char *path);

/** Run @argv and wait. Non-zero exit: MRD_EIO with the end of what it said. */
int lab_run(char *const argv[], struct mrd_err *err);
