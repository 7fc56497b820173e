// SPDX-License-Identifier: Apache-2.0
//
// What a part of a capture says of itself, and how parts become one again: in their order, however
// they are given, and only if they are of one model and one choice of tokens, all of them, once.

package import ByteStorage
import Checkpoints
import Inference
package import OrderedCollections
import Tensors

package enum CaptureParts {
  static let partKey = "part"
  private static let choiceKey = "choice"

  /// What must be the same in all parts, and how a difference is told.
  private static let common: [(key: String, words: String)] = [
    ("model_fingerprint", "was captured from a model with other routers"),
    (Captures.layoutKey, "was captured from weights that are stored otherwise"),
    (Captures.sampleKey, "was captured with other weights"),
    ("dtype", "holds values of another type"),
    (Captures.precisionKey, "was captured in another `precision`"),
    ("length", "was cut into sequences of another length"),
    ("max_tokens", "was chosen with another number of tokens"),
    ("seed", "was chosen with another seed"),
    ("ppl_protocol", "was cut for another protocol of perplexity"),
    (choiceKey, "was captured from other tokens"),
  ]

  /// The entries of the metadata of `part` of `whole`, which was chosen by `options`.
  package static func metadata(
    _ part: CapturePart, of whole: TokenSet, options: TokenOptions
  ) throws(RegateError) -> OrderedDictionary<String, String> {
    [
      partKey: part.description, choiceKey: Calibration.digest(of: whole.sequences),
      "length": "\(options.length)", "max_tokens": "\(options.maxTokens)",
      "seed": "\(options.seed)", "ppl_protocol": options.perplexity.rawValue,
    ]
  }

  /// The places of `containers` in the order in which they are read: that of the parts, or as they
  /// are where none is one.
  static func order(of containers: [ArrayContainer]) throws(RegateError) -> [Int] {
    var parts: [CapturePart?] = []
    for container in containers { parts.append(try part(of: container)) }
    guard let first = parts.firstIndex(where: { $0 != nil }) else { return Array(parts.indices) }
    var places: [Int: Int] = [:]
    for (place, part) in parts.enumerated() {
      let path = containers[place].path
      guard let part else {
        throw RegateError(
          .refused, file: path, "is no part of a capture, but \(containers[first].path) is one",
          advice: "give all parts of one capture and nothing else")
      }
      try requireSame(containers[place], containers[first])
      guard part.count == parts[first]?.count else {
        throw RegateError(
          .mismatch, file: path, subject: partKey,
          "is \(part), but \(containers[first].path) is \(parts[first]?.description ?? "")",
          advice: "give parts of one run")
      }
      if let other = places.updateValue(place, forKey: part.number) {
        throw RegateError(
          .refused, file: path, subject: partKey,
          "is \(part), and so is \(containers[other].path)", advice: "give each part once")
      }
    }
    let count = parts[first]?.count ?? 0
    guard places.count == count else {
      // A header may say any number: the first few tell what to look for.
      let missing = Array((1...count).lazy.filter { places[$0] == nil }.prefix(8)).map(String.init)
      let more = count - places.count - missing.count
      throw RegateError(
        .missing, file: containers[first].path, subject: partKey,
        "is one of \(count), and of these \(missing.joined(separator: ", ")) "
          + (more > 0 ? "and \(more) more " : "")
          + (missing.count + more == 1 ? "is" : "are") + " not given",
        advice: "give all parts of the capture, or a folder that holds them")
    }
    return (1...count).compactMap { places[$0] }
  }

  /// Refuses parts, in their order, whose token ids are not those that they say were chosen.
  static func requireChoice(_ parts: [ArrayContainer]) throws(RegateError) {
    guard let first = parts.first, first.metadata[partKey] != nil,
      let choice = first.metadata[choiceKey]
    else { return }
    var sequences: [[Int]] = []
    for part in parts {
      guard let own = try Captures.sequences(of: part) else { return }
      sequences += own
    }
    let found = Calibration.digest(of: sequences)
    guard found != choice else { return }
    throw RegateError(
      .mismatch, file: first.path, subject: choiceKey,
      "is \(choice), but the token ids of all parts have \(found)",
      advice: "give the parts as they were captured, or capture them again")
  }

  /// `paths` of which each is a set of its own, but for parts of one capture, which are one set.
  static func grouped(_ paths: [String]) -> [[String]] {
    var groups: OrderedDictionary<String, [String]> = [:]
    for (place, path) in paths.enumerated() {
      // What cannot be opened is said when it is to be read.
      let metadata =
        path.pathExtension.lowercased() == "safetensors"
        ? (try? ArrayContainer.open(path))?.metadata : nil
      let choice = metadata?[partKey].flatMap { _ in metadata?[choiceKey] }
      groups[choice.map { "part of \($0)" } ?? "\(place)", default: []].append(path)
    }
    return Array(groups.values)
  }

  private static func part(of container: ArrayContainer) throws(RegateError) -> CapturePart? {
    guard let text = container.metadata[partKey] else { return nil }
    guard let part = CapturePart(text) else {
      throw RegateError(
        .malformed, file: container.path, subject: partKey, "is \(text), expected 1/n to n/n",
        advice: "capture it again")
    }
    return part
  }

  private static func requireSame(
    _ container: ArrayContainer, _ first: ArrayContainer
  ) throws(RegateError) {
    for (key, words) in common {
      let (found, expected) = (value(of: key, container), value(of: key, first))
      guard found != expected else { continue }
      // Digests say nothing to a reader.
      let values =
        max(found.count, expected.count) < 32 ? ": \(found) instead of \(expected)" : ""
      throw RegateError(
        .mismatch, file: container.path, subject: key, "\(words) than \(first.path)\(values)",
        advice: "give parts of one run, which differ in nothing but `part`"
          + (key == Captures.precisionKey
            ? "; `precision` f32 or bf16 is the same on every machine" : ""))
    }
  }

  private static func value(of key: String, _ container: ArrayContainer) -> String {
    guard key == "dtype" else { return container.metadata[key] ?? "nothing" }
    let types = container.arrays.values.filter(\.isFloatingPoint).map(\.type.rawValue)
    return Set(types).sorted().joined(separator: ", ")
  }
}
