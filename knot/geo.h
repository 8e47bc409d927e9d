/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Country and continent of a client, from a database in MaxMind's format. The file is mapped by
 * libmaxminddb: replace it by rename, never in place. Look-ups take no lock and no memory.
 */
#pragma once

#include <sys/socket.h>

struct geo;

/*!
 * \brief Opens a database.
 *
 * \param path     Database file.
 * \param err_str  Out: what is wrong; static text. May be NULL.
 *
 * \return The database, NULL on failure. Free it with geo_close().
 */
struct geo *geo_open(const char *path, const char **err_str);

void geo_close(struct geo *geo);

/*!
 * \brief Looks up a client.
 *
 * \param geo        Database.
 * \param addr       Client; AF_INET or AF_INET6.
 * \param country    Out: ISO 3166 code, empty if not known.
 * \param continent  Out: two letters, empty if not known.
 *
 * \return How many bits of the address decided, also if nothing is known.
 */
int geo_lookup(struct geo *geo, const struct sockaddr *addr, char country[4], char continent[4]);
