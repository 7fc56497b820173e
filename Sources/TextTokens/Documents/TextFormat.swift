// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

/// What a file of text holds, by its name and its first bytes.
struct TextFormat {
  /// Whether documents are members of JSON objects, by the name.
  let isJSON: Bool
  let isCompressed: Bool
  /// Whether the name promises text.
  let isNamedText: Bool

  /// The form of `file`. Known formats that hold no plain text are refused by what they are.
  init(_ file: MappedFile) throws(RegateError) {
    let start = try file.bytes(in: 0..<min(file.count, 8))
    let name = file.path.lowercased()
    isCompressed = name.hasSuffix(".gz") || start.starts(with: Gzip.magic)
    let stem = name.hasSuffix(".gz") ? String(name.dropLast(3)) : name
    isJSON = [".json", ".jsonl", ".ndjson"].contains { stem.hasSuffix($0) }
    isNamedText = isJSON || [".txt", ".md", ".raw"].contains { stem.hasSuffix($0) }
    for format in TextFormat.foreign where start.starts(with: format.magic) {
      throw RegateError(
        .unsupported, file: file.path, "is \(format.what), not text", advice: format.advice)
    }
  }

  private struct Foreign {
    let magic: [UInt8]
    let what: String
    let advice: String

    init(_ magic: String, _ what: String, _ advice: String) {
      self.init(Array(magic.utf8), what, advice)
    }

    init(_ magic: [UInt8], _ what: String, _ advice: String) {
      self.magic = magic
      self.what = what
      self.advice = advice
    }
  }

  private static let arrays = "token ids and captures are read from .npy, .npz or .safetensors"

  private static let foreign: [Foreign] = [
    Foreign([0x28, 0xB5, 0x2F, 0xFD], "compressed by zstd", "decompress it with `zstd -d`"),
    Foreign([0xFD, 0x37, 0x7A, 0x58, 0x5A], "compressed by xz", "decompress it with `xz -d`"),
    Foreign("BZh", "compressed by bzip2", "decompress it with `bunzip2`"),
    Foreign(
      "PAR1", "a Parquet file",
      "turn it into JSON lines: `python -c \"import pandas; pandas.read_parquet('in.parquet')"
        + ".to_json('out.jsonl', orient='records', lines=True)\"`"),
    Foreign(
      "ARROW1", "an Arrow file",
      "turn it into JSON lines: `python -c \"import datasets; datasets.Dataset"
        + ".from_file('in.arrow').to_json('out.jsonl')\"`"),
    Foreign("PK\u{3}\u{4}", "a ZIP archive", "unpack it; " + arrays),
    Foreign([0x93] + Array("NUMPY".utf8), "a NumPy array", "name it .npy"),
    Foreign("GGUF", "a GGUF file", "text is read from UTF-8; " + arrays),
    Foreign([0x89] + Array("HDF".utf8), "an HDF5 file", arrays),
    Foreign("%PDF", "a PDF document", "save its text as .txt"),
    Foreign([0x80, 0x02], "a Python pickle", arrays),
    Foreign([0x80, 0x04], "a Python pickle", arrays),
  ]
}
