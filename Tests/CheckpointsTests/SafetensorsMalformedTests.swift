// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import TestSupport
import Testing

/// Opens `malformed` with `open`, which must refuse it, and returns the message.
func message(
  of malformed: MalformedCase, _ open: (String) throws -> Void
) throws -> String {
  let directory = try TemporaryDirectory()
  let path = try malformed.build(in: directory)
  let error = #expect(throws: RegateError.self, "\(malformed.name)") { try open(path) }
  return error?.description ?? ""
}

/// Each case must be refused by a message that holds its own fragment and no other case's.
func requireOwnMessages(_ cases: [MalformedCase], _ open: (String) throws -> Void) throws {
  let messages = try cases.map { try message(of: $0, open) }
  for (place, malformed) in cases.enumerated() {
    let matches = messages.indices.filter { messages[$0].contains(malformed.fragment) }
    #expect(
      matches == [place], "\(malformed.name): \(matches.map { messages[$0] }), \(messages[place])")
    #expect(!messages[place].contains("\n"))
  }
}

@Test func `every malformed safetensors file is refused by its own message`() throws {
  #expect(MalformedCase.safetensors.count >= 30)
  try requireOwnMessages(MalformedCase.safetensors) {
    _ = try SafetensorsFile(path: $0 + "model.safetensors")
  }
}

@Test func `the checkpoint reader refuses the same files`() throws {
  try requireOwnMessages(MalformedCase.safetensors) { _ = try SafetensorsCheckpoint(path: $0) }
}

@Test func `every malformed checkpoint directory is refused by its own message`() throws {
  #expect(MalformedCase.checkpoints.count >= 12)
  try requireOwnMessages(MalformedCase.checkpoints) { _ = try SafetensorsCheckpoint(path: $0) }
}

@Test func `every malformed array file is refused by its own message`() throws {
  #expect(MalformedCase.arrays.count >= 15)
  try requireOwnMessages(MalformedCase.arrays) { path in
    for array in try ArrayContainer.open(path).arrays.values {
      if array.isFloatingPoint {
        _ = try array.floats(rows: 0..<array.rowCount)
      } else {
        _ = try array.integers()
      }
    }
  }
}

@Test func `every malformed gzip file is refused by its own message`() throws {
  try requireOwnMessages(MalformedCase.gzips) { _ = try Gzip.contents(of: $0) }
}
