// SPDX-License-Identifier: Apache-2.0

import CKernels
import COpenBLAS

enum BLAS {
  /// To be read before every use of BLAS: calls are single-threaded, since threads share out blocks
  /// of work, and run on kernels that fit the CPU.
  static let ready: Void = {
    rg_blas_choose_kernels()
    openblas_set_num_threads(1)
  }()
}
