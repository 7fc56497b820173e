// SPDX-License-Identifier: Apache-2.0
//
// Outputs that must not be written, and what stays when writing fails.

import Foundation
import TestSupport
import Testing

extension Bench {
  /// Converts to `output` and expects a refusal that changes nothing anywhere.
  fileprivate func requireRefused(
    _ output: String, says fragment: String, _ more: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let before = try fileTree(folder)
    let outcome = try Tool.run(
      ["convert", source, "--calibration", capture, "--output", output, "-q"] + more)
    requireRefusal(
      outcome, naming: nil, says: fragment, output, sourceLocation: sourceLocation)
    #expect(try fileTree(folder) == before, sourceLocation: sourceLocation)
  }
}

@Test func `an output directory is never in the original's way`() throws {
  let bench = try Bench(.mixtral, .init(.byLayer))
  try FileManager.default.createDirectory(
    atPath: bench.path("taken"), withIntermediateDirectories: false)
  try Data([1]).write(to: bench.folder.appending(path: "taken/mine.txt"))
  try FileManager.default.createSymbolicLink(
    atPath: bench.path("link"), withDestinationPath: bench.source)
  try FileManager.default.createSymbolicLink(
    atPath: bench.path("parent"), withDestinationPath: bench.folder.path(percentEncoded: false))

  try bench.requireRefused(bench.source, says: "original")
  try bench.requireRefused(bench.source, says: "original", "--overwrite")
  try bench.requireRefused(bench.path("link"), says: "original", "--overwrite")
  try bench.requireRefused(bench.path("parent/source"), says: "original", "--overwrite")
  try bench.requireRefused(
    bench.path("source/inside"), says: "lies inside the original's directory")
  try bench.requireRefused(bench.path("link/inside"), says: "lies inside the original's directory")
  try bench.requireRefused(bench.path("source/../source/inside"), says: "lies inside")
  try bench.requireRefused(bench.path(""), says: "holds the original", "--overwrite")
  try bench.requireRefused(bench.path("taken"), says: "exists already")
  try bench.requireRefused(
    bench.path("taken"), says: "holds files that Regate did not write", "--overwrite")
  try bench.requireRefused(
    bench.path("taken/mine.txt"), says: "is a file, where a directory is to be written")
  try bench.requireRefused(bench.path("absent/out"), says: "is no directory")
  try bench.requireRefused(bench.path("out.gguf"), says: "the checkpoint is safetensors")
  try bench.requireRefused(bench.path("out.safetensors"), says: "has more than one file")
  try bench.requireRefused(bench.path("-"), says: "not written to standard output")
}

@Test func `a GGUF output must be another GGUF file`() throws {
  let bench = try Bench(gguf: .init(.f16), .mixtral)
  try bench.requireRefused(bench.source, says: "original", "--overwrite")
  try bench.requireRefused(bench.source, says: "original")
  try bench.requireRefused(bench.path("out"), says: "let it end in .gguf")
  try bench.requireRefused(bench.path("out.safetensors"), says: "the checkpoint is gguf")
  try bench.requireRefused(
    bench.path("out.gguf"), says: "no GGUF runtime can load the prototype router", "--router", "lpr"
  )
  try Data([1]).write(to: bench.folder.appending(path: "mine.gguf"))
  try bench.requireRefused(bench.path("mine.gguf"), says: "exists already", "--strength", "0")
  try FileManager.default.linkItem(atPath: bench.source, toPath: bench.path("second-name.gguf"))
  try bench.requireRefused(
    bench.path("second-name.gguf"), says: "is the original itself", "--overwrite")
}

@Test func `only what Regate wrote is overwritten`() throws {
  let bench = try Bench()
  let out = bench.path("out")
  func convert(_ more: String...) throws -> Tool.Outcome {
    try Tool.run(
      ["convert", bench.source, "--calibration", bench.capture, "--output", out, "-q"] + more)
  }
  #expect(try convert("--strength", "0.5").code == 0)
  let half = try fileTree(bench.folder)
  requireRefusal(try convert(), naming: out, says: "exists already", "second run")
  #expect(try fileTree(bench.folder) == half)
  #expect(try convert("--overwrite").code == 0)
  let whole = try fileTree(bench.folder)
  #expect(whole != half)
  #expect(Set(whole.keys) == Set(half.keys))
  // An empty directory is nobody's.
  try FileManager.default.createDirectory(
    atPath: bench.path("empty"), withIntermediateDirectories: false)
  let outcome = try bench.convert(
    "--calibration", bench.capture, "--output", bench.path("empty"), "--overwrite", "-q")
  #expect(outcome.code == 0)
}

