// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit
import Reports

struct Revert: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take back a change in place: every file gets its original bytes.",
    discussion: """
      Takes back convert --in-place and place --in-place, interrupted ones too. Nothing is written \
      unless the result will have the original's hashes.

      EXAMPLES
        regate convert model --calibration traffic.jsonl --in-place
        regate revert model
      """)

  @Argument(help: "The checkpoint that was changed in place.")
  var checkpoint: String

  @OptionGroup var common: CommonOptions

  func run() throws {
    let request = Reversion.Request(checkpoint: checkpoint, threads: common.threads)
    try common.show { try Reversion.run(request, progress: $0) }
  }
}
