/*
 * Making and finding what a world needs on disk (world.h).
 */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <load.h>

#include "paths.h"

#define CONFIG_MAX (1024 * 1024)
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

/* ---- small file work ---- */

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

static int failed(struct mrd_err *err, const char *what, const char *path)
{
    return mrd_err_set(err, MRD_EIO, "could not %s \"%s\": %s", what, path, strerror(errno));
}

static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid, struct mrd_err *err)
{
    if ((mkdir(path, mode) != 0 && errno != EEXIST) || chown(path, uid, gid) != 0 ||
        chmod(path, mode) != 0) {
        return failed(err, "make directory", path);
    }
    return 0;
}

static int copy_file(const char *from, const char *to, mode_t mode, uid_t uid, gid_t gid,
                     struct mrd_err *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = -1;
    ssize_t n = -1;

    if (in < 0) {
        return failed(err, "read", from);
    }
    unlink(to); /* a running program keeps the file it has */
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out >= 0 && fchmod(out, mode) == 0 && fchown(out, uid, gid) == 0) {
        while ((n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0)) > 0) {
        }
    }
    close(in);
    if (out >= 0) {
        close(out);
    }
    return n == 0 ? 0 : failed(err, "write", to);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static void remove_tree(const char *path)
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
        return failed(err, "run", argv[0]);
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
        return failed(err, "find the lab's directory", dir);
    }
    /* The path becomes part of overlay mount options, where these two separate. */
    if (strlen(real) >= sizeof(w->dir) || strpbrk(real, ":,\\\"'\n ") != NULL) {
        return mrd_err_set(err, MRD_EINVAL,
                           "cannot use directory \"%s\": the path is too long or has one of "
                           "': , \\ \" '' or a blank in it",
                           dir);
    }
    strcpy(w->dir, real);
    snprintf(w->run_root, sizeof(w->run_root), "/dev/shm/meridian-%016llx",
             (unsigned long long)hash_of(real));
    return 0;
}

/* Every directory above must let LAB_USER through. */
static int check_reachable(const struct lab_world *w, struct mrd_err *err)
{
    char path[LAB_DIR_MAX];
    struct stat st;

    strcpy(path, w->dir);
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
        return failed(err, "read", "/proc/self/exe");
    }
    w->bin[n] = '\0';
    strcpy(w->build, w->bin);
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
    char probe[LAB_PATH + 32];
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;

    if (slash != NULL) {
        snprintf(here, sizeof(here), "%.*s", (int)(slash - file + 1), file);
    }
    snprintf(probe, sizeof(probe), "%s/nginx.conf.in", here);
    if (file != NULL && access(probe, R_OK) == 0 && realpath(here, w->templates) != NULL) {
        return;
    }
    strcpy(w->templates,
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
    return copy_file(file, used, 0644, 0, 0, err);
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
        return failed(err, "make directory", dir);
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

/* ---- preparing one region ---- */

/*
 * What the build made, and the directory of the stage it goes to. Installed, most of it is
 * where the system looks; only what the templates name by path is still staged.
 */
static const struct {
    const char *built, *installed, *stage;
    mode_t mode;
} staged[] = {
    {"meridian", NULL, "bin", 0755},
    {"examples/shop/shop", NULL, "bin", 0755},
    {"lab/lab-clockshim.so", NULL, "bin", 0755},
    {"postgres/meridian.so", NULL, "pg-lib", 0644},
    {"postgres/meridian.control", NULL, "pg-ext", 0644},
    {"postgres/meridian--0.1.sql", NULL, "pg-ext", 0644},
    {"nginx/ngx_http_meridian_module.so", LAB_NGINX_MODULES, "modules", 0644},
    {"knot/mod-mrd.so", LAB_KNOT_MODULES, "modules", 0644},
};

static int stage_file(const struct lab_world *w, unsigned region, size_t i, struct mrd_err *err)
{
    const char *slash = strrchr(staged[i].built, '/');
    const char *base = slash != NULL ? slash + 1 : staged[i].built;
    char from[LAB_PATH + 64], to[LAB_PATH], name[128];
    int code;

    if (w->build[0] != '\0') {
        snprintf(from, sizeof(from), "%s/%s", w->build, staged[i].built);
    } else if (staged[i].installed != NULL) {
        snprintf(from, sizeof(from), "%s/%s", staged[i].installed, base);
    } else {
        return 0;
    }
    snprintf(name, sizeof(name), "stage/%s/%s", staged[i].stage, base);
    lab_world_path(w, region, name, to);
    code = copy_file(from, to, staged[i].mode, 0, 0, err);
    if (code != 0) {
        mrd_err_hint(err, "Build everything first, with: make.");
    }
    return code;
}

static int stage(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    static const char *const dirs[] = {"stage", "stage/bin", "stage/pg-lib", "stage/pg-ext",
                                       "stage/modules"};
    char path[LAB_PATH];
    int code = 0;

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && code == 0; i++) {
        lab_world_path(w, region, dirs[i], path);
        code = make_dir(path, 0755, 0, 0, err);
    }
    for (size_t i = 0; i < sizeof(staged) / sizeof(staged[0]) && code == 0; i++) {
        code = stage_file(w, region, i, err);
    }
    return code;
}

