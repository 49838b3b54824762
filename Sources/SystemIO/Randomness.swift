/// Random bytes from the kernel.
public enum Randomness {
  /// Sixteen random bytes, never all zero, as two words.
  public static func words() throws(SystemError) -> (UInt64, UInt64) {
    while true {
      var words = (UInt64(0), UInt64(0))
      try unsafe withUnsafeMutableBytes(of: &words) { buffer throws(SystemError) in
        try unsafe Syscalls.getrandom(buffer)
      }
      if words != (0, 0) { return words }
    }
  }
}
