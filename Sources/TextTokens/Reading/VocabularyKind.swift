// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

/// The classes of transformers that read a vocab.json and merges.txt, and cut text by their code.
enum VocabularyKind: String {
  case gpt2 = "GPT2Tokenizer"
  case neoX = "GPTNeoXTokenizer"
  case qwen2 = "Qwen2Tokenizer"
  case qwen35 = "Qwen3_5Tokenizer"

  /// The class that tokenizer_config.json names, or else the one of the model's type.
  init(config: JSONValue?, model: JSONValue?, vocabulary: String) throws(RegateError) {
    for settings in [config, model] {
      guard let name = settings?["tokenizer_class"]?.stringValue else { continue }
      let stem = name.hasSuffix("Fast") ? String(name.dropLast(4)) : name
      if let kind = VocabularyKind(rawValue: stem) {
        self = kind
        return
      }
    }
    switch model?["model_type"]?.stringValue {
    case "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next": self = .qwen2
    case "qwen3_5", "qwen3_5_moe": self = .qwen35
    case "olmoe": self = .neoX
    case "gpt2", "dbrx": self = .gpt2
    default:
      throw RegateError(
        .unsupported, file: vocabulary,
        "no `tokenizer_class` that is known says how text is cut for this vocabulary",
        advice: "save the tokenizer with a tokenizer.json, or give token ids instead of text")
    }
  }

  /// The names of tokens that the class has without files.
  var defaults: [String: String] {
    let end = "<|endoftext|>"
    return switch self {
    case .gpt2: ["unk_token": end, "bos_token": end, "eos_token": end]
    case .neoX:
      ["unk_token": end, "bos_token": end, "eos_token": end, "pad_token": "<|padding|>"]
    case .qwen2, .qwen35: ["unk_token": end, "eos_token": end, "pad_token": end]
    }
  }

  /// What a tokenizer.json of the class says about cutting text.
  func parts(addsPrefixSpace: Bool) -> [String: JSONValue] {
    func byteLevel(usesRegex: Bool) -> JSONValue {
      [
        "type": "ByteLevel", "add_prefix_space": .bool(addsPrefixSpace),
        "use_regex": .bool(usesRegex),
      ]
    }
    func split(_ pattern: String) -> JSONValue {
      let split: JSONValue = [
        "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated",
      ]
      return ["type": "Sequence", "pretokenizers": [split, byteLevel(usesRegex: false)]]
    }
    let cut =
      switch self {
      case .gpt2, .neoX: byteLevel(usesRegex: true)
      case .qwen2: split(ModelPatterns.qwen2)
      case .qwen35: split(ModelPatterns.qwen35)
      }
    return self == .gpt2
      ? ["pre_tokenizer": cut] : ["pre_tokenizer": cut, "normalizer": ["type": "NFC"]]
  }
}
