// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation

/// What lies in a checkpoint's directory. Links to files count as files, since Hugging Face's hub
/// cache is made of them; links to directories are not followed.
struct CheckpointDirectory {
  /// Paths relative to the directory, sorted by bytes, without those in hidden directories
  /// (`.git`, `.cache`), which hold second copies of a download.
  let fileNames: [String]

  init(path: String) throws(RegateError) {
    var found: [String] = []
    try CheckpointDirectory.list(path, prefix: "", depth: 0, into: &found)
    fileNames = found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Deeper than any model repository, and an end to unexpected trees.
  private static let depthLimit = 16

  private static func list(
    _ path: String, prefix: String, depth: Int, into found: inout [String]
  ) throws(RegateError) {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: path)
    } catch {
      throw RegateError(.io, file: path, "cannot be listed")
    }
    for name in names {
      let child = path + "/" + name
      guard let kind = FileKind(of: child, followingLinks: false) else { continue }
      if kind == .directory {
        guard !name.hasPrefix("."), depth < depthLimit else { continue }
        try list(child, prefix: prefix + name + "/", depth: depth + 1, into: &found)
      } else if isRegularFile(child) || name.hasSuffix(".safetensors") {
        // A shard's link that leads nowhere is kept: opening it says so.
        found.append(prefix + name)
      }
    }
  }

  /// Whether anything has the name `path`, even a link that leads nowhere.
  static func exists(_ path: String) -> Bool {
    FileKind(of: path, followingLinks: false) != nil
  }

  /// Whether `path` is a regular file or a link to one.
  static func isRegularFile(_ path: String) -> Bool {
    FileKind(of: path) == .file
  }

  static func isDirectory(_ path: String) -> Bool {
    FileKind(of: path) == .directory
  }

  /// Names of the `.safetensors` files of the directory itself, without hidden ones (`._name`,
  /// which macOS leaves on other file systems).
  var safetensors: [String] {
    fileNames.filter {
      $0.hasSuffix(".safetensors") && !$0.contains("/") && !$0.hasPrefix(".")
    }
  }

  /// Names of the `.npy` files of the directory itself, without hidden ones.
  var arrays: [String] {
    fileNames.filter {
      $0.lowercased().hasSuffix(".npy") && !$0.contains("/") && !$0.hasPrefix(".")
    }
  }

  /// Whether `name` holds weights in a common format, so that it would be a stale second copy of
  /// the model beside a patched one.
  static func holdsWeights(_ name: String) -> Bool {
    let name = name.split(separator: "/").last.map(String.init) ?? name
    if [".safetensors", ".gguf", ".pt", ".pth"].contains(where: name.hasSuffix) { return true }
    return name.hasPrefix("pytorch_model") && name.hasSuffix(".bin")
  }
}
