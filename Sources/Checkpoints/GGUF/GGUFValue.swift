// SPDX-License-Identifier: Apache-2.0

/// The type numbers of GGUF metadata values (enum gguf_type in ggml/include/gguf.h).
enum GGUFValueType: UInt32 {
  case uint8 = 0, int8, uint16, int16, uint32, int32, float32, bool, string, array
  case uint64, int64, float64

  /// Fewest bytes that one value of the type can take: bounds the count of an array before
  /// anything is allocated.
  var minimumBytes: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .string: 8
    case .array: 12
    }
  }
}

/// One metadata value of a GGUF file, exactly as stored: re-encoding gives the same bytes.
package enum GGUFValue: Sendable, Hashable {
  case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16), uint32(UInt32), int32(Int32)
  case uint64(UInt64), int64(Int64), float32(Float), float64(Double), bool(Bool)
  case string(String)
  /// A string whose bytes are not UTF-8 (a file name, say); llama.cpp accepts any bytes.
  case rawString([UInt8])
  case array(GGUFArray)
}

/// An array value. Its element type is kept when it is empty.
package indirect enum GGUFArray: Sendable, Hashable {
  case uint8([UInt8]), int8([Int8]), uint16([UInt16]), int16([Int16])
  case uint32([UInt32]), int32([Int32]), uint64([UInt64]), int64([Int64])
  case float32([Float]), float64([Double]), bool([Bool])
  case string(GGUFStrings)
  /// Arrays of arrays: the specification allows them, llama.cpp does not read them.
  case array([GGUFArray])
}

extension GGUFValue {
  /// The value of any integer type, where `Int` can hold it.
  package var integer: Int? {
    switch self {
    case .uint8(let value): Int(value)
    case .int8(let value): Int(value)
    case .uint16(let value): Int(value)
    case .int16(let value): Int(value)
    case .uint32(let value): Int(value)
    case .int32(let value): Int(value)
    case .uint64(let value): Int(exactly: value)
    case .int64(let value): Int(value)
    default: nil
    }
  }

  /// The value of either floating-point type.
  package var float: Double? {
    switch self {
    case .float32(let value): Double(value)
    case .float64(let value): value
    default: nil
    }
  }

  /// The value of a bool.
  package var bool: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// The text of a string; bytes that are not UTF-8 appear as replacement characters.
  package var string: String? {
    switch self {
    case .string(let text): text
    case .rawString(let bytes): String(decoding: bytes, as: UTF8.self)
    default: nil
    }
  }

  /// The elements of an array of any type.
  package var array: GGUFArray? {
    if case .array(let array) = self { array } else { nil }
  }

  /// The elements of an array of any integer type, where `Int` can hold them all.
  package var integers: [Int]? { array?.integers }
  /// The elements of an array of either floating-point type.
  package var floats: [Double]? { array?.floats }
  /// The elements of a bool array.
  package var bools: [Bool]? {
    if case .bool(let values)? = array { values } else { nil }
  }
  /// The elements of a string array.
  package var strings: GGUFStrings? {
    if case .string(let strings)? = array { strings } else { nil }
  }

  /// The type's name as GGUF's tools print it, for messages.
  package var typeName: String {
    switch self {
    case .uint8: "u8"
    case .int8: "i8"
    case .uint16: "u16"
    case .int16: "i16"
    case .uint32: "u32"
    case .int32: "i32"
    case .uint64: "u64"
    case .int64: "i64"
    case .float32: "f32"
    case .float64: "f64"
    case .bool: "bool"
    case .string, .rawString: "str"
    case .array: "arr"
    }
  }
}

extension GGUFArray {
  /// Number of elements; of an array of arrays, how many arrays.
  package var count: Int {
    switch self {
    case .uint8(let values): values.count
    case .int8(let values): values.count
    case .uint16(let values): values.count
    case .int16(let values): values.count
    case .uint32(let values): values.count
    case .int32(let values): values.count
    case .uint64(let values): values.count
    case .int64(let values): values.count
    case .float32(let values): values.count
    case .float64(let values): values.count
    case .bool(let values): values.count
    case .string(let values): values.count
    case .array(let values): values.count
    }
  }

  /// The elements, where they are integers that `Int` can hold.
  package var integers: [Int]? {
    switch self {
    case .uint8(let values): values.map { Int($0) }
    case .int8(let values): values.map { Int($0) }
    case .uint16(let values): values.map { Int($0) }
    case .int16(let values): values.map { Int($0) }
    case .uint32(let values): values.map { Int($0) }
    case .int32(let values): values.map { Int($0) }
    case .int64(let values): values.map { Int($0) }
    case .uint64(let values):
      values.allSatisfy { $0 <= UInt64(Int.max) } ? values.map { Int($0) } : nil
    default: nil
    }
  }

  /// The elements, where they are floating-point numbers.
  package var floats: [Double]? {
    switch self {
    case .float32(let values): values.map { Double($0) }
    case .float64(let values): values
    default: nil
    }
  }
}
