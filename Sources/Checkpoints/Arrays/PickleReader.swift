// SPDX-License-Identifier: Apache-2.0
//
// The part of Python's pickle format (protocols 2 to 5; the opcodes' list is that of the standard
// library's pickletools) that plain containers of numbers, strings and tensors are written in. A
// pickle is a program that may call anything; here nothing is called: a function that it names is
// kept as a name with its arguments, and whoever reads the result knows the few that mean data.

import ByteStorage

/// A value of a pickle.
indirect enum PickleValue {
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case tuple([PickleValue])
  case list(List)
  case dictionary(Dictionary)
  /// A function or class, by module and name.
  case global(String)
  /// What stands outside the pickle under this name.
  case persistent(PickleValue)
  /// A call of a function that was not made.
  case call(String, [PickleValue])

  /// Lists and dictionaries are filled after they are first named.
  final class List { var values: [PickleValue] = [] }
  final class Dictionary { var members: [(key: PickleValue, value: PickleValue)] = [] }

  var string: String? { if case .string(let text) = self { text } else { nil } }
  var integer: Int? { if case .integer(let value) = self { value } else { nil } }
  var tuple: [PickleValue]? { if case .tuple(let values) = self { values } else { nil } }
}

/// Reads one pickle.
struct PickleReader {
  private let bytes: [UInt8]
  private let file: String
  private var offset = 0
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  private var containers = 0

  /// What a value may be made of: those that hold each other are left one inside the other.
  private static let mostContainers = 2000
  /// The functions that stand for data.
  static let tensor = "torch._utils._rebuild_tensor_v2"
  private static let dictionary = "collections.OrderedDict"

  /// The value of the pickle `bytes`, which stand in `file`.
  static func value(_ bytes: [UInt8], file: String) throws(RegateError) -> PickleValue {
    var reader = PickleReader(bytes: bytes, file: file)
    return try reader.run()
  }

  private init(bytes: [UInt8], file: String) {
    self.bytes = bytes
    self.file = file
  }

  private mutating func run() throws(RegateError) -> PickleValue {
    while true {
      let opcode = try byte()
      if opcode == 0x2E { return try pop() }
      try perform(opcode)
    }
  }

  private mutating func perform(_ opcode: UInt8) throws(RegateError) {
    switch opcode {
    case 0x80: _ = try byte()  // PROTO
    case 0x95: _ = try integer(8)  // FRAME
    case 0x28: marks.append(stack.count)  // MARK
    case 0x4E: stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case 0x4B: stack.append(.integer(try integer(1)))
    case 0x4D: stack.append(.integer(try integer(2)))
    case 0x4A: stack.append(.integer(Int(Int32(truncatingIfNeeded: try integer(4)))))
    case 0x8A: stack.append(.integer(try long()))
    case 0x47: stack.append(.number(try number()))
    case 0x58: stack.append(.string(try text(try integer(4))))
    case 0x8C: stack.append(.string(try text(try integer(1))))
    case 0x7D: try push(.dictionary(.init()))
    case 0x5D: try push(.list(.init()))
    case 0x29: try push(.tuple([]))
    case 0x85, 0x86, 0x87: try makeTuple(Int(opcode) - 0x84)
    case 0x74: try push(.tuple(try popToMark()))
    case 0x73: try setItems(popLast(2))
    case 0x75: try setItems(popToMark())
    case 0x61: try append(popLast(1))
    case 0x65: try append(popToMark())
    case 0x71: memo[try integer(1)] = try top()
    case 0x72: memo[try integer(4)] = try top()
    case 0x94: memo[memo.count] = try top()
    case 0x68: stack.append(try recall(try integer(1)))
    case 0x6A: stack.append(try recall(try integer(4)))
    case 0x63: stack.append(.global(try line() + "." + (try line())))
    case 0x93: try stackGlobal()
    case 0x51: try push(.persistent(try pop()))
    case 0x52: try reduce()
    default: throw unreadable("opcode 0x\(String(opcode, radix: 16)) at byte \(offset - 1)")
    }
  }

  // MARK: Containers

  private mutating func push(_ container: PickleValue) throws(RegateError) {
    containers += 1
    guard containers <= Self.mostContainers else {
      throw unreadable("more than \(Self.mostContainers) containers")
    }
    stack.append(container)
  }

  private mutating func makeTuple(_ count: Int) throws(RegateError) {
    try push(.tuple(try popLast(count)))
  }

