// SPDX-License-Identifier: Apache-2.0
//
// The commands that make what is advised, with the traffic that the advice was asked for. They are
// told in the library's words, like everything that it says: commands by their types and options by
// the fields of their requests, in backquotes.

import ByteStorage
import Checkpoints
import ExpertMaps
import Forms
import Foundation
import Traffic

struct AdviceCommands {
  private let checkpoint: String
  private let container: Container
  private let isDirectory: Bool
  private let load: LoadRequest

  init(_ request: Advice.Request, container: Container) {
    checkpoint = request.checkpoint
    self.container = container
    isDirectory =
      container == .safetensors && request.checkpoint.pathExtension.lowercased() != "safetensors"
    load = request.load
  }

  func renumber(ranks: Int) -> String {
    line("PlacementRun", ["`ranks`", "\(ranks)", "`output`", output("-ep\(ranks)")])
  }

  func map(_ format: ExpertMapFormat, ranks: Int, redundant: Int) -> String {
    map(format, ranks: ranks, redundant: redundant, of: checkpoint, ending: "")
  }

  /// Leaves `pruned` experts of each layer out, and has as many redundant ones in their places,
  /// where the runtime takes them from a map.
  func replace(_ pruned: Int, by format: ExpertMapFormat?, ranks: Int) -> String {
    let ending = "-pruned\(pruned)"
    let smaller = name(ending, isDirectory: true)
    let prune = line(
      "Conversion", ["`pruned`", "\(pruned)", "`output`", Self.quoted(smaller)])
    guard let format else { return prune }
    return prune + " && "
      + map(format, ranks: ranks, redundant: pruned, of: smaller, ending: ending)
  }

  private func map(
    _ format: ExpertMapFormat, ranks: Int, redundant: Int, of checkpoint: String, ending: String
  ) -> String {
    line(
      "PlacementRun", of: checkpoint,
      [
        "`ranks`", "\(ranks)", "`redundant`", "\(redundant)", "`map`",
        Self.quoted("\(format.rawValue):\(stem)\(ending)-ep\(ranks).json"),
      ])
  }

  /// Even experts without `ranks`.
  func convert(_ form: RouterForm, ranks: Int?) -> String {
    let ending = "-\(form.rawValue)" + (ranks.map { "-ep\($0)" } ?? "")
    return line(
      "Conversion",
      (ranks.map { ["`ranks`", "\($0)"] } ?? [])
        + [
          "`router`", form.rawValue, "`output`",
          output(ending, isDirectory: form.output.replacesGate),
        ])
  }

  private func line(
    _ command: String, of checkpoint: String? = nil, _ words: [String]
  ) -> String {
    (["`\(command)`", Self.quoted(checkpoint ?? self.checkpoint)] + traffic + words)
      .joined(separator: " ")
  }

  private var traffic: [String] {
    switch load {
    case .counts(let files): return files.flatMap { ["`counts`", Self.quoted($0)] }
    case .traffic(let files, let options):
      let standard = TokenOptions()
      var words = files.flatMap { ["`calibration`", Self.quoted($0)] }
      if options.length != standard.length { words += ["`length`", "\(options.length)"] }
      if options.maxTokens != standard.maxTokens {
        words += ["`maxTokens`", "\(options.maxTokens)"]
      }
      if options.field != standard.field { words += ["`field`", Self.quoted(options.field)] }
      if options.precision != standard.precision {
        words += ["`precision`", options.precision.rawValue]
      }
      if options.seed != standard.seed { words += ["`seed`", "\(options.seed)"] }
      return words
    }
  }

  /// The checkpoint's name without what says of which kind it is. Where that is the folder that one
  /// is in, an output must lie beside it.
  private var stem: String {
    let url = URL(filePath: checkpoint).standardizedFileURL
    let name = url.path(percentEncoded: false).withoutTrailingSlashes.lastPathComponent
    let folder = URL(filePath: FileManager.default.currentDirectoryPath).standardizedFileURL
    switch container {
    case .gguf: return GGUFSplit.stem(of: name)
    case .safetensors:
      return (url.pathComponents == folder.pathComponents ? "../" : "")
        + (isDirectory ? name : name.deletingExtension)
    }
  }

  private func output(_ ending: String, isDirectory needsDirectory: Bool = false) -> String {
    Self.quoted(name(ending, isDirectory: needsDirectory))
  }

  private func name(_ ending: String, isDirectory needsDirectory: Bool = false) -> String {
    let file =
      container == .gguf ? ".gguf" : isDirectory || needsDirectory ? "" : ".safetensors"
    return stem + ending + file
  }

  /// A word as a shell takes it for one.
  private static func quoted(_ word: String) -> String {
    let plain = word.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
      default: Array("_@%+=:,./-".utf8).contains(byte)
      }
    }
    return plain && !word.isEmpty ? word : "'" + word.replacing("'", with: #"'\''"#) + "'"
  }
}
