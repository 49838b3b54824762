extension JSONDocument {
  /// A value's text anew, in one spelling: no spaces, ASCII, nothing escaped that need not be. What
  /// two readers could spell out differently is not in it.
  func encoded(_ token: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    append(token, to: &bytes)
    return bytes
  }

  /// Whether a string in it, or a name, has the character U+0000: a reader in C takes what stands
  /// before it for the whole.
  var hasNUL: Bool {
    tokens.contains { token in
      guard token.kind == .string else { return false }
      let text = bytes[token.range]
      return text.contains(UInt8(ascii: "\\")) && JSONParser.unescape(text).contains(0)
    }
  }

  private func append(_ token: Int, to text: inout [UInt8]) {
    switch kind(token) {
    case .object: appendMembers(of: token, to: &text)
    case .array:
      text.append(UInt8(ascii: "["))
      for (number, value) in children(of: token).enumerated() {
        if number > 0 { text.append(UInt8(ascii: ",")) }
        append(value, to: &text)
      }
      text.append(UInt8(ascii: "]"))
    case .string:
      JSONText.append(string: JSONParser.unescape(bytes[tokens[token].range]), to: &text)
    case .number, .true, .false, .null: text += bytes[tokens[token].range]
    }
  }

  private func appendMembers(of token: Int, to text: inout [UInt8]) {
    text.append(UInt8(ascii: "{"))
    var isName = true
    for (number, child) in children(of: token).enumerated() {
      if isName && number > 0 { text.append(UInt8(ascii: ",")) }
      append(child, to: &text)
      if isName { text.append(UInt8(ascii: ":")) }
      isName.toggle()
    }
    text.append(UInt8(ascii: "}"))
  }

  /// Of an array its values, of an object its names and values in turn.
  func children(of token: Int) -> [Int] {
    var found: [Int] = []
    var index = token + 1
    while index < tokens[token].end {
      found.append(index)
      index = tokens[index].end
    }
    return found
  }
}

/// JSON's spelling of what is no JSON.
enum JSONText {
  /// A string of bytes that are UTF-8.
  static func append(string: some Sequence<UInt8>, to text: inout [UInt8]) {
    text.append(UInt8(ascii: "\""))
    var decoder = UTF8()
    var iterator = string.makeIterator()
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      switch scalar.value {
      case 0x22, 0x5C: text += [UInt8(ascii: "\\"), UInt8(scalar.value)]
      case 0x20...0x7E: text.append(UInt8(scalar.value))
      default:
        for unit in UTF16.encode(scalar) ?? UTF16.EncodedScalar() { append(unit: unit, to: &text) }
      }
    }
    text.append(UInt8(ascii: "\""))
  }

  private static func append(unit: UInt16, to text: inout [UInt8]) {
    text += [UInt8(ascii: "\\"), UInt8(ascii: "u")]
    for shift in [12, 8, 4, 0] {
      let digit = UInt8(unit >> UInt16(shift) & 0xF)
      text.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}
