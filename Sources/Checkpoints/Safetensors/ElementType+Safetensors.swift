// SPDX-License-Identifier: Apache-2.0

package import Tensors

extension ElementType {
  /// The dtypes of safetensors 0.8 in the order of the official writer's rank, lowest first.
  static let safetensorsTypes: [ElementType] = [
    .bool, .f4, .f6e2m3, .f6e3m2, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz,
    .i16, .u16, .f16, .bf16, .i32, .u32, .f32, .c64, .f64, .i64, .u64,
  ]

  private static let safetensorsRanks: [ElementType: Int] = Dictionary(
    uniqueKeysWithValues: safetensorsTypes.enumerated().map { ($1, $0) })

  /// Rank in the official writer's order, or nil for a type that safetensors does not have.
  var safetensorsRank: Int? { ElementType.safetensorsRanks[self] }

  /// The type that a safetensors header calls `dtype`, if there is one.
  package init?(safetensors dtype: String) {
    guard let type = ElementType(rawValue: dtype), type.safetensorsRank != nil else { return nil }
    self = type
  }
}
