// SPDX-License-Identifier: Apache-2.0
//
// What goes with the weights: model card, links, adapters.

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

private let original =
  "---\nlicense: apache-2.0\ntags:\n- moe\n---\n# The model\n\nText, \u{1F9EA}.\n"

@Suite struct ModelCardTests {
  private func convert(_ bench: Workbench, to name: String) throws -> String {
    _ = try bench.convertKnown(to: name)
    return try String(contentsOf: bench.folder(name).appending(path: "README.md"), encoding: .utf8)
  }

  @Test func `a section is added and the original's text stays`() throws {
    let bench = try Workbench(Sample.mixtralByLayer, tokens: 192)
    try bench.directory.write(Array(original.utf8), to: "source/README.md")
    let card = try convert(bench, to: "out")
    #expect(card.hasPrefix(original + "\n<!-- regate:begin -->\n"))
    #expect(card.hasSuffix("<!-- regate:end -->\n"))
    for word in ["| base model | `source` |", "hot experts are copied", "| router | stock |"] {
      #expect(card.contains(word), "\(word)")
    }
  }

  @Test func `a name that would break the table is written as entities`() throws {
    let bench = try Workbench(Sample.mixtralByLayer, tokens: 192)
    let source = bench.directory.path("a|b`c")
    try FileManager.default.moveItem(atPath: bench.source, toPath: source)
    _ = try bench.convertKnown(to: "out") { $0.checkpoint = source }
    let card = try String(
      contentsOf: bench.folder("out").appending(path: "README.md"), encoding: .utf8)
    let name = "<code>a&#124;b&#96;c</code>"
    #expect(card.contains("| base model | \(name) |") && card.contains("Made from \(name) by"))
    #expect(card.contains("| fit | `known.fit` |"))
  }

  /// Forms of a fitted output, and what their card says of loading it.
  @Test(arguments: [
    (RouterForm.lpr, "trust_remote_code=True", ["| similarity | dot |", "| latent | auto |"]),
    (.stock, "As the base model", ["| strength | 0.75 |"]),
    (.lprOfficial, "official code of Latent Prototype Routing", ["| refine | 20 |"]),
  ])
  func `options, figures and how to load are those of the conversion`(
    _ form: RouterForm, _ loading: String, _ options: [String]
  ) throws {
    let bench = try Workbench(Sample.qwen3, tokens: 512)
    try bench.convert(to: "out") {
      $0.form = form
      $0.budget = .strength(0.75)
      $0.settings.refinementSteps = form == .lprOfficial ? 20 : nil
      $0.settings.seed = .max
    }
    let card = try String(
      contentsOf: bench.folder("out").appending(path: "README.md"), encoding: .utf8)
    for line in options + [
      "| router | \(form.rawValue) |", "| base model | `source` |", "hot experts are copied",
      "| seed | \(UInt64.max) |", "| calibration | `capture.safetensors` |", "### How to load",
    ] { #expect(card.contains(line), "\(line)") }
    #expect(card.contains(loading) && !card.contains("| mtp |") && !card.contains("| protect |"))
    // A seed that is no number of JSON's stands in digits.
    #expect(
      try bench.manifest("out")["options"]?["seed"]?.stringValue == String(UInt64.max))
    // The figures are the manifest's, to the digits shown.
    let layers = try #require(bench.manifest("out")["figures"]?["layers"]?.arrayValue)
    func mean(_ path: String, _ key: String) -> Double {
      let values = layers.compactMap { $0[path]?[key]?.doubleValue }
      return values.reduce(0, +) / Double(values.count)
    }
    for (label, value) in [
      ("Gini of the load, original (mean of layers)", mean("original_held_out", "gini")),
      ("Gini, new router, held-out tokens", mean("held_out", "gini")),
      ("least over most used expert, original", mean("original_held_out", "min_max")),
      ("least over most used expert, new router, held-out tokens", mean("held_out", "min_max")),
    ] {
      let row = try #require(card.split(separator: "\n").first { $0.hasPrefix("| \(label) |") })
      let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      #expect(abs(try #require(Double(cells[1])) - value) < 6e-4, "\(row)")
    }
  }

  @Test(arguments: ["", "# No line feed at the end"])
  func `any original is kept`(_ text: String) throws {
    let bench = try Workbench(Sample.mixtralByLayer, tokens: 192)
    try bench.directory.write(Array(text.utf8), to: "source/README.md")
    #expect(try convert(bench, to: "out").hasPrefix(text))
  }

  @Test func `a model without a card gets one`() throws {
    let bench = try Workbench(Sample.mixtralByLayer, tokens: 192)
    #expect(try convert(bench, to: "out").hasPrefix("<!-- regate:begin -->\n## Balanced routing"))
  }

