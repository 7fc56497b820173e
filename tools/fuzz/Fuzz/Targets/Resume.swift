// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import ModelFitting
import OrderedCollections
import Resuming

extension Target {
  /// A folder's state.json, a zero byte, and the record that it names, whose digest is made right.
  static let resume = Target("resume") { bytes in
    let folder = Scratch.folder("a.regate-resume")
    let parts = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    let record = "layer-0-0.safetensors"
    let path = Scratch.write(
      parts.count > 1 ? [UInt8](parts[1]) : [], to: "a.regate-resume/" + record)
    var state = try JSONValue(parsing: [UInt8](parts[0]), file: "state.json")
    if state.objectValue != nil {
      state["sha256"] = .object([record: .string(try ContentDigest.whole(path))])
    }
    _ = Scratch.write(state.serialised(.compact), to: "a.regate-resume/state.json")
    let key = ResumeKey(entries: ["version": "1"])
    let output = Scratch.folder + "/a"
    let point = try ResumePoint(
      beside: output, key: key, options: ResumeOptions(resumes: true), leftover: .leave,
      progress: NoProgress())
    precondition(point.folder == folder)
    try point.enter("fit")
    for records in try ResumeStage(point, name: "fit").restore() {
      for record in records {
        let _: LayerFigures = try RecordedFigures.value(
          of: "figures.0", in: record.metadata, path: record.path)
      }
    }
  }
}
