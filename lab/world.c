/*
 * Making and finding what a world needs on disk (world.h).
 */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <load.h>

#include "files.h"
#include "paths.h"

#define CONFIG "meridian.yaml"
#define DEFAULT_DELAY_NS 40000000ull

static const struct {
    const char *a, *b;
    uint32_t delay_us;
} delays[] = {
#include "rtt_aws.h"
};

uint64_t lab_world_delay_ns(const char *a, const char *b)
{
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        if ((strcmp(a, delays[i].a) == 0 && strcmp(b, delays[i].b) == 0) ||
            (strcmp(a, delays[i].b) == 0 && strcmp(b, delays[i].a) == 0)) {
            return (uint64_t)delays[i].delay_us * 1000;
        }
    }
    return DEFAULT_DELAY_NS;
}

void lab_world_path(const struct lab_world *w, unsigned region, const char *name,
                    char ret[LAB_PATH])
{
    snprintf(ret, LAB_PATH, "%s/%s/%s", w->dir, w->config->regions[region].name, name);
}

/* ---- where things are ---- */

/* FNV-1a, to give each directory its own name on tmpfs. */
static uint64_t hash_of(const char *text)
{
    uint64_t h = 14695981039346656037ull;

    for (; *text != '\0'; text++) {
        h = (h ^ (uint8_t)*text) * 1099511628211ull;
    }
    return h;
}

int lab_world_locate(struct lab_world *w, const char *dir, struct mrd_err *err)
{
    char real[PATH_MAX];

    if (realpath(dir, real) == NULL) {
        return lab_file_failed(err, "find the lab's directory", dir);
    }
    /* The path becomes part of overlay mount options, where these two separate. */
    if (strlen(real) >= sizeof(w->dir) || strpbrk(real, ":,\\\"'\n ") != NULL) {
        return mrd_err_set(err, MRD_EINVAL,
                           "cannot use directory \"%s\": the path is too long or has one of "
                           "': , \\ \" '' or a blank in it",
                           dir);
    }
    snprintf(w->dir, sizeof(w->dir), "%s", real);
    snprintf(w->run_root, sizeof(w->run_root), "/dev/shm/meridian-%016llx",
             (unsigned long long)hash_of(real));
    return 0;
}

/* Every directory above must let LAB_USER through. */
static int check_reachable(const struct lab_world *w, struct mrd_err *err)
{
    char path[LAB_DIR_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s", w->dir);
    for (char *slash = strrchr(path, '/'); slash != NULL && slash != path;
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (stat(path, &st) == 0 && (st.st_mode & S_IXOTH) == 0 && st.st_uid != w->uid) {
            mrd_err_set(err, MRD_EINVAL,
                        "cannot use directory \"%s\": user %s may not enter \"%s\"", w->dir,
                        LAB_USER, path);
            mrd_err_hint(err, "Choose another with --dir, such as %s.", LAB_DIR_DEFAULT);
            return MRD_EINVAL;
        }
    }
    return 0;
}

/* In a build tree everything is beside us; installed, it is in PREFIX/share and the system. */
static int find_program(struct lab_world *w, struct mrd_err *err)
{
    char ninja[LAB_PATH + 16];
    char *slash;
    ssize_t n = readlink("/proc/self/exe", w->bin, sizeof(w->bin) - 1);

    if (n <= 0) {
        return lab_file_failed(err, "read", "/proc/self/exe");
    }
    w->bin[n] = '\0';
    snprintf(w->build, sizeof(w->build), "%s", w->bin);
    slash = strrchr(w->build, '/');
    *slash = '\0';
    snprintf(ninja, sizeof(ninja), "%s/build.ninja", w->build);
    if (access(ninja, R_OK) != 0) {
        w->build[0] = '\0';
    }
    return 0;
}

static void find_templates(struct lab_world *w, const char *file)
{
    char here[LAB_PATH] = ".";
    char real[PATH_MAX];
    char probe[LAB_PATH + 32];
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;

    if (slash != NULL) {
        snprintf(here, sizeof(here), "%.*s", (int)(slash - file + 1), file);
    }
    snprintf(probe, sizeof(probe), "%s/nginx.conf.in", here);
    if (file != NULL && access(probe, R_OK) == 0 && realpath(here, real) != NULL &&
        strlen(real) < sizeof(w->templates)) {
        snprintf(w->templates, sizeof(w->templates), "%.*s", LAB_PATH - 1, real);
        return;
    }
    snprintf(w->templates, sizeof(w->templates), "%s",
             w->build[0] != '\0' ? LAB_SOURCE_DIR "/examples/shop" : LAB_SHARE_DIR "/shop");
}

/* Where the configuration comes from: what the user named, what is there, or the shop's. */
static void find_config(const struct lab_world *w, const char *file, char ret[LAB_PATH + 32])
{
    snprintf(ret, LAB_PATH + 32, "%s/" CONFIG, w->dir);
    if (file != NULL) {
        snprintf(ret, LAB_PATH + 32, "%s", file);
    } else if (access(ret, R_OK) != 0) {
        snprintf(ret, LAB_PATH + 32, "%s/" CONFIG, w->templates);
    }
}

static int load_config(struct lab_world *w, const char *path, struct mrd_err *err)
{
    static struct mrd_conf_errors errors;
    int code;

    w->config = calloc(1, sizeof(*w->config));
    if (w->config == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    code = mrd_config_load(path, w->config, &errors);
    if (code != 0) {
        mrd_config_print_errors(stderr, path, &errors);
        mrd_err_set(err, code, "could not use the configuration \"%s\"", path);
        mrd_err_hint(err, "Mend it, see: meridian config check %s; or name another with -f.",
                     path);
        return code;
    }
    return 0;
}

static int install_config(const struct lab_world *w, const char *path, struct mrd_err *err)
{
    char used[LAB_PATH], from[PATH_MAX], to[PATH_MAX];

    snprintf(used, sizeof(used), "%s/" CONFIG, w->dir);
    if (realpath(path, from) != NULL && realpath(used, to) != NULL && strcmp(from, to) == 0) {
        return 0;
    }
    return lab_copy_file(path, used, 0644, 0, 0, err);
}

/* A lab that runs keeps its configuration and its data, whoever asks. */
static int check_idle(const struct lab_world *w, struct mrd_err *err)
{
    char path[LAB_PATH];
    int fd;
    bool busy;

    snprintf(path, sizeof(path), "%s/" LAB_LOCK, w->dir);
    fd = open(path, O_RDWR | O_CLOEXEC);
    busy = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (fd >= 0) {
        close(fd);
    }
    if (busy) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "a lab is running in \"%s\"", w->dir);
        mrd_err_hint(err, "See it with: meridian lab status; stop it with: meridian lab down.");
        return MRD_EUNAVAILABLE;
    }
    return 0;
}

