// SPDX-License-Identifier: Apache-2.0

import Foundation

extension String {
  /// The last component of a path.
  package var lastPathComponent: String { (self as NSString).lastPathComponent }

  /// The folder of a path, `.` for a bare name.
  package var directory: String {
    let folder = (self as NSString).deletingLastPathComponent
    return folder.isEmpty ? "." : folder
  }

  /// A path as others begin with it; the root stays what it is.
  package var withoutTrailingSlashes: String {
    var path = self
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    return path
  }

  /// A path without the extension of its last component.
  package var deletingExtension: String { (self as NSString).deletingPathExtension }
}
