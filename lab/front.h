/*
 * The command line's own helpers and those of its commands that have a file of their own.
 *
 * Every command parses its words with cli_parse before anything else, so that --help needs
 * neither a lab nor root. @dir is the lab's directory, already taken out of the words.
 */
#pragma once

#include <args.h>

#include <mrd/err.h>

/** "meridian: text" with its hint. Returns 1. */
int lab_fail(const struct mrd_err *err);

/* Commands; argv[0] is the command's own name. Return the exit status. */
int lab_up(const char *dir, int argc, char **argv);   /* up.c */
int lab_load(const char *dir, int argc, char **argv); /* workload.c */
int lab_exec(const char *dir, int argc, char **argv); /* inside.c */
int lab_psql(const char *dir, int argc, char **argv);

/** Print what to open, one line per region, and which do not serve. Returns 0 or 1; up.c. */
int lab_print_status(const char *dir);
