import SystemIO

/// Two ways of doing the same, timed in turn.
struct Pairs {
  private(set) var firstNanoseconds: [UInt64] = []
  private(set) var secondNanoseconds: [UInt64] = []

  /// - Parameters:
  ///   - prepare: is not timed; before each of the two.
  init(
    runs: Int, prepare: () throws -> Void = {}, _ first: () throws -> Void,
    _ second: () throws -> Void
  ) throws {
    // Not counted: caches are filled, pages are there.
    for _ in 0..<3 {
      try prepare()
      try first()
      try prepare()
      try second()
    }
    for run in 0..<runs {
      // Neither always comes first.
      for isFirst in run % 2 == 0 ? [true, false] : [false, true] {
        try prepare()
        let start = MonotonicClock.nanoseconds
        try isFirst ? first() : second()
        let span = MonotonicClock.nanoseconds - start
        if isFirst { firstNanoseconds.append(span) } else { secondNanoseconds.append(span) }
      }
    }
  }

  /// First against second, pair by pair.
  var ratios: [Double] {
    zip(firstNanoseconds, secondNanoseconds).map { Double($0) / Double($1) }
  }

  /// What the first takes more, pair by pair, in milliseconds.
  var differences: [Double] {
    zip(firstNanoseconds, secondNanoseconds).map { (Double($0) - Double($1)) / 1e6 }
  }
}

/// One line of the report.
struct Row {
  static let heading =
    Row.pad("", 62) + "  ms (median)      ratio  (quartiles)"

  /// - Parameters:
  ///   - what: "A against B".
  static func line(_ what: String, _ pairs: Pairs) -> String {
    let ratios = pairs.ratios.sorted()
    let times = [pairs.firstNanoseconds, pairs.secondNanoseconds].map {
      fixed(Double(quantile($0.sorted(), 0.5)) / 1e6)
    }
    return pad(what, 62) + "  " + pad("\(times[0]) : \(times[1])", 15)
      + "  \(fixed(quantile(ratios, 0.5)))  (\(fixed(quantile(ratios, 0.25)))"
      + " to \(fixed(quantile(ratios, 0.75))))"
  }

  /// The same, with what the first takes more.
  ///
  /// - Parameter most: the target, in words.
  static func cost(_ what: String, _ pairs: Pairs, most: String) -> String {
    let more = pairs.differences.sorted()
    let quartiles = [0.5, 0.25, 0.75].map { fixed(quantile(more, $0)) }
    return line(what, pairs) + "\n" + pad("  so much more, ms; to be \(most)", 79)
      + "  \(quartiles[0])  (\(quartiles[1]) to \(quartiles[2]))"
  }

  private static func quantile<Value>(_ sorted: [Value], _ part: Double) -> Value {
    sorted[min(Int(Double(sorted.count) * part), sorted.count - 1)]
  }

  /// Two places behind the point.
  private static func fixed(_ value: Double) -> String {
    let hundredths = Int((abs(value) * 100).rounded())
    let sign = value < 0 && hundredths > 0 ? "-" : ""
    return "\(sign)\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
