// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Numbers of threads.
public enum Threads {
  /// One for each processor that is there; results do not depend on the number.
  public static var all: Int { ProcessInfo.processInfo.activeProcessorCount }
}
