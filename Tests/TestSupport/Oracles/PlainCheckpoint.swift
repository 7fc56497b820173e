// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// What a checkpoint's files hold, read in the plainest way: no checks, whole files in memory.
/// Independent of the code under test.
public struct PlainCheckpoint {
  /// One tensor with its bytes.
  public struct Tensor: Equatable {
    public let type: String
    /// Row-major.
    public let shape: [Int]
    public let bytes: [UInt8]
    public let file: String

    public init(type: String, shape: [Int], bytes: [UInt8], file: String) {
      self.type = type
      self.shape = shape
      self.bytes = bytes
      self.file = file
    }
  }

  public private(set) var tensors: [String: Tensor] = [:]
  /// `__metadata__` by file name.
  public private(set) var metadata: [String: [String: String]] = [:]
  /// Header bytes by file name.
  public private(set) var headers: [String: [UInt8]] = [:]
  /// Encoded GGUF key-value pairs of the first file, by key.
  public private(set) var keys: [String: [UInt8]] = [:]

  /// Reads the safetensors files of a directory, or one file.
  public init(safetensors url: URL) throws {
    let isFile = url.pathExtension == "safetensors"
    let folder = isFile ? url.deletingLastPathComponent() : url
    let names =
      isFile
      ? [url.lastPathComponent]
      : try FileManager.default.contentsOfDirectory(atPath: url.path(percentEncoded: false))
        .filter { $0.hasSuffix(".safetensors") }
    for name in names {
      let bytes = [UInt8](try Data(contentsOf: folder.appending(path: name)))
      let count = Int(number(bytes, 0, 8))
      headers[name] = Array(bytes[..<(8 + count)])
      let header = try JSONSerialization.jsonObject(with: Data(bytes[8..<8 + count]))
      for (key, value) in header as? [String: Any] ?? [:] {
        guard let entry = value as? [String: Any] else { continue }
        if key == "__metadata__" {
          metadata[name] = entry.compactMapValues { $0 as? String }
          continue
        }
        guard let type = entry["dtype"] as? String, let shape = entry["shape"] as? [Int],
          let offsets = entry["data_offsets"] as? [Int]
        else { continue }
        precondition(tensors[key] == nil, "\(key) is in two files")
        tensors[key] = Tensor(
          type: type, shape: shape,
          bytes: Array(bytes[8 + count + offsets[0]..<8 + count + offsets[1]]), file: name)
      }
    }
  }

  /// Reads GGUF files that make one model.
  public init(gguf files: [URL]) throws {
    for (place, url) in files.enumerated() {
      try readGGUF(
        [UInt8](try Data(contentsOf: url)), name: url.lastPathComponent, first: place == 0)
    }
  }

  private mutating func readGGUF(_ bytes: [UInt8], name: String, first: Bool) throws {
    var cursor = 24
    func word(_ count: Int) -> Int {
      defer { cursor += count }
      return Int(number(bytes, cursor, count))
    }
    func text() -> String {
      let count = word(8)
      defer { cursor += count }
      return String(decoding: bytes[cursor..<cursor + count], as: UTF8.self)
    }
    let widths = [0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8]
    func skip(_ type: Int) {
      switch type {
      case 8: cursor += word(8)
      case 9:
        let element = word(4)
        for _ in 0..<word(8) { skip(element) }
      default: cursor += widths[type] ?? 0
      }
    }
    let tensorCount = Int(number(bytes, 8, 8))
    for _ in 0..<Int(number(bytes, 16, 8)) {
      let key = text()
      let start = cursor
      skip(word(4))
      if first { keys[key] = Array(bytes[start..<cursor]) }
    }
    var entries: [(name: String, shape: [Int], type: Int, offset: Int)] = []
    for _ in 0..<tensorCount {
      let name = text()
      let shape = (0..<word(4)).map { _ in word(8) }
      entries.append((name, shape.reversed(), word(4), word(8)))
    }
    let data = (cursor + 31) / 32 * 32
    headers[name] = Array(bytes[..<data])
    for entry in entries {
      let elements = entry.shape.reduce(1, *)
      let sizes = [0: elements * 4, 1: elements * 2, 8: elements / 32 * 34, 30: elements * 2]
      let start = data + entry.offset
      tensors[entry.name] = Tensor(
        type: "\(entry.type)", shape: entry.shape,
        bytes: Array(bytes[start..<start + (sizes[entry.type] ?? 0)]), file: name)
    }
  }
}

private func number(_ bytes: [UInt8], _ place: Int, _ count: Int) -> UInt64 {
  (0..<count).reduce(0) { $0 | UInt64(bytes[place + $1]) << UInt64(8 * $1) }
}

/// Every file below `directory` with its bytes, by relative path.
public func fileTree(_ directory: URL) throws -> [String: Data] {
  var tree: [String: Data] = [:]
  let path = directory.path(percentEncoded: false)
  for name in try FileManager.default.subpathsOfDirectory(atPath: path) {
    let url = directory.appending(path: name)
    if let data = try? Data(contentsOf: url) {
      tree[name] = data
    } else {
      tree[name + "/"] = Data()
    }
  }
  return tree
}
