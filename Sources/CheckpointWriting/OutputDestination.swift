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
  /// For files, the names of those that hold the weights: the parts of a split model.
  private let weightNames: [String]
  package let isDirectory: Bool

  /// Reads `output` as an output path for `model`.
  ///
  /// `severalFiles`: the output needs a directory, since it has more weight files than one or a
  /// configuration of its own.
  package init(
    _ output: String, for model: Model, severalFiles: Bool
  ) throws(RegateError) {
    let url = URL(filePath: output).standardizedFileURL
    let path = url.path(percentEncoded: false).withoutTrailingSlashes
    let file = ["gguf", "safetensors"].first { url.pathExtension.lowercased() == $0 }
    isDirectory = file == nil
    name = url.lastPathComponent
    folder = isDirectory ? path : path.directory
    weightNames = Self.weightNames(name, model)
    try requireContainer(file, model, severalFiles: severalFiles)
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
    weightNames = Self.weightNames(name, model)
  }

  private static func weightNames(_ name: String, _ model: Model) -> [String] {
    let count = model.checkpoint.files.count
    return (0..<count).map { GGUFOutput.partName($0, of: count, name: name) }
  }

  /// Name of the manifest in an output directory.
  package static let manifestName = "regate.json"

  /// Whether a manifest may have this name.
  package static func isManifestName(_ name: String) -> Bool {
    !name.contains("/") && (name == manifestName || name.hasSuffix("." + manifestName))
  }

  /// Name of the manifest in or beside the output.
  package var manifestName: String {
    isDirectory ? Self.manifestName : GGUFSplit.stem(of: name) + ".regate.json"
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

  /// Claims everything that the output will be: its directory, or each of its files.
  package func claims(
    overwrite: Bool, apartFrom inputs: RunInputs
  ) throws(RegateError) -> [OutputClaim] {
    func claim(_ name: String?, _ kind: OutputKind) throws(RegateError) -> OutputClaim {
      try OutputClaim(
        name.map { folder + "/" + $0 } ?? folder, as: kind, overwrite: overwrite,
        apartFrom: inputs)
    }
    guard !isDirectory else { return [try claim(nil, .checkpointDirectory)] }
    var claims: [OutputClaim] = []
    for name in weightNames {
      claims.append(try claim(name, .checkpointFile(manifest: manifestName)))
    }
    return claims + [try claim(manifestName, .manifest)]
  }

  /// Stages what was claimed.
  package func stage(_ claims: [OutputClaim]) throws(RegateError) -> StagedOutput {
    guard isDirectory, let claim = claims.first else { return try StagedOutput(files: claims) }
    return try StagedOutput(directory: claim)
  }
}
