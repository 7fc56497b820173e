// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import OrderedCollections
import Tensors

// llama.cpp's importance matrix in its GGUF form (llama.cpp 0.5, tools/imatrix).
//
// 1. `general.type` is "imatrix"; `imatrix.datasets` (strings), `imatrix.chunk_count` and
//    `imatrix.chunk_size` (u32) tell what was read.
// 2. For each weight W: `W.in_sum2`, F32 [matrices, inputs], and `W.counts`, F32 [matrices, 1].
// 3. For expert weights the matrices are the experts, and counts[e] is the number of
//    (token, choice) pairs that were routed to expert e: an exact load measurement.
//
// Merged files add sums and counts. The older `.dat` form stores averages and no such counts.

/// Expert load as `llama-imatrix` counted it.
package struct ImatrixFile: Sendable {
  /// The path that was opened.
  package let path: String
  /// The texts that were read, as the program named them.
  package let datasets: [String]
  /// Chunks read. After merging with another chunk size this is llama.cpp's estimate.
  package let chunkCount: Int?
  /// Tokens per chunk.
  package let chunkSize: Int?
  /// The layers that have routed experts, in order.
  package let layers: [Layer]

  /// The expert load of one layer.
  package struct Layer: Sendable, Hashable {
    /// `N` of `blk.N`.
    package let index: Int
    /// [E]: (token, choice) pairs routed to each expert.
    package let counts: [Int]
    /// Rows that the router itself was seen to read, where recorded. Batches below 16 tokens are
    /// missing from it, so it can be smaller than the number of tokens.
    package let routerRows: Int?
    /// H and I, the widths of what the experts and their last matrices read, where recorded.
    package let hiddenSize: Int?
    package let expertWidth: Int?
    /// Tokens times experts per token.
    package var assignments: Int { counts.reduce(0, +) }
    /// Whether the counts are exact: they are stored as F32, which rounds beyond 2^24.
    package var isExact: Bool { counts.allSatisfy { $0 <= 1 << 24 } }
  }

  /// Opens and checks the file at `path`.
  package init(path: String) throws(RegateError) {
    let mapped = try MappedFile(path: path)
    try LegacyImatrix.refuse(mapped)
    let file = try GGUFFile(mapped)
    guard file.metadata["general.type"]?.string == "imatrix" else {
      throw RegateError(
        .mismatch, file: path, subject: "general.type",
        "is \(file.metadata["general.type"]?.string ?? "missing"), expected imatrix",
        advice: "give a file that llama-imatrix wrote")
    }
    self.path = path
    datasets = file.metadata["imatrix.datasets"]?.strings.map { Array($0) } ?? []
    chunkCount = file.metadata["imatrix.chunk_count"]?.integer
    chunkSize = file.metadata["imatrix.chunk_size"]?.integer
    layers = try ImatrixCounts(file).layers()
  }

  /// The load of one layer.
  package func layer(_ index: Int) throws(RegateError) -> Layer {
    guard let layer = layers.first(where: { $0.index == index }) else {
      throw RegateError(
        .missing, file: path, subject: "blk.\(index)", "no expert counts for this layer",
        advice: "make the importance matrix from this very model")
    }
    return layer
  }

  /// Tokens read, given the experts per token: every layer must have seen the same number. Rounded
  /// where counts are not exact.
  package func tokens(topK: Int) throws(RegateError) -> Int {
    precondition(topK > 0)
    let first = layers[0]
    guard !first.isExact || first.assignments % topK == 0 else {
      throw RegateError(
        .mismatch, file: path, subject: "blk.\(first.index)",
        "\(first.assignments) expert assignments are not a multiple of \(topK) experts per token",
        advice: "make the importance matrix from this very model")
    }
    for layer in layers {
      // F32 rounds each count, and so their sum, by at most one part in 2^24.
      let exact = layer.isExact && first.isExact
      let tolerance = exact ? 0 : (layer.assignments + first.assignments) >> 24
      guard abs(layer.assignments - first.assignments) <= tolerance else {
        throw RegateError(
          .mismatch, file: path, subject: "blk.\(layer.index)",
          "\(layer.assignments) expert assignments, but blk.\(first.index) has"
            + " \(first.assignments)",
          advice: "the file may be incomplete: run llama-imatrix again")
      }
    }
    return (first.assignments + topK / 2) / topK
  }
}
