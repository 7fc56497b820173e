// SPDX-License-Identifier: Apache-2.0

import Checkpoints

/// Safetensors files from their headers alone: an input need not hold the tensors.
enum Header {
  private static let largest = 64 << 20

  /// The length and the header, and the size of a file with the tensors; nil where it is no JSON.
  static func file(_ header: [UInt8]) -> (bytes: [UInt8], size: Int)? {
    guard let json = try? JSONValue(parsing: header, file: "header") else { return nil }
    let ends = json.objectValue?.values.compactMap {
      $0["data_offsets"]?.arrayValue?.last?.intValue
    }
    let end = min(max(ends?.max() ?? 0, 0), largest)
    return (UInt64(header.count).littleEndianBytes + header, 8 + header.count + end)
  }
}
