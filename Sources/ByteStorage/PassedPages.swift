// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What becomes of the pages of files behind a pass over them.
package enum PassedPages: Sendable {
  /// They stay in the page cache, for as long as the kernel has room.
  case cached
  /// They leave it: together they would not stay there for another pass, and would only drive out
  /// what others need.
  case dropped

  /// For a pass over `byteCount` bytes.
  package init(byteCount: Int) {
    self = byteCount > ProcessInfo.processInfo.physicalMemory / 2 ? .dropped : .cached
  }
}
