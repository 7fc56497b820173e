// SPDX-License-Identifier: Apache-2.0
//
// Routers with values that nothing can be computed with, in fit files and in checkpoints.

import Foundation
import TestSupport
import Testing

/// A safetensors file in memory, whose tensors can be written over.
private struct EditableFile {
  private let path: String
  private var bytes: [UInt8]
  private let header: [String: Any]
  private let dataStart: Int

  init(_ path: String) throws {
    self.path = path
    bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
    let count = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    dataStart = 8 + count
    let json = try JSONSerialization.jsonObject(with: Data(bytes[8..<dataStart]))
    header = try #require(json as? [String: Any])
  }

  private func entry(_ name: String) throws -> (String, [Int], Range<Int>) {
    let entry = try #require(header[name] as? [String: Any], "\(name)")
    let offsets = try #require(entry["data_offsets"] as? [Int])
    return (
      try #require(entry["dtype"] as? String), try #require(entry["shape"] as? [Int]),
      dataStart + offsets[0]..<dataStart + offsets[1]
    )
  }

  /// Puts `new` at the start of the tensor that `name` ends.
  mutating func write(_ new: [UInt8], to suffix: String) throws {
    let name = try #require(header.keys.sorted().first { $0.hasSuffix(suffix) }, "\(suffix)")
    let start = try entry(name).2.lowerBound
    bytes.replaceSubrange(start..<start + new.count, with: new)
  }

  /// Makes all of the F32 tensor that `suffix` ends `value`.
  mutating func fill(_ suffix: String, with value: Float) throws {
    let name = try #require(header.keys.sorted().first { $0.hasSuffix(suffix) }, "\(suffix)")
    let count = try entry(name).2.count / 4
    try write((0..<count).flatMap { _ in littleEndian(value.bitPattern) }, to: suffix)
  }

  /// Gives a fit the digest of what it now holds.
  mutating func renewDigest() throws {
    let metadata = try #require(header["__metadata__"] as? [String: String])
    guard let old = metadata["sha256"] else { return }
    let tensors = try header.keys.filter { $0 != "__metadata__" }.map { name in
      let (type, shape, range) = try entry(name)
      return (name: name, type: type, shape: shape, bytes: Array(bytes[range]))
    }
    let new = fitDigest(tensors: tensors, metadata: metadata)
    let text = Data(bytes[..<dataStart])
    let place = try #require(text.range(of: Data(old.utf8)))
    bytes.replaceSubrange(place, with: Array(new.utf8))
  }

  func save() throws { try Data(bytes).write(to: URL(filePath: path)) }
}

private struct Damage {
  let tensor: String
  let bytes: [UInt8]
  let fragment: String

  private static func floats(_ value: Float) -> [UInt8] { littleEndian(value.bitPattern) }

  static let all =
    ["logical_prototypes", "selection_bias", "clone_bias"].flatMap { name in
      [(Float.nan, "NaN"), (.infinity, "Infinity"), (3e38, "3e+38")].map { value, word in
        Damage(tensor: name, bytes: floats(value), fragment: "holds \(word) at 0")
      }
    } + [
      // One logical expert for all: nothing to choose K from, and more copies than can be used.
      Damage(
        tensor: "physical_to_logical", bytes: [UInt8](repeating: 0, count: 16 * 8),
        fragment: "gives logical expert 0 16 physical experts")
    ]
}

@Test func `a fit with values that no router has is refused`() throws {
  let bench = try Bench(.qwen3)
  let fit = try bench.fit()
  let good = try Data(contentsOf: URL(filePath: fit))
  for damage in Damage.all + [
    Damage(tensor: "stock_gate", bytes: [0, 0, 0x80, 0x7F], fragment: "holds Infinity at 0")
  ] {
    try good.write(to: URL(filePath: fit))
    var file = try EditableFile(fit)
    try file.write(damage.bytes, to: "." + damage.tensor)
    try file.renewDigest()
    try file.save()
    requireRefusal(
      try bench.convert("--fit", fit, "--router", "stock", "-o", bench.path("out"), "-q"),
      naming: damage.tensor, says: damage.fragment, damage.tensor)
    #expect(!bench.exists("out"))
  }
}

@Test func `a fit of which one bit has changed is refused`() throws {
  let bench = try Bench(.qwen3)
  let fit = try bench.fit()
  var file = try EditableFile(fit)
  try file.write([1], to: ".token_bias")
  try file.save()
  requireRefusal(
    try bench.convert("--fit", fit, "-o", bench.path("out"), "-q"), naming: fit,
    says: "the fit is damaged", "one byte")
  #expect(!bench.exists("out"))
}

@Test func `a checkpoint with a prototype router that cannot be run is refused`() throws {
  let bench = try Bench(.qwen3, .init(.single))
  let converted = try bench.convert("--fit", bench.fit(), "-o", bench.path("out"), "-q")
  #expect(converted.code == 0, "\(converted.error)")
  let shard = bench.path("out/model-regate-router.safetensors")
  let good = try Data(contentsOf: URL(filePath: shard))
  for damage in Damage.all {
    try good.write(to: URL(filePath: shard))
    var file = try EditableFile(shard)
    try file.write(damage.bytes, to: "." + damage.tensor)
    try file.save()
    requireRefusal(
      try Tool.run(
        "validate", bench.source, bench.path("out"), "--calibration", bench.capture, "-q"),
      naming: damage.tensor, says: damage.fragment, damage.tensor)
  }
}

@Test func `the checkpoint whose router gives no numbers is the one that is named`() throws {
  let bench = try Bench(.qwen3, .init(.single))
  let patched = bench.path("patched")
  try FileManager.default.copyItem(atPath: bench.source, toPath: patched)
  var file = try EditableFile(patched + "/model.safetensors")
  // NaN in BF16.
  try file.write([0xC0, 0x7F], to: ".gate.weight")
  try file.save()
  func requireNamed(_ path: String, says fragment: String, _ label: String) throws {
    requireRefusal(
      try Tool.run("validate", bench.source, path, "--calibration", bench.capture, "-q"),
      naming: path, says: fragment, label)
  }
  try requireNamed(patched, says: "gate.weight: holds NaN at [0, 0]", "NaN")
  // 3e38: a fit would end in products that are no numbers.
  try file.write([0x62, 0x7F], to: ".gate.weight")
  try file.save()
  let fit = try Tool.run("fit", patched, "--calibration", bench.capture, "-q")
  requireRefusal(fit, naming: patched, says: "expected finite values below 2^32", "too large")

  let converted = try bench.convert("--fit", bench.fit(), "-o", bench.path("out"), "-q")
  #expect(converted.code == 0, "\(converted.error)")
  var large = try EditableFile(bench.path("out/model-regate-router.safetensors"))
  try large.fill(".logical_prototypes", with: 5e9)
  try large.save()
  try requireNamed(bench.path("out"), says: "logical_prototypes: holds 5e+09", "absurdly large")
  // Numbers that a router could have, but not their products with such inputs.
  try large.fill(".logical_prototypes", with: 4e9)
  try large.fill(".gate.weight", with: 4e9)
  try large.save()
  var inputs = try EditableFile(bench.capture)
  try inputs.fill(".router_input", with: 1e22)
  try inputs.save()
  try requireNamed(bench.path("out"), says: "the router of layer", "products")
}
