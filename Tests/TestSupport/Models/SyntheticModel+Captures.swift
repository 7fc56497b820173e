// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension SyntheticModel {
  /// The forms that captured activations come in.
  public enum CaptureForm: String, Sendable, CaseIterable {
    case safetensorsF32, safetensorsF16, safetensorsBF16, npz, npyFolder
  }

  /// Writes the router inputs of `tokens` and `layers` (all by default) under `name`, and returns
  /// the path. `metadata` and `ids`, rows of one length, are for the forms of safetensors.
  @discardableResult
  public func writeCapture(
    _ form: CaptureForm = .safetensorsF32, to directory: URL, name: String = "capture",
    tokens: Range<Int>? = nil, layers: [Layer]? = nil, fingerprint: String? = nil,
    metadata more: [String: String] = [:], ids: [[Int32]]? = nil
  ) throws -> String {
    let tokens = tokens ?? 0..<self.tokens
    let arrays = (layers ?? self.layers).map { layer in
      (
        "layers.\(layer.index).router_input",
        Array(layer.inputs[tokens.lowerBound * hidden..<tokens.upperBound * hidden])
      )
    }
    let shape = [tokens.count, hidden]
    func npy(_ values: [Float]) -> [UInt8] {
      npyBytes(
        npyDictionary("<f4", "(\(shape[0]), \(shape[1]))"), data: PlainType.f32.bytes(values))
    }
    func safetensors(_ type: PlainType) -> [UInt8] {
      var entries = ["format": "regate.capture.v1"]
      if let fingerprint { entries["model_fingerprint"] = fingerprint }
      let words = entries.merging(more) { _, new in new }.sorted { $0.key < $1.key }
        .map { #""\#($0.key)":"\#($0.value)""# }
      let own = (ids ?? []).isEmpty ? [] : [idTensor(ids ?? [])]
      return Self.safetensors(
        own
          + arrays.map {
            Tensor(name: $0.0, dtype: type.rawValue, shape: shape, bytes: type.bytes($0.1))
          },
        metadata: #""__metadata__":{"# + words.joined(separator: ",") + "}")
    }
    let url: URL
    switch form {
    case .safetensorsF32, .safetensorsF16, .safetensorsBF16:
      let types: [CaptureForm: PlainType] = [.safetensorsF16: .f16, .safetensorsBF16: .bf16]
      url = directory.appending(path: name + ".safetensors")
      try Data(safetensors(types[form] ?? .f32)).write(to: url)
    case .npz:
      url = directory.appending(path: name + ".npz")
      try Data(zipBytes(arrays.map { ZipMember($0.0 + ".npy", npy($0.1)) })).write(to: url)
    case .npyFolder:
      url = directory.appending(path: name)
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
      for (name, values) in arrays {
        try Data(npy(values)).write(to: url.appending(path: name + ".npy"))
      }
    }
    return url.path(percentEncoded: false)
  }

  private func idTensor(_ ids: [[Int32]]) -> Tensor {
    Tensor(
      name: "token_ids", dtype: "I32", shape: [ids.count, ids[0].count],
      bytes: ids.flatMap { $0.flatMap { littleEndian($0) } })
  }
}
