// SPDX-License-Identifier: Apache-2.0

import ByteStorage

// The importance matrix's older form, `.dat`, which has no magic:
//
// 1. i32 number of entries.
// 2. For each: i32 name length, name, i32 calls, i32 number of values, F32 values.
// 3. Optional: i32 chunk count, i32 length and bytes of the data set's name.
//
// The values are averages over the tokens of each expert, times the number of calls: how many
// tokens an expert saw has been divided away.

/// Recognises `.dat` importance matrices in order to refuse them by name.
enum LegacyImatrix {
  static let advice =
    "run `llama-imatrix -m MODEL.gguf -f TEXT.txt -o NAME.gguf --output-format gguf`"

  /// ggml tensor names are shorter (GGML_MAX_NAME).
  private static let longestName: Int32 = 63

  /// Throws if the file has the older form.
  static func refuse(_ file: MappedFile) throws(RegateError) {
    guard looksLegacy(file) else { return }
    throw RegateError(
      .unsupported, file: file.path,
      "is an importance matrix in the older .dat form, which stores averages per expert and not"
        + " how many tokens each expert saw: its expert counts cannot be recovered",
      advice: advice)
  }

  /// Whether the file starts with a plausible entry count and one plausible entry.
  private static func looksLegacy(_ file: MappedFile) -> Bool {
    var reader = ByteReader(file)
    do throws(RegateError) {
      let entries = try reader.read(Int32.self, "entries")
      let length = try reader.read(Int32.self, "name length")
      guard entries > 0, 1...longestName ~= length else { return false }
      let name = try reader.readBytes(Int(length), "name")
      let calls = try reader.read(Int32.self, "calls")
      let values = try reader.read(Int32.self, "values")
      return name.allSatisfy { 0x21...0x7E ~= $0 } && calls >= 0 && values > 0
    } catch {
      return false
    }
  }
}
