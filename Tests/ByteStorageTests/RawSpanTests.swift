// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Testing

@Suite("Reading spans") struct RawSpanTests {
  @Test func `integers are little-endian and may lie anywhere`() {
    let bytes: [UInt8] = [0xFF, 0x01, 0x02, 0x03, 0x04, 0x80]
    bytes.withBytes { span in
      #expect(span.integer(at: 1, as: UInt32.self) == 0x0403_0201)
      #expect(span.integer(at: 4, as: Int16.self) == -32764)
      #expect(span[5] == 0x80)
    }
    #expect(UInt32(0x0403_0201).littleEndianBytes == [1, 2, 3, 4])
    #expect(Int16(-32764).littleEndianBytes == [0x04, 0x80])
  }

  @Test func `an integer that ends outside stops the program`() async {
    await #expect(processExitsWith: .failure) {
      [UInt8](repeating: 0, count: 7).withBytes { span in
        _ = span.integer(at: 0, as: UInt64.self)
      }
    }
  }

  @Test func `contents are compared, searched and copied`() {
    let bytes: [UInt8] = [0, 0, 5, 0]
    bytes.withBytes { span in
      #expect([UInt8](copying: span) == bytes)
      #expect(span.firstOffset(of: 5) == 2 && span.firstOffset(of: 6) == nil)
      #expect(!span.isZero && span.extracting(0..<2).isZero)
    }
    func areEqual(_ a: Range<Int>, _ b: Range<Int>) -> Bool {
      bytes.withBytes { $0.extracting(a).elementsEqual($0.extracting(b)) }
    }
    #expect(areEqual(0..<4, 0..<4) && areEqual(0..<1, 3..<4) && areEqual(1..<1, 4..<4))
    #expect(!areEqual(0..<1, 2..<3) && !areEqual(0..<1, 0..<2))
    [UInt8]().withBytes { span in
      #expect(span.isZero && span.byteCount == 0 && [UInt8](copying: span).isEmpty)
    }
  }
}
