/*
 * Making and finding what a world needs on disk (world.h).
 */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <load.h>

#include "files.h"
#include "paths.h"

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

static int install_config(struct lab_world *w, const char *file, struct mrd_err *err)
{
    char used[LAB_PATH];
    char shop[LAB_PATH + 32];

    snprintf(used, sizeof(used), "%s/meridian.yaml", w->dir);
    if (file == NULL && access(used, R_OK) == 0) {
        return 0;
    }
    if (file == NULL) {
        snprintf(shop, sizeof(shop), "%s/meridian.yaml", w->templates);
        file = shop;
    }
    return lab_copy_file(file, used, 0644, 0, 0, err);
}

static int load_config(struct lab_world *w, struct mrd_err *err)
{
    static struct mrd_conf_errors errors;
    char path[LAB_PATH];
    int code;

    snprintf(path, sizeof(path), "%s/meridian.yaml", w->dir);
    w->config = calloc(1, sizeof(*w->config));
    if (w->config == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    code = mrd_config_load(path, w->config, &errors);
    if (code != 0) {
        mrd_config_print_errors(stderr, path, &errors);
        return mrd_err_set(err, code, "could not use the configuration \"%s\"", path);
    }
    return 0;
}

int lab_world_open(struct lab_world *w, const char *dir, const char *file, struct mrd_err *err)
{
    struct passwd *user = getpwnam(LAB_USER);
    int code;

    memset(w, 0, sizeof(*w));
    if (user == NULL) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "there is no user \"%s\" on this machine", LAB_USER);
        mrd_err_hint(err, "Install PostgreSQL with: make setup.");
        return MRD_EUNAVAILABLE;
    }
    w->uid = user->pw_uid;
    w->gid = user->pw_gid;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        return lab_file_failed(err, "make directory", dir);
    }
    if ((code = lab_world_locate(w, dir, err)) != 0 || (code = check_reachable(w, err)) != 0 ||
        (code = find_program(w, err)) != 0) {
        return code;
    }
    find_templates(w, file);
    if ((code = install_config(w, file, err)) != 0) {
        return code;
    }
    return load_config(w, err);
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

void lab_world_sweep(const struct lab_world *w, bool purge)
{
    static const char *const files[] = {"lab.sock",   "lab.json",      "lab.lock", "lab.log",
                                        "ports.json", "meridian.yaml", "certs"};
    char path[LAB_PATH];

    lab_remove_tree(w->run_root);
    snprintf(path, sizeof(path), "%s/lab.sock", w->dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/lab.json", w->dir);
    unlink(path);
    if (!purge) {
        return;
    }
    for (unsigned i = 0; w->config != NULL && i < w->config->region_count; i++) {
        lab_world_path(w, i, "", path);
        lab_remove_tree(path);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
        lab_remove_tree(path);
    }
    rmdir(w->dir);
}
