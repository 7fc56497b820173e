// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How much of a forward pass stays in memory. What is above a limit lies in a temporary file
/// (`PageMemory.scratchFolder`), whose pages the system takes back when memory is short.
package struct PassMemory: Sendable {
  /// Bytes of hidden states, all streams together.
  package var hidden: Int
  /// Bytes of each further [T,H], such as what a layer's experts read.
  package var copies: Int
  /// Bytes of the weights of a dense layer or of shared experts that are decoded at once; wider
  /// ones are taken in parts, whose outputs add up.
  package var dense: Int
  /// Bytes of a layer's experts that stay decoded from a fit's samples to the run of all tokens.
  package var experts: Int

  /// Half of the machine's memory, and 64 MB: second copies beside it would be all that grows with
  /// the tokens. An eighth for experts.
  package init(
    hidden: Int = Int(clamping: ProcessInfo.processInfo.physicalMemory / 2), copies: Int = 64 << 20,
    dense: Int = 256 << 20,
    experts: Int = Int(clamping: ProcessInfo.processInfo.physicalMemory / 8)
  ) {
    self.hidden = hidden
    self.copies = copies
    self.dense = dense
    self.experts = experts
  }
}
