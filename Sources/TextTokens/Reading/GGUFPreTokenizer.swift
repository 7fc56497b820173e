// SPDX-License-Identifier: Apache-2.0

// How the pre-tokenizers that `tokenizer.ggml.pre` names cut text: each pattern in turn isolates
// its matches in the pieces that those before it left. Patterns are those of the models' own
// tokenizers; llama.cpp's copies are written for std::regex and cut the same (but for Kimi-K2 and
// GPT-4o, where llama.cpp approximates upper case and marks).

/// A named pre-tokenizer.
struct GGUFPreTokenizer: Sendable {
  var patterns: [String]
  /// Takes pieces that are tokens as they are.
  var ignoresMerges = false
  /// Puts the beginning token first where the file does not say.
  var addsBeginning = false

  /// The pre-tokenizer of this name, as llama.cpp knows it, or nil.
  static func named(_ name: String) -> GGUFPreTokenizer? {
    switch name {
    case "default", "": GGUFPreTokenizer(patterns: fallback)
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2":
      GGUFPreTokenizer(patterns: [llama3], ignoresMerges: true, addsBeginning: true)
    case "dbrx", "smaug-bpe", "chatglm-bpe": GGUFPreTokenizer(patterns: [llama3])
    case "glm4", "glm5": GGUFPreTokenizer(patterns: [llama3], ignoresMerges: true)
    case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan",
      "solar-open", "grok-2":
      GGUFPreTokenizer(patterns: [qwen2])
    case "qwen35": GGUFPreTokenizer(patterns: [qwen35])
    case "deepseek-llm": GGUFPreTokenizer(patterns: deepSeekLLM)
    case "deepseek-coder": GGUFPreTokenizer(patterns: deepSeekCoder)
    case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4":
      GGUFPreTokenizer(patterns: deepSeekV3)
    case "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4",
      "gigachat", "a.x-4.0", "mellum":
      GGUFPreTokenizer(patterns: [gpt2])
    case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
      "mellum2":
      GGUFPreTokenizer(patterns: [#"\p{N}"#, gpt2])
    case "falcon": GGUFPreTokenizer(patterns: falcon)
    case "gpt-4o", "llama4", "kanana2", "minimax-m2": GGUFPreTokenizer(patterns: [gpt4o])
    case "bailingmoe", "bailingmoe2", "llada-moe": GGUFPreTokenizer(patterns: [bailing])
    case "seed-coder": GGUFPreTokenizer(patterns: [seedCoder])
    case "kimi-k2": GGUFPreTokenizer(patterns: [kimiK2])
    default: nil
    }
  }

  static let gpt2 =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private static let contractions = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#
  private static let spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let marks = #" ?[^\s\p{L}\p{N}]+[\r\n]*"#

  static let llama3 =
    contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"# + marks + "|" + spaces
  static let qwen2 =
    contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"# + marks + "|" + spaces
  private static let qwen35 =
    contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"#
    + spaces
  private static let bailing =
    #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"#
    + #"\s+(?!\S)|\s+"#
  private static let seedCoder =
    contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|"# + spaces

  private static let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
  private static let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
  static let gpt4o = words(upper, lower) + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces

  /// From tokenization_kimi.py.
  static let kimiK2 =
    #"[\p{Han}]+|"#
    + words(
      #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#)
    + #"|\p{N}{1,3}|"# + marks + "|" + spaces

  /// A word with at most one change from upper to lower case, and what is contracted with it.
  private static func words(_ upper: String, _ lower: String) -> String {
    let lead = #"[^\r\n\p{L}\p{N}]?"#
    return lead + upper + "*" + lower + "+" + contractions + "?|"
      + lead + upper + "+" + lower + "*" + contractions + "?"
  }

  static let deepSeekV3 = [
    #"\p{N}{1,3}"#,
    #"[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"#,
    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"##
      + #" ?[\p{P}\p{S}]+[\r\n]*|"# + spaces,
  ]
  private static let eastAsian = #"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"#
  static let deepSeekCoder = [#"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, eastAsian, #"\p{N}"#]
  private static let falcon = [#"[\p{P}\$\+<=>\^~\|`]+"#, gpt2, "[0-9][0-9][0-9]"]
  private static let fallback = [
    #"[\p{P}\$\+<=>\^~\|]+"#, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]",
  ]
  static let deepSeekLLM = [
    #"[\r\n]"#, #"\s?["# + casedLetters + "]+",
    #"\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+"#, #"\s+$"#, eastAsian,
    #"\p{N}+"#,
  ]

  /// The letters that DeepSeek-LLM's own pattern lists: those with case, of an older Unicode.
  private static let casedLetters =
    #"A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-"#
    + #"\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1"#
    + #"\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5\u13F8-"#
    + #"\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15"#
    + #"\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D"#
    + #"\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB"#
    + #"\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D"#
    + #"\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149\u214E\u2183"#
    + #"\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B"#
    + #"\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-"#
    + #"\uFF3A\uFF41-\uFF5A\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-"#
    + #"\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}"#
}
