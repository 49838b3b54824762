import CFuzz

@testable import QEMUMonitor

/// What json-c, with which libxl reads QMP since Xen 4.21, makes of a line: spelled as `JSONDocument` would,
/// so that two readings can be compared byte for byte.
struct JSONCReading {
  private(set) var text: [UInt8] = []

  /// Nil if json-c refuses it. Asked as libxl asks it (libxl_json.c): by a text that ends with NUL, and with
  /// its defaults, which nest 32 deep.
  static func read(_ line: [UInt8]) -> JSONCReading? {
    var error = json_tokener_success
    let found = unsafe (line + [0]).withUnsafeBytes {
      unsafe json_tokener_parse_verbose(
        $0.baseAddress?.assumingMemoryBound(to: CChar.self), &error)
    }
    defer { _ = unsafe json_object_put(found) }
    guard error == json_tokener_success else { return nil }
    var reading = JSONCReading()
    unsafe reading.append(found)
    return reading
  }

  private mutating func append(_ value: OpaquePointer?) {
    switch unsafe json_object_get_type(value) {
    case json_type_object: unsafe append(object: value)
    case json_type_array:
      text.append(UInt8(ascii: "["))
      for index in 0..<(unsafe json_object_array_length(value)) {
        if index > 0 { text.append(UInt8(ascii: ",")) }
        unsafe append(unsafe json_object_array_get_idx(value, index))
      }
      text.append(UInt8(ascii: "]"))
    case json_type_string:
      let bytes = unsafe UnsafeRawBufferPointer(
        start: json_object_get_string(value), count: Int(json_object_get_string_len(value)))
      unsafe append(string: bytes)
    case json_type_null: text += "null".utf8
    default:
      // A number or a word, as it spells them.
      var cursor = unsafe json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN)
      while let byte = unsafe cursor?.pointee, byte != 0 {
        text.append(UInt8(bitPattern: byte))
        unsafe cursor = unsafe cursor?.successor()
      }
    }
  }

  private mutating func append(object: OpaquePointer?) {
    text.append(UInt8(ascii: "{"))
    var member = unsafe json_object_iter_begin(object)
    var end = unsafe json_object_iter_end(object)
    var isFirst = true
    while unsafe json_object_iter_equal(&member, &end) == 0 {
      if !isFirst { text.append(UInt8(ascii: ",")) }
      isFirst = false
      var name: [UInt8] = []
      var cursor = unsafe json_object_iter_peek_name(&member)
      while let byte = unsafe cursor?.pointee, byte != 0 {
        name.append(UInt8(bitPattern: byte))
        unsafe cursor = unsafe cursor?.successor()
      }
      unsafe name.withUnsafeBytes { unsafe append(string: $0) }
      text.append(UInt8(ascii: ":"))
      unsafe append(unsafe json_object_iter_peek_value(&member))
      unsafe json_object_iter_next(&member)
    }
    text.append(UInt8(ascii: "}"))
  }

  private mutating func append(string bytes: UnsafeRawBufferPointer) {
    var spelled: [UInt8] = []
    unsafe bytes.withMemoryRebound(to: UInt8.self) {
      unsafe JSONText.append(string: $0, to: &spelled)
    }
    text += spelled
  }
}

/// What json-c must see in a line that libxl gets. A NUL in a name ends it there: no such line passes. Its
/// integers have no sign where they are zero.
func compareWithJSONC(_ document: JSONDocument, _ line: [UInt8]) {
  if document.hasNUL { return }
  guard let theirs = JSONCReading.read(line) else { finding("json-c refuses it") }
  var ours: [UInt8] = document.encoded(0)
  let isZero = document.tokens.contains {
    $0.kind == .number && document.bytes[$0.range].elementsEqual("-0".utf8)
  }
  if isZero {
    guard let without = JSONCReading.read(ours) else { finding("json-c refuses our spelling") }
    ours = without.text
  }
  require(theirs.text == ours, "json-c sees something else")
}
