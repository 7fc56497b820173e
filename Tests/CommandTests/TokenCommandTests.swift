// SPDX-License-Identifier: Apache-2.0
//
// Text, ids and models that cannot be run, given to the commands: code 1, one line, nothing
// written.

import Foundation
import TestSupport
import Testing

/// One bad input.
private struct BadInput: Sendable, CustomTestStringConvertible {
  let label: String
  let fragment: String
  /// Writes the files; returns the checkpoint, the calibration set, and the path that is named.
  let build: @Sendable (TemporaryDirectory) throws -> (model: String, set: String, named: String)

  var testDescription: String { label }

  /// A sound model with bad text or ids.
  static func set(
    _ label: String, says fragment: String,
    _ write: @escaping @Sendable (TemporaryDirectory) throws -> String
  ) -> BadInput {
    BadInput(label: label, fragment: fragment) {
      let path = try write($0)
      return (TinyModel.qwen3.path, path, path)
    }
  }

  static func file(_ name: String, says fragment: String, _ bytes: [UInt8]) -> BadInput {
    set(name, says: fragment) { try $0.write(bytes, to: name) }
  }

  /// A model that is not sound with sound ids.
  static func model(
    _ label: String, says fragment: String,
    config: @escaping @Sendable (inout [String: Any]) -> Void = { _ in },
    tokenizer: (@Sendable (inout [String: Any]) -> Void)? = nil,
    weight: @escaping @Sendable (String, TinyModel.Weight) -> TinyModel.Weight? = { $1 }
  ) -> BadInput {
    BadInput(label: label, fragment: fragment) {
      let folder = $0.url.appending(path: "model")
      try TinyModel.qwen3.write(
        to: folder, config: config, tokenizer: tokenizer ?? { _ in }, weight: weight)
      let set = tokenizer == nil ? TinyModel.qwen3.ids("heldout") : TinyModel.text("heldout")
      return (
        folder.path(percentEncoded: false), set,
        String(folder.path(percentEncoded: false).trimmingPrefix("/"))
      )
    }
  }

