// SPDX-License-Identifier: Apache-2.0

import CZlib

/// One run of zlib's inflate over bytes in memory.
///
/// zlib keeps the address of its state, so the state lives on the heap.
@safe
final class Inflater {
  enum Format: Int32 {
    /// RFC 1951 without a wrapper, as in ZIP.
    case raw = -15
    /// RFC 1952; zlib checks the CRC and the length at its end.
    case gzip = 31
  }

  /// Why a stream could not be inflated.
  struct Failure: Error {
    let problem: String
  }

  /// No deflate stream grows by more: a 258-byte match may take 2 bits (zlib's documentation).
  static let largestRatio = 1032

  // SAFETY: one initialised state, from `init` to `deinit`.
  private let state: UnsafeMutablePointer<z_stream>

  init(_ format: Format) throws(Failure) {
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: z_stream())
    let code = unsafe inflateInit2_(
      state, format.rawValue, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard code == Z_OK else { throw Failure(problem: "zlib could not start (\(code))") }
  }

  deinit {
    unsafe inflateEnd(state)
    unsafe state.deinitialize(count: 1)
    unsafe state.deallocate()
  }

  /// Inflates the stream at the start of `input`, appending to `output` until the stream ends or
  /// `limit` bytes have been appended, whichever is first.
  ///
  /// - Returns: the input bytes taken, and whether the stream ended.
  func run(
    _ input: RawSpan, into output: inout [UInt8], limit: Int
  ) throws(Failure) -> (taken: Int, ended: Bool) {
    var taken = 0
    var appended = 0
    // zlib counts in 32 bits and in pieces that stay in the cache.
    let piece = min(max(limit, 1), 1 << 18)
    while true {
      let step = try step(input, from: taken, room: min(piece, max(limit - appended, 1)))
      taken += step.taken
      guard appended + step.made.count <= limit else { return (taken, false) }
      output.append(contentsOf: step.made)
      appended += step.made.count
      if step.ended { return (taken, true) }
      if step.taken == 0 && step.made.isEmpty {
        guard appended < limit else { return (taken, false) }
        throw Failure(problem: "the compressed data end too early")
      }
    }
  }

  /// Inflates what `room` bytes hold of `input` from `start` on.
  func step(
    _ input: RawSpan, from start: Int, room: Int
  ) throws(Failure) -> (taken: Int, made: [UInt8], ended: Bool) {
    let offered = min(input.byteCount - start, 1 << 24)
    var code = Z_OK
    let made = unsafe [UInt8](unsafeUninitializedCapacity: room) { (buffer, count) in
      // SAFETY: zlib only reads from next_in, although its type is mutable; both pointers are
      // valid for the counts that are given with them.
      unsafe input.extracting(start..<start + offered).withUnsafeBytes { part in
        unsafe state.pointee.next_in = UnsafeMutableRawPointer(mutating: part.baseAddress)?
          .assumingMemoryBound(to: UInt8.self)
        unsafe state.pointee.avail_in = UInt32(offered)
        unsafe state.pointee.next_out = buffer.baseAddress
        unsafe state.pointee.avail_out = UInt32(room)
        code = unsafe inflate(state, Z_NO_FLUSH)
      }
      count = unsafe room - Int(state.pointee.avail_out)
    }
    guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else {
      let detail = unsafe state.pointee.msg.map { unsafe String(cString: $0) } ?? "error \(code)"
      throw Failure(problem: "the compressed data are corrupt (\(detail))")
    }
    return unsafe (offered - Int(state.pointee.avail_in), made, code == Z_STREAM_END)
  }
}

/// CRC-32 of ZIP and gzip, of bytes that follow those with the CRC `before`.
func crc32(of bytes: RawSpan, after before: UInt32 = 0) -> UInt32 {
  var crc = UInt(before)
  var start = 0
  while start < bytes.byteCount {
    let count = min(bytes.byteCount - start, 1 << 24)
    // SAFETY: zlib reads the buffer that it is given, inside the call.
    crc = unsafe bytes.extracting(start..<start + count).withUnsafeBytes { part in
      unsafe CZlib.crc32(crc, part.bindMemory(to: UInt8.self).baseAddress, UInt32(count))
    }
    start += count
  }
  return UInt32(truncatingIfNeeded: crc)
}
