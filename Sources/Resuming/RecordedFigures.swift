// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Foundation
package import OrderedCollections

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

  /// What the entry `key` of the metadata of the file at `path` was made of.
  package static func value<T: Decodable>(
    of key: String, in metadata: OrderedDictionary<String, String>, as type: T.Type = T.self,
    path: String
  ) throws(RegateError) -> T {
    try value(metadata[key], of: key, path: path)
  }

  /// What `text`, the entry `key` of the file at `path`, was made of.
  package static func value<T: Decodable>(
    _ text: String?, of key: String, as type: T.Type = T.self, path: String
  ) throws(RegateError) -> T {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    let problem: String
    if let text {
      do { return try decoder.decode(type, from: Data(text.utf8)) } catch {
        problem = words(error)
      }
    } else {
      problem = "is missing"
    }
    throw RegateError(
      .malformed, file: path, subject: key, problem,
      advice: "make the file, or start the run, again")
  }

  /// What kept figures from being read.
  private static func words(_ error: any Error) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      return "has no \(place(context.codingPath + [key]))"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
      DecodingError.dataCorrupted(let context):
      return context.codingPath.isEmpty
        ? "is not the JSON object that it should be"
        : "has another value at \(place(context.codingPath)) than it should"
    default: return "cannot be read: \(error)"
    }
  }

  /// A record of figures alone.
  package static func record(_ figures: some Encodable) throws(RegateError) -> ResumeRecord {
    ResumeRecord(metadata: [key: try text(figures)])
  }

  /// The figures of a record.
  package static func read<T: Decodable>(
    _ container: ArrayContainer, as type: T.Type = T.self
  ) throws(RegateError) -> T {
    try value(of: key, in: container.metadata, path: container.path)
  }
}
