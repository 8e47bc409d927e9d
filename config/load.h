/*
 * Reading the configuration: YAML in, struct mrd_config (mrd/config.h) or every mistake out.
 */
#pragma once

#include <stdio.h>

#include <mrd/config.h>
#include <mrd/err.h>

struct mrd_conf_error {
    int line, column;        /* from 1 */
    char text[MRD_CONF_STR]; /* what is wrong; what would be right */
};

struct mrd_conf_errors {
    uint16_t count;
    struct mrd_conf_error errors[MRD_CONF_ERRORS_MAX]; /* in file order; more are counted */
    uint16_t more;
};

/**
 * Read and validate.
 *
 * @text, @len  the YAML, any bytes; at most 256 KiB, as much as the store keeps
 * @ret         caller's storage (large: allocate it); filled only on success
 * @errors      every mistake found in one run
 *
 * Returns 0 or MRD_ECONFIG.
 */
int mrd_config_parse(const char *text, size_t len, struct mrd_config *ret,
                     struct mrd_conf_errors *errors);

/** As above from a file; MRD_EIO when it cannot be read (then one error says why). */
int mrd_config_load(const char *path, struct mrd_config *ret, struct mrd_conf_errors *errors);

/** Print errors as FILE:LINE:COLUMN: text. */
void mrd_config_print_errors(FILE *out, const char *path, const struct mrd_conf_errors *errors);

/** Print every key with its default and meaning, in the shape of a configuration. */
void mrd_config_print_keys(FILE *out);
