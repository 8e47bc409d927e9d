/*
 * Everything a region needs on disk before it starts (lab_world_prepare in world.h): its
 * directories, the build staged for it, its certificates, its rendered templates.
 */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "paths.h"

#define TEMPLATE_MAX ((size_t)1024 * 1024)

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
    code = lab_copy_file(from, to, staged[i].mode, 0, 0, err);
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
        code = lab_make_dir(path, 0755, 0, 0, err);
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
    char *text = lab_read_file(from, TEMPLATE_MAX, &len);
    char *out = NULL;
    size_t out_len = 0;
    FILE *stream = text != NULL ? open_memstream(&out, &out_len) : NULL;
    int code = 0;

    if (stream == NULL) {
        free(text);
        return lab_file_failed(err, "read", from);
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
        code = lab_file_failed(err, "write", to);
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
        return lab_file_failed(err, "read", w->templates);
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
            snprintf(to, sizeof(to), "%s/%s/%.*s", state, nginx ? "nginx" : "knot",
                     (int)(n - 3), e->d_name);
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
        code = lab_copy_file(from, to, 0600, w->uid, w->gid, err);
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
        code = lab_file_failed(err, "write", path);
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
        return lab_file_failed(err, "write", path);
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
    int code = lab_make_dir(w->run_root, 0755, 0, 0, err);

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && code == 0; i++) {
        lab_world_path(w, region, dirs[i].name, path);
        code = lab_make_dir(path, dirs[i].mode, dirs[i].theirs ? w->uid : 0,
                            dirs[i].theirs ? w->gid : 0, err);
    }
    if (code == 0) {
        snprintf(path, sizeof(path), "%s/%s", w->run_root, w->config->regions[region].name);
        lab_remove_tree(path);
        code = lab_make_dir(path, 0755, w->uid, w->gid, err);
    }
    if (code == 0 && lab_world_set_clock(w, region, 0) != 0) {
        code = lab_file_failed(err, "write", "clock");
    }
    if (code == 0) { /* knotd wants its own, and does not make it */
        snprintf(path, sizeof(path), "%s/%s/knot", w->run_root,
                 w->config->regions[region].name);
        code = lab_make_dir(path, 0755, w->uid, w->gid, err);
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
