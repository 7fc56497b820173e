// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Foundation
import OrderedCollections

/// Figures as JSON text in the metadata of a file, in which every Double reads back as itself.
package enum RecordedFigures {
  private static let key = "figures"

  package static func text(_ value: some Encodable) throws(RegateError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    do { return String(decoding: try encoder.encode(value), as: UTF8.self) } catch {
      throw RegateError(.unsupported, subject: key, "cannot be kept: \(error)")
    }
  }

  /// What `text` was made of, kept in the file at `path`.
  package static func value<T: Decodable>(
    _ text: String?, as type: T.Type = T.self, path: String
  ) throws(RegateError) -> T {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    guard let text, let value = try? decoder.decode(type, from: Data(text.utf8)) else {
      throw RegateError(
        .malformed, file: path, subject: "__metadata__", "does not hold the figures that it should",
        advice: "make the file, or start the run, again")
    }
    return value
  }

  /// A record of figures alone.
  package static func record(_ figures: some Encodable) throws(RegateError) -> ResumeRecord {
    ResumeRecord(metadata: [key: try text(figures)])
  }

  /// The figures of a record.
  package static func read<T: Decodable>(
    _ container: ArrayContainer, as type: T.Type = T.self
  ) throws(RegateError) -> T {
    try value(container.metadata[key], path: container.path)
  }
}
