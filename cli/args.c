/*
 * Parsing a subcommand's arguments by its table, and the one form of every message.
 */
#include <args.h>
#include <table.h>

#include <errno.h>
#include <load.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32

static void print_help(const struct cli_usage *u)
{
    printf("usage: meridian %s\n", u->synopsis);
    if (u->text != NULL) {
        printf("\n%s\n", u->text);
    }
    printf("\noptions:\n");
    for (const struct cli_option *o = u->options; o->name != NULL; o++) {
        char left[40];
        snprintf(left, sizeof(left), "%s%s%s", o->name, o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        printf("  %-18s %s\n", left, o->help);
    }
    printf("  %-18s %s\n", "--help", "this text");
}

static void say(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/** One line to stderr; what it quotes may come from anywhere. */
static void say(const char *fmt, va_list ap)
{
    char raw[2048], clean[2048];
    vsnprintf(raw, sizeof(raw), fmt, ap);
    fprintf(stderr, "meridian: %s\n", cli_clean(raw, clean, sizeof(clean)));
}

int cli_fail(const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    if (hint != NULL && hint[0] != '\0') {
        char clean[1024];
        fprintf(stderr, "hint: %s\n", cli_clean(hint, clean, sizeof(clean)));
    }
    return 1;
}

int cli_misuse(const struct cli_usage *usage, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    fprintf(stderr, "usage: meridian %s\n", usage->synopsis);
    return 2;
}

static const struct cli_option *find(const struct cli_usage *u, const char *arg, size_t len)
{
    for (const struct cli_option *o = u->options; o->name != NULL; o++) {
        if (strlen(o->name) == len && strncmp(o->name, arg, len) == 0) {
            return o;
        }
    }
    return NULL;
}

static int keep_value(const struct cli_usage *u, const struct cli_option *o, const char *value)
{
    size_t n = strlen(o->value);
    if (n < 3 || strcmp(o->value + n - 3, "...") != 0) {
        *(const char **)o->target = value;
        return -1;
    }
    struct cli_words *words = o->target;
    if (words->count == CLI_WORDS_MAX) {
        return cli_misuse(u, "%s is given more than %d times", o->name, CLI_WORDS_MAX);
    }
    words->word[words->count++] = value;
    return -1;
}

static int no_option(const struct cli_usage *u, const char *arg, size_t len)
{
    const char *words[OPTIONS_MAX + 1];
    char name[64];
    size_t n = 0;

    for (const struct cli_option *o = u->options; o->name != NULL && n < OPTIONS_MAX; o++) {
        words[n++] = o->name;
    }
    words[n] = NULL;
    snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : 0), arg);
    const char *meant = mrd_config_meant(name, words);
    return meant != NULL ? cli_misuse(u, "no such option: \"%s\"; did you mean %s?", arg, meant)
                         : cli_misuse(u, "no such option: \"%s\"", arg);
}

/** One option at @argv[*i]; moves *i past a value. */
static int take_option(const struct cli_usage *u, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    const struct cli_option *o = find(u, arg, len);

    if (o == NULL) {
        return no_option(u, arg, len);
    }
    if (o->value == NULL) {
        if (equals != NULL) {
            return cli_misuse(u, "%s takes no value", o->name);
        }
        *(bool *)o->target = true;
        return -1;
    }
    if (equals == NULL && *i + 1 >= argc) {
        return cli_misuse(u, "%s needs a value: %s", o->name, o->value);
    }
    return keep_value(u, o, equals != NULL ? equals + 1 : argv[++*i]);
}

/**
 * The name of argument @at in a synopsis: words in capitals that are neither in brackets nor an
 * option's value. Its length is put in *@len; NULL where the synopsis has several forms.
 */
static const char *argument_name(const char *synopsis, int at, size_t *len)
{
    bool value = false;
    int depth = 0;

    if (strchr(synopsis, '|') != NULL) {
        return NULL;
    }
    for (const char *s = synopsis; *s != '\0'; s += strspn(s, " ")) {
        bool inside = depth > 0 || *s == '[';
        *len = strcspn(s, " ");
        for (size_t i = 0; i < *len; i++) {
            depth += (s[i] == '[') - (s[i] == ']');
        }
        if (!inside && !value && *s >= 'A' && *s <= 'Z' && at-- == 0) {
            return s;
        }
        value = !inside && *s == '-';
        s += *len;
    }
    return NULL;
}

static int missing(const struct cli_usage *usage, int count, const char *before)
{
    size_t len = 0;
    const char *name = argument_name(usage->synopsis, count, &len);

    if (name != NULL) {
        return cli_misuse(usage, "an argument is missing: %.*s", (int)len, name);
    }
    return before == NULL ? cli_misuse(usage, "an argument is missing")
                          : cli_misuse(usage, "an argument is missing after \"%s\"", before);
}

int cli_parse(const struct cli_usage *usage, int argc, char **argv,
              const char *ret_positional[CLI_POSITIONAL_MAX], int *ret_count)
{
    bool only_words = false;
    int count = 0;

    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words &&
                   (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(usage);
            return 0;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0' &&
                   !(argv[i][1] >= '0' && argv[i][1] <= '9')) {
            int rc = take_option(usage, argc, argv, &i);
            if (rc >= 0) {
                return rc;
            }
        } else if (count == usage->max || count == CLI_POSITIONAL_MAX) {
            return cli_misuse(usage, "one argument too many: \"%s\"", argv[i]);
        } else {
            ret_positional[count++] = argv[i];
        }
    }
    if (count < usage->min) {
        return missing(usage, count, count > 0 ? ret_positional[count - 1] : NULL);
    }
    *ret_count = count;
    return -1;
}

bool cli_number(const char *text, unsigned long long max, unsigned long long *ret)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || v > max) {
        return false;
    }
    *ret = v;
    return true;
}
