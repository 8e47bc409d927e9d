/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mod-mrd: A and AAAA answers by nearness and health.
 *
 * For the names it is given, the module answers with an address of each of the two regions that
 * mrd_route() prefers for this client. The same function decides at the HTTP edges, so DNS and
 * edges agree. Everything it knows comes from the agent's snapshot file; the agent is never
 * asked and may be dead. Whenever the module has nothing sound to say (no snapshot, too old, no
 * address of that family), it passes, and the zone's own records are the answer: a zone file
 * with a few static addresses is therefore part of every set-up, and nothing that happens to
 * the snapshot can take the zone down. Neither can anything make the module refuse to load.
 *
 * Type ANY gets the same choice of addresses, and nothing else (RFC 8482, 4.1: one may answer
 * with a subset). Other types are the zone's; but whatever the zone holds, a name of ours exists:
 * "no such name" for its HTTPS record would make a resolver deny its addresses, too (RFC 8020).
 *
 * The hook runs in knotd's workers: it takes no lock, sends nothing, and reads a file at most
 * ten times a second (source.h).
 *
 * How a client is placed: its address is its EDNS client subnet, or the sender of the query;
 * networks of the configuration decide first, then the geographic database, else this region
 * is as near as any. The scope of the answer is what decided (RFC 7871, 7.2.1).
 *
 * A zone with signatures in it: an answer made here has none, so clients that ask for DNSSEC
 * get the zone's own signed records. Under mod-onlinesign, which signs whatever is answered,
 * they get the module's.
 */
#include "compat.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/route.h>

#include "geo.h"
#include "source.h"

#define MOD_SNAPSHOT	"\x08""snapshot"
#define MOD_NAME	"\x04""name"
#define MOD_TTL		"\x03""ttl"
#define MOD_MAX_AGE	"\x07""max-age"
#define MOD_GEODB	"\x05""geodb"
#define MOD_ECS		"\x03""ecs"

#define ANSWER_MAX	2

/* In the order of their registration. */
enum {
	CTR_ANSWERED,	/* answers by preference */
	CTR_FAIL_OPEN,	/* answers though no region is healthy */
	CTR_ECS,	/* of all answers, those placed by client subnet */
	CTR_PASSED,	/* to the zone's own records */
};

typedef struct {
	knot_dname_t **names;
	size_t name_count;
	uint32_t ttl_cap;
	bool ecs;
	struct geo *geo;
	struct source *source;
	unsigned worker_count;
	int logged;	/* state of the source that was logged last */
} mrd_ctx_t;

/* Who asks, and what is known of the place. */
typedef struct {
	struct sockaddr_storage addr;
	const uint8_t *bytes;
	unsigned len;	/* of bytes */
	bool by_ecs;
	int scope;	/* bits of the address that decided */
	mrd_region near;
	uint64_t hash;
} client_t;

const yp_item_t mrd_conf[] = {
	{ MOD_SNAPSHOT, YP_TSTR,   YP_VNONE },
	{ MOD_NAME,     YP_TDNAME, YP_VNONE, YP_FMULTI },
	{ MOD_TTL,      YP_TINT,   YP_VINT = { 0, INT32_MAX, 0, YP_STIME } },
	{ MOD_MAX_AGE,  YP_TINT,   YP_VINT = { 1, INT32_MAX, 60, YP_STIME } },
	{ MOD_GEODB,    YP_TSTR,   YP_VNONE },
	{ MOD_ECS,      YP_TBOOL,  YP_VBOOL = { true } },
	{ NULL }
};

int mrd_conf_check(knotd_conf_check_args_t *args)
{
	knotd_conf_t snapshot = knotd_conf_check_item(args, MOD_SNAPSHOT);
	if (snapshot.count == 0) {
		args->err_str = "no snapshot file specified";
		return KNOT_EINVAL;
	}
	if (snapshot.single.string[0] != '/') {
		args->err_str = "the snapshot file must be an absolute path";
		return KNOT_EINVAL;
	}

	knotd_conf_t geodb = knotd_conf_check_item(args, MOD_GEODB);
	if (geodb.count > 0) {
		struct geo *geo = geo_open(geodb.single.string, &args->err_str);
		if (geo == NULL) {
			return KNOT_EINVAL;
		}
		geo_close(geo);
	}

	return KNOT_EOK;
}

