/*
 * Comparing regions (compare.h).
 *
 * Replicas are behind their home, and both change while we look, so that equal digests prove
 * more than different ones do. First each side's rows are reduced to 256 sums of hashes, by the
 * hash of the key: the replica is read when it has applied everything that the home had when it
 * was read. Only where sums differ the keys are fetched, three times: from the home, from the
 * replica once it has applied the home's position, and from the home again. A row that the home
 * had unchanged before and after, and that the replica has not or has otherwise, differs; a row
 * that the home changed meanwhile says nothing, and is looked at again. What differs may still
 * be on its way to be repaired, so it counts only when it does at the end of the time.
 *
 * Every question has a limit; a server that stands still costs seconds, not for ever. Sessions
 * are read-only, and print values in one fixed way.
 */
#include <client.h>
#include <compare.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUCKETS 256
#define KEYS_MAX 100000 /* fetched at once */
#define KEYS_NAMED 100
#define LEAST_MS 3000 /* for any question, however little time is left */
#define AGAIN_MS 300

struct table {
    char name[300];  /* quoted */
    char keys[1024]; /* columns of the primary key, quoted, separated by commas */
    char filter[300];
    const char *partition; /* NULL: the only one */
};

struct digest {
    long long rows;
    uint64_t sum;             /* 0: not looked at */
    uint64_t bucket[BUCKETS]; /* of count and sum, 0: no rows */
};

/* What three looks at the keys told of one replica. */
struct finding {
    long long differing, in_flux;
    bool more;
    json_t *keys;
};

uint64_t cli_mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- one question ---- */

struct cli_site *cli_site_find(struct cli_site *sites, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(sites[i].name, name) == 0) {
            return &sites[i];
        }
    }
    return NULL;
}

void cli_site_close(struct cli_site *site)
{
    PQfinish(site->conn);
    site->conn = NULL;
}

static void failed(struct cli_site *s, const char *why)
{
    snprintf(s->error, sizeof(s->error), "%s",
             why != NULL && why[0] != '\0' ? why : "no reason");
    s->error[strcspn(s->error, "\n")] = '\0';
}

static bool reach(struct cli_site *s)
{
    static const char *const names[] = {"dbname", "connect_timeout", "application_name",
                                        "options", NULL};
    static const char settings[] =
        "-c default_transaction_read_only=on -c search_path=pg_catalog -c datestyle=ISO "
        "-c timezone=UTC -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1 "
        "-c lc_monetary=C -c xmloption=content";
    const char *const values[] = {s->dsn, "3", "meridian verify", settings, NULL};

    if (s->conn == NULL) {
        s->conn = PQconnectdbParams(names, values, 1);
    }
    if (PQstatus(s->conn) == CONNECTION_OK) {
        return true;
    }
    failed(s, PQerrorMessage(s->conn));
    cli_site_close(s);
    return false;
}

static bool await(struct cli_site *s, uint64_t end_ms)
{
    uint64_t least = cli_mono_ms() + LEAST_MS;
    end_ms = end_ms > least ? end_ms : least;
    while (PQisBusy(s->conn)) {
        struct pollfd p = {.fd = PQsocket(s->conn), .events = POLLIN};
        uint64_t now = cli_mono_ms();
        if (now >= end_ms) {
            failed(s, "it did not answer in time");
            return false;
        }
        if (poll(&p, 1, (int)(end_ms - now)) > 0 && PQconsumeInput(s->conn) == 0) {
            failed(s, PQerrorMessage(s->conn));
            return false;
        }
    }
    return true;
}

/* A connection that failed is closed. */
PGresult *cli_site_ask(struct cli_site *s, uint64_t end_ms, const char *sql, int count,
                       const char *const params[])
{
    PGresult *r, *last = NULL;

    if (!reach(s)) {
        return NULL;
    }
    if (PQsendQueryParams(s->conn, sql, count, NULL, params, NULL, NULL, 0) == 0) {
        failed(s, PQerrorMessage(s->conn));
        cli_site_close(s);
        return NULL;
    }
    for (;;) {
        if (!await(s, end_ms)) {
            PQclear(last);
            cli_site_close(s);
            return NULL;
        }
        r = PQgetResult(s->conn);
        if (r == NULL) {
            break;
        }
        PQclear(last);
        last = r;
    }
    if (PQresultStatus(last) != PGRES_TUPLES_OK) {
        failed(s, PQresultErrorField(last, PG_DIAG_MESSAGE_PRIMARY));
        PQclear(last);
        return NULL;
    }
    return last;
}

