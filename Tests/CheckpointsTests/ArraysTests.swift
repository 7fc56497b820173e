// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

private func path(_ name: String) -> String {
  fixtures.appending(path: "arrays/\(name)").path(percentEncoded: false)
}

/// numpy's own .npy files by name.
private let npyFiles = Result {
  try JSONDecoder().decode(
    [String: Data].self, from: Data(contentsOf: URL(filePath: path("npy.json"))))
}

/// The bytes of a golden file.
private func contents(_ name: String) throws -> [UInt8] {
  if name.hasSuffix(".npy") { return [UInt8](try #require(try npyFiles.get()[name])) }
  return [UInt8](try Data(contentsOf: URL(filePath: path(name))))
}

private func golden(_ name: String) throws -> NumericArray {
  let directory = try TemporaryDirectory()
  let file = try directory.write(try contents(name), to: name)
  return try #require(try ArrayContainer.open(file).arrays.values.first)
}

/// Element k of every golden array, as tools/fixtures/containers.py makes it.
private func pattern(_ k: Int) -> Int { k * 37 % 251 - 125 }

private func floats(_ range: Range<Int>) -> [Float] { range.map { Float(pattern($0)) / 8 } }

@Test(arguments: ["f2", "f4", "f8"], ["le", "be"])
func `floats of every width and byte order are read by rows`(code: String, order: String) throws {
  let array = try golden("\(code)-\(order).npy")
  #expect(array.name == "\(code)-\(order)" && array.shape == [3, 5] && array.isFloatingPoint)
  for start in 0...3 {
    for end in start...3 {
      #expect(try array.floats(rows: start..<end) == floats(start * 5..<end * 5))
    }
  }
  let error = #expect(throws: RegateError.self) { try array.integers() }
  #expect(error?.description.contains("where integers are needed") == true)
}

@Test(arguments: ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"], ["le", "be"])
func `integers of every width and byte order are read`(code: String, order: String) throws {
  let array = try golden("\(code)-\(order).npy")
  let expected = (0..<15).map {
    switch code.first {
    case "u": pattern($0) + 125
    case "b": abs(pattern($0)) % 2
    default: pattern($0)
    }
  }
  #expect(try array.integers() == expected)
  #expect(throws: RegateError.self) { try array.floats(rows: 0..<1) }
}

@Test(arguments: [1, 2, 3])
func `column-major arrays of every version are read by rows`(version: Int) throws {
  let array = try golden("fortran-v\(version).npy")
  #expect(array.shape == [2, 3, 4])
  #expect(try array.floats(rows: 0..<2) == floats(0..<24))
  #expect(try array.floats(rows: 1..<2) == floats(12..<24))
  #expect(try array.floats(rows: 1..<1) == [])
}

@Test func `other shapes are read`() throws {
  #expect(try golden("bf16.npy").type == .bf16)
  #expect(try golden("bf16.npy").floats(rows: 1..<3) == floats(5..<15))
  let scalar = try golden("scalar.npy")
  #expect(scalar.shape == [] && scalar.rowCount == 1)
  #expect(try scalar.floats(rows: 0..<1) == floats(0..<1))
  #expect(try golden("vector.npy").integers() == (0..<7).map(pattern))
  #expect(try golden("no-rows.npy").shape == [0, 4])
  #expect(try golden("no-rows.npy").floats(rows: 0..<0) == [])
}

@Test(arguments: ["stored", "deflated", "zip64"])
func `archives of numpy are read`(name: String) throws {
  let container = try ArrayContainer.open(path("\(name).npz"))
  let names = ["layers.0.router_input", "layers.1.router_input", "token_ids", "fortran"]
  #expect(Array(container.arrays.keys) == names && container.metadata.isEmpty)
  for layer in 0...1 {
    let array = try container.array("layers.\(layer).router_input")
    #expect(array.shape == [40, 8] && array.type == (layer == 0 ? .f32 : .f16))
    #expect(try array.floats(rows: 11..<37) == floats(88..<296))
    array.discard(rows: 0..<40)
    #expect(try array.floats(rows: 0..<40) == floats(0..<320))
  }
  #expect(try container.array("token_ids").integers() == (0..<40).map(pattern))
  #expect(try container.array("fortran").floats(rows: 1..<2) == floats(3..<6))
  let error = #expect(throws: RegateError.self) { try container.array("layers.2.router_input") }
  #expect(error?.code == .missing)
}

@Test func `a folder of arrays is read`() throws {
  let directory = try TemporaryDirectory()
  for layer in [0, 10, 2] {
    try directory.write(
      npyBytes(npyDictionary("<f4", "(1, 1)"), data: littleEndian(Float(layer).bitPattern)),
      to: "layers.\(layer).router_input.npy")
  }
  try directory.write([1], to: "notes.txt")
  let container = try ArrayContainer.open(directory.path(""))
  #expect(Array(container.arrays.keys) == [0, 10, 2].map { "layers.\($0).router_input" })
  for layer in [0, 10, 2] {
    #expect(
      try container.array("layers.\(layer).router_input").floats(rows: 0..<1) == [Float(layer)])
  }
}

@Test func `a capture in safetensors is read with its metadata`() throws {
  let directory = try TemporaryDirectory()
  let file = directory.path("capture.safetensors")
  let values = (0..<12).map { Float(pattern($0)) / 8 }
  try SafetensorsWriter.write(
    [
      .init(
        name: "f64", type: .f64, shape: [12],
        bytes: values.flatMap { littleEndian(Double($0).bitPattern) }),
      .init(
        name: "f32", type: .f32, shape: [3, 4],
        bytes: values.flatMap { littleEndian($0.bitPattern) }),
      .init(
        name: "bf16", type: .bf16, shape: [3, 4],
        bytes: values.flatMap { littleEndian(UInt16($0.bitPattern >> 16)) }),
      .init(name: "ids", type: .u32, shape: [2], bytes: littleEndian(UInt64(7) << 32 | 5)),
    ], metadata: ["format": "regate.capture.v1"], to: .file(file))
  let container = try ArrayContainer.open(file)
  #expect(container.metadata == ["format": "regate.capture.v1"])
  #expect(try container.array("f64").floats(rows: 2..<12) == Array(values[2...]))
  for name in ["f32", "bf16"] {
    #expect(try container.array(name).floats(rows: 1..<3) == Array(values[4...]), "\(name)")
  }
  #expect(try container.array("ids").integers() == [5, 7])
}

@Test func `gzip files of several members are read`() throws {
  let text = (0..<200).map { "line \($0) of the calibration text\n" }.joined()
  #expect(try Gzip.contents(of: path("text.txt.gz")) == Array(text.utf8))
  let directory = try TemporaryDirectory()
  let padded = try directory.write(gzipBytes([1, 2]) + [0, 0, 0], to: "padded.gz")
  #expect(try Gzip.contents(of: padded) == [1, 2])
  let empty = try directory.write(gzipBytes([]), to: "empty.gz")
  #expect(try Gzip.contents(of: empty) == [])
}

@Test func `gzip files are inflated in pieces`() throws {
  let scratch = try TemporaryDirectory()
  let members = (0..<10).flatMap { _ in gzipBytes([UInt8](repeating: 7, count: 60000)) }
  var gzip = try Gzip(MappedFile(path: try scratch.write(members, to: "a.gz")))
  var sizes: [Int] = []
  while let piece = try gzip.next() { sizes.append(piece.count) }
  #expect(sizes.count >= 10 && sizes.allSatisfy { $0 > 0 && $0 <= 1 << 18 })
  #expect(sizes.reduce(0, +) == 600_000)
}

extension Gzip {
  /// All of a file.
  static func contents(of path: String) throws(RegateError) -> [UInt8] {
    var gzip = try Gzip(MappedFile(path: path))
    var bytes: [UInt8] = []
    while let piece = try gzip.next() { bytes += piece }
    return bytes
  }
}

@Test func `dictionaries as other writers format them are read`() throws {
  let directory = try TemporaryDirectory()
  let texts = [
    #"{"shape":(2,),"descr":"<i2","fortran_order":False}"#,
    "{'descr' : '<i2',\t'fortran_order': True, 'shape': (2L,),}    \n",
    "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 2)}\n",
  ]
  for text in texts {
    let file = try directory.write(npyBytes(text, data: [1, 0, 254, 255]), to: "x.npy")
    #expect(try #require(try ArrayContainer.open(file).arrays["x"]).integers() == [1, -2])
  }
}

@Test(arguments: ["stored.npz", "deflated.npz", "zip64.npz", "fortran-v3.npy", "text.txt.gz"])
func `damaged array files are read or refused, never worse`(name: String) throws {
  let bytes = try contents(name)
  let directory = try TemporaryDirectory()
  var random = SeededGenerator(seed: 23)
  var refused = 0
  for _ in 0..<300 {
    var damaged = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      damaged[Int.random(in: damaged.indices, using: &random)] ^=
        1
        << UInt8.random(
          in: 0...7, using: &random)
    }
    if Bool.random(using: &random) {
      damaged.removeLast(Int.random(in: 0...bytes.count / 2, using: &random))
    }
    let file = try directory.write(damaged, to: name)
    do throws(RegateError) {
      if name.hasSuffix(".gz") {
        _ = try Gzip.contents(of: file)
      } else {
        for array in try ArrayContainer.open(file).arrays.values {
          _ =
            try array.isFloatingPoint
            ? array.floats(rows: 0..<array.rowCount).count : array.integers().count
        }
      }
    } catch {
      refused += 1
      #expect(error.file == file)
    }
  }
  #expect(refused > 100)
}
