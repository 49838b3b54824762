import SaveDisk
import SystemIO
import Transfer

/// dpkg's database of a system, whose locks keep dpkg and apt from work as long as this lives: otherwise one
/// could replace a program between a look at it and what is done with it.
///
/// A program that dpkg itself runs, such as a package's script, has dpkg waiting for it anyway.
struct DpkgDatabase: ~Copyable {
  /// As this system sees it.
  let path: SystemPath
  private let folder: Folder
  private var locks: [Int32] = []
  private var frontend: FileDescriptor?
  private var own: FileDescriptor?

  private static let inside = "/var/lib/dpkg"
  /// dpkg's three lines for each: the file, where it is put, the package that gets it; ":" is nobody's.
  struct Diversion {
    let file: String
    let aside: String
    let package: String

    var isLocal: Bool { package == ":" }
  }

  /// - Returns: nil if the system has none.
  static func open(_ root: borrowing HookRoot) throws(ToolError) -> DpkgDatabase? {
    let path = root.outside(inside)
    do throws(SystemError) {
      let folder = try root.folder.folder(inRoot: try Hooks.systemPath(inside))
      return DpkgDatabase(path: try folder.path(), folder: folder)
    } catch {
      if error.errno == Errno.noEntry || error.errno == Errno.notDirectory { return nil }
      throw ToolError(error, path)
    }
  }

  private init(path: SystemPath, folder: consuming Folder) {
    self.path = path
    self.folder = folder
  }

  /// - Throws: `.busy` if dpkg or apt is at work and does not end in time.
  mutating func lock() throws(ToolError) {
    // dpkg(1), environment: what it sets for packages' scripts, and what apt sets for its own hooks.
    if Environment.path("DPKG_RUNNING_VERSION") != nil { return }
    if Environment.path("DPKG_FRONTEND_LOCKED") == nil {
      let file = try lock("lock-frontend")
      locks.append(file.number)
      frontend = consume file
    }
    let file = try lock("lock")
    locks.append(file.number)
    own = consume file
  }

  private func lock(_ name: StaticString) throws(ToolError) -> FileDescriptor {
    do throws(SystemError) {
      let file = try folder.openLock(SystemPath(word: name))
      try file.lockAsWriter(until: Deadline(timeoutMilliseconds: HookRoot.lockMilliseconds))
      return file
    } catch {
      guard error.errno == Errno.wouldBlock else { throw ToolError(error, path) }
      throw ToolError(.busy, path) {
        $0.append("dpkg or apt is at work; once more when it has ended")
      }
    }
  }

  /// For a child, which holds them on if this process is killed.
  var lockNumbers: [Int32] { locks }

  func diversions() throws(ToolError) -> [Diversion] {
    let bytes: [UInt8]
    do throws(SystemError) {
      let file = try folder.open(SystemPath(word: "diversions"))
      let status = try file.status()
      guard status.kind == .regular else { throw SystemError(.open, errno: Errno.invalid) }
      bytes = try file.bytes(count: status.bytes)
    } catch {
      if error.errno == Errno.noEntry { return [] }
      throw ToolError(error, path) { $0.append("has no list of diversions that can be read: ") }
    }
    let lines = bytes.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
    return stride(from: 0, to: lines.count - lines.count % 3, by: 3).map {
      Diversion(file: lines[$0], aside: lines[$0 + 1], package: lines[$0 + 2])
    }
  }
}

extension ToolError {
  fileprivate init(
    _ error: SystemError, _ path: SystemPath, _ words: (inout PlainText) -> Void
  ) {
    self.init(ExitStatus(error), path) {
      words(&$0)
      $0.append(error)
    }
  }
}
