/*
 * Memory for libraft: handed out in a row, given back when the world ends.
 *
 * Whether two entries of its log came in one batch libraft tells by their addresses, and goes
 * another way when memory that was freed is handed out again for the next batch. What malloc
 * does then depends on where the process lies, so a world would not be the same twice. Here no
 * address comes twice in a world.
 *
 * One world at a time in a process.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)1024 * 1024)
#define ALIGN ((size_t)16)

struct chunk {
    struct chunk *next;
    size_t used, size; /* behind it */
    _Alignas(16) uint8_t bytes[];
};

static struct chunk *newest;

static void *take(void *data, size_t size)
{
    size_t whole = ALIGN + (size + ALIGN - 1) / ALIGN * ALIGN;
    struct chunk *c = newest;
    uint8_t *at;

    (void)data;
    if (c == NULL || c->size - c->used < whole) {
        size_t room = whole > CHUNK ? whole : CHUNK;
        c = malloc(sizeof(*c) + room);
        mrd_assert(c != NULL);
        c->next = newest;
        c->used = 0;
        c->size = room;
        newest = c;
    }
    at = c->bytes + c->used;
    c->used += whole;
    memcpy(at, &size, sizeof(size));
    return at + ALIGN;
}

static void keep(void *data, void *p)
{
    (void)data;
    (void)p;
}

static void *take_zeroed(void *data, size_t count, size_t size)
{
    void *p = take(data, count * size);

    memset(p, 0, count * size);
    return p;
}

static void *take_more(void *data, void *old, size_t size)
{
    void *p = take(data, size);
    size_t had = 0;

    if (old != NULL) {
        memcpy(&had, (uint8_t *)old - ALIGN, sizeof(had));
        memcpy(p, old, had < size ? had : size);
    }
    return p;
}

void sim_arena_begin(void)
{
    static struct raft_heap heap = {
        .malloc = take, .free = keep, .calloc = take_zeroed, .realloc = take_more};

    raft_heap_set(&heap);
}

void sim_arena_end(void)
{
    while (newest != NULL) {
        struct chunk *next = newest->next;
        free(newest);
        newest = next;
    }
    raft_heap_set_default();
}
