/*
 * Reading the configuration file, before anything else runs.
 */
#pragma once

struct agent;

/**
 * Fill config, config_text and self; config_rejected when it is not the file's. 0, or a code
 * after which the agent cannot start; why is on stderr.
 */
int agent_config_load(struct agent *a);

/** The agent can start with it: keep it, whole or not at all. Needs the state directory. */
void agent_config_keep(const struct agent *a);
