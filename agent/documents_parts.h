/*
 * What the files of the API's answers (documents.h) share: how one value looks in every answer,
 * and the rows that more than one of them shows. Who is given a json_t owns it.
 */
#pragma once

#include "documents.h"

/* @value is taken. */
static inline void set(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

static inline json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static inline json_t *text_or_null(const char *s)
{
    return s != NULL && s[0] != '\0' ? json_string(s) : json_null();
}

static inline json_t *time_or_null(mrd_wall_ms ms)
{
    return ms != 0 ? number(ms) : json_null();
}

/** As PostgreSQL writes it; null when there is none. */
json_t *document_lsn(mrd_lsn lsn);
json_t *document_id(uint64_t id);
/** The names of MRD_SEES_... in @bits. */
json_t *document_sees(unsigned bits);
json_t *document_region_names(const struct mrd_config *c, mrd_regions which);
/**
 * How old what we know is, null while it is current. Seconds, rounded up, so that what is old
 * never looks current. When nobody can tell, at least as long as we run.
 */
json_t *document_stale_s(const struct agent *a);

/** What the agent before us published, while our own store cannot say; NULL once it can. */
const struct mrd_snapshot *document_inherited(const struct agent *a);

/** @held: this region holds its lease, which of its own row says more than the store can. */
json_t *document_region_rows(const struct agent *a, bool held);
json_t *document_class_rows(const struct agent *a);
