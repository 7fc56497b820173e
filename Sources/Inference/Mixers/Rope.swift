// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding (Su et al. 2021) and its scalings: for pair i of d/2 at position p
//
//   default   angle = p f_i,  f_i = theta^(-2i/d)
//   linear    f_i / factor
//   YaRN      (1-r) f_i / factor + r f_i,  r = 1 - clamp((i-low)/(high-low), 0, 1)
//             low, high = floor, ceil of d ln(n0 / (2 pi beta)) / (2 ln theta), beta = 32 and 1
//   llama-3   f_i where the wavelength is below n0/high, f_i / factor above n0/low, a mix between
//   factors   f_i / c_i: LongRoPE's short factors, and rope_freqs (how GGUF files store llama-3's)
//   dynamic   as default within the trained context
//
// cos and sin are multiplied by `multiplier` (YaRN's attention factor). Frequencies are rounded to
// Float, and so is the angle, as transformers 5.23 computes them; cos and sin are rounded once.

import Foundation
import Tensors

struct Rope: Sendable, Hashable {
  /// How long sequences may be, where longer ones are rotated otherwise.
  struct Limit: Sendable, Hashable {
    var positions: Int
    /// The kind of scaling, as files call it.
    var kind: String
  }

  /// Queries of late positions grow, so that attention over many keys stays sharp (Llama 4): by
  /// 1 + beta ln(1 + floor(position / length)).
  struct QueryGrowth: Sendable, Hashable {
    var beta: Double
    var length: Double

    func factor(_ position: Int32) -> Float {
      Float(1 + beta * log(1 + (Double(position) / length).rounded(.down)))
    }
  }

  /// f [d/2].
  var frequencies: [Float]
  var multiplier: Double
  /// Pairs are (2i, 2i + 1) instead of (i, i + d/2).
  var interleaved: Bool
  var limit: Limit?
  var queryGrowth: QueryGrowth?

  /// d, the rotated part of a head.
  var dimensions: Int { 2 * frequencies.count }

  /// What changes the plain frequencies.
  enum Scaling: Equatable {
    case none
    case linear(factor: Double)
    case yarn(factor: Double, original: Double, fast: Double, slow: Double, truncate: Bool)
    case llama3(factor: Double, original: Double, low: Double, high: Double)
  }

  init(
    dimensions: Int, theta: Double, scaling: Scaling, divisors: [Float]? = nil,
    multiplier: Double = 1, interleaved: Bool, limit: Limit? = nil
  ) {
    precondition(dimensions % 2 == 0 && (divisors?.count ?? dimensions / 2) == dimensions / 2)
    let plain = (0..<dimensions / 2).map { pow(theta, -2 * Double($0) / Double(dimensions)) }
    let scaled = Self.scaled(plain, dimensions: dimensions, theta: theta, scaling)
    frequencies = scaled.indices.map { Float(scaled[$0] / Double(divisors?[$0] ?? 1)) }
    self.multiplier = multiplier
    self.interleaved = interleaved
    self.limit = limit
  }

  private static func scaled(
    _ plain: [Double], dimensions: Int, theta: Double, _ scaling: Scaling
  ) -> [Double] {
    switch scaling {
    case .none: return plain
    case .linear(let factor): return plain.map { $0 / factor }
    case .yarn(let factor, let original, let fast, let slow, let truncate):
      let size = Double(dimensions)
      func correction(_ rotations: Double) -> Double {
        size * log(original / (rotations * 2 * .pi)) / (2 * log(theta))
      }
      let bounds = (correction(fast), correction(slow))
      let low = max(truncate ? bounds.0.rounded(.down) : bounds.0, 0)
      var high = min(truncate ? bounds.1.rounded(.up) : bounds.1, size - 1)
      if high == low { high += 0.001 }
      return plain.enumerated().map { index, frequency in
        let kept = 1 - min(max((Double(index) - low) / (high - low), 0), 1)
        return (1 - kept) * frequency / factor + kept * frequency
      }
    case .llama3(let factor, let original, let low, let high):
      return plain.map { frequency in
        let wavelength = 2 * .pi / frequency
        if wavelength < original / high { return frequency }
        if wavelength > original / low { return frequency / factor }
        let smooth = (original / wavelength - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
      }
    }
  }

  /// YaRN's growth of attention with the context: 0.1 m ln(factor) + 1.
  static func yarnScale(_ factor: Double, _ multiplier: Double = 1) -> Double {
    factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1
  }

  /// cos and sin [positions, d/2].
  func tables(positions: Int) -> (cosine: MatrixView, sine: MatrixView) {
    let cosine = MatrixView(rows: positions, columns: frequencies.count)
    let sine = MatrixView(rows: positions, columns: frequencies.count)
    for position in 0..<positions {
      for (index, frequency) in frequencies.enumerated() {
        let angle = Double(Float(position) * frequency)
        cosine[position, index] = Float(cos(angle) * multiplier)
        sine[position, index] = Float(sin(angle) * multiplier)
      }
    }
    return (cosine, sine)
  }
}
