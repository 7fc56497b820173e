// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections
import TestSupport
import Testing

@Suite struct GGUFValueTests {
  @Test func `integers are read whatever their width`() {
    let sevens: [GGUFValue] = [
      .uint8(7), .int8(7), .uint16(7), .int16(7), .uint32(7), .int32(7), .uint64(7), .int64(7),
    ]
    for value in sevens { #expect(value.integer == 7) }
    #expect(GGUFValue.uint64(.max).integer == nil)
    #expect(GGUFValue.int64(.min).integer == .min)
    for value in [GGUFValue.bool(true), .float32(7), .float64(7), .string("7")] {
      #expect(value.integer == nil)
    }
  }

  @Test func `accessors give a value of their own type only`() {
    #expect(GGUFValue.float32(0.5).float == 0.5)
    #expect(GGUFValue.float64(0.1).float == 0.1)
    #expect(GGUFValue.uint32(1).float == nil)
    #expect(GGUFValue.bool(false).bool == false)
    #expect(GGUFValue.uint8(0).bool == nil)
    #expect(GGUFValue.string("a").string == "a")
    #expect(GGUFValue.rawString([0x61, 0xFF]).string == "a\u{FFFD}")
    #expect(GGUFValue.array(.int16([-3, 4])).integers == [-3, 4])
    #expect(GGUFValue.array(.uint64([1, .max])).integers == nil)
    #expect(GGUFValue.array(.float32([1])).integers == nil)
    #expect(GGUFValue.array(.float32([1, 0.25])).floats == [1, 0.25])
    #expect(GGUFValue.array(.bool([true, false])).bools == [true, false])
    #expect(GGUFValue.uint32(3).array == nil)
  }

  @Test func `string arrays give back their strings and bytes`() {
    let texts = ["", "a", "", "\u{120}Welt", "\u{1f9ed}"]
    let strings = GGUFStrings(texts)
    #expect(Array(strings) == texts)
    #expect(strings.count == 5)
    for (index, text) in texts.enumerated() {
      #expect(strings[index] == text)
      #expect(Array(strings.bytes(at: index)) == Array(text.utf8))
    }
    #expect(GGUFStrings([]).isEmpty)
    #expect(GGUFValue.array(.string(strings)).strings == strings)
  }

  @Test func `a vocabulary of 150,000 tokens is read in full`() throws {
    let directory = try TemporaryDirectory()
    let tokens = (0..<150_000).map { "token \($0 &* 2_654_435_761 % 1_000_003)" }
    let header = GGUFHeader(metadata: ["tokenizer.ggml.tokens": .array(.string(GGUFStrings(tokens)))])
    let path = try directory.write(try header.encoded().bytes, to: "vocabulary.gguf")
    let clock = ContinuousClock()
    var strings: GGUFStrings?
    let time = try clock.measure {
      strings = try GGUFFile(path: path).metadata["tokenizer.ggml.tokens"]?.strings
    }
    #expect(strings.map { Array($0) } == tokens)
    // Measured 8 ms; the bound only catches quadratic behaviour.
    #expect(time < .seconds(5))
  }
}
