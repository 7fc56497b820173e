// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

/// A component of a tokenizer.json, with its place for messages.
private struct Component {
  let value: JSONValue
  let place: String
  let path: String

  var type: String { value["type"]?.stringValue ?? "" }

  func malformed(_ problem: String) -> RegateError { .tokenizer(.malformed, path, place, problem) }

  var unsupported: RegateError {
    let name = type.isEmpty ? "a component without a type" : "\"\(type)\""
    return .tokenizer(
      .unsupported, path, place, "is \(name), which is not supported",
      advice: "give token ids instead of text")
  }

  func flag(_ key: String, default value: Bool) throws(RegateError) -> Bool {
    guard let given = self.value[key], !given.isNull else { return value }
    guard let flag = given.boolValue else {
      throw malformed("\(key) is \(given.kindName), must be a boolean")
    }
    return flag
  }

  func text(_ key: String) throws(RegateError) -> String {
    guard let text = value[key]?.stringValue else { throw malformed("\(key) must be a string") }
    return text
  }

  func list(_ key: String) throws(RegateError) -> [Component] {
    guard let values = value[key]?.arrayValue else { throw malformed("\(key) must be an array") }
    return values.enumerated().map {
      Component(value: $0.element, place: "\(place).\(key)[\($0.offset)]", path: path)
    }
  }

  /// `{"String": ...}` or `{"Regex": ...}`.
  func pattern() throws(RegateError) -> Pattern {
    let given = value["pattern"]
    do throws(PatternProblem) {
      if let literal = given?["String"]?.stringValue { return try Pattern(literal: literal) }
      if let regex = given?["Regex"]?.stringValue { return try Pattern(regex) }
    } catch {
      throw .tokenizer(
        .unsupported, path, place, error.problem, advice: "give token ids instead of text")
    }
    throw malformed("pattern must be {\"String\": ...} or {\"Regex\": ...}")
  }
}

extension TokenizerJSON {
  private func component(_ key: String) -> Component? {
    guard let value = parts[key], !value.isNull else { return nil }
    return Component(value: value, place: key, path: path)
  }

  /// Each step has a pattern to compile, and works on all of the text or inside the one before.
  private func requireFew(_ count: Int, _ next: Component) throws(RegateError) {
    guard count < VocabularyLimit.steps else {
      throw .tokenizer(
        .unsupported, path, next.place, "is one step more than \(VocabularyLimit.steps)",
        advice: "give token ids instead of text")
    }
  }

  // MARK: Normalizers

  func normalizers() throws(RegateError) -> [Normalizer] {
    guard let component = component("normalizer") else { return [] }
    let all = try normalizers(component)
    var growth = 1
    for normalizer in all {
      growth *= normalizer.growth
      guard growth <= VocabularyLimit.growth else {
        throw .tokenizer(
          .unsupported, path, component.place,
          "would make text more than \(VocabularyLimit.growth) times as long",
          advice: "give token ids instead of text")
      }
    }
    return all
  }

  private func normalizers(_ component: Component) throws(RegateError) -> [Normalizer] {
    switch component.type {
    case "Sequence":
      var all: [Normalizer] = []
      for part in try component.list("normalizers") {
        try requireFew(all.count, part)
        all += try normalizers(part)
      }
      return all
    case "Prepend": return [.prepend(Array(try component.text("prepend").utf8))]
    case "Replace":
      return [.replace(try component.pattern(), with: Array(try component.text("content").utf8))]
    default:
      guard let form = NormalizationForm(rawValue: component.type) else {
        throw component.unsupported
      }
      return [.unicode(form)]
    }
  }

  // MARK: Pre-tokenizers

  /// The steps, and whether the last one turns pieces into the byte alphabet.
  func preTokenizer() throws(RegateError) -> (steps: [PreTokenizerStep], byteLevel: Bool) {
    var steps: [PreTokenizerStep] = []
    var byteLevel = false
    if let component = component("pre_tokenizer") {
      try append(component, to: &steps, &byteLevel)
    }
    return (steps, byteLevel)
  }

