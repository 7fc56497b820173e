// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import OrderedCollections
import Tensors

/// Named arrays: a `.npy`, `.npz` or `.safetensors` file, or a folder of `.npy` files. A folder of
/// `.safetensors` files is one for each of them.
///
/// Captured activations and token ids come in these forms. Every header is checked when the
/// container is opened; the values of compressed members when they are first used.
package struct ArrayContainer: Sendable {
  package let path: String
  /// The arrays in the order of the file; those of a folder in the order of their names.
  package let arrays: OrderedDictionary<String, NumericArray>
  /// `__metadata__` of a safetensors file; empty otherwise.
  package let metadata: OrderedDictionary<String, String>

  /// Whether `path` is a folder or has a suffix that `open` knows.
  package static func isNamed(_ path: String) -> Bool {
    CheckpointDirectory.isDirectory(path)
      || ["npy", "npz", "safetensors"].contains(path.pathExtension.lowercased())
  }

  /// Opens `path`, by its suffix.
  package static func open(_ path: String) throws(RegateError) -> ArrayContainer {
    if CheckpointDirectory.isDirectory(path) { return try openFolder(path) }
    switch path.pathExtension.lowercased() {
    case "npy": return try openNPY(path)
    case "npz": return try openNPZ(path)
    case "safetensors": return try openSafetensors(path)
    default:
      throw RegateError(
        .unsupported, file: path, "is not a file of arrays",
        advice: "give .npy, .npz, .safetensors or a folder of .npy files")
    }
  }

  /// Opens `path`, or every `.safetensors` file of a folder that holds such, by their names.
  package static func openEach(_ path: String) throws(RegateError) -> [ArrayContainer] {
    guard CheckpointDirectory.isDirectory(path) else { return [try open(path)] }
    let directory = try CheckpointDirectory(path: path)
    guard let first = directory.safetensors.first else { return [try open(path)] }
    guard directory.arrays.isEmpty else {
      throw RegateError(
        .mismatch, file: path, "holds \(first) and \(directory.arrays[0])",
        advice: "give a folder of .safetensors or of .npy files")
    }
    var containers: [ArrayContainer] = []
    for name in directory.safetensors {
      containers.append(try open(path.withoutTrailingSlashes + "/" + name))
    }
    return containers
  }

  private init(
    path: String, _ arrays: [NumericArray], metadata: OrderedDictionary<String, String> = [:]
  ) {
    self.path = path
    self.metadata = metadata
    // Every source of names has been checked for duplicates.
    self.arrays = OrderedDictionary(uniqueKeysWithValues: arrays.map { ($0.name, $0) })
  }

  /// The array of that name.
  package func array(_ name: String) throws(RegateError) -> NumericArray {
    guard let array = arrays[name] else {
      throw RegateError(
        .missing, file: path, subject: name, "no such array",
        advice: "it holds \(arrays.keys.prefix(4).joined(separator: ", "))")
    }
    return array
  }

  private static func openNPY(_ path: String) throws(RegateError) -> ArrayContainer {
    ArrayContainer(path: path, [try readNPY(path)])
  }

  private static func readNPY(_ path: String) throws(RegateError) -> NumericArray {
    let file = try MappedFile(path: path)
    let name = path.lastPathComponent.deletingExtension
    return try NumericArray(name: name, npy: ArrayStorage(file, .plain(0..<file.count)))
  }

  private static func openFolder(_ path: String) throws(RegateError) -> ArrayContainer {
    let names = try CheckpointDirectory(path: path).arrays
    guard !names.isEmpty else {
      throw RegateError(
        .missing, file: path, "holds no .npy or .safetensors files",
        advice: "give .npy, .npz, .safetensors or a folder of .npy or .safetensors files")
    }
    var arrays: [NumericArray] = []
    var seen: Set<String> = []
    for name in names {
      let array = try readNPY(path + "/" + name)
      guard seen.insert(array.name).inserted else {
        throw RegateError(.mismatch, file: path, subject: array.name, "two files have this name")
      }
      arrays.append(array)
    }
    return ArrayContainer(path: path, arrays)
  }

  private static func openNPZ(_ path: String) throws(RegateError) -> ArrayContainer {
    let file = try MappedFile(path: path)
    var arrays: [NumericArray] = []
    for member in try ZipDirectory(file).members {
      guard member.name.hasSuffix(".npy") else {
        throw RegateError(
          .unsupported, file: path, subject: member.name, "is not an NPY array",
          advice: "give an archive that numpy.savez wrote")
      }
      let storage = ArrayStorage(file, .member(member))
      arrays.append(try NumericArray(name: String(member.name.dropLast(4)), npy: storage))
    }
    return ArrayContainer(path: path, arrays)
  }

  /// Opens a safetensors file, whatever its suffix.
  package static func openSafetensors(_ path: String) throws(RegateError) -> ArrayContainer {
    let file = try SafetensorsFile(path: path)
    for tensor in file.tensors where !readable.contains(tensor.type) {
      throw RegateError(
        .unsupported, file: path, subject: tensor.name,
        "\(tensor.type.rawValue) is not a plain number",
        advice: "save F32, F16, BF16 or an integer type")
    }
    return ArrayContainer(
      path: path, file.tensors.map { NumericArray($0, in: file.file) },
      metadata: file.metadata ?? [:])
  }

  private static let readable: Set<ElementType> = [
    .f16, .bf16, .f32, .f64, .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64,
  ]
}
