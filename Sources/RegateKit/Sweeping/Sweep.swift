// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
import Routing
import Tensors

/// Balance against quality over strengths, on tokens that no fit saw: what a conversion could give,
/// before one is made.
public struct Sweep: Sendable {
  let request: ConvertRequest
  let form: RouterForm
  /// One for each strength, in the order asked for.
  let fits: [ModelFit]
  /// The numbers of the MoE layers.
  let layers: [Int]
  let warnings: [String]
  /// Calibration tokens, held-out ones included.
  let tokens: Int

  /// What a sweep is asked for: of a conversion's request `checkpoint`, `calibration`, `weights`,
  /// `protected`, `tokens`, `form`, `clones`, `latentSize`, `seed` and `threads` count.
  public struct Request: Sendable {
    public var conversion: ConvertRequest
    /// Above 0 up to 1, ascending.
    public var strengths: [Double]

    /// `strengths` nil: the strengths that a conversion with a budget tries.
    public init(_ conversion: ConvertRequest, strengths: [Double]? = nil) {
      self.conversion = conversion
      self.strengths = strengths ?? StrengthSearch.candidates
    }
  }

  /// What a sweep will need; `memory` is for the user before the work begins.
  public static func plan(_ request: Request) throws(RegateError) -> ConversionPlan {
    try Conversion(asked(request), progress: NoProgress()).plan()
  }

  /// Fits all strengths side by side in one read of the weights; nothing is written.
  public static func run(
    _ request: Request, progress: any ProgressSink
  ) throws(RegateError) -> Sweep {
    guard !request.strengths.isEmpty, request.strengths == request.strengths.sorted(),
      Set(request.strengths).count == request.strengths.count,
      request.strengths.allSatisfy({ $0 > 0 && $0 <= 1 })
    else {
      throw RegateError(
        .refused, subject: "--strengths", "are \(request.strengths)",
        advice: "give different numbers above 0 up to 1, ascending")
    }
    let conversion = try Conversion(asked(request), progress: progress)
    let mix = try CalibrationMix(conversion.request, for: conversion.model)
    let fits = try ModelFitter(
      model: conversion.model, mix: mix, request: conversion.request, form: conversion.form,
      forms: [conversion.form], progress: progress, resume: nil
    ).fit(strengths: request.strengths)
    return Sweep(
      request: conversion.request, form: conversion.form, fits: fits,
      layers: conversion.model.layout.layers.map(\.index), warnings: conversion.model.warnings,
      tokens: mix.tokens)
  }

  private static func asked(_ request: Request) -> ConvertRequest {
    var asked = request.conversion
    asked.balance = .sweep(request.strengths)
    (asked.output, asked.saveFit, asked.fit) = (nil, nil, nil)
    return asked
  }

  /// The curve, from strength 0 on.
  var points: [FitPoint] { (fits.first?.origin.map { [$0] } ?? []) + fits.compactMap(\.point) }

  var knee: FitPoint? { StrengthSearch.knee(points) }

  /// The fit that pictures and sets are shown of: the knee's, else the strongest.
  var shown: ModelFit? {
    fits.first { $0.strength == knee?.strength } ?? fits.last
  }
}

/// For what needs no progress line.
private struct NoProgress: ProgressSink {
  func begin(_ label: String, total: Int) {}
  func advance(_ count: Int) {}
  func end() {}
}
