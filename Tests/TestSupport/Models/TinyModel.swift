// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One of the trained models under `fixtures`: small, and whole, so that it can be run.
public struct TinyModel: Sendable, CustomStringConvertible {
  public let name: String

  public static let qwen3 = TinyModel("tiny-qwen3-moe")
  public static let mixtral = TinyModel("tiny-mixtral")
  public static let deepseek = TinyModel("tiny-deepseek")
  public static let all = [qwen3, mixtral, deepseek]

  /// Size of the vocabulary of all three.
  public static let vocabulary = 384

  private init(_ name: String) { self.name = name }

  public var description: String { name }

  private static func path(_ name: String) -> String {
    fixtures.appending(path: name).path(percentEncoded: false)
  }

  /// The checkpoint's directory.
  public var path: String { Self.path(name) }

  /// The same model as llama.cpp quantised it.
  public var gguf: String {
    let files = ["qwen3-moe-Q8_0", "mixtral-Q4_K_M", "deepseek-Q8_0"]
    let stem = String(name.dropFirst("tiny-".count))
    return data(files.first { $0.hasPrefix(stem) }.map { $0 + ".gguf" } ?? "")
  }

  /// A file of `tiny-X-data`.
  public func data(_ file: String) -> String { Self.path("\(name)-data/\(file)") }

  /// Token ids [S,64]: `calibration` or `heldout`.
  public func ids(_ set: String) -> String { data("\(set).npy") }

  /// The text that neither set of ids is all of: `calibration` or `heldout`.
  public static func text(_ set: String) -> String { path("tiny-text/\(set).txt") }
}

extension TemporaryDirectory {
  /// Writes `sequences` of one length as token ids [S,L], I32, and returns the path.
  public func writeIDs(_ sequences: [[Int]], to name: String) throws -> String {
    let shape = "(\(sequences.count), \(sequences.first?.count ?? 0))"
    return try write(
      npyBytes(
        npyDictionary("<i4", shape),
        data: sequences.flatMap { $0.flatMap { littleEndian(UInt32(bitPattern: Int32($0))) } }),
      to: name)
  }

  /// `count` random sequences of `length` ids of the tiny models' vocabulary.
  public func writeRandomIDs(
    _ count: Int, length: Int, seed: UInt64 = 1, to name: String
  ) throws -> String {
    var random = SeededGenerator(seed: seed)
    return try writeIDs(
      (0..<count).map { _ in
        (0..<length).map { _ in Int.random(in: 1..<TinyModel.vocabulary, using: &random) }
      }, to: name)
  }
}
