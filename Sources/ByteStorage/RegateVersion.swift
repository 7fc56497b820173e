// SPDX-License-Identifier: Apache-2.0

/// Versions of the tool and of what it writes.
public enum RegateVersion {
  /// The tool.
  public static let current = "0.1.0"
  /// Fit files.
  public static let fitFile = 4
  /// `regate.json`.
  public static let manifest = 1
}
