// SPDX-License-Identifier: Apache-2.0
//
// How long the routed experts of a layer take, by a roofline. A rank that computes n assignments
// with d distinct experts, of which each has w matrix elements that lie in b bytes, takes
//
//   t = max(2 w n / flops, b d / bandwidth)
//
// and all ranks wait for the one that takes longest. Left out is what does not depend on where
// experts lie, or is not known: attention, shared experts, the exchange of tokens between ranks,
// activations, the start of kernels.

/// What one GPU does at best.
public struct Roofline: Sendable, Hashable {
  /// Floating-point operations per second, an addition and a multiplication counted as two.
  public var flops: Double
  /// Bytes of memory per second.
  public var bandwidth: Double

  /// Both above 0.
  public init(flops: Double, bandwidth: Double) {
    self.flops = flops
    self.bandwidth = bandwidth
  }

  /// H100 SXM: dense BF16, and HBM3 (NVIDIA's data sheet).
  public static let h100 = Roofline(flops: 989e12, bandwidth: 3.35e12)

  /// One expert of a layer.
  package struct Expert: Sendable, Hashable {
    /// Elements of its matrices.
    package let elements: Int
    /// Bytes in which they are stored.
    package let bytes: Int

    package init(elements: Int, bytes: Int) {
      self.elements = elements
      self.bytes = bytes
    }
  }

  /// Seconds until the last rank is done with a batch.
  package func seconds(_ shares: RankShares, expert: Expert) -> Double {
    zip(shares.load, shares.experts).map { load, experts in
      max(
        2 * Double(expert.elements) * Double(load) / flops,
        Double(expert.bytes) * Double(experts) / bandwidth)
    }.max() ?? 0
  }
}
