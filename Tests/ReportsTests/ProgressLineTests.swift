// SPDX-License-Identifier: Apache-2.0

import Reports
import Testing

@Test func `a progress line tells share, time left and tokens per second`() {
  let text = ProgressLine.text(
    label: "Fitting", stage: "layer 3 of 48", done: 250, skipped: 0, total: 1000, tokens: 4000,
    elapsed: 10)
  #expect(text == "Fitting: layer 3 of 48, 25.0 %, 30 s left, 100 tokens/s")
}

@Test func `work of an earlier run says nothing about the speed`() {
  let text = ProgressLine.text(
    label: "Capturing", stage: "", done: 750, skipped: 500, total: 1000, tokens: 4000, elapsed: 10)
  #expect(text == "Capturing: 75.0 %, 10 s left, 100 tokens/s")
  let plain = ProgressLine.text(
    label: "Hashing", stage: "", done: 500, skipped: 0, total: 1000, tokens: 0, elapsed: 5)
  #expect(plain == "Hashing: 50.0 %, 5.0 s left")
}
