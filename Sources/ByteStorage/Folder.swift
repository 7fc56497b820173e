// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Single folders.
package enum Folder {
  /// Makes the folder `path`, where nothing has that name yet.
  package static func make(_ path: String) throws(RegateError) {
    guard unsafe mkdir(path, 0o755) == 0 || errno == EEXIST else {
      throw .system("cannot be created", path: path)
    }
  }
}
