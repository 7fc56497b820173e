// SPDX-License-Identifier: Apache-2.0
//
// What each kind of output can hold.

import Architectures
import ByteStorage
import CheckpointWriting
import Checkpoints
import Forms
import ModelFitting
import Tensors

extension Conversion.Output {
  /// The form that an output has where nothing else is asked for.
  func defaultForm(of model: Model) -> RouterForm {
    isInPlace || isAdapter ? .stock : model.defaultForm
  }

  var isInPlace: Bool { self == .checkpoint(.inPlace) }

  var isAdapter: Bool { if case .adapter = self { true } else { false } }

  /// The path of what is written; nil in place.
  var path: String? {
    switch self {
    case .checkpoint(let sink): sink.path
    case .adapter(let path, _, _): path
    }
  }

  /// Whether something that stands there already is replaced.
  var overwrites: Bool {
    switch self {
    case .checkpoint(let sink): sink.overwrites
    case .adapter(_, _, let overwrite): overwrite
    }
  }

  /// Refuses to prune experts where the files stay what they are.
  func requireNewFiles(checkpoint: String) throws(RegateError) {
    guard isInPlace || isAdapter else { return }
    throw RegateError(
      .refused, file: checkpoint, subject: "`pruned`",
      isAdapter
        ? "an adapter cannot leave experts out"
        : "files without some experts are new files, not the same ones changed in place",
      advice: "write a copy or a delta")
  }

  /// Refuses a form that the output cannot hold.
  func requirePossible(_ form: RouterForm, _ model: Model) throws(RegateError) {
    if form.output.replacesGate, isInPlace || isAdapter {
      throw RegateError(
        .refused, subject: "`router` \(form.rawValue)",
        "needs files of its own: not in place, no adapter", advice: "use `router` stock")
    }
    if isInPlace, let gate = model.layout.layers.first(where: \.gate.type.isQuantised)?.gate {
      throw RegateError(
        .refused, file: model.checkpoint.path, subject: gate.name,
        "is stored as \(gate.type.rawValue) and must become F32, which needs a new file",
        advice: "write a copy or a delta instead of changing it in place")
    }
    guard case .adapter(_, let rank, _) = self else { return }
    guard !model.layout.includesMTP else {
      throw RegateError(
        .refused, subject: "`mtp`", "an adapter holds the model's own layers only",
        advice: "leave `mtp` out")
    }
    try AdapterWriter.requirePossible(model, rank: rank)
  }
}

extension FitSettings {
  /// An adapter cannot copy experts.
  func suiting(_ output: Conversion.Output) -> FitSettings {
    var settings = self
    if output.isAdapter { settings.clones = false }
    return settings
  }
}
