// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import Inference
package import OrderedCollections
import Tensors

/// What one layer left, as a small safetensors file.
package struct ResumeRecord: Sendable {
  package var tensors: [SafetensorsWriter.Tensor] = []
  package var metadata: OrderedDictionary<String, String> = [:]

  package init(
    tensors: [SafetensorsWriter.Tensor] = [], metadata: OrderedDictionary<String, String> = [:]
  ) {
    self.tensors = tensors
    self.metadata = metadata
  }

  package func write(to claim: OutputClaim) throws(RegateError) {
    try SafetensorsWriter.write(tensors, metadata: metadata, to: claim)
  }
}

/// The pass over the layers of a run that can be resumed: over hidden states of a `ForwardPass`, or
/// over captures.
///
///     let stage = try ResumeStage(point, name: "validate", pass: pass)
///     for records in try stage.restore() { .. }      // layers that an earlier run did
///     while pass.layer < .. { ..; try stage.ended(layer: index, next: pass.layer, records) }
///     try stage.finish(summary)
package final class ResumeStage {
  private let point: ResumePoint
  private let pass: ForwardPass?
  private var current: ResumeState
  private var unsaved: [(layer: Int, records: [ResumeRecord])] = []

  package init(
    _ point: ResumePoint, name: String, pass: ForwardPass? = nil
  ) throws(RegateError) {
    self.point = point
    self.pass = pass
    try point.enter(name)
    current = point.state
  }

  /// What the stage found in all, if an earlier run finished it.
  package var summary: JSONValue? { current.summary }

  /// The records of each layer that an earlier run did; the pass is brought to the next layer.
  package func restore() throws(RegateError) -> [[ArrayContainer]] {
    guard point.isSaved else { return [] }
    if current.summary == nil { try restoreHidden() }
    var layers: [[ArrayContainer]] = []
    for layer in current.layers {
      var records: [ArrayContainer] = []
      for record in 0..<current.records {
        let name = ResumeState.recordName(layer: layer, record)
        let path = point.folder + "/" + name
        guard FileKind(of: path) == .file else {
          throw ResumeState.damaged(point.folder + "/" + ResumeState.fileName)
        }
        try point.requireWhole(name)
        records.append(try ArrayContainer.openSafetensors(path))
      }
      layers.append(records)
    }
    return layers
  }

  private func restoreHidden() throws(RegateError) {
    guard let pass, let name = current.hidden else { return }
    let path = point.folder + "/" + name
    let file = try MappedFile(path: path)
    let rowBytes = 4 * pass.model.hiddenSize
    let streamBytes = rowBytes * pass.tokenCount
    guard current.streams == 1 || current.streams == pass.streams,
      current.layer <= pass.model.layerCount, file.count == current.streams * streamBytes
    else { throw ResumeState.damaged(path) }
    try point.requireWhole(name)
    try pass.restore(layer: current.layer, distinctStreams: current.streams) {
      (stream, rows) throws(RegateError) in
      let start = stream * streamBytes
      let range = start + rows.lowerBound * rowBytes..<start + rows.upperBound * rowBytes
      let values = try file.withBytes(in: range) { (bytes) throws(RegateError) in
        try TensorDecoder.decode(bytes, type: .f32, count: bytes.byteCount / 4)
      }
      file.discard(range)
      return values
    }
  }

  /// Notes that a layer is done and what it left, and saves if that is due; `prepare` runs before.
  package func ended(
    layer: Int, next: Int, _ records: [ResumeRecord] = [],
    prepare: () throws(RegateError) -> Void = {}
  ) throws(RegateError) {
    current.layer = next
    if !records.isEmpty {
      current.layers.append(layer)
      current.records = records.count
      unsaved.append((layer, records))
    }
    guard point.isDue else { return }
    try prepare()
    try save(pass)
  }

  /// Notes what the stage found in all: nothing of it will be done again.
  package func finish(_ summary: JSONValue) throws(RegateError) {
    current.summary = summary
    guard point.isSaved || point.isDue else { return }
    try save(nil)
  }

  private func save(_ pass: ForwardPass?) throws(RegateError) {
    try point.save(current, records: unsaved, pass: pass)
    unsaved = []
    // The name of the file of hidden states is the point's business.
    current.hidden = point.state.hidden
    current.streams = point.state.streams
    current.digests = point.state.digests
  }
}
