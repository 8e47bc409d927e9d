/*
 * Subcommands of `meridian`. Each runs with its own name as argv[0] and returns the exit
 * status: 0 done, 1 failed, 2 wrong usage.
 */
#pragma once

struct cli_command {
    const char *name;
    const char *summary; /* one line of the usage text; NULL: not shown */
    int (*run)(int argc, char **argv);
};

int cli_agent(int argc, char **argv);    /* agent/main.c */
int cli_lab(int argc, char **argv);      /* lab/lab.c */
int cli_sim(int argc, char **argv);      /* sim/command.c */
int cli_lab_init(int argc, char **argv); /* lab/init.c: pid 1 of a region, not for people */
int cli_certs(int argc, char **argv);    /* agent/certs.c */
int cli_anew(int argc, char **argv);     /* agent/anew.c */
int cli_config(int argc, char **argv);   /* cli/config.c */
int cli_status(int argc, char **argv);   /* cli/views.c */
int cli_regions(int argc, char **argv);
int cli_classes(int argc, char **argv);
int cli_links(int argc, char **argv);
int cli_leases(int argc, char **argv);
int cli_moves(int argc, char **argv);
int cli_receipts(int argc, char **argv);
int cli_pending(int argc, char **argv);
int cli_approve(int argc, char **argv); /* cli/approve.c */
int cli_reject(int argc, char **argv);
int cli_events(int argc, char **argv);    /* cli/events.c */
int cli_move(int argc, char **argv);      /* cli/move.c */
int cli_model(int argc, char **argv);     /* cli/model.c */
int cli_plan(int argc, char **argv);      /* cli/plan.c */
int cli_reconcile(int argc, char **argv); /* cli/reconcile.c */
int cli_failback(int argc, char **argv);
int cli_drain(int argc, char **argv); /* cli/traffic.c */
int cli_undrain(int argc, char **argv);
int cli_dial(int argc, char **argv);
int cli_route(int argc, char **argv);  /* cli/route.c */
int cli_verify(int argc, char **argv); /* cli/verify.c */
