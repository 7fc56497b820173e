// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import CheckpointWriting
import Foundation
import RegateKit

extension Delta {
  /// A header, a zero byte, and the data, as a file whose digest is right.
  fileprivate static func file(_ input: [UInt8]) -> [UInt8] {
    let parts = input.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    let header = [UInt8](parts[0])
    return magic + UInt64(header.count).littleEndianBytes + digest(header) + header
      + (parts.count > 1 ? [UInt8](parts[1]) : [])
  }
}

extension Target {
  static let delta = Target("delta") { bytes in
    let file = try DeltaFile(path: Scratch.write(Delta.file(bytes), to: "a.delta"))
    for entry in file.delta.files {
      precondition(!entry.name.hasPrefix("/"), "a path that leads out")
      precondition(!entry.name.split(separator: "/").contains(".."), "a path that leads out")
      precondition(entry.pieces.reduce(0) { $0 + $1.count } == entry.byteCount)
      _ = try? file.segments(of: entry, base: file.delta.base.map { _ in nil })
    }
    _ = file.usedBases
    _ = try file.delta.serialised()
  }

  /// An undo delta beside a checkpoint of one file, taken back: no header here names another digest
  /// than the file's, so that nothing may change, and nothing may appear.
  static let undo = Target("undo") { bytes in
    let folder = Scratch.folder("undone")
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
      Scratch.remove("undone/" + name)
    }
    _ = Scratch.write(contents, to: "undone/model.safetensors")
    _ = Scratch.write(Delta.file(bytes), to: "undone/regate-undo.delta")
    defer {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      let foreign = Set(names).subtracting(["model.safetensors", "regate-undo.delta"])
      precondition(
        foreign.allSatisfy(OutputDestination.isManifestName), "wrote \(foreign)")
      let found = FileManager.default.contents(atPath: folder + "/model.safetensors") ?? Data()
      precondition([UInt8](found) == contents, "the checkpoint was changed")
    }
    _ = try Reversion.run(.init(checkpoint: folder, threads: 1))
  }

  private static let contents = Array("0123456789abcdef".utf8)
}
