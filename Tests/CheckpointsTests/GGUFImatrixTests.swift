// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Tensors
import TestSupport
import Testing

@Suite struct GGUFImatrixTests {
  /// Files are built from tensors with values: sums are all ones, counts as given.
  static func imatrix(
    _ counts: KeyValuePairs<String, [Float]>, type: String = "imatrix", sums: Int = 2,
    changing change: (inout GGUFHeader) -> Void = { _ in }, in directory: TemporaryDirectory
  ) throws -> String {
    var header = GGUFHeader(metadata: ["general.type": .string(type)])
    var data: [[UInt8]] = []
    for (weight, values) in counts {
      header.tensors += [
        GGUFTensorEntry(name: weight + ".in_sum2", type: .f32, shape: [values.count, sums]),
        GGUFTensorEntry(name: weight + ".counts", type: .f32, shape: [values.count, 1]),
      ]
      let ones = [Float](repeating: 1, count: values.count * sums)
      data += [ones, values].map { $0.flatMap { GGUFDraft.number($0.bitPattern) } }
    }
    change(&header)
    return try directory.write(
      GGUFHeaderTests.file(try header.encoded(), data), to: "test.imatrix.gguf")
  }

  static func error(
    _ counts: KeyValuePairs<String, [Float]>, type: String = "imatrix", sums: Int = 2,
    changing change: (inout GGUFHeader) -> Void = { _ in }
  ) throws -> String {
    let directory = try TemporaryDirectory()
    let path = try imatrix(counts, type: type, sums: sums, changing: change, in: directory)
    let error = #expect(throws: RegateError.self) { try ImatrixFile(path: path) }
    return error?.description ?? ""
  }

  @Test func `expert counts, tokens and chunks are read`() throws {
    let imatrix = try ImatrixFile(path: GGUFFileTests.sample("tiny.imatrix.gguf"))
    #expect(imatrix.layers.map(\.index) == [1, 2])
    #expect(imatrix.layers.map(\.counts) == [[80, 60, 60, 0], [50, 50, 51, 49]])
    #expect(imatrix.layers.map(\.routerRows) == [100, 100])
    #expect(imatrix.layers.map(\.isExact) == [true, true])
    #expect(try imatrix.tokens(topK: 2) == 100)
    #expect(imatrix.chunkCount == 2)
    #expect(imatrix.chunkSize == 50)
    #expect(imatrix.datasets == ["calibration.txt"])
    #expect(try imatrix.layer(2).counts[2] == 51)
    #expect(throws: RegateError.self) { try imatrix.layer(0) }
  }

  @Test func `a merged file without chunk keys is read, layers in number order`() throws {
    let directory = try TemporaryDirectory()
    let path = try Self.imatrix(
      ["blk.10.ffn_gate_up_exps.weight": [3, 5], "blk.9.ffn_down_exps.weight": [4, 4]],
      in: directory)
    let imatrix = try ImatrixFile(path: path)
    #expect(imatrix.layers.map(\.index) == [9, 10])
    #expect(imatrix.chunkCount == nil && imatrix.chunkSize == nil && imatrix.datasets.isEmpty)
    #expect(imatrix.layers[0].routerRows == nil)
    #expect(try imatrix.tokens(topK: 1) == 8)
    let error = #expect(throws: RegateError.self) { try imatrix.tokens(topK: 3) }
    #expect(error?.description.contains("not a multiple of 3 experts per token") == true)
  }

  @Test func `counts beyond F32's exact integers are rounded and say so`() throws {
    let directory = try TemporaryDirectory()
    let large = Float(1 << 25)
    let path = try Self.imatrix(
      [
        "blk.0.ffn_up_exps.weight": [large + 4, large], "blk.1.ffn_up_exps.weight": [large, large],
      ], in: directory)
    let imatrix = try ImatrixFile(path: path)
    #expect(!imatrix.layers[0].isExact)
    #expect(try imatrix.tokens(topK: 2) == 1 << 25 + 2)
  }

  @Test func `layers that saw different tokens are refused when tokens are asked for`() throws {
    let directory = try TemporaryDirectory()
    let path = try Self.imatrix(
      ["blk.0.ffn_up_exps.weight": [3, 5], "blk.1.ffn_up_exps.weight": [3, 3]], in: directory)
    let imatrix = try ImatrixFile(path: path)
    let error = #expect(throws: RegateError.self) { try imatrix.tokens(topK: 2) }
    #expect(error?.description.contains("6 expert assignments, but blk.0 has 8") == true)
  }

  @Test func `weights of one layer must agree`() throws {
    let values = try Self.error([
      "blk.3.ffn_gate_exps.weight": [1, 2, 3], "blk.3.ffn_down_exps.weight": [1, 2, 4],
    ])
    #expect(values.contains("blk.3.ffn_down_exps.weight.counts: counts 4 for expert 2, but"))
    let sizes = try Self.error([
      "blk.3.ffn_gate_exps.weight": [1, 2, 3], "blk.3.ffn_up_exps.weight": [1, 2],
    ])
    #expect(sizes.contains("has 2 experts, but blk.3.ffn_gate_exps.weight.counts has 3"))
  }

  @Test func `files that cannot be a load measurement are refused`() throws {
    let expert = "blk.0.ffn_up_exps.weight"
    #expect(try Self.error([expert: [1, 2]], type: "model").contains("is model, expected imatrix"))
    #expect(try Self.error(["blk.0.ffn_up.weight": [7]]).contains("no counts of routed experts"))
    #expect(try Self.error([expert: [7]]).contains("one count for all experts"))
    #expect(try Self.error([expert: [1, -1]]).contains("count 1 is -1.0"))
    #expect(try Self.error([expert: [1, .nan]]).contains("count 1 is nan"))
    #expect(try Self.error([expert: [.infinity, 1]]).contains("count 0 is inf"))
    let renamed = try Self.error([expert: [1, 2]]) { $0.tensors[0].name = "other" }
    #expect(renamed.contains("there is no blk.0.ffn_up_exps.weight.in_sum2 beside it"))
    let retyped = try Self.error([expert: [1, 2]]) { $0.tensors[1].type = .i32 }
    #expect(retyped.contains("has type I32, must be F32"))
    let reshaped = try Self.error([expert: [1, 2]], sums: 4) { $0.tensors[0].shape = [7] }
    #expect(reshaped.contains("2 counts do not divide the 7 sums"))
  }

  @Test func `the older form is named, with the command to run`() throws {
    let directory = try TemporaryDirectory()
    let name = Array("blk.0.ffn_up_exps.weight".utf8)
    let bytes = [
      GGUFDraft.number(Int32(1)), GGUFDraft.number(Int32(name.count)), name,
      GGUFDraft.number(Int32(2)), GGUFDraft.number(Int32(1)), GGUFDraft.number(Float(1).bitPattern),
    ].flatMap { $0 }
    let path = try directory.write(bytes, to: "old.dat")
    let error = #expect(throws: RegateError.self) { try ImatrixFile(path: path) }
    let text = error?.description ?? ""
    #expect(error?.code == .unsupported)
    #expect(text.contains("older .dat form") && text.contains("cannot be recovered"))
    #expect(text.contains("llama-imatrix") && text.contains("--output-format gguf"))
  }

  @Test func `bytes that are neither form are called malformed`() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write([1, 0, 0, 0, 255, 255, 0, 0, 0], to: "noise.dat")
    let error = #expect(throws: RegateError.self) { try ImatrixFile(path: path) }
    #expect(error?.code == .malformed)
  }
}
