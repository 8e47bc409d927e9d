/*
 * `meridian`: one binary, one table of subcommands.
 */
#include <args.h>
#include <cli.h>

#include <errno.h>
#include <load.h>
#include <stdio.h>
#include <string.h>

/* Grouped as a newcomer would look for them: try it, see it, act on it, run it. */
static const struct cli_command commands[] = {
    {"lab", "several regions on one machine, with real distances", cli_lab},
    {"status", "the whole deployment on one page", cli_status},
    {"regions", "health of each region", cli_regions},
    {"classes", "each partition's home, epoch and promise", cli_classes},
    {"links", "replication between regions: lag and state", cli_links},
    {"leases", "which regions may write now", cli_leases},
    {"events", "what was decided, when and why", cli_events},
    {"moves", "planned moves", cli_moves},
    {"receipts", "what each failover and move took", cli_receipts},
    {"move", "move a home without losing a write", cli_move},
    {"failback", "move a home to where the configuration has it", cli_failback},
    {"drain", "send a region's traffic and homes elsewhere", cli_drain},
    {"undrain", "let a drained region serve again", cli_undrain},
    {"dial", "give a region a share of its traffic", cli_dial},
    {"pending", "promotions that wait for an operator", cli_pending},
    {"approve", "let a promotion run", cli_approve},
    {"reject", "refuse a promotion", cli_reject},
    {"reconcile", "writes a lost region left behind", cli_reconcile},
    {"verify", "do the regions hold the same rows?", cli_verify},
    {"route", "where a request would go, and why", cli_route},
    {"plan", "does a workload need several regions, and which", cli_plan},
    {"model", "a formula of the planner as a calculator", cli_model},
    {"config", "check a configuration file; list its keys", cli_config},
    {"sim", "thousands of simulated worlds, each from a seed", cli_sim},
    {"agent", "run a region: hold its lease, look after its servers", cli_agent},
    {"anew", "begin again in a region whose disk is lost for good", cli_anew},
    {"certs", "make the deployment's certificates", cli_certs},
    {"lab-init", NULL, cli_lab_init}, /* pid 1 of a region, not for people */
    {NULL, NULL, NULL},
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: meridian COMMAND [ARG ...]\n\n");
    for (const struct cli_command *c = commands; c->name != NULL; c++) {
        if (c->summary != NULL) {
            fprintf(out, "  %-10s %s\n", c->name, c->summary);
        }
    }
    fprintf(out, "\nmeridian COMMAND --help says more; man meridian, all of it.\n");
}

/* What did not reach the file or pipe was not answered, whatever the command thinks. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return status;
    }
    return cli_fail("Is there room where the output goes?", "could not write the answer: %s",
                    strerror(errno));
}

static int no_command(const char *name)
{
    const char *words[sizeof(commands) / sizeof(commands[0])];
    size_t n = 0;

    for (const struct cli_command *c = commands; c->name != NULL; c++) {
        if (c->summary != NULL) {
            words[n++] = c->name;
        }
    }
    words[n] = NULL;
    const char *meant = mrd_config_meant(name, words);
    if (meant != NULL) {
        char hint[80];
        snprintf(hint, sizeof(hint), "Did you mean \"%s\"?", meant);
        cli_fail(hint, "no such command: \"%s\"", name);
    } else {
        cli_fail(NULL, "no such command: \"%s\"", name);
    }
    print_usage(stderr);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("meridian " MRD_VERSION);
        return 0;
    }
    for (const struct cli_command *c = commands; c->name != NULL; c++) {
        if (strcmp(argv[1], c->name) == 0) {
            return finish(c->run(argc - 1, argv + 1));
        }
    }
    return no_command(argv[1]);
}
