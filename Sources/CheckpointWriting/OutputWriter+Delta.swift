// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors

extension OutputWriter {
  /// Writes what `write` would change as a delta, and returns its size in bytes.
  func writeDelta(to claim: OutputClaim) throws(RegateError) -> Int {
    let destination = besideOriginal
    let contents = try contents(destination)
    let sources = deltaSources(contents)
    let digests = try hashes(
      of: sources.map { [.range($0.file, 0..<$0.file.count)] }, "Hashing", threads: threads,
      progress: progress)
    let known = Dictionary(
      zip(sources, digests).map { ($0.file.identity, $1) }, uniquingKeysWith: { first, _ in first })
    let changed = contents.files.filter { $0.whole == nil }
    let after = Dictionary(
      uniqueKeysWithValues: zip(
        changed.map(\.name),
        try hashes(
          of: changed.map(\.segments), "Hashing the output", threads: threads,
          progress: progress)))
    var targets: [DeltaWriter.Target] = []
    var listing: [Manifest.File] = []
    for (index, file) in contents.files.enumerated() {
      let digest = after[file.name] ?? file.whole.flatMap { known[$0.identity] } ?? ""
      listing.append(
        Manifest.File(name: file.name, byteCount: file.byteCount, sha256: digest))
      targets.append(
        DeltaWriter.Target(
          name: file.name, part: index < contents.weights.count ? index : nil,
          parts: parts(of: file, sources), sha256: digest))
    }
    try model.checkpoint.requireUnchanged()
    let json = manifest.json(files: listing).serialised(.pretty)
    targets.append(
      DeltaWriter.Target(
        name: destination.manifestName, part: nil, parts: [.stored(.bytes(json))],
        sha256: try [Segment.bytes(json)].sha256()))
    let writer = DeltaWriter(
      kind: .conversion, about: manifest.json, sources: sources, digests: digests)
    return try writer.write(targets, to: claim)
  }

  /// The files of the original that an output is made of.
  private func deltaSources(_ contents: Contents) -> [DeltaWriter.Source] {
    let names = model.checkpoint.fileNames
    var sources = model.checkpoint.files.enumerated().map {
      DeltaWriter.Source(name: names[$0.offset], part: $0.offset, file: $0.element)
    }
    var seen = Set(sources.map(\.file.identity))
    for side in contents.sides {
      for case .range(let file, _) in side.segments where seen.insert(file.identity).inserted {
        sources.append(DeltaWriter.Source(name: side.name, part: nil, file: file))
      }
    }
    return sources
  }

  private func parts(
    of file: OutputFile, _ sources: [DeltaWriter.Source]
  ) -> [DeltaWriter.Part] {
    file.segments.map { segment in
      guard case .range(let source, let range) = segment,
        let place = sources.firstIndex(where: { $0.file.identity == source.identity })
      else { return .stored(segment) }
      return .copied(source: place, range)
    }
  }
}
