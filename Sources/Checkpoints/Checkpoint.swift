// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
public import OrderedCollections
public import Tensors

/// The file format that holds a checkpoint's tensors.
public enum Container: String, Sendable { case safetensors, gguf }

/// Where one tensor lies and how it is stored. Exists only after its file's whole header was
/// validated: `range` lies inside the file and has exactly the size that type and shape ask for.
public struct TensorInfo: Sendable, Hashable {
  public let name: String
  public let type: ElementType
  /// Row-major, slowest dimension first, in both containers (GGUF's list is reversed).
  public let shape: [Int]
  /// Index into `Checkpoint.files`.
  public let file: Int
  /// Absolute byte range in that file.
  public let range: Range<Int>

  public init(name: String, type: ElementType, shape: [Int], file: Int, range: Range<Int>) {
    self.name = name
    self.type = type
    self.shape = shape
    self.file = file
    self.range = range
  }

  public var elementCount: Int { shape.reduce(1, *) }
}

/// A validated checkpoint: its files, memory-mapped, and every tensor in them.
public protocol Checkpoint: Sendable {
  /// The path that the user gave.
  var path: String { get }
  var container: Container { get }
  /// The files that hold tensors, in reading order.
  var files: [MappedFile] { get }
  /// Every tensor, by file and then by offset.
  var tensors: OrderedDictionary<String, TensorInfo> { get }
}

extension Checkpoint {
  /// The tensor of that name.
  public func tensor(_ name: String) throws(RegateError) -> TensorInfo {
    guard let tensor = tensors[name] else {
      throw RegateError(.missing, file: path, subject: name, "no such tensor in the checkpoint")
    }
    return tensor
  }

  /// The stored bytes of a tensor, or of `part` of it (relative to its first byte).
  public func withBytes<R, E: Error>(
    of tensor: TensorInfo, part: Range<Int>? = nil,
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    let part = part ?? 0..<tensor.range.count
    precondition(part.lowerBound >= 0 && part.upperBound <= tensor.range.count)
    let start = tensor.range.lowerBound
    return try files[tensor.file].withBytes(
      in: start + part.lowerBound..<start + part.upperBound, body)
  }
}
