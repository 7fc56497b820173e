// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Foundation
import OrderedCollections
import RegateKit
import Routing
import TestSupport
import Testing

/// The modelling files as they lie in the repository.
private let repository = fixtures.deletingLastPathComponent()
  .appending(path: "Sources/Forms/Modelling")

private func family(_ name: String) throws -> Family {
  try #require(Family.all.first { $0.name == name })
}

private func patched(_ config: JSONValue, _ name: String, routers: [String] = []) throws
  -> JSONValue
{
  try PrototypeOutput.patched(
    config, family: try family(name), latentSizes: ["0": 4], routers: routers)
}

@Test func `the embedded modelling files are the repository's`() throws {
  let names = try FileManager.default.contentsOfDirectory(
    atPath: repository.path(percentEncoded: false)
  ).filter { $0.hasSuffix(".py") }
  #expect(names.sorted() == Array(PrototypeOutput.modellingFiles.keys).sorted())
  for (name, bytes) in PrototypeOutput.modellingFiles {
    #expect(try Data(bytes) == Data(contentsOf: repository.appending(path: name)))
  }
}

@Test(arguments: [
  ("mixtral", "mixtral", "RegateMixtral"),
  ("qwen3_moe", "qwen3_moe", "RegateQwen3Moe"),
  ("deepseek_v2", "deepseek_v2", "RegateDeepseekV2"),
  ("deepseek_v3", "deepseek_v3", "RegateDeepseekV3"),
  ("deepseek_v3", "kimi_k2", "RegateDeepseekV3"),
  ("glm4_moe", "glm4_moe", "RegateGlm4Moe"),
  ("glm4_moe_lite", "glm4_moe_lite", "RegateGlm4MoeLite"),
  ("gpt_oss", "gpt_oss", "RegateGptOss"),
  ("qwen3_next", "qwen3_next", "RegateQwen3Next"),
  ("dots1", "dots1", "RegateDots1"),
  ("minimax_m2", "minimax_m2", "RegateMiniMaxM2"),
  ("granitemoe", "granitemoe", "RegateGraniteMoeShared"),
  ("granitemoe", "granitemoeshared", "RegateGraniteMoeShared"),
  ("olmoe", "olmoe", "RegateOlmoe"),
  ("qwen2_moe", "qwen2_moe", "RegateQwen2Moe"),
  ("phimoe", "phimoe", "RegatePhimoe"),
  ("ernie4_5_moe", "ernie4_5_moe", "RegateErnie4_5_Moe"),
  ("deepseek_v32", "deepseek_v32", "RegateDeepseekV32"),
  ("glm_moe_dsa", "glm_moe_dsa", "RegateGlmMoeDsa"),
  ("mistral4", "mistral4", "RegateMistral4"),
  ("qwen3_5_moe", "qwen3_5_moe_text", "RegateQwen3_5MoeText"),
  ("gemma4", "gemma4_text", "RegateGemma4Text"),
])
func `a prototype configuration names classes that the modelling files define`(
  family: String, type: String, prefix: String
) throws {
  let config = try patched(
    ["model_type": .string(type), "hidden_size": 8, "architectures": ["Original"]], family)
  let own = try #require(Family.all.first { $0.name == family }).huggingFace.modelTypes[0]
  #expect(config["model_type"]?.stringValue == "regate_" + own)
  #expect(config["regate"]?["base_model_type"]?.stringValue == type)
  let map = try #require(config["auto_map"]?.objectValue)
  #expect(Set(map.keys) == ["AutoConfig", "AutoModel", "AutoModelForCausalLM"])
  for reference in map.values {
    let parts = try #require(reference.stringValue).split(separator: ".").map(String.init)
    #expect(PrototypeOutput.modellingFiles[parts[0] + ".py"] != nil)
    #expect(parts[1].hasPrefix(prefix))
  }
  #expect(try tableHas(prefix, model: own))
  let name = try #require(config["architectures"]?.arrayValue?.first?.stringValue)
  #expect(map["AutoModelForCausalLM"]?.stringValue == "modeling_regate." + name)
}

/// Whether the modelling files' table, of which they make their classes, has a line that begins so.
private func tableHas(_ prefix: String, model: String) throws -> Bool {
  let file = try #require(PrototypeOutput.modellingFiles["configuration_regate.py"])
  let name = prefix.dropFirst("Regate".count)
  return try Regex("\n    \"\(name)\": Family\\(\\s*\"\(model)\",")
    .firstMatch(in: String(decoding: file, as: UTF8.self)) != nil
}

