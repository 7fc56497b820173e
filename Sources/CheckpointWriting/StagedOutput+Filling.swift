// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Synchronization
import Tensors

extension StagedOutput {
  /// Begins each file of an output under its name.
  package borrowing func started(
    _ files: [OutputFile], linking: Bool = false
  ) throws(RegateError) -> [StartedFile] {
    var started: [StartedFile] = []
    for file in files {
      let path = try path(file.name)
      do throws(RegateError) {
        started.append(try StartedFile(file, at: path, linking: linking))
      } catch {
        throw located(error)
      }
    }
    return started
  }

  /// Writes the rest of each file, follows it with its check, and forces it to the disk; the files'
  /// SHA-256.
  package borrowing func fill(
    _ files: [(file: StartedFile, check: FileCheck)], threads: Int, progress: any ProgressSink
  ) throws(RegateError) -> [String] {
    let failed = Atomic(false)
    let results = mapBlocks(count: files.count, blockSize: 1, threads: max(1, threads / 2)) {
      index, _ in
      Result { () throws(RegateError) in
        do throws(RegateError) {
          return try files[index].file.fill(
            files[index].check, threads: min(threads, 2), progress: progress,
            until: { failed.load(ordering: .relaxed) })
        } catch {
          failed.store(true, ordering: .relaxed)
          throw error
        }
      }
    }
    var digests: [String?] = []
    do throws(RegateError) {
      for result in results { digests.append(try result.get()) }
      // All at the end: the disk is never waited for while there is something to read.
      for file in files { try file.file.sync() }
    } catch {
      throw located(error)
    }
    return digests.compactMap { $0 }
  }
}
