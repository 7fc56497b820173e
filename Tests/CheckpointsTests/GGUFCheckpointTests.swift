// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import TestSupport
import Testing

@Suite struct GGUFCheckpointTests {
  @Test(arguments: ["split-00001-of-00002.gguf", "split-00002-of-00002.gguf"])
  func `a split model is whole, whichever part it is opened by`(name: String) throws {
    let checkpoint = try GGUFCheckpoint(path: GGUFFileTests.sample(name))
    #expect(checkpoint.architecture == "llama")
    #expect(checkpoint.container == .gguf)
    #expect(checkpoint.parts.count == 2)
    #expect(checkpoint.metadata["tokenizer.ggml.tokens"]?.strings?.count == 3)
    #expect(checkpoint.parts[1].metadata["tokenizer.ggml.tokens"] == nil)
    let names = ["token_embd.weight", "blk.0.attn_q.weight", "output.weight"]
    #expect(Array(checkpoint.tensors.keys) == names)
    #expect(checkpoint.tensors.values.map(\.file) == [0, 0, 1])
    for (index, name) in names.enumerated() {
      let first = try checkpoint.withBytes(of: checkpoint.tensor(name), part: 0..<4) {
        Float(bitPattern: $0.integer(at: 0))
      }
      #expect(first == Float(100 * index))
    }
  }

  @Test func `bytes after the last tensor are named`() throws {
    let directory = try TemporaryDirectory()
    let file = try MappedFile(path: GGUFFileTests.sample("every-type.gguf"))
    let bytes = try file.bytes(in: 0..<file.count)
    for (surplus, isNamed) in [(0, false), (1000, true)] {
      let path = try directory.write(bytes + [UInt8](repeating: 7, count: surplus), to: "a.gguf")
      let checkpoint = try GGUFCheckpoint(path: path)
      #expect(checkpoint.warnings.count == (isNamed ? 1 : 0))
      #expect(
        checkpoint.warnings.allSatisfy {
          $0.hasPrefix("\(path) goes on for \(surplus) bytes after its last tensor")
        })
    }
  }

  @Test func `a file is told by its first bytes where its name says nothing`() throws {
    let directory = try TemporaryDirectory()
    let file = try MappedFile(path: GGUFFileTests.sample("split-00001-of-00002.gguf"))
    let blob = try directory.write(try file.bytes(in: 0..<4) + [3, 0, 0, 0], to: "sha256-0123")
    let error = #expect(throws: RegateError.self) { try CheckpointFormat.open(blob) }
    // It is read as GGUF: the header goes on with the number of tensors.
    #expect(error?.subject?.contains("tensor") == true, "\(String(describing: error))")
  }

  @Test func `parts are found beside a link, by the link's name`() throws {
    let directory = try TemporaryDirectory()
    for part in 1...2 {
      try FileManager.default.createSymbolicLink(
        atPath: directory.path("linked-0000\(part)-of-00002.gguf"),
        withDestinationPath: GGUFFileTests.sample("split-0000\(part)-of-00002.gguf"))
    }
    let checkpoint = try GGUFCheckpoint(path: directory.path("linked-00002-of-00002.gguf"))
    #expect(checkpoint.tensors.count == 3)
  }

  @Test func `a file that is not there is reported by the system's words`() throws {
    let error = #expect(throws: RegateError.self) { try GGUFCheckpoint(path: "absent.gguf") }
    #expect(error?.code == .io)
  }
}
