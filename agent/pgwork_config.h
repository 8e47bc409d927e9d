/*
 * The configuration as the extension wants it: who the regions are and how their PostgreSQL is
 * reached, and the classes with their partitions.
 */
#pragma once

#include <mrd/config.h>

/** JSON text for meridian.configure, to be freed; NULL when out of memory. */
char *pgwork_configuration(const struct mrd_config *c, mrd_region self, const char *certs_dir);
