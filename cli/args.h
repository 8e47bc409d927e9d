/*
 * Options and help of one subcommand, described by a table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CLI_POSITIONAL_MAX 8
#define CLI_WORDS_MAX 16

/** The values of an option that may be given several times. */
struct cli_words {
    const char *word[CLI_WORDS_MAX];
    int count;
};

struct cli_option {
    const char *name; /* "--json" */
    /* What its value is called in the help; NULL: a flag. With "..." at its end the option may
     * be repeated. */
    const char *value;
    void *target; /* bool * for a flag, struct cli_words * if repeated, else const char ** */
    const char *help;
};

struct cli_usage {
    const char *synopsis;             /* after "meridian " */
    const char *text;                 /* a paragraph, may be NULL */
    const struct cli_option *options; /* ends with a NULL name */
    int min, max;                     /* positional arguments */
};

/**
 * Parse @argv (its first is the command's own name). Values are borrowed from @argv. Options
 * may stand anywhere; "--" ends them. A word like -5m, a number, is no option.
 *
 * Returns -1 to go on, else the exit status: 0 after --help, 2 after a message about the usage.
 */
int cli_parse(const struct cli_usage *usage, int argc, char **argv,
              const char *ret_positional[CLI_POSITIONAL_MAX], int *ret_count);

/** "meridian: text" with its hint on a second line. Returns 1. */
int cli_fail(const char *hint, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** As cli_fail, and the synopsis instead of a hint. Returns 2. */
int cli_misuse(const struct cli_usage *usage, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** A whole decimal number; false when it is none or beyond @max. */
bool cli_number(const char *text, unsigned long long max, unsigned long long *ret);
