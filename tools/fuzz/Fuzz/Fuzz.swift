// SPDX-License-Identifier: Apache-2.0
//
// Feeds what libFuzzer makes up to one reader. FUZZ_TARGET names it; FUZZ_FIXTURES is the
// repository's folder of fixtures, FUZZ_SCRATCH one in memory for files, /dev/shm without.

import ByteStorage
import Foundation

/// What libFuzzer's own main function calls once.
@_cdecl("LLVMFuzzerInitialize")
public func begin(_ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeRawPointer) -> Int32 {
  if ProcessInfo.processInfo.environment["FUZZ_TARGET"] == nil {
    for target in Target.all { print(target.name) }
    exit(0)
  }
  _ = Fuzz.target
  return 0
}

/// What it calls for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func run(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  Fuzz.run([UInt8](UnsafeBufferPointer(start: data, count: count)))
  return 0
}

enum Fuzz {
  static let target: Target = {
    let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"] ?? ""
    guard let target = Target.all.first(where: { $0.name == name }) else {
      fatalError(
        "FUZZ_TARGET is \"\(name)\", expected one of "
          + Target.all.map(\.name).joined(separator: " "))
    }
    return target
  }()

  /// An error is how a reader should end; it is one line that a terminal can show.
  static func run(_ bytes: [UInt8]) {
    do {
      try target.body(bytes)
    } catch let error as RegateError {
      for scalar in error.description.unicodeScalars {
        precondition(
          scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value),
          "an error that a terminal would obey")
      }
    } catch {
      fatalError("an error of another kind: \(error)")
    }
  }
}
