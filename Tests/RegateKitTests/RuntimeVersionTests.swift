// SPDX-License-Identifier: Apache-2.0
//
// What check knows of versions and of balancing at run time.

import Architectures
import Foundation
import RegateKit
import Runtimes
import TestSupport
import Testing

@Suite struct RuntimeVersionTests {
  private func outcome(
    _ type: String, _ runtime: Runtime, planned form: RouterForm = .stock,
    config: (inout [String: Any]) -> Void = { _ in }
  ) throws -> Check.Outcome {
    let sample = try #require(ClassSample.all.first { $0.modelType == type })
    let folder = try TemporaryDirectory()
    try sample.write(to: folder.url, config: config)
    let model = try Model.open(folder.url.path(percentEncoded: false))
    let subject = CheckSubject(planned: model, form: form, keepsBiasType: false)
    return Check(subject, runtimes: [runtime]).outcomes[0]
  }

  private func rules(_ outcome: Check.Outcome) -> [String] { outcome.findings.map(\.rule) }

  @Test(arguments: [
    ("qwen2_moe", true, false), ("olmoe", true, true), ("glm4_moe", false, false),
    ("gpt_oss", true, false), ("phimoe", true, true), ("granitemoe", true, true),
    ("minimax_m2", true, false), ("ernie4_5_moe", false, true), ("dots1", false, false),
    ("mixtral", false, true), ("qwen3_moe", false, false), ("deepseek_v2", false, false),
    ("deepseek_v3", false, false),
  ])
  func `families that cannot be balanced while they run are named`(
    _ type: String, lacksEPLB: Bool, lacksLocations: Bool
  ) throws {
    #expect(rules(try outcome(type, .vllm)).contains("eplb-absent") == lacksEPLB)
    #expect(rules(try outcome(type, .sglang)).contains("locations-absent") == lacksLocations)
  }

  @Test func `a fault of older versions is said with the version that ends it`() throws {
    let check = try outcome("qwen3_moe", .sglang)
    let fault = try #require(check.findings.first { $0.rule == "locations-wrong" })
    #expect(fault.range == .before("0.5.23") && fault.evidence.kind == .read)
    #expect(fault.json["range"]?["before"]?.stringValue == "0.5.23")
    #expect(fault.json["evidence"]?["versions"]?.arrayValue?.first?.stringValue == "0.5.23")
    #expect(!rules(try outcome("deepseek_v3", .sglang)).contains("locations-wrong"))
  }

  @Test func `the prototype form and moved experts do not go together in SGLang`() throws {
    let subject = "--enable-eplb, --init-expert-location"
    let check = try outcome("qwen3_moe", .sglang, planned: .lpr)
    #expect(check.findings.first { $0.rule == "prototype-locations" }?.subject == subject)
    #expect(!rules(try outcome("qwen3_moe", .sglang)).contains("prototype-locations"))
  }

  @Test(arguments: [Runtime.vllm, .sglang])
  func `the plugin is not offered for weights that it refuses`(_ runtime: Runtime) throws {
    let plugin = runtime == .vllm ? "prototype-plugin" : "prototype-package"
    for normalises in [true, false] {
      let check = try outcome("qwen3_moe", runtime, planned: .lpr) {
        $0["norm_topk_prob"] = normalises
      }
      #expect(rules(check).contains(plugin) == normalises, "\(rules(check))")
      #expect(rules(check).contains("plugin-norm") == !normalises)
      #expect(rules(check).contains("prototype-backend") && check.loads == true)
    }
  }

  @Test func `what is said to load is said with what to type and where it was run`() throws {
    let bench = TinyModel.mixtral
    for outcome in try Check.run(.init(checkpoint: bench.path)).outcomes {
      #expect((outcome.confirmed != nil) == (outcome.loads == true))
      for finding in outcome.findings where finding.command != nil {
        #expect(finding.evidence.kind == .measured && !finding.evidence.versions.isEmpty)
      }
    }
    let text = try Check.run(.init(checkpoint: bench.path)).text
    #expect(text.contains("vllm: loads (run in 0.31.0, 0.32.0)\n"))
    #expect(text.contains("\n    vllm serve MODEL\n"))
  }
}
