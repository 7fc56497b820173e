// SPDX-License-Identifier: Apache-2.0

import Checkpoints

extension Target {
  /// Both kinds: the older one must be refused by name.
  static let imatrix = Target("imatrix") { bytes in
    let file = try ImatrixFile(path: Scratch.write(bytes, to: "a.imatrix"))
    for layer in file.layers { _ = try file.layer(layer.index).assignments }
    _ = try file.tokens(topK: 2)
  }
}
