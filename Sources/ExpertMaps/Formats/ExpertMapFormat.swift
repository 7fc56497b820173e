// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// The file in which a runtime takes an expert map.
public enum ExpertMapFormat: String, Sendable, Hashable, CaseIterable {
  /// SGLang's `--init-expert-location`.
  case sglang
  /// TensorRT-LLM's `moe_config.load_balancer`.
  case tensorRTLLM = "tensorrt-llm"
  /// vLLM-Ascend's `eplb_config.expert_map_path`.
  case ascend
  /// What DeepSeek's EPLB returns.
  case eplb

  package var file: any ExpertMapFile.Type {
    switch self {
    case .sglang: SGLangMap.self
    case .tensorRTLLM: TensorRTLLMMap.self
    case .ascend: AscendMap.self
    case .eplb: EPLBMap.self
    }
  }
}

/// A kind of map file.
package protocol ExpertMapFile {
  /// Whether no rank may hold an expert twice.
  static var keepsReplicasApart: Bool { get }

  /// What the file's name must end in for the runtime to read it; nil: anything.
  static var nameEnding: String? { get }

  /// The file's bytes, for `ranks` ranks of a model of `layerCount` layers whose MoE layers have
  /// the numbers `indices`.
  static func bytes(
    _ map: ExpertMap, ranks: Int, layerCount: Int, indices: [Int]
  ) -> [UInt8]

  /// Whether the file at `path` is one.
  static func isOwn(_ path: String) -> Bool

  /// What makes the runtime read the file at `path`.
  static func usage(_ path: String, redundant: Int) -> String
}

extension ExpertMapFile {
  package static var keepsReplicasApart: Bool { false }
  package static var nameEnding: String? { nil }
}

extension OutputKind {
  /// A map in any format.
  package static let expertMap = OutputKind(file: "expert map") { path in
    ExpertMapFormat.allCases.contains { $0.file.isOwn(path) }
  }
}
