// SPDX-License-Identifier: Apache-2.0

import Tensors
import Testing

@Suite("Element types") struct ElementTypeTests {
  @Test func `byte counts need whole blocks and whole bytes`() {
    #expect(ElementType.q4_K.byteCount(of: 512) == 288)
    #expect(ElementType.q4_K.byteCount(of: 128) == nil)
    #expect(ElementType.f4.byteCount(of: 6) == 3)
    #expect(ElementType.f4.byteCount(of: 5) == nil)
    #expect(ElementType.f6e2m3.byteCount(of: 4) == 3)
    #expect(ElementType.f6e2m3.byteCount(of: 2) == nil)
    #expect(ElementType.f64.byteCount(of: 0) == 0)
  }

  @Test func `byte counts refuse negative counts and overflow`() {
    #expect(ElementType.f32.byteCount(of: -1) == nil)
    #expect(ElementType.f32.byteCount(of: Int.max) == nil)
    #expect(ElementType.u8.byteCount(of: Int.max) == nil)
  }
}
