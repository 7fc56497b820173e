// SPDX-License-Identifier: Apache-2.0
//
// Outputs that are kept as a delta: the same bytes come out, and nothing comes out of a wrong one.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

extension Workbench {
  /// Writes the delta of a conversion with known stock routers, or prototype ones.
  func delta(_ form: RouterForm) throws -> String {
    let path = directory.path("my.delta")
    _ = try convertKnown(to: nil, form: form) { $0.output = .checkpoint(.delta(to: path)) }
    return path
  }

  func apply(_ delta: String, to name: String, from source: String? = nil) throws {
    _ = try DeltaApplication.run(
      .init(delta: delta, checkpoint: source ?? self.source, output: output(name), threads: 2))
  }
}

/// Those that become a directory or GGUF files.
private let samples = (Sample.safetensors + Sample.gguf).filter { !$0.isFile }

@Test func `the delta of a single file makes a single file`() throws {
  let bench = try Workbench(Sample(.qwen3, .file(.init(.single))), tokens: 192)
  let delta = try bench.delta(.stock)
  _ = try bench.convertKnown(to: nil) {
    $0.output = .checkpoint(.copy(to: bench.directory.path("out.safetensors")))
  }
  _ = try DeltaApplication.run(
    .init(
      delta: delta, checkpoint: bench.source, output: bench.directory.path("made.safetensors"),
      threads: 2))
  #expect(
    try Data(contentsOf: bench.directory.url.appending(path: "made.safetensors"))
      == Data(contentsOf: bench.directory.url.appending(path: "out.safetensors")))
  #expect(FileManager.default.fileExists(atPath: bench.directory.path("made.regate.json")))
  #expect(throws: RegateError.self) { try bench.apply(delta, to: "folder") }
}

@Test(arguments: samples)
func `a delta makes what the conversion would have written`(_ sample: Sample) throws {
  for form in sample.forms {
    let bench = try Workbench(sample, tokens: 192)
    let source = try fileTree(bench.sourceFolder)
    let delta = try bench.delta(form)
    _ = try bench.convertKnown(to: "out", form: form)
    try bench.apply(delta, to: "applied")
    #expect(try fileTree(bench.sourceFolder) == source)
    var made = try fileTree(bench.folder("applied"))
    var out = try fileTree(bench.folder("out"))
    if bench.isGGUF {
      // The manifest lists the files by the names that each output has.
      made["out.regate.json"] = nil
      out["out.regate.json"] = nil
    }
    #expect(made == out)
    // Clones are named, not stored.
    let size = try Data(contentsOf: URL(filePath: delta)).count
    let whole = out.values.reduce(0) { $0 + $1.count }
    #expect(size < whole / 2, "\(size) of \(whole)")
  }
}

extension Sample {
  /// The forms that a conversion of this sample can have.
  var forms: [RouterForm] {
    isFile || isGGUF ? [.stock] : [.stock, .lpr]
  }
}

@Test(arguments: [Sample.mixtralByLayer, Sample.qwen3Fused, Sample.ggufMixtralSplit])
func `a delta refuses every other base`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let delta = try bench.delta(.stock)
  let names = try fileTree(bench.sourceFolder).keys.filter {
    $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf")
  }
  for name in names {
    let url = bench.sourceFolder.appending(path: name)
    let bytes = try Data(contentsOf: url)
    var changed = bytes
    changed[changed.count - 1] ^= 1
    try changed.write(to: url)
    let error = #expect(throws: RegateError.self) { try bench.apply(delta, to: "applied") }
    #expect(error?.problem.contains("SHA-256") == true)
    #expect(error?.file?.hasSuffix(name) == true)
    try bytes.write(to: url)
  }
  let other = try Workbench(Sample(.mixtral, sample.storage), seed: 9, tokens: 192)
  #expect(throws: RegateError.self) {
    try bench.apply(delta, to: "applied", from: other.source)
  }
  #expect(!FileManager.default.fileExists(atPath: bench.output("applied")) || !bench.isGGUF)
  try bench.apply(delta, to: "applied")
  let error = #expect(throws: RegateError.self) { try bench.apply(delta, to: "applied") }
  #expect(error?.problem.contains("exists already") == true)
}

@Test func `a damaged delta is an error or makes the same files`() throws {
  let bench = try Workbench(Sample.mixtral, tokens: 192)
  let path = try bench.delta(.stock)
  try bench.apply(path, to: "good")
  let good = try fileTree(bench.folder("good"))
  let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
  var random = SeededGenerator(seed: 11)
  var damaged: [[UInt8]] = [[], Array(bytes[..<4]), Array(bytes[..<40]), Array(bytes.dropLast())]
  for _ in 0..<120 {
    var copy = bytes
    copy[Int.random(in: 0..<copy.count, using: &random)] ^= UInt8.random(
      in: 1...255, using: &random)
    damaged.append(copy)
  }
  var refused = 0
  for (number, copy) in damaged.enumerated() {
    let file = try bench.directory.write(copy, to: "bad.delta")
    do {
      try bench.apply(file, to: "made")
      #expect(try fileTree(bench.folder("made")) == good, "\(number)")
      try FileManager.default.removeItem(at: bench.folder("made"))
    } catch is RegateError {
      refused += 1
      #expect(!FileManager.default.fileExists(atPath: bench.output("made")), "\(number)")
    }
  }
  #expect(refused == damaged.count, "header and data are both covered by hashes")
}

/// Puts `new` for `old` in the header of the delta at `path`, and makes its hash right.
func forge(_ path: String, _ old: String, _ new: String) throws {
  var bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
  let count = bytes[8..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
  let stated = String(decoding: bytes[48..<48 + count], as: UTF8.self)
  let header = stated.replacingOccurrences(of: old, with: new)
  #expect(header != stated)
  let digits = Array(naiveSHA256(Array(header.utf8)))
  let hash = stride(from: 0, to: 64, by: 2).map { place in
    UInt8(String(digits[place...place + 1]), radix: 16) ?? 0
  }
  bytes.replaceSubrange(
    8..<48 + count, with: littleEndian(UInt64(header.utf8.count)) + hash + header.utf8)
  try Data(bytes).write(to: URL(filePath: path))
}

/// Headers that lie, each with a word of the refusal.
@Test(arguments: [
  (#""format":"regate.delta.v1""#, #""format":"regate.delta.v9""#, "expected regate.delta.v1"),
  (#""name":"config.json""#, #""name":"../nfig.json""#, "not a plain path"),
  (#""name":"config.json""#, #""name":"/onfig.json""#, "not a plain path"),
  (#""part":0"#, #""part":-1"#, "must be a whole number"),
])
func `a delta that lies is refused by name`(_ old: String, _ new: String, _ word: String) throws {
  let bench = try Workbench(Sample.mixtral, tokens: 192)
  let path = try bench.delta(.stock)
  try forge(path, old, new)
  let error = #expect(throws: RegateError.self) { try bench.apply(path, to: "made") }
  #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
}
