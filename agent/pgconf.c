/*
 * meridian.conf, pg_hba.conf and pg_ident.conf (pgconf.h).
 *
 * Settings that the protocol relies on are written here and nowhere else. Two are easy to get
 * wrong. `synchronous_commit` is `local` for everybody, and the write guard alone raises it for
 * a transaction that touched a quorum class. And `output_plugin_libraries`, which the minor
 * releases of 2026 ask for before they load an output plugin, does not exist in older ones,
 * which refuse to start when they find it.
 *
 * Who may connect: the operating system's own users over the local socket, by their name;
 * other regions as role `meridian`, with a certificate of the deployment whose CN is a
 * configured region. Everything else is the operator's, in a file that goes first.
 */
#include "pgconf.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 * 1024)

/* A quoted value as postgresql.conf wants it: quotes doubled, backslashes too. */
static void put_setting(struct text *t, const char *name, const char *value)
{
    text_put(t, "%s = '", name);
    for (const char *p = value; *p != '\0'; p++) {
        text_put(t, *p == '\'' || *p == '\\' ? "%c%c" : "%c", *p, *p);
    }
    text_put(t, "'\n");
}

static void put_path(struct text *t, const char *name, const char *dir, const char *file)
{
    char path[1200];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    put_setting(t, name, path);
}

unsigned pgconf_version(const char *text)
{
    unsigned major, minor;
    const char *at = strstr(text, "(PostgreSQL) ");
    if (at == NULL || sscanf(at + 13, "%u.%u", &major, &minor) != 2) {
        return 0;
    }
    return major * 10000 + minor;
}

/* The minor releases from which on output plugins must be named. */
static bool names_plugins(unsigned version)
{
    unsigned major = version / 10000, minor = version % 10000;
    switch (major) {
    case 14:
        return minor >= 24;
    case 15:
        return minor >= 19;
    case 16:
        return minor >= 15;
    case 17:
        return minor >= 11;
    case 18:
        return minor >= 6;
    default:
        return major > 18;
    }
}

/* Every region that keeps a copy of a quorum class which we keep too, and the most
 * acknowledgements that one of those classes needs. */
static void put_standbys(struct text *t, const struct pgconf *c)
{
    const struct mrd_config *conf = c->config;
    mrd_regions others = 0;
    unsigned acks = 0;

    for (unsigned i = 0; i < conf->class_count; i++) {
        const struct mrd_conf_class *k = &conf->classes[i];
        if (k->durability == MRD_QUORUM && (k->replicas >> c->self & 1) != 0) {
            unsigned need = mrd_config_remote_acks(k);
            others |= k->replicas;
            acks = need > acks ? need : acks;
        }
    }
    others = (mrd_regions)(others & ~(1u << c->self));
    if (others == 0 || acks == 0) {
        text_put(t, "synchronous_standby_names = ''\n");
        return;
    }
    text_put(t, "synchronous_standby_names = 'ANY %u (", acks);
    const char *comma = "";
    for (unsigned i = 0; i < conf->region_count; i++) {
        if ((others >> i & 1) != 0) {
            text_put(t, "%s\"meridian_", comma);
            for (const char *p = conf->regions[i].name; *p != '\0'; p++) {
                text_put(t, "%c", *p == '-' ? '_' : *p);
            }
            text_put(t, "\"");
            comma = ", ";
        }
    }
    text_put(t, ")'\n");
}

int pgconf_text(const struct pgconf *c, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    const struct mrd_conf_region *self = &c->config->regions[c->self];
    unsigned n = c->config->region_count;
    char listen[600];

    text_put(&t,
             "# Written by the agent of region \"%s\"; changes here are lost.\n"
             "# Put yours into postgresql.conf, above the line that includes this file.\n",
             self->name);
    snprintf(listen, sizeof(listen), "localhost,%s", c->bind != NULL ? c->bind : self->db_host);
    put_setting(&t, "listen_addresses", listen);
    text_put(&t, "port = %u\n", self->db_port);
    put_setting(&t, "unix_socket_directories", c->run_dir);
    text_put(&t, "ssl = on\n");
    put_path(&t, "ssl_cert_file", c->certs_dir, "node.crt");
    put_path(&t, "ssl_key_file", c->certs_dir, "node.key");
    put_path(&t, "ssl_ca_file", c->certs_dir, "ca.crt");
    text_put(&t, "\nshared_preload_libraries = 'meridian'\n");
    if (names_plugins(c->version)) {
        text_put(&t, "output_plugin_libraries = 'pgoutput, test_decoding, meridian'\n");
    }
    put_setting(&t, "meridian.region", self->name);
    put_setting(&t, "meridian.database", self->db_name);
    put_path(&t, "meridian.snapshot_file", c->run_dir, "snapshot");
    text_put(&t,
             "\nwal_level = logical\n"
             "track_commit_timestamp = on\n"
             "max_replication_slots = %u\n"
             "max_wal_senders = %u\n"
             "max_worker_processes = %u\n"
             "max_connections = %u\n",
             2 * n + 8, 2 * n + 8, 4 * n + 16, 100 + 4 * n);
    text_put(&t, "synchronous_commit = local\n");
    text_put(&t, "max_slot_wal_keep_size = %uMB\n", c->config->retained_wal_mb);
    put_standbys(&t, c);
    /* A broken link is noticed within seconds, on an idle connection and on a busy one. */
    text_put(&t, "\nwal_sender_timeout = 10s\n"
                 "tcp_keepalives_idle = 5\n"
                 "tcp_keepalives_interval = 2\n"
                 "tcp_keepalives_count = 3\n"
                 "tcp_user_timeout = 10000\n"
                 "restart_after_crash = on\n");
    return text_overflown(&t) ? MRD_EFULL : (int)t.len;
}