/* ---- positions ---- */

/** Wait until @replica has applied everything that @home has in its WAL now. */
static bool catch_up(struct cli_site *home, struct cli_site *replica, uint64_t end_ms)
{
    PGresult *r = cli_site_ask(home, end_ms, "SELECT pg_current_wal_insert_lsn()", 0, NULL);
    char lsn[32];
    bool there = false;

    if (r == NULL) {
        return false;
    }
    snprintf(lsn, sizeof(lsn), "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    const char *params[] = {home->name, lsn};
    for (;;) {
        r = cli_site_ask(replica, end_ms,
                         "SELECT coalesce(bool_or(applied_lsn >= $2::pg_lsn), false)"
                         " FROM meridian.links WHERE region = $1",
                         2, params);
        if (r == NULL) {
            return false;
        }
        there = PQgetvalue(r, 0, 0)[0] == 't';
        PQclear(r);
        if (there || cli_mono_ms() >= end_ms) {
            break;
        }
        pause_ms(100);
    }
    if (!there) {
        snprintf(replica->error, sizeof(replica->error),
                 "it has not applied what %s had at %s; see: meridian links", home->name, lsn);
    }
    return there;
}

/* ---- digests ---- */

#define BUCKET "('x' || substr(md5(k), 1, 2))::bit(8)::int"

static int inner(const struct table *t, char *out, size_t cap)
{
    return snprintf(out, cap,
                    "SELECT ROW(%s)::text AS k, md5(t::text) AS h FROM %s AS t WHERE %s",
                    t->keys, t->name, t->filter);
}

/* FNV-1a */
static uint64_t hash(uint64_t h, const char *text)
{
    for (; *text != '\0'; text++) {
        h = (h ^ (uint8_t)*text) * 1099511628211u;
    }
    return h;
}

static bool take_digest(struct cli_site *s, const struct table *t, uint64_t end_ms,
                        struct digest *ret)
{
    char rows[2048], sql[2400];
    const char *params[] = {t->partition};

    inner(t, rows, sizeof(rows));
    snprintf(sql, sizeof(sql),
             "SELECT " BUCKET ", count(*), sum(('x' || substr(h, 1, 16))::bit(64)::bigint)"
             " FROM (%s) s GROUP BY 1 ORDER BY 1",
             rows);
    PGresult *r = cli_site_ask(s, end_ms, sql, 1, params);
    if (r == NULL) {
        return false;
    }
    memset(ret, 0, sizeof(*ret));
    ret->sum = 14695981039346656037u;
    for (int i = 0; i < PQntuples(r); i++) {
        int b = atoi(PQgetvalue(r, i, 0));
        if (b >= 0 && b < BUCKETS) {
            ret->bucket[b] = hash(hash(hash(14695981039346656037u, PQgetvalue(r, i, 1)), "/"),
                                  PQgetvalue(r, i, 2));
        }
        ret->rows += strtoll(PQgetvalue(r, i, 1), NULL, 10);
        for (int k = 0; k < 3; k++) {
            ret->sum = hash(hash(ret->sum, PQgetvalue(r, i, k)), "/");
        }
    }
    PQclear(r);
    return true;
}

/* ---- keys ---- */

static PGresult *take_keys(struct cli_site *s, const struct table *t, const char *buckets,
                           uint64_t end_ms)
{
    char rows[2048], sql[2400];
    const char *params[] = {t->partition, buckets};

    inner(t, rows, sizeof(rows));
    snprintf(sql, sizeof(sql),
             "SELECT k, h FROM (%s) s WHERE " BUCKET " = ANY ($2::int[])"
             " ORDER BY k COLLATE \"C\" LIMIT %d",
             rows, KEYS_MAX);
    return cli_site_ask(s, end_ms, sql, 2, params);
}

struct cursor {
    PGresult *r;
    int at;
};

static const char *key_at(const struct cursor *c)
{
    return c->at < PQntuples(c->r) ? PQgetvalue(c->r, c->at, 0) : NULL;
}

/** The hash under @key, or NULL; moves past it. */
static const char *take(struct cursor *c, const char *key)
{
    const char *mine = key_at(c);
    return mine != NULL && strcmp(mine, key) == 0 ? PQgetvalue(c->r, c->at++, 1) : NULL;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void note(struct finding *f, const char *key, const char *home, const char *replica)
{
    f->differing++;
    if (json_array_size(f->keys) < KEYS_NAMED) {
        json_array_append_new(f->keys, json_pack("{s:s, s:s}", "key", key, "what",
                                                 home == NULL      ? "extra"
                                                 : replica == NULL ? "missing"
                                                                   : "differs"));
    }
}

/** Judge every key that any of the three looks has; they are sorted by bytes. */
static void judge_keys(PGresult *before, PGresult *replica, PGresult *after, struct finding *f)
{
    struct cursor c[3] = {{before, 0}, {replica, 0}, {after, 0}};

    for (;;) {
        const char *key = NULL, *h[3];
        for (int i = 0; i < 3; i++) {
            const char *mine = key_at(&c[i]);
            /* Past the end of a list that was cut nothing can be told. */
            if (mine == NULL && PQntuples(c[i].r) == KEYS_MAX) {
                f->more = true;
                return;
            }
            key = mine != NULL && (key == NULL || strcmp(mine, key) < 0) ? mine : key;
        }
        if (key == NULL) {
            return;
        }
        for (int i = 0; i < 3; i++) {
            h[i] = take(&c[i], key);
        }
        if (!same(h[0], h[2])) {
            f->in_flux++;
        } else if (!same(h[0], h[1])) {
            note(f, key, h[0], h[1]);
        }
    }
}

static void list_buckets(const struct digest *a, const struct digest *b, char *out, size_t cap)
{
    size_t used = (size_t)snprintf(out, cap, "{");
    for (int i = 0; i < BUCKETS; i++) {
        if (a->bucket[i] != b->bucket[i] && used < cap) {
            used += (size_t)snprintf(out + used, cap - used, "%s%d", used > 1 ? "," : "", i);
        }
    }
    if (used < cap) {
        snprintf(out + used, cap - used, "}");
    }
}

static bool look_at_keys(struct cli_site *home, struct cli_site *replica, const struct table *t,
                         const char *buckets, uint64_t end_ms, struct finding *f)
{
    PGresult *before = take_keys(home, t, buckets, end_ms), *there = NULL, *after = NULL;
    bool done = false;

    if (before != NULL && catch_up(home, replica, end_ms) &&
        (there = take_keys(replica, t, buckets, end_ms)) != NULL &&
        (after = take_keys(home, t, buckets, end_ms)) != NULL) {
        json_array_clear(f->keys);
        f->differing = f->in_flux = 0;
        f->more = false;
        judge_keys(before, there, after, f);
        done = true;
    }
    PQclear(before);
    PQclear(there);
    PQclear(after);
    return done;
}

/* ---- a home and a replica ---- */

enum state { EQUAL, DIFFERS, UNKNOWN };

/** One round; the digests are those of this round. */
static enum state look(struct cli_site *home, struct cli_site *replica, const struct table *t,
                       uint64_t end_ms, struct digest *at_home, struct digest *there,
                       struct finding *f)
{
    char buckets[BUCKETS * 4 + 8];

    home->error[0] = replica->error[0] = '\0';
    if (!take_digest(home, t, end_ms, at_home) || !catch_up(home, replica, end_ms) ||
        !take_digest(replica, t, end_ms, there)) {
        return UNKNOWN;
    }
    if (at_home->sum == there->sum) {
        return EQUAL;
    }
    list_buckets(at_home, there, buckets, sizeof(buckets));
    if (!look_at_keys(home, replica, t, buckets, end_ms, f)) {
        return UNKNOWN;
    }
    if (f->differing > 0) {
        return DIFFERS;
    }
    if (f->in_flux > 0 || f->more) {
        snprintf(replica->error, sizeof(replica->error),
                 "%lld rows were changing each time they were looked at", f->in_flux);
        return UNKNOWN;
    }
    return EQUAL;
}

static json_t *pair_json(const struct cli_site *home, const struct cli_site *replica,
                         enum state state, const struct digest *d, struct finding *f)
{
    static const char *const names[] = {"equal", "differs", "unknown"};
    char sum[20], why[700] = "";

    snprintf(sum, sizeof(sum), "%016" PRIx64, d->sum);
    if (state == UNKNOWN) {
        bool ours = replica->error[0] != '\0';
        snprintf(why, sizeof(why), "%s%s%s", ours ? "" : home->name, ours ? "" : ": ",
                 ours ? replica->error : home->error);
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:s?, s:I, s:b, s:O}", "region", replica->name,
                     "state", names[state], "why", why, "rows",
                     d->sum != 0 ? json_integer(d->rows) : json_null(), "digest",
                     d->sum != 0 ? sum : NULL, "differing",
                     (json_int_t)(state == DIFFERS ? f->differing : 0), "more",
                     state == DIFFERS && f->more, "keys", f->keys);
}

/* Who is far behind uses up its own time, once for all tables, and nobody else's. A table that
 * differs may take all of it: while the replica answers, those after it still get the least. */
static json_t *compare_pair(struct cli_site *home, struct cli_site *replica,
                            const struct table *t, struct digest *at_home, bool *equal)
{
    uint64_t now_ms = cli_mono_ms(), left_ms = replica->left_ms;
    uint64_t least_ms = replica->conn != NULL ? LEAST_MS : 0;
    uint64_t end_ms = now_ms + (left_ms > least_ms ? left_ms : least_ms);
    struct digest there = {0};
    struct finding f = {.keys = json_array()};
    enum state state;

    for (;;) {
        state = look(home, replica, t, end_ms, at_home, &there, &f);
        if (state == UNKNOWN && f.differing > 0) {
            state = DIFFERS; /* as found before; there was no time to look again */
        }
        if (state == EQUAL || cli_mono_ms() >= end_ms) {
            break;
        }
        pause_ms(AGAIN_MS);
    }
    uint64_t took_ms = cli_mono_ms() - now_ms;
    replica->left_ms = took_ms < left_ms ? left_ms - took_ms : 0;
    if (state != DIFFERS) {
        json_array_clear(f.keys);
    }
    *equal = *equal && state == EQUAL;
    json_t *o = pair_json(home, replica, state, &there, &f);
    json_decref(f.keys);
    return o;
}

/* ---- a table ---- */

/* "schema.table" as the configuration writes it, quoted for SQL. */
static bool quote_name(struct cli_site *s, const char *name, char *out, size_t cap)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL || !reach(s)) {
        return false;
    }
    char *schema = PQescapeIdentifier(s->conn, name, (size_t)(dot - name));
    char *table = PQescapeIdentifier(s->conn, dot + 1, strlen(dot + 1));
    bool fits = schema != NULL && table != NULL &&
                (size_t)snprintf(out, cap, "%s.%s", schema, table) < cap;
    PQfreemem(schema);
    PQfreemem(table);
    return fits;
}

