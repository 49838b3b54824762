import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// A state that a stubdomain without an agent writes to its console: a QEMU in dom0 puts what comes
/// there into the file in which libxl then looks. That QEMU has the file open, empty, since the stubdomain
/// was started; or, after an earlier save, libxl has removed it.
///
/// So what the file holds before QEMU is told to write is of another time, and would be taken for this save's.
struct ConsoleState {
  fileprivate let path: SystemPath

  /// To be called before QEMU is told to write.
  ///
  /// - Throws: if the file holds something already.
  static func expect(at path: SystemPath) throws(ToolError) -> ConsoleState {
    let found: FileStatus
    do throws(SystemError) {
      found = try FileStatus.of(path, followingLinks: false)
    } catch {
      if error.errno == Errno.noEntry { return ConsoleState(path: path) }
      throw ToolError(error, path)
    }
    try RootsFile.require(found, path)
    if found.bytes == 0 { return ConsoleState(path: path) }
    throw ToolError(.wouldDestroy, path) {
      $0.append("holds ")
      $0.append(found.bytes)
      $0.append(
        " bytes of another time, and the stubdomain has no stubsave-agent: libxl would take ")
      $0.append("them for this save's; remove the file")
    }
  }

  /// What came is at least a state's beginning: libxl takes an empty file, too.
  func require() throws(ToolError) -> FileDescriptor {
    do throws(SystemError) {
      _ = try FileStatus.of(path, followingLinks: false)
    } catch {
      if error.errno == Errno.noEntry { throw nothing }
      throw ToolError(error, path)
    }
    let file = try RootsFile.open(path)
    if try !attempt(path, { () throws(SystemError) in try file.beginsWithQEMUMagic() }) {
      throw nothing
    }
    return file
  }

  private var nothing: ToolError {
    ToolError(.notASaveDisk, path) {
      $0.append("the stubdomain has no stubsave-agent, and no state came over its console")
    }
  }
}
