// SPDX-License-Identifier: Apache-2.0
//
// What a conversion will write and need, told from headers alone.

import Architectures
import ByteStorage
public import Checkpoints
import Fitting
import OrderedCollections
import Reports
import Routing
import Tensors

/// A conversion before it is run.
public struct ConversionPlan: Sendable {
  /// One MoE layer's share.
  struct Layer: Sendable {
    let index: Int
    /// Router tensors that change or go.
    let tensors: [String]
    let routerBytes: Int
    /// Everything that belongs to one expert.
    let expertBytes: Int
    /// Slots that clones can take at most: a token needs K distinct experts.
    let cloneLimit: Int
  }

  /// Rates that the time estimate assumes: bytes per second through the disk, and floating-point
  /// operations per second and thread.
  static let diskRate = 500e6
  static let computeRate = 20e9

  let checkpoint: String
  let family: Family
  let container: Container
  let form: RouterForm
  let clones: Bool
  let routes: Bool
  /// What serving runtimes will make of the output.
  let check: Check
  let layers: [Layer]
  /// Routers of multi-token prediction that do not change.
  let leftAlone: [ExtraRouter]
  /// Bytes of the whole output.
  let outputBytes: Int
  /// Calibration tokens; nil without captures.
  let tokens: Int?
  /// Strengths that are fitted side by side.
  public let candidates: Int
  /// Estimated peak of resident memory, mapped files aside.
  let memoryBytes: Int?
  /// nil where the model is run: that depends on how fast the machine runs it.
  let seconds: Double?
  /// What running the model needs; nil for captures.
  let run: RunEstimate?

  init(
    model: Model, form: RouterForm, request: ConvertRequest, check: Check, mix: CalibrationMix?,
    run: RunEstimate? = nil
  ) {
    let tokens = mix?.tokens
    checkpoint = model.checkpoint.path
    family = model.layout.family
    container = model.checkpoint.container
    self.form = form
    clones = request.clones && request.routes
    routes = request.routes
    self.check = check
    candidates = request.strengths.count
    self.tokens = tokens
    layers = model.layout.layers.map { layer in
      let tensors = [layer.gate, layer.gateBias, layer.selectionBias].compactMap { $0 }
      return Layer(
        index: layer.index, tensors: tensors.map(\.name),
        routerBytes: tensors.reduce(0) { $0 + $1.range.count },
        expertBytes: layer.experts.reduce(0) { $0 + $1.slice(expert: 0).bytes.count },
        cloneLimit: request.clones ? layer.rule.experts - layer.rule.topK : 0)
    }
    leftAlone = model.layout.extraRouters
    outputBytes = model.checkpoint.files.reduce(0) { $0 + $1.count }
    self.run = run
    memoryBytes = tokens.map {
      let fit = ConversionPlan.fitMemory(model.layout, request, tokens: $0)
      // A layer runs before it is fitted and after, never meanwhile.
      return RunEstimate.processBytes + (run?.stateBytes ?? 0) + max(fit, run?.layerBytes ?? 0)
    }
    let fitting =
      Double(request.strengths.count)
      * (tokens.map { ConversionPlan.operations(model.layout, request, tokens: $0) } ?? 0)
    // Written once, read back twice: to verify and to hash.
    seconds =
      run != nil
      ? nil
      : Double(outputBytes) * 3 / ConversionPlan.diskRate
        + fitting / (ConversionPlan.computeRate * Double(request.threads))
  }

  /// The largest layer's inputs, twice while a part is held out, a few matrices of tokens x
  /// experts, and one decoded expert per thread.
  private static func fitMemory(
    _ layout: ModelLayout, _ request: ConvertRequest, tokens: Int
  ) -> Int {
    layout.layers.map { layer in
      let inputs = 2 * tokens * layer.hiddenSize
      let scores = 8 * tokens * layer.rule.experts
      let expert =
        layout.undecodable == nil && request.clones
        ? request.threads * (3 * layer.expertWidth + OutputSketch.sampleTokens) * layer.hiddenSize
        : 0
      return 4 * (inputs + scores + expert)
    }.max() ?? 0
  }

  /// Floating-point operations of fits and of sampling the experts.
  private static func operations(
    _ layout: ModelLayout, _ request: ConvertRequest, tokens: Int
  ) -> Double {
    layout.layers.reduce(0) { sum, layer in
      let routing = 2.0 * Double(tokens * layer.rule.experts)
      let passes = Double(4 * layer.hiddenSize + 400 * 8)
      let outputs = request.latentForm.encoder == .gaussian ? 2 : 1
      // Forward and backward, for the fit that is judged and for the one that is written.
      let refinement =
        12.0 * Double(request.steps * RouterRefinement.Options().batch)
        * Double((outputs * layer.hiddenSize + layer.rule.experts) * layer.rule.experts)
      let evaluated =
        OutputSketch.sampleTokens
        * OutputSketch.candidates(experts: layer.rule.experts, topK: layer.rule.topK)
      let sampling =
        request.clones
        ? 6.0 * Double(evaluated * layer.hiddenSize) * Double(layer.expertWidth) : 0
      return sum + routing * passes + refinement + sampling
    }
  }

