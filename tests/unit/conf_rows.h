/*
 * Rows of configuration files: a row is a whole file and everything that is said about it, in
 * order. Most files begin with the same small world; the macros below hold it, one line of the
 * file each (WORLD: five).
 */
#pragma once

#include "unit.h"

#include <conf.h>

/* clang-format off */
#define TOP "multi_region:\n  regions:\n"
#define US "    - {name: us-east-1, primary: true, agent: 192.0.2.1:7400}\n"
#define EU "    - {name: eu-west-1, agent: 192.0.2.2:7400}\n"
#define AP "    - {name: ap-northeast-1, agent: 192.0.2.3:7400}\n"
#define WORLD TOP US EU AP
#define WITNESS "    - {name: w, witness: true, agent: 192.0.2.3:7400}\n"
#define CLASSES "  classes:\n"
#define RESIDENCY "  data_governance:\n    data_residency:\n"

/* clang-format on */

struct conf_row {
    const char *name, *text, *errors;
};

/** What was read last, and what was said about it. */
extern struct mrd_config conf_read;
extern struct mrd_conf_errors conf_said;

int conf_rows_parse(const char *text);
/** Every row is refused with exactly its words, and nothing is written. */
void conf_rows_check(const struct conf_row *rows, size_t count);