static int find_user(struct lab_world *w, struct mrd_err *err)
{
    struct passwd *user = getpwnam(LAB_USER);

    if (user == NULL) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "there is no user \"%s\" on this machine", LAB_USER);
        mrd_err_hint(err, "Install PostgreSQL with: make setup.");
        return MRD_EUNAVAILABLE;
    }
    w->uid = user->pw_uid;
    w->gid = user->pw_gid;
    return 0;
}

/* Everything that can be wrong, before anything changes in a directory that is there. */
static int check_all(struct lab_world *w, const char *file, bool fresh,
                     char ret_config[LAB_PATH + 32], struct mrd_err *err)
{
    int code;

    if ((code = check_reachable(w, err)) != 0 || (code = check_idle(w, err)) != 0 ||
        (code = find_program(w, err)) != 0) {
        return code;
    }
    find_templates(w, file);
    if (fresh && file == NULL) {
        snprintf(ret_config, LAB_PATH + 32, "%s/" CONFIG, w->templates);
    } else {
        find_config(w, file, ret_config);
    }
    return load_config(w, ret_config, err);
}

static int begin_anew(const struct lab_world *w, const char *config, struct mrd_err *err)
{
    char real[PATH_MAX], left[NAME_MAX + 1];
    size_t n = strlen(w->dir);

    if (realpath(config, real) != NULL && strncmp(real, w->dir, n) == 0 && real[n] == '/') {
        return mrd_err_set(err, MRD_EINVAL,
                           "cannot begin anew with \"%s\": it is in the lab's own directory",
                           config);
    }
    lab_world_purge(w, left);
    if (mkdir(w->dir, 0755) != 0 && errno != EEXIST) {
        return lab_file_failed(err, "make directory", w->dir);
    }
    return 0;
}

/* A region's servers are not all root, and a directory may be private, as mktemp -d makes it:
 * they get in, but need not see what else is there. */
static int let_in(const struct lab_world *w, struct mrd_err *err)
{
    struct stat st;

    if (stat(w->dir, &st) != 0 ||
        ((st.st_mode & 0111) != 0111 && chmod(w->dir, (st.st_mode & 07777) | 0111) != 0)) {
        return lab_file_failed(err, "open to its servers the directory", w->dir);
    }
    return 0;
}

int lab_world_open(struct lab_world *w, const char *dir, const char *file, bool fresh,
                   struct mrd_err *err)
{
    char config[LAB_PATH + 32];
    bool made;
    int code;

