/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Look-ups in a MaxMind database (geo.h).
 */
#include "geo.h"

#include <maxminddb.h>
#include <stdlib.h>
#include <string.h>

struct geo {
	MMDB_s db;
};

struct geo *geo_open(const char *path, const char **err_str)
{
	struct geo *geo = calloc(1, sizeof(*geo));
	if (geo == NULL) {
		return NULL;
	}

	int ret = MMDB_open(path, MMDB_MODE_MMAP, &geo->db);
	if (ret != MMDB_SUCCESS) {
		if (err_str != NULL) {
			*err_str = MMDB_strerror(ret);
		}
		free(geo);
		return NULL;
	}

	return geo;
}

void geo_close(struct geo *geo)
{
	if (geo != NULL) {
		MMDB_close(&geo->db);
		free(geo);
	}
}

static void get_code(MMDB_entry_s *entry, const char *const *path, char code[4])
{
	MMDB_entry_data_s data;

	code[0] = '\0';
	if (MMDB_aget_value(entry, &data, path) == MMDB_SUCCESS && data.has_data &&
	    data.type == MMDB_DATA_TYPE_UTF8_STRING && data.data_size <= 3) {
		memcpy(code, data.utf8_string, data.data_size);
		code[data.data_size] = '\0';
	}
}

int geo_lookup(struct geo *geo, const struct sockaddr *addr, char country[4], char continent[4])
{
	static const char *const country_path[] = { "country", "iso_code", NULL };
	static const char *const continent_path[] = { "continent", "code", NULL };

	country[0] = continent[0] = '\0';

	int error = 0;
	MMDB_lookup_result_s res = MMDB_lookup_sockaddr(&geo->db, addr, &error);
	if (error != MMDB_SUCCESS) {
		return 0;
	}
	if (res.found_entry) {
		get_code(&res.entry, country_path, country);
		get_code(&res.entry, continent_path, continent);
	}

	/* A tree of IPv6 holds IPv4 under ::/96 and counts from its own root. */
	int bits = res.netmask;
	if (addr->sa_family == AF_INET && geo->db.metadata.ip_version == 6) {
		bits = bits > 96 ? bits - 96 : 0;
	}

	return bits;
}
