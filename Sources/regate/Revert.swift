// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit
import Reports

struct Revert: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take back a conversion in place: every file gets its original bytes.",
    discussion: """
      Also after an interrupted convert --in-place. Nothing is written unless the result will have \
      the original's hashes.

      EXAMPLES
        regate convert model --calibration traffic.jsonl --in-place
        regate revert model
      """)

  @Argument(help: "The checkpoint that was converted in place.")
  var checkpoint: String

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.show(
      try Reversion.run(
        Reversion.Request(checkpoint: checkpoint, threads: common.threads),
        progress: common.progress))
  }
}