/* The client's bytes out of its address; false if it is of no family we know. */
static bool set_bytes(client_t *client)
{
	switch (client->addr.ss_family) {
	case AF_INET:
		client->bytes = (uint8_t *)&((struct sockaddr_in *)&client->addr)->sin_addr;
		client->len = 4;
		return true;
	case AF_INET6:
		client->bytes = (uint8_t *)&((struct sockaddr_in6 *)&client->addr)->sin6_addr;
		client->len = 16;
		return true;
	default:
		return false;
	}
}

/* A source prefix of no bits says: do not place me by my address (RFC 7871, 7.1.2). */
static bool who_asks(const mrd_ctx_t *ctx, const knotd_qdata_t *qdata, client_t *client)
{
	client->by_ecs = ctx->ecs && qdata->ecs != NULL && qdata->ecs->source_len > 0 &&
	                 knot_edns_client_subnet_get_addr(&client->addr, qdata->ecs) == KNOT_EOK;
	if (!client->by_ecs) {
		const struct sockaddr_storage *remote = knotd_qdata_remote_addr((knotd_qdata_t *)qdata);
		if (remote == NULL) {
			return false;
		}
		memcpy(&client->addr, remote, sizeof(client->addr));
	}

	return set_bytes(client);
}

static void place(const mrd_ctx_t *ctx, const struct mrd_snapshot *s, client_t *client)
{
	client->near = mrd_route_near(s, client->len == 4 ? 4 : 6, client->bytes, &client->scope);

	if (client->near == MRD_REGION_NONE && ctx->geo != NULL) {
		char country[4], continent[4];
		int bits = geo_lookup(ctx->geo, (struct sockaddr *)&client->addr, country, continent);
		client->near = mrd_route_near_country(s, country, continent);
		client->scope = bits > client->scope ? bits : client->scope;
	}

	/* FNV-1a; core spreads it. */
	client->hash = 0xcbf29ce484222325u;
	for (unsigned i = 0; i < client->len; i++) {
		client->hash = (client->hash ^ client->bytes[i]) * 0x100000001b3u;
	}
}

/* The region's address for this client; several are several front ends of one region. */
static const uint8_t *address(const struct mrd_snap_region *r, uint16_t type, uint64_t pick)
{
	if (type == KNOT_RRTYPE_A) {
		return r->has_v4 > 0 ? r->v4[pick % r->has_v4] : NULL;
	}

	return r->has_v6 > 0 ? r->v6[pick % r->has_v6] : NULL;
}

static unsigned choose(const struct mrd_snapshot *s, const struct mrd_route *route, uint16_t type,
                       uint64_t hash, const uint8_t *ret[ANSWER_MAX])
{
	unsigned count = 0;
	for (unsigned i = 0; i < route->count && count < ANSWER_MAX; i++) {
		ret[count] = address(&s->regions[route->regions[i]], type, hash >> 32);
		count += ret[count] != NULL;
	}

	/* One region alone, with more than one address: give two of them. */
	for (unsigned i = 0; i < route->count && count == 1; i++) {
		ret[1] = address(&s->regions[route->regions[i]], type, (hash >> 32) + 1);
		if (ret[1] != NULL) {
			count += ret[1] != ret[0];
			break;
		}
	}

	return count;
}