static bool set_filter(struct cli_site *s, const json_t *class, struct table *t)
{
    const char *column = cli_text(class, "partition_by");
    if (column[0] == '\0') {
        snprintf(t->filter, sizeof(t->filter), "$1::text IS NULL");
        return true;
    }
    char *quoted = PQescapeIdentifier(s->conn, column, strlen(column));
    bool fits = quoted != NULL &&
                (size_t)snprintf(t->filter, sizeof(t->filter), "t.%s::text = $1", quoted) <
                    sizeof(t->filter);
    PQfreemem(quoted);
    return fits;
}

/** Fill @t from the home's catalog; false with home->error. */
static bool describe(struct cli_site *home, const json_t *class, const char *name,
                     const char *partition, uint64_t end_ms, struct table *t)
{
    static const char sql[] =
        "SELECT coalesce(string_agg('t.' || quote_ident(a.attname), ', ' ORDER BY k.n), '')"
        " FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(att, n), pg_attribute "
        "a"
        " WHERE i.indrelid = to_regclass($1) AND i.indisprimary"
        " AND a.attrelid = i.indrelid AND a.attnum = k.att";
    const char *params[] = {t->name};
    bool partitioned = cli_text(class, "partition_by")[0] != '\0';

    t->partition = partitioned ? partition : NULL;
    if (!reach(home)) {
        return false;
    }
    if (!quote_name(home, name, t->name, sizeof(t->name)) || !set_filter(home, class, t)) {
        failed(home, "the table's name is not SCHEMA.TABLE or is too long");
        return false;
    }
    PGresult *r = cli_site_ask(home, end_ms, sql, 1, params);
    if (r == NULL) {
        return false;
    }
    int n = snprintf(t->keys, sizeof(t->keys), "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    if (n == 0 || (size_t)n >= sizeof(t->keys)) {
        failed(home, n == 0 ? "no such table is there (dropped?), or it has no primary key"
                            : "its key is too wide");
        return false;
    }
    return true;
}

