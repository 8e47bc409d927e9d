/*
 * Programs inside a region (front.h): enter the namespaces of its pid 1, fork, run, and pass on
 * the exit status. The terminal stays with the program, so psql is as interactive as ever.
 */
#include "front.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <client.h> /* of cli/ */

#include "daemon.h"

/* Fork inside the region and run @argv there; returns its exit status. */
static int run_inside(pid_t init, bool as_user, char **argv)
{
    char here[PATH_MAX] = "/";
    int fd = pidfd_open(init, 0);
    int status = 0;
    pid_t pid;

    if (getcwd(here, sizeof(here)) == NULL) {
        here[0] = '\0';
    }
    if (fd < 0 || setns(fd, CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                CLONE_NEWPID) != 0) {
        return cli_fail(NULL, "could not enter the region: %s", strerror(errno));
    }
    pid = fork();
    if (pid == 0) {
        struct passwd *user = as_user ? getpwnam(LAB_USER) : NULL;

        if (as_user && (user == NULL || initgroups(LAB_USER, user->pw_gid) != 0 ||
                        setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
            _exit(126);
        }
        /* Entering a mount namespace leads to its root; the same files are there. */
        if (chdir(here) != 0 && chdir("/") != 0) {
            _exit(126);
        }
        execvp(argv[0], argv);
        cli_fail(NULL, "could not run \"%s\": %s", argv[0], strerror(errno));
        _exit(127);
    }
    signal(SIGINT, SIG_IGN); /* the terminal tells the program itself */
    signal(SIGQUIT, SIG_IGN);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Pid 1 of the region, and its database's name when @database is not NULL; -1 with @err. */
static pid_t init_of(const char *dir, const char *name, char database[MRD_NAME_MAX],
                     struct mrd_err *err)
{
    json_t *status = lab_request(dir, json_pack("{ss}", "command", "status"), err);
    const json_t *region = cli_named(status, "regions", name);
    char hint[CLI_HINT_MAX];
    pid_t pid = (pid_t)cli_int(region, "init_pid");

    if (status == NULL) {
        return -1;
    }
    if (database != NULL) {
        snprintf(database, MRD_NAME_MAX, "%s",
                 cli_text(json_object_get(region, "pg"), "database"));
    }
    if (region == NULL) {
        mrd_err_set(err, MRD_ENOTFOUND, "there is no region \"%s\"", name);
        cli_hint(status, "regions", name, "List the regions with: meridian lab status.", hint);
        mrd_err_hint(err, "%s", hint);
    } else if (pid == 0) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "region \"%s\" is killed", name);
        mrd_err_hint(err, "Start it with: meridian lab start %s.", name);
    }
    json_decref(status);
    return pid > 0 ? pid : -1;
}

/* Words after the region's name, and after "--" when it is there. */
static char **rest_of(int argc, char **argv)
{
    return argc > 2 && strcmp(argv[2], "--") == 0 ? argv + 3 : argv + 2;
}

/* The words after the region belong to the program: nothing in them is an option of ours. */
static int take_region(const char *synopsis, const char *text, int argc, char **argv,
                       const char **ret)
{
    static const struct cli_option none[] = {{NULL, NULL, NULL, NULL}};
    const struct cli_usage usage = {synopsis, text, none, 1, 1};
    const char *words[CLI_POSITIONAL_MAX];
    int count = 0;
    int rc = cli_parse(&usage, argc < 2 ? argc : 2, argv, words, &count);

    if (rc < 0) {
        *ret = words[0];
    }
    return rc;
}

int lab_exec(const char *dir, int argc, char **argv)
{
    static const char synopsis[] = "lab exec REGION -- CMD [ARG...]";
    const char *region = NULL;
    struct mrd_err err;
    int rc = take_region(synopsis, "Run a program inside that region, as root.", argc, argv,
                         &region);

    if (rc >= 0) {
        return rc;
    }
    char **words = rest_of(argc, argv);
    if (words[0] == NULL) {
        const struct cli_usage usage = {synopsis, NULL, NULL, 1, 1};
        return cli_misuse(&usage, "which program should run in %s?", region);
    }
    pid_t init = init_of(dir, region, NULL, &err);
    return init < 0 ? lab_fail(&err) : run_inside(init, false, words);
}

int lab_psql(const char *dir, int argc, char **argv)
{
    char database[MRD_NAME_MAX] = "";
    char *words[256] = {(char *)"psql", (char *)"-h", (char *)LAB_RUN_INSIDE, (char *)"-d",
                        database};
    const char *region = NULL;
    size_t n = 5;
    struct mrd_err err;
    int rc = take_region("lab psql REGION [-- ARG...]",
                         "psql inside that region, as the database's owner; what follows -- is "
                         "psql's.",
                         argc, argv, &region);

    if (rc >= 0) {
        return rc;
    }
    for (char **w = rest_of(argc, argv); *w != NULL && n < 255; w++) {
        words[n++] = *w;
    }
    pid_t init = init_of(dir, region, database, &err);
    return init < 0 ? lab_fail(&err) : run_inside(init, true, words);
}
