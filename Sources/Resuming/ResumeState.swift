// SPDX-License-Identifier: Apache-2.0
//
// What `state.json` in a resume folder says. It is written last and replaced as a whole, so that it
// never names a file that is not there:
//
//   {"format": "regate.resume.v1", "key": {..},
//    "stages": [{"name", "layers": [0, 1, ..], "records": 2, "summary": null or {..}}, ..],
//    "layer": 12, "streams": 3, "hidden": "hidden-0-12.bin" or null}
//
// A stage is one pass over the layers. The last one is under way if it has no summary: it goes on at
// `layer` with the hidden states [streams,T,H] F32 of `hidden`. For each of its `layers` there are
// `records` files `stage-S-layer-L-N.safetensors`.

package import ByteStorage
package import Checkpoints
import OrderedCollections

package struct ResumeState: Sendable {
  /// One pass over the layers.
  package struct Stage: Sendable {
    package let name: String
    /// Layers with records.
    package var layers: [Int] = []
    /// Records of each layer.
    package var records = 0
    /// What the pass found in all; nil while it is under way.
    package var summary: JSONValue?
  }

  package static let fileName = "state.json"
  package static let format = "regate.resume.v1"

  package var stages: [Stage] = []
  /// The layer that comes next.
  package var layer = 0
  /// Streams with hidden states of their own.
  package var streams = 0
  /// File of the hidden states.
  package var hidden: String?

  package static func recordName(stage: Int, layer: Int, _ number: Int) -> String {
    "stage-\(stage)-layer-\(layer)-\(number).safetensors"
  }

  package init() {}

  package func json(key: ResumeKey) -> JSONValue {
    [
      "format": .string(ResumeState.format), "key": key.json,
      "stages": .array(
        stages.map {
          [
            "name": .string($0.name), "layers": .array($0.layers.map { .integer($0) }),
            "records": .integer($0.records), "summary": $0.summary ?? .null,
          ]
        }),
      "layer": .integer(layer), "streams": .integer(streams), "hidden": .optional(hidden),
    ]
  }

  /// Reads the state in `folder`, which must have been kept under `key`.
  package init(in folder: String, key: ResumeKey) throws(RegateError) {
    let path = folder + "/" + ResumeState.fileName
    let json = try JSONValue(contentsOf: path)
    let advice = "give the same inputs and options as then, or remove \(folder) to start anew"
    guard json["format"]?.stringValue == ResumeState.format, let saved = json["key"] else {
      throw RegateError(
        .mismatch, file: path, subject: "format", "expected \(ResumeState.format)", advice: advice)
    }
    if let difference = key.difference(from: saved) {
      throw RegateError(
        .mismatch, file: folder, subject: "`resume`", "the interrupted run had \(difference)",
        advice: advice)
    }
    guard let layer = json["layer"]?.intValue, let streams = json["streams"]?.intValue,
      let stages = json["stages"]?.arrayValue, layer >= 0, (0...1024).contains(streams)
    else { throw ResumeState.damaged(path) }
    self.layer = layer
    self.streams = streams
    hidden = json["hidden"]?.stringValue
    for value in stages {
      guard let name = value["name"]?.stringValue, let records = value["records"]?.intValue,
        let layers = value["layers"]?.arrayValue?.map(\.intValue), !layers.contains(nil),
        (0...1024).contains(records), let summary = value["summary"]
      else { throw ResumeState.damaged(path) }
      self.stages.append(
        Stage(
          name: name, layers: layers.compactMap { $0 }, records: records,
          // A bare `nil` would be JSON null here.
          summary: summary.isNull ? JSONValue?.none : summary))
    }
  }

  package static func damaged(_ path: String) -> RegateError {
    RegateError(
      .malformed, file: path, "is not a state that Regate kept",
      advice: "remove its folder to start anew")
  }
}
