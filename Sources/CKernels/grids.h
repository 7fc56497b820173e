// SPDX-License-Identifier: Apache-2.0
//
// The grids of ggml's IQ types: each entry packs the codes of eight elements in two bits each, or
// (IQ3) of four elements in four bits each, first element lowest.
#ifndef CKERNELS_GRIDS_H
#define CKERNELS_GRIDS_H

#include <stdint.h>

extern const uint16_t rg_iq2_xxs_grid[256];
extern const uint16_t rg_iq2_xs_grid[512];
extern const uint16_t rg_iq2_s_grid[1024];
extern const uint16_t rg_iq3_xxs_grid[256];
extern const uint16_t rg_iq3_s_grid[512];
extern const uint16_t rg_iq1_grid[2048];

#endif
