// SPDX-License-Identifier: Apache-2.0
//
// The output is opened like any checkpoint and compared with the original: every physical expert
// must hold exactly the bytes of the one that the plan names, every router tensor the planned
// bytes, and everything else the original's bytes.

import Architectures
package import ByteStorage
package import Checkpoints
import Forms
import Foundation
import OrderedCollections
import Routing
import Tensors

package struct Verification {
  private let original: any Checkpoint
  private let output: any Checkpoint
  private let patches: [LayerPatch]

  /// What was compared.
  package struct Result: Sendable {
    package let identicalTensors: Int
    package let changedTensors: Int
  }

  /// Compares `output`, of which no more than names, types and shapes need to stand yet, with what
  /// `patches` make of `original`.
  package init(original: any Checkpoint, output: any Checkpoint, patches: [LayerPatch]) {
    self.original = original
    self.output = output
    self.patches = patches
  }

  /// Compares names, types, shapes and all bytes.
  package func run(progress: any ProgressSink = NoProgress()) throws(RegateError) -> Result {
    let (checks, result) = try checks()
    for (file, check) in zip(output.files, checks) {
      try check.advance(to: file.count, progress: progress)
    }
    return result
  }

  /// Compares names, types and shapes. The checks, one for each file of the output, compare the
  /// bytes.
  package func checks() throws(RegateError) -> (checks: [FileCheck], result: Result) {
    let expected = expectedPieces()
    let added = patches.flatMap(\.router.added)
    var planned = Array(repeating: [PlannedBytes](), count: output.files.count)
    func plan(_ source: Segment, at place: Range<Int>, of written: TensorInfo) {
      let start = written.range.lowerBound
      planned[written.file].append(
        PlannedBytes(
          tensor: written.name, place: start + place.lowerBound..<start + place.upperBound,
          source: source))
    }
    func plan(_ bytes: [UInt8], of written: TensorInfo) throws(RegateError) {
      guard written.range.count == bytes.count else {
        throw failure(written.name, "differs from the router that was fitted")
      }
      plan(.bytes(bytes), at: 0..<bytes.count, of: written)
    }
    var identical = 0
    for tensor in original.tensors.values {
      switch expected[tensor.name] {
      case .removed:
        guard output.tensors[tensor.name]?.shape != tensor.shape else {
          throw failure(tensor.name, "is still there")
        }
      case .pieces(let pieces, let shape):
        let written = try written(tensor.name, type: pieces[0].source.type, shape: shape)
        for piece in pieces {
          let start = piece.source.range.lowerBound
          plan(
            .range(
              original.files[piece.source.file],
              start + piece.part.lowerBound..<start + piece.part.upperBound),
            at: piece.place, of: written)
        }
      case .bytes(let new):
        try plan(new.bytes, of: written(tensor.name, type: new.type, shape: new.shape))
      case nil:
        let written = try written(tensor.name, type: tensor.type, shape: tensor.shape)
        plan(
          .range(original.files[tensor.file], tensor.range), at: 0..<tensor.range.count,
          of: written)
        identical += 1
      }
    }
    for tensor in added { try plan(tensor.bytes, of: output.tensor(tensor.name)) }
    let names = Set(original.tensors.keys.filter { !(expected[$0]?.isRemoved ?? false) })
      .union(added.map(\.name))
    if let stray = output.tensors.keys.first(where: { !names.contains($0) }) {
      throw failure(stray, "is in the output, but nothing planned it")
    }
    return (
      zip(output.files, planned).map { FileCheck($0, planned: $1) },
      Result(identicalTensors: identical, changedTensors: output.tensors.count - identical)
    )
  }

  /// A range of an output tensor and the original bytes that belong there.
  private struct Piece {
    let place: Range<Int>
    let source: TensorInfo
    let part: Range<Int>
  }

  private enum Expectation {
    case removed
    /// All of one type.
    case pieces([Piece], shape: [Int])
    case bytes(TensorChange.Replacement)

    var isRemoved: Bool { if case .removed = self { true } else { false } }
  }

  /// What the plan says of every tensor that belongs to a patched layer's router or experts.
  private func expectedPieces() -> [String: Expectation] {
    var pieces: [String: (list: [Piece], shape: [Int])] = [:]
    var expected: [String: Expectation] = [:]
    for patch in patches {
      for change in patch.router.changes {
        expected[change.tensor.name] = change.replacement.map { .bytes($0) } ?? .removed
      }
      guard patch.changesExperts else { continue }
      for part in patch.layer.experts {
        for tensor in part.tensors { expected[tensor.name] = .removed }
        for (physical, logical) in patch.physicalToLogical.enumerated() {
          let (target, place) = part.slice(expert: physical)
          let (source, bytes) = part.slice(expert: logical)
          pieces[target.name, default: ([], patch.shape(of: part, expert: physical))].list.append(
            Piece(place: place, source: source, part: bytes))
        }
      }
    }
    for (name, planned) in pieces { expected[name] = .pieces(planned.list, shape: planned.shape) }
    return expected
  }

  /// The output's tensor of that name, which must have this type and shape.
  private func written(
    _ name: String, type: ElementType, shape: [Int]
  ) throws(RegateError) -> TensorInfo {
    guard let written = output.tensors[name] else {
      throw failure(name, "is missing in the output")
    }
    guard written.type == type, written.shape == shape else {
      throw failure(name, "has another type or shape in the output")
    }
    return written
  }

  private func failure(_ tensor: String, _ problem: String) -> RegateError {
    Verification.failure(tensor, problem, in: output.path)
  }

  static func failure(_ tensor: String, _ problem: String, in path: String) -> RegateError {
    RegateError(
      .io, file: path, subject: tensor, "verification failed: \(problem)",
      advice: "nothing was kept; check the disk and run again")
  }
}
