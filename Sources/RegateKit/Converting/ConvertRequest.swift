// SPDX-License-Identifier: Apache-2.0

import Fitting
public import Routing

/// The form in which the new router is written.
public enum RouterForm: String, Sendable, CaseIterable {
  /// The prototype router, with tensors and code of its own.
  case lpr
  /// The router that the architecture already has, with new values.
  case stock
  /// The router of the official LPR code, under its names.
  case lprOfficial = "lpr-official"

  /// The forms that have tensors and a configuration of their own.
  var replacesGate: Bool { self != .stock }
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
  /// Encoder and similarity of the prototype router.
  public var latentForm: PrototypeRouter.LatentForm
  /// Gradient steps of the prototype router; nil: as many as help at the latent size.
  public var refinementSteps: Int?
  public var seed: UInt64
  public var threads: Int
  /// A fit file to write.
  public var saveFit: String?
  /// A fit file to use instead of fitting.
  public var fit: String?
  public var overwrite: Bool
  public var resume: ResumeOptions
  /// Change the router.
  public var routes = true
  /// Include the layers of multi-token prediction, which are left alone otherwise.
  public var mtp = false
  /// Renumber experts so that ranks carry equal load.
  public var places = false
  /// Expert-parallel rank counts that renumbering balances together; a plan is for the largest.
  public var ranks = [2, 4, 8]
  /// llama.cpp's importance matrix, as the load for renumbering.
  public var imatrix: String?
  /// A delta to write.
  public var delta: String?
  /// Change the checkpoint's own files.
  public var inPlace = false
  /// Hard-link output files that do not differ from the original's.
  public var links = false
  /// A GGUF LoRA adapter to write, and its rank; nil: exact.
  public var lora: String?
  public var loraRank: Int?
  /// A file for SGLang's `--init-expert-location` to write, and how many experts are doubled.
  public var expertLocations: String?
  public var redundantExperts = 0
  /// Machines that the ranks are on, for the plan.
  public var machines = 1

  public init(
    checkpoint: String, calibration: [String] = [], weights: [Double] = [],
    protected: [String] = [], tokens: TokenOptions = .init(),
    output: String? = nil, form: RouterForm? = nil,
    clones: Bool = true, balance: Balance = .strength(1), latentSize: Int? = nil,
    latentForm: PrototypeRouter.LatentForm = .init(), refinementSteps: Int? = nil, seed: UInt64 = 0,
    threads: Int, saveFit: String? = nil, fit: String? = nil, overwrite: Bool = false,
    resume: ResumeOptions = .init()
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
    self.latentForm = latentForm
    self.refinementSteps = refinementSteps
    self.seed = seed
    self.threads = threads
    self.saveFit = saveFit
    self.fit = fit
    self.overwrite = overwrite
    self.resume = resume
  }

  /// The levers by name.
  var levers: [String] {
    (places ? ["place"] : []) + (clones && routes ? ["clone"] : []) + (routes ? ["route"] : [])
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

extension ConvertRequest {
  var latent: FitOptions.Latent { latentSize.map { .size($0) } ?? .automatic }

  /// Gradient steps, if a fit is made.
  var steps: Int { refinementSteps ?? FitOptions.defaultRefinement(at: latent) }
}
