// SPDX-License-Identifier: Apache-2.0

import ByteStorage

extension GGUFValue {
  /// Type number and value, as they follow the key.
  func encode(into bytes: inout [UInt8]) {
    switch self {
    case .uint8(let value): GGUFValue.append(.uint8, value, to: &bytes)
    case .int8(let value): GGUFValue.append(.int8, value, to: &bytes)
    case .uint16(let value): GGUFValue.append(.uint16, value, to: &bytes)
    case .int16(let value): GGUFValue.append(.int16, value, to: &bytes)
    case .uint32(let value): GGUFValue.append(.uint32, value, to: &bytes)
    case .int32(let value): GGUFValue.append(.int32, value, to: &bytes)
    case .uint64(let value): GGUFValue.append(.uint64, value, to: &bytes)
    case .int64(let value): GGUFValue.append(.int64, value, to: &bytes)
    case .float32(let value): GGUFValue.append(.float32, value.bitPattern, to: &bytes)
    case .float64(let value): GGUFValue.append(.float64, value.bitPattern, to: &bytes)
    case .bool(let value): GGUFValue.append(.bool, UInt8(value ? 1 : 0), to: &bytes)
    case .string(let text):
      GGUFValue.append(GGUFValueType.string.rawValue, to: &bytes)
      GGUFValue.append(text, to: &bytes)
    case .rawString(let string):
      GGUFValue.append(.string, UInt64(string.count), to: &bytes)
      bytes.append(contentsOf: string)
    case .array(let array):
      GGUFValue.append(GGUFValueType.array.rawValue, to: &bytes)
      array.encode(into: &bytes)
    }
  }

  static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
    bytes.append(contentsOf: number.littleEndianBytes)
  }

  static func append(_ numbers: [some FixedWidthInteger], to bytes: inout [UInt8]) {
    for number in numbers { append(number, to: &bytes) }
  }

  /// A string: u64 length, then UTF-8.
  static func append(_ text: String, to bytes: inout [UInt8]) {
    append(UInt64(text.utf8.count), to: &bytes)
    bytes.append(contentsOf: text.utf8)
  }

  private static func append(
    _ type: GGUFValueType, _ number: some FixedWidthInteger, to bytes: inout [UInt8]
  ) {
    append(type.rawValue, to: &bytes)
    append(number, to: &bytes)
  }
}

extension GGUFArray {
  /// Element type, count, elements.
  func encode(into bytes: inout [UInt8]) {
    GGUFValue.append(elementType.rawValue, to: &bytes)
    GGUFValue.append(UInt64(count), to: &bytes)
    switch self {
    case .uint8(let values): bytes.append(contentsOf: values)
    case .int8(let values): GGUFValue.append(values, to: &bytes)
    case .uint16(let values): GGUFValue.append(values, to: &bytes)
    case .int16(let values): GGUFValue.append(values, to: &bytes)
    case .uint32(let values): GGUFValue.append(values, to: &bytes)
    case .int32(let values): GGUFValue.append(values, to: &bytes)
    case .uint64(let values): GGUFValue.append(values, to: &bytes)
    case .int64(let values): GGUFValue.append(values, to: &bytes)
    case .float32(let values): GGUFValue.append(values.map(\.bitPattern), to: &bytes)
    case .float64(let values): GGUFValue.append(values.map(\.bitPattern), to: &bytes)
    case .bool(let values): bytes.append(contentsOf: values.map { $0 ? 1 : 0 })
    case .string(let strings): bytes.append(contentsOf: strings.encoded)
    case .array(let arrays): for array in arrays { array.encode(into: &bytes) }
    }
  }

  private var elementType: GGUFValueType {
    switch self {
    case .uint8: .uint8
    case .int8: .int8
    case .uint16: .uint16
    case .int16: .int16
    case .uint32: .uint32
    case .int32: .int32
    case .uint64: .uint64
    case .int64: .int64
    case .float32: .float32
    case .float64: .float64
    case .bool: .bool
    case .string: .string
    case .array: .array
    }
  }
}
