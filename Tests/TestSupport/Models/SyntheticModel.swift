// SPDX-License-Identifier: Apache-2.0

/// A small Mixture-of-Experts model with random weights and router inputs that load its experts
/// unevenly. All values are small integers times a power of two, so that every container and dtype
/// holds the very same model, and logits are exact whatever the order of summation.
public struct SyntheticModel: Sendable {
  /// The architectures that are built.
  public enum Family: String, Sendable, CaseIterable {
    case mixtral, qwen3, deepseek
  }

  /// One expert: gate and up [I,H], down [H,I].
  public struct Expert: Sendable {
    public var gate: [Float]
    public var up: [Float]
    public var down: [Float]
  }

  /// One MoE layer.
  public struct Layer: Sendable {
    public let index: Int
    /// [E,H]
    public var gate: [Float]
    /// [E]; DeepSeek only.
    public var bias: [Float]?
    public var experts: [Expert]
    /// Router inputs [T,H].
    public var inputs: [Float]
  }

  public let family: Family
  /// E, K, H, I, T.
  public let experts: Int
  public let topK: Int
  public let hidden: Int
  public let width: Int
  public let tokens: Int
  /// Layers, dense ones included.
  public let layerCount: Int
  /// Layers for multi-token prediction after these.
  public let mtpLayers: Int
  /// Size of the vocabulary.
  public static let vocabulary = 32
  /// What expert weights and gates are multiples of.
  public static let weightStep = Float(sign: .plus, exponent: -9, significand: 1)
  public static let gateStep = Float(sign: .plus, exponent: -8, significand: 1)
  /// Expert groups of the DeepSeek model, and how many are kept.
  public static let groups = 4
  public static let keptGroups = 2
  public static let scale: Float = 2.5

  public var layers: [Layer]

  /// Builds the model. FP8 weights have four significant bits, so `fp8` draws from fewer integers.
  public init(
    _ family: Family, seed: UInt64 = 1, experts: Int? = nil, hidden: Int = 64, width: Int = 32,
    tokens: Int = 1280, fp8: Bool = false, mtpLayers: Int = 0
  ) {
    self.family = family
    self.experts = experts ?? (family == .mixtral ? 8 : 16)
    self.hidden = hidden
    self.width = width
    self.tokens = tokens
    topK = family == .mixtral ? 2 : 4
    layerCount = family == .deepseek ? 3 : 2
    self.mtpLayers = mtpLayers
    var random = SeededGenerator(seed: seed)
    layers = []
    for index in (family == .deepseek ? 1 : 0)..<layerCount + mtpLayers {
      layers.append(
        Self.layer(
          index, family, experts: self.experts, hidden: hidden, width: width, tokens: tokens,
          largest: fp8 ? 15 : 100, &random))
    }
  }

  private static func layer(
    _ index: Int, _ family: Family, experts: Int, hidden: Int, width: Int, tokens: Int,
    largest: Int, _ random: inout SeededGenerator
  ) -> Layer {
    func weights(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float(Int.random(in: -largest...largest, using: &random)) * weightStep
      }
    }
    let gate = (0..<experts * hidden).map { _ in
      let deviation = 0.15 * (8 / Double(hidden).squareRoot())
      return Float(clamped(normal(&random) * deviation / Double(gateStep))) * gateStep
    }
    let bias =
      family == .deepseek
      ? (0..<experts).map { _ in Float(Int.random(in: -20...60, using: &random)) / 256 } : nil
    return Layer(
      index: index, gate: gate, bias: bias,
      experts: (0..<experts).map { _ in
        Expert(
          gate: weights(width * hidden), up: weights(width * hidden), down: weights(hidden * width))
      }, inputs: inputs(tokens: tokens, hidden: hidden, &random))
  }

  /// A mixture of few clusters of very different size: some experts get most tokens.
  private static func inputs(
    tokens: Int, hidden: Int, _ random: inout SeededGenerator
  ) -> [Float] {
    let clusters = 5
    let centres = (0..<clusters * hidden).map { _ in normal(&random) }
    var values: [Float] = []
    values.reserveCapacity(tokens * hidden)
    for _ in 0..<tokens {
      var cluster = 0
      while cluster < clusters - 1, Bool.random(using: &random) { cluster += 1 }
      for column in 0..<hidden {
        let value = centres[cluster * hidden + column] + 0.6 * normal(&random)
        values.append(Float(clamped(value * 16)) / 16)
      }
    }
    return values
  }

  /// An integer that BF16 holds exactly.
  private static func clamped(_ value: Double) -> Int { Int(min(127, max(-127, value.rounded()))) }

  /// Roughly normal: the sum of twelve uniform numbers (Irwin-Hall), needs no logarithm.
  private static func normal(_ random: inout SeededGenerator) -> Double {
    (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &random) }
  }

  /// The layer of that number.
  public func layer(_ index: Int) -> Layer? { layers.first { $0.index == index } }

  /// `count` values for a tensor that is neither router nor expert, the same for the same name.
  func fillerValues(_ name: String, _ count: Int) -> [Float] {
    var random = SeededGenerator(
      seed: name.utf8.reduce(14_695_981_039_346_656_037) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 })
    return (0..<count).map { _ in
      Float(Int.random(in: -100...100, using: &random)) * Self.weightStep
    }
  }
}
