// SPDX-License-Identifier: Apache-2.0

/// A synthetic family in one of the ways that it can lie on disk.
public struct Sample: Sendable, Hashable, CustomStringConvertible {
  /// The container and how the model lies in it.
  public enum Storage: Sendable, Hashable {
    case directory(SyntheticModel.Layout)
    /// `model.safetensors`, named as the checkpoint.
    case file(SyntheticModel.Layout)
    case gguf(SyntheticModel.GGUFLayout)
  }

  public let family: SyntheticModel.Family
  public let storage: Storage

  public init(_ family: SyntheticModel.Family, _ storage: Storage) {
    self.family = family
    self.storage = storage
  }

  public var description: String {
    switch storage {
    case .directory(let layout): "\(family.rawValue), \(layout)"
    case .file(let layout): "\(family.rawValue) as a file, \(layout)"
    case .gguf(let layout): "\(family.rawValue), GGUF \(layout)"
    }
  }

  public var isGGUF: Bool { if case .gguf = storage { true } else { false } }

  public var isFile: Bool { if case .file = storage { true } else { false } }

  /// How a safetensors sample lies on disk; nil for GGUF.
  public var layout: SyntheticModel.Layout? {
    switch storage {
    case .directory(let layout), .file(let layout): layout
    case .gguf: nil
    }
  }

  public var isFP8: Bool { layout?.expertType == .fp8 }

  // MARK: Mixtral

  public static let mixtral = Sample(.mixtral, .directory(.init(.single)))
  public static let mixtralByLayer = Sample(.mixtral, .directory(.init(.byLayer)))
  public static let mixtralF16 = Sample(.mixtral, .directory(.init(.scattered, experts: .f16)))
  public static let mixtralFused = Sample(.mixtral, .directory(.init(.single, fused: true)))
  public static let mixtralFusedF32Gate = Sample(
    .mixtral, .directory(.init(.byLayer, fused: true, gate: .f32)))
  public static let mixtralFile = Sample(.mixtral, .file(.init(.single)))
  public static let ggufMixtral = Sample(.mixtral, .gguf(.init(.f32)))
  public static let ggufMixtralSplit = Sample(.mixtral, .gguf(.init(.q8_0, split: true)))

  // MARK: Qwen3-MoE

  public static let qwen3 = Sample(.qwen3, .directory(.init(.byLayer)))
  public static let qwen3F32 = Sample(
    .qwen3, .directory(.init(.single, gate: .f32, experts: .f32)))
  public static let qwen3Scattered = Sample(.qwen3, .directory(.init(.scattered)))
  public static let qwen3Fused = Sample(.qwen3, .directory(.init(.byLayer, fused: true)))
  public static let qwen3FP8 = Sample(.qwen3, .directory(.init(.scattered, experts: .fp8)))
  public static let ggufQwen3 = Sample(.qwen3, .gguf(.init(.q8_0)))
  public static let ggufQwen3F16 = Sample(.qwen3, .gguf(.init(.f16)))

  // MARK: DeepSeek-V3

  public static let deepseek = Sample(.deepseek, .directory(.init(.single)))
  public static let deepseekBF16Bias = Sample(
    .deepseek, .directory(.init(.byLayer, bias: .bf16)))
  public static let deepseekFP8 = Sample(
    .deepseek, .directory(.init(.scattered, bias: .bf16, experts: .fp8)))
  public static let deepseekFused = Sample(.deepseek, .directory(.init(.single, fused: true)))
  public static let deepseekFile = Sample(.deepseek, .file(.init(.single, bias: .bf16)))
  public static let ggufDeepseek = Sample(.deepseek, .gguf(.init(.q8_0)))
  public static let ggufDeepseekSplit = Sample(.deepseek, .gguf(.init(.f16, split: true)))

  /// Every way in which a safetensors model can lie on disk.
  public static let safetensors = [
    mixtral, mixtralByLayer, mixtralF16, mixtralFused, mixtralFusedF32Gate, qwen3F32, qwen3,
    qwen3Scattered, qwen3Fused, qwen3FP8, deepseek, deepseekBF16Bias, deepseekFP8, deepseekFused,
    mixtralFile, deepseekFile,
  ]

  /// Every way in which a GGUF model can.
  public static let gguf = [
    ggufMixtral, ggufMixtralSplit, ggufQwen3F16, ggufQwen3, ggufDeepseekSplit, ggufDeepseek,
  ]
}
