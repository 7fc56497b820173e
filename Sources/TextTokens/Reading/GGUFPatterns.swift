// SPDX-License-Identifier: Apache-2.0

// The patterns of llama.cpp's pre-tokenizers: each in turn isolates its matches in the pieces that
// those before it left. Where llama.cpp approximates the pattern of a model's own tokenizer (it
// tells the cases of ASCII letters only), the approximation is what a GGUF model is run with.

enum GGUFPatterns {
  /// The patterns of the pre-tokenizer of this name; nil where it is unknown or does more.
  static func named(_ name: String) -> [String]? {
    switch name {
    case "default", "": fallback
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano", "dbrx", "smaug-bpe", "chatglm-bpe", "glm4", "glm5":
      [words + numbers + marks + spaces]
    case "jais-2": [words + numbers + marks + #"|\s*[\r\n]+"# + halvings]
    case "minicpm5": [#"\p{N}{1,3}"#, words + #"|\p{N}+"# + marks + spaces]
    case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan",
      "solar-open", "grok-2":
      [qwen2]
    case "laguna": [lines, qwen2]
    case "ufakzeka": [#"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"# + marks + spaces]
    case "qwen35":
      [
        contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"#
          + spaces
      ]
    case "bailingmoe", "bailingmoe2", "llada-moe": [words + #"|\p{N}"# + marks + lineSpaces]
    case "seed-coder": [words + #"|\p{N}| ?[^\s\p{L}\p{N}\r\n]+"# + spaces]
    case "exaone-moe":
      [
        contractions + #"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"#
          + #"| ?[^\s\p{L}\p{N}]+[\r\n/]?"# + lineSpaces
      ]
    case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2":
      [cased(#"\p{L}"#, contractions + "?") + numbers + slashMarks + spaces]
    case "granite-embed-multi-97m":
      [cased(#"\p{L}\p{M}"#, contractions + "?") + numbers + slashMarks + spaces]
    case "tekken": [cased(#"\p{L}"#, "") + #"|\p{N}"# + slashMarks + spaces]
    case "kimi-k2":
      [
        #"[\#(han)]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\#(han)]]+"# + contractions + "?" + numbers
          + marks + spaces
      ]
    case "youtu": [youtuScripts, markedWords + #"|\p{N}"# + slashMarks + spaces]
    case "deepseek-llm": deepSeekLLM
    case "deepseek-coder": [#"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, eastAsian, #"\p{N}"#]
    case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4":
      [#"\p{N}{1,3}"#, ideographs, symbolWords + #"[\r\n]*"# + spaces]
    case "spark2_5":
      [#"\p{N}{1,3}"#, ideographs, symbolWords + #"|[\r\n]|\s+(?!\S)|\s+"#, #"\p{N}"#]
    case "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4",
      "gigachat", "a.x-4.0", "mellum", "modern-bert", "roberta-bpe", "jina-es", "jina-de",
      "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code":
      [gpt2]
    case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
      "mellum2":
      [#"\p{N}"#, gpt2]
    case "falcon": [#"[\p{P}\$\+<=>\^~\|`]+"#, gpt2, "[0-9][0-9][0-9]"]
    case "bloom", "poro-chat", "gpt3-finnish": [bloom]
    case "viking": [bloom, #"\p{N}"#]
    case "chameleon": chameleon
    default: nil
    }
  }

  static let gpt2 =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
  /// Lines and the line feeds between them.
  static let lines = #"[^\n]+|\n+"#

  private static let contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
  private static let words = contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+"#
  private static let numbers = #"|\p{N}{1,3}"#
  private static let marks = #"| ?[^\s\p{L}\p{N}]+[\r\n]*"#
  private static let slashMarks = #"| ?[^\s\p{L}\p{N}]+[\r\n/]*"#
  private static let spaces = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let lineSpaces = #"|\s*[\r\n]|\s+(?!\S)|\s+"#
  private static let qwen2 = words + #"|\p{N}"# + marks + spaces
  private static let halvings =
    [512, 256, 128, 64, 32, 16, 8, 4].map { #"|\s{\#($0)}(?!\S)"# }.joined()
    + #"|\s{1,2}(?!\S)|\s{1}"#

  /// A word with at most one change from upper to lower case, of ASCII letters.
  private static func cased(_ letters: String, _ end: String) -> String {
    let lead = #"[^\r\n\p{L}\p{N}]?"#
    let upper = "[\(letters)&&[^a-z]]"
    let lower = "[\(letters)&&[^A-Z]]"
    return "\(lead)\(upper)*\(lower)+\(end)|\(lead)\(upper)+\(lower)*\(end)"
  }

  /// Its own pattern tells cases; llama.cpp takes all letters for both.
  private static let markedWords = #"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"# + contractions + "?"
  static let tinyAya = markedWords + numbers + slashMarks + spaces

  private static let symbolWords =
    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
    + #"| ?[\p{P}\p{S}]+"#
  private static let ideographs = #"[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"#
  static let afmoe = [
    #"[\u4E00-\u9FFF\u3400-\u4DBF\u8C48-\uFAFF\u3040-\u309F\u30A0-\u30FF\uFF65-\uFF9F\u2F00-\u2FDF"#
      + #"\u0E40-\u0E7F\u0E80-\u0EFF\u1780-\u17FF\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF"#
      + #"\uAC00-\uD7AF\u1100-\u11FF]+"#,
    symbolWords + #"[\r\n]*"# + spaces,
  ]
  private static let youtuScripts =
    #"[\uAC00-\uD7A3\u3131-\u318E]+|[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B\uFF0C"#
    + #"\u3001-\u303F\uFE30-\uFE4F]+|[\u3105-\u312F]+|"# + ideographs

  /// What llama.cpp takes for Han.
  private static let han =
    #"\u4E00-\u9FFF\u3400-\u4DBF\x{20000}-\x{2A6DF}\x{2A700}-\x{2EBEF}\uF900-\uFAFF"#
    + #"\x{2F800}-\x{2FA1F}"#

  private static let bloom =
    #" ?[^(\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+"#
  private static let chameleon = [
    "<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", #"[\t\n]|    |  "#, #"\p{N}"#,
    #"[\p{P}!-/:-@\[-`{-~]"#, gpt2,
  ]
  private static let fallback = [
    #"[\p{P}\$\+<=>\^~\|]+"#, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]",
  ]

  /// Classes of single characters do not see white space beyond ASCII in llama.cpp.
  private static let eastAsian = #"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF&&[^\s]]+"#
  private static let deepSeekLLM = [
    #"[\r\n]"#, #"\s?["# + casedLetters + "]+",
    #"\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3001-\u3002]+"#, #"\s+$"#, eastAsian,
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
