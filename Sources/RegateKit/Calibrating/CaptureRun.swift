// SPDX-License-Identifier: Apache-2.0
//
// Runs a model on text or ids and writes what its routers read: the file that tools/capture.py
// writes, without Python. One layer's inputs are in memory at a time.

import Architectures
public import ByteStorage
public import Checkpoints
import Inference
import OrderedCollections
import Reports
import Routing
public import Tensors

/// A capture of router inputs.
public struct CaptureRun: Sendable {
  /// What a capture is asked for.
  public struct Request: Sendable {
    public var checkpoint: String
    public var calibration: [String]
    public var output: String
    public var tokens: TokenOptions
    /// F32, F16 or BF16.
    public var type: ElementType
    public var threads: Int
    public var overwrite: Bool

    public init(
      checkpoint: String, calibration: [String], output: String, tokens: TokenOptions = .init(),
      type: ElementType = .bf16, threads: Int, overwrite: Bool = false
    ) {
      self.checkpoint = checkpoint
      self.calibration = calibration
      self.output = output
      self.tokens = tokens
      self.type = type
      self.threads = threads
      self.overwrite = overwrite
    }
  }

  public let output: String
  public let layers: Int
  public let sequences: Int
  public let tokens: Int
  /// Mean next-token negative log-likelihood over the captured tokens, in nats.
  public let meanNLL: Double
  public let seconds: Double

  /// Runs the model and writes the capture.
  public static func run(
    _ request: Request, progress: any ProgressSink
  ) throws(RegateError) -> CaptureRun {
    let clock = ContinuousClock.now
    let model = try Model.open(request.checkpoint)
    guard !model.layout.nativeRouter else {
      throw RegateError(
        .unsupported, file: request.checkpoint, "has native routers, which are not run here",
        advice: "capture from the original")
    }
    guard
      case .tokens(let set) = try Calibration(
        request.calibration, for: model, options: request.tokens)
    else {
      throw RegateError(
        .refused, file: request.calibration.first, "is a capture already",
        advice: "give text or token ids")
    }
    let pass = try model.forwardPass(
      set, streams: 1, threads: request.threads, label: "Capturing", progress: progress)
    var gates: [(layer: Int, gate: Matrix)] = []
    for layer in model.layout.layers {
      gates.append((layer.index, try layer.router(from: model.checkpoint).gate))
    }
    var tensors = [idTensor(set)]
    for layer in model.layout.layers {
      tensors.append(
        SafetensorsWriter.Tensor(
          name: Captures.name(ofLayer: layer.index), type: request.type,
          shape: [set.tokens, layer.hiddenSize]
        ) { (file) throws(RegateError) in
          while pass.layer < layer.index { try pass.advance() }
          try pass.attention()
          try file.write(
            try TensorEncoder.encode(pass.routerInputs(stream: 0).values, type: request.type))
          try pass.advance()
        })
    }
    try SafetensorsWriter.write(
      tensors,
      metadata: [
        "format": Captures.format, "model_fingerprint": GateFingerprint.exact(gates),
        "model_type": model.layout.family.name, "model": request.checkpoint.lastPathComponent,
        "source": request.calibration.map(\.lastPathComponent).joined(separator: ", "),
        "sequences": String(set.sequences.count), "tokens": String(set.tokens),
        "compute_dtype": "float32", "regate": RegateVersion.current,
      ], order: .given, to: request.output, overwrite: request.overwrite)
    try pass.finish()
    let nll = try pass.scores()[0].meanNLL
    progress.end()
    return CaptureRun(
      output: request.output, layers: model.layout.layers.count, sequences: set.sequences.count,
      tokens: set.tokens, meanNLL: nll,
      seconds: Double((ContinuousClock.now - clock) / .milliseconds(1)) / 1000)
  }

  /// `token_ids` I32 [S,L], -1 for padding.
  private static func idTensor(_ set: TokenSet) -> SafetensorsWriter.Tensor {
    let length = set.sequences.map(\.count).max() ?? 0
    let bytes = set.sequences.flatMap { sequence in
      (sequence + [Int](repeating: -1, count: length - sequence.count)).flatMap { id in
        withUnsafeBytes(of: Int32(truncatingIfNeeded: id).littleEndian) { Array($0) }
      }
    }
    return SafetensorsWriter.Tensor(
      name: "token_ids", type: .i32, shape: [set.sequences.count, length], bytes: bytes)
  }

  /// The result as text for a terminal.
  public var text: String {
    "Captured \(Format.count(tokens)) tokens in \(Format.count(sequences)) sequences at "
      + "\(layers) MoE layers to \(output). Mean NLL \(Format.number(meanNLL, decimals: 4)). "
      + "\(Format.number(Double(tokens) / max(seconds, 1e-9), decimals: 0)) tokens/s, "
      + "\(Format.duration(seconds))."
  }

  /// The result as one JSON object.
  public var json: JSONValue {
    [
      "output": .string(output), "layers": .integer(layers), "sequences": .integer(sequences),
      "tokens": .integer(tokens), "nll": .number(meanNLL), "seconds": .number(seconds),
    ]
  }
}
