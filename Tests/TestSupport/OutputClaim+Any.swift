// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

extension OutputClaim {
  /// The leave to write a file at `path`, whatever file is there.
  package static func file(
    _ path: String, overwrite: Bool = false
  ) throws(RegateError) -> OutputClaim {
    try OutputClaim(path, as: .ownFile, overwrite: overwrite, apartFrom: RunInputs())
  }

  /// The leave to write a directory at `path`, whatever directory is there.
  package static func directory(
    _ path: String, overwrite: Bool = false
  ) throws(RegateError) -> OutputClaim {
    try OutputClaim(
      path, as: OutputKind(directory: { _ in nil }), overwrite: overwrite, apartFrom: RunInputs())
  }
}
