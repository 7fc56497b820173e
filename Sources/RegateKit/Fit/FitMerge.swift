// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
public import Checkpoints
import ModelFitting

/// Parts of a fit, each of some layers, joined into one fit file: the bytes that one run writes.
public struct FitMerge: Report {
  /// What is to be joined.
  public struct Request: Sendable {
    /// Fit files that hold some layers each, in any order.
    public var parts: [String]
    /// Path of the fit file to write.
    public var output: String
    /// Replace a fit file that is there.
    public var overwrite: Bool

    public init(parts: [String], output: String, overwrite: Bool = false) {
      self.parts = parts
      self.output = output
      self.overwrite = overwrite
    }
  }

  /// The file that was written.
  public let output: String
  /// How many parts were joined.
  public let parts: Int
  /// The numbers of the layers that the fit holds.
  public let layers: [Int]

  /// Joins the parts. Parts of several models, of other traffic or options are refused, and so are
  /// layers that are missing or given twice.
  public static func run(_ request: Request) throws(RegateError) -> FitMerge {
    let claim = try OutputClaim(
      request.output, as: .fit, overwrite: request.overwrite,
      apartFrom: RunInputs(request.parts))
    let layers = try FitFile.merge(request.parts, to: claim)
    return FitMerge(output: request.output, parts: request.parts.count, layers: layers)
  }

  public var text: String {
    "Joined \(parts) \(parts == 1 ? "part" : "parts"): \(output) holds layers "
      + "\(LayerPart.words(layers))."
  }

  public var json: JSONValue {
    [
      "output": .string(output), "parts": .integer(parts),
      "layers": .array(layers.map { .integer($0) }),
    ]
  }
}
