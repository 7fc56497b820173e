// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation

/// Progress for programs: one JSON object a line, when a piece of work begins and ends, and several
/// times a second in between. A warning is an object of its own, with that key alone.
package struct ProgressEvent: Encodable {
  /// The piece of work.
  var label: String?
  /// What is being done now; empty where work has no stages.
  var stage: String?
  /// Units that are done, earlier runs' too.
  var done: Int?
  /// Units in all.
  var total: Int?
  /// What went wrong without ending the work.
  var warning: String?

  package init(label: String, stage: String, done: Int, total: Int) {
    (self.label, self.stage, self.done, self.total) = (label, stage, done, total)
  }

  package init(warning: String) { self.warning = warning }

  /// The event as a line; keys are in the order of their names.
  package var line: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Texts and whole numbers always encode.
    guard let data = try? encoder.encode(self) else { return "" }
    return String(decoding: [UInt8](data).harmlessJSON, as: UTF8.self) + "\n"
  }
}
