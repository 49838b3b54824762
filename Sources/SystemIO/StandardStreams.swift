import CSystem

/// Standard input, output and error as they were handed over.
public enum StandardStreams {
  /// Takes the places of those that are closed, to be called first of all.
  ///
  /// Else the first files that are opened would become them: a disk would be read as the state
  /// that is to be written to it, or a state would be "delivered" into a file in memory. What is
  /// put there can be neither read nor written: that ends in EBADF, as for a closed one.
  public static func reserve() {
    guard let root = SystemPath(bytes: [UInt8(ascii: "/")]) else { return }
    for number in Int32(0)...2 {
      do throws(SystemError) {
        _ = try Syscalls.fstat(number)
      } catch {
        guard error.errno == EBADF else { continue }
        // The lowest free number, because those below are taken. If that fails, so will the rest.
        _ = try? Syscalls.openat(AT_FDCWD, root, stubsave_O_PATH, mode: 0)
      }
    }
  }
}

/// The limit on the size of files (ulimit -f).
public enum FileSizeLimit {
  /// Makes going over it an error like any other, EFBIG, which can be cleaned up after; else a
  /// signal ends the process.
  public static func becomesAnError() { stubsave_ignore_signal(SIGXFSZ) }
}
