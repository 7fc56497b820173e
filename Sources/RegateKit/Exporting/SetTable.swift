// SPDX-License-Identifier: Apache-2.0

import Reports

/// What a patched model does to each set, one row a set.
enum SetTable {
  static func table(_ sets: [SetMeasure]) -> TextTable {
    var table = TextTable([
      "set", "share", "tokens", "Gini", "patched", "floor", "min/max", "patched", "overlap",
      "NLL", "patched", "change", "output error",
    ])
    for set in sets {
      table.append([
        set.name,
        set.share.map { Format.percent($0) } ?? (set.role == .protected ? "protected" : "-"),
        Format.count(set.tokens),
        Format.number(set.gini.original), Format.number(set.gini.patched),
        Format.number(set.samplingFloor), Format.number(set.minOverMax.original),
        Format.number(set.minOverMax.patched), Format.percent(set.overlap),
        Format.number(set.likelihood?.original, decimals: 4),
        Format.number(set.likelihood?.patched, decimals: 4),
        Format.signed(set.likelihood?.increase, decimals: 4), Format.number(set.outputError),
      ])
    }
    return table
  }
}
