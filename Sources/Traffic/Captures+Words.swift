// SPDX-License-Identifier: Apache-2.0
//
// What a capture says of itself beside its rows: `format`, `tokens` and `sequences` of the
// metadata, and `token_ids` [S,L], -1 for padding. Each is checked where it is there; files of
// arrays alone have none of them.

import ByteStorage
import Checkpoints
import OrderedCollections
import Resuming
import Tensors

extension Captures {
  /// The array of token ids.
  package static let idName = "token_ids"
  /// What libraries that write safetensors call themselves: it says nothing of the tensors.
  private static let libraries: Set<String> = ["pt", "tf", "np", "flax", "jax", "mlx"]

  /// A container, and what tells its traffic from that of another.
  struct Identity: Sendable {
    let path: String
    let digest: String
  }

  /// Checks the words of a capture of so many tokens, and tells what it is known by: its token
  /// ids, or samples of its files where there are none.
  static func checkedIdentity(
    of container: ArrayContainer, tokens: Int
  ) throws(RegateError) -> Identity {
    let format = container.metadata["format"]
    if let format, format != Captures.format, !libraries.contains(format) {
      throw RegateError(
        .mismatch, file: container.path, subject: "format",
        "is \(format), expected \(Captures.format)",
        advice: "give a capture of `CaptureRun` or tools/capture.py of this version")
    }
    try require("tokens", of: container, tokens, "rows")
    guard let sequences = try sequences(of: container) else {
      return Identity(
        path: container.path, digest: try ContentDigest.of(try Captures.files(of: container)))
    }
    try require("sequences", of: container, sequences.count, "rows of \(idName)")
    let count = sequences.reduce(0) { $0 + $1.count }
    guard count == tokens else {
      throw RegateError(
        .mismatch, file: container.path, subject: idName,
        "holds \(count) ids beside the padding, but the layers have \(tokens) rows",
        advice: again)
    }
    return Identity(path: container.path, digest: Calibration.digest(of: sequences))
  }

  private static let again = "give the capture as it was written, or capture again"

  private static func require(
    _ key: String, of container: ArrayContainer, _ count: Int, _ rows: String
  ) throws(RegateError) {
    guard let said = container.metadata[key], said != String(count) else { return }
    throw RegateError(
      .mismatch, file: container.path, subject: key, "is \(said), but there are \(count) \(rows)",
      advice: again)
  }

  /// The token ids of a capture, without padding; nil where it has none.
  static func sequences(of container: ArrayContainer) throws(RegateError) -> [[Int]]? {
    guard let array = container.arrays[idName] else { return nil }
    let ids = try array.integers()
    guard array.shape.count == 2, !ids.isEmpty, ids.allSatisfy({ $0 >= -1 }) else {
      throw RegateError(
        .malformed, file: container.path, subject: idName,
        array.shape.count == 2 && !ids.isEmpty
          ? "holds \(ids.min() ?? 0), expected ids from 0 on, and -1 for padding"
          : "has shape \(array.shape), expected [sequences, tokens]",
        advice: again)
    }
    let length = array.shape[1]
    return stride(from: 0, to: ids.count, by: length).map { start in
      ids[start..<start + length].filter { $0 >= 0 }
    }
  }

  /// Refuses `lots` in which the same traffic is captured twice: it would count twice.
  static func requireDistinct(_ lots: [Captures]) throws(RegateError) {
    var seen: [String: String] = [:]
    for identity in lots.flatMap(\.identities) {
      guard let other = seen.updateValue(identity.path, forKey: identity.digest) else { continue }
      throw RegateError(
        .refused, file: identity.path,
        other == identity.path
          ? "is given twice, and its tokens would count twice"
          : "captures the same tokens as \(other), and they would count twice",
        advice: "give each capture once; `weights` weighs one against another")
    }
  }
}
