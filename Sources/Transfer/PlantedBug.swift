#if STUBSAVE_PLANTED_BUG
  import SaveDisk
  import SystemIO

  /// **For a test only**, and in no build that is handed on: what an attacker would make of a bug in
  /// a decompressor. A chunk that begins with a mark says which system calls are made where the bug
  /// strikes (Tests/Hostile/planted.py).
  public enum PlantedBug {
    /// "PLANTED BUG" and five zeros.
    private static let mark = Bytes16(first: 0x2044_4554_4E41_4C50, last: 0x0000_0000_0047_5542)

    /// How many calls, u64, all ones to keep the processor busy for ever; then for each 8 words: number, which arguments are offsets in the chunk
    /// (bits 0 to 5) or the last call's result (bits 8 to 13), and the six arguments.
    static func strike(_ chunk: RawSpan) {
      if chunk.byteCount < 24 { return }
      var cursor = ByteCursor(chunk)
      guard cursor.bytes16() == mark else { return }
      let count = cursor.littleEndianUInt64()
      if count == .max { while true {} }
      var last: Int = 0
      for _ in 0..<count {
        let number = cursor.littleEndianUInt64()
        let kinds = cursor.littleEndianUInt64()
        var words: [Int] = []
        for index in UInt64(0)..<6 {
          let word = Int(truncatingIfNeeded: cursor.littleEndianUInt64())
          if kinds >> index & 1 == 1 {
            let start = unsafe chunk.withUnsafeBytes { Int(bitPattern: $0.baseAddress!) }
            words.append(start + word)
          } else {
            words.append(kinds >> (8 + index) & 1 == 1 ? last : word)
          }
        }
        last = PlantedCall.make(Int(number), words)
      }
    }

    /// So that the test can show what each wall is for: not built if the program lies in a directory
    /// of that name.
    public static func lies(in directory: StaticString) -> Bool {
      guard let own = try? Names.target(of: SystemPath(word: "/proc/self/exe")) else {
        return false
      }
      let name = SystemPath(word: directory).bytes
      return own.directoryAndName.directory.bytes.suffix(name.count).elementsEqual(name)
    }
  }
#endif
