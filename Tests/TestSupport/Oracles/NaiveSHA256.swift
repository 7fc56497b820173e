// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 as FIPS 180-4 writes it, constants included: the first 32 bits of the fractional parts of
// the square and cube roots of the first primes.

import Foundation

private let primes: [Int] = {
  var found: [Int] = []
  var candidate = 2
  while found.count < 64 {
    if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
    candidate += 1
  }
  return found
}()

/// floor(2^32 frac(prime^(1/power))), by integers: a Double is too short for it.
private func rootBits(_ prime: Int, power: Int) -> UInt32 {
  // The largest x with x^power <= prime * 2^(32 power), found bit by bit; x < 2^40.
  var root: UInt64 = 0
  for bit in stride(from: 39, through: 0, by: -1) {
    let next = root | 1 << UInt64(bit)
    if compare(next, power: power, prime: UInt64(prime)) { root = next }
  }
  return UInt32(truncatingIfNeeded: root)
}

/// Whether x^power <= prime * 2^(32 power), in 32-bit limbs.
private func compare(_ x: UInt64, power: Int, prime: UInt64) -> Bool {
  var product: [UInt64] = [1]
  for _ in 0..<power {
    var result = [UInt64](repeating: 0, count: product.count + 2)
    for (i, limb) in product.enumerated() {
      for (j, part) in [x & 0xFFFF_FFFF, x >> 32].enumerated() {
        var carry = limb * part
        var place = i + j
        while carry > 0 {
          let sum = result[place] + (carry & 0xFFFF_FFFF)
          result[place] = sum & 0xFFFF_FFFF
          carry = (carry >> 32) + (sum >> 32)
          place += 1
        }
      }
    }
    product = result
  }
  // prime * 2^(32 power) has one limb, at place `power`.
  let high = product.dropFirst(power + 1).contains { $0 > 0 }
  let limb = product.count > power ? product[power] : 0
  if high || limb > prime { return false }
  return limb < prime || product.prefix(power).allSatisfy { $0 == 0 }
}

private let start = primes.prefix(8).map { rootBits($0, power: 2) }
private let rounds = primes.map { rootBits($0, power: 3) }

/// The digest in hexadecimal.
public func naiveSHA256(_ message: [UInt8]) -> String {
  var bytes = message + [0x80]
  while bytes.count % 64 != 56 { bytes.append(0) }
  bytes += (0..<8).map { UInt8(truncatingIfNeeded: (message.count * 8) >> (56 - 8 * $0)) }
  var hash = start
  var schedule = [UInt32](repeating: 0, count: 64)
  func rotated(_ x: UInt32, _ n: UInt32) -> UInt32 { x >> n | x << (32 - n) }
  for block in stride(from: 0, to: bytes.count, by: 64) {
    for t in 0..<16 {
      schedule[t] = (0..<4).reduce(0) { $0 << 8 | UInt32(bytes[block + 4 * t + $1]) }
    }
    for t in 16..<64 {
      let a = schedule[t - 15]
      let b = schedule[t - 2]
      schedule[t] =
        (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10) &+ schedule[t - 7]
        &+ (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) &+ schedule[t - 16]
    }
    var v = hash
    for t in 0..<64 {
      let first =
        v[7] &+ (rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25))
        &+ ((v[4] & v[5]) ^ (~v[4] & v[6])) &+ rounds[t] &+ schedule[t]
      let second =
        (rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22))
        &+ ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]))
      for place in (1..<8).reversed() { v[place] = v[place - 1] }
      v[4] &+= first
      v[0] = first &+ second
    }
    for place in 0..<8 { hash[place] &+= v[place] }
  }
  return hash.map { String(format: "%08x", $0) }.joined()
}
