// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage

/// A sink with the leave to write there.
package enum ClaimedSink: Sendable {
  /// `claims`: the directory, or each file.
  case copy(OutputDestination, claims: [OutputClaim], links: Bool)
  case delta(OutputClaim)
  case inPlace
}

extension Sink {
  /// Claims what is to be written for `model`, and refuses before any long work what cannot be.
  ///
  /// `severalFiles`: a copy needs a directory, for more files of weights than one or a
  /// configuration of its own.
  package func claimed(
    for model: Model, severalFiles: Bool, apartFrom inputs: RunInputs
  ) throws(RegateError) -> ClaimedSink {
    switch self {
    case .copy(let path, let links, let overwrite):
      let destination = try OutputDestination(path, for: model, severalFiles: severalFiles)
      return .copy(
        destination, claims: try destination.claims(overwrite: overwrite, apartFrom: inputs),
        links: links)
    case .delta(let path, let overwrite):
      return .delta(
        try OutputClaim(path, as: .delta, overwrite: overwrite, apartFrom: inputs))
    case .inPlace:
      try InPlaceWriter.requirePossible(model)
      return .inPlace
    }
  }
}
