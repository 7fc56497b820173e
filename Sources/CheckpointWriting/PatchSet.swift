// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints

/// Where bytes of an output file come from.
package enum Segment: Sendable {
  /// Bytes made by Regate: headers, routers, padding.
  case bytes([UInt8])
  /// A range of a file of the original checkpoint.
  case range(MappedFile, Range<Int>)

  package var count: Int {
    switch self {
    case .bytes(let bytes): bytes.count
    case .range(_, let range): range.count
    }
  }
}

/// Byte ranges of the original files that get other contents, of the same length, in the output.
package struct PatchSet: Sendable {
  /// One range and its new contents.
  package struct Patch: Sendable {
    package let range: Range<Int>
    package let source: Segment
  }

  /// Per file of the checkpoint, sorted by position and free of overlaps.
  private var patches: [[Patch]]
  /// Bytes that differ from the original's, at most.
  package private(set) var byteCount = 0

  package init(files: Int) {
    patches = Array(repeating: [], count: files)
  }

  /// Replaces `part` of `tensor` (relative to its first byte) by `source`.
  package mutating func replace(_ tensor: TensorInfo, part: Range<Int>? = nil, by source: Segment) {
    let part = part ?? 0..<tensor.range.count
    precondition(part.upperBound <= tensor.range.count && source.count == part.count)
    let start = tensor.range.lowerBound
    replace(start + part.lowerBound..<start + part.upperBound, ofFile: tensor.file, by: source)
  }

  /// Replaces `range` of file number `file` by `source`.
  package mutating func replace(_ range: Range<Int>, ofFile file: Int, by source: Segment) {
    precondition(source.count == range.count)
    var list = patches[file]
    let place = list.firstIndex { $0.range.lowerBound >= range.upperBound } ?? list.count
    precondition(
      place == 0 || list[place - 1].range.upperBound <= range.lowerBound, "patches overlap")
    list.insert(Patch(range: range, source: source), at: place)
    patches[file] = list
    byteCount += range.count
  }

  /// The patches of a file, by position.
  package subscript(file: Int) -> [Patch] { patches[file] }

  /// The contents of `range` of a file, patches applied.
  package func segments(of file: MappedFile, index: Int, range: Range<Int>) -> [Segment] {
    var result: [Segment] = []
    var position = range.lowerBound
    for patch in patches[index] where patch.range.overlaps(range) {
      precondition(
        range.lowerBound <= patch.range.lowerBound && patch.range.upperBound <= range.upperBound,
        "a patch crosses the border of the copied range")
      if position < patch.range.lowerBound {
        result.append(.range(file, position..<patch.range.lowerBound))
      }
      result.append(patch.source)
      position = patch.range.upperBound
    }
    if position < range.upperBound { result.append(.range(file, position..<range.upperBound)) }
    return result
  }
}
