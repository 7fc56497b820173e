// SPDX-License-Identifier: Apache-2.0

import Reports
import Testing

@Test func `a progress line tells share, time left and tokens per second`() {
  let text = ProgressLine.text(
    label: "Fitting", stage: "layer 3 of 48", done: 250, skipped: 0, total: 1000, tokens: 4000,
    elapsed: 10, stagesDone: 2)
  #expect(text == "Fitting: layer 3 of 48, 25.0 %, 30 s left, 100 tokens/s")
}

@Test func `work of an earlier run says nothing about the speed`() {
  let text = ProgressLine.text(
    label: "Capturing", stage: "", done: 750, skipped: 500, total: 1000, tokens: 4000, elapsed: 10,
    stagesDone: 0)
  #expect(text == "Capturing: 75.0 %, 10 s left, 100 tokens/s")
  let plain = ProgressLine.text(
    label: "Hashing", stage: "", done: 500, skipped: 0, total: 1000, tokens: 0, elapsed: 5,
    stagesDone: 0)
  #expect(plain == "Hashing: 50.0 %, 5.0 s left")
}

@Test func `no time left is told before it can be known`() {
  func text(_ stage: String, done: Int, stagesDone: Int) -> String {
    ProgressLine.text(
      label: "Fitting", stage: stage, done: done, skipped: 0, total: 1000, tokens: 0, elapsed: 4,
      stagesDone: stagesDone)
  }
  // The attention of the first layer says nothing of its fit.
  #expect(text("layer 1 of 2", done: 100, stagesDone: 0) == "Fitting: layer 1 of 2, 10.0 %")
  #expect(
    text("layer 2 of 2", done: 500, stagesDone: 1) == "Fitting: layer 2 of 2, 50.0 %, 4.0 s left")
  #expect(text("", done: 10, stagesDone: 0) == "Fitting: 1.0 %")
}

@Test func `an event is one line of JSON, whatever its words`() {
  let event = ProgressEvent(label: "Fitting", stage: "layer 3 of 48", done: 250, total: 1000)
  #expect(
    event.line == #"{"done":250,"label":"Fitting","stage":"layer 3 of 48","total":1000}"# + "\n")
  #expect(
    ProgressEvent(warning: "a/b: \"x\"\n2").line == #"{"warning":"a/b: \"x\"\n2"}"# + "\n")
}
