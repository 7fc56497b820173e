// SPDX-License-Identifier: Apache-2.0

import ByteStorage
package import Tensors

/// Limits that ggml 0.25 builds in; a file beyond them loads nowhere.
enum GGUFLimit {
  /// GGUF_MAX_STRING_LENGTH in ggml/src/gguf.cpp.
  static let stringBytes = 1 << 30
  /// GGUF_MAX_ARRAY_ELEMENTS in ggml/src/gguf.cpp.
  static let arrayElements = 1 << 30
  /// docs/gguf.md: keys have at most 2^16 - 1 bytes.
  static let keyBytes = 65_535
  /// GGML_MAX_NAME in ggml/include/ggml.h is 64, of which one byte ends the string.
  static let nameBytes = 63
  /// GGML_MAX_DIMS in ggml/include/ggml.h.
  static let dimensions = 4
  /// Ours: six times the largest known header, that of a vocabulary of 262,144 words; bounds the
  /// memory that a false count takes in a file of many gigabytes.
  static let headerBytes = 1 << 27
  /// Ours: no known file nests arrays more than once; the cap bounds the recursion.
  static let arrayDepth = 8
  /// Ours: far above any page size; bounds the padding.
  static let alignment = 1 << 20
  /// GGUF_DEFAULT_ALIGNMENT in ggml/include/gguf.h.
  static let defaultAlignment = 32
}

/// What a GGUF header says about one tensor, apart from where its data lie: those follow from
/// the order of the entries.
package struct GGUFTensorEntry: Sendable, Hashable {
  package var name: String
  package var type: ElementType
  /// Row-major, slowest dimension first; stored reversed.
  package var shape: [Int]

  package init(name: String, type: ElementType, shape: [Int]) {
    self.name = name
    self.type = type
    self.shape = shape
  }

  /// Size of the tensor's data, after checking name, shape and type against ggml's rules.
  func byteCount(in file: String?) throws(RegateError) -> Int {
    guard !name.isEmpty, !name.utf8.contains(0) else {
      throw RegateError(
        .malformed, file: file, subject: name, "a tensor name is empty or contains a zero byte")
    }
    guard name.utf8.count <= GGUFLimit.nameBytes else {
      throw RegateError(
        .malformed, file: file, subject: name,
        "the tensor name has \(name.utf8.count) bytes; ggml reads at most \(GGUFLimit.nameBytes)")
    }
    guard shape.count <= GGUFLimit.dimensions, shape.allSatisfy({ $0 >= 0 }) else {
      throw RegateError(
        .malformed, file: file, subject: name,
        "the shape \(shape) needs 0 to \(GGUFLimit.dimensions) dimensions, none of them negative")
    }
    guard type.ggmlID != nil else {
      throw RegateError(
        .unsupported, file: file, subject: name, "GGUF cannot hold \(type.rawValue) tensors")
    }
    let row = shape.last ?? 1
    guard row % type.blockElements == 0 else {
      throw RegateError(
        .malformed, file: file, subject: name,
        "rows of \(row) elements do not fill whole \(type.rawValue) blocks of"
          + " \(type.blockElements)")
    }
    // Zeros count as ones here, so that a product in any order stays in range.
    var count = 1
    for dimension in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: max(dimension, 1))
      guard !overflow else { throw tooLarge(in: file) }
      count = product
    }
    guard let bytes = type.byteCount(of: shape.contains(0) ? 0 : count) else {
      throw tooLarge(in: file)
    }
    return bytes
  }

  private func tooLarge(in file: String?) -> RegateError {
    RegateError(
      .malformed, file: file, subject: name,
      "\(type.rawValue) \(shape) has more bytes than a file can have")
  }
}

/// Where tensors lie in the data section: in listing order, each start rounded up to the
/// alignment, nothing between them. llama.cpp accepts no other placement.
struct GGUFPlacement {
  private(set) var ranges: [Range<Int>] = []
  /// End of the last tensor, rounded up.
  private(set) var end = 0
  let alignment: Int

  init(alignment: Int) { self.alignment = alignment }

  /// Places the next tensor and returns its range, relative to the data section.
  mutating func place(
    _ entry: GGUFTensorEntry, in file: String?
  ) throws(RegateError) -> Range<Int> {
    let (last, overflow) = end.addingReportingOverflow(try entry.byteCount(in: file))
    guard !overflow, let padded = GGUFPlacement.roundedUp(last, to: alignment) else {
      throw RegateError(
        .malformed, file: file, subject: entry.name,
        "the tensor ends beyond any possible file size")
    }
    let range = end..<last
    ranges.append(range)
    end = padded
    return range
  }

  /// `count` rounded up to a multiple of `alignment`, or nil on overflow.
  static func roundedUp(_ count: Int, to alignment: Int) -> Int? {
    let (sum, overflow) = count.addingReportingOverflow(alignment - 1)
    return overflow ? nil : sum / alignment * alignment
  }
}
