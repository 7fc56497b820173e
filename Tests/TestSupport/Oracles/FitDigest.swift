// SPDX-License-Identifier: Apache-2.0

/// The digest of a fit file as the format's documentation writes it down.
public func fitDigest(
  tensors: [(name: String, type: String, shape: [Int], bytes: [UInt8])],
  metadata: [String: String]
) -> String {
  func text(_ words: String...) -> [UInt8] { words.flatMap { Array($0.utf8) + [0] } }
  var message: [UInt8] = []
  for (key, value) in metadata.sorted(by: { $0.key < $1.key }) where key != "sha256" {
    message += text(key, value)
  }
  for tensor in tensors.sorted(by: { $0.name < $1.name }) {
    let shape = tensor.shape.map(String.init).joined(separator: ",")
    message += text(tensor.name, tensor.type, shape) + tensor.bytes
  }
  return naiveSHA256(message)
}
