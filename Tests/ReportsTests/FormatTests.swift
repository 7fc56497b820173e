// SPDX-License-Identifier: Apache-2.0

import Reports
import Testing

@Suite struct FormatTests {
  @Test(arguments: [
    (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"),
    (99_949, "99.9 kB"), (999_499, "999 kB"), (999_501, "1.00 MB"), (93_400_000_000, "93.4 GB"),
  ])
  func `sizes carry three digits and a decimal unit`(count: Int, text: String) {
    #expect(Format.bytes(count) == text)
  }

  @Test(arguments: [
    (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3725, "1 h 02 min"),
  ])
  func `durations use two units at most`(seconds: Double, text: String) {
    #expect(Format.duration(seconds) == text)
  }

  @Test func `undefined numbers print as a dash`() {
    #expect(Format.number(nil) == "-")
    #expect(Format.number(.nan) == "-")
    #expect(Format.number(0.12345) == "0.123")
    #expect(Format.percent(0.4567) == "45.7 %")
  }

  @Test func `thousands are separated`() {
    #expect(Format.count(12_288) == "12,288")
    #expect(Format.count(-1_234_567) == "-1,234,567")
    #expect(Format.count(999) == "999")
  }

  @Test func `a table aligns its columns and leaves no trailing spaces`() {
    var table = TextTable(["layer", "gini"], alignments: [.left, .right])
    table.append(["0", "0.5"])
    table.appendRule()
    table.append(["mean", "0.125"])
    #expect(
      table.render() == """
        layer   gini
        -----  -----
        0        0.5
        -----  -----
        mean   0.125
        """)
  }
}
