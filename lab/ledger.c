/*
 * The ledger's file and its copy in memory (ledger.h).
 *
 * One write(2) per line, with O_APPEND: lines do not interleave, and survive the death of this
 * process. They are not fsynced; the machine under test is the region, not the host.
 */
#include "ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct lab_ledger {
    pthread_mutex_t mutex;
    int fd; /* -1 for one that was loaded */
    char tag[LAB_TAG_MAX];
    struct lab_write *writes;
    size_t count, cap;
};

static const char *const class_names[LAB_CLASSES] = {"catalog", "accounts", "orders", "events"};

const char *lab_class_name(enum lab_class c)
{
    return class_names[c];
}

enum lab_class lab_class_parse(const char *name)
{
    unsigned i = 0;

    while (i < LAB_CLASSES && strcmp(name, class_names[i]) != 0) {
        i++;
    }
    return (enum lab_class)i;
}

static unsigned long long wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000;
}

static int append(struct lab_ledger *l, const char *line, int len)
{
    return write(l->fd, line, (size_t)len) == len ? 0 : MRD_EIO;
}

static long add(struct lab_ledger *l, unsigned class_index, unsigned partition, const char *id)
{
    struct lab_write *w;

    if (l->count == LAB_WRITES_MAX) {
        return MRD_EFULL;
    }
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 4096 : l->cap * 2;
        struct lab_write *writes = realloc(l->writes, cap * sizeof(*writes));

        if (writes == NULL) {
            return MRD_ENOMEM;
        }
        l->writes = writes;
        l->cap = cap;
    }
    w = &l->writes[l->count];
    memset(w, 0, sizeof(*w));
    snprintf(w->id, sizeof(w->id), "%s", id);
    w->class_index = (uint8_t)class_index;
    w->partition = (uint8_t)partition;
    return (long)l->count++;
}

struct lab_ledger *lab_ledger_new(const char *path, const char *tag, struct mrd_err *err)
{
    struct lab_ledger *l = calloc(1, sizeof(*l));
    char line[LAB_TAG_MAX + 8];
    int n = snprintf(line, sizeof(line), "run %s\n", tag);

    if (l == NULL) {
        mrd_err_set(err, MRD_ENOMEM, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&l->mutex, NULL);
    snprintf(l->tag, sizeof(l->tag), "%s", tag);
    l->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (l->fd < 0 || append(l, line, n) != 0) {
        mrd_err_set(err, MRD_EIO, "could not begin the ledger \"%s\": %s", path,
                    strerror(errno));
        mrd_err_hint(err,
                     "Name another file with --ledger; an old ledger is never overwritten.");
        lab_ledger_free(l);
        return NULL;
    }
    return l;
}

void lab_ledger_free(struct lab_ledger *l)
{
    if (l == NULL) {
        return;
    }
    if (l->fd >= 0) {
        close(l->fd);
    }
    pthread_mutex_destroy(&l->mutex);
    free(l->writes);
    free(l);
}

const char *lab_ledger_tag(const struct lab_ledger *l)
{
    return l->tag;
}

long lab_ledger_intend(struct lab_ledger *l, enum lab_class c, unsigned partition,
                       const char *id)
{
    char line[160];
    int n = snprintf(line, sizeof(line), "I %llu %s %u %s\n", wall_us(), class_names[c],
                     partition, id);
    long number;

    pthread_mutex_lock(&l->mutex);
    number = add(l, c, partition, id);
    if (number >= 0 && append(l, line, n) != 0) {
        l->count--;
        number = MRD_EIO;
    }
    pthread_mutex_unlock(&l->mutex);
    return number;
}

static void set_outcome(struct lab_write *w, enum lab_outcome outcome)
{
    if (w->outcome != LAB_ACKED) {
        w->outcome = (uint8_t)outcome;
    }
}

int lab_ledger_outcome(struct lab_ledger *l, long number, enum lab_outcome outcome,
                       const char *region)
{
    static const char letters[] = "IAUR";
    char line[160];
    int n;
    int code;

    pthread_mutex_lock(&l->mutex);
    n = snprintf(line, sizeof(line), "%c %llu %s%s%s\n", letters[outcome], wall_us(),
                 l->writes[number].id, outcome == LAB_ACKED ? " " : "",
                 outcome == LAB_ACKED ? region : "");
    set_outcome(&l->writes[number], outcome);
    code = append(l, line, n);
    pthread_mutex_unlock(&l->mutex);
    return code;
}

/* ---- order ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct lab_write *)a)->id, ((const struct lab_write *)b)->id);
}

struct lab_write *lab_ledger_sorted(struct lab_ledger *l, size_t *ret_count)
{
    if (l->count > 0) {
        qsort(l->writes, l->count, sizeof(*l->writes), compare);
    }
    *ret_count = l->count;
    return l->writes;
}

struct lab_write *lab_ledger_find(struct lab_write *writes, size_t count, const char *id)
{
    struct lab_write key = {.id = ""};

    if (strlen(id) >= sizeof(key.id) || count == 0) {
        return NULL;
    }
    snprintf(key.id, sizeof(key.id), "%s", id);
    return bsearch(&key, writes, count, sizeof(*writes), compare);
}

/* ---- reading one back ---- */

struct note {
    char id[LAB_ID_MAX];
    uint8_t outcome;
};

struct notes {
    struct note *list;
    size_t count, cap;
};

static int keep_note(struct notes *n, const char *id, enum lab_outcome outcome)
{
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 4096 : n->cap * 2;
        struct note *list = realloc(n->list, cap * sizeof(*list));

        if (list == NULL) {
            return MRD_ENOMEM;
        }
        n->list = list;
        n->cap = cap;
    }
    snprintf(n->list[n->count].id, sizeof(n->list[n->count].id), "%s", id);
    n->list[n->count++].outcome = (uint8_t)outcome;
    return 0;
}

