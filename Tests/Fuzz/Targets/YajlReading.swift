import CFuzz

@testable import QEMUMonitor

/// What libyajl, with which libxl reads QMP, makes of a line: spelled as `JSONDocument` would, so
/// that two readings can be compared byte for byte, and the names of the outermost members.
final class YajlReading {
  private(set) var text: [UInt8] = []
  private(set) var names: [[UInt8]] = []
  /// Whether a value of this depth has been seen, and whether a name came just before.
  private var counts: [Int] = [0]
  private var isAfterName = false

  private init() {}

  /// Nil if libyajl refuses it. Set up as in libxl (libxl_json.c), which leaves its defaults.
  static func read(_ line: [UInt8]) -> YajlReading? {
    let reading = YajlReading()
    let context = unsafe Unmanaged.passUnretained(reading).toOpaque()
    var callbacks = self.callbacks
    guard let handle = unsafe yajl_alloc(&callbacks, nil, context) else { finding("no memory") }
    defer { unsafe yajl_free(handle) }
    let parsed = unsafe line.withUnsafeBufferPointer {
      unsafe yajl_parse(handle, $0.baseAddress, $0.count)
    }
    guard parsed == yajl_status_ok, unsafe yajl_complete_parse(handle) == yajl_status_ok else {
      return nil
    }
    return reading
  }

  private func value(_ bytes: some Sequence<UInt8>) {
    if isAfterName {
      isAfterName = false
    } else {
      separate()
    }
    text += bytes
  }

  private func separate() {
    if counts[counts.count - 1] > 0 { text.append(UInt8(ascii: ",")) }
    counts[counts.count - 1] += 1
  }

  private func name(_ bytes: UnsafeBufferPointer<UInt8>) {
    separate()
    if counts.count == 2 { unsafe names.append([UInt8](bytes)) }
    unsafe JSONText.append(string: bytes, to: &text)
    text.append(UInt8(ascii: ":"))
    isAfterName = true
  }

  private func begin(_ mark: UInt8) {
    value([mark])
    counts.append(0)
  }

  private func end(_ mark: UInt8) {
    counts.removeLast()
    text.append(mark)
  }

  private func string(_ bytes: UnsafeBufferPointer<UInt8>) {
    var spelled: [UInt8] = []
    unsafe JSONText.append(string: bytes, to: &spelled)
    value(spelled)
  }

  private static func of(_ context: UnsafeMutableRawPointer?) -> YajlReading {
    guard let context = unsafe context else { finding("no context") }
    return unsafe Unmanaged<YajlReading>.fromOpaque(context).takeUnretainedValue()
  }

  private static var callbacks: yajl_callbacks {
    var callbacks = yajl_callbacks()
    unsafe callbacks.yajl_null = { context in
      unsafe YajlReading.of(context).value("null".utf8)
      return 1
    }
    unsafe callbacks.yajl_boolean = { context, isTrue in
      unsafe YajlReading.of(context).value((isTrue != 0 ? "true" : "false").utf8)
      return 1
    }
    unsafe callbacks.yajl_number = { context, digits, count in
      let bytes = unsafe UnsafeRawBufferPointer(start: digits, count: count)
      unsafe YajlReading.of(context).value(bytes)
      return 1
    }
    unsafe callbacks.yajl_string = { context, bytes, count in
      unsafe YajlReading.of(context).string(UnsafeBufferPointer(start: bytes, count: count))
      return 1
    }
    unsafe callbacks.yajl_map_key = { context, bytes, count in
      unsafe YajlReading.of(context).name(UnsafeBufferPointer(start: bytes, count: count))
      return 1
    }
    unsafe callbacks.yajl_start_map = { context in
      unsafe YajlReading.of(context).begin(UInt8(ascii: "{"))
      return 1
    }
    unsafe callbacks.yajl_end_map = { context in
      unsafe YajlReading.of(context).end(UInt8(ascii: "}"))
      return 1
    }
    unsafe callbacks.yajl_start_array = { context in
      unsafe YajlReading.of(context).begin(UInt8(ascii: "["))
      return 1
    }
    unsafe callbacks.yajl_end_array = { context in
      unsafe YajlReading.of(context).end(UInt8(ascii: "]"))
      return 1
    }
    return callbacks
  }
}
