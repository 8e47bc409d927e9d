/*
 * The schema as a page for people: every key with its default and meaning.
 */
#include <conf.h>

#include <string.h>

static void print_keys(FILE *out, const struct conf_key *keys, unsigned depth, bool list)
{
    for (const struct conf_key *k = keys; k->name != NULL; k++) {
        bool first = list && k == keys;
        int width = (int)(depth * 2) - (first ? 2 : 0);
        fprintf(out, "%*s%s%s:", width, "", first ? "- " : "", k->name);
        if (k->fallback != NULL) {
            fprintf(out, " %s", k->fallback);
        }
        fprintf(out, "  # %s", k->doc);
        for (const struct conf_word *w = k->words; w != NULL && w->word != NULL; w++) {
            fprintf(out, "%s%s", w == k->words ? " (" : ", ", w->word);
        }
        fprintf(out, "%s%s\n", k->words != NULL ? ")" : "",
                k->idle ? "; recorded, nothing acts on it yet" : "");
        if (k->keys != NULL) {
            bool entries = k->type == CONF_CUSTOM;
            print_keys(out, k->keys, depth + (entries ? 2 : 1), entries);
        }
    }
}

void mrd_config_print_keys(FILE *out)
{
    print_keys(out, conf_root_keys, 0, false);
}