    memset(w, 0, sizeof(*w));
    if ((code = find_user(w, err)) != 0) {
        return code;
    }
    made = mkdir(dir, 0755) == 0;
    if (!made && errno != EEXIST) {
        return lab_file_failed(err, "make directory", dir);
    }
    if ((code = lab_world_locate(w, dir, err)) != 0 ||
        (code = check_all(w, file, fresh, config, err)) != 0) {
        if (made) {
            rmdir(dir);
        }
        return code;
    }
    if (fresh && lab_world_exists(w->dir) && (code = begin_anew(w, config, err)) != 0) {
        return code;
    }
    if ((code = let_in(w, err)) != 0) {
        return code;
    }
    return install_config(w, config, err);
}

int lab_world_enter(struct lab_world *w, const char *dir, struct mrd_err *err)
{
    char config[LAB_PATH + 32];
    int code;

    memset(w, 0, sizeof(*w));
    if ((code = find_user(w, err)) != 0 || (code = lab_world_locate(w, dir, err)) != 0 ||
        (code = find_program(w, err)) != 0) {
        return code;
    }
    find_templates(w, NULL);
    find_config(w, NULL, config);
    return load_config(w, config, err);
}

void lab_world_close(struct lab_world *w)
{
    free(w->config);
    w->config = NULL;
}

int lab_world_certs(const struct lab_world *w, struct mrd_err *err)
{
    char dir[LAB_PATH];
    char *argv[MRD_REGIONS_MAX + 4] = {(char *)w->bin, "certs", dir};

    snprintf(dir, sizeof(dir), "%s/certs", w->dir);
    for (unsigned i = 0; i < w->config->region_count; i++) {
        argv[3 + i] = w->config->regions[i].name;
    }
    return lab_run(argv, err);
}

/* ---- the region's clock ---- */

static int open_clock(const struct lab_world *w, unsigned region, int flags)
{
    char path[LAB_PATH];

    snprintf(path, sizeof(path), "%s/%s/clock", w->run_root, w->config->regions[region].name);
    return open(path, flags | O_NOFOLLOW | O_CLOEXEC, 0644);
}

int lab_world_set_clock(const struct lab_world *w, unsigned region, int64_t offset_ns)
{
    int fd = open_clock(w, region, O_WRONLY | O_CREAT);
    ssize_t n = fd >= 0 ? pwrite(fd, &offset_ns, sizeof(offset_ns), 0) : -1;

    if (fd >= 0) {
        close(fd);
    }
    return n == (ssize_t)sizeof(offset_ns) ? 0 : MRD_EIO;
}

int64_t lab_world_clock(const struct lab_world *w, unsigned region)
{
    int fd = open_clock(w, region, O_RDONLY);
    int64_t offset_ns = 0;

    if (fd < 0 || pread(fd, &offset_ns, sizeof(offset_ns), 0) != (ssize_t)sizeof(offset_ns)) {
        offset_ns = 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return offset_ns;
}

/* ---- removing ---- */

static bool has(const char *dir, const char *name)
{
    char path[LAB_PATH + NAME_MAX + 32];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

bool lab_world_exists(const char *dir)
{
    return has(dir, LAB_LOCK) || (has(dir, CONFIG) && has(dir, "certs"));
}

void lab_world_sweep(const struct lab_world *w)
{
    char path[LAB_PATH];

    lab_remove_tree(w->run_root);
    snprintf(path, sizeof(path), "%s/lab.sock", w->dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/lab.json", w->dir);
    unlink(path);
}

static bool is_ledger(const char *name)
{
    size_t n = strlen(name);

    return strncmp(name, "ledger-", 7) == 0 && n > 11 && strcmp(name + n - 4, ".txt") == 0;
}

void lab_world_drop_ledgers(const struct lab_world *w)
{
    char path[LAB_PATH + NAME_MAX];
    DIR *dir = opendir(w->dir);
    struct dirent *e;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        if (is_ledger(e->d_name)) {
            snprintf(path, sizeof(path), "%s/%s", w->dir, e->d_name);
            unlink(path);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

/* The configuration may be gone or wrong, so a region is known by what is in its directory. */
static bool is_ours(const char *dir, const char *name)
{
    static const char *const ours[] = {"lab.sock", "lab.json",   LAB_LOCK, "lab.log",
                                       CONFIG,     "ports.json", "certs"};
    char path[LAB_PATH + NAME_MAX];

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (strcmp(name, ours[i]) == 0) {
            return true;
        }
    }
    if (is_ledger(name)) {
        return true;
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return has(path, "state") && has(path, "log") && has(path, "hosts");
}

void lab_world_purge(const struct lab_world *w, char ret_left[NAME_MAX + 1])
{
    char path[LAB_PATH + NAME_MAX];
    DIR *dir = opendir(w->dir);
    struct dirent *e;

    ret_left[0] = '\0';
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (is_ours(w->dir, e->d_name)) {
            snprintf(path, sizeof(path), "%s/%s", w->dir, e->d_name);
            lab_remove_tree(path);
        } else {
            snprintf(ret_left, NAME_MAX + 1, "%s", e->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    rmdir(w->dir);
}
