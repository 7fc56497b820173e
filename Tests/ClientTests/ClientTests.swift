// SPDX-License-Identifier: Apache-2.0
//
// A client of the library: it imports RegateKit and nothing else of Regate. That this file compiles
// is the test of what the library needs of its users; the rest says so on a small model.

import RegateKit
import Testing

/// The trained fixture, found from this file's place in the repository.
private let fixtures =
  String(#filePath.dropLast("Tests/ClientTests/ClientTests.swift".count))
  + "fixtures/"
private let checkpoint = fixtures + "tiny-mixtral"
private let ids = fixtures + "tiny-mixtral-data/heldout.npy"
private let fewTokens = TokenOptions(length: 64, maxTokens: 256)

/// Progress as an application shows it.
private struct Bar: ProgressSink {
  func begin(_ label: String, total: Int) {}
  func advance(_ count: Int) {}
  func end() {}
  var isCancelled: Bool { false }
}

/// What applications do with the library, as its documentation shows it. Compiled, not run.
private enum Uses {
  static let traffic = CalibrationSets(
    ["chat.jsonl", "code.jsonl"], weights: [3, 1], protected: ["law.jsonl"],
    tokens: TokenOptions(
      length: 1024, maxTokens: 1 << 20, field: "text", seed: 1, perplexity: .all))

  static func fit() throws(RegateError) -> ModelFit {
    var settings = FitSettings(clones: true, latentSize: 64, refinementSteps: 400, seed: 7)
    settings.latentForm = LatentForm(encoder: .linear, similarity: .dot)
    let run = try FitRun.run(
      FitRun.Request(
        checkpoint: "model", calibration: traffic, budget: .maxLossIncrease(0.01),
        settings: settings, form: .lpr, threads: Threads.all,
        output: FitRun.Output(
          "model.fit", overwrite: true, resume: ResumeOptions(resumes: true, interval: 30))),
      progress: Bar())
    print(run.text, run.json, run.form.rawValue, run.output ?? "", run.seconds)
    try run.fit.write(to: "again.fit", overwrite: true)
    return try ModelFit.read("again.fit", for: "model-Q4_K_M.gguf")
  }

  static func figures(_ fit: ModelFit) {
    let origin: FitOrigin = fit.origin
    print(origin.version, origin.strength, origin.calibration, origin.seed, fit.family)
    for (index, figures) in zip(fit.layerIndices, fit.figures) {
      let layer: LayerFigures = figures
      let evidence: RoutingFigures? = layer.evidence(of: .lpr)?.best
      let metrics: LoadMetrics? = evidence?.metrics
      let agreement: RoutingAgreement? = evidence?.agreement
      print(index, metrics?.gini ?? 1, metrics?.minOverMax ?? 0, agreement?.overlap ?? 0)
      print(layer.clones, layer.latentSize, layer.explainedVariance, layer.feasibleGini)
      print(layer.outputError ?? 0, layer.original.fitted.metrics.maxOverMean ?? 0)
      for set: SetLoad in layer.sets { print(set) }
    }
    for set: SetMeasure in fit.sets + [fit.overall].compactMap({ $0 }) {
      let role: SetRole = set.role
      print(set.name, role.rawValue, set.share ?? 0, set.tokens, set.gini, set.minOverMax)
      print(set.likelihood?.increase ?? 0, set.overlap ?? 0, set.outputError ?? 0)
    }
    if let point: BalancePoint = fit.point, let quality = fit.quality {
      print(point.strength, point.gini ?? 1, point.cost ?? 0, quality.original, quality.divergence)
    }
    print(fit.forms.map(\.rawValue), fit.heldOutGini(.stock) ?? 1, fit.json(.stock))
  }

  static func convert(_ fit: ModelFit) throws(RegateError) {
    let outputs: [Conversion.Output] = [
      .checkpoint(.copy(to: "out")), .checkpoint(.copy(to: "out", links: true, overwrite: true)),
      .checkpoint(.delta(to: "out.delta")), .checkpoint(.inPlace),
      .adapter(to: "lora.gguf", rank: 16),
    ]
    let sources: [Conversion.Source] = [
      .fit(fit), .file("model.fit"), .traffic(traffic, resume: ResumeOptions()),
      .traffic(traffic, budget: .targetGini(0.1)),
    ]
    for output in outputs {
      for source in sources {
        let request = Conversion.Request(
          checkpoint: "model", source: source, output: output, form: .stock, threads: 8)
        let prepared = try Conversion.prepare(request, progress: Bar())
        print(prepared.plan.text, prepared.form)
        try report(prepared.run())
      }
    }
    let plan = try ConversionPlan.run(ConversionPlan.Request(checkpoint: "model"))
    print(plan.text, plan.outputBytes, plan.work?.memoryBytes ?? 0, plan.family, plan.container)
    print(plan.clones, plan.leftAlone, plan.check.headline, plan.check.warnings)
    for layer in plan.layers { print(layer.index, layer.tensors, layer.cloneLimit) }
  }

  static func report(_ result: Conversion) {
    figures(result.fit)
    switch result.written {
    case .copy(let copy): print(copy.files, copy.byteCount, copy.methods[.shared] ?? 0)
    case .delta(let byteCount): print(byteCount)
    case .inPlace(let change): print(change.undo, change.files)
    case nil: print(result.adapter?.rank ?? 0, result.adapter?.largestError ?? 0)
    }
    print(result.form, result.seconds, result.text, result.json)
  }

  static func place() throws(RegateError) {
    let outputs: [PlacementRun.Output] = [
      .checkpoint(.copy(to: "out")), .checkpoint(.inPlace),
      .map(.sglang, to: "map.json", machines: 2, overwrite: true),
    ]
    for output in outputs {
      let run = try PlacementRun.run(
        PlacementRun.Request(
          checkpoint: "model", load: .counts(["imatrix.gguf"]), ranks: [4, 8], output: output,
          redundant: 2, mtp: false, threads: 8), progress: Bar())
      let map: ExpertMap = run.map
      print(map.layers, map.imbalance, map.redundant, run.loadSource, run.tokens)
      let format: ExpertMapFormat? = run.mapFile?.format
      print(run.heldOutTokens ?? 0, format?.rawValue ?? "", run.mapFile?.path ?? "")
      let values: [any JSONRepresentable] = [map] + [run.written].compactMap { $0 }
      print(values.map(\.json))
    }
  }

  static func judge() throws(RegateError) -> Bool {
    let validation = try Validation.run(
      Validation.Request(
        original: "model", patched: "out", calibration: ["other.txt"],
        thresholds: Validation.Thresholds(maxGini: 0.1, maxPerplexityIncrease: 0.01),
        ranks: [4, 8], mtp: false), progress: Bar())
    for layer in validation.layers {
      let (before, after): (LoadSummary, LoadSummary) = (layer.original, layer.patched)
      print(layer.index, before.metrics.gini ?? 1, after.load, layer.agreement.divergence)
    }
    if let quality = validation.quality {
      print(quality.patched.nll, quality.topAgreement, quality.perplexityProtocol.rawValue)
    }
    try PageFile("validation.html", overwrite: true).write(validation.page)
    for check in validation.checks where !check.met { print(check) }
    return validation.passed
  }

  static func advise() throws(RegateError) {
    let advice = try Advice.run(
      Advice.Request(
        checkpoint: "model", load: .traffic(["a.txt"], .init()), ranks: [8, 16],
        batches: [256, 8192], redundant: 32, roofline: Roofline(flops: 4e14, bandwidth: 2e12)),
      progress: Bar()
    ) { print($0) }
    for group: Advice.Group in advice.groups {
      for row in group.rows {
        print(row.title, row.imbalance ?? 1, group.times(row) ?? [], row.lossIncrease ?? 0)
        for batches: RankBatches in row.batches { print(batches.median, batches.p99) }
        print(row.runtimes.map(\.rawValue), row.command ?? "", row.bytesToWrite, row.expertBytes)
      }
    }
    for choice: Advice.Choice in advice.choices { print(choice.row.option) }
    print(advice.sentence, advice.leftOut, RankBatches.standardSizes)
  }

  static func sweep() throws(RegateError) {
    let sweep = try Sweep.run(
      Sweep.Request(
        checkpoint: "model", calibration: traffic, strengths: Sweep.strengths, form: .lpr),
      progress: Bar()
    ) { print($0) }
    for point in sweep.points { print(point.strength, point.gini ?? 1, point.lossIncrease ?? 0) }
    print(sweep.knee?.strength ?? 0, sweep.page, sweep.fits.count)
  }

  static func capture() throws(RegateError) {
    let run = try CaptureRun.run(
      CaptureRun.Request(
        checkpoint: "model", calibration: ["a.txt"], output: "a.safetensors", type: .bf16),
      progress: Bar())
    print(run.meanNLL, run.perplexityProtocol, run.positions)
  }

  static func undo() throws(RegateError) {
    let applied = try DeltaApplication.run(
      DeltaApplication.Request(delta: "out.delta", checkpoint: "model", output: "out"))
    let reverted = try Reversion.run(Reversion.Request(checkpoint: "model"))
    print(applied.files, applied.byteCount, reverted.files, RegateVersion.current)
  }
}

@Test func `a client inspects a checkpoint and asks what loads it`() throws {
  let inspection = try Inspection.run(
    Inspection.Request(checkpoint: checkpoint, load: .traffic([ids], fewTokens), ranks: [2]),
    progress: Bar())
  #expect(!inspection.layers.isEmpty && inspection.tokens == 256)
  for layer in inspection.layers {
    let load = try #require(layer.load)
    #expect(load.load.reduce(0, +) == 256 * 2)
    #expect(load.rankImbalance.first?.value ?? 0 >= 1)
    #expect(layer.gate.rowNorms.count == load.load.count)
  }
  #expect(inspection.json["family"]?.stringValue == "mixtral")
  #expect(inspection.page.render().contains("Expert load"))

  let check = try Check.run(.init(checkpoint: checkpoint, runtimes: [.transformers, .llamaCpp]))
  #expect(check.outcomes.map(\.runtime) == [.transformers, .llamaCpp])
  #expect(check.outcomes.map(\.loads) == [true, false])
  #expect(check.outcomes[1].level == CheckLevel.refuses)
}

@Test func `a client's mistakes are errors that name the request's fields`() throws {
  let error = #expect(throws: RegateError.self) {
    try Conversion.run(
      Conversion.Request(
        checkpoint: checkpoint, source: .traffic(CalibrationSets([])),
        output: .checkpoint(.copy(to: fixtures + "out"))))
  }
  #expect(error?.code == .missing && error?.subject == "`calibration`")
  #expect(error?.advice?.isEmpty == false)
}
