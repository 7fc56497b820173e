// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import OrderedCollections

/// The place of one file in a split model: what its keys and its name say.
package struct GGUFSplit {
  static let numberKey = "split.no"
  static let countKey = "split.count"
  static let tensorsKey = "split.tensors.count"

  /// From 0.
  let number: Int
  let count: Int
  /// Tensors in all parts together.
  let tensors: Int
  /// The path without `-00001-of-00003.gguf`.
  let prefix: String

  /// Nil where the file is a whole model. (One that was merged again may keep a count of 0 or 1.)
  init?(_ file: GGUFFile) throws(RegateError) {
    guard try GGUFSplit.integer(GGUFSplit.countKey, in: file, or: 0) > 1 else { return nil }
    number = try GGUFSplit.integer(GGUFSplit.numberKey, in: file)
    count = try GGUFSplit.integer(GGUFSplit.countKey, in: file)
    tensors = try GGUFSplit.integer(GGUFSplit.tensorsKey, in: file)
    let path = file.file.path
    guard number >= 0, number < count, count <= Int(UInt16.max) else {
      throw RegateError(
        .malformed, file: path, subject: GGUFSplit.numberKey,
        "is \(number) of \(count) parts, counted from 0")
    }
    let ending = GGUFSplit.ending(number, of: count)
    guard path.hasSuffix(ending) else {
      throw RegateError(
        .mismatch, file: path,
        "is part \(number + 1) of \(count), so its name must end in \(ending)",
        advice: "parts are found by name: give all of them their original names")
    }
    prefix = String(path.dropLast(ending.count))
  }

  /// All parts in order, with the tensors of each carrying its number.
  func parts(including opened: GGUFFile) throws(RegateError) -> [GGUFFile] {
    var parts: [GGUFFile] = []
    for index in 0..<count {
      let path = prefix + GGUFSplit.ending(index, of: count)
      if index == number {
        parts.append(try GGUFFile(opened.file, index: index))
        continue
      }
      guard FileManager.default.fileExists(atPath: path) else {
        throw RegateError(
          .missing, file: path, "part \(index + 1) of \(count) is not there",
          advice: "put all parts of the model into one folder")
      }
      let part = try GGUFFile(path: path, index: index)
      try checkAgreement(of: part, at: index)
      parts.append(part)
    }
    return parts
  }

  private func checkAgreement(of part: GGUFFile, at index: Int) throws(RegateError) {
    let expected = [
      (GGUFSplit.numberKey, index), (GGUFSplit.countKey, count), (GGUFSplit.tensorsKey, tensors),
    ]
    for (key, value) in expected {
      let found = try GGUFSplit.integer(key, in: part)
      guard found == value else {
        throw RegateError(
          .mismatch, file: part.file.path, subject: key,
          "is \(found), but the file's name and the other parts ask for \(value)",
          advice: "the parts may come from different models")
      }
    }
  }

  /// Checks the number of tensors found in all parts.
  func checkTotal(_ found: Int, path: String) throws(RegateError) {
    guard found == tensors else {
      throw RegateError(
        .mismatch, file: path, subject: GGUFSplit.tensorsKey,
        "is \(tensors), but the \(count) parts hold \(found) tensors",
        advice: "the parts may come from different models")
    }
  }

  private static func integer(
    _ key: String, in file: GGUFFile, or absent: Int? = nil
  ) throws(RegateError) -> Int {
    guard let value = file.metadata[key] else {
      if let absent { return absent }
      throw RegateError(
        .malformed, file: file.file.path, subject: key,
        "the key is missing, and every part of a split model must have it")
    }
    guard let integer = value.integer else {
      throw RegateError(
        .malformed, file: file.file.path, subject: key,
        "has type \(value.typeName), must be an integer")
    }
    return integer
  }

  /// The name of a model's file without its extension and, for a part, without what numbers it.
  package static func stem(of name: String) -> String {
    name.firstMatch(of: /-[0-9]{5}-of-[0-9]{5}\.gguf$/).map { String(name[..<$0.range.lowerBound]) }
      ?? name.deletingExtension
  }

  /// What ends the name of part `index`, counted from 0.
  package static func ending(_ index: Int, of count: Int) -> String {
    func fiveDigits(_ number: Int) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
    return "-\(fiveDigits(index + 1))-of-\(fiveDigits(count)).gguf"
  }
}
