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
  }

  public var checkpoint: String
  /// Captures, or text and token ids that the model is run on.
  public var calibration: [String]
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
  /// Change the router.
  public var routes = true
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
    checkpoint: String, calibration: [String] = [], tokens: TokenOptions = .init(), output: String? = nil, form: RouterForm? = nil,
    clones: Bool = true, balance: Balance = .strength(1), latentSize: Int? = nil, seed: UInt64 = 0,
    threads: Int, saveFit: String? = nil, fit: String? = nil, overwrite: Bool = false
  ) {
    self.checkpoint = checkpoint
    self.calibration = calibration
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

  /// The levers by name.
  var levers: [String] {
    (places ? ["place"] : []) + (clones && routes ? ["clone"] : []) + (routes ? ["route"] : [])
  }
}
