// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import TestSupport
import Testing
import TextTokens

@Suite struct PatternTests {
  /// Pieces of `text`, cut by a pattern that isolates its matches.
  private func cut(_ text: String, by pattern: String) throws -> [String] {
    try tokenizer(pattern).pieces(of: text)
  }

  private func tokenizer(_ pattern: String) throws -> Tokenizer {
    let directory = try TemporaryDirectory()
    let escaped = pattern.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    let json = #"""
      {"model": {"vocab": {"a": 0}, "merges": []}, "pre_tokenizer":
      {"type": "Split", "pattern": {"Regex": "\#(escaped)"}, "behavior": "Isolated"}}
      """#
    try directory.write(Array(json.utf8), to: "tokenizer.json")
    return try Tokenizer(directory: directory.path(""))
  }

  static let matches: [(pattern: String, text: String, pieces: [String])] = [
    ("ab|a", "aab", ["a", "ab"]),
    ("a|ab", "ab", ["a", "b"]),
    ("a+b", "aaab aa", ["aaab", " aa"]),
    ("a*ab", "aaab", ["aaab"]),
    ("a++ab", "aaab", ["aaab"]),
    ("(?:ab)+c", "ababc", ["ababc"]),
    ("(?:ab){2}", "ababab", ["abab", "ab"]),
    ("(?:ab|cd){1,2}e?", "abcdabe", ["abcd", "abe"]),
    ("a{2,}", "a aa aaaa", ["a ", "aa", " ", "aaaa"]),
    ("x(?=y)", "xxy", ["x", "x", "y"]),
    ("x(?!y)", "xxy", ["x", "xy"]),
    (#"\s+(?!\S)"#, "a   b", ["a", "  ", " b"]),
    (#"\s+$"#, "a \n b  ", ["a", " ", "\n b", "  "]),
    ("^a", "aa\na", ["a", "a\n", "a"]),
    (#"\Aa"#, "aa\na", ["a", "a\na"]),
    (#"a\z"#, "aa\na", ["aa\n", "a"]),
    ("(?i:'s|k)", "'S'\u{17F}K\u{212A}k", ["'S", "'\u{17F}", "K", "\u{212A}", "k"]),
    ("[a-c&&[^b]]+", "abcab", ["a", "b", "ca", "b"]),
    ("[^a-z]+", "ab12é", ["ab", "12é"]),
    (#"[\]\-x]+"#, "a]-xa", ["a", "]-x", "a"]),
    ("[]a]+", "b]a", ["b", "]a"]),
    (#"[\x41-\x{43}\u0044]+"#, "ABCDE", ["ABCD", "E"]),
    (#"\p{Lu}\p{^Lu}"#, "aBcD", ["a", "Bc", "D"]),
    (#"\P{L}+"#, "ab12", ["ab", "12"]),
    (".b", "\nbab", ["\nb", "ab"]),
    // Without an end, were nothing repeated as often as it is asked for.
    ("(?:(?:(?:(?:(?:){999}){999}){999}){999}){999}a", "ba", ["b", "a"]),
    ("é+", "ééa", ["éé", "a"]),
  ]

  @Test(arguments: matches)
  func `Patterns match as Oniguruma has them`(
    pattern: String, text: String, pieces: [String]
  ) throws {
    // Possessive runs give nothing back.
    let wanted = pattern == "a++ab" ? [text] : pieces
    #expect(try cut(text, by: pattern) == wanted)
  }

  /// Each would take longer than the world is old, were all ways to cut the text gone through.
  @Test(arguments: [
    "(?:a+)+b", "(?:a|aa)+b", "a*a*a*a*a*a*a*a*b", "(?=(?:a+)+b)a", "(?:a+a+)+(?!a)b",
  ])
  func `No pattern takes exponential time`(pattern: String) throws {
    let text = String(repeating: "a", count: 120)
    #expect(try cut(text, by: pattern) == [text])
    #expect(try cut(text + "b", by: pattern).joined() == text + "b")
    #expect(try cut(text + "b", by: "(?:a+)+b") == [text + "b"])
  }

  static let refused: [(pattern: String, problem: String)] = [
    ("a*", "can match nothing at all"), ("(a", "'(' that is never closed"),
    ("a)", "')' that closes nothing"), ("[a", "'[' that is never closed"),
    ("*a", "repeats nothing with '*'"), ("a+?", "lazy repetition"), ("a**", "repeats a repetition"),
    ("(?<=a)b", "group of an unsupported kind"), ("(?>a)", "group of an unsupported kind"),
    (#"\bword"#, #"the escape \b"#), (#"\1a"#, #"the escape \1"#), ("a{x}", "braces that are not"),
    ("a{3,2}", "make no sense"), ("a{100000}", "repeats too often"),
    (#"\p{Klingon}"#, "the Unicode property \"Klingon\""), (#"\pL"#, "\\p without {}"),
    ("[z-a]", "runs backwards"), ("[[:alpha:]]", "POSIX bracket"),
    ("(?:a*)+b", "can match nothing"),
    ("(?:ab)++c", "possessive group"), ("(?i:é)", "ignores the case of 'é'"),
    (#"(?i:\p{Lu})"#, "ignores the case of a Unicode property"),
    ("(?!a)+b", "repeats a look-ahead"),
    ("^+a", "repeats an anchor"), (#"a\"#, "ends with a backslash"),
    (#"\x{110000}"#, "no character"), ("(?=a(?!b))a", "look-ahead in a look-ahead"),
    ("(?:(?:(?:a{99}){99}){99})", "too large"), ("", "can match nothing at all"),
    (String(repeating: "(", count: 40) + "a", "nested too deep"),
    ((0..<70).map { String(UnicodeScalar(0x4E00 + $0) ?? "x") }.joined(), "64 character classes"),
  ]

  @Test(arguments: refused)
  func `Patterns beyond the subset are refused by name`(pattern: String, problem: String) throws {
    let error = #expect(throws: RegateError.self) { try tokenizer(pattern) }
    let line = error?.description ?? ""
    #expect(line.contains(problem) && line.contains("pre_tokenizer"), "\(line)")
    #expect(error?.code == .unsupported)
  }
}