/* An RRset has no order, so libknot sorts it; turning it puts the preferred address first. */
static int put_rrset(knot_pkt_t *pkt, knotd_qdata_t *qdata, uint16_t type, uint32_t ttl,
                     const uint8_t *const addr[], unsigned count)
{
	const uint16_t len = type == KNOT_RRTYPE_A ? 4 : 16;
	knot_rrset_t rrset;

	knot_rrset_init(&rrset, (knot_dname_t *)qdata->name, type, KNOT_CLASS_IN, ttl);
	for (unsigned i = 0; i < count; i++) {
		int ret = knot_rrset_add_rdata(&rrset, addr[i], len, &pkt->mm);
		if (ret != KNOT_EOK) {
			return ret;
		}
	}
	uint16_t rotate = memcmp(rrset.rrs.rdata->data, addr[0], len) != 0;

	return knot_pkt_put_rotate(pkt, KNOT_COMPR_HINT_QNAME, &rrset, rotate, 0);
}

/* The addresses of the type that is asked for, or of both; KNOT_ENOENT if there are none. */
static int put_answer(knot_pkt_t *pkt, knotd_qdata_t *qdata, const struct mrd_snapshot *s,
                      const struct mrd_route *route, uint64_t hash, uint32_t ttl)
{
	static const uint16_t types[] = { KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA };
	const uint16_t asked = knot_pkt_qtype(qdata->query);
	int result = KNOT_ENOENT;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		const uint8_t *addr[ANSWER_MAX] = { NULL };
		unsigned count = choose(s, route, types[i], hash, addr);
		if (count == 0 || (asked != types[i] && asked != KNOT_RRTYPE_ANY)) {
			continue;
		}
		int ret = put_rrset(pkt, qdata, types[i], ttl, addr, count);
		if (ret != KNOT_EOK) {
			return ret;
		}
		result = KNOT_EOK;
	}

	return result;
}

static void set_scope(knotd_qdata_t *qdata, const client_t *client, bool tailored)
{
	if (client->by_ecs) {
		int scope = client->scope;
		if (tailored && qdata->ecs->source_len > scope) {
			scope = qdata->ecs->source_len;
		}
		qdata->ecs->scope_len = (uint8_t)scope;
	}
}

static bool is_ours(const mrd_ctx_t *ctx, knotd_in_state_t state, const knotd_qdata_t *qdata)
{
	if (state != KNOTD_IN_STATE_BEGIN || knot_pkt_qclass(qdata->query) != KNOT_CLASS_IN) {
		return false;
	}

	for (size_t i = 0; i < ctx->name_count; i++) {
		if (knot_dname_is_equal(ctx->names[i], qdata->name)) {
			return true;
		}
	}

	return false;
}

static bool asks_address(const knotd_qdata_t *qdata)
{
	uint16_t type = knot_pkt_qtype(qdata->query);

	return type == KNOT_RRTYPE_A || type == KNOT_RRTYPE_AAAA || type == KNOT_RRTYPE_ANY;
}

/* Must the answer carry a signature that stands in the zone? */
static bool needs_signature(knotd_qdata_t *qdata)
{
	if (!knot_pkt_has_dnssec(qdata->query)) {
		return false;
	}
	knot_rrset_t keys = knotd_qdata_zone_apex_rrset(qdata, KNOT_RRTYPE_DNSKEY);

	return !knot_rrset_empty(&keys);
}

/* Changes are logged, by whichever worker sees one first. */
static void log_state(knotd_mod_t *mod, mrd_ctx_t *ctx)
{
	enum source_state state = source_state(ctx->source);
	if (__atomic_load_n(&ctx->logged, __ATOMIC_RELAXED) == (int)state ||
	    __atomic_exchange_n(&ctx->logged, state, __ATOMIC_RELAXED) == (int)state) {
		return;
	}

	bool good = state == SOURCE_GOOD;
	knotd_mod_log(mod, good ? LOG_INFO : LOG_WARNING, "the snapshot %s%s",
	              source_state_text(state), good ? "" : ", answering from the zone");
}