@Test(arguments: [
  ("qwen3_5_moe", "qwen3_5_moe", "RegateQwen3_5Moe"),
  ("gemma4", "gemma4", "RegateGemma4"),
  ("mistral4", "mistral3", "RegateMistral3"),
  ("qwen3_vl_moe", "qwen3_vl_moe", "RegateQwen3VLMoe"),
])
func `a wrapper's prototype configuration names the classes of the whole`(
  name: String, type: String, prefix: String
) throws {
  let text: JSONValue = ["model_type": "text", "hidden_size": 8]
  let config = try patched(["model_type": .string(type), "text_config": text], name)
  #expect(config["model_type"]?.stringValue == "regate_" + type)
  #expect(config["text_config"] == text)
  let map = try #require(config["auto_map"]?.objectValue)
  let head = "modeling_regate." + prefix + "ForConditionalGeneration"
  #expect(map["AutoModelForImageTextToText"]?.stringValue == head)
  #expect(map["AutoModelForCausalLM"]?.stringValue == head)
  #expect(map["AutoModel"]?.stringValue == "modeling_regate." + prefix + "Model")
  #expect(map["AutoConfig"]?.stringValue == "configuration_regate." + prefix + "Config")
  #expect(try tableHas(prefix, model: type))
}

@Test func `the original's model code is left out of auto_map, its tokenizer is not`() throws {
  let config = try patched(
    [
      "model_type": "kimi_k2", "hidden_size": 8,
      "auto_map": [
        "AutoConfig": "configuration_deepseek.DeepseekV3Config",
        "AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM",
        "AutoModelForSequenceClassification": "modeling_deepseek.Other",
        "AutoTokenizer": "tokenization_kimi.TikTokenTokenizer",
      ],
    ], "deepseek_v3")
  let map = try #require(config["auto_map"]?.objectValue)
  #expect(map["AutoTokenizer"]?.stringValue == "tokenization_kimi.TikTokenTokenizer")
  #expect(map.count == 4 && !map.values.contains { $0.stringValue?.contains("deepseek.") == true })
}

@Test func `routers join the modules that a quantisation left alone`() throws {
  func quantised(_ settings: JSONValue) throws -> JSONValue? {
    try patched(
      ["model_type": "deepseek_v3", "hidden_size": 8, "quantization_config": settings],
      "deepseek_v3", routers: ["model.layers.3.mlp.gate", "model.layers.4.mlp.gate"]
    )["quantization_config"]
  }
  let fp8 = try quantised([
    "quant_method": "fp8", "modules_to_not_convert": ["lm_head", "model.layers.3.mlp.gate"],
  ])
  #expect(
    fp8?["modules_to_not_convert"]
      == ["lm_head", "model.layers.3.mlp.gate", "model.layers.4.mlp.gate"])
  let packed = try quantised(["quant_method": "compressed-tensors", "ignore": ["lm_head"]])
  #expect(packed?["ignore"]?.arrayValue?.count == 3)
  // A list would switch off transformers' own exceptions.
  let none: JSONValue = ["quant_method": "fp8", "modules_to_not_convert": .null]
  #expect(try quantised(none) == none)
}

@Test func `blocks of MXFP4 that would choose by a gate of their own are dequantised`() throws {
  let routers = ["model.layers.0.mlp.router"]
  let config = try patched(
    [
      "model_type": "gpt_oss", "hidden_size": 8,
      "quantization_config": ["quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]],
    ], "gpt_oss", routers: routers)
  let quantisation = config["quantization_config"]
  #expect(quantisation?["dequantize"] == true)
  #expect(quantisation?["modules_to_not_convert"]?.arrayValue?.count == 2)
}

@Test func `a wrapper without modelling files has no prototype form`() throws {
  for name in ["qwen3_moe", "qwen3_5_moe"] {
    let config: JSONValue = ["model_type": "some_vl", "text_config": ["model_type": "any"]]
    let error = #expect(throws: RegateError.self) { try patched(config, name) }
    #expect(error?.subject == "model_type" && error?.code == .unsupported)
  }
}

@Test func `a language model without a class of its own has no prototype form`() throws {
  let error = #expect(throws: RegateError.self) {
    try patched(["model_type": "qwen3_vl_moe_text", "hidden_size": 8], "qwen3_vl_moe")
  }
  #expect(error?.subject == "model_type" && error?.code == .unsupported)
}

@Test func `a prototype output holds the modelling files and reads back`() throws {
  let directory = try TemporaryDirectory()
  let model = TinyModel.mixtral
  var draft = ConversionDraft(
    model.path, calibration: [model.data("heldout.capture.safetensors")])
  for form in [RouterForm.lpr, .stock] {
    let output = directory.path(form.rawValue)
    draft.form = form
    draft.output = .checkpoint(.copy(to: output))
    _ = try draft.run()
    for (name, bytes) in PrototypeOutput.modellingFiles {
      let written = try? Data(contentsOf: URL(filePath: output).appending(path: name))
      #expect(written == (form == .lpr ? Data(bytes) : nil))
    }
    let config = try JSONValue(contentsOf: output + "/config.json")
    let guarded = config["hidden_act"]?.stringValue == PrototypeForm.activationGuard
    #expect(guarded == (form == .lpr))
    #expect(try Model.open(output).layout.hasPrototypeRouter == (form == .lpr))
  }
}
