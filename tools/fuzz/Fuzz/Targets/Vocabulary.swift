// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import TextTokens

/// Text with what tokenizers treat by rules of their own.
private let text =
  "Hello  world!\n\n\t don't 12345 I'll <s></s> [INST] naïve İstanbul e\u{301} 世界 🙂\u{200D}\r\n\u{0}"

extension Tokenizer {
  /// Encodes, and takes the tokens apart again.
  func exercise(_ more: [UInt8] = []) {
    let document = Array(text.utf8) + Array(String(decoding: more, as: UTF8.self).utf8)
    for special in [true, false] {
      for id in encode(document, addSpecial: true, special: special) {
        precondition(id >= 0 && id < vocabularySize, "a token beyond the vocabulary")
        _ = bytes(of: id)
      }
    }
  }
}

extension Target {
  static let ggufVocabulary = Target("gguf-vocabulary") { bytes in
    let path = Scratch.write(bytes, to: "v.gguf", size: 1 << 24)
    try Tokenizer(GGUFCheckpoint(path: path)).exercise()
  }

  static let tokenizerJSON = Target("tokenizer-json") { bytes in
    try Tokenizer(json: Scratch.write(bytes, to: "tokenizer.json")).exercise()
  }

  /// A pattern, a zero byte, and text that is cut by it.
  static let pattern = Target("pattern") { bytes in
    let parts = bytes.parts
    let pattern = JSONValue.string(String(decoding: parts[0], as: UTF8.self))
    var json = Array(#"{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"#.utf8)
    json += pattern.serialised(.compact)
    json += #"},"behavior":"Isolated","invert":false},"model":{"type":"BPE","vocab":{"#.utf8
    json += #""a":0,"b":1,"ab":2," ":3,"#.utf8
    json +=
      (0x21...0x7E).filter { ![0x22, 0x5C, 0x61, 0x62].contains($0) }
      .map { #""\#(Unicode.Scalar(UInt8($0)))":\#($0)"# }.joined(separator: ",").utf8
    json += #"},"merges":["a b"]}}"#.utf8
    try Tokenizer(json: Scratch.write(json, to: "pattern.json"))
      .exercise(parts.count > 1 ? parts[1] : [])
  }

  static let tekken = Target("tekken") { bytes in
    let folder = Scratch.folder("tekken")
    _ = Scratch.write(bytes, to: "tekken/tekken.json")
    try Tokenizer(directory: folder).exercise()
  }

  /// A tiktoken.model, a zero byte, and the tokenizer_config.json beside it.
  static let tiktoken = Target("tiktoken") { bytes in
    let folder = Scratch.folder("tiktoken")
    let parts = bytes.parts
    _ = Scratch.write(parts[0], to: "tiktoken/tiktoken.model")
    _ = Scratch.write(
      parts.count > 1 ? parts[1] : Array("{}".utf8), to: "tiktoken/tokenizer_config.json")
    try Tokenizer(directory: folder).exercise()
  }

  /// What a folder without a tokenizer.json holds, or one with it, by the first byte.
  static let tokenizerFolder = Target("tokenizer-folder") { bytes in
    let whole = bytes.first == UInt8(ascii: "t")
    let folder = Scratch.folder(whole ? "whole" : "plain")
    let names =
      (whole ? ["tokenizer.json"] : ["vocab.json", "merges.txt", "config.json"])
      + ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
    let parts = Array(bytes.dropFirst()).parts
    for (place, name) in names.enumerated() {
      let file = (whole ? "whole/" : "plain/") + name
      if place < parts.count, !parts[place].isEmpty {
        _ = Scratch.write(parts[place], to: file)
      } else {
        Scratch.remove(file)
      }
    }
    try Tokenizer(directory: folder).exercise()
  }
}