static json_t *not_asked(const struct cli_site *s, const char *region, bool *equal)
{
    *equal = false;
    return json_pack("{s:s, s:s, s:s, s:n, s:n, s:i, s:b, s:[]}", "region", region, "state",
                     "unknown", "why",
                     s != NULL ? s->error : "its address is not known; give it with --dsn",
                     "rows", "digest", "differing", 0, "more", 0, "keys");
}

/** Compare every replica with @home; its own digest is that of the last look. */
static void compare_replicas(const json_t *class, struct cli_site *home, struct cli_site *sites,
                             unsigned count, const struct table *t, unsigned timeout_ms,
                             json_t *into, bool *equal)
{
    struct digest at_home = {0};
    json_t *regions = json_object_get(into, "regions");
    char sum[20];
    size_t i;
    const json_t *v;

    json_array_foreach(cli_list(class, "replicas"), i, v)
    {
        const char *name = json_string_value(v) != NULL ? json_string_value(v) : "?";
        struct cli_site *s = cli_site_find(sites, count, name);
        if (s != home) {
            json_array_append_new(regions, s != NULL && s->dsn[0] != '\0'
                                               ? compare_pair(home, s, t, &at_home, equal)
                                               : not_asked(s, name, equal));
        }
    }
    if (at_home.sum == 0 && !take_digest(home, t, cli_mono_ms() + timeout_ms, &at_home)) {
        return;
    }
    snprintf(sum, sizeof(sum), "%016" PRIx64, at_home.sum);
    json_object_set_new(into, "rows", json_integer(at_home.rows));
    json_object_set_new(into, "digest", json_string(sum));
}

