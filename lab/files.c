/*
 * Files, directories and programs (files.h).
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

char *lab_read_file(const char *path, size_t max, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? malloc(max + 1) : NULL;
    size_t len = 0;
    ssize_t n = -1;

    while (text != NULL && len <= max && (n = read(fd, text + len, max + 1 - len)) > 0) {
        len += (size_t)n;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (text == NULL || n < 0 || len > max) {
        errno = len > max ? EFBIG : errno;
        free(text);
        return NULL;
    }
    text[len] = '\0';
    if (ret_len != NULL) {
        *ret_len = len;
    }
    return text;
}

int lab_write_file(const char *path, const char *text, size_t len, mode_t mode)
{
    char temporary[LAB_PATH + 8];
    int fd;
    bool ok;

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    ok = fd >= 0 && fchmod(fd, mode) == 0 && write(fd, text, len) == (ssize_t)len;
    if (fd >= 0) {
        ok = close(fd) == 0 && ok;
    }
    if (!ok || rename(temporary, path) != 0) {
        unlink(temporary);
        return MRD_EIO;
    }
    return 0;
}

int lab_file_failed(struct mrd_err *err, const char *what, const char *path)
{
    return mrd_err_set(err, MRD_EIO, "could not %s \"%s\": %s", what, path, strerror(errno));
}

int lab_make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid, struct mrd_err *err)
{
    if ((mkdir(path, mode) != 0 && errno != EEXIST) || chown(path, uid, gid) != 0 ||
        chmod(path, mode) != 0) {
        return lab_file_failed(err, "make directory", path);
    }
    return 0;
}

/* By hand: copy_file_range() refuses between file systems of different types, and an installed
 * build and a lab's directory often are on such. */
static bool copy_bytes(int in, int out)
{
    static char part[1 << 16];
    ssize_t n;

    while ((n = read(in, part, sizeof(part))) > 0) {
        for (ssize_t done = 0, w; done < n; done += w) {
            w = write(out, part + done, (size_t)(n - done));
            if (w < 0) {
                return false;
            }
        }
    }
    return n == 0;
}

int lab_copy_file(const char *from, const char *to, mode_t mode, uid_t uid, gid_t gid,
                  struct mrd_err *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = -1;
    int code = 0;

    if (in < 0) {
        return lab_file_failed(err, "read", from);
    }
    unlink(to); /* a running program keeps the file it has */
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out < 0 || fchmod(out, mode) != 0 || fchown(out, uid, gid) != 0 ||
        !copy_bytes(in, out)) {
        code = lab_file_failed(err, "write", to);
    }
    close(in);
    if (out >= 0) {
        close(out);
    }
    return code;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

void lab_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int lab_run(char *const argv[], struct mrd_err *err)
{
    char said[400] = "";
    size_t used = 0;
    ssize_t n;
    int pipes[2];
    int status = -1;
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return lab_file_failed(err, "run", argv[0]);
    }
    pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        dup2(pipes[1], STDERR_FILENO);
        execvp(argv[0], argv);
        fprintf(stderr, "%s", strerror(errno));
        _exit(127);
    }
    close(pipes[1]);
    while (pid > 0 && (n = read(pipes[0], said + used, sizeof(said) - 1 - used)) > 0) {
        used += (size_t)n;
        if (used > sizeof(said) / 2) { /* keep the end, where the reason is */
            memmove(said, said + used / 2, used - used / 2);
            used -= used / 2;
        }
    }
    close(pipes[0]);
    said[used] = '\0';
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        return mrd_err_set(err, MRD_EIO, "\"%s %s\" failed: %s", argv[0], argv[1], said);
    }
    return 0;
}
