/*
 * The managed part of a region's PostgreSQL configuration.
 */
#pragma once

#include <stdbool.h>

#include <mrd/config.h>
#include <mrd/err.h>

struct pgconf {
    const struct mrd_config *config;
    mrd_region self;
    const char *data_dir, *run_dir, *certs_dir;
    const char *bind;      /* NULL: the configured address of the database */
    const char *extra_hba; /* file of lines put before ours; may be absent */
    unsigned version;      /* 150020 for 15.20 */
};

/** 150020 for "postgres (PostgreSQL) 15.20 (...)", or 0. */
unsigned pgconf_version(const char *postgres_v_output);

/**
 * Write meridian.conf (included at the end of postgresql.conf), pg_hba.conf and pg_ident.conf.
 * *@ret_changed: some file is now other than before. 0 or MRD_EIO, MRD_EFULL.
 */
int pgconf_write(const struct pgconf *c, bool *ret_changed, struct mrd_err *err);

/** The text of meridian.conf into @out; its length, or MRD_EFULL. */
int pgconf_text(const struct pgconf *c, char *out, size_t cap);
