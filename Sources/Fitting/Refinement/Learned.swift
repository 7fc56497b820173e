// SPDX-License-Identifier: Apache-2.0

import Foundation
package import Routing
package import Tensors

/// One thing that learns in a router.
package enum Learned: Sendable, Hashable {
  /// In the order of `Encoder.parameters`.
  case encoder(Int)
  /// In the order of `Similarity.parameters`.
  case similarity(Int)
  case prototypes
  /// The logit biases, [1,F].
  case bias
  /// The logarithm of the scale, [1,1].
  case logScale

  /// All that learns in `router`.
  package static func all(in router: PrototypeRouter) -> [Learned] {
    router.encoder.parameters.indices.map { .encoder($0) }
      + router.similarity.parameters.indices.map { .similarity($0) } + [.prototypes]
      + (router.logitBias == nil ? [] : [.bias])
      + (router.similarity.kind.hasScale ? [.logScale] : [])
  }
}

extension PrototypeRouter {
  package subscript(learned: Learned) -> Matrix {
    get {
      switch learned {
      case .encoder(let index): encoder.parameters[index]
      case .similarity(let index): similarity.parameters[index]
      case .prototypes: logicalPrototypes
      case .bias: Matrix(row: logitBias ?? [Float](repeating: 0, count: experts))
      case .logScale: Matrix(row: [logf(similarityScale)])
      }
    }
    set {
      switch learned {
      case .encoder(let index): encoder.parameters[index] = newValue
      case .similarity(let index): similarity.parameters[index] = newValue
      case .prototypes: logicalPrototypes = newValue
      case .bias: logitBias = newValue.values
      case .logScale: similarityScale = expf(newValue.values[0])
      }
    }
  }
}

extension RouterGradient {
  package subscript(learned: Learned) -> Matrix {
    switch learned {
    case .encoder(let index): encoder[index]
    case .similarity(let index): similarity[index]
    case .prototypes: prototypes
    case .bias: bias
    case .logScale: Matrix(row: [logScale])
    }
  }
}
