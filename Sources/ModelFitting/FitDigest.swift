// SPDX-License-Identifier: Apache-2.0
//
// The digest of a fit file: SHA-256 over its metadata and tensors, both in the order of their
// names. Of each entry of the metadata, but for the digest itself, the name and the value; of each
// tensor its name, its type, its shape with commas, and its bytes. Each text ends in a zero byte.

import ByteStorage
import Checkpoints
import Crypto
import Measures
import OrderedCollections
import Tensors

struct FitDigest {
  /// Its name in the metadata.
  static let key = "sha256"

  private var hash = SHA256()

  /// The digest of what is to be written.
  static func of(
    _ tensors: [SafetensorsWriter.Tensor], metadata: OrderedDictionary<String, String>
  ) -> String {
    var digest = FitDigest(metadata)
    for tensor in tensors.sorted(by: { $0.name < $1.name }) {
      digest.add(tensor.name, tensor.type.rawValue, tensor.shape)
      tensor.bytes.withBytes { digest.hash.update($0) }
    }
    return digest.hash.finalize().hexadecimal
  }

  /// Refuses a fit that is not what was written.
  static func verify(_ container: ArrayContainer) throws(RegateError) {
    var digest = FitDigest(container.metadata)
    for (name, array) in container.arrays.elements.sorted(by: { $0.key < $1.key }) {
      digest.add(name, array.type.rawValue, array.shape)
      try array.withBytes { digest.hash.update($0) }
    }
    let found = digest.hash.finalize().hexadecimal
    guard let expected = container.metadata[key], expected == found else {
      throw RegateError(
        .malformed, file: container.path, subject: key,
        "is \(found), expected \(container.metadata[key] ?? "one in the metadata")",
        advice: "the fit is damaged: make it again")
    }
  }

  private init(_ metadata: OrderedDictionary<String, String>) {
    for (name, value) in metadata.elements.sorted(by: { $0.key < $1.key }) where name != Self.key {
      add(name)
      add(value)
    }
  }

  private mutating func add(_ name: String, _ type: String, _ shape: [Int]) {
    for text in [name, type, shape.map(String.init).joined(separator: ",")] { add(text) }
  }

  private mutating func add(_ text: String) {
    (Array(text.utf8) + [0]).withBytes { hash.update($0) }
  }
}
