// SPDX-License-Identifier: Apache-2.0
//
// Work that must not be done twice: a checkpoint is opened once, a text goes through the tokenizer
// once, and an expert is decoded once a layer, whatever is fitted side by side.

import ByteStorage
import Foundation
import RegateKit
import TestSupport
import Testing

private let model = TinyModel.qwen3
private let layers = [0, 1]

/// What `body` did.
private func work(_ body: () throws -> Void) throws -> WorkLog {
  let log = WorkLog()
  try WorkLog.$current.withValue(log) { try body() }
  return log
}

/// The most and the least decodings of an expert, and how many experts were decoded.
private func decodings(_ log: WorkLog) -> (most: Int, experts: Int) {
  let counts = layers.flatMap { log.expertDecodings(layer: $0).values }
  return (counts.max() ?? 0, counts.count)
}

private func draft(
  _ change: (inout ConversionDraft) -> Void = { _ in }
) -> ConversionDraft {
  var draft = ConversionDraft(model.path, calibration: [TinyModel.text("calibration")])
  draft.sets.tokens = TokenOptions(length: 64, maxTokens: 512)
  draft.settings.refinementSteps = 0
  change(&draft)
  return draft
}

@Suite struct WorkTests {
  /// What is fitted side by side: one set; weighted sets with a protected one; and a search among
  /// all strengths.
  @Test(arguments: ["plain", "sets", "search"])
  func `a conversion from text does its work once`(_ kind: String) throws {
    let folder = try TemporaryDirectory()
    let draft = draft {
      $0.output = .checkpoint(.copy(to: folder.path("out")))
      if kind == "sets" {
        $0.sets.files = ["calibration", "heldout"].map(TinyModel.text)
        $0.sets.weights = [2, 1]
        $0.sets.protected = [TinyModel.text("heldout")]
      }
      if kind == "search" { $0.budget = .maxLossIncrease(10) }
    }
    let log = try work { _ = try draft.run() }
    #expect(log.count(of: .opening) == 1)
    #expect(log.count(of: .tokenisation) == draft.sets.files.count + draft.sets.protected.count)
    let found = decodings(log)
    #expect(found.most == 1, "decoded to sample, and kept")
    #expect(found.experts > layers.count * 16, "experts were decoded, and counted")
  }

  @Test func `captures are held against the gates once, however many sets they are`() throws {
    let folder = try TemporaryDirectory()
    let other = try CaptureRun.run(
      .init(
        checkpoint: model.path, calibration: [model.ids("calibration")],
        output: folder.path("other.safetensors"), tokens: .init(length: 64, maxTokens: 512),
        threads: 2))
    let log = try work {
      _ = try draft {
        $0.sets.files = [model.data("heldout.capture.safetensors"), other.output]
        $0.sets.weights = [2, 1]
        $0.form = .lpr
      }.fit()
    }
    #expect(log.count(of: .fingerprinting) == 1)
  }

  @Test func `a sweep of three strengths decodes no more than one of a single one`() throws {
    func sweep(_ strengths: [Double]) throws -> WorkLog {
      try work { _ = try draft().sweep(strengths) }
    }
    let (one, three) = (try sweep([1]), try sweep([0.5, 0.75, 1]))
    for log in [one, three] {
      #expect(log.count(of: .opening) == 1 && log.count(of: .tokenisation) == 1)
      #expect(decodings(log).most == 1)
    }
  }

  @Test func `a fit that is taken costs no decoding and no tokenisation`() throws {
    let folder = try TemporaryDirectory()
    let fit = try draft { $0.form = .lpr }.fit(to: folder.path("my.fit"))
    #expect(fit.output == folder.path("my.fit"))
    let log = try work {
      _ = try draft {
        $0.fit = fit.output
        $0.output = .checkpoint(.copy(to: folder.path("out")))
      }.run()
    }
    #expect(log.count(of: .opening) == 1 && log.count(of: .tokenisation) == 0)
    #expect(decodings(log).experts == 0)
  }

  @Test func `validation opens each checkpoint once and decodes an expert once for both`() throws {
    let folder = try TemporaryDirectory()
    _ = try draft { $0.output = .checkpoint(.copy(to: folder.path("out"))) }.run()
    let log = try work {
      _ = try Validation.run(
        .init(
          original: model.path, patched: folder.path("out"),
          calibration: [TinyModel.text("heldout")],
          tokens: TokenOptions(length: 64, maxTokens: 512), threads: 2))
    }
    #expect(log.count(of: .opening) == 2 && log.count(of: .tokenisation) == 1)
    #expect(decodings(log).most == 1)
  }
}
