// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Checkpoints
import Foundation

/// Where an output goes: a directory, or files in a folder.
package struct OutputDestination: Sendable {
  /// The output directory, or the folder that the output files go into.
  package let folder: String
  /// For files, the name of the model file.
  package let name: String
  package let isDirectory: Bool

  /// Reads `output` as an output path for `model`, and refuses what could harm the original.
  ///
  /// `severalFiles`: the output needs a directory, since it has more weight files than one.
  package init(
    _ output: String, for model: Model, severalFiles: Bool
  ) throws(RegateError) {
    let url = URL(filePath: output).standardizedFileURL
    let path = url.path(percentEncoded: false).withoutTrailingSlashes
    let file = ["gguf", "safetensors"].first { url.pathExtension.lowercased() == $0 }
    isDirectory = file == nil
    name = url.lastPathComponent
    folder = isDirectory ? path : url.deletingLastPathComponent().path(percentEncoded: false)
    try requireContainer(file, model, severalFiles: severalFiles)
    try requireApart(from: model)
    try requireFolder()
  }

  /// Where an output would have the names of the original: for a delta, which says what each file
  /// becomes, and for a change in place.
  package init(besideOriginal model: Model, severalFiles: Bool) {
    let checkpoint = model.checkpoint
    let path = checkpoint.files.first?.path ?? checkpoint.path
    isDirectory =
      checkpoint.container == .safetensors
      && (severalFiles || !checkpoint.path.lowercased().hasSuffix(".safetensors"))
    name = path.lastPathComponent
    folder = checkpoint.directory
  }

  /// Name of the manifest beside the output.
  package var manifestName: String {
    isDirectory ? "regate.json" : GGUFSplit.stem(of: name) + ".regate.json"
  }

  private func requireContainer(
    _ file: String?, _ model: Model, severalFiles: Bool
  ) throws(RegateError) {
    let container = model.checkpoint.container
    if let file, file != container.rawValue {
      throw RegateError(
        .refused, file: name, "cannot hold the output: the checkpoint is \(container.rawValue)",
        advice: "Regate does not convert between containers")
    }
    if container == .gguf, isDirectory {
      throw RegateError(
        .refused, file: name, "is no name for a GGUF output", advice: "let it end in .gguf")
    }
    if container == .safetensors, !isDirectory {
      guard !severalFiles, model.checkpoint.files.count == 1 else {
        throw RegateError(
          .refused, file: name, "this output has more than one file",
          advice: "give a directory as `output`")
      }
    }
  }

  /// The original and the output must not share a file or lie inside each other.
  private func requireApart(from model: Model) throws(RegateError) {
    let sources = Set(model.checkpoint.files.map(\.identity))
    let target = isDirectory ? folder : folder + "/" + name
    if let identity = Volume.identity(of: target), sources.contains(identity) {
      throw RegateError(
        .refused, file: target, "is the original itself", advice: "choose another output")
    }
    guard isDirectory else { return }
    let output = OutputDestination.resolved(folder) + "/"
    if case .safetensors(let checkpoint) = model.checkpoint.format {
      let source = OutputDestination.resolved(checkpoint.directory)
      guard !output.hasPrefix(source + "/") else {
        throw RegateError(
          .refused, file: folder, "lies inside the original's directory",
          advice: "choose another output")
      }
    }
    for file in model.checkpoint.files {
      let source = OutputDestination.resolved(file.path)
      let given = URL(filePath: file.path).standardizedFileURL.path(percentEncoded: false)
      guard !source.hasPrefix(output), !given.hasPrefix(output) else {
        throw RegateError(
          .refused, file: folder, "holds the original", advice: "choose another output")
      }
    }
  }

  /// `path` without symbolic links. What is not there yet is resolved as far as its folder, since
  /// `resolvingSymlinksInPath` leaves the path of a missing file alone.
  private static func resolved(_ path: String) -> String {
    let url = URL(filePath: path).standardizedFileURL
    guard !FileManager.default.fileExists(atPath: url.path(percentEncoded: false)) else {
      return url.resolvingSymlinksInPath().path(percentEncoded: false).withoutTrailingSlashes
    }
    let folder = url.deletingLastPathComponent().resolvingSymlinksInPath()
    return folder.path(percentEncoded: false).withoutTrailingSlashes + "/" + url.lastPathComponent
  }

  /// Refuses a destination at which something stands.
  package func requireVacant() throws(RegateError) {
    let path = isDirectory ? folder : folder + "/" + name
    guard FileManager.default.fileExists(atPath: path) else { return }
    throw RegateError(
      .refused, file: path, "exists already",
      advice: "choose another output or pass `overwrite`")
  }

  /// Overwriting replaces a whole directory: only one that Regate wrote, or an empty one.
  package func requireReplaceable() throws(RegateError) {
    guard isDirectory,
      let names = try? FileManager.default.contentsOfDirectory(atPath: folder),
      !names.isEmpty, !names.contains(manifestName)
    else { return }
    throw RegateError(
      .refused, file: folder, "holds files that Regate did not write",
      advice: "choose another output")
  }

  private func requireFolder() throws(RegateError) {
    let parent =
      isDirectory
      ? URL(filePath: folder).deletingLastPathComponent().path(percentEncoded: false) : folder
    guard FileKind(of: parent) == .directory else {
      throw RegateError(
        .missing, file: parent, "is no directory", advice: "make it, or choose another output")
    }
  }
}
