// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Tensors

/// The decoded weights of one layer's attention.
struct AttentionWeights: Sendable {
  let inputNorm: [Float]
  let projections: Projections
  /// [H, heads · value size].
  let output: PackedMatrix
  let outputBias: [Float]?

  enum Projections: Sendable {
    case grouped(Grouped)
    case latent(Latent)
  }

  struct Grouped: Sendable {
    /// [heads · size, H], [keyHeads · size, H] twice.
    let query: PackedMatrix, key: PackedMatrix, value: PackedMatrix
    let queryBias: [Float]?, keyBias: [Float]?, valueBias: [Float]?
    let queryNorm: [Float]?, keyNorm: [Float]?
  }

  struct Latent: Sendable {
    /// [rank, H], the rank's norm, and [heads · key size, rank]; without a bottleneck only the
    /// last, [heads · key size, H].
    let queryDown: PackedMatrix?, queryDownNorm: [Float], queryUp: PackedMatrix
    let queryDownBias: [Float]?
    /// [rank + rotated, H], [rank], [heads · (nope + value size), rank].
    let keyValueDown: PackedMatrix, keyValueDownNorm: [Float], keyValueUp: PackedMatrix
    let keyValueDownBias: [Float]?
  }

  init(_ model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    let (reader, shape, hidden) = (model.weights, model.attention, model.hiddenSize)
    inputNorm = try reader.vector(.inputNorm, layer: layer, count: hidden)
    projections =
      if let latent = shape.latent {
        .latent(
          try Latent(reader, shape, latent, layer: layer, hidden: hidden, threads: threads))
      } else {
        .grouped(try Grouped(model, layer: layer, threads: threads))
      }
    output = try reader.matrix(
      .output, layer: layer, rows: hidden, columns: shape.heads * shape.valueSize,
      threads: threads)
    outputBias =
      model.traits.outputBias || model.checkpoint.container == .gguf
      ? try reader.bias(.output, layer: layer, count: hidden) : nil
  }
}

extension AttentionWeights.Grouped {
  init(_ model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    let (reader, shape, hidden) = (model.weights, model.attention, model.hiddenSize)
    let (queries, keys) = (shape.heads * shape.keySize, shape.keyHeads * shape.keySize)
    if reader.has(.queryKeyValue, layer: layer) {
      let all = try reader.stored(
        .queryKeyValue, layer: layer, rows: queries + 2 * keys, columns: hidden)
      query = try all.packed(rows: 0..<queries, threads: threads)
      key = try all.packed(rows: queries..<queries + keys, threads: threads)
      value = try all.packed(rows: queries + keys..<queries + 2 * keys, threads: threads)
      let bias = try reader.bias(.queryKeyValue, layer: layer, count: queries + 2 * keys)
      queryBias = bias.map { Array($0[..<queries]) }
      keyBias = bias.map { Array($0[queries..<queries + keys]) }
      valueBias = bias.map { Array($0[(queries + keys)...]) }
    } else {
      query = try reader.matrix(
        .query, layer: layer, rows: queries, columns: hidden, threads: threads)
      key = try reader.matrix(.key, layer: layer, rows: keys, columns: hidden, threads: threads)
      value = try reader.matrix(
        .value, layer: layer, rows: keys, columns: hidden, threads: threads)
      queryBias = try reader.bias(.query, layer: layer, count: queries)
      keyBias = try reader.bias(.key, layer: layer, count: keys)
      valueBias = try reader.bias(.value, layer: layer, count: keys)
    }
    var whole = false
    if case .wholeWidth = model.traits.norm { whole = true }
    guard model.normalisesQueries else {
      (queryNorm, keyNorm) = (nil, nil)
      return
    }
    queryNorm = try reader.vector(
      .queryNorm, layer: layer, count: whole ? queries : shape.keySize)
    keyNorm = try reader.vector(.keyNorm, layer: layer, count: whole ? keys : shape.keySize)
  }
}

extension AttentionWeights.Latent {
  init(
    _ reader: WeightReader, _ shape: AttentionShape, _ latent: AttentionShape.Latent, layer: Int,
    hidden: Int, threads: Int
  ) throws(RegateError) {
    let (queries, rotated) = (shape.heads * shape.keySize, shape.rope.dimensions)
    if let rank = latent.queryRank {
      queryDown = try reader.matrix(
        .queryDown, layer: layer, rows: rank, columns: hidden, threads: threads)
      queryDownNorm = try reader.vector(.queryDownNorm, layer: layer, count: rank)
      queryDownBias = try reader.bias(.queryDown, layer: layer, count: rank)
      queryUp = try reader.matrix(
        .queryUp, layer: layer, rows: queries, columns: rank, threads: threads)
    } else {
      (queryDown, queryDownNorm, queryDownBias) = (nil, [], nil)
      queryUp = try reader.matrix(
        .query, layer: layer, rows: queries, columns: hidden, threads: threads)
    }
    keyValueDown = try reader.matrix(
      .keyValueDown, layer: layer, rows: latent.keyRank + rotated, columns: hidden,
      threads: threads)
    keyValueDownBias = try reader.bias(
      .keyValueDown, layer: layer, count: latent.keyRank + rotated)
    keyValueDownNorm = try reader.vector(.keyValueDownNorm, layer: layer, count: latent.keyRank)
    keyValueUp =
      reader.has(.keyUp, layer: layer)
      ? try Self.joined(reader, shape, latent, layer: layer, threads: threads)
      : try reader.matrix(
        .keyValueUp, layer: layer, rows: shape.heads * (latent.nope + shape.valueSize),
        columns: latent.keyRank, threads: threads)
  }

  /// llama.cpp's split form, `attn_k_b` [heads, rank, nope] and `attn_v_b` [heads, value, rank],
  /// as the one matrix that it was made of: each head's nope rows, then its value rows.
  private static func joined(
    _ reader: WeightReader, _ shape: AttentionShape, _ latent: AttentionShape.Latent, layer: Int,
    threads: Int
  ) throws(RegateError) -> PackedMatrix {
    let (rank, nope, size) = (latent.keyRank, latent.nope, shape.valueSize)
    let keys = try reader.stored(
      .keyUp, layer: layer, rows: shape.heads * rank, columns: nope,
      shape: [shape.heads, rank, nope])
    let values = try reader.stored(
      .valueUp, layer: layer, rows: shape.heads * size, columns: rank,
      shape: [shape.heads, size, rank])
    let precision: ProductPrecision =
      keys.precision == values.precision ? keys.precision : .full
    let (keyView, valueView) = (
      try keys.panel(threads: threads), try values.panel(threads: threads)
    )
    let result = MatrixView(rows: shape.heads * (nope + size), columns: rank)
    forEachBlock(count: shape.heads, blockSize: 1, threads: threads) { head, _ in
      let first = head * (nope + size)
      result[first..<first + nope].copyTransposed(keyView[head * rank..<(head + 1) * rank])
      result[first + nope..<first + nope + size].copy(
        valueView[head * size..<(head + 1) * size])
    }
    return PackedMatrix(packing: result, precision: precision)
  }
}
