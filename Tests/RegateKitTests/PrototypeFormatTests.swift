// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

extension Workbench {
  /// The router that a fit file holds for a layer, put together by the test.
  fileprivate func router(
    _ fit: PlainCheckpoint, layer: Int, rule: RoutingRule
  ) throws -> PrototypeRouter {
    func tensor(_ name: String) throws -> PlainCheckpoint.Tensor {
      try #require(fit.tensors["layers.\(layer).\(name)"], "\(name)")
    }
    func matrix(_ name: String) throws -> Matrix {
      let tensor = try tensor(name)
      return Matrix(
        rows: tensor.shape[0], columns: tensor.shape[1], values: PlainType.f32.floats(tensor.bytes))
    }
    func vector(_ name: String) throws -> [Float] { PlainType.f32.floats(try tensor(name).bytes) }
    return PrototypeRouter(
      encoder: .linear(try matrix("encoder")),
      logicalPrototypes: try matrix("logical_prototypes"),
      logitBias: try vector("logit_bias"),
      selectionBias: try vector("selection_bias"),
      tokenBias: try matrix("token_bias"),
      physicalToLogical: integers(try tensor("physical_to_logical").bytes),
      clonePrototypes: try matrix("clone_prototypes"), cloneBias: try vector("clone_bias"),
      rule: rule)
  }
}

@Test(arguments: [Sample.mixtralFused, Sample.qwen3FP8, Sample.deepseekBF16Bias])
func `a prototype router that is read back routes as the fitted one`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 256)
  let path = bench.directory.path("fit.safetensors")
  try bench.convert(to: "out").fit.write(to: path)
  let fit = try PlainCheckpoint(safetensors: URL(filePath: path))
  let patched = try Model.open(bench.directory.path("out"))
  for (layer, plain) in zip(patched.layout.layers, bench.model.layers) {
    let inputs = Matrix(
      rows: bench.model.tokens, columns: bench.model.hidden, values: plain.inputs)
    let read = try patched.router(of: layer).router.route(inputs, threads: 2)
    let fitted = try bench.router(fit, layer: layer.index, rule: layer.rule)
      .route(inputs, threads: 1)
    #expect(read == fitted)
  }
}

@Test(arguments: Sample.safetensors)
func `a prototype router balances the experts on disk`(_ sample: Sample) throws {
  let bench = try Workbench.converted(sample)
  let patched = try Model.open(bench.directory.path("out"))
  #expect(patched.layout.hasPrototypeRouter)
  #expect(patched.layout.layers.map(\.index) == bench.model.layers.map(\.index))
  for (layer, plain) in zip(patched.layout.layers, bench.model.layers) {
    let inputs = Matrix(
      rows: bench.model.tokens, columns: bench.model.hidden, values: plain.inputs)
    let before = naiveRoute(bench.model, plain).load(bench.model.experts)
    let after = try patched.router(of: layer).router.route(inputs, threads: 2)
      .load(experts: bench.model.experts)
    #expect(gini(after) < 0.5 * gini(before), "\(gini(before)) to \(gini(after))")
  }
}

@Test(arguments: [Sample.mixtralByLayer, Sample.qwen3, Sample.deepseekBF16Bias])
func `strength 0 leaves every tensor and the configuration as they are`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let source = try fileTree(bench.sourceFolder)
  // The official code has no DeepSeek routing.
  for form in RouterForm.allCases where form != .lprOfficial || sample.family != .deepseek {
    try bench.convert(to: form.rawValue) {
      $0.form = form
      $0.budget = .strength(0)
    }
    let after = try bench.weights(form.rawValue)
    #expect(after.tensors == (try bench.weights()).tensors)
    #expect(try fileTree(bench.folder(form.rawValue))["config.json"] == source["config.json"])
    #expect(
      try Model.open(bench.output(form.rawValue)).layout.layers.count == bench.model.layers.count)
  }
}

@Test(arguments: Sample.gguf)
func `strength 0 leaves every tensor of a GGUF as it is`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  try bench.convert(to: "out") { $0.budget = .strength(0) }
  let before = try bench.weights()
  let after = try bench.weights("out")
  #expect(Set(after.tensors.keys) == Set(before.tensors.keys))
  for (name, tensor) in before.tensors { #expect(after.tensors[name]?.bytes == tensor.bytes) }
}

@Test func `without clones no expert moves`() throws {
  let bench = try Workbench(.qwen3)
  let result = try bench.convert(to: "out") { $0.settings.clones = false }
  #expect(result.fit.figures.allSatisfy { $0.clones == 0 })
  for map in try bench.claimedMaps("out") { #expect(map == Array(0..<bench.model.experts)) }
  let before = try bench.weights()
  let after = try bench.weights("out")
  for layer in bench.model.layers {
    #expect(
      bench.model.experts(of: layer.index, in: after)
        == bench.model.experts(of: layer.index, in: before))
  }
}
