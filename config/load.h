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

/** The word of @words (NULL-terminated) that was probably meant by @text, or NULL. */
const char *mrd_config_meant(const char *text, const char *const *words);

/**
 * The hint about a name that is none: what of @words was probably meant, then @where, a
 * sentence that says where the names are listed. Returns @out.
 */
char *mrd_config_hint(const char *name, const char *const *words, const char *where, char *out,
                      size_t cap);
/** The names of @c's regions as @words for the two above; borrowed from @c. */
void mrd_config_region_words(const struct mrd_config *c, const char *ret[MRD_REGIONS_MAX + 1]);
/** As above, of its classes. */
void mrd_config_class_words(const struct mrd_config *c, const char *ret[MRD_CLASSES_MAX + 1]);

/** Print errors as FILE:LINE:COLUMN: text. */
void mrd_config_print_errors(FILE *out, const char *path, const struct mrd_conf_errors *errors);

/** Print every key with its default and meaning, in the shape of a configuration. */
void mrd_config_print_keys(FILE *out);
