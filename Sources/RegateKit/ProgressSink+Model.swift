// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage

extension ProgressSink {
  /// Says what should be known of a checkpoint before relying on it, where the report does not.
  func warn(of model: Model) {
    for warning in model.warnings { warn(warning) }
  }
}
