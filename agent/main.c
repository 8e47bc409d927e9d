/*
 * `meridian agent`: options.
 */
#include <cli.h>

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

static const char usage_text[] =
    "usage: meridian agent -f FILE --region NAME [OPTION ...]\n"
    "Run a region: hold its lease, publish its snapshot, look after its servers.\n\n"
    "  -f, --file FILE      the deployment's configuration\n"
    "  --region NAME        which of its regions this is\n"
    "  --state DIR          durable state (default /var/lib/meridian)\n"
    "  --run DIR            snapshot, sockets, pid files; on tmpfs (default /run/meridian)\n"
    "  --log DIR            what the guests print (default STATE/log)\n"
    "  --certs DIR          ca.crt, node.crt, node.key (default STATE/certs)\n"
    "  --bind ADDRESS       listen here instead of at the configured address\n"
    "  --manage LIST        guests to start and keep running: pg,nginx,knot (default: none)\n"
    "  --pg-bin DIR         PostgreSQL's programs (default /usr/lib/postgresql/15/bin)\n"
    "  --pg-socket DIR      directory of PostgreSQL's socket (default RUN)\n"
    "  --pg-user NAME       its superuser (default: the user that runs the agent)\n"
    "  --pg-hba FILE        lines to put first into pg_hba.conf (default STATE/pg_hba.local)\n"
    "  --nginx PROGRAM, --nginx-conf FILE   (default nginx, STATE/nginx/nginx.conf)\n"
    "  --knotd PROGRAM, --knot-conf FILE    (default knotd, STATE/knot/knot.conf)\n";

enum {
    REGION = 256,
    STATE,
    RUN,
    LOG,
    CERTS,
    BIND,
    MANAGE,
    PG_BIN,
    PG_SOCKET,
    PG_USER,
    PG_HBA,
    NGINX,
    NGINX_CONF,
    KNOTD,
    KNOT_CONF
};

