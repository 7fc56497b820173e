// SPDX-License-Identifier: Apache-2.0
//
// What `torch.save` writes (torch/serialization.py, the ZIP form since PyTorch 1.6):
//
//   NAME/data.pkl     the object; a tensor is the call torch._utils._rebuild_tensor_v2(storage,
//                     offset, size, stride, requires_grad, hooks), a storage the persistent name
//                     ('storage', class, key, location, elements)
//   NAME/data/KEY     the elements of a storage, stored
//   NAME/byteorder    "little", where it is there

package import ByteStorage
package import OrderedCollections
import Tensors

/// A dictionary that `torch.save` wrote, as far as its members are tensors. No code is run.
package struct TorchArchive {
  /// Every key of the dictionary, whatever it holds.
  package let keys: [String]
  /// The members that are tensors.
  package let tensors: OrderedDictionary<String, NumericArray>

  private static let storages: [String: ElementType] = [
    "DoubleStorage": .f64, "FloatStorage": .f32, "HalfStorage": .f16, "BFloat16Storage": .bf16,
    "LongStorage": .i64, "IntStorage": .i32, "ShortStorage": .i16, "CharStorage": .i8,
    "ByteStorage": .u8, "BoolStorage": .bool,
  ]
  /// A dictionary of names and shapes is small.
  private static let largestPickle = 64 << 20

  /// Opens the archive at `path`; nil where it is none of this kind.
  package init?(path: String) throws(RegateError) {
    let file = try MappedFile(path: path)
    guard file.count > 4, try file.bytes(in: 0..<4) == [0x50, 0x4B, 3, 4] else { return nil }
    let members = try ZipDirectory(file).members
    guard let pickle = members.first(where: { $0.name.hasSuffix("/data.pkl") }) else { return nil }
    let prefix = String(pickle.name.dropLast("data.pkl".count))
    if let order = members.first(where: { $0.name == prefix + "byteorder" }) {
      let found = try Self.contents(order, file)
      guard found == Array("little".utf8) else {
        throw RegateError(
          .unsupported, file: path, subject: order.name,
          "is \(String(decoding: found.prefix(16), as: UTF8.self)), expected little",
          advice: "save it again on a little-endian machine")
      }
    }
    guard
      case .dictionary(let root) = try PickleReader.value(
        try Self.contents(pickle, file), file: path)
    else {
      throw RegateError(.mismatch, file: path, subject: pickle.name, "holds no dictionary")
    }
    var keys: [String] = []
    var tensors: OrderedDictionary<String, NumericArray> = [:]
    for (key, value) in root.members {
      guard let name = key.string else { continue }
      keys.append(name)
      guard case .call(PickleReader.tensor, let arguments) = value else { continue }
      tensors[name] = try Self.tensor(name, arguments, prefix, members, file)
    }
    self.keys = keys
    self.tensors = tensors
  }

  private static func contents(
    _ member: ZipDirectory.Member, _ file: MappedFile
  ) throws(RegateError) -> [UInt8] {
    guard member.size <= largestPickle else {
      throw RegateError(
        .unsupported, file: file.path, subject: member.name,
        "has \(member.size) bytes, more than \(largestPickle)")
    }
    return try ArrayStorage(file, .member(member)).withBytes(in: 0..<member.size) {
      [UInt8](copying: $0)
    }
  }

  private static func tensor(
    _ name: String, _ arguments: [PickleValue], _ prefix: String, _ members: [ZipDirectory.Member],
    _ file: MappedFile
  ) throws(RegateError) -> NumericArray {
    func problem(_ text: String) -> RegateError {
      RegateError(.malformed, file: file.path, subject: name, text)
    }
    guard arguments.count >= 4, case .persistent(.tuple(let storage)) = arguments[0],
      storage.count == 5, storage[0].string == "storage", case .global(let kind) = storage[1],
      let key = storage[2].string, let offset = arguments[1].integer,
      let shape = integers(arguments[2]), let strides = integers(arguments[3])
    else { throw problem("is a tensor of an unknown make") }
    guard let type = storages[String(kind.drop { $0 != "." }.dropFirst())] else {
      throw RegateError(
        .unsupported, file: file.path, subject: name, "holds a \(kind), expected plain numbers")
    }
    guard let member = members.first(where: { $0.name == prefix + "data/" + key }) else {
      throw problem("its elements, \(prefix)data/\(key), are not in the archive")
    }
    var expected = 1
    for (size, stride) in zip(shape, strides).reversed() {
      guard size <= 1 || stride == expected else {
        throw RegateError(
          .unsupported, file: file.path, subject: name,
          "its elements do not follow each other (strides \(strides))",
          advice: "save tensor.contiguous()")
      }
      let (product, overflow) = expected.multipliedReportingOverflow(by: size)
      guard size >= 0, !overflow else { throw problem("its shape \(shape) is impossible") }
      expected = product
    }
    let width = type.blockBits / 8
    let (bytes, overflow) = expected.multipliedReportingOverflow(by: width)
    guard shape.count == strides.count, offset >= 0, !overflow, bytes <= member.size,
      offset <= (member.size - bytes) / width
    else {
      throw problem("its shape \(shape) at \(offset) reaches past \(member.size) bytes of elements")
    }
    return NumericArray(
      name: name, shape: shape, type: type, in: ArrayStorage(file, .member(member)),
      from: offset * width)
  }

  private static func integers(_ value: PickleValue) -> [Int]? {
    guard let values = value.tuple else { return nil }
    let numbers = values.compactMap(\.integer)
    return numbers.count == values.count ? numbers : nil
  }
}
