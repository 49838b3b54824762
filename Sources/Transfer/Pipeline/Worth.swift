import SystemIO

#if !hasFeature(Embedded)

  /// Whether making a chunk smaller pays: whether the disk takes longer for what is saved than the
  /// codec takes to save it.
  ///
  /// Averages of what has been measured on the way, the latest counting most. Both times are those of
  /// a clock on the wall: if other programs take the processors, both get longer.
  final class Worth: @unchecked Sendable {
    private let lock = Semaphore(1)
    /// Of the disk, a stored byte.
    private var writeNanoseconds: Double?
    /// Of the codec, a raw byte, on one thread.
    private var codeNanoseconds: Double?
    /// Stored to raw bytes where the codec was tried.
    private var ratio = 1.0
    private var sinceTrial = 0

    /// What is measured may change: so often a chunk is tried all the same.
    private static let trialInterval = 128
    /// Of each new measurement.
    private static let weight = 0.2

    func wrote(_ bytes: Int, nanoseconds: UInt64) {
      lock.wait()
      Self.mix(&writeNanoseconds, Double(nanoseconds) / Double(bytes))
      lock.post()
    }

    func coded(_ rawBytes: Int, storedBytes: Int, nanoseconds: UInt64) {
      lock.wait()
      Self.mix(&codeNanoseconds, Double(nanoseconds) / Double(rawBytes))
      ratio += (Double(storedBytes) / Double(rawBytes) - ratio) * Self.weight
      lock.post()
    }

    /// Asked before each chunk that may be coded.
    func pays() -> Bool {
      lock.wait()
      defer { lock.post() }
      sinceTrial += 1
      if sinceTrial >= Self.trialInterval {
        sinceTrial = 0
        return true
      }
      // Nothing is known of the disk or the codec yet: the first chunks tell.
      guard let writeNanoseconds, let codeNanoseconds else { return true }
      // However many code at once: the processors are not theirs alone.
      return codeNanoseconds < writeNanoseconds * (1 - ratio)
    }

    private static func mix(_ average: inout Double?, _ value: Double) {
      average = average.map { $0 + (value - $0) * weight } ?? value
    }
  }

#endif
