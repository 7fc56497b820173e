// SPDX-License-Identifier: Apache-2.0

import CSystem

package enum FreedMemory {
  /// Has the process give large freed buffers back to the system at once. A setting of the whole
  /// process, so that it is the tool's to make and not the library's.
  package static func returnAtOnce() { regate_return_freed_memory() }
}
