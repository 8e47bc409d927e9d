/*
 * The configuration that an agent starts with (agent_config.h).
 *
 * A file that cannot be read, or does not validate, must not take a region down that has one
 * that does: the last one that was good is kept beside the store, and the agent goes on with
 * that, and says so. Without one it does not start.
 */
#include "agent_config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <load.h>

#include "agent.h"
#include "log.h"

/* One byte more than a configuration may have, so that the parser refuses what is longer. */
#define CONFIG_MAX ((size_t)1024 * 1024 + 1)

static int read_config(struct agent *a, const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return MRD_EIO;
    }
    a->config_len = fread(a->config_text, 1, CONFIG_MAX, f);
    int rv = ferror(f) != 0 ? MRD_EIO : 0;
    fclose(f);
    return rv;
}

static void good_path(const struct agent *a, char *out, size_t cap, const char *suffix)
{
    snprintf(out, cap, "%s/config.good%s", a->opt->state_dir, suffix);
}

static int parse_config(struct agent *a, struct mrd_conf_errors *errors)
{
    const char *path = a->opt->config_path;
    char good[1200];
    int rv = read_config(a, path);

    if (rv != 0) {
        fprintf(stderr, "meridian agent: could not read \"%s\": %s\n", path, strerror(errno));
    } else if ((rv = mrd_config_parse(a->config_text, a->config_len, a->config, errors)) != 0) {
        mrd_config_print_errors(stderr, path, errors);
    }
    if (rv == 0) {
        return 0;
    }
    good_path(a, good, sizeof(good), "");
    if (read_config(a, good) != 0 ||
        mrd_config_parse(a->config_text, a->config_len, a->config, errors) != 0) {
        return rv;
    }
    a->config_rejected = true;
    log_event("event=config.rejected path=%s kept_version=%" PRIu64, path, a->config->version);
    return 0;
}

void agent_config_keep(const struct agent *a)
{
    char good[1200], fresh[1200];
    FILE *f;
    bool written;

    if (a->config_rejected) {
        return;
    }
    good_path(a, good, sizeof(good), "");
    good_path(a, fresh, sizeof(fresh), ".new");
    f = fopen(fresh, "we");
    written = f != NULL && fwrite(a->config_text, 1, a->config_len, f) == a->config_len &&
              fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (f != NULL && fclose(f) != 0) {
        written = false;
    }
    if (!written || rename(fresh, good) != 0) {
        log_event("event=config.not_kept path=%s reason=\"%s\"", good, strerror(errno));
    }
}

int agent_config_load(struct agent *a)
{
    struct mrd_conf_errors *errors = calloc(1, sizeof(*errors));
    a->config = calloc(1, sizeof(*a->config));
    a->config_text = malloc(CONFIG_MAX);
    if (errors == NULL || a->config == NULL || a->config_text == NULL) {
        free(errors);
        return MRD_ENOMEM;
    }
    int rv = parse_config(a, errors);
    free(errors);
    if (rv != 0) {
        return rv;
    }
    char *fit = realloc(a->config_text, a->config_len + 1);
    if (fit != NULL) {
        a->config_text = fit;
    }
    int self = mrd_config_region(a->config, a->opt->region);
    if (self < 0) {
        fprintf(stderr, "meridian agent: \"%s\" has no region \"%s\"\n", a->opt->config_path,
                a->opt->region);
        return MRD_ENOTFOUND;
    }
    a->self = (mrd_region)self;
    return 0;
}
