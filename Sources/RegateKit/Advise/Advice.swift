// SPDX-License-Identifier: Apache-2.0
//
// What can be done for even ranks of an expert-parallel group, what each would bring on the traffic
// at hand, and what it costs.

public import ByteStorage
public import Measures
public import Runtimes
public import Traffic

/// What to do with a checkpoint that is served on expert-parallel ranks. Nothing is written.
public struct Advice: Report {
  /// What advice is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// The traffic that it is about. On counts no router can be fitted.
    public var load: LoadRequest
    /// Expert-parallel rank counts; each is looked at for itself.
    public var ranks: [Int]
    /// Tokens of a batch, those of all ranks together.
    public var batches: [Int]
    /// Places beyond the experts that a runtime with redundant experts has, those of all ranks
    /// together; nil: one for each rank.
    public var redundant: Int?
    /// What a rank's GPU does.
    public var roofline: Roofline
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      checkpoint: String, load: LoadRequest, ranks: [Int],
      batches: [Int] = RankBatches.standardSizes, redundant: Int? = nil,
      roofline: Roofline = .h100, threads: Int = Threads.all
    ) {
      self.checkpoint = checkpoint
      self.load = load
      self.ranks = ranks
      self.batches = batches
      self.redundant = redundant
      self.roofline = roofline
      self.threads = threads
    }
  }

  /// One option on one number of ranks. Figures of balance are on the judging tokens, means over
  /// layers.
  public struct Row: Sendable {
    /// Ranks of the group.
    public let ranks: Int
    /// Stable name of the option.
    public let option: String
    /// The option in words.
    public let title: String
    /// The same as something to do, after "On 8 ranks, ".
    let deed: String
    /// Whether the model computes what it did.
    public let isLossless: Bool
    /// Busiest rank over the mean; nil where no token was counted.
    public let imbalance: Double?
    /// The same batch by batch; sizes that no batch could be made of are missing.
    public let batches: [RankBatches]
    /// Seconds of the routed experts for a batch, all layers together, in the order of `batches`.
    public let seconds: [Double]
    /// Rise of the mean NLL in nats; 0 where nothing is lost, nil where it is not known.
    public let lossIncrease: Double?
    /// Relative error of the routed experts' output; 0 where nothing is lost, nil where it is not
    /// known.
    public let outputError: Double?
    /// Bytes of the checkpoint that change, or of the map.
    public let bytesToWrite: Int
    /// Bytes of experts on the fullest rank.
    public let expertBytes: Int
    /// Those that were seen to load it.
    public let runtimes: [Runtime]
    /// What makes it: types and fields of the library in backquotes; nil where nothing is to be
    /// done.
    public let command: String?
  }

  /// What was found for one number of ranks.
  public struct Group: Sendable {
    /// Ranks of the group.
    public let ranks: Int
    /// The checkpoint as it is, then everything else.
    public let rows: [Row]
  }

  /// Path of the checkpoint.
  public let checkpoint: String
  /// Where the load comes from, in words.
  public let loadSource: String
  /// Tokens that plans and fits were made from.
  public let tokens: Int
  /// Other tokens, which all figures are on; nil where there are none, and they are on the same.
  public let heldOutTokens: Int?
  /// For each number of ranks.
  public let groups: [Group]
  /// What time is told from.
  public let roofline: Roofline
  /// What could not be looked at, and why, one sentence each.
  public let leftOut: [String]
  /// Bytes of the whole checkpoint, and of a copy.
  public let checkpointBytes: Int
  /// What should be known of the checkpoint before relying on it, one sentence each.
  public let warnings: [String]

  /// Looks at all options in one pass over the layers. `announce` gets the memory that this needs,
  /// in words, before the long work.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress(),
    announce: (String) -> Void = { _ in }
  ) throws(RegateError) -> Advice {
    try AdviceRun(request, progress).run(announce)
  }
}
