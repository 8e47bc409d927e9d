/*
 * Bugs that there were, as stories: each file has the shape and the faults of a world in which
 * a bug on purpose (core/src/mutant.h) breaks a property. Without the bug the property must
 * hold whatever the chances; with it, it must break for some of them, or the story has lost its
 * point.
 *
 * Where not Meridian was wrong but a property, which asked too much, the file names instead a
 * text that operators must read in some of these worlds ("shows").
 *
 *   stories FILE...
 */
#include "mutant.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANCES 40
#define STORY_MAX 65536

enum mrd_mutant mrd_mutant;

static const char *const names[] = {"NONE",
#define ROW(name, text) #name,
                                    MRD_MUTANT_MAP(ROW)
#undef ROW
};

/* The rest of the line that begins with @word, or "". */
static void line_of(const char *text, const char *word, char *ret, size_t size)
{
    const char *at = strstr(text, word);

    ret[0] = '\0';
    if (at != NULL && (at == text || at[-1] == '\n')) {
        snprintf(ret, size, "%.*s", (int)strcspn(at + strlen(word), "\n"), at + strlen(word));
    }
}

static enum mrd_mutant mutant_named(const char *name)
{
    for (unsigned m = 1; m < MRD_MUTANTS; m++) {
        if (strcmp(names[m], name) == 0) {
            return (enum mrd_mutant)m;
        }
    }
    return MRD_MUTANT_NONE;
}

/* In how many of the chances does @breaks break, or (NULL) anything? */
static unsigned broken(const char *story, enum mrd_mutant m, const char *breaks, char how[512])
{
    unsigned n = 0;

    mrd_mutant = m;
    for (uint64_t seed = 1; seed <= CHANCES && (breaks == NULL || n == 0); seed++) {
        struct sim_options o = {.seed = seed, .story = story};
        struct sim_report r;
        if (!sim_run(&o, &r) && (breaks == NULL || strcmp(r.broken, breaks) == 0)) {
            n++;
            snprintf(how, 512, "%s", r.how);
        }
    }
    return n;
}

/* In how many of the chances is @text told? */
static unsigned shown(const char *story, const char *text)
{
    unsigned n = 0;

    mrd_mutant = MRD_MUTANT_NONE;
    for (uint64_t seed = 1; seed <= CHANCES; seed++) {
        struct sim_options o = {.seed = seed, .story = story, .tell = true, .verbose = true};
        struct sim_report r;
        (void)sim_run(&o, &r);
        n += r.story != NULL && strstr(r.story, text) != NULL;
        free(r.story);
    }
    return n;
}

static bool tell(const char *text, const char *name)
{
    char bug[64], breaks[64], shows[128], how[512] = "";
    struct sim_story_error error;
    unsigned n;

    line_of(text, "bug ", bug, sizeof(bug));
    line_of(text, "breaks ", breaks, sizeof(breaks));
    line_of(text, "shows ", shows, sizeof(shows));
    if (!sim_story_check(text, &error)) {
        printf("not ok - %s:%u: %s\n", name, error.line, error.what);
        return false;
    }
    if ((mutant_named(bug) == MRD_MUTANT_NONE) == (shows[0] == '\0')) {
        printf("not ok - %s: \"%s\" is no bug\n", name, bug);
        return false;
    }
    n = broken(text, MRD_MUTANT_NONE, NULL, how);
    if (n > 0) {
        printf("not ok - %s: breaks in %u of %u worlds: %s\n", name, n, CHANCES, how);
        return false;
    }
    if (shows[0] != '\0') {
        n = shown(text, shows);
        printf("%s - %s: every property holds; told in %u of %u worlds: %s\n",
               n > 0 ? "ok" : "not ok", name, n, CHANCES, shows);
        return n > 0;
    }
    if (broken(text, mutant_named(bug), breaks, how) == 0) {
        printf("not ok - %s: with %s \"%s\" never breaks\n", name, bug, breaks);
        return false;
    }
    printf("ok - %s: with %s \"%s\" breaks: %s\n", name, bug, breaks, how);
    return true;
}

int main(int argc, char **argv)
{
    static char text[STORY_MAX];
    bool all = argc > 1;

    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "r");
        size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
        text[n] = '\0';
        if (f != NULL) {
            fclose(f);
        }
        all = tell(text, argv[i]) && all;
        fflush(stdout);
    }
    return all ? 0 : 1;
}
