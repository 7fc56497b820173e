// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import Inference
import Tensors
import TestSupport
import Testing

@Suite("Configuration keys against transformers") struct ConfigKeyTests {
  /// A changed variant, and what transformers 5.23 makes of it
  /// (`tools/fixtures/config_goldens.py`).
  struct Case: Decodable, CustomTestStringConvertible {
    let variant: String
    let drop: [String]?
    let drop_tensors: [String]?
    let nll: Double?
    let refused: Bool?
    var index = 0

    private enum CodingKeys: String, CodingKey {
      case variant, drop, drop_tensors, nll, refused
    }

    var testDescription: String { "case \(index) of golden.json, \(variant)" }
  }

  private static let file = fixtures.appending(path: "config-keys/golden.json")

  static let cases: [Case] = {
    let cases = try? JSONDecoder().decode([Case].self, from: Data(contentsOf: file))
    return (cases ?? []).enumerated().map { index, each in
      var each = each
      each.index = index
      return each
    }
  }()

  /// Values of any kind, so not a part of `Case`.
  private static func keys(_ index: Int) throws -> [String: Any] {
    let list = try JSONSerialization.jsonObject(with: Data(contentsOf: file))
    let object = (list as? [[String: Any]])?[index]
    return try #require(object?["set"] as? [String: Any])
  }

  private static func altered(_ each: Case) throws -> AlteredModel {
    let keys = try keys(each.index)
    return try AlteredModel(
      each.variant,
      config: { config in
        config.merge(keys) { $1 }
        for key in each.drop ?? [] { config[key] = nil }
      }, tensors: { name, _, _, _ in !(each.drop_tensors ?? []).contains(name) })
  }

  private static func nll(_ altered: AlteredModel, _ sequences: [[Int]]) throws -> Double {
    let pass = try ForwardPass(altered.model(), sequences: sequences, threads: 1)
    try pass.finish()
    return try pass.scores()[0].meanNLL
  }

  @Test(arguments: cases)
  func `a changed key means what it means to transformers`(each: Case) throws {
    let variant = try Variant(each.variant)
    let altered = try Self.altered(each)
    if let nll = each.nll {
      #expect(abs(try Self.nll(altered, variant.sequences) - nll) < 5e-6)
    } else {
      #expect(each.refused == true)
      let message = #expect(throws: RegateError.self) {
        _ = try Self.nll(altered, variant.sequences)
      }
      let named = try Self.keys(each.index).keys + (each.drop ?? []) + (each.drop_tensors ?? [])
      let text = String(describing: message)
      // What a class default gives is found out by a tensor.
      let byTensor = text.contains("expected") || text.contains("no such tensor")
      #expect(named.contains { text.contains($0) } || byTensor)
    }
  }

  @Test func `cases are on disk`() {
    #expect(Self.cases.count > 40)
  }

  @Test(arguments: [("dynamic", 8), ("longrope", 12)])
  func `sequences beyond what a rotation holds for are refused`(kind: String, limit: Int) throws {
    let altered = try AlteredModel("mixtral-window") { config in
      config["max_position_embeddings"] = 8
      config["rope_parameters"] =
        [
          "rope_type": kind, "factor": 3.0, "short_factor": [1.0, 1.5, 2.0],
          "long_factor": [4.0, 5.0, 6.0], "original_max_position_embeddings": 12,
        ] as [String: Any]
    }
    #expect(try Self.nll(altered, [Array(1...limit)]).isFinite)
    let error = #expect(throws: RegateError.self) {
      _ = try Self.nll(altered, [Array(1...limit + 1)])
    }
    let text = String(describing: error)
    #expect(text.contains("is \(kind)") && text.contains("beyond \(limit) tokens"))
    #expect(text.contains("a sequence has \(limit + 1)") && text.contains("`length`"))
  }
}
