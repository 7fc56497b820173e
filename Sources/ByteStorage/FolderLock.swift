// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A folder that one run at a time works in. The lock ends with it, however the run ends.
package final class FolderLock: Sendable {
  private let descriptor: Int32

  /// Locks `folder`; refused while another run holds it. A file system without locks of folders
  /// grants all (NFS is one).
  package init(_ folder: String) throws(RegateError) {
    while true {
      let descriptor = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard descriptor >= 0 else { throw .system("cannot be opened", path: folder) }
      if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
        close(descriptor)
        throw RegateError(
          .refused, file: folder, "belongs to another run that is under way",
          advice: "let it end, or choose another output")
      }
      // Whoever held it may have removed it, and another may have made it anew.
      var (held, found) = (stat(), stat())
      if unsafe fstat(descriptor, &held) == 0, unsafe stat(folder, &found) == 0,
        held.st_dev == found.st_dev, held.st_ino == found.st_ino
      {
        self.descriptor = descriptor
        return
      }
      close(descriptor)
    }
  }

  deinit { close(descriptor) }
}