  static let sets: [BadInput] = [
    file("empty.txt", says: "is empty", []),
    file("one.txt", says: "holds no sequence of two tokens or more", Array("a".utf8)),
    file("blank.jsonl", says: "holds no sequence of two tokens or more", Array("\n \n".utf8)),
    file(
      "latin.txt", says: "line 2: byte 5 of the file is not valid UTF-8",
      [97, 10, 98, 99, 32, 0xE9, 32]),
    file(
      "chat.jsonl", says: "python tools/render_chat.py MODEL",
      Array(#"{"messages": [{"role": "user", "content": "hello"}]}"#.utf8)),
    file(
      "other.jsonl", says: "name the member that holds the text with --field",
      Array(#"{"content": "hello there"}"#.utf8)),
    file("broken.jsonl", says: "each line must be one JSON object", Array(#"{"text": "#.utf8)),
    file("plain.txt.gz", says: "does not begin as a gzip file", Array("hello there".utf8)),
    file("cut.txt.gz", says: "member at byte 0", [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0x4B]),
    set("rank 3", says: "expected [sequences, tokens] or [tokens]") {
      try $0.write(
        npyBytes(npyDictionary("<i4", "(1, 1, 2)"), data: [1, 0, 0, 0, 2, 0, 0, 0]), to: "i.npy")
    },
    file("text.log", says: "is a GGUF file, not text", Array("GGUF\u{3}".utf8)),
    file("text.jsonl.zst", says: "decompress it with `zstd -d`", [0x28, 0xB5, 0x2F, 0xFD, 0]),
    file("rows.parquet", says: "is a Parquet file, not text", Array("PAR1".utf8)),
    file("ids.bin", says: "or arrays (.npy, .npz, .safetensors)", [1, 0, 0xFF, 0, 7, 0]),
    set("floats", says: "holds F32 values, where token ids are integers") {
      try $0.write(
        npyBytes(npyDictionary("<f4", "(1, 2)"), data: [UInt8](repeating: 0, count: 8)),
        to: "i.npy")
    },
    set("labels", says: "labels: holds labels, where token ids are needed") {
      try $0.writeIDs([[5, 6, -100]], to: "labels.npy")
    },
    set("a mask alone", says: "holds nothing but 0 and 1, as a mask does") {
      try $0.writeIDs([[Int](repeating: 1, count: 60) + [0, 0, 0, 0]], to: "i.npy")
    },
    set("no rows", says: "holds no sequence of two tokens or more") {
      try $0.write(npyBytes(npyDictionary("<i4", "(0, 4)"), data: []), to: "i.npy")
    },
    set("an id above the vocabulary", says: "token id 384 is out of range") {
      try $0.writeIDs([[1, 2], [3, 384]], to: "i.npy")
    },
  ]

  static let models: [BadInput] = [
    model(
      "missing weight", says: "model.layers.1.self_attn.k_proj.weight: no such tensor",
      weight: { $0 == "model.layers.1.self_attn.k_proj.weight" ? nil : $1 }),
    model(
      "misshapen head", says: "lm_head.weight: has shape [64, 384], expected [384, 64]",
      weight: { name, weight in
        var weight = weight
        if name == "lm_head.weight" { weight.shape.reverse() }
        return weight
      }),
    model(
      "vocabulary", says: "has 384 rows, but vocab_size says 385 tokens",
      config: { $0["vocab_size"] = 385 }),
    model(
      "a tokenizer of another model", says: "gives token 384, but the embedding has 384 rows",
      tokenizer: { settings in
        var model = settings["model"] as? [String: Any] ?? [:]
        var words = model["vocab"] as? [String: Any] ?? [:]
        words["e"] = 384
        model["vocab"] = words
        settings["model"] = model
      }),
    // BF16 0x7FC0 is NaN, 0x7F80 infinity.
    model(
      "NaN", says: "v_proj.weight: holds NaN at [0, 0], so that the attention of layer 1 gives NaN",
      weight: { $0 == "model.layers.1.self_attn.v_proj.weight" ? filled($1, 0x7FC0) : $1 }),
    model(
      "infinity",
      says: "holds Infinity at [0, 0], so that the output of layer 0 gives NaN or infinite",
      weight: {
        $0.hasPrefix("model.layers.0.mlp.experts") && $0.hasSuffix("down_proj.weight")
          ? filled($1, 0x7F80) : $1
      }),
  ]

  /// `weight` with every element of these bits.
  private static func filled(_ weight: TinyModel.Weight, _ bits: UInt16) -> TinyModel.Weight {
    var weight = weight
    for place in weight.bytes.indices {
      weight.bytes[place] = UInt8(truncatingIfNeeded: place % 2 == 0 ? bits : bits >> 8)
    }
    return weight
  }
}

/// Runs every command that runs a model on the input, in a directory where nothing may appear.
private func requireRefusals(_ input: BadInput) throws {
  let scratch = try TemporaryDirectory()
  let (model, set, named) = try input.build(scratch)
  let before = try fileTree(scratch.url)
  let output = scratch.path("out")
  let commands = [
    ["capture", model, "--calibration", set, "--output", output + ".safetensors"],
    [
      // Without a change, which takes no fit of the layers before the fault.
      "fit", model, "--calibration", set, "--output", output + ".fit", "--strength", "0",
      "--quiet", "--resume-every", "0",
    ],
    [
      "convert", model, "--calibration", set, "--output", output, "--quiet", "--resume-every", "0",
    ],
    ["validate", model, model, "--calibration", set],
  ]
  for arguments in commands {
    let outcome = try Tool.run(arguments)
    requireRefusal(
      outcome, naming: named, says: input.fragment,
      "\(arguments[0]): \(input.label)")
  }
  // A run that failed in a later layer may have kept its state: that is what it is for.
  let after = try fileTree(scratch.url).filter { !$0.key.contains(".regate-resume/") }
  #expect(after == before, "\(input.label)")
}

@Suite struct TokenCommandTests {
  @Test(arguments: BadInput.sets)
  fileprivate func `text and ids that cannot be used`(_ input: BadInput) throws {
    try requireRefusals(input)
  }

  @Test(arguments: BadInput.models)
  fileprivate func `models that cannot be run`(_ input: BadInput) throws {
    try requireRefusals(input)
  }

  @Test func `inspect runs the model on text`() throws {
    let outcome = try Tool.run(
      "inspect", TinyModel.deepseek.path, "--calibration", TinyModel.text("heldout"),
      "--max-tokens", "512", "--length", "64", "--ep", "2", "--precision", "f32", "--json",
      "--quiet")
    #expect(outcome.code == 0, "\(outcome.error)")
    let report = try outcome.json()
    #expect(report["tokens"] as? Int == 512)
    #expect(report["load_source"] as? String == "a run of the model on 8 sequences")
    let layers = try #require(report["layers"] as? [[String: Any]])
    #expect(layers.count == 1)
    #expect((layers[0]["load"] as? [Int])?.reduce(0, +) == 512 * 4)
  }

  /// Standard error may be lost where a program reads the report.
  @Test func `a report in JSON holds what was warned of`() throws {
    let scratch = try TemporaryDirectory()
    let text = String(repeating: "Bread needs flour, water, salt and time. ", count: 40)
    let file = try scratch.write([0xEF, 0xBB, 0xBF] + Array(text.utf8), to: "marked.txt")
    let outcome = try Tool.run(
      "inspect", TinyModel.mixtral.path, "--calibration", file, "--json", "--quiet")
    let note = "\(file): the byte order mark at its start is left out"
    #expect(outcome.error == "warning: \(note)\n")
    #expect(try outcome.json()["warnings"] as? [String] == [note])
  }

  /// As traffic with one prompt for all has them.
  @Test func `held-out sequences that were fitted too are counted`() throws {
    let model = TinyModel.mixtral
    let scratch = try TemporaryDirectory()
    let line = #"{"text": "Bread needs flour, water, salt and time, and an oven that is hot."}"#
    let text = try scratch.write(
      Array(repeatElement(line, count: 16).joined(separator: "\n").utf8), to: "same.jsonl")
    // A budget beyond what any file holds is all of it.
    let outcome = try Tool.run(
      "fit", model.path, "--calibration", text, "--max-tokens", "\(Int.max)", "--strength", "0",
      "--quiet")
    #expect(outcome.code == 0, "\(outcome.error)")
    #expect(outcome.error.contains("2 of 2 held-out sequences are the same as fitted ones"))
  }

  @Test func `a text that is given twice is refused`() throws {
    let model = TinyModel.mixtral
    let scratch = try TemporaryDirectory()
    let text = try scratch.write(Array("A short text, and no more.".utf8), to: "short.txt")
    let link = scratch.path("link.txt")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: text)
    for again in [text, link] {
      requireRefusal(
        try Tool.run("inspect", model.path, "--calibration", text, "--calibration", again),
        naming: again, says: "is given twice", again)
    }
  }

  @Test func `llama's protocol needs two windows`() throws {
    let model = TinyModel.mixtral
    let scratch = try TemporaryDirectory()
    let text = try scratch.write(Array("A short text, and no more.".utf8), to: "short.txt")
    let arguments = ["validate", model.path, model.path, "--calibration", text]
    requireRefusal(
      try Tool.run(arguments + ["--ppl-protocol", "llama"]), naming: text,
      says: "needs two windows of 512 tokens, found 0", "short text")
    let outcome = try Tool.run(
      arguments + ["--ppl-protocol", "llama", "--length", "4", "--json", "--quiet"])
    #expect(outcome.code == 0, "\(outcome.error)")
    #expect(try outcome.json()["ppl_protocol"] as? String == "llama")
    #expect(try Tool.run(arguments + ["--ppl-protocol", "half"]).code == 2)
  }

  @Test func `an output or a fit that cannot be written leaves nothing behind`() throws {
    let model = TinyModel.mixtral
    let bench = try Bench(tokens: 64)
    for (arguments, blocks) in [
      (["convert", model.path, "--calibration", model.ids("calibration")], 1000),
      (["fit", bench.source, "--calibration", bench.capture], 8),
    ] {
      let scratch = try TemporaryDirectory()
      let outcome = try Tool.run(
        arguments + ["--output", scratch.path("out"), "--quiet"],
        through: "ulimit -f \(blocks); trap '' XFSZ")
      requireRefusal(outcome, naming: nil, says: "cannot be written", arguments[0])
      #expect(try fileTree(scratch.url).isEmpty, "\(arguments[0])")
    }
  }
}
