// SPDX-License-Identifier: Apache-2.0

package import Tensors

// Tensor type numbers of ggml 0.25 (enum ggml_type in ggml/include/ggml.h).

extension ElementType {
  /// The types that a GGUF file can hold, with their numbers.
  private static let ggmlTable: [(id: UInt32, type: ElementType)] = [
    (0, .f32), (1, .f16), (2, .q4_0), (3, .q4_1), (6, .q5_0), (7, .q5_1), (8, .q8_0), (9, .q8_1),
    (10, .q2_K), (11, .q3_K), (12, .q4_K), (13, .q5_K), (14, .q6_K), (15, .q8_K),
    (16, .iq2_XXS), (17, .iq2_XS), (18, .iq3_XXS), (19, .iq1_S), (20, .iq4_NL), (21, .iq3_S),
    (22, .iq2_S), (23, .iq4_XS), (24, .i8), (25, .i16), (26, .i32), (27, .i64), (28, .f64),
    (29, .iq1_M), (30, .bf16), (34, .tq1_0), (35, .tq2_0), (39, .mxfp4), (40, .nvfp4),
    (41, .q1_0), (42, .q2_0),
  ]

  private static let typeOfID = Dictionary(
    uniqueKeysWithValues: ggmlTable.map { ($0.id, $0.type) })
  private static let idOfType = Dictionary(
    uniqueKeysWithValues: ggmlTable.map { ($0.type, $0.id) })

  /// Every type that a GGUF file can hold, in the order of ggml's numbers.
  package static var ggmlTypes: [ElementType] { ggmlTable.map(\.type) }

  /// Numbers that ggml once used. Files that carry them cannot be read by any current program.
  package static let removedGGMLTypes: [UInt32: String] = [
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
    36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
  ]

  /// The type with this ggml number; nil for unknown and for removed numbers.
  package init?(ggmlID: UInt32) {
    guard let type = ElementType.typeOfID[ggmlID] else { return nil }
    self = type
  }

  /// ggml's number of the type; nil for types that only safetensors has.
  package var ggmlID: UInt32? { ElementType.idOfType[self] }
}
