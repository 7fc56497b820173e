// SPDX-License-Identifier: Apache-2.0
//
// Activations are looked at after every part of a pass, weights only once activations were NaN or
// infinite: then the weight that made them so is named, or it is said that there is none.

package import Architectures
package import ByteStorage
package import Checkpoints
import OrderedCollections

/// Names what makes activations NaN or infinite.
package struct NonFiniteSearch: Sendable {
  /// The part of a pass whose result is not finite.
  package enum Place: Sendable {
    /// Rows of the embedding.
    case embedding(TensorInfo, tokens: [Int32])
    case attention(layer: Int)
    /// What comes after a layer's attention.
    case output(layer: Int)
    case head(TensorInfo)

    fileprivate var text: String {
      switch self {
      case .embedding: "the embedding"
      case .attention(let layer): "the attention of layer \(layer)"
      case .output(let layer): "the output of layer \(layer)"
      case .head: "the output head"
      }
    }
  }

  private let checkpoint: any Checkpoint
  private let layout: ModelLayout

  package init(_ checkpoint: any Checkpoint, layout: ModelLayout) {
    self.checkpoint = checkpoint
    self.layout = layout
  }

  /// The error for a part of a pass whose result is not finite.
  package func error(at place: Place) -> RegateError {
    let effect = "\(place.text) gives NaN or infinite activations"
    do throws(RegateError) {
      for (tensor, elements) in weights(of: place) {
        if let (index, value) = try checkpoint.firstNotFinite(in: tensor, elements) {
          return checkpoint.notFinite(
            value, at: index, of: tensor, effect: ", so that \(effect)")
        }
      }
    } catch {
      return error
    }
    return RegateError(
      .malformed, file: checkpoint.path, subject: place.text,
      "gives NaN or infinite activations from finite weights: it overflows",
      advice: "check the configuration against the weights")
  }

  /// What the part computes with.
  private func weights(of place: Place) -> [(TensorInfo, Range<Int>)] {
    switch place {
    case .embedding(let tensor, let tokens):
      let columns = tensor.shape[1]
      return Set(tokens).sorted().map {
        (tensor, Int($0) * columns..<(Int($0) + 1) * columns)
      }
    case .head(let tensor): return [(tensor, 0..<tensor.elementCount)]
    case .attention(let layer): return tensors(of: layer, inAttention: true)
    case .output(let layer): return tensors(of: layer, inAttention: false)
    }
  }

  private func tensors(of layer: Int, inAttention: Bool) -> [(TensorInfo, Range<Int>)] {
    let word = checkpoint.container == .gguf ? "blk" : "layers"
    let prefix = "\(layout.prefix)\(word).\(layer)."
    return checkpoint.tensors.values.filter {
      guard $0.name.hasPrefix(prefix) else { return false }
      let name = $0.name.dropFirst(prefix.count)
      return (name.contains("attn") || name.hasPrefix("ssm_")) == inAttention
    }.map { ($0, 0..<$0.elementCount) }
  }
}
