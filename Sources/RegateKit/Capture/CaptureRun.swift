// SPDX-License-Identifier: Apache-2.0
//
// Runs a model on text or ids and writes what its routers read: the file that tools/capture.py
// writes, without Python. One layer's inputs are in memory at a time.

import Architectures
public import ByteStorage
public import Checkpoints
import Foundation
public import Inference
import Measures
import OrderedCollections
import Reports
import Resuming
import Routing
public import Tensors
import Traffic

/// A capture of router inputs.
public struct CaptureRun: Report {
  /// What a capture is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// Text and files of token ids.
    public var calibration: [String]
    /// Path of the capture to write.
    public var output: String
    /// How text becomes sequences.
    public var tokens: TokenOptions
    /// The share of the chosen sequences to capture; nil: all.
    public var part: CapturePart?
    /// F32, F16 or BF16.
    public var type: ElementType
    /// Threads to work on; the result does not depend on it.
    public var threads: Int
    /// Replace a file that is there.
    public var overwrite: Bool
    /// How the state of a long run is kept.
    public var resume: ResumeOptions

    public init(
      checkpoint: String, calibration: [String], output: String, tokens: TokenOptions = .init(),
      part: CapturePart? = nil, type: ElementType = .bf16, threads: Int = Threads.all,
      overwrite: Bool = false,
      resume: ResumeOptions = .init()
    ) {
      self.checkpoint = checkpoint
      self.calibration = calibration
      self.output = output
      self.tokens = tokens
      self.part = part
      self.type = type
      self.threads = threads
      self.overwrite = overwrite
      self.resume = resume
    }
  }

  /// Path of the capture.
  public let output: String
  /// MoE layers whose router inputs were captured.
  public let layers: Int
  /// The share of the chosen sequences that it holds; nil: all.
  public let part: CapturePart?
  /// S.
  public let sequences: Int
  /// T.
  public let tokens: Int
  /// What the model's weights were multiplied in: float32, bfloat16, int8.
  public let precision: String
  /// Mean next-token negative log-likelihood over the counted positions, in nats.
  public let meanNLL: Double
  /// Which positions were counted, and how many there are.
  public let perplexityProtocol: PerplexityProtocol
  /// How many positions were counted.
  public let positions: Int
  /// Wall-clock seconds.
  public let seconds: Double

  /// Runs the model and writes the capture.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> CaptureRun {
    let start = ContinuousClock.now
    let model = try Model.open(request.checkpoint, precision: request.tokens.precision)
    progress.warn(of: model)
    guard !model.layout.hasPrototypeRouter else {
      throw RegateError(
        .unsupported, file: request.checkpoint,
        "has prototype routers, and a capture is of the original", advice: "capture from that")
    }
    let claim = try OutputClaim(
      request.output, as: .capture, overwrite: request.overwrite,
      apartFrom: RunInputs(model.checkpoint, request.calibration))
    try requireReadable(request.output)
    guard
      case .tokens(let chosen) = try Calibration(
        request.calibration, for: model, options: request.tokens, progress: progress)
    else {
      throw RegateError(
        .refused, file: request.calibration.first, "is a capture already",
        advice: "give text or token ids")
    }
    progress.warnOfLeftovers(beside: request.output)
    let set = try request.part.map(chosen.share) ?? chosen
    let traffic = Calibration.tokens(set)
    let precision = try set.runnable.get().products
    var key = try ResumeKey(
      "capture", checkpoint: model.checkpoint, traffic: try traffic.digest())
    key["dtype"] = request.type.rawValue
    key["precision"] = precision
    key["perplexity"] = request.tokens.perplexity.rawValue
    key["part"] = request.part?.description ?? "all"
    let point = try ResumePoint(
      beside: request.output, key: key, options: request.resume,
      leftover: request.overwrite ? .remove : .refuse, progress: progress)
    let walk = try LayerWalk(
      model, traffic, streams: 1, threads: request.threads, label: "Capturing",
      resume: (point, "capture"), progress: progress)
    do throws(RegateError) {
      try write(
        try header(request, model, set, of: chosen, precision: precision), set, request, walk,
        model, point)
      let counted = request.tokens.perplexity
      let scores = try walk.scores(counted)[0]
      progress.end()
      let staged = try StagedOutput(files: [claim])
      try staged.adopt(
        point.folder + "/" + ResumeState.partialName, as: claim.path.lastPathComponent)
      try staged.commit()
      point.discard()
      return CaptureRun(
        output: request.output, layers: model.layout.layers.count,
        part: request.part, sequences: set.sequences.count, tokens: set.tokens,
        precision: precision, meanNLL: scores.meanNLL,
        perplexityProtocol: counted, positions: scores.nll.count,
        seconds: Duration.seconds(since: start))
    } catch {
      // Nothing to continue from: nothing is left behind.
      if !point.isSaved { point.discard() }
      var error = error
      if error.file == point.folder + "/" + ResumeState.partialName { error.file = request.output }
      throw error
    }
  }

  /// Captures are told from text by their names.
  private static func requireReadable(_ output: String) throws(RegateError) {
    guard output.pathExtension.lowercased() != "safetensors" else { return }
    throw RegateError(
      .refused, file: output, subject: "`output`",
      "does not end in .safetensors, by which a capture is known when it is given again",
      advice: "name it \(output.lastPathComponent).safetensors")
  }

  private static func header(
    _ request: Request, _ model: Model, _ set: TokenSet, of chosen: TokenSet, precision: String
  ) throws(RegateError) -> SafetensorsHeader {
    let length = set.sequences.map(\.count).max() ?? 0
    let weights = try WeightsIdentity(model.checkpoint)
    var metadata: OrderedDictionary<String, String> = [
      "format": Captures.format, "model_fingerprint": try model.routerFingerprint() ?? "",
      Captures.layoutKey: weights.layout, Captures.sampleKey: weights.sample,
      "model_type": model.layout.family.name, "model": request.checkpoint.lastPathComponent,
      "source": request.calibration.map(\.lastPathComponent).joined(separator: ", "),
      "sequences": String(set.sequences.count), "tokens": String(set.tokens),
      Captures.precisionKey: precision, "regate": RegateVersion.current,
    ]
    if let part = request.part {
      metadata.merge(
        try CaptureParts.metadata(part, of: chosen, options: request.tokens).elements
      ) { own, _ in own }
    }
    return try SafetensorsHeader(
      [(Captures.idName, ElementType.i32, [set.sequences.count, length])]
        + model.layout.layers.map {
          (Captures.name(ofLayer: $0.index), request.type, [set.tokens, $0.hiddenSize])
        },
      metadata: metadata, order: .given)
  }

  /// Writes ids and router inputs, from the layer on at which an earlier run stopped.
  private static func write(
    _ header: SafetensorsHeader, _ set: TokenSet, _ request: Request, _ walk: LayerWalk,
    _ model: Model, _ point: ResumePoint
  ) throws(RegateError) {
    _ = try walk.restore()
    let opening = try header.serialised()
    try point.makeFolder()
    let path = point.folder + "/" + ResumeState.partialName
    var file: FileWriter
    if point.isSaved {
      // Entries whose layer was done lie before the first byte of what is still to come.
      let end = header.entries[walk.doneLayers].range.upperBound
      file = try FileWriter(continuing: path, at: opening.count + end)
    } else {
      try? FileManager.default.removeItem(atPath: path)
      file = try FileWriter(creating: path)
      try file.write(opening)
      try file.write(idBytes(set))
    }
    while let layer = try walk.next() {
      try writeInputs(of: walk, as: request.type, to: &file)
      let assignment = walk.route(try model.router(of: layer).router, stream: 0)
      _ = try walk.finish([assignment], maps: [nil])
      // What the state says is done must be on the disk.
      try walk.keep([]) { () throws(RegateError) in try file.sync() }
    }
    try file.sync()
  }

  /// Rows that are encoded at a time.
  private static let blockRows = 1024

  private static func writeInputs(
    of walk: LayerWalk, as type: ElementType, to file: inout FileWriter
  ) throws(RegateError) {
    let tokens = walk.tokenCount
    for start in stride(from: 0, to: tokens, by: blockRows) {
      let values = walk.inputs(stream: 0, rows: start..<min(start + blockRows, tokens)).values
      try file.write(try TensorEncoder.encode(values, type: type))
    }
  }

  /// `token_ids` I32 [S,L], -1 for padding.
  private static func idBytes(_ set: TokenSet) -> [UInt8] {
    let length = set.sequences.map(\.count).max() ?? 0
    return set.sequences.flatMap { sequence in
      (sequence + [Int](repeating: -1, count: length - sequence.count)).flatMap { id in
        Int32(truncatingIfNeeded: id).littleEndianBytes
      }
    }
  }

  /// The result as text for a terminal.
  public var text: String {
    "Captured \(part.map { "part \($0): " } ?? "")\(Format.count(tokens)) tokens in \(Format.count(sequences)) sequences at "
      + "\(layers) MoE layers to \(output), in \(precision). Mean NLL \(Format.number(meanNLL, decimals: 4)). "
      + "\(Format.number(Double(tokens) / max(seconds, 1e-9), decimals: 0)) tokens/s, "
      + "\(Format.duration(seconds))."
  }

  /// The result as one JSON object.
  public var json: JSONValue {
    [
      "output": .string(output), "part": .optional(part?.description),
      "layers": .integer(layers), "sequences": .integer(sequences),
      "tokens": .integer(tokens), "precision": .string(precision), "nll": .number(meanNLL),
      "ppl_protocol": .string(perplexityProtocol.rawValue), "scored_tokens": .integer(positions),
      "seconds": .number(seconds),
    ]
  }
}
