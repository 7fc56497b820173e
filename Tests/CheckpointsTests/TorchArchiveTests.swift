// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

/// What torch 2.13 pickles, as `data.pkl`.
private enum Pickles {
  /// dict(rank=0, logical_count=arange(6).reshape(2, 3).int(), rate=None, share=0.25,
  /// half=tensor([9, 1.5, -2]).half()[1:])
  static let plain = """
    gAJ9cQAoWAQAAAByYW5rcQFLAFgNAAAAbG9naWNhbF9jb3VudHECY3RvcmNoLl91dGlscwpfcmVidWlsZF90ZW5zb3JfdjIK\
    cQMoKFgHAAAAc3RvcmFnZXEEY3RvcmNoCkludFN0b3JhZ2UKcQVYAQAAADBxBlgDAAAAY3B1cQdLBnRxCFFLAEsCSwOGcQlL\
    A0sBhnEKiWNjb2xsZWN0aW9ucwpPcmRlcmVkRGljdApxCylScQx0cQ1ScQ5YBAAAAHJhdGVxD05YBQAAAHNoYXJlcRBHP9AA\
    AAAAAABYBAAAAGhhbGZxEWgDKChoBGN0b3JjaApIYWxmU3RvcmFnZQpxElgBAAAAMXETaAdLA3RxFFFLAUsChXEVSwGFcRaJ\
    aAspUnEXdHEYUnEZdS4=
    """
  /// A member whose __reduce__ is os.system.
  static let call = """
    gAJ9cQBYDQAAAGxvZ2ljYWxfY291bnRxAWNwb3NpeApzeXN0ZW0KcQJYBAAAAHRydWVxA4VxBFJxBXMu
    """
  /// arange(4).reshape(2, 2).t()
  static let turned = """
    gAJ9cQBYDQAAAGxvZ2ljYWxfY291bnRxAWN0b3JjaC5fdXRpbHMKX3JlYnVpbGRfdGVuc29yX3YyCnECKChYBwAAAHN0b3Jh\
    Z2VxA2N0b3JjaApMb25nU3RvcmFnZQpxBFgBAAAAMHEFWAMAAABjcHVxBksEdHEHUUsASwJLAoZxCEsBSwKGcQmJY2NvbGxl\
    Y3Rpb25zCk9yZGVyZWREaWN0CnEKKVJxC3RxDFJxDXMu
    """
}

struct TorchArchiveTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private static let storages: [(String, [UInt8])] = [
    ("data/0", (0..<6).flatMap { [UInt8($0), 0, 0, 0] }),
    ("data/1", [0x80, 0x48, 0x00, 0x3E, 0x00, 0xC0]),
  ]

  private func archive(
    _ pickle: [UInt8], _ storages: [(String, [UInt8])] = storages, order: String = "little"
  ) throws -> TorchArchive? {
    let members = [("data.pkl", pickle), ("byteorder", Array(order.utf8))] + storages
    return try TorchArchive(
      path: folder.write(zipBytes(members.map { ZipMember("x/" + $0.0, $0.1) }), to: "x.pt"))
  }

  private func pickle(_ text: String) throws -> [UInt8] {
    Array(try #require(Data(base64Encoded: text)))
  }

  @Test func `tensors of a dictionary are read, and other members named`() throws {
    let archive = try #require(try archive(pickle(Pickles.plain)))
    #expect(archive.keys == ["rank", "logical_count", "rate", "share", "half"])
    #expect(archive.tensors.keys.elementsEqual(["logical_count", "half"]))
    let counts = try #require(archive.tensors["logical_count"])
    #expect(counts.shape == [2, 3] && counts.type == .i32)
    #expect(try counts.integers() == [0, 1, 2, 3, 4, 5])
    #expect(try archive.tensors["half"]?.floats(rows: 0..<2) == [1.5, -2])
  }

  @Test func `a call is named and not made`() throws {
    let call = try pickle(Pickles.call)
    #expect(refusal { try archive(call) }.contains("would call posix.system, which was not run"))
  }

  @Test func `lists inside lists without end are refused`() {
    let deep =
      [UInt8]([0x80, 2]) + [UInt8](repeating: 0x5D, count: 300_000)
      + [UInt8](repeating: 0x61, count: 299_999) + [0x2E]
    #expect(refusal { try archive(deep) }.contains("more than 2000 containers"))
  }

  @Test func `references inside references without end are refused`() {
    let deep = [UInt8]([0x80, 2, 0x4E]) + [UInt8](repeating: 0x51, count: 300_000) + [0x2E]
    #expect(refusal { try archive(deep) }.contains("more than 2000 containers"))
  }

  @Test func `what is no archive of torch is not taken for one`() throws {
    #expect(try TorchArchive(path: folder.write(Array("GGUF".utf8) + [3, 0], to: "g")) == nil)
    #expect(
      try TorchArchive(path: folder.write(zipBytes([ZipMember("a.npy", [1])]), to: "z")) == nil)
  }

  private func refusal(_ body: () throws -> TorchArchive?) -> String {
    let error = #expect(throws: RegateError.self) { try body() }
    return error?.description ?? ""
  }

  @Test func `damage and what cannot be read are refused by name`() throws {
    let whole = try pickle(Pickles.plain)
    for count in 0..<whole.count {
      #expect(refusal { try archive(Array(whole.prefix(count))) }.contains("data.pkl"), "\(count)")
    }
    #expect(refusal { try archive(whole, order: "big") }.contains("expected little"))
    #expect(refusal { try archive(whole, [Self.storages[0]]) }.contains("x/data/1"))
    let short = [("data/0", [UInt8](repeating: 0, count: 20)), Self.storages[1]]
    #expect(refusal { try archive(whole, short) }.contains("reaches past 20 bytes"))
    let turned = try pickle(Pickles.turned)
    let elements = [("data/0", [UInt8](repeating: 0, count: 32))]
    #expect(refusal { try archive(turned, elements) }.contains("do not follow each other"))
    #expect(refusal { try archive(Array("I1\n.".utf8)) }.contains("opcode 0x49"))
    #expect(refusal { try archive([0x4E, 0x2E]) }.contains("no dictionary"))
  }
}
