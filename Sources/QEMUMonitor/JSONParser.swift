/// Checks a JSON text and notes where its values are. Recursion is bounded by `maxDepth`.
struct JSONParser {
  private let bytes: [UInt8]
  private var position = 0
  private(set) var tokens: [JSONDocument.Token] = []

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func parse() throws(JSONError) {
    skipSpace()
    try value(depth: 0)
    skipSpace()
    if position != bytes.count { throw fail(.trailing) }
  }

  private func fail(_ reason: JSONError.Reason) -> JSONError {
    JSONError(offset: position, reason: reason)
  }

  /// The next byte, 0 at the end: a NUL is never allowed where this is asked.
  private var next: UInt8 { position < bytes.count ? bytes[position] : 0 }

  private mutating func skipSpace() {
    while next == 0x20 || next == 0x09 || next == 0x0A || next == 0x0D { position += 1 }
  }

  private mutating func expect(_ byte: UInt8) throws(JSONError) {
    guard next == byte else { throw fail(.syntax) }
    position += 1
  }

  /// Begins a token; its range and end are set when they are known.
  private mutating func begin(_ kind: JSONDocument.Kind) throws(JSONError) -> Int {
    guard tokens.count < JSONDocument.maxTokens else { throw fail(.tooManyValues) }
    tokens.append(JSONDocument.Token(kind: kind, range: position..<position, end: 0))
    return tokens.count - 1
  }

  private mutating func end(_ token: Int, from start: Int) {
    tokens[token].range = start..<position
    tokens[token].end = tokens.count
  }

  private mutating func value(depth: Int) throws(JSONError) {
    guard depth < JSONDocument.maxDepth else { throw fail(.tooDeep) }
    switch next {
    case UInt8(ascii: "{"): try object(depth: depth)
    case UInt8(ascii: "["): try array(depth: depth)
    case UInt8(ascii: "\""): try string()
    case UInt8(ascii: "t"): try word("true", .true)
    case UInt8(ascii: "f"): try word("false", .false)
    case UInt8(ascii: "n"): try word("null", .null)
    default: try number()
    }
  }

  private mutating func object(depth: Int) throws(JSONError) {
    let token = try begin(.object)
    let start = position
    position += 1
    skipSpace()
    var names: [[UInt8]] = []
    if next != UInt8(ascii: "}") {
      while true {
        try name(&names)
        skipSpace()
        try expect(UInt8(ascii: ":"))
        skipSpace()
        try value(depth: depth + 1)
        skipSpace()
        if next != UInt8(ascii: ",") { break }
        position += 1
        skipSpace()
      }
    }
    try expect(UInt8(ascii: "}"))
    end(token, from: start)
  }

  private mutating func name(_ names: inout [[UInt8]]) throws(JSONError) {
    guard next == UInt8(ascii: "\"") else { throw fail(.syntax) }
    guard names.count < JSONDocument.maxMembers else { throw fail(.tooManyValues) }
    let token = tokens.count
    try string()
    let name = JSONParser.unescape(bytes[tokens[token].range])
    if names.contains(name) { throw fail(.duplicateName) }
    names.append(name)
  }

  private mutating func array(depth: Int) throws(JSONError) {
    let token = try begin(.array)
    let start = position
    position += 1
    skipSpace()
    if next != UInt8(ascii: "]") {
      while true {
        try value(depth: depth + 1)
        skipSpace()
        if next != UInt8(ascii: ",") { break }
        position += 1
        skipSpace()
      }
    }
    try expect(UInt8(ascii: "]"))
    end(token, from: start)
  }

  private mutating func word(
    _ word: StaticString, _ kind: JSONDocument.Kind
  ) throws(JSONError) {
    let token = try begin(kind)
    let start = position
    let letters = unsafe UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
    for index in 0..<word.utf8CodeUnitCount { try expect(unsafe letters[index]) }
    end(token, from: start)
  }

  private mutating func number() throws(JSONError) {
    let token = try begin(.number)
    let start = position
    if next == UInt8(ascii: "-") { position += 1 }
    if next == UInt8(ascii: "0") { position += 1 } else { try digits() }
    let integer = start..<position
    if next == UInt8(ascii: ".") {
      position += 1
      try digits()
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      position += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
      try digits()
    }
    if position == integer.upperBound && !JSONParser.fits(bytes[integer]) {
      throw JSONError(offset: start, reason: .numberTooLarge)
    }
    end(token, from: start)
  }

  /// Within 64 bits, with or without a sign. Of a larger one json-c, libxl's parser since Xen 4.21, makes the
  /// largest that it has, and libyajl a double.
  private static func fits(_ integer: ArraySlice<UInt8>) -> Bool {
    let isNegative = integer.first == UInt8(ascii: "-")
    var value: UInt64 = 0
    for digit in isNegative ? integer.dropFirst() : integer {
      let (product, isOver) = value.multipliedReportingOverflow(by: 10)
      let (sum, isOverToo) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
      if isOver || isOverToo { return false }
      value = sum
    }
    return !isNegative || value <= 1 << 63
  }

  /// One or more.
  private mutating func digits() throws(JSONError) {
    let start = position
    while next >= UInt8(ascii: "0") && next <= UInt8(ascii: "9") { position += 1 }
    if position == start { throw fail(.syntax) }
  }

  private mutating func string() throws(JSONError) {
    let token = try begin(.string)
    position += 1
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        end(token, from: start)
        position += 1
        return
      case UInt8(ascii: "\\"): try escape()
      case 0..<0x20: throw fail(.controlCharacter)
      case 0x20..<0x80: position += 1
      default: try multibyteScalar()
      }
    }
    throw fail(.syntax)
  }

  private mutating func escape() throws(JSONError) {
    position += 1
    switch next {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
      UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      position += 1
    case UInt8(ascii: "u"):
      let first = try fourDigits()
      switch first {
      case 0xDC00...0xDFFF: throw fail(.surrogate)
      case 0xD800...0xDBFF:
        guard next == UInt8(ascii: "\\") else { throw fail(.surrogate) }
        position += 1
        guard next == UInt8(ascii: "u") else { throw fail(.surrogate) }
        guard (0xDC00...0xDFFF).contains(try fourDigits()) else { throw fail(.surrogate) }
      default: break
      }
    default: throw fail(.escape)
    }
  }

  /// The "u" and the four digits behind it.
  private mutating func fourDigits() throws(JSONError) -> UInt32 {
    position += 1
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = JSONParser.hexDigit(next) else { throw fail(.escape) }
      value = value << 4 | digit
      position += 1
    }
    return value
  }

  /// One scalar of two to four bytes, as RFC 3629 has it: shortest form, no surrogates.
  private mutating func multibyteScalar() throws(JSONError) {
    let first = bytes[position]
    let count: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch first {
    case 0xC2...0xDF: count = 2
    case 0xE0: (count, second) = (3, 0xA0...0xBF)
    case 0xED: (count, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: count = 3
    case 0xF0: (count, second) = (4, 0x90...0xBF)
    case 0xF1...0xF3: count = 4
    case 0xF4: (count, second) = (4, 0x80...0x8F)
    default: throw fail(.invalidUTF8)
    }
    guard position + count <= bytes.count, second.contains(bytes[position + 1]) else {
      throw fail(.invalidUTF8)
    }
    for offset in 2..<max(count, 2) where bytes[position + offset] & 0xC0 != 0x80 {
      throw fail(.invalidUTF8)
    }
    position += count
  }
}
