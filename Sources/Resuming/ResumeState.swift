// SPDX-License-Identifier: Apache-2.0
//
// What `state.json` in a resume folder says. It is written last and replaced as a whole, so that it
// never names a file that is not there:
//
//   {"format": "regate.resume.v1", "key": {..},
//    "name", "layers": [0, 1, ..], "records": 2, "summary": null or what was found in all,
//    "layer": 12, "streams": 3, "hidden": "hidden-12.bin" or null,
//    "sha256": {"layer-0-0.safetensors": "..", ..}}
//
// The pass over the layers called `name` goes on at `layer` with the hidden states [streams,T,H]
// F32 of `hidden`, or is done if there is a summary. For each of its `layers` there are `records`
// files `layer-L-N.safetensors`.

package import ByteStorage
package import Checkpoints
package import OrderedCollections

package struct ResumeState: Sendable {
  package static let fileName = "state.json"
  package static let format = "regate.resume.v1"

  /// What the pass is for.
  package var name = ""
  /// Layers with records.
  package var layers: [Int] = []
  /// Records of each layer.
  package var records = 0
  /// What the pass found in all; nil while it is under way.
  package var summary: JSONValue?
  /// The layer that comes next.
  package var layer = 0
  /// Streams with hidden states of their own.
  package var streams = 0
  /// File of the hidden states.
  package var hidden: String?
  /// SHA-256 of each file that is named, in hexadecimal.
  package var digests: OrderedDictionary<String, String> = [:]

  package static func recordName(layer: Int, _ number: Int) -> String {
    "layer-\(layer)-\(number).safetensors"
  }

  package static func hiddenName(layer: Int) -> String {
    "hidden-\(layer).bin"
  }

  /// A capture that grows from layer to layer, until it takes its final name.
  package static let partialName = "capture.partial"

  package init() {}

  package func json(key: ResumeKey) -> JSONValue {
    [
      "format": .string(ResumeState.format), "key": key.json,
      "name": .string(name), "layers": .array(layers.map { .integer($0) }),
      "records": .integer(records), "summary": summary ?? .null,
      "layer": .integer(layer), "streams": .integer(streams), "hidden": .optional(hidden),
      "sha256": .object(digests.mapValues { .string($0) }),
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
    guard let name = json["name"]?.stringValue, let records = json["records"]?.intValue,
      let layers = json["layers"]?.arrayValue?.map(\.intValue), !layers.contains(nil),
      let summary = json["summary"], let layer = json["layer"]?.intValue,
      let streams = json["streams"]?.intValue, let digests = json["sha256"]?.objectValue,
      layer >= 0, (0...1024).contains(records),
      (0...1024).contains(streams)
    else { throw ResumeState.damaged(path) }
    self.name = name
    self.layers = layers.compactMap { $0 }
    self.records = records
    // A bare `nil` would be JSON null here.
    self.summary = summary.isNull ? JSONValue?.none : summary
    self.layer = layer
    self.streams = streams
    hidden = json["hidden"]?.stringValue
    self.digests = digests.compactMapValues(\.stringValue)
    // It is removed once the next is there: never a file of another name.
    guard hidden ?? ResumeState.hiddenName(layer: layer) == ResumeState.hiddenName(layer: layer)
    else { throw ResumeState.damaged(path) }
  }

  package static func damaged(_ path: String) -> RegateError {
    RegateError(
      .malformed, file: path, "is not a state that Regate kept",
      advice: "remove its folder to start anew")
  }
}