struct placeholder {
    const char *name, *value;
};

/* Replace @NAME@ everywhere; an unknown one is a mistake, not text. */
static int render(const char *from, const char *to, const struct placeholder *values, uid_t uid,
                  gid_t gid, struct mrd_err *err)
{
    size_t len = 0;
    char *text = lab_read_file(from, CONFIG_MAX, &len);
    char *out = NULL;
    size_t out_len = 0;
    FILE *stream = text != NULL ? open_memstream(&out, &out_len) : NULL;
    int code = 0;

    if (stream == NULL) {
        free(text);
        return failed(err, "read", from);
    }
    for (const char *p = text; *p != '\0' && code == 0;) {
        size_t n = *p == '@' ? strspn(p + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;
        const struct placeholder *v = values;

        if (n == 0 || p[1 + n] != '@') {
            fputc(*p++, stream);
            continue;
        }
        while (v->name != NULL && (strlen(v->name) != n || memcmp(v->name, p + 1, n) != 0)) {
            v++;
        }
        if (v->name == NULL) {
            code = mrd_err_set(err, MRD_EFORMAT, "unknown placeholder \"%.*s\" in \"%s\"",
                               (int)n + 2, p, from);
        } else {
            fputs(v->value, stream);
        }
        p += n + 2;
    }
    fclose(stream);
    if (code == 0 &&
        (lab_write_file(to, out, out_len, 0644) != 0 || chown(to, uid, gid) != 0)) {
        code = failed(err, "write", to);
    }
    free(out);
    free(text);
    return code;
}

static int render_all(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    char state[LAB_PATH], certs[LAB_PATH], modules[LAB_PATH], log[LAB_PATH];
    char address[32], address6[32];
    struct placeholder values[] = {
        {"REGION", w->config->regions[region].name},
        {"RUN", LAB_RUN_INSIDE},
        {"STATE", state},
        {"CERTS", certs},
        {"MODULES", modules},
        {"LOG", log},
        {"ADDRESS", address},
        {"ADDRESS6", address6},
        {"ZONE", w->config->dns_zone},
        {NULL, NULL},
    };
    DIR *d = opendir(w->templates);
    struct dirent *e;
    int code = 0;

    if (d == NULL) {
        return failed(err, "read", w->templates);
    }
    lab_world_path(w, region, "state", state);
    lab_world_path(w, region, "state/certs", certs);
    lab_world_path(w, region, "stage/modules", modules);
    lab_world_path(w, region, "log", log);
    snprintf(address, sizeof(address), "10.77.%u.1", region + 1);
    snprintf(address6, sizeof(address6), "fd77::%x", region + 1);
    while (code == 0 && (e = readdir(d)) != NULL) {
        size_t n = strlen(e->d_name);
        char from[LAB_PATH + 256], to[LAB_PATH + 256];

        if (n > 3 && n < 200 && strcmp(e->d_name + n - 3, ".in") == 0) {
            bool nginx = strncmp(e->d_name, "nginx", 5) == 0;

            snprintf(from, sizeof(from), "%s/%s", w->templates, e->d_name);
            snprintf(to, sizeof(to), "%s/%s/%.*s", state, nginx ? "nginx" : "knot", (int)n - 3,
                     e->d_name);
            code = render(from, to, values, w->uid, w->gid, err);
        }
    }
    closedir(d);
    return code;
}

static int give_certs(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    static const char *const names[] = {"ca.crt", "node.crt", "node.key"};
    char from[LAB_PATH + 128], to[LAB_PATH], name[64];
    int code = 0;

    for (size_t i = 0; i < 3 && code == 0; i++) {
        snprintf(from, sizeof(from), "%s/certs/%s/%s", w->dir, w->config->regions[region].name,
                 names[i]);
        snprintf(name, sizeof(name), "state/certs/%s", names[i]);
        lab_world_path(w, region, name, to);
        code = copy_file(from, to, 0600, w->uid, w->gid, err);
    }
    return code;
}

/* Whatever names the configuration uses for a region's servers, they are its lab address. */
static int write_hosts(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    char path[LAB_PATH];
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    int code = 0;

    if (out == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    fprintf(out, "127.0.0.1 localhost\n::1 localhost\n");
    for (unsigned i = 0; i < w->config->region_count; i++) {
        const struct mrd_conf_region *r = &w->config->regions[i];
        const char *names[] = {r->name, r->endpoint, r->agent_host, r->db_host, r->edge_host};

        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
            if (strpbrk(names[n], "abcdefghijklmnopqrstuvwxyz") != NULL &&
                strchr(names[n], ':') == NULL) {
                fprintf(out, "10.77.%u.1 %s\n", i + 1, names[n]);
            }
        }
    }
    fclose(out);
    lab_world_path(w, region, "hosts", path);
    if (lab_write_file(path, text, len, 0644) != 0) {
        code = failed(err, "write", path);
    }
    free(text);
    return code;
}

/* The doors arrive at loopback as somebody from the same host; in a lab they may be anyone. */
static int write_hba(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    static const char text[] = "host all all 127.0.0.1/32 trust\n";
    char path[LAB_PATH];

    lab_world_path(w, region, "state/pg_hba.local", path);
    if (lab_write_file(path, text, sizeof(text) - 1, 0644) != 0) {
        return failed(err, "write", path);
    }
    return 0;
}

static int make_dirs(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    static const struct {
        const char *name;
        mode_t mode;
        bool theirs;
    } dirs[] = {
        {"", 0755, false},           {"log", 0755, true},         {"state", 0750, true},
        {"state/certs", 0700, true}, {"state/nginx", 0755, true}, {"state/knot", 0755, true},
    };
    char path[LAB_PATH];
    int code = make_dir(w->run_root, 0755, 0, 0, err);

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && code == 0; i++) {
        lab_world_path(w, region, dirs[i].name, path);
        code = make_dir(path, dirs[i].mode, dirs[i].theirs ? w->uid : 0,
                        dirs[i].theirs ? w->gid : 0, err);
    }
    if (code == 0) {
        snprintf(path, sizeof(path), "%s/%s", w->run_root, w->config->regions[region].name);
        remove_tree(path);
        code = make_dir(path, 0755, w->uid, w->gid, err);
    }
    if (code == 0 && lab_world_set_clock(w, region, 0) != 0) {
        code = failed(err, "write", "clock");
    }
    if (code == 0) { /* knotd wants its own, and does not make it */
        strcat(path, "/knot");
        code = make_dir(path, 0755, w->uid, w->gid, err);
    }
    return code;
}

