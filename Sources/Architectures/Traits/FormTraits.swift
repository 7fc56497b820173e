// SPDX-License-Identifier: Apache-2.0

/// The forms, beside its own, in which a family's routers can be written.
package struct FormTraits: Sendable {
  /// What the names of the family's classes begin with in Regate's modelling files; nil where they
  /// have none.
  package var classPrefix: String?
  /// The same of the models that hold the family's beside towers for pictures.
  package var wrapper: WrapperClasses?
  /// Whether `config.json` of the prototype form must name an activation that does not exist
  /// (`PrototypeForm.activationGuard`), because no tensor's shape stops the stock class:
  /// transformers 5 renames the gates of some families by `model_type`, so that their own classes
  /// find none of ours.
  package var guardsActivation = false
  package var official = OfficialSupport.absent
}

/// The classes of models around a family's.
package struct WrapperClasses: Sendable {
  /// `model_type` of the whole.
  package var modelType: String
  package var classPrefix: String
}

/// Whether the official LPR code (arXiv 2506.21328, snapshot of June 2025) runs a family.
package enum OfficialSupport: Sendable {
  case supported(OfficialTraits)
  /// It has the family, with another routing than the model's own; says what it does.
  case differs(String)
  case absent
}

/// What the official LPR code calls a family, and its published configuration.
package struct OfficialTraits: Sendable {
  /// `model_type` there.
  package var modelType: String
  /// `architectures` there.
  package var className: String
  /// `align_weight` of the published configuration.
  package var alignWeight: Double
  /// Keys that its transformers 4 reads under an older name: (older, current).
  package var olderKeys: [(older: String, current: String)] = []
}

extension Family {
  /// Whether Regate's modelling files have a class of the family.
  package var hasPrototypeForm: Bool { forms.classPrefix != nil || forms.wrapper != nil }

  /// What the official LPR code calls the family; nil where it does not run it as it is.
  package var official: OfficialTraits? {
    if case .supported(let traits) = forms.official { traits } else { nil }
  }
}
