// SPDX-License-Identifier: Apache-2.0

/// One clear error about a file or a request, printed as a single line.
///
/// `problem` says what was found and what was expected; `advice` says what the user can do. Fields
/// of a request stand in backquotes, as `calibration`: a tool puts its own words for them.
public struct RegateError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What kind of thing went wrong; stable across releases, for programs that match on errors.
  public enum Code: String, Sendable {
    /// The bytes break their format's rules.
    case malformed
    /// A file, tensor or key that is needed is not there.
    case missing
    /// Two things that must agree do not: shapes, counts, fingerprints.
    case mismatch
    /// Valid, but nothing here can handle it.
    case unsupported
    /// Doing it could harm data, or would be pointless.
    case refused
    /// A target (balance, error, threshold) was not reached.
    case unreached
    /// Whoever asked for the work stopped it.
    case cancelled
    /// The operating system said no.
    case io
  }

  /// What kind of thing went wrong.
  public var code: Code
  /// Path of the file concerned.
  public var file: String?
  /// Tensor, key, layer or option concerned.
  public var subject: String?
  /// What was found, and what was expected.
  public var problem: String
  /// What can be done about it; nil where nothing can.
  public var advice: String?

  public init(
    _ code: Code, file: String? = nil, subject: String? = nil, _ problem: String,
    advice: String? = nil
  ) {
    self.code = code
    self.file = file
    self.subject = subject
    self.problem = problem
    self.advice = advice
  }

  public var description: String {
    var parts: [String] = []
    if let file { parts.append(file) }
    if let subject { parts.append(subject) }
    parts.append(problem)
    let line = parts.joined(separator: ": ") + (advice.map { "; \($0)" } ?? "")
    return line.harmless()
  }
}
