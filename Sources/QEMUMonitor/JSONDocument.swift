/// One JSON text (RFC 8259), checked as a whole before anything in it is looked at.
///
/// Stricter than the standard where a lenient reader could be made to see something else than the
/// next one: no duplicate member names, no unpaired surrogates, nothing behind the value. Bounded:
/// length by the caller, nesting, number of values and of members here. Keeps offsets, no tree.
struct JSONDocument {
  enum Kind: UInt8 {
    case object, array, string, number, `true`, `false`, null
  }

  /// A value, or a member's name, which is a string. `end` is the index of the next token that is
  /// not inside this one.
  struct Token {
    let kind: Kind
    /// In the bytes: of a string without its quotation marks.
    var range: Range<Int>
    var end: Int
  }

  /// QMP's own replies nest less than ten deep; json-c, libxl's parser since Xen 4.21, takes as many as this.
  static let maxDepth = 32
  /// Bounds the memory for tokens: 2.5 MB. `query-qmp-schema`, the longest reply, has some 60,000.
  static let maxTokens = 65_536
  /// Bounds the search for duplicates. QMP's objects have fewer than a hundred members.
  static let maxMembers = 256

  let bytes: [UInt8]
  let tokens: [Token]

  /// - Parameter bytes: the text, without the line's end.
  init(parsing bytes: [UInt8]) throws(JSONError) {
    var parser = JSONParser(bytes: bytes)
    try parser.parse()
    self.bytes = bytes
    tokens = parser.tokens
  }

  /// The value of a member of the object `token`, by its index; nil if there is none of that name,
  /// or `token` is no object.
  func member(_ name: StaticString, of token: Int = 0) -> Int? {
    guard tokens[token].kind == .object else { return nil }
    var index = token + 1
    while index < tokens[token].end {
      if string(index, is: name) { return index + 1 }
      index = tokens[index + 1].end
    }
    return nil
  }

  func kind(_ token: Int) -> Kind { tokens[token].kind }

  /// A string's bytes, escapes resolved; nil if it is no string.
  func string(_ token: Int) -> [UInt8]? {
    guard tokens[token].kind == .string else { return nil }
    return JSONParser.unescape(bytes[tokens[token].range])
  }

  func string(_ token: Int, is text: StaticString) -> Bool {
    guard let found = string(token) else { return false }
    return unsafe found.elementsEqual(
      UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// A number that is not negative, without fraction and exponent, that fits; else nil.
  func unsigned(_ token: Int) -> UInt64? {
    guard tokens[token].kind == .number else { return nil }
    var value: UInt64 = 0
    for byte in bytes[tokens[token].range] {
      guard byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflowToo) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
      if overflow || overflowToo { return nil }
      value = sum
    }
    return value
  }

  func boolean(_ token: Int) -> Bool? {
    switch tokens[token].kind {
    case .true: true
    case .false: false
    default: nil
    }
  }
}

/// What is wrong with a JSON text, and where.
public struct JSONError: Error, Equatable, Sendable, BitwiseCopyable {
  public enum Reason: Sendable, BitwiseCopyable {
    case syntax, invalidUTF8, controlCharacter, escape, surrogate, duplicateName
    case tooDeep, tooManyValues, trailing, numberTooLarge
  }

  /// In bytes from the start of the text.
  public let offset: Int
  public let reason: Reason
}
