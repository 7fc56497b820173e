// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// Which layers are MoE.
package enum Sparsity: Sendable {
  case all
  /// n >= key.
  case afterLeadingDense(Key<Int>)
  /// n not in `mlp_only_layers` and (n + 1) divisible by `decoder_sparse_step`.
  case stepped(step: Key<Int>, dense: String)
  /// Those that a list of words calls "sparse"; where there is none, n >= key, or n >= 1.
  case named(String, leadingDense: Key<Int>? = nil)
  /// (n + 1) divisible by `interval`, start <= n <= end; end -1 is the last layer.
  case interval(Key<Int>, start: Key<Int>, end: Key<Int>?)
}

extension Sparsity {
  /// The MoE layers among `count`.
  func layers(count: Int, settings: inout Settings) throws(RegateError) -> [Int] {
    let all = 0..<count
    switch self {
    case .all:
      return Array(all)
    case .afterLeadingDense(let key):
      let dense = try settings.required(key)
      return all.filter { $0 >= dense }
    case .stepped(let step, let dense):
      let step = try settings.required(step, minimum: 1)
      let listed = Set(try settings.layers(dense))
      return all.filter { !listed.contains($0) && ($0 + 1) % step == 0 }
    case .named(let key, let leadingDense):
      guard let types = settings.strings(key) else {
        let dense = try leadingDense.map { key throws(RegateError) in try settings.required(key) }
        return all.filter { $0 >= dense ?? 1 }
      }
      guard types.count >= count else {
        throw settings.mismatch(key, "has \(types.count) entries for \(count) layers")
      }
      return all.filter { types[$0] == "sparse" }
    case .interval(let interval, let start, let end):
      let interval = try settings.required(interval, minimum: 1)
      let start = try settings.required(start)
      let end = try end.map { key throws(RegateError) in try settings.integer(key, minimum: -1) }
      let last = end.flatMap { $0 }.flatMap { $0 < 0 ? nil : $0 } ?? count - 1
      return all.filter { ($0 + 1) % interval == 0 && $0 >= start && $0 <= last }
    }
  }
}
