/*
 * `meridian lab load`: writes like the shop's customers do, with a receipt for each.
 */
#pragma once

int lab_load(const char *dir, int argc, char **argv);
