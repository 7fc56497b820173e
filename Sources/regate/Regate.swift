// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

@main
struct Regate: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "regate")
}