static json_t *compare_table(const json_t *class, const json_t *partition, const char *name,
                             struct cli_site *sites, unsigned count, unsigned timeout_ms,
                             bool *equal)
{
    const char *home_name = cli_text(partition, "home");
    struct cli_site *home = cli_site_find(sites, count, home_name);
    struct table t = {.partition = NULL};
    json_t *o =
        json_pack("{s:s, s:s, s:s?, s:n, s:n, s:s, s:[]}", "table", name, "partition",
                  cli_text(partition, "name"), "home", home_name[0] != '\0' ? home_name : NULL,
                  "rows", "digest", "why", "", "regions");
    char why[500];

    if (home == NULL) {
        snprintf(why, sizeof(why),
                 home_name[0] != '\0' ? "the address of %s is not known; give it with --dsn"
                                      : "it has no home now%s",
                 home_name);
    } else if (home->dsn[0] == '\0' || !describe(home, class, name, cli_text(partition, "name"),
                                                 cli_mono_ms() + timeout_ms, &t)) {
        snprintf(why, sizeof(why), "%s: %s", home_name, home->error);
    } else {
        compare_replicas(class, home, sites, count, &t, timeout_ms, o, equal);
        return o;
    }
    *equal = false;
    json_object_set_new(o, "why", json_string(why));
    return o;
}

json_t *cli_compare(const json_t *class, struct cli_site *sites, unsigned count,
                    unsigned timeout_ms)
{
    json_t *tables = json_array();
    bool equal = true;
    size_t i, k;
    const json_t *p, *name;

    for (unsigned s = 0; s < count; s++) {
        sites[s].left_ms = timeout_ms;
    }
    json_array_foreach(cli_list(class, "partitions"), i, p)
    {
        json_array_foreach(cli_list(class, "tables"), k, name)
        {
            const char *text = json_string_value(name);
            json_array_append_new(tables, compare_table(class, p, text != NULL ? text : "",
                                                        sites, count, timeout_ms, &equal));
        }
    }
    return json_pack("{s:s, s:b, s:o}", "class", cli_text(class, "name"), "equal", equal,
                     "tables", tables);
}