/* May two clients of one place get different addresses, of a kind that was asked for? */
static bool is_tailored(const mrd_ctx_t *ctx, unsigned thread_id, uint16_t type)
{
	return source_is_tailored(ctx->source, thread_id, type != KNOT_RRTYPE_A) ||
	       (type == KNOT_RRTYPE_ANY && source_is_tailored(ctx->source, thread_id, false));
}

/* As put_answer; KNOT_ENOENT: the zone has to answer. */
static int answer(knotd_mod_t *mod, knot_pkt_t *pkt, knotd_qdata_t *qdata,
                  const struct mrd_snapshot *s, const client_t *client)
{
	mrd_ctx_t *ctx = knotd_mod_ctx(mod);
	unsigned thread_id = qdata->params->thread_id;
	struct mrd_request request = {
		.class_index = -1,
		.partition = -1,
		.near = client->near,
		.client_hash = client->hash,
	};
	struct mrd_route route;
	mrd_route(s, &request, 0, &route);

	uint32_t ttl = s->dns_ttl_s;
	if (ctx->ttl_cap > 0 && ttl > ctx->ttl_cap) {
		ttl = ctx->ttl_cap;
	}
	int ret = put_answer(pkt, qdata, s, &route, client->hash, ttl);
	if (ret != KNOT_EOK) {
		return ret;
	}
	set_scope(qdata, client, is_tailored(ctx, thread_id, knot_pkt_qtype(qdata->query)));
	knot_wire_set_aa(pkt->wire);

	bool open = route.why == MRD_ROUTE_FAIL_OPEN;
	knotd_mod_stats_incr(mod, thread_id, open ? CTR_FAIL_OPEN : CTR_ANSWERED, 0, 1);
	if (client->by_ecs) {
		knotd_mod_stats_incr(mod, thread_id, CTR_ECS, 0, 1);
	}
	return KNOT_EOK;
}

static knotd_in_state_t mrd_query(knotd_in_state_t state, knot_pkt_t *pkt, knotd_qdata_t *qdata,
                                  knotd_mod_t *mod)
{
	mrd_ctx_t *ctx = knotd_mod_ctx(mod);
	unsigned thread_id = qdata->params->thread_id;
	if (!is_ours(ctx, state, qdata)) {
		return state;
	}

	/* The zone goes on from here; NODATA takes effect only where it has no such name. */
	bool sign = needs_signature(qdata);
	if (!sign) {
		state = KNOTD_IN_STATE_NODATA;
	}
	if (!asks_address(qdata)) {
		return state;
	}

	client_t client;
	if (thread_id >= ctx->worker_count || !who_asks(ctx, qdata, &client) || sign) {
		goto pass;
	}

	const struct mrd_snapshot *s = source_get(ctx->source, thread_id);
	log_state(mod, ctx);
	if (s == NULL) {
		goto pass;
	}

	place(ctx, s, &client);
	switch (answer(mod, pkt, qdata, s, &client)) {
	case KNOT_EOK:
		return KNOTD_IN_STATE_HIT;
	case KNOT_ENOENT:
		goto pass;
	case KNOT_ESPACE:
		return KNOTD_IN_STATE_TRUNC;
	default:
		return KNOTD_IN_STATE_ERROR;
	}
pass:
	knotd_mod_stats_incr(mod, thread_id, CTR_PASSED, 0, 1);
	return state;
}

static void ctx_free(mrd_ctx_t *ctx)
{
	if (ctx == NULL) {
		return;
	}
	for (size_t i = 0; ctx->names != NULL && i < ctx->name_count; i++) {
		knot_dname_free(ctx->names[i], NULL);
	}
	source_free(ctx->source);
	geo_close(ctx->geo);
	free(ctx->names);
	free(ctx);
}

/* Queries come with their name in lower case. */
static bool add_name(mrd_ctx_t *ctx, const knot_dname_t *name)
{
	knot_dname_t *copy = knot_dname_copy(name, NULL);
	if (copy == NULL) {
		return false;
	}
	knot_dname_to_lower(copy);
	ctx->names[ctx->name_count++] = copy;

	return true;
}