  @Test func `the section of an earlier conversion is replaced`() throws {
    let bench = try Workbench(Sample.mixtralByLayer, tokens: 192)
    let before = original + "\n<!-- regate:begin -->\nold\n<!-- regate:end -->\n"
    try bench.directory.write(Array((before + "\nMore.\n").utf8), to: "source/README.md")
    let card = try convert(bench, to: "out")
    #expect(card.hasPrefix(original + "\n<!-- regate:begin -->\n## Balanced"))
    #expect(card.hasSuffix("<!-- regate:end -->\n\nMore.\n"))
    #expect(!card.contains("\nold\n"))
    #expect(card.components(separatedBy: "<!-- regate:begin -->").count == 2)
  }

  @Test func `a GGUF carries options in its keys`() throws {
    let bench = try Workbench(Sample.ggufMixtral, tokens: 192)
    _ = try bench.convertKnown(to: "out")
    let file = try GGUFCheckpoint(path: bench.output("out"))
    #expect(file.metadata["regate.router"] == .string("stock"))
    let text = try #require(file.metadata["regate.options"]?.string)
    let options = try JSONValue(parsing: Array(text.utf8), file: "options")
    #expect(options["fit"]?.stringValue == "known.fit")
    #expect(options["clones"] == .bool(true))
  }
}

@Suite struct LinkTests {
  private func links(_ url: URL) throws -> Int {
    try #require(
      FileManager.default.attributesOfItem(atPath: url.path(percentEncoded: false))[
        .referenceCount] as? Int)
  }

  @Test func `shards that do not change are linked`() throws {
    let bench = try Workbench(Sample.mixtralByLayer, tokens: 192)
    let source = try fileTree(bench.sourceFolder)
    let result = try bench.convertKnown(to: nil) {
      $0.output = .checkpoint(.copy(to: bench.output("out"), links: true))
    }.conversion
    // Embedding and head; the layers' shards hold routers.
    let first = "model-00001-of-00003.safetensors"
    #expect(try links(bench.folder("out").appending(path: first)) == 2)
    #expect(try links(bench.folder("out").appending(path: "model-00002-of-00003.safetensors")) == 1)
    #expect(try fileTree(bench.sourceFolder) == source)
    let methods = result.json["written"]?["methods"]
    #expect((methods?["hard_linked"]?.intValue ?? 0) >= 2)
    #expect(result.text.contains("hard-linked"))
    _ = try bench.convertKnown(to: "copied")
    var (linked, copied) = (
      try fileTree(bench.folder("out")), try fileTree(bench.folder("copied"))
    )
    for name in ["regate.json", "README.md"] {
      linked[name] = nil
      copied[name] = nil
    }
    #expect(linked == copied)
    // A linked file is never written in place afterwards.
    let error = #expect(throws: RegateError.self) { try bench.convertInPlace() }
    #expect(error?.problem.contains("has 2 names") == true)
  }
}

