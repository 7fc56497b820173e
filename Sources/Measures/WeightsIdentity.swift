// SPDX-License-Identifier: Apache-2.0
//
// Which weights a checkpoint has, told without reading them all: what a capture and a run's state
// are bound to. tools/capture.py computes the same.
//
// 1. The tensors are taken in the order of their names' bytes. `layout` is the SHA-256 over a line
//    `{name} {dtype} {d0},{d1},..\n` for each, with the dtypes' names in the container.
// 2. Tensors whose names differ only in numbers are one group. Of a group of n > 512 those at
//    places i * n / 512 (rounded down) are sampled, of a smaller one all: every layer's attention
//    is, and of thousands of experts some.
// 3. `sample` is the SHA-256 over the samples of these tensors, in order. A tensor of B bytes has
//    c = min(8, 1 + B / 2^26) samples of at most 4096 bytes, from byte B / (2 c) * (2 i + 1) on.
//
// So shards and file names do not count, nor do times: a copy is the same.

package import ByteStorage
package import Checkpoints
import Crypto
import Foundation
import OrderedCollections
import Tensors

package struct WeightsIdentity: Sendable, Hashable, Codable {
  /// Names, dtypes and shapes, in hexadecimal.
  package let layout: String
  /// Samples of the values, in hexadecimal.
  package let sample: String

  private static let groupLimit = 512
  private static let sampleLimit = 8
  private static let sampleBytes = 4096
  private static let bytesPerSample = 1 << 26

  package init(layout: String, sample: String) {
    self.layout = layout
    self.sample = sample
  }

  /// Reads headers and samples.
  package init(_ checkpoint: any Checkpoint) throws(RegateError) {
    let tensors = checkpoint.tensors.values.sorted {
      $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    var layout = SHA256()
    for tensor in tensors {
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      layout.update(data: Data("\(tensor.name) \(tensor.type.rawValue) \(shape)\n".utf8))
    }
    self.layout = layout.finalize().hexadecimal
    var sample = SHA256()
    for tensor in Self.sampled(tensors) {
      for part in Self.samples(of: tensor.range.count) {
        let start = tensor.range.lowerBound
        try checkpoint.files[tensor.file]
          .sample(start + part.lowerBound..<start + part.upperBound)
          .withBytes { sample.update($0) }
      }
    }
    self.sample = sample.finalize().hexadecimal
  }

  /// The tensors that are looked into, in the order given.
  private static func sampled(_ tensors: [TensorInfo]) -> [TensorInfo] {
    var groups: [[UInt8]: [Int]] = [:]
    for (number, tensor) in tensors.enumerated() {
      groups[group(of: tensor.name), default: []].append(number)
    }
    let chosen = groups.values.flatMap { group in
      let count = min(group.count, groupLimit)
      return (0..<count).map { group[$0 * group.count / count] }
    }
    return chosen.sorted().map { tensors[$0] }
  }

  /// The name with one `#` for each run of digits.
  private static func group(of name: String) -> [UInt8] {
    var group: [UInt8] = []
    let mark = UInt8(ascii: "#")
    var isNumber = false
    for byte in name.utf8 {
      let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
      if !isDigit { group.append(byte) } else if !isNumber { group.append(mark) }
      isNumber = isDigit
    }
    return group
  }

  private static func samples(of byteCount: Int) -> [Range<Int>] {
    let count = min(sampleLimit, 1 + byteCount / bytesPerSample)
    return (0..<count).map { number in
      // In whole steps first, so that nothing can overflow.
      let start = byteCount / (2 * count) * (2 * number + 1)
      return start..<min(start + sampleBytes, byteCount)
    }
  }
}
