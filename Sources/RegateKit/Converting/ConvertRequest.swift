// SPDX-License-Identifier: Apache-2.0

/// The form in which the new router is written.
public enum RouterForm: String, Sendable, CaseIterable {
  /// The native prototype router, with tensors and code of its own.
  case lpr
  /// The router that the architecture already has, with new values.
  case stock
}

/// What a conversion is asked for.
public struct ConvertRequest: Sendable {
  /// How much balance.
  public enum Balance: Sendable, Hashable {
    /// 0 changes nothing, 1 asks for uniform load.
    case strength(Double)
    /// The least strength that brings the mean Gini of held-out tokens down to this.
    case targetGini(Double)
    /// The most balance at which the mean NLL of held-out tokens rises by no more, in nats.
    case maxLossIncrease(Double)
    /// The most balance at which the mean output error on held-out captures is no larger.
    case maxOutputError(Double)
    /// All of these strengths, for a sweep.
    case sweep([Double])
  }

  public var checkpoint: String
  /// Captures, or text and token ids that the model is run on.
  public var calibration: [String]
  /// The share of each file of `calibration` in the traffic, up to a factor; empty: all files are
  /// one set.
  public var weights: [Double]
  /// Traffic that is not balanced, but whose experts are never given up.
  public var protected: [String]
  /// How text becomes sequences.
  public var tokens: TokenOptions
  /// nil: only plan or fit.
  public var output: String?
  /// nil: the container's default, `lpr` for safetensors and `stock` for GGUF.
  public var form: RouterForm?
  /// Copy hot experts over hardly used ones.
  public var clones: Bool
  public var balance: Balance
  /// nil: from the spectrum.
  public var latentSize: Int?
  public var seed: UInt64
  public var threads: Int
  /// A fit file to write.
  public var saveFit: String?
  /// A fit file to use instead of fitting.
  public var fit: String?
  public var overwrite: Bool

  public init(
    checkpoint: String, calibration: [String] = [], weights: [Double] = [],
    protected: [String] = [], tokens: TokenOptions = .init(), output: String? = nil,
    form: RouterForm? = nil,
    clones: Bool = true, balance: Balance = .strength(1), latentSize: Int? = nil, seed: UInt64 = 0,
    threads: Int, saveFit: String? = nil, fit: String? = nil, overwrite: Bool = false
  ) {
    self.checkpoint = checkpoint
    self.calibration = calibration
    self.weights = weights
    self.protected = protected
    self.tokens = tokens
    self.output = output
    self.form = form
    self.clones = clones
    self.balance = balance
    self.latentSize = latentSize
    self.seed = seed
    self.threads = threads
    self.saveFit = saveFit
    self.fit = fit
    self.overwrite = overwrite
  }

  /// Whether part of the calibration is kept from the fit and decides or reports.
  var holdsOut: Bool {
    if case .strength = balance { return !weights.isEmpty || !protected.isEmpty }
    return true
  }

  /// Strengths that are fitted side by side.
  var strengths: [Double] {
    switch balance {
    case .strength(let strength): [strength]
    case .sweep(let strengths): strengths
    case .targetGini, .maxLossIncrease, .maxOutputError: StrengthSearch.candidates
    }
  }
}
