import ArgumentParser

/// A size on the command line: bytes, or a number with KiB, MiB or GiB.
struct ByteCount: ExpressibleByArgument, Equatable {
  let bytes: UInt64

  init(bytes: UInt64) { self.bytes = bytes }

  init?(argument: String) {
    let units: [(suffix: String, bytes: UInt64)] = [
      ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30),
    ]
    var digits = Substring(argument)
    var factor: UInt64 = 1
    for unit in units where argument.hasSuffix(unit.suffix) {
      digits = argument.dropLast(unit.suffix.count)
      factor = unit.bytes
    }
    guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
      let number = UInt64(digits)
    else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: factor)
    if overflow { return nil }
    bytes = product
  }

  var defaultValueDescription: String {
    bytes % (1 << 20) == 0
      ? "\(bytes >> 20)MiB" : bytes % 1024 == 0 ? "\(bytes >> 10)KiB" : "\(bytes)"
  }
}
