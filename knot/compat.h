/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What differs between versions of Knot DNS, in one place.
 *
 * The module ABI changes with every minor release and knotd refuses a module built for
 * another one, so a package is built per minor release. Known to build and run: 3.2 (400).
 */
#pragma once

#include <knot/module.h>

#if KNOTD_MOD_ABI_VERSION < 400
#error "mod-mrd needs Knot DNS 3.2 or later"
#endif
