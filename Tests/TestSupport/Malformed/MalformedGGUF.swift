// SPDX-License-Identifier: Apache-2.0

/// One GGUF model for a test: how to make it, and what opening it must say.
public struct GGUFCase: Sendable, CustomStringConvertible {
  /// What is special about the file.
  public let name: String
  /// Part of the error's text; nil where the file is sound.
  public let message: String?
  /// Writes the files and returns the path to open.
  public let build: @Sendable (TemporaryDirectory) throws -> String

  /// The name, for test reports.
  public var description: String { name }

  /// A case of one file.
  init(_ name: String, _ message: String?, _ bytes: @escaping @Sendable () -> [UInt8]) {
    self.name = name
    self.message = message
    build = { try $0.write(bytes(), to: "model.gguf") }
  }

  /// A case of several files, of which the first is opened.
  init(
    split name: String, _ message: String?,
    files: @escaping @Sendable () -> [(name: String, bytes: [UInt8])]
  ) {
    self.name = name
    self.message = message
    build = { directory in
      let files = files()
      for file in files { try directory.write(file.bytes, to: file.name) }
      return directory.path(files[0].name)
    }
  }

  /// Files that must open, at least one for each layer of the format.
  public static let sound = soundPreambles + soundKeys + soundTensors + soundSplits

  /// Files that must be refused, each for its own reason.
  public static let malformed = badPreambles + badKeys + badTensors + badData + badSplits
}

extension GGUFDraft {
  /// A draft with the given tensor entries and data.
  static func draft(_ tensors: [[UInt8]], data: Int) -> GGUFDraft {
    var draft = GGUFDraft()
    draft.tensors = tensors
    draft.dataBytes = data
    return draft
  }

  /// A file with one extra key.
  static func keyed(_ key: String, _ type: UInt32, _ value: [UInt8]) -> [UInt8] {
    GGUFDraft(keys: [pair(key, type, value)]).bytes
  }

  /// A file with one tensor entry and 4 KiB of data.
  static func holding(_ tensors: [UInt8]...) -> [UInt8] { draft(tensors, data: 4096).bytes }
}
