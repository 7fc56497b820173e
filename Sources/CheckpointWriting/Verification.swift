// SPDX-License-Identifier: Apache-2.0
//
// After writing, the output is opened like any checkpoint and compared with the original: every
// physical expert must hold exactly the bytes of the one that the plan names, every router tensor
// the planned bytes, and everything else the original's bytes.

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
  private let progress: any ProgressSink

  private static let chunk = 16 << 20

  /// What was compared.
  package struct Result: Sendable {
    package let identicalTensors: Int
    package let changedTensors: Int
  }

  /// Compares `output` with what `patches` make of `original`.
  package init(
    original: any Checkpoint, output: any Checkpoint, patches: [LayerPatch],
    progress: any ProgressSink
  ) {
    self.original = original
    self.output = output
    self.patches = patches
    self.progress = progress
  }

  package func run() throws(RegateError) -> Result {
    let expected = expectedPieces()
    let added = patches.flatMap(\.router.added)
    var identical = 0
    progress.begin(
      "Verifying", total: output.tensors.values.reduce(0) { $0 + $1.range.count })
    for tensor in original.tensors.values {
      try progress.requireWanted()
      switch expected[tensor.name] {
      case .removed:
        guard output.tensors[tensor.name]?.shape != tensor.shape else {
          throw failure(tensor.name, "is still there")
        }
      case .pieces(let pieces, let shape):
        let written = try written(tensor.name, type: pieces[0].source.type, shape: shape)
        for piece in pieces { try compare(piece, in: written) }
      case .bytes(let new):
        _ = try written(tensor.name, type: new.type, shape: new.shape)
        try compare(new.bytes, name: tensor.name)
      case nil:
        let written = try written(tensor.name, type: tensor.type, shape: tensor.shape)
        try compare(
          Piece(place: 0..<tensor.range.count, source: tensor, part: 0..<tensor.range.count),
          in: written)
        identical += 1
      }
    }
    for tensor in added { try compare(tensor.bytes, name: tensor.name) }
    let planned = Set(original.tensors.keys.filter { !(expected[$0]?.isRemoved ?? false) })
      .union(added.map(\.name))
    if let stray = output.tensors.keys.first(where: { !planned.contains($0) }) {
      throw failure(stray, "is in the output, but nothing planned it")
    }
    progress.end()
    return Result(
      identicalTensors: identical, changedTensors: output.tensors.count - identical)
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

  private func compare(_ piece: Piece, in written: TensorInfo) throws(RegateError) {
    let left = output.files[written.file]
    let right = original.files[piece.source.file]
    var done = 0
    while done < piece.place.count {
      let count = min(Verification.chunk, piece.place.count - done)
      let a = written.range.lowerBound + piece.place.lowerBound + done
      let b = piece.source.range.lowerBound + piece.part.lowerBound + done
      let equal = try left.withBytes(in: a..<a + count) { (left) throws(RegateError) in
        try right.withBytes(in: b..<b + count) { right in left.elementsEqual(right) }
      }
      guard equal else { throw failure(written.name, "differs from the bytes that it should hold") }
      left.discard(a..<a + count)
      right.discard(b..<b + count)
      progress.advance(count)
      done += count
    }
  }

  private func compare(_ bytes: [UInt8], name: String) throws(RegateError) {
    let tensor = try output.tensor(name)
    let equal = try output.withBytes(of: tensor) { written in
      bytes.withBytes { $0.elementsEqual(written) }
    }
    guard equal else {
      throw failure(name, "differs from the router that was fitted")
    }
    progress.advance(bytes.count)
  }

  private func failure(_ tensor: String, _ problem: String) -> RegateError {
    RegateError(
      .io, file: output.path, subject: tensor, "verification failed: \(problem)",
      advice: "nothing was kept; check the disk and run again")
  }
}
