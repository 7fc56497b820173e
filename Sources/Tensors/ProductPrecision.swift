// SPDX-License-Identifier: Apache-2.0

import CKernels

/// How exactly a model's weights are multiplied.
public enum Precision: String, Sendable, Hashable, CaseIterable {
  /// As a server would: weights of bfloat16, or of fewer bits, with activations rounded to
  /// bfloat16 where the CPU has instructions for it; weights of GGUF's block types as llama.cpp
  /// does; else in float32.
  case auto
  /// In float32, all of them.
  case f32
  /// Weights of plain numbers and activations rounded to bfloat16, added up in float32, with or
  /// without instructions for it.
  case bf16
}

/// How exact a product must be: into how many bfloat16 parts its two factors are split, where it
/// runs on tiles.
package struct ProductPrecision: Sendable, Equatable {
  let left: Int
  let right: Int

  /// Float32's.
  package static let full = ProductPrecision(left: 3, right: 3)
  /// For quantised weights, which are some percent off what they stand for: good to 2^-17 on tiles,
  /// to 2^-7 in integers, as llama.cpp's products are.
  package static let quantised = ProductPrecision(left: 2, right: 2)
  /// Both factors rounded to bfloat16.
  package static let bfloats = ProductPrecision(left: 1, right: 1)

  /// For a right matrix of decoded elements of `type`; `scaled`: by factors that are no powers of
  /// two.
  package init(of type: ElementType, scaled: Bool, as precision: Precision = .f32) {
    switch precision {
    case .auto where type.isQuantised, .bf16 where type.isQuantised: self = .quantised
    case .auto where type.isBFloatOrSmaller && Self.hasBFloats, .bf16: self = .bfloats
    default: self.init(exact: type, scaled: scaled)
    }
  }

  /// As exact as in float32.
  private init(exact type: ElementType, scaled: Bool) {
    switch type {
    case _ where type.isBFloatOrSmaller, .bool:
      self = scaled ? .full : ProductPrecision(left: 3, right: 1)
    case .f16: self = scaled ? .full : ProductPrecision(left: 3, right: 2)
    default: self = .full
    }
  }

  private init(left: Int, right: Int) {
    self.left = left
    self.right = right
  }

  /// What multiplies in so many parts, on this CPU; nil: nothing of CKernels/TileKernels.h.
  var tilePath: rg_tile_path? {
    if rg_tiles_available(rg_tile_path_unit) != 0 { return rg_tile_path_unit }
    let inVectors = self == .bfloats && rg_tiles_available(rg_tile_path_vectors) != 0
    return inVectors ? rg_tile_path_vectors : nil
  }

  /// Whether this CPU multiplies bfloat16 faster than float32.
  private static var hasBFloats: Bool { bfloats.tilePath != nil }

  /// What the numbers are that this CPU multiplies, as PyTorch calls them.
  package var name: String {
    switch self {
    case .bfloats: "bfloat16"
    case .quantised where tilePath != nil: "two bfloat16"
    case .quantised where rg_integers_available() != 0: "int8"
    default: "float32"
    }
  }
}

extension ElementType {
  /// Whether bfloat16 holds its elements, whatever they are multiplied by.
  fileprivate var isBFloatOrSmaller: Bool {
    switch self {
    case .bf16, .f8e4m3, .f8e5m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .f4, .i4, .i8, .u8: true
    default: false
    }
  }
}
