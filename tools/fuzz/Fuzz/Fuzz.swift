// SPDX-License-Identifier: Apache-2.0
//
// Feeds what libFuzzer makes up to one reader. FUZZ_TARGET names it (libFuzzer starts the program
// again with its own arguments); FUZZ_FIXTURES is the repository's folder of fixtures.

import ByteStorage
import Foundation
import LibFuzzer

@main
struct Fuzz {
  static let target: Target = {
    let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"] ?? ""
    guard let target = Target.all.first(where: { $0.name == name }) else {
      fatalError(
        "FUZZ_TARGET is \"\(name)\", expected one of "
          + Target.all.map(\.name).joined(separator: " "))
    }
    return target
  }()

  static func main() {
    if CommandLine.arguments.dropFirst() == ["--list"] {
      for target in Target.all { print(target.name) }
      return
    }
    _ = target
    var count = CommandLine.argc
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
    let code = withUnsafeMutablePointer(to: &arguments) { pointer in
      LLVMFuzzerRunDriver(&count, pointer) { (data, size) in
        Fuzz.run(data.map { Array(UnsafeBufferPointer(start: $0, count: size)) } ?? [])
        return 0
      }
    }
    exit(code)
  }

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
