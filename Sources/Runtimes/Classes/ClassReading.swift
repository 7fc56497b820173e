// SPDX-License-Identifier: Apache-2.0

import Architectures
import Checkpoints

/// What the class that reads a checkpoint's container first makes of it: transformers' for
/// safetensors, llama.cpp's for GGUF.
package struct ClassReading: Sendable {
  let runtime: Runtime
  let findings: [Check.Finding]
  /// Whether every parameter that the class creates is stored in its shape, and nothing else.
  let matches: Bool

  init(of model: Model) {
    guard model.layout.family.mixer != nil else {
      self.init(unlisted: model)
      return
    }
    switch model.checkpoint.format {
    case .safetensors(let checkpoint):
      self.init(.transformers, TransformersClass(model, checkpoint).findings)
    case .gguf(let checkpoint): self.init(.llamaCpp, LlamaCppClass(model, checkpoint).findings)
    }
  }

  private init(_ runtime: Runtime, _ findings: [Check.Finding]) {
    self.runtime = runtime
    self.findings = findings
    matches = findings.allSatisfy { $0.level == .note }
  }

  /// Of a family that Regate does not run, whose classes' other parameters it does not know.
  private init(unlisted model: Model) {
    runtime = model.checkpoint.container == .gguf ? .llamaCpp : .transformers
    matches = false
    findings = [
      Check.Finding(
        rule: "class-unlisted", level: .unknown, subject: CheckSubject.whole,
        text: "routers and experts are as its class wants them, what else it creates is not known"
          + " here; "
          + (runtime == .llamaCpp
            ? "no file of the family was loaded"
            : "small models of the family loaded when they were converted from captures"),
        evidence: runtime == .llamaCpp
          ? .read("llama.cpp src/models/*.cpp", in: "0.5.0-dev")
          : .measured("tools/interop/test_families.py", in: "5.23.0"))
    ]
  }

  /// What follows for `runtime`; those with classes of their own were not compared.
  func findings(for runtime: Runtime) -> [Check.Finding] {
    if runtime == self.runtime { return findings }
    guard self.runtime == .transformers, let gravest = findings.max(by: { $0.level < $1.level }),
      gravest.level > .note
    else { return [] }
    let isStrict = runtime == .mlx && gravest.isAboutTensors
    return [
      Check.Finding(
        rule: isStrict ? "class-strict" : "class-unknown", level: isStrict ? .refuses : .unknown,
        subject: gravest.subject,
        text: isStrict
          ? "loads strictly, and what is stored is not what its class creates"
          : "is not what transformers' class wants, and what this runtime does with it is not known",
        evidence: isStrict
          ? .read("mlx nn/layers/base.py, load_weights") : .unverified(gravest.evidence.source),
        names: gravest.names)
    ]
  }
}

extension Check.Finding {
  static let missing = "class-missing"
  static let incomplete = "class-incomplete"
  static let shapes = "class-shapes"
  static let surplus = "class-surplus"

  fileprivate var isAboutTensors: Bool {
    [Self.missing, Self.incomplete, Self.shapes, Self.surplus].contains(rule)
  }

  /// About tensors: the first is its subject.
  init?(
    _ rule: String, _ level: CheckLevel, _ names: [String], _ text: String, _ evidence: Evidence
  ) {
    guard !names.isEmpty else { return nil }
    let shown = names.prefix(3)
    let more = names.count > shown.count ? " and \(names.count - shown.count) more" : ""
    self.init(
      rule: rule, level: level, subject: shown.joined(separator: ", ") + more, text: text,
      evidence: evidence, names: names)
  }

  /// About a key.
  init(
    _ rule: String, _ level: CheckLevel, key: String, _ text: String, _ evidence: Evidence
  ) {
    self.init(
      rule: rule, level: level, subject: key, text: text, evidence: evidence)
  }
}