static int load_names(knotd_mod_t *mod, mrd_ctx_t *ctx)
{
	knotd_conf_t conf = knotd_conf_mod(mod, MOD_NAME);
	size_t count = conf.count > 0 ? conf.count : 1;
	int ret = KNOT_EOK;

	ctx->names = calloc(count, sizeof(*ctx->names));
	if (ctx->names == NULL) {
		ret = KNOT_ENOMEM;
	} else if (conf.count == 0) {
		ret = add_name(ctx, knotd_mod_zone(mod)) ? KNOT_EOK : KNOT_ENOMEM;
	}
	for (size_t i = 0; i < conf.count && ret == KNOT_EOK; i++) {
		ret = add_name(ctx, conf.multi[i].dname) ? KNOT_EOK : KNOT_ENOMEM;
	}
	knotd_conf_free(&conf);

	return ret;
}

static void load_geodb(knotd_mod_t *mod, mrd_ctx_t *ctx)
{
	knotd_conf_t conf = knotd_conf_mod(mod, MOD_GEODB);
	if (conf.count == 0) {
		return;
	}

	const char *err_str = "out of memory";
	ctx->geo = geo_open(conf.single.string, &err_str);
	if (ctx->geo == NULL) {
		knotd_mod_log(mod, LOG_WARNING, "could not open '%s' (%s), going on without it",
		              conf.single.string, err_str);
	}
}

static int load_ctx(knotd_mod_t *mod, mrd_ctx_t *ctx)
{
	const char *snapshot = knotd_conf_mod(mod, MOD_SNAPSHOT).single.string;
	int64_t max_age = knotd_conf_mod(mod, MOD_MAX_AGE).single.integer;

	ctx->ttl_cap = (uint32_t)knotd_conf_mod(mod, MOD_TTL).single.integer;
	ctx->ecs = knotd_conf_mod(mod, MOD_ECS).single.boolean;
	ctx->worker_count = knotd_mod_threads(mod);
	ctx->source = source_new(snapshot, (uint32_t)max_age, ctx->worker_count);
	if (ctx->source == NULL) {
		return KNOT_ENOMEM;
	}
	load_geodb(mod, ctx);

	return load_names(mod, ctx);
}

static int load_stats(knotd_mod_t *mod)
{
	static const char *const names[] = {
		[CTR_ANSWERED] = "answered",
		[CTR_FAIL_OPEN] = "fail-open",
		[CTR_ECS] = "by-client-subnet",
		[CTR_PASSED] = "passed-to-zone",
	};

	int ret = KNOT_EOK;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && ret == KNOT_EOK; i++) {
		ret = knotd_mod_stats_add(mod, names[i], 1, NULL);
	}

	return ret;
}

int mrd_load(knotd_mod_t *mod)
{
	mrd_ctx_t *ctx = calloc(1, sizeof(*ctx));
	if (ctx == NULL) {
		return KNOT_ENOMEM;
	}

	int ret = load_ctx(mod, ctx);
	if (ret == KNOT_EOK) {
		ret = load_stats(mod);
	}
	if (ret != KNOT_EOK) {
		ctx_free(ctx);
		return ret;
	}

	if (ctx->ecs && !knotd_conf(mod, "\x06""server", "\x12""edns-client-subnet", NULL).single.boolean) {
		knotd_mod_log(mod, LOG_NOTICE, "client subnets are not seen unless "
		              "'server.edns-client-subnet' is on");
	}
	knotd_mod_ctx_set(mod, ctx);

	return knotd_mod_in_hook(mod, KNOTD_STAGE_PREANSWER, mrd_query);
}

void mrd_unload(knotd_mod_t *mod)
{
	ctx_free(knotd_mod_ctx(mod));
}

KNOTD_MOD_API(mrd, KNOTD_MOD_FLAG_SCOPE_ZONE, mrd_load, mrd_unload, mrd_conf, mrd_conf_check);
