// SPDX-License-Identifier: Apache-2.0
//
// model.safetensors.index.json, as transformers 5 writes it:
// {"metadata": {"total_size": <bytes of all tensors>, ..}, "weight_map": {"<tensor>": "<file>"}}
// `metadata` may be empty or absent. File names are relative to the index's directory.

package import ByteStorage
package import OrderedCollections

/// The index of a sharded checkpoint: which file holds which tensor.
package struct SafetensorsIndex: Sendable {
  /// The index's file name beside the shards.
  package static let fileName = "model.safetensors.index.json"

  /// The index as it was read.
  package let raw: JSONValue
  /// What is odd about its JSON; nil where nothing is.
  let warning: String?
  /// Tensor name to file name.
  package let weightMap: OrderedDictionary<String, String>
  /// The shards in the order of their names (bytes).
  package let fileNames: [String]

  /// Reads and checks the index at `path`; the shards are not looked at.
  package init(path: String) throws(RegateError) {
    let json = try LenientJSON(contentsOf: path)
    (raw, warning) = (json.value, json.warning)
    guard let members = raw["weight_map"]?.objectValue else {
      throw RegateError(
        .malformed, file: path, subject: "weight_map",
        raw["weight_map"].map { "must be an object, not \($0.kindName)" } ?? "is missing")
    }
    guard !members.isEmpty else {
      throw RegateError(.malformed, file: path, subject: "weight_map", "names no tensors")
    }
    var weightMap = OrderedDictionary<String, String>(minimumCapacity: members.count)
    var fileNames: Set<String> = []
    for (tensor, value) in members {
      guard let name = value.stringValue else {
        throw RegateError(
          .malformed, file: path, subject: tensor,
          "its file name must be a string, not \(value.kindName)")
      }
      let plain = try SafetensorsIndex.plainName(name, path, tensor)
      fileNames.insert(plain)
      weightMap[tensor] = plain
    }
    self.weightMap = weightMap
    self.fileNames = fileNames.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// `metadata.total_size`, if it is there.
  package var totalSize: Int? { raw["metadata"]?["total_size"]?.intValue }

  /// The name of a file beside the index, without the `.` and empty parts that it may be written
  /// with; refused where it could lead out of the checkpoint's directory.
  private static func plainName(
    _ name: String, _ path: String, _ tensor: String
  ) throws(RegateError) -> String {
    func refused(_ problem: String) -> RegateError {
      RegateError(
        .refused, file: path, subject: tensor, problem,
        advice: "an index may only name files beside it")
    }
    guard name.utf8.first != UInt8(ascii: "/") else {
      throw refused("its file name \(name) is an absolute path")
    }
    guard !name.utf8.contains(0) else { throw refused("its file name contains a zero byte") }
    let parts = name.split(separator: "/").filter { $0 != "." }
    guard !parts.isEmpty else { throw refused("its file name \"\(name)\" names no file") }
    guard !parts.contains("..") else {
      throw refused("its file name \(name) leads out of the checkpoint's directory")
    }
    return parts.joined(separator: "/")
  }
}
