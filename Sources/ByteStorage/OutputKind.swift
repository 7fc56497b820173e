// SPDX-License-Identifier: Apache-2.0

/// A kind of output, and how one is told, by what is in it, from what is somebody else's.
package struct OutputKind: Sendable {
  let isDirectory: Bool
  /// Why the file or directory at a path is not to be replaced by one of this kind; nil where it is
  /// one itself.
  let objection: @Sendable (_ path: String) -> String?

  /// Files; `name` is what one is called in an error.
  package init(file name: String, recognises: @escaping @Sendable (_ path: String) -> Bool) {
    isDirectory = false
    objection = { recognises($0) ? nil : "exists already and is no \(name) of Regate" }
  }

  /// Directories.
  package init(directory objection: @escaping @Sendable (_ path: String) -> String?) {
    isDirectory = true
    self.objection = objection
  }

  /// A file in a folder that belongs to the run alone.
  package static let ownFile = OutputKind(file: "file") { _ in true }

  var place: FileKind { isDirectory ? .directory : .file }
}
