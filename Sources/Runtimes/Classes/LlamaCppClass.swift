// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import TextTokens

/// What llama.cpp makes of a GGUF file.
struct LlamaCppClass {
  private(set) var findings: [Check.Finding] = []
  private let checkpoint: GGUFCheckpoint
  private let evidence: Evidence

  init(_ model: Model, _ checkpoint: GGUFCheckpoint) {
    self.checkpoint = checkpoint
    evidence =
      model.layout.family.gguf.made.wasRun
      ? .measured("tools/interop/check_mutations.py", in: "0.5.0-dev")
      : .read("llama.cpp src/models/*.cpp", in: "0.5.0-dev")
    let keys = GGUFKeys(checkpoint, of: model.layout.family)
    for problem in keys.refused { add(.refuses, key: problem.key, problem.text) }
    checkVocabulary()
    guard findings.isEmpty else { return }
    do {
      let parameters = try GGUFParameters.list(model.layout, checkpoint)
      compare(ParameterComparison(parameters, with: checkpoint))
    } catch {
      add(.refuses, key: error.subject ?? checkpoint.architecture, error.problem)
    }
  }

  private mutating func add(_ level: CheckLevel, key: String, _ text: String) {
    findings.append(Check.Finding("class-keys", level, key: key, text, evidence))
  }

  private mutating func compare(_ comparison: ParameterComparison) {
    let shape = comparison.mismatched.first
    let found = [
      Check.Finding(
        Check.Finding.shapes, .refuses, comparison.mismatched.map(\.name),
        "is stored as \(shape?.stored ?? []), but it makes it \(shape?.expected ?? []) "
          + "(outermost dimension first)", evidence),
      Check.Finding(
        Check.Finding.missing, .refuses, comparison.missing + comparison.incomplete,
        "is not stored, and it stops without it", evidence),
      Check.Finding(
        Check.Finding.surplus, .refuses, comparison.surplus,
        "is no tensor that it creates from the keys of this file: wrong number of tensors",
        evidence),
    ]
    findings += found.compactMap(\.self)
  }

  // MARK: Vocabulary

  private static let otherVocabularies: Set = [
    "bert", "hybriddna", "whitespace", "t5", "rwkv", "plamo2",
  ]

  private func value(_ key: String) -> GGUFValue? { checkpoint.metadata["tokenizer.ggml." + key] }

  private mutating func checkVocabulary() {
    switch value("model")?.string {
    case "no_vocab", "none": return
    case "gpt2":
      if value("merges")?.strings == nil {
        add(.refuses, key: "tokenizer.ggml.merges", "is no array of strings, and it needs one")
      }
      let name = value("pre")?.string ?? "default"
      if !GGUFPreTokenizer.isKnown(name) {
        add(.refuses, key: "tokenizer.ggml.pre", "is \"\(name)\", which it does not know")
      }
    case "llama", "gemma4": break
    case let name? where !Self.otherVocabularies.contains(name):
      add(.refuses, key: "tokenizer.ggml.model", "is \"\(name)\", which it does not know")
    case let name?:
      add(.unknown, key: "tokenizer.ggml.model", "what it makes of \"\(name)\" is not known here")
    case nil:
      add(.refuses, key: "tokenizer.ggml.model", "the key is absent, or no string")
    }
    guard let tokens = value("tokens")?.strings else {
      return add(.refuses, key: "tokenizer.ggml.tokens", "is no array of strings, and it needs one")
    }
    checkLength("scores", tokens.count) { $0.floats?.count ?? $0.integers?.count }
    checkLength("token_type", tokens.count) {
      if case .array(.int32(let values)) = $0 { values.count } else { nil }
    }
  }

  private mutating func checkLength(
    _ key: String, _ count: Int, _ length: (GGUFValue) -> Int?
  ) {
    guard let found = value(key) else { return }
    guard let length = length(found), length >= count else {
      return add(
        .refuses, key: "tokenizer.ggml." + key,
        "must be an array with a value for each of the \(count) tokens, of the type it reads")
    }
  }
}