int lab_world_prepare(const struct lab_world *w, unsigned region, struct mrd_err *err)
{
    char path[LAB_PATH];
    int code = make_dirs(w, region, err);

    if (code == 0) {
        code = write_hosts(w, region, err);
    }
    if (code != 0 || w->bare) {
        return code;
    }
    /* Its process cannot be alive: it had another pid namespace, which is gone. */
    lab_world_path(w, region, "state/pg/postmaster.pid", path);
    unlink(path);
    code = stage(w, region, err);
    if (code == 0) {
        code = give_certs(w, region, err);
    }
    if (code == 0) {
        code = write_hba(w, region, err);
    }
    return code == 0 ? render_all(w, region, err) : code;
}

void lab_world_sweep(const struct lab_world *w, bool purge)
{
    static const char *const files[] = {"lab.sock",   "lab.json",      "lab.lock", "lab.log",
                                        "ports.json", "meridian.yaml", "certs"};
    char path[LAB_PATH];

    remove_tree(w->run_root);
    snprintf(path, sizeof(path), "%s/lab.sock", w->dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/lab.json", w->dir);
    unlink(path);
    if (!purge) {
        return;
    }
    for (unsigned i = 0; w->config != NULL && i < w->config->region_count; i++) {
        lab_world_path(w, i, "", path);
        remove_tree(path);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
        remove_tree(path);
    }
    rmdir(w->dir);
}