  /// The form, what loads it, and how to choose another.
  public var headline: String { Self.headline(form, container, routes: routes) }

  static func headline(_ form: RouterForm, _ container: Container, routes: Bool) -> String {
    guard routes else {
      return "Renumbering experts with their routers' rows (--levers place): lossless; loads "
        + "wherever the original did. Add the levers clone and route to balance the experts too."
    }
    switch (form, container) {
    case (.lpr, _):
      return "Writing the prototype router (--router lpr): loads in transformers with "
        + "trust_remote_code; stock runtimes refuse it. "
        + "Choose --router stock for an output that loads wherever the original did."
    case (.lprOfficial, _):
      return "Writing the router of the official LPR code (--router lpr-official): loads in that "
        + "code for further training; it is a distillation of the prototype router, and no other "
        + "runtime loads it. Choose --router lpr for the prototype router, --router stock for an "
        + "output that loads wherever the original did."
    case (.stock, .gguf):
      return
        "Writing the stock router (the only form for GGUF): loads in llama.cpp and everything else "
        + "that loaded the original."
    case (.stock, .safetensors):
      return "Writing the stock router (--router stock): loads in transformers, vLLM, SGLang and "
        + "everything else that loaded the original. Choose --router lpr for better balance at "
        + "less loss, in the prototype form."
    }
  }

  /// The memory that it needs, in words; nil without a calibration set.
  public var memory: String? {
    guard let memoryBytes, let tokens else { return nil }
    let streams = candidates > 1 ? ", \(candidates) strengths side by side" : ""
    return "Memory: about \(Format.bytes(memoryBytes)) for \(Format.count(tokens)) calibration "
      + "tokens\(streams), mapped files aside."
  }

  /// The plan as text for a terminal.
  public var text: String {
    var table = TextTable(
      ["layer", "router tensor", "router", "one expert", "clones at most"],
      alignments: [.left, .left, .right, .right, .right])
    for layer in layers {
      table.append([
        String(layer.index), layer.tensors.joined(separator: ", "),
        Format.bytes(layer.routerBytes), Format.bytes(layer.expertBytes),
        clones ? String(layer.cloneLimit) : "-",
      ])
    }
    let routers = layers.reduce(0) { $0 + $1.routerBytes }
    let most = layers.reduce(0) { $0 + $1.cloneLimit * $1.expertBytes }
    var lines = [
      headline, "", "\(checkpoint): \(family.title), \(container.rawValue)", table.render(), "",
      "Output: \(Format.bytes(outputBytes)), of which routers \(Format.bytes(routers))"
        + (clones ? ", clones at most \(Format.bytes(most))" : "") + "; the rest byte-identical.",
    ]
    lines += leftAlone.map(\.notice)
    lines.append(memory ?? "Memory: give --calibration for an estimate.")
    if let run {
      lines.append(
        "The model is run on the tokens: of that, \(Format.bytes(run.hiddenBytes)) are hidden "
          + "states, which the state for --resume also takes on the disk while it runs.")
    }
    lines.append(
      seconds.map { seconds in
        "Time: about \(Format.duration(seconds)) at \(Format.bytes(Int(ConversionPlan.diskRate)))/s "
          + "of disk and \(Int(ConversionPlan.computeRate / 1e9)) GFLOP/s per thread."
      } ?? "Time: depends on how fast this machine runs the model; the run itself tells.")
    lines.append("Loading (regate check says why): \(check.summary).")
    return lines.joined(separator: "\n")
  }

  /// The plan as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint), "family": .string(family.name),
      "container": .string(container.rawValue), "router": .string(form.rawValue),
      "output_bytes": .integer(outputBytes),
      "router_bytes": .integer(layers.reduce(0) { $0 + $1.routerBytes }),
      "memory_bytes": memoryBytes.map { .integer($0) } ?? .null,
      "tokens": tokens.map { .integer($0) } ?? .null, "seconds": .optional(seconds),
      "hidden_state_bytes": run.map { .integer($0.hiddenBytes) } ?? .null,
      "check": check.json,
      "layers": .array(
        layers.map {
          [
            "index": .integer($0.index), "tensors": .array($0.tensors.map { .string($0) }),
            "router_bytes": .integer($0.routerBytes), "expert_bytes": .integer($0.expertBytes),
            "clone_limit": .integer($0.cloneLimit),
          ]
        }),
      "left_alone": .array(leftAlone.map { .string($0.gate.name) }),
    ]
  }
}
