// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
public import RegateKit

/// The traffic that a fit is made for.
struct CalibrationArguments: ParsableArguments {
  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp("Text, token ids or captures to fit to. Repeatable.", valueName: "file"))
  var files: [String] = []

  @Option(
    help: ArgumentHelp("Each file's share of the traffic: a set of its own.", valueName: "w,..."))
  var weights: PositiveNumbers?

  @Option(
    name: .customLong("protect"),
    help: ArgumentHelp("Traffic whose experts are never pruned. Repeatable.", valueName: "file"))
  var protected: [String] = []

  func validate() throws {
    if let weights, weights.values.count != files.count {
      throw ValidationError(
        "--weights must give one weight for each --calibration: \(weights.values.count) for "
          + "\(files.count).")
    }
    if !protected.isEmpty, files.isEmpty {
      throw ValidationError("--protect goes with --calibration.")
    }
  }

  /// Whether nothing says what to fit to.
  var isEmpty: Bool { files.isEmpty && weights == nil && protected.isEmpty }

  func sets(_ tokens: TokenOptions) -> CalibrationSets {
    CalibrationSets(files, weights: weights?.values ?? [], protected: protected, tokens: tokens)
  }
}

/// How much text is used, and where it stands.
struct TokenArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Most tokens of text to use.", valueName: "n"))
  var maxTokens = Self.standard.maxTokens

  @Option(help: ArgumentHelp("Key of the text in JSON lines.", valueName: "key"))
  var field = Self.standard.field

  private static let standard = (maxTokens: 65536, field: "text")

  /// Whether nothing differs from the defaults.
  var isStandard: Bool { (maxTokens, field) == Self.standard }

  func validate() throws {
    guard maxTokens > 1 else { throw ValidationError("--max-tokens must be 2 or more.") }
  }

  func options(_ running: RunArguments, seed: UInt64) -> TokenOptions {
    TokenOptions(
      length: running.length, maxTokens: maxTokens, field: field, seed: seed,
      precision: running.precision)
  }
}

extension Precision: ExpressibleByArgument {}

/// How the model is run on text.
struct RunArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Longest sequence of text, in tokens.", valueName: "n"))
  var length = Self.standard.length

  @Option(
    help: ArgumentHelp(
      "How weights are multiplied: f32, bf16 (with activations rounded to it, as servers do), or "
        + "auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.",
      valueName: Precision.allCases.map(\.rawValue).joined(separator: "|")))
  var precision = Self.standard.precision

  private static let standard = (length: 512, precision: Precision.auto)

  /// Whether nothing differs from the defaults.
  var isStandard: Bool { (length, precision) == Self.standard }

  func validate() throws {
    guard length > 1 else { throw ValidationError("--length must be 2 or more.") }
  }
}

/// The seed of everything random.
struct SeedArgument: ParsableArguments {
  @Option(help: ArgumentHelp("Seed; the same seed gives the same bytes.", valueName: "n"))
  var seed = Self.standard

  private static let standard: UInt64 = 0

  var isStandard: Bool { seed == Self.standard }
}

/// Where the load of the experts is taken from.
struct LoadArguments: ParsableArguments {
  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp(
      "Text (.txt, .jsonl, .json, .gz), token ids (.npy, .npz, .safetensors) or captured "
        + "activations to count the load on. Repeatable.", valueName: "file"))
  var files: [String] = []

  @Option(
    name: [.customLong("counts"), .customLong("imatrix")],
    help: ArgumentHelp(
      "Counts instead of a run: llama.cpp's importance matrix, SGLang's dump (.pt), vLLM's routed "
        + "experts (.npy, .npz), CSV or JSON of layer, expert, count. Repeatable.",
      valueName: "file"))
  var counts: [String] = []

  func validate() throws {
    if !counts.isEmpty, !files.isEmpty {
      throw ValidationError("Give either --calibration or --counts.")
    }
  }

  /// What chooses tokens goes with files that have some.
  func requireUse(
    _ tokens: TokenArguments, _ running: RunArguments, _ seed: SeedArgument
  ) throws {
    if files.isEmpty, !(tokens.isStandard && running.isStandard && seed.isStandard) {
      throw ValidationError(
        "--max-tokens, --field, --precision, --length and --seed go with --calibration.")
    }
  }

  /// nil where no source is given.
  func request(_ tokens: TokenOptions) -> LoadRequest? {
    if !counts.isEmpty { return .counts(counts) }
    return files.isEmpty ? nil : .traffic(files, tokens)
  }
}

/// Positive numbers, separated by commas.
struct PositiveNumbers: ExpressibleByArgument {
  let values: [Double]

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    values = words.compactMap { Double($0) }
    guard values.count == words.count, values.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      return nil
    }
  }
}

/// Whole numbers above 0, separated by commas: rank counts, sizes of batches.
struct PositiveIntegers: ExpressibleByArgument {
  let values: [Int]

  init?(argument: String) {
    let values = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard !values.isEmpty, values.allSatisfy({ ($0 ?? 0) > 0 }) else { return nil }
    self.values = values.compactMap { $0 }
  }
}
