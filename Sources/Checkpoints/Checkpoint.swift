// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Foundation
package import OrderedCollections
package import Tensors

/// The file format that holds a checkpoint's tensors.
package enum Container: String, Sendable { case safetensors, gguf }

/// Where one tensor lies and how it is stored. Exists only after its file's whole header was
/// validated: `range` lies inside the file and has exactly the size that type and shape ask for.
package struct TensorInfo: Sendable, Hashable {
  package let name: String
  package let type: ElementType
  /// Row-major, slowest dimension first, in both containers (GGUF's list is reversed).
  package let shape: [Int]
  /// Index into `Checkpoint.files`.
  package let file: Int
  /// Absolute byte range in that file.
  package let range: Range<Int>

  package init(name: String, type: ElementType, shape: [Int], file: Int, range: Range<Int>) {
    self.name = name
    self.type = type
    self.shape = shape
    self.file = file
    self.range = range
  }

  package var elementCount: Int { shape.reduce(1, *) }
}

/// A validated checkpoint: its files, memory-mapped, and every tensor in them.
package protocol Checkpoint: Sendable {
  /// The path that the user gave.
  var path: String { get }
  var container: Container { get }
  /// The files that hold tensors, in reading order.
  var files: [MappedFile] { get }
  /// Every tensor, by file and then by offset.
  var tensors: OrderedDictionary<String, TensorInfo> { get }
  /// The checkpoint as what it is, for what the containers do differently.
  var format: CheckpointFormat { get }
  /// The folder that holds the files.
  var directory: String { get }
  /// The names of `files` in that folder.
  var fileNames: [String] { get }
  /// `config.json` beside the tensors; nil where the container or the folder has none.
  var config: JSONValue? { get }
  /// What is odd but not wrong, one line each.
  var warnings: [String] { get }
}

/// A checkpoint by its container. A switch over it is exhaustive: a new container does not compile
/// until every place says what it does with it.
package enum CheckpointFormat: Sendable {
  case safetensors(SafetensorsCheckpoint)
  case gguf(GGUFCheckpoint)

  /// Opens a Hugging Face directory, a `.safetensors` file with `config.json` beside it, or a GGUF
  /// file of any name, split or not. Reads headers only.
  package static func open(_ path: String) throws(RegateError) -> any Checkpoint {
    WorkLog.current?.note(.opening)
    guard FileManager.default.fileExists(atPath: path) else {
      throw RegateError(
        .missing, file: path, "no such file or directory",
        advice: "give a checkpoint directory, a .safetensors file or a .gguf file")
    }
    return try isGGUF(path)
      ? try GGUFCheckpoint(path: path) : try SafetensorsCheckpoint(path: path)
  }

  /// By the suffix, or else by the first bytes: caches keep files under names of their own.
  private static func isGGUF(_ path: String) throws(RegateError) -> Bool {
    if path.lowercased().hasSuffix(".gguf") { return true }
    guard FileKind(of: path) == .file else { return false }
    let (file, magic) = (try MappedFile(path: path), Array("GGUF".utf8))
    guard file.count >= magic.count else { return false }
    return try file.bytes(in: 0..<magic.count) == magic
  }
}

extension Checkpoint {
  /// Throws where something wrote to one of the files since they were opened.
  package func requireUnchanged() throws(RegateError) {
    for file in files { try file.requireUnchanged() }
  }

  /// The tensor of that name.
  package func tensor(_ name: String) throws(RegateError) -> TensorInfo {
    guard let tensor = tensors[name] else {
      throw RegateError(.missing, file: path, subject: name, "no such tensor in the checkpoint")
    }
    return tensor
  }

  /// The stored bytes of a tensor, or of `part` of it (relative to its first byte).
  package func withBytes<R>(
    of tensor: TensorInfo, part: Range<Int>? = nil,
    _ body: (RawSpan) throws(RegateError) -> R
  ) throws(RegateError) -> R {
    let part = part ?? 0..<tensor.range.count
    precondition(part.lowerBound >= 0 && part.upperBound <= tensor.range.count)
    let start = tensor.range.lowerBound
    return try files[tensor.file].withBytes(
      in: start + part.lowerBound..<start + part.upperBound, body)
  }
}
