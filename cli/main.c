/*
 * `meridian`: one binary, one table of subcommands.
 */
#include <cli.h>

#include <stdio.h>
#include <string.h>

static const struct cli_command commands[] = {
    {"certs", "make the deployment's certificates", cli_certs},
    {"config", "check a configuration file; list its keys", cli_config},
    {"lab", "several regions on one machine, with real distances", cli_lab},
    {"lab-init", "pid 1 of a region in the lab; not for people", cli_lab_init},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    if (argc >= 2) {
        for (const struct cli_command *c = commands; c->name != NULL; c++) {
            if (strcmp(argv[1], c->name) == 0) {
                return c->run(argc - 1, argv + 1);
            }
        }
        fprintf(stderr, "meridian: no such command: \"%s\"\n", argv[1]);
    }
    fprintf(stderr, "usage: meridian COMMAND [ARG ...]\n");
    for (const struct cli_command *c = commands; c->name != NULL; c++) {
        fprintf(stderr, "  %-10s %s\n", c->name, c->summary);
    }
    return 2;
}