@Suite struct LoRATests {
  /// gate + B · A of an adapter, by layer.
  private func patched(_ path: String, _ bench: Workbench) throws -> [[Float]] {
    let file = try GGUFFile(path: path)
    return try bench.model.layers.map { layer in
      func matrix(_ suffix: String) throws -> (shape: [Int], values: [Float]) {
        let name = "blk.\(layer.index).ffn_gate_inp.weight.lora_\(suffix)"
        let tensor = try #require(file.tensors.first { $0.name == name })
        #expect(tensor.type == .f32)
        let bytes = try file.file.bytes(in: tensor.range)
        return (
          tensor.shape,
          stride(from: 0, to: bytes.count, by: 4).map { start in
            Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) })
          }
        )
      }
      let (a, b) = (try matrix("a"), try matrix("b"))
      #expect(a.shape[1] == bench.model.hidden && b.shape[0] == bench.model.experts)
      #expect(a.shape[0] == b.shape[1])
      var gate = layer.gate
      for row in 0..<b.shape[0] {
        for column in 0..<a.shape[1] {
          var sum: Float = 0
          for k in 0..<a.shape[0] {
            sum += b.values[row * a.shape[0] + k] * a.values[k * a.shape[1] + column]
          }
          gate[row * a.shape[1] + column] += sum
        }
      }
      return gate
    }
  }

  /// The new gates of a conversion without clones, by layer; its fit is in `out.fit`.
  private func convert(_ bench: Workbench) throws -> [[Float]] {
    try bench.convert(to: "out") {
      $0.settings.clones = false
      $0.form = .stock
    }.fit.write(to: bench.fit)
    let weights = try bench.weights("out")
    return try bench.model.layers.map { layer in
      let tensor = try #require(weights.tensors["blk.\(layer.index).ffn_gate_inp.weight"])
      return stride(from: 0, to: tensor.bytes.count, by: 4).map { start in
        Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(tensor.bytes[start + $1]) << (8 * $1) })
      }
    }
  }

  /// Writes the adapter of that fit; its path and the largest error that it tells.
  private func adapter(_ bench: Workbench, rank: Int? = nil) throws -> (path: String, error: Double)
  {
    let path = bench.directory.path("lora-\(rank ?? 0).gguf")
    let result = try bench.convert(to: nil) {
      $0.fit = bench.fit
      $0.output = .adapter(to: path, rank: rank)
    }
    return (path, try #require(result.json["lora"]?["largest_error"]?.doubleValue))
  }

  @Test(arguments: [Sample.ggufMixtral, Sample.ggufQwen3])
  func `an adapter of full rank is the new gate`(_ sample: Sample) throws {
    let bench = try Workbench(sample, tokens: 256)
    let gates = try convert(bench)
    let (path, error) = try adapter(bench)
    #expect(error == 0)
    // From traffic, no clones are asked for: the adapter is the same.
    let fitted = bench.directory.path("fitted.gguf")
    try bench.convert(to: nil) { $0.output = .adapter(to: fitted) }
    #expect(
      try Data(contentsOf: URL(filePath: fitted)) == Data(contentsOf: URL(filePath: path)))
    for (found, expected) in zip(try patched(path, bench), gates) {
      for (a, b) in zip(found, expected) { #expect(abs(a - b) <= 1e-6 * max(1, abs(b))) }
    }
    let file = try GGUFFile(path: path)
    let architecture = sample.family == .mixtral ? "llama" : "qwen3moe"
    #expect(file.metadata["general.architecture"] == .string(architecture))
    #expect(file.metadata["general.type"] == .string("adapter"))
    #expect(file.metadata["adapter.type"] == .string("lora"))
    #expect(file.metadata["adapter.lora.alpha"] == .float32(Float(bench.model.experts)))
    #expect(file.tensors.count == 2 * bench.model.layers.count)
  }

  @Test func `a lower rank is near, and says how near`() throws {
    let bench = try Workbench(Sample.ggufQwen3, tokens: 256)
    let gates = try convert(bench)
    var errors: [Double] = []
    for rank in [1, 4, 12] {
      let (path, error) = try adapter(bench, rank: rank)
      errors.append(error)
      // What is said is what is there.
      var worst = 0.0
      let found = try patched(path, bench)
      for (place, gate) in found.enumerated() {
        let (old, new) = (bench.model.layers[place].gate, gates[place])
        var (wrong, whole) = (0.0, 0.0)
        for index in gate.indices {
          wrong += Double(gate[index] - new[index]) * Double(gate[index] - new[index])
          whole += Double(new[index] - old[index]) * Double(new[index] - old[index])
        }
        worst = max(worst, (wrong / whole).squareRoot())
      }
      #expect(abs(worst - error) < 1e-4)
    }
    #expect(errors == errors.sorted(by: >) && errors[0] < 1)
  }

  @Test func `a fit that copies experts has no adapter`() throws {
    let bench = try Workbench(Sample.ggufQwen3, tokens: 192)
    let path = bench.directory.path("lora.gguf")
    let error = #expect(throws: RegateError.self) {
      try bench.convertKnown(to: nil) { $0.output = .adapter(to: path) }
    }
    #expect(error?.problem.contains("copies experts") == true)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `what an adapter cannot hold is refused`() throws {
    let deepseek = try Workbench(Sample.ggufDeepseek, tokens: 64)
    let bias = #expect(throws: RegateError.self) {
      try deepseek.convert(to: nil) {
        $0.output = .adapter(to: deepseek.directory.path("lora.gguf"))
      }
    }
    #expect(bias?.problem.contains("bias") == true)
    let directory = try TemporaryDirectory()
    let ids = try directory.writeIDs([Array(0..<16), Array(4..<20)], to: "ids.npy")
    let draft = ConversionDraft(
      fixtures.appending(path: "variants/gguf-gpt-oss/model.gguf").path(percentEncoded: false),
      calibration: [ids], output: .adapter(to: directory.path("lora.gguf")))
    let logitBias = #expect(throws: RegateError.self) { try draft.run() }
    #expect(logitBias?.subject == "blk.0.ffn_gate_inp.bias")
    let qwen = try Workbench(Sample.ggufQwen3, tokens: 64)
    for rank in [0, -1, qwen.model.hidden + 1] {
      #expect(throws: RegateError.self) {
        try qwen.convert(to: nil) {
          $0.output = .adapter(to: qwen.directory.path("lora.gguf"), rank: rank)
        }
      }
    }
  }
}
