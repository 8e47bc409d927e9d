/*
 * What must hold in every world: one file each. A property looks at facts as they happen
 * (world.h) and calls sim_broken() when one of them should not be.
 */
#pragma once

#include "../world.h"

void sim_look_one_writer(struct sim *w, const struct sim_fact *f);
void sim_look_epochs_grow(struct sim *w, const struct sim_fact *f);
void sim_look_quorum_kept(struct sim *w, const struct sim_fact *f);
void sim_look_accounted(struct sim *w, const struct sim_fact *f);
void sim_look_moves_lose_nothing(struct sim *w, const struct sim_fact *f);
void sim_look_reads_go_forward(struct sim *w, const struct sim_fact *f);
void sim_look_placement(struct sim *w, const struct sim_fact *f);
void sim_look_observers(struct sim *w, const struct sim_fact *f);
void sim_look_approvals(struct sim *w, const struct sim_fact *f);
void sim_look_word_kept(struct sim *w, const struct sim_fact *f);
void sim_look_tail_first(struct sim *w, const struct sim_fact *f);
void sim_look_no_flapping(struct sim *w, const struct sim_fact *f);
void sim_look_drained(struct sim *w, const struct sim_fact *f);
void sim_look_settles(struct sim *w, const struct sim_fact *f);

/** The closed epoch that a commit of @origin belongs to, as the newest authority has it. */
const struct mrd_closed_record *sim_closed(const struct sim *w, unsigned origin,
                                           const struct sim_record *rec);
const char *sim_fate_name(uint8_t fate);
