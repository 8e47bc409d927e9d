/*
 * Rows of configuration files (conf_rows.h).
 */
#include "conf_rows.h"

struct mrd_config conf_read;
struct mrd_conf_errors conf_said;

int conf_rows_parse(const char *text)
{
    memset(&conf_read, 0xa5, sizeof(conf_read)); /* nothing may be left to chance */
    return mrd_config_parse(text, strlen(text), &conf_read, &conf_said);
}

void conf_rows_check(const struct conf_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ROW(rows[i].name);
        char *said = NULL;
        size_t size = 0, len = strlen(rows[i].text);
        FILE *f = open_memstream(&said, &size);
        assert_non_null(f);
        memset(&conf_read, 0xa5, sizeof(conf_read));
        assert_int_equal(MRD_ECONFIG,
                         mrd_config_parse(rows[i].text, len, &conf_read, &conf_said));
        assert_int_equal(0xa5, ((unsigned char *)&conf_read)[0]); /* untouched on failure */
        mrd_config_print_errors(f, "f", &conf_said);
        fclose(f);
        /* Each line begins with the file's name; the rows leave it out. */
        char *plain = calloc(1, size + 1), *to = plain;
        for (const char *line = said; *line != '\0';) {
            const char *end = strchr(line, '\n') + 1;
            memcpy(to, line + 2, (size_t)(end - line) - 2);
            to += end - line - 2;
            line = end;
        }
        assert_string_equal(rows[i].errors, plain);
        free(plain);
        free(said);
    }
}
