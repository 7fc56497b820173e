// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// How a long run keeps its state, and whether it continues from one.
///
/// The state lies in a folder beside the output, named like it with `.regate-resume` added: the
/// hidden states before the next layer, and what was found at the layers that are done. A run that
/// ends well removes it.
public struct ResumeOptions: Sendable {
  /// Continue from the state that an interrupted run left; without one, start at the first layer.
  public var resumes: Bool
  /// Seconds of work after which the end of a layer saves the state.
  public var interval: Double
  /// Called with the next layer after each save; what it returns ends the run, as a test may want.
  package var afterSave: (@Sendable (_ layer: Int) -> RegateError?)?

  public init(resumes: Bool = false, interval: Double = 60) {
    self.resumes = resumes
    self.interval = interval
  }

  /// The folder that holds the state of a run that makes `output`.
  public static func folder(for output: String) -> String {
    output.withoutTrailingSlashes + ".regate-resume"
  }
}