@Test func `a file beyond the limit of the process is an error, and nothing is left`() throws {
  let bench = try Bench(.mixtral, .init(.byLayer))
  let fit = try bench.fit()
  let before = try fileTree(bench.folder)
  let outcome = try Tool.run(
    ["convert", bench.source, "--fit", fit, "--output", bench.path("out"), "-q"],
    // Blocks of 512 bytes, or of 1024 in some shells: less than a file of the model.
    through: "ulimit -f 16")
  requireRefusal(outcome, naming: nil, says: "File too large", "limit")
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a capture has a name by which it is known again`() throws {
  let bench = try Bench(.mixtral)
  let before = try fileTree(bench.folder)
  let outcome = try Tool.run(
    "capture", bench.source, "--calibration", bench.path("source/config.json"), "--output",
    bench.path("x.cap"), "-q")
  requireRefusal(
    outcome, naming: bench.path("x.cap"), says: "does not end in .safetensors", "name")
  #expect(outcome.error.contains("name it x.cap.safetensors"))
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a fit file is not overwritten unasked`() throws {
  let bench = try Bench(tokens: 64)
  try Data([1]).write(to: bench.folder.appending(path: "my.fit"))
  func fit(_ name: String, _ more: String...) throws -> Tool.Outcome {
    try Tool.run(
      ["fit", bench.source, "--calibration", bench.capture, "--output", bench.path(name), "-q"]
        + more)
  }
  requireRefusal(
    try fit("my.fit"), naming: bench.path("my.fit"), says: "exists already", "fit file")
  #expect(try Data(contentsOf: bench.folder.appending(path: "my.fit")) == Data([1]))
  #expect(try fit("new.fit").code == 0)
  #expect(
    try bench.convert("--fit", bench.path("new.fit"), "--output", bench.path("out"), "-q").code == 0
  )
  requireRefusal(
    try bench.convert("--fit", bench.path("my.fit"), "--output", bench.path("second"), "-q"),
    naming: bench.path("my.fit"), says: "header", "no fit file")
  requireRefusal(
    try fit("my.fit", "--overwrite"), naming: bench.path("my.fit"),
    says: "exists already and is no fit file of Regate", "somebody's file")
  try FileManager.default.removeItem(atPath: bench.path("my.fit"))
  #expect(try fit("my.fit").code == 0)
  #expect(try fit("my.fit", "--overwrite").code == 0)
  #expect(
    try Data(contentsOf: bench.folder.appending(path: "my.fit"))
      == Data(contentsOf: bench.folder.appending(path: "new.fit")))
}