  private func append(
    _ component: Component, to steps: inout [PreTokenizerStep], _ byteLevel: inout Bool
  ) throws(RegateError) {
    if component.type == "Sequence" {
      for part in try component.list("pretokenizers") { try append(part, to: &steps, &byteLevel) }
      return
    }
    try requireFew(steps.count, component)
    guard !byteLevel else {
      throw .tokenizer(
        .unsupported, path, component.place,
        "\"\(component.type)\" follows \"ByteLevel\", which is only supported at the end",
        advice: "give token ids instead of text")
    }
    switch component.type {
    case "Split": steps.append(try split(component))
    case "Digits":
      let individual = try component.flag("individual_digits", default: false)
      steps.append(
        .split(
          try builtIn(#"\p{N}"#), individual ? .isolated : .contiguous, inverted: false))
    case "Metaspace": steps.append(try metaspace(component))
    case "ByteLevel":
      if try component.flag("add_prefix_space", default: true) { steps.append(.spacePrefix) }
      if try component.flag("use_regex", default: true) {
        steps.append(.split(try builtIn(GGUFPatterns.gpt2), .isolated, inverted: false))
      }
      byteLevel = true
    default: throw component.unsupported
    }
  }

  private func split(_ component: Component) throws(RegateError) -> PreTokenizerStep {
    let name = try component.text("behavior")
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw component.malformed("behavior \"\(name)\" is unknown")
    }
    let inverted = try component.flag("invert", default: false)
    return .split(try component.pattern(), behavior, inverted: inverted)
  }

  private func metaspace(_ component: Component) throws(RegateError) -> PreTokenizerStep {
    let marker = try component.text("replacement")
    guard marker.unicodeScalars.count == 1 else {
      throw component.malformed("replacement \"\(marker)\" must be one character")
    }
    var prefix = MetaspacePrefix.always
    if let scheme = component.value["prepend_scheme"]?.stringValue {
      guard let known = MetaspacePrefix(rawValue: scheme) else {
        throw component.malformed("prepend_scheme \"\(scheme)\" is unknown")
      }
      prefix = known
    } else if try !component.flag("add_prefix_space", default: true) {
      prefix = .never
    }
    let splits = try component.flag("split", default: true)
    let pattern: Pattern?
    do throws(PatternProblem) {
      pattern = splits ? try Pattern(literal: marker) : nil
    } catch {
      throw component.malformed(error.problem)
    }
    return .metaspace(marker: Array(marker.utf8), prefix: prefix, splits: pattern)
  }

  private func builtIn(_ pattern: String) throws(RegateError) -> Pattern {
    do throws(PatternProblem) {
      return try Pattern(pattern)
    } catch {
      throw .tokenizer(.unsupported, path, "pre_tokenizer", error.problem)
    }
  }

  // MARK: Post-processors

  /// The ids that go before and after a document.
  func template() throws(RegateError) -> (prefix: [Int], suffix: [Int]) {
    guard let component = component("post_processor") else { return ([], []) }
    return try template(component)
  }

  private func template(
    _ component: Component
  ) throws(RegateError) -> (prefix: [Int], suffix: [Int]) {
    switch component.type {
    case "ByteLevel": return ([], [])
    case "Sequence":
      var all: (prefix: [Int], suffix: [Int]) = ([], [])
      for part in try component.list("processors") {
        let next = try template(part)
        all = (next.prefix + all.prefix, all.suffix + next.suffix)
      }
      return all
    case "TemplateProcessing": return try single(component)
    default: throw component.unsupported
    }
  }

  private func single(
    _ component: Component
  ) throws(RegateError) -> (prefix: [Int], suffix: [Int]) {
    var prefix: [Int] = []
    var suffix: [Int] = []
    var documents = 0
    for piece in try component.list("single") {
      if let sequence = piece.value["Sequence"] {
        guard sequence["id"]?.stringValue == "A" else {
          throw piece.malformed("a template for one document must hold sequence A only")
        }
        documents += 1
      } else if let name = piece.value["SpecialToken"]?["id"]?.stringValue {
        let ids = component.value["special_tokens"]?[name]?["ids"]?.arrayValue?.map(\.intValue)
        guard let ids, ids.allSatisfy({ $0.map { $0 >= 0 } ?? false }) else {
          throw piece.malformed("special_tokens does not give the ids of \"\(name)\"")
        }
        if documents == 0 {
          prefix += ids.compactMap { $0 }
        } else {
          suffix += ids.compactMap { $0 }
        }
      } else {
        throw piece.malformed("is neither a Sequence nor a SpecialToken")
      }
    }
    guard documents == 1 else {
      throw component.malformed("single holds sequence A \(documents) times, must hold it once")
    }
    return (prefix, suffix)
  }
}