static const struct option long_options[] = {
    {"file", required_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {"region", required_argument, NULL, REGION},
    {"state", required_argument, NULL, STATE},
    {"run", required_argument, NULL, RUN},
    {"log", required_argument, NULL, LOG},
    {"certs", required_argument, NULL, CERTS},
    {"bind", required_argument, NULL, BIND},
    {"manage", required_argument, NULL, MANAGE},
    {"pg-bin", required_argument, NULL, PG_BIN},
    {"pg-socket", required_argument, NULL, PG_SOCKET},
    {"pg-user", required_argument, NULL, PG_USER},
    {"pg-hba", required_argument, NULL, PG_HBA},
    {"nginx", required_argument, NULL, NGINX},
    {"nginx-conf", required_argument, NULL, NGINX_CONF},
    {"knotd", required_argument, NULL, KNOTD},
    {"knot-conf", required_argument, NULL, KNOT_CONF},
    {NULL, 0, NULL, 0},
};

static int parse_guests(const char *list, unsigned *ret)
{
    static const struct {
        const char *name;
        unsigned bit;
    } guests[] = {{"pg", GUEST_PG}, {"nginx", GUEST_NGINX}, {"knot", GUEST_KNOT}};
    *ret = 0;
    while (*list != '\0') {
        size_t len = strcspn(list, ","), i;
        for (i = 0; i < 3; i++) {
            if (strlen(guests[i].name) == len && strncmp(list, guests[i].name, len) == 0) {
                *ret |= guests[i].bit;
                break;
            }
        }
        if (i == 3) {
            fprintf(stderr, "meridian agent: \"%.*s\" is no guest; pg, nginx and knot are\n",
                    (int)len, list);
            return -1;
        }
        list += len + (list[len] == ',');
    }
    return 0;
}

/* Where each option's text goes; NULL: not a plain text. */
static const char **place(struct agent_options *o, int option)
{
    switch (option) {
    case 'f':
        return &o->config_path;
    case REGION:
        return &o->region;
    case STATE:
        return &o->state_dir;
    case RUN:
        return &o->run_dir;
    case LOG:
        return &o->guests.log_dir;
    case CERTS:
        return &o->certs_dir;
    case BIND:
        return &o->bind;
    case PG_BIN:
        return &o->guests.pg_bin;
    case PG_SOCKET:
        return &o->socket_dir;
    case PG_USER:
        return &o->user;
    case PG_HBA:
        return &o->guests.pg_hba;
    case NGINX:
        return &o->guests.nginx;
    case NGINX_CONF:
        return &o->guests.nginx_conf;
    case KNOTD:
        return &o->guests.knotd;
    case KNOT_CONF:
        return &o->guests.knot_conf;
    default:
        return NULL;
    }
}

static const char *below(const char *dir, const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s", dir, name);
    return out;
}

static void fill_defaults(struct agent_options *o)
{
    static char certs[1200], nginx[1200], knot[1200], hba[1200], log[1200];
    const struct passwd *pw = getpwuid(geteuid());

    o->certs_dir = o->certs_dir != NULL ? o->certs_dir
                                        : below(o->state_dir, "certs", certs, sizeof(certs));
    o->socket_dir = o->socket_dir != NULL ? o->socket_dir : o->run_dir;
    o->user = o->user != NULL ? o->user : pw != NULL ? pw->pw_name : "postgres";
    struct supervise_options *g = &o->guests;
    g->nginx_conf = g->nginx_conf != NULL
                        ? g->nginx_conf
                        : below(o->state_dir, "nginx/nginx.conf", nginx, sizeof(nginx));
    g->knot_conf = g->knot_conf != NULL
                       ? g->knot_conf
                       : below(o->state_dir, "knot/knot.conf", knot, sizeof(knot));
    g->log_dir = g->log_dir != NULL ? g->log_dir : below(o->state_dir, "log", log, sizeof(log));
    g->pg_hba =
        g->pg_hba != NULL ? g->pg_hba : below(o->state_dir, "pg_hba.local", hba, sizeof(hba));
    g->state_dir = o->state_dir;
    g->run_dir = o->run_dir;
    g->certs_dir = o->certs_dir;
    g->bind = o->bind;
}

/* Guests are started from other directories and keep these paths: make them absolute. */
static const char *absolute(const char *path, char *out, size_t cap)
{
    char cwd[1024];
    if (path[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL) {
        return path;
    }
    snprintf(out, cap, "%s/%s", cwd, path);
    return out;
}

int cli_agent(int argc, char **argv)
{
    static char state[2100], run[2100], log[2400];
    struct agent_options o = {
        .state_dir = "/var/lib/meridian",
        .run_dir = "/run/meridian",
        .guests = {.pg_bin = "/usr/lib/postgresql/15/bin", .nginx = "nginx", .knotd = "knotd"}};
    int option;

    while ((option = getopt_long(argc, argv, "f:h", long_options, NULL)) != -1) {
        const char **to = place(&o, option);
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 0;
        }
        if (to != NULL) {
            *to = optarg;
        } else if (option != MANAGE || parse_guests(optarg, &o.guests.manage) != 0) {
            fputs(usage_text, stderr);
            return 2;
        }
    }
    /* An empty name is what /etc/default/meridian has before somebody fills it in. */
    if (o.config_path == NULL || o.region == NULL || o.region[0] == '\0' || optind != argc) {
        fprintf(stderr, "meridian: %s\n",
                optind != argc          ? "agent takes options only"
                : o.config_path == NULL ? "-f FILE is missing: which configuration?"
                                        : "--region NAME is missing: which region is this?");
        fputs(usage_text, stderr);
        return 2;
    }
    /* Daemons' programs are in sbin, which a user's PATH may lack. */
    char path[4096];
    const char *old = getenv("PATH");
    snprintf(path, sizeof(path), "%s:/usr/sbin:/sbin", old != NULL ? old : "/usr/bin:/bin");
    setenv("PATH", path, 1);
    o.state_dir = absolute(o.state_dir, state, sizeof(state));
    o.run_dir = absolute(o.run_dir, run, sizeof(run));
    fill_defaults(&o);
    o.guests.log_dir = absolute(o.guests.log_dir, log, sizeof(log));
    return agent_run(&o);
}
