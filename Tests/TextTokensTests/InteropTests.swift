// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Foundation
import Testing
import TextTokens

// Comparisons with files that are not in the repository; other tokenizers made the
// second kind. They run where these variables name a folder:
//
// 1. REGATE_VOCAB_PAIRS: llama.cpp's models/, with ggml-vocab-*.gguf, .inp and .out.
// 2. REGATE_TOKENIZER_CASES: folders with a tokenizer.json or a vocabulary.gguf, and pairs of
//    NAME.txt and NAME.ids (the ids as 32-bit little-endian integers, without special tokens).

private let environment = ProcessInfo.processInfo.environment

private func folder(_ variable: String) -> URL? {
  environment[variable].map { URL(filePath: $0, directoryHint: .isDirectory) }
}

private func contents(_ folder: URL?) -> [URL] {
  guard let folder else { return [] }
  let found = try? FileManager.default.contentsOfDirectory(
    at: folder, includingPropertiesForKeys: nil)
  return (found ?? []).sorted { $0.path < $1.path }
}

private let pairs = contents(folder("REGATE_VOCAB_PAIRS")).filter { $0.pathExtension == "inp" }
private let cases = contents(folder("REGATE_TOKENIZER_CASES")).filter(\.hasDirectoryPath)

/// Processor time of this thread, which other work on the machine does not add to.
private func threadNanoseconds() -> Int {
  var time = timespec()
  unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

@Suite struct InteropTests {
  @Test(.enabled(if: !pairs.isEmpty), arguments: pairs)
  func `llama.cpp's vocabulary pairs give its tokens`(input: URL) throws {
    let vocabulary = input.deletingPathExtension()
    let name = vocabulary.lastPathComponent
    let tokenizer: Tokenizer
    do {
      tokenizer = try Tokenizer(GGUFCheckpoint(path: vocabulary.path))
    } catch {
      print("\(name): refused: \(error)")
      return
    }
    let separator = "\n__ggml_vocab_test__\n"
    let texts = try String(contentsOf: input, encoding: .utf8).components(separatedBy: separator)
    let output = try String(contentsOf: vocabulary.appendingPathExtension("out"), encoding: .utf8)
    let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
    var wrong = 0
    for (text, line) in zip(texts, lines) {
      let wanted = line.split(separator: " ").compactMap { Int($0) }
      let found = tokenizer.encode(text, addSpecial: false, special: false)
      if wanted != found {
        wrong += 1
        print("\(name): \(text.debugDescription): \(found), not \(wanted)")
      }
    }
    print("\(name): \(texts.count - wrong) of \(texts.count) texts equal")
    #expect(wrong == 0)
  }

  @Test(.enabled(if: !cases.isEmpty), arguments: cases)
  func `Python's tokenizers give the same tokens`(folder: URL) throws {
    let vocabulary = folder.appending(path: "vocabulary.gguf").path
    let tokenizer =
      FileManager.default.fileExists(atPath: vocabulary)
      ? try Tokenizer(GGUFCheckpoint(path: vocabulary)) : try Tokenizer(directory: folder.path)
    for file in contents(folder) where file.pathExtension == "ids" {
      let text = Array(
        try Data(contentsOf: file.deletingPathExtension().appendingPathExtension("txt")))
      let stored = Array(try Data(contentsOf: file))
      let wanted = stride(from: 0, to: stored.count, by: 4).map { start in
        stored[start..<start + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
      }
      let start = threadNanoseconds()
      let found = tokenizer.encode(text, addSpecial: false)
      let time = Double(threadNanoseconds() - start) / 1e9
      let speed = (Double(text.count) / time / 1e6 * 10).rounded() / 10
      print(
        "\(folder.lastPathComponent)/\(file.lastPathComponent): \(text.count) bytes,"
          + " \(found.count) tokens, \(speed) MB/s")
      guard found != wanted else { continue }
      let first = zip(found, wanted).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
      let after = tokenizer.decode(Array(found[first...].prefix(8)))
      let before = tokenizer.decode(Array(found[max(0, first - 5)..<first]))
      Issue.record(
        """
        \(folder.lastPathComponent): token \(first) after \(before.debugDescription): \
        \(found[first...].prefix(8)) \(after.debugDescription), \
        not \(wanted[first...].prefix(8))
        """)
    }
  }
}
