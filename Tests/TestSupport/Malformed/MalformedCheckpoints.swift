// SPDX-License-Identifier: Apache-2.0

import Foundation

extension MalformedCase {
  /// Directories whose files do not make one checkpoint.
  public static let checkpoints: [MalformedCase] = listings + indexes + configurations

  private static let indexName = "model.safetensors.index.json"
  private static let shards = [
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
  ]

  /// A file with one F32 tensor per name.
  private static func shard(_ names: String...) -> [UInt8] {
    let entries = names.enumerated().map { entryText($1, 4 * $0, 4 * $0 + 4) }
    return safetensorsBytes("{" + entries.joined(separator: ",") + "}", data: 4 * names.count)
  }

  /// Two good shards, `a` in the first and `b` in the second, under this index.
  private static func index(
    _ name: String, says fragment: String, _ index: String
  ) -> MalformedCase {
    MalformedCase(name, says: fragment) {
      try $0.write(shard("a"), to: shards[0])
      try $0.write(shard("b"), to: shards[1])
      try $0.write(Array(index.utf8), to: indexName)
    }
  }

  private static func map(_ map: String) -> String { #"{"weight_map":{\#(map)}}"# }

  /// A good single file under this configuration.
  private static func config(
    _ name: String, says fragment: String, _ config: String
  ) -> MalformedCase {
    MalformedCase(name, says: fragment) {
      try $0.write(shard("a"), to: "model.safetensors")
      try $0.write(Array(config.utf8), to: "config.json")
    }
  }

  private static let listings = [
    MalformedCase("nothing there", says: "absent: cannot be opened", target: "absent") { _ in },
    MalformedCase("empty directory", says: "give the directory that holds") { _ in },
    MalformedCase("only weights in another format", says: "it holds pytorch_model.bin") {
      try $0.write([0], to: "pytorch_model.bin")
    },
    MalformedCase("shards without an index, one missing", says: "number 1 is not there") {
      try $0.write(shard("b"), to: shards[1])
    },
    MalformedCase("shards without an index, one tensor twice", says: "a: the same tensor is also") {
      try $0.write(shard("a"), to: shards[0])
      try $0.write(shard("b", "a"), to: shards[1])
    },
    MalformedCase("link that leads nowhere", says: "model.safetensors: cannot be opened") {
      try FileManager.default.createSymbolicLink(
        atPath: $0.path("model.safetensors"), withDestinationPath: "../blobs/0")
    },
    MalformedCase("second shard damaged", says: "00002-of-00002.safetensors: has 4 trailing bytes")
    {
      try $0.write(shard("a"), to: shards[0])
      try $0.write(shard("b") + [0, 0, 0, 0], to: shards[1])
    },
  ]

  private static let indexes = [
    index(
      "missing shard", says: "model-00003-of-00003.safetensors: is named in",
      map(#""a":"\#(shards[0])","b":"\#(shards[1])","c":"model-00003-of-00003.safetensors""#)),
    MalformedCase("shard that is a directory", says: "shards.safetensors: is named in") {
      try FileManager.default.createDirectory(
        atPath: $0.path("shards.safetensors"), withIntermediateDirectories: false)
      try $0.write(Array(map(#""a":"shards.safetensors""#).utf8), to: indexName)
    },
    index("absolute file name", says: "name /tmp/x is an absolute path", map(#""a":"/tmp/x""#)),
    index("file name above", says: "file name ../x leads out of the", map(#""a":"../x""#)),
    index("file name above, hidden", says: "s/../../x leads out", map(#""a":"s/../../x""#)),
    index("file name above and back", says: "x/../x leads out", map(#""a":"x/../x""#)),
    index("absolute, doubled", says: "//tmp/x is an absolute path", map(#""a":"//tmp/x""#)),
    index("empty file name", says: #"its file name "" names no file"#, map(#""a":"""#)),
    index("file name of dots", says: #"its file name "./." names no file"#, map(#""a":"./.""#)),
    index("zero in a file name", says: "contains a zero byte", map(#""a":"x\u0000y""#)),
    index("number as file name", says: "must be a string, not an integer", map(#""a":1"#)),
    index("index without a map", says: "weight_map: is missing", #"{"metadata":{}}"#),
    index(
      "map that is an array", says: "weight_map: must be an object, not an array",
      #"{"weight_map":[]}"#),
    index("empty map", says: "weight_map: names no tensors", #"{"weight_map":{}}"#),
    index(
      "index that ends too early", says: "ends where ',' or '}' is expected",
      map(#""a":"x""#).dropLast(2).description),
    index("empty index", says: "index.json: byte 0: ends where a value is expected", ""),
  ]

  private static let configurations = [
    config("empty configuration", says: "config.json: byte 0: ends where a value", ""),
    config("configuration in an array", says: "config.json: must be an object, not an array", "[]"),
    config("NaN as Python does not read it", says: "has 'N' where a digit", #"{"eps":-NaN}"#),
    config("NaN in another spelling", says: "has 'n' where null, true or", #"{"eps":nan}"#),
    config("plus sign", says: "has '+' where a value is expected", #"{"eps":+1}"#),
    config("literal of Python's", says: "has 'T' where a value is expected", #"{"a":True}"#),
    config("single quotes", says: "has ''' where a key in quotes", "{'a':1}"),
    config("leading zero", says: "has a number with a leading zero", #"{"a":01}"#),
    config("comma at the end", says: "has '}' where a key", #"{"eps":1,}"#),
    config("comment", says: "has '/' where a key in quotes", "{// comment\n}"),
    config("no quotes at the end", says: "ends inside a string", #"{"eps"#),
    config("word that is no literal", says: "has 't' where null, true or false", #"{"a":truth}"#),
    config(
      "nested too deep", says: "is nested deeper than 128 levels",
      #"{"a":"# + String(repeating: "[", count: 100_000)),
    config("byte order mark", says: "byte 0: begins with a byte order mark", "\u{FEFF}{}"),
    MalformedCase("configuration that is not UTF-8", says: "byte 2: is not valid UTF-8") {
      try $0.write(shard("a"), to: "model.safetensors")
      try $0.write([0x7B, 0x22, 0xC0, 0x80, 0x22], to: "config.json")
    },
    MalformedCase("configuration that is a directory", says: "config.json: is not a regular") {
      try $0.write(shard("a"), to: "model.safetensors")
      try FileManager.default.createDirectory(
        atPath: $0.path("config.json"), withIntermediateDirectories: false)
    },
  ]
}
