// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer as a library (compiler-rt, FuzzerInterface.h): the program has a main of its own.

#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv,
                        int (*run)(const uint8_t *data, size_t size));
