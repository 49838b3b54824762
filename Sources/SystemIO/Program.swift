import CSystem

/// Other programs in the place of this one.
public enum Program {
  /// Becomes another program, with the open files that there are.
  ///
  /// - Throws: returns only so.
  public static func become(_ path: SystemPath, _ arguments: [SystemPath]) throws(SystemError) {
    Syscalls.defaultIgnoredSignals()
    try Syscalls.execute(path, arguments)
  }

  /// Becomes another program, which finds `file` as the open file `number`, and of the others only
  /// those that are not closed on exec.
  ///
  /// - Parameters:
  ///   - path: as it is; PATH is not looked at.
  ///   - arguments: argv, the first is its name.
  /// - Throws: returns only so.
  public static func become(
    _ path: SystemPath, _ arguments: [SystemPath], giving file: borrowing FileDescriptor,
    as number: Int32
  ) throws(SystemError) {
    try Syscalls.duplicate(file.number, as: number)
    Syscalls.defaultIgnoredSignals()
    try Syscalls.execute(path, arguments)
  }
}
