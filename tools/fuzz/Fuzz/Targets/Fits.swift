// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import ModelFitting
import OrderedCollections

/// A model whose fit is read.
private let model: Model = {
  do { return try Model.open(Scratch.fixture("tiny-qwen3-moe")) } catch { fatalError("\(error)") }
}()

extension Target {
  /// A fit file. Its digest is made right: the error says which it must be.
  static let fit = Target("fit") { bytes in
    let path = Scratch.write(bytes, to: "a.fit")
    do {
      _ = try FitFile.read(path, for: model)
    } catch let error as RegateError where error.subject == "sha256" {
      let words = error.problem.split(separator: " ")
      guard words.count > 3, words[0] == "is", words[2] == "expected", words[3].utf8.count == 64
      else { throw error }
      let (found, stated) = (Array(words[1].utf8.prefix(64)), Array(words[3].utf8))
      guard let place = bytes.firstRange(of: stated) else { throw error }
      var mended = bytes
      mended.replaceSubrange(place, with: found)
      _ = try FitFile.read(Scratch.write(mended, to: "a.fit"), for: model)
    }
  }
}
