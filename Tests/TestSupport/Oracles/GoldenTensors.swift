// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// The F32 tensors of a safetensors file that a script under `tools/fixtures` wrote; tensors of
/// other types are left out.
public struct GoldenTensors {
  /// A tensor of any rank, row-major.
  public struct Tensor {
    public let shape: [Int]
    public let values: [Float]
  }

  /// The file is not what the generator writes.
  public struct Damaged: Error {
    public let name: String

    public init(name: String) { self.name = name }
  }

  private var tensors: [String: Tensor] = [:]

  public init(_ url: URL) throws {
    let bytes = [UInt8](try Data(contentsOf: url))
    guard bytes.count >= 8 else { throw Damaged(name: url.lastPathComponent) }
    let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try JSONSerialization.jsonObject(with: Data(bytes[8..<8 + length]))
    guard let entries = header as? [String: Any] else {
      throw Damaged(name: url.lastPathComponent)
    }
    for case (let name, let entry as [String: Any]) in entries
    where entry["dtype"] as? String == "F32" {
      guard let shape = entry["shape"] as? [Int], let offsets = entry["data_offsets"] as? [Int]
      else { throw Damaged(name: name) }
      let start = 8 + length + offsets[0]
      tensors[name] = Tensor(
        shape: shape,
        values: stride(from: start, to: 8 + length + offsets[1], by: 4).map { place in
          Float(bitPattern: bytes[place..<place + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) })
        })
    }
  }

  public var names: [String] { tensors.keys.sorted() }

  public subscript(_ name: String) -> Tensor {
    get throws {
      guard let tensor = tensors[name] else { throw Damaged(name: name) }
      return tensor
    }
  }
}