@Test func `no output takes the place of what the run reads, or of somebody's file`() throws {
  let bench = try Bench(.mixtral, .init(.byLayer))
  let fit = try bench.fit()
  let shard = try #require(
    try fileTree(bench.folder.appending(path: "source")).keys.sorted()
      .first { $0.hasSuffix(".safetensors") })
  let original = bench.source + "/" + shard
  try FileManager.default.linkItem(atPath: original, toPath: bench.path("hard.bin"))
  try FileManager.default.createSymbolicLink(
    atPath: bench.path("soft.bin"), withDestinationPath: original)
  try Data("notes".utf8).write(to: bench.folder.appending(path: "notes.txt"))
  try Data("{}".utf8).write(to: bench.folder.appending(path: "some.json"))
  let convert = ["convert", bench.source, "--fit", fit]
  let place = ["place", bench.source, "--calibration", bench.capture, "--ep", "2"]
  let writers: [[String]] = [
    convert + ["--delta"], place + ["--delta"],
    ["fit", bench.source, "--calibration", bench.capture, "--output"],
    ["capture", bench.source, "--calibration", bench.path("notes.txt"), "--output"],
  ]
  let before = try fileTree(bench.folder)
  func require(_ arguments: [String], _ path: String, _ words: String) throws {
    let outcome = try Tool.run(arguments + ["--overwrite", "-q"])
    requireRefusal(outcome, naming: nil, says: words, "\(arguments) \(path)")
  }
  for writer in writers {
    for (path, words) in [
      (original, "is the original itself"), (bench.path("hard.bin"), "is the original itself"),
      (bench.path("soft.bin"), "is the original itself"),
      (bench.source + "/config.json", "lies inside the original's directory"),
      (bench.source + "/new", "lies inside the original's directory"),
      (bench.path("some.json"), "exists already and is no"),
    ] { try require(writer + [path], path, words) }
  }
  try require(convert + ["--delta", fit], fit, "is an input of this run")
  try require(
    writers[3] + [bench.path("notes.txt")], "notes.txt", "is an input of this run")
  for (path, words) in [
    (bench.source + "/config.json", "lies inside the original's directory"),
    (bench.path("some.json"), "is no expert map of Regate"),
    (bench.capture, "is an input of this run"),
  ] { try require(place + ["--map", "eplb:" + path], path, words) }
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a directory with files beside ours, or changed ones, is not replaced`() throws {
  let bench = try Bench()
  let fit = try bench.fit()
  let out = bench.path("out")
  func convert() throws -> Tool.Outcome {
    try bench.convert("--fit", fit, "--output", out, "--overwrite", "-q")
  }
  #expect(try convert().code == 0)
  try Data([1]).write(to: bench.folder.appending(path: "out/results.csv"))
  requireRefusal(try convert(), naming: out, says: "holds results.csv", "a file beside")
  try FileManager.default.removeItem(atPath: out + "/results.csv")
  try Data("{}".utf8).write(to: bench.folder.appending(path: "out/config.json"))
  let before = try fileTree(bench.folder)
  requireRefusal(try convert(), naming: out, says: "holds config.json", "another model's file")
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a GGUF that Regate did not write is not replaced, nor one changed in place`() throws {
  let bench = try Bench(gguf: .init(.f16), .mixtral)
  let fit = try bench.fit()
  func convert(_ name: String) throws -> Tool.Outcome {
    try bench.convert("--fit", fit, "--output", bench.path(name), "--overwrite", "-q")
  }
  #expect(try convert("out.gguf").code == 0)
  #expect(try convert("out.gguf").code == 0)
  // Its own manifest beside it, but another file.
  try FileManager.default.removeItem(atPath: bench.path("out.gguf"))
  try Data([1]).write(to: bench.folder.appending(path: "out.gguf"))
  try FileManager.default.copyItem(atPath: bench.source, toPath: bench.path("other.gguf"))
  #expect(
    try Tool.run("convert", bench.path("other.gguf"), "--fit", fit, "--in-place", "-q").code == 0)
  let before = try fileTree(bench.folder)
  for name in ["out.gguf", "other.gguf"] {
    requireRefusal(
      try convert(name), naming: bench.path(name), says: "is no output of Regate", name)
  }
  // The way back is never written over.
  requireRefusal(
    try bench.convert(
      "--fit", fit, "--delta", bench.path("other.regate-undo.delta"), "--overwrite", "-q"),
    naming: "other.regate-undo.delta", says: "is no delta of Regate", "undo")
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a converted checkpoint is not converted again`() throws {
  let bench = try Bench()
  #expect(
    try bench.convert("--calibration", bench.capture, "--output", bench.path("out"), "-q").code == 0
  )
  requireRefusal(
    try Tool.run(
      "convert", bench.path("out"), "--calibration", bench.capture, "--output",
      bench.path("again"), "-q"), naming: bench.path("out"),
    says: "already has Regate's prototype router", "again")
  #expect(try Tool.run("inspect", bench.path("out"), "--calibration", bench.capture).code == 0)
  #expect(!bench.exists("again"))
}

@Test func `a write that fails leaves nothing`() throws {
  let bench = try Bench()
  let before = try fileTree(bench.folder)
  // Files may have 8 blocks of 512 or 1024 bytes; a write beyond is an error instead of a signal.
  let outcome = try Tool.run(
    ["convert", bench.source, "--calibration", bench.capture, "--output", bench.path("out"), "-q"],
    through: "trap '' XFSZ\nulimit -f 8")
  requireRefusal(
    outcome, naming: bench.path("out/model-"), says: "cannot be written", "file size limit")
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a pair that does not belong together is refused`() throws {
  let bench = try Bench()
  let other = SyntheticModel(.qwen3, seed: 2, tokens: 8)
  try other.writeSafetensors(.init(.single), to: bench.folder.appending(path: "other"))
  let mixtral = SyntheticModel(.mixtral, tokens: 8)
  try mixtral.writeSafetensors(.init(.single), to: bench.folder.appending(path: "mixtral"))
  try other.writeGGUF(.init(.f16), to: bench.folder.appending(path: "gguf"))
  for (patched, fragment) in [
    ("other", "its bytes are those of no expert"), ("mixtral", "is Mixtral in safetensors"),
    ("gguf/model.gguf", "is Qwen3-MoE in gguf"), ("absent", "no such file or directory"),
  ] {
    requireRefusal(
      try Tool.run(
        "validate", bench.source, bench.path(patched), "--calibration", bench.capture, "-q"),
      naming: bench.path(patched), says: fragment, patched)
  }
}

/// The system lets root write all the same.
@Test func `what is write-protected is not changed in place`() throws {
  let bench = try Bench(.qwen3, .init(.scattered))
  let source = URL(filePath: bench.source)
  for name in try fileTree(source).keys where name.hasSuffix(".safetensors") {
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o444], ofItemAtPath: bench.source + "/" + name)
  }
  let before = try fileTree(bench.folder)
  let outcome = try Tool.run(
    "convert", bench.source, "--calibration", bench.capture, "--router", "stock", "--in-place")
  // Of root only: others are told by the system.
  let said = ["is write-protected", "cannot be written"].contains(where: outcome.error.contains)
  #expect(outcome.code == 1 && said, "\(outcome.error)")
  #expect(try fileTree(bench.folder) == before)
}