static int hba_text(const struct pgconf *c, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    text_put(&t,
             "# Written by the agent; changes here are lost. Yours go into the file named by\n"
             "# --pg-hba, which stands first.\n");
    FILE *f = c->extra_hba != NULL ? fopen(c->extra_hba, "r") : NULL;
    if (f != NULL) {
        char line[1024];
        while (fgets(line, sizeof(line), f) != NULL) {
            text_put(&t, "%s", line);
        }
        fclose(f);
        text_put(&t, "\n");
    }
    text_put(&t, "local    all  all  peer\n"
                 "hostssl  all  meridian  0.0.0.0/0  cert map=meridian\n"
                 "hostssl  all  meridian  ::/0       cert map=meridian\n");
    return text_overflown(&t) ? MRD_EFULL : (int)t.len;
}

static int ident_text(const struct pgconf *c, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    text_put(
        &t,
        "# Written by the agent: the certificates of these regions may be role meridian.\n");
    for (unsigned i = 0; i < c->config->region_count; i++) {
        text_put(&t, "meridian  \"%s\"  meridian\n", c->config->regions[i].name);
    }
    return text_overflown(&t) ? MRD_EFULL : (int)t.len;
}

static int problem(struct mrd_err *err, const char *doing, const char *path)
{
    return mrd_err_set(err, MRD_EIO, "could not %s \"%s\": %s", doing, path, strerror(errno));
}

/* Read at most FILE_MAX - 1 bytes as a string; -1 when the file is not there. */
static ssize_t read_file(const char *path, char *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = read(fd, out, FILE_MAX - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

/* Replace the file as a whole, unless it is already so. */
static int write_file(const char *path, const char *text, size_t len, bool *changed,
                      struct mrd_err *err)
{
    static char old[FILE_MAX]; /* the loop has one thread */
    char tmp[1300];
    ssize_t n = read_file(path, old);
    if (n == (ssize_t)len && memcmp(old, text, len) == 0) {
        return 0;
    }
    snprintf(tmp, sizeof(tmp), "%s.new", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return problem(err, "create", tmp);
    }
    bool good = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    if (close(fd) != 0 || !good || rename(tmp, path) != 0) {
        problem(err, "write", path);
        unlink(tmp);
        return MRD_EIO;
    }
    *changed = true;
    return 0;
}

/* postgresql.conf is the operator's; all we add is one line at its end. */
static int include_ours(const struct pgconf *c, bool *changed, struct mrd_err *err)
{
    static const char line[] = "include = 'meridian.conf'";
    static char text[FILE_MAX];
    char path[1200];
    snprintf(path, sizeof(path), "%s/postgresql.conf", c->data_dir);
    ssize_t n = read_file(path, text);
    if (n < 0) {
        return problem(err, "read", path);
    }
    if (strstr(text, line) != NULL) {
        return 0;
    }
    size_t len = strlen(text);
    if (len + sizeof(line) + 2 > FILE_MAX) {
        return mrd_err_set(err, MRD_EFULL, "\"%s\" is longer than %zu bytes", path, FILE_MAX);
    }
    snprintf(text + len, FILE_MAX - len, "\n%s\n", line);
    return write_file(path, text, strlen(text), changed, err);
}

int pgconf_write(const struct pgconf *c, bool *ret_changed, struct mrd_err *err)
{
    static const struct {
        const char *name;
        int (*text)(const struct pgconf *c, char *out, size_t cap);
    } files[] = {{"meridian.conf", pgconf_text},
                 {"pg_hba.conf", hba_text},
                 {"pg_ident.conf", ident_text}};
    char *text = malloc(FILE_MAX);
    char path[1200];
    int rv = text != NULL ? 0 : MRD_ENOMEM;

    *ret_changed = false;
    for (size_t i = 0; rv == 0 && i < sizeof(files) / sizeof(files[0]); i++) {
        int len = files[i].text(c, text, FILE_MAX);
        snprintf(path, sizeof(path), "%s/%s", c->data_dir, files[i].name);
        rv = len < 0 ? mrd_err_set(err, len, "\"%s\" would be too long", path)
                     : write_file(path, text, (size_t)len, ret_changed, err);
    }
    if (rv == 0) {
        rv = include_ours(c, ret_changed, err);
    }
    free(text);
    return rv;
}