static int read_line(struct lab_ledger *l, struct notes *notes, const char *line)
{
    char class_name[32], id[LAB_ID_MAX + 1]; /* one more, to see what is too long */
    unsigned long long at;
    unsigned partition;
    enum lab_class c;

    if (sscanf(line, "run %36s", l->tag) == 1) {
        return 0;
    }
    if (sscanf(line, "I %llu %31s %u %48s", &at, class_name, &partition, id) == 4) {
        c = lab_class_parse(class_name);
        if (strlen(id) == LAB_ID_MAX || c == LAB_CLASSES || partition >= MRD_REGIONS_MAX) {
            return MRD_EFORMAT;
        }
        return add(l, c, partition, id) >= 0 ? 0 : MRD_EFULL;
    }
    if (strchr("AUR", line[0]) != NULL && sscanf(line + 1, " %llu %48s", &at, id) == 2 &&
        strlen(id) < LAB_ID_MAX) {
        return keep_note(notes, id,
                         line[0] == 'A'   ? LAB_ACKED
                         : line[0] == 'U' ? LAB_UNKNOWN
                                          : LAB_REFUSED);
    }
    return MRD_EFORMAT;
}

static int read_lines(struct lab_ledger *l, struct notes *notes, FILE *in)
{
    char line[256];
    int code = 0;

    while (code == 0 && fgets(line, sizeof(line), in) != NULL) {
        if (strchr(line, '\n') == NULL) {
            return feof(in) ? 0 : MRD_EFORMAT;
        }
        code = read_line(l, notes, line);
    }
    return code != 0 || l->tag[0] == '\0' ? MRD_EFORMAT : 0;
}

struct lab_ledger *lab_ledger_load(const char *path, struct mrd_err *err)
{
    struct lab_ledger *l = calloc(1, sizeof(*l));
    struct notes notes = {NULL, 0, 0};
    FILE *in = fopen(path, "re");
    struct lab_write *writes;
    size_t count;
    int code = MRD_EIO;

    if (l != NULL) {
        l->fd = -1;
        pthread_mutex_init(&l->mutex, NULL);
    }
    if (l != NULL && in != NULL) {
        code = read_lines(l, &notes, in);
    }
    if (in != NULL) {
        fclose(in);
    }
    if (code != 0) {
        mrd_err_set(err, code, "could not read the ledger \"%s\": %s", path,
                    code == MRD_EIO ? strerror(errno) : "it is not one");
        free(notes.list);
        lab_ledger_free(l);
        return NULL;
    }
    writes = lab_ledger_sorted(l, &count);
    for (size_t i = 0; i < notes.count; i++) {
        struct lab_write *w = lab_ledger_find(writes, count, notes.list[i].id);

        if (w != NULL) {
            set_outcome(w, (enum lab_outcome)notes.list[i].outcome);
        }
    }
    free(notes.list);
    return l;
}
