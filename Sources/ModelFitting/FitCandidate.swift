// SPDX-License-Identifier: Apache-2.0

package import Forms

/// One of several fits that are made side by side.
package struct FitCandidate: Sendable, Hashable {
  /// What it was asked for.
  package let budget: Budget
  /// The strength that it is made with.
  package let strength: Double
  /// The form that its stream has and its figures are about.
  package let form: RouterForm
  /// The forms that are fitted.
  package let forms: Set<RouterForm>

  package init(
    budget: Budget, strength: Double = 1, form: RouterForm, forms: Set<RouterForm>
  ) {
    self.budget = budget
    self.strength = strength
    self.form = form
    self.forms = forms
  }
}
