// SPDX-License-Identifier: Apache-2.0

/// The form in which the new router is written.
public enum RouterForm: String, Sendable, CaseIterable, Codable {
  /// The prototype router, with tensors and code of its own.
  case lpr
  /// The router that the architecture already has, with new values.
  case stock
  /// The router of the official LPR code, under its names.
  case lprOfficial = "lpr-official"

  /// Everything that there is to say of the form.
  package var output: any OutputForm {
    switch self {
    case .lpr: PrototypeOutput()
    case .stock: StockOutput()
    case .lprOfficial: OfficialOutput()
    }
  }
}
