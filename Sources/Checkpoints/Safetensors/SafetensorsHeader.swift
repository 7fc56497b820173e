// SPDX-License-Identifier: Apache-2.0
//
// safetensors 0.8 (https://github.com/huggingface/safetensors, README, "Format"):
//
// 1. u64, little-endian: N, the byte count of the header; at most 100,000,000.
// 2. N bytes: the header, a JSON object in UTF-8. Its first byte is '{'; spaces may follow it.
//    {"__metadata__": {"<key>": "<text>", ..}, "<tensor>": {"dtype": "BF16", "shape": [..],
//    "data_offsets": [begin, end]}, ..}: the metadata is optional, the order of keys is free.
// 3. The rest: tensor data, row-major and little-endian. Offsets count from its first byte.
//    Sorted by offset, the tensors cover it exactly: no holes, overlaps or trailing bytes.
//
// The official writer puts `__metadata__` first, orders tensors by falling rank of dtype and then
// by name (bytes), and pads the header with spaces to a multiple of 8.

package import ByteStorage
package import OrderedCollections
package import Tensors

/// The header of a safetensors file: what tensors it holds, and where.
package struct SafetensorsHeader: Sendable, Hashable {
  /// One tensor.
  package struct Entry: Sendable, Hashable {
    package let name: String
    package let type: ElementType
    /// Slowest dimension first; empty for a scalar.
    package let shape: [Int]
    /// Byte range, counted from the start of the tensor data.
    package let range: Range<Int>
  }

  /// In which order tensors are laid out.
  package enum Order: Sendable {
    /// As the official writer sorts them.
    case official
    /// As they are given.
    case given
  }

  /// `MAX_HEADER_SIZE` of the official reader.
  package static let sizeLimit = 100_000_000
  static let metadataKey = "__metadata__"

  /// The tensors in the order of their data.
  package let entries: [Entry]
  /// `__metadata__` in its order; nil where the file has none.
  package let metadata: OrderedDictionary<String, String>?

  init(validated entries: [Entry], metadata: OrderedDictionary<String, String>?) {
    self.entries = entries
    self.metadata = metadata
  }

  /// A header for new tensors, laid out one after the other.
  package init(
    _ tensors: [(name: String, type: ElementType, shape: [Int])],
    metadata: OrderedDictionary<String, String>? = nil, order: Order = .official
  ) throws(RegateError) {
    var names: Set<String> = [SafetensorsHeader.metadataKey]
    var ranks: [Int] = []
    for tensor in tensors {
      guard names.insert(tensor.name).inserted else {
        throw RegateError(.refused, subject: tensor.name, "two tensors cannot have this name")
      }
      guard let rank = tensor.type.safetensorsRank else {
        throw RegateError(
          .unsupported, subject: tensor.name,
          "safetensors has no element type \(tensor.type.rawValue)")
      }
      ranks.append(rank)
    }
    var places = Array(tensors.indices)
    if order == .official {
      places.sort { (a, b) in
        ranks[a] != ranks[b]
          ? ranks[a] > ranks[b]
          : tensors[a].name.utf8.lexicographicallyPrecedes(tensors[b].name.utf8)
      }
    }
    var entries: [Entry] = []
    var offset = 0
    for place in places {
      let (name, type, shape) = tensors[place]
      let count = try type.byteCount(shape: shape, file: nil, subject: name)
      let (end, overflow) = offset.addingReportingOverflow(count)
      guard !overflow else {
        throw RegateError(.refused, subject: name, "the tensors are larger than a file can be")
      }
      entries.append(Entry(name: name, type: type, shape: shape, range: offset..<end))
      offset = end
    }
    self.init(validated: entries, metadata: metadata)
  }

  /// Bytes of tensor data.
  package var dataCount: Int { entries.last?.range.upperBound ?? 0 }

  /// The file's bytes up to the tensor data: length, JSON and padding, as the official writer
  /// writes them. Their count is where the data starts.
  package func serialised() throws(RegateError) -> [UInt8] {
    var text = Array("{".utf8)
    if let metadata {
      JSONValue.append(SafetensorsHeader.metadataKey, to: &text)
      text += ":".utf8
      text += JSONValue.object(metadata.mapValues { .string($0) }).serialised(.compact)
    }
    for entry in entries {
      if text.count > 1 { text += ",".utf8 }
      JSONValue.append(entry.name, to: &text)
      let shape = entry.shape.map(String.init).joined(separator: ",")
      let offsets = "\(entry.range.lowerBound),\(entry.range.upperBound)"
      text += #":{"dtype":"\#(entry.type.rawValue)","shape":[\#(shape)],"#.utf8
      text += #""data_offsets":[\#(offsets)]}"#.utf8
    }
    text += "}".utf8
    text += repeatElement(0x20, count: (8 - text.count % 8) % 8)
    guard text.count <= SafetensorsHeader.sizeLimit else {
      throw RegateError(
        .unsupported,
        "the header would have \(text.count) bytes, more than the \(SafetensorsHeader.sizeLimit) "
          + "that safetensors allows", advice: "use more shards")
    }
    return UInt64(text.count).littleEndianBytes + text
  }
}
