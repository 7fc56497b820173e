// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Standard output and standard error. Foundation's handles trap where a write fails: on a full
/// disk, on a stream that was closed.
package enum StandardStream: Int32 {
  case output = 1
  case error = 2

  /// Writes all of `bytes`; `what` names them in an error. A reader that has gone ends the process
  /// by SIGPIPE, as it does any filter.
  package func write(_ bytes: [UInt8], _ what: String) throws(RegateError) {
    var done = 0
    while done < bytes.count {
      // SAFETY: `write` reads the rest of the array, inside the call.
      let written = unsafe bytes[done...].withUnsafeBytes {
        unsafe Foundation.write(rawValue, $0.baseAddress, $0.count)
      }
      if written > 0 {
        done += written
      } else if errno != EINTR {
        // SAFETY: `strerror` gives a text that ends in 0, which is copied.
        let reason = unsafe String(cString: strerror(errno))
        throw RegateError(.io, "cannot write \(what): \(reason)")
      }
    }
  }

  /// Says something on standard error; there is nobody to tell where that fails.
  package static func say(_ text: String) { try? error.write(Array(text.utf8), "") }

  /// Keeps the numbers of streams that were closed from files that are opened later: a report must
  /// not land in an output. What is written to such a stream fails as before.
  package static func reserveClosed() {
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO]
    where fcntl(descriptor, F_GETFD) < 0 {
      _ = unsafe open("/dev/null", O_RDONLY)
    }
  }
}
