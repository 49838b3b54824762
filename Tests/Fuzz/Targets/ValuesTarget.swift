import SaveDisk
import SystemIO

@testable import Xen
@testable import Xenstore

/// Values of nodes, each read in every way that there is for one.
@c(stubsave_fuzz_values)
public func fuzzValues(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let value = unsafe Input(bytes, count).array
  if let (major, minor) = AttachedDisk.majorMinor(value) {
    let words = value.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    require(
      words.count == 2 && isSpelling(words[0], of: major) && isSpelling(words[1], of: minor),
      "another device")
  }
  if let number = Xen.Decimal.number(value) {
    require(value.count <= 10, "a long number")
    require(isDecimal(value, number), "another number")
  }
  require(XenstoreConnection.number(value[...]) == Xen.Decimal.number(value), "two numbers")
  _ = DiskOwner(word: value)
  if let device = VirtualDevice(name: value) { require(device.name == value, "another device") }
  if let path = SystemPath(bytes: value) {
    if let target = QMPChannel.target(of: path, 5) {
      require(path.bytes.count > 10 && target <= UInt32.max, "no channel")
    }
    _ = path.directoryAndName
  } else {
    require(value.contains(0), "a path that is none")
  }
  let words = value.split(separator: 0, omittingEmptySubsequences: false).map { [UInt8]($0) }
  let arguments = DeviceArguments(words: words)
  require(arguments.options.count <= words.count, "options of nothing")
  for option in arguments.options {
    require(option.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "an option that is not plain")
  }
  _ = arguments.digest
  _ = XenstoreError(payload: value) == .closed
}

/// Whether these are the digits of the number, in hexadecimal, maybe behind zeros.
private func isSpelling(_ digits: ArraySlice<UInt8>, of number: UInt32) -> Bool {
  let text = String(decoding: digits, as: UTF8.self).lowercased().drop { $0 == "0" }
  return !digits.isEmpty && text == (number == 0 ? "" : String(number, radix: 16))
}

/// The same in decimal.
private func isDecimal(_ digits: [UInt8], _ number: UInt32) -> Bool {
  digits.drop { $0 == 0x30 }.elementsEqual(number == 0 ? [] : Xen.Decimal.bytes(number))
}
