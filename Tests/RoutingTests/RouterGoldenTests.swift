// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Foundation
import OrderedCollections
import Routing
import Tensors
import TestSupport
import Testing

/// One file of fixtures/routers: what transformers' own router class chooses.
private struct RouterGolden {
  let rule: RoutingRule
  let router: FamilyRouter
  let inputs: Matrix
  let logits: [Float]
  let indices: [Int]
  let weights: [Float]

  init(_ name: String) throws {
    let file = try ArrayContainer.open(
      fixtures.appending(path: "routers/\(name).safetensors").path(percentEncoded: false))
    let json = try JSONValue(parsing: Array(try #require(file.metadata["rule"]).utf8), file: name)
    let experts = try #require(json["experts"]?.intValue)
    let hidden = try #require(json["hidden"]?.intValue)
    rule = RoutingRule(
      experts: experts, topK: try #require(json["top_k"]?.intValue),
      scoring: try #require(json["scoring"]?.stringValue.flatMap(RoutingRule.Scoring.init)),
      normalise: try #require(json["normalise"]?.boolValue as Bool?),
      normaliseGuard: try Self.guarding(json["guard"]),
      scale: Float(try #require(json["scale"]?.doubleValue)),
      groups: try Self.groups(json["groups"]),
      jitter: Float(json["jitter"]?.doubleValue ?? 0.01))
    func floats(_ name: String) throws -> [Float] {
      let array = try file.array(name)
      return try array.floats(rows: 0..<array.rowCount)
    }
    let bias = try file.arrays["bias"].map { try $0.floats(rows: 0..<$0.rowCount) }
    let kind = json["bias"]?.stringValue
    router = FamilyRouter(
      gate: Matrix(rows: experts, columns: hidden, values: try floats("gate")),
      logitBias: kind == "logits" ? bias : nil, selectionBias: kind == "selection" ? bias : nil,
      rule: rule)
    let values = try floats("inputs")
    inputs = Matrix(rows: values.count / hidden, columns: hidden, values: values)
    logits = try floats("logits")
    indices = try file.array("indices").integers()
    weights = try floats("weights")
  }

  private static func guarding(_ json: JSONValue?) throws -> RoutingRule.Guard {
    let value = Float(json?["value"]?.doubleValue ?? 0)
    switch json?["kind"]?.stringValue {
    case "add": return .add(value)
    case "clamp": return .clamp(value)
    default: return .none
    }
  }

  private static func groups(_ json: JSONValue?) throws -> RoutingRule.Groups? {
    guard let json, !json.isNull else { return nil }
    return RoutingRule.Groups(
      count: try #require(json["count"]?.intValue), kept: try #require(json["kept"]?.intValue),
      score: try #require(json["score"]?.stringValue.flatMap(RoutingRule.Groups.Score.init)),
      mask: json["mask"]?.stringValue == "zero" ? .zero : .negativeInfinity)
  }
}

/// Largest relative difference of a weight: two float32 softmaxes in another order of summation.
private let weightTolerance: Float = 4e-6

@Suite struct RouterGoldenTests {
  static let names =
    (try? FileManager.default.contentsOfDirectory(
      atPath: fixtures.appending(path: "routers").path(percentEncoded: false)))?
    .filter { $0.hasSuffix(".safetensors") }.map { String($0.dropLast(".safetensors".count)) }
    .sorted() ?? []

  @Test func `every golden is there`() {
    #expect(Self.names.count == 23)
  }

  @Test(arguments: names)
  func `the rule chooses and weighs like transformers' own router`(name: String) throws {
    let golden = try RouterGolden(name)
    let assignment = golden.router.route(golden.inputs, threads: 1)
    let k = golden.rule.topK
    for token in 0..<golden.inputs.rows {
      let range = token * k..<(token + 1) * k
      let found = Dictionary(
        uniqueKeysWithValues: zip(
          assignment.experts[range].map(Int.init), assignment.weights[range]))
      #expect(Set(found.keys) == Set(golden.indices[range]), "token \(token)")
      for (index, weight) in zip(golden.indices[range], golden.weights[range]) {
        let difference = abs((found[index] ?? .infinity) - weight)
        #expect(difference <= weightTolerance * max(abs(weight), 1e-3), "token \(token)")
      }
    }
  }

  @Test(arguments: names)
  func `logits are transformers'`(name: String) throws {
    let golden = try RouterGolden(name)
    let logits = golden.router.logits(golden.inputs, threads: 1)
    for (found, expected) in zip(logits.values, golden.logits) {
      #expect(abs(found - expected) <= 1e-5)
    }
  }
}
