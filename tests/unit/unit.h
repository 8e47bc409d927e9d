/*
 * What every unit test includes: cmocka with the headers it wants, and tables of named rows.
 *
 * ROW(name) at the top of the loop over a table says which row an assertion failed in: it is
 * the last one printed before the failure.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define ROW(name) print_message("#   row: %s\n", (name))
