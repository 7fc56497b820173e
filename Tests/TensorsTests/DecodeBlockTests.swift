// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import CKernels
import Foundation
import Tensors
import TestSupport
import Testing

/// One file of fixtures/blocks; the layout is in tools/fixtures/quant_blocks.py.
struct GoldenBlocks {
  let elementsPerBlock: Int
  let bytesPerBlock: Int
  let blocks: [UInt8]
  let values: [Float]

  init(_ type: ElementType) throws {
    let url = fixtures.appending(path: "blocks/\(type.rawValue).bin")
    let data = [UInt8](try Data(contentsOf: url))
    func word(_ at: Int) -> Int { Int(NaiveBlock(bytes: Array(data[at..<at + 4])).u32(0)) }
    try #require(data.count > 20 && data[..<8].elementsEqual("RGBLOCK1".utf8))
    elementsPerBlock = word(8)
    bytesPerBlock = word(12)
    let count = word(16)
    let start = 20 + count * bytesPerBlock
    try #require(data.count == start + 4 * count * elementsPerBlock)
    blocks = Array(data[20..<start])
    values = stride(from: start, to: data.count, by: 4).map {
      Float(bitPattern: UInt32(word($0)))
    }
  }
}

let blockTypes = ElementType.allCases.filter(\.isQuantised)
let gridTypes: [ElementType] = [
  .iq2_XXS, .iq2_XS, .iq2_S, .iq3_XXS, .iq3_S, .iq1_S, .iq1_M,
]
let paths = [rg_path_baseline, rg_path_avx2].filter { rg_path_available($0) != 0 }

@Suite("Decoding blocks") struct DecodeBlockTests {
  @Test(
    arguments: blockTypes + [.f8e4m3, .f8e5m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz])
  func `golden blocks decode to the bits of gguf-py and torch`(type: ElementType) throws {
    let golden = try GoldenBlocks(type)
    #expect(golden.elementsPerBlock == type.blockElements)
    #expect(golden.bytesPerBlock * 8 == type.blockBits)
    let decoded = try decode(golden.blocks, type, count: golden.values.count, offset: 1)
    let difference = firstDifference(decoded, golden.values)
    #expect(difference == nil, "regenerate with tools/fixtures/quant_blocks.py")
    #expect(Set(golden.values.filter(\.isFinite).map(\.bitPattern)).count > 8)
  }

  @Test(arguments: blockTypes.filter { !gridTypes.contains($0) })
  func `random blocks decode as their formula says`(type: ElementType) throws {
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<24 {
      let bytes = (0..<type.blockBits / 8).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let naive = try (0..<type.blockElements).map {
        try #require(NaiveBlock(bytes: bytes).element($0, of: type))
      }
      let decoded = try decode(bytes, type, count: type.blockElements)
      #expect(firstDifference(decoded, naive) == nil, "bytes \(bytes)")
    }
  }

  /// Enough blocks to visit every grid point.
  @Test(arguments: blockTypes)
  func `a thousand random blocks have the digest of gguf-py's values`(type: ElementType) throws {
    let list = try String(
      contentsOf: fixtures.appending(path: "blocks/digests.txt"), encoding: .utf8)
    let line = try #require(
      list.split(separator: "\n").first { $0.hasPrefix(type.rawValue + " ") }, "\(type)")
    var generator = SeededGenerator(seed: 42)
    let words = (0..<1000 * type.blockBits / 64).map { _ in generator.next() }
    let decoded = try decode(littleEndian(words), type, count: 1000 * type.blockElements)
    let digest = decoded.enumerated().reduce(into: UInt64(0)) { sum, element in
      let bits = element.element.isNaN ? 0x7FC0_0000 : element.element.bitPattern
      // One step of SplitMix64 as the mixing function.
      var mixer = SeededGenerator(seed: UInt64(element.offset) << 32 | UInt64(bits))
      sum &+= mixer.next()
    }
    #expect(line == "\(type.rawValue) \(digest)", "regenerate with tools/fixtures/quant_blocks.py")
  }

  @Test func `bytes that do not match the count stop the program before they are read`() async {
    await #expect(processExitsWith: .failure) {
      try [UInt8](repeating: 0, count: 33).withBytes {
        _ = try TensorDecoder.decode($0, type: .q8_0, count: 32)
      }
    }
  }

  @Test(arguments: paths)
  func `every path gives the same bits at every length and misalignment`(path: rg_path) {
    var generator = SeededGenerator(seed: 11)
    let source = (0..<16 * 1024).map { _ in UInt8.random(in: 0...255, using: &generator) }
    for index in 0..<rg_type_count.rawValue {
      let type = rg_type(rawValue: index)
      let elements = rg_block_elements(type)
      for blocks in elements == 1 ? Array(0...100) : [0, 1, 2, 3, 5, 8] {
        let offset = blocks % 9
        let reference = run(type, rg_path_baseline, source, offset: 0, from: offset, blocks)
        let result = run(type, path, source, offset: offset, from: offset, blocks)
        #expect(firstDifference(result, reference) == nil, "type \(index), \(blocks) blocks")
      }
    }
  }

  /// Decodes `blocks` blocks that begin at `start` of `source`, copied to `offset` past an aligned
  /// address; checks that nothing is written past the result.
  private func run(
    _ type: rg_type, _ path: rg_path, _ source: [UInt8], offset: Int, from start: Int, _ blocks: Int
  ) -> [Float] {
    let count = blocks * rg_block_elements(type)
    let bytes = blocks * rg_block_bytes(type)
    let copy = [UInt8](repeating: 0, count: offset) + source[start..<start + bytes]
    let mark: Float = 0x1.234p-77
    var result = [Float](repeating: mark, count: count + 16)
    unsafe copy.withUnsafeBytes { buffer in
      unsafe result.withUnsafeMutableBufferPointer {
        guard let source = buffer.baseAddress, let target = $0.baseAddress else { return }
        unsafe rg_decode(type, path, source + offset, target, blocks)
      }
    }
    #expect(result[count...].allSatisfy { $0 == mark })
    return Array(result[..<count])
  }
}
