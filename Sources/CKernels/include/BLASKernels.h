// SPDX-License-Identifier: Apache-2.0
//
// OpenBLAS chooses its kernels by a table of CPU models that it knows. A release that is older than
// the CPU can fall back to the SSE3 kernels of 2004 (0.3.21 of Debian 12 does so on Emerald Rapids),
// a tenth of the speed.
#ifndef BLASKERNELS_H
#define BLASKERNELS_H

/// Where OpenBLAS fell back on a CPU that has AVX2 or AVX-512, has it choose again, as the
/// environment variable OPENBLAS_CORETYPE would; that variable is respected. To be called before
/// any other function of BLAS, by one thread. Does nothing where OpenBLAS has one set of kernels
/// only, and with other libraries.
void rg_blas_choose_kernels(void);

#endif
