/*
 * `meridian lab up`: from nothing to every region serving, or a diagnosis.
 */
#pragma once

int lab_up(const char *dir, int argc, char **argv);

/** Print what to open: one line per region. @dir's lab must be running. Returns 0 or 1. */
int lab_print_status(const char *dir);
