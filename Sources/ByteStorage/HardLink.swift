// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Second names for files.
package enum HardLink {
  /// Gives the file that `existing` leads to the new name `path`. False where that cannot be: on
  /// another volume, or without the right.
  package static func make(_ path: String, to existing: String) -> Bool {
    unsafe linkat(AT_FDCWD, existing, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0
  }
}