  private mutating func setItems(_ values: [PickleValue]) throws(RegateError) {
    guard case .dictionary(let target) = try top(), values.count.isMultiple(of: 2) else {
      throw damaged("an item has no dictionary")
    }
    for place in stride(from: 0, to: values.count, by: 2) {
      target.members.append((values[place], values[place + 1]))
    }
  }

  private mutating func append(_ values: [PickleValue]) throws(RegateError) {
    guard case .list(let target) = try top() else { throw damaged("a value has no list") }
    target.values += values
  }

  private mutating func stackGlobal() throws(RegateError) {
    let name = try popLast(2)
    guard let module = name[0].string, let own = name[1].string else {
      throw damaged("a name is no text")
    }
    stack.append(.global(module + "." + own))
  }

  private mutating func reduce() throws(RegateError) {
    let call = try popLast(2)
    guard case .global(let function) = call[0], let arguments = call[1].tuple else {
      throw unreadable("a call of something that is no function")
    }
    if function == Self.dictionary, arguments.isEmpty { return try push(.dictionary(.init())) }
    guard function == Self.tensor else {
      throw RegateError(
        .refused, file: file, subject: "data.pkl", "would call \(function), which was not run",
        advice: "do not load this file with torch.load either")
    }
    try push(.call(function, arguments))
  }

  // MARK: Stack

  private func top() throws(RegateError) -> PickleValue {
    guard let value = stack.last, stack.count > marks.last ?? 0 else {
      throw damaged("the stack is empty")
    }
    return value
  }

  private mutating func pop() throws(RegateError) -> PickleValue { try popLast(1)[0] }

  private mutating func popLast(_ count: Int) throws(RegateError) -> [PickleValue] {
    guard stack.count - (marks.last ?? 0) >= count else { throw damaged("the stack is too short") }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popToMark() throws(RegateError) -> [PickleValue] {
    guard let mark = marks.popLast() else { throw damaged("a mark is missing") }
    defer { stack.removeLast(stack.count - mark) }
    return Array(stack[mark...])
  }

  private func recall(_ place: Int) throws(RegateError) -> PickleValue {
    guard let value = memo[place] else { throw damaged("nothing was kept under \(place)") }
    return value
  }

  // MARK: Bytes

  private mutating func byte() throws(RegateError) -> UInt8 {
    guard offset < bytes.count else { throw damaged("it ends at byte \(offset)") }
    defer { offset += 1 }
    return bytes[offset]
  }

  private mutating func take(_ count: Int) throws(RegateError) -> ArraySlice<UInt8> {
    guard count >= 0, count <= bytes.count - offset else {
      throw damaged("\(count) bytes at \(offset) reach past its end")
    }
    defer { offset += count }
    return bytes[offset..<offset + count]
  }

  /// An unsigned little-endian number of at most 8 bytes.
  private mutating func integer(_ width: Int) throws(RegateError) -> Int {
    let value = try take(width).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard let result = Int(exactly: value) else { throw damaged("\(value) is out of range") }
    return result
  }

  /// A signed number with a byte for its length.
  private mutating func long() throws(RegateError) -> Int {
    let taken = try take(try integer(1))
    guard taken.count <= 8 else { throw unreadable("an integer of \(taken.count) bytes") }
    let sign: UInt64 = (taken.last ?? 0) & 0x80 != 0 ? .max : 0
    return Int(truncatingIfNeeded: taken.reversed().reduce(sign) { $0 << 8 | UInt64($1) })
  }

  /// Big-endian, unlike everything else.
  private mutating func number() throws(RegateError) -> Double {
    Double(bitPattern: try take(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  private mutating func text(_ count: Int) throws(RegateError) -> String {
    let taken = Array(try take(count))
    guard firstInvalidUTF8(in: taken) == nil else { throw damaged("a text is not valid UTF-8") }
    return String(decoding: taken, as: UTF8.self)
  }

  private mutating func line() throws(RegateError) -> String {
    guard let end = bytes[offset...].firstIndex(of: 0x0A) else {
      throw damaged("a name has no end")
    }
    defer { offset = end + 1 }
    return String(decoding: bytes[offset..<end], as: UTF8.self)
  }

  private func damaged(_ problem: String) -> RegateError {
    RegateError(
      .malformed, file: file, subject: "data.pkl", problem,
      advice: "the file may be damaged: fetch it again")
  }

  private func unreadable(_ what: String) -> RegateError {
    RegateError(
      .unsupported, file: file, subject: "data.pkl",
      "holds \(what); only plain containers of numbers, texts and tensors are read, and nothing is run"
    )
  }
}
