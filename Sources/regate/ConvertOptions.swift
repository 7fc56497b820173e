// SPDX-License-Identifier: Apache-2.0
//
// What the words after the options of `regate convert` mean.

public import ArgumentParser
public import RegateKit
public import Routing

extension RouterForm: ExpressibleByArgument {}

/// The levers of `--levers`: place, route or both, and clone with route.
struct Levers: ExpressibleByArgument {
  let place: Bool
  let clone: Bool
  let route: Bool

  init() {
    place = false
    clone = true
    route = true
  }

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard !words.isEmpty, words.allSatisfy({ ["place", "clone", "route"].contains($0) }),
      words.contains("route") || !words.contains("clone")
    else { return nil }
    place = words.contains("place")
    clone = words.contains("clone")
    route = words.contains("route")
  }

  var defaultValueDescription: String { "clone,route" }
}

extension PrototypeRouter.EncoderKind: ExpressibleByArgument {}

/// A similarity by its name on the command line, which has hyphens.
struct SimilarityName: ExpressibleByArgument {
  let kind: PrototypeRouter.Similarity.Kind

  static var all: String {
    PrototypeRouter.Similarity.Kind.allCases.map(name).joined(separator: ", ")
  }

  init() { kind = .dot }

  init?(argument: String) {
    let found = PrototypeRouter.Similarity.Kind.allCases.first { Self.name($0) == argument }
    guard let found else { return nil }
    kind = found
  }

  private static func name(_ kind: PrototypeRouter.Similarity.Kind) -> String {
    String(kind.rawValue.map { $0 == "_" ? "-" : $0 })
  }

  var defaultValueDescription: String { Self.name(kind) }
}

/// `auto` or a number of gradient steps.
struct RefinementSteps: ExpressibleByArgument {
  let steps: Int?

  init() { steps = nil }

  init?(argument: String) {
    if argument == "auto" {
      steps = nil
    } else {
      guard let number = Int(argument), number >= 0 else { return nil }
      steps = number
    }
  }

  var defaultValueDescription: String { "auto" }
}

/// `auto` or a number of dimensions.
struct LatentSize: ExpressibleByArgument {
  let size: Int?

  init() { size = nil }

  init?(argument: String) {
    if argument == "auto" {
      size = nil
    } else {
      guard let number = Int(argument), number > 0 else { return nil }
      size = number
    }
  }

  var defaultValueDescription: String { "auto" }
}
