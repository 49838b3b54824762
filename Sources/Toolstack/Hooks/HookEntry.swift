import SaveDisk
import SystemIO
import Transfer

/// What one of the two names stands for.
enum HookEntry {
  case nothing
  /// Our script.
  case ours
  /// A program, or a link to one in that system; the status is that of the name itself. Binary is ELF.
  case program(FileStatus, isExecutable: Bool, isBinary: Bool)
  /// Anything else.
  case unusable(StaticString)

  /// The second line of ours.
  static let mark =
    "# Put here by `stubsave hooks install xl`; `stubsave hooks remove xl` takes it away."
  /// For the first two lines; what follows may be long.
  private static let maxHeadBytes: UInt64 = 4096

  /// - Parameter path: of `name`, as that system sees it.
  static func of(
    _ name: SystemPath, in folder: borrowing Folder, _ path: String, _ root: borrowing HookRoot
  ) throws(SystemError) -> HookEntry {
    guard let found = try folder.statusIfThere(of: name) else { return .nothing }
    if found.isLink { return try ofLink(found, path, root) }
    guard found.kind == .regular else {
      return .unusable(found.kind == .directory ? "is a directory" : "is no regular file")
    }
    let file = try folder.open(name)
    let head = try head(of: file)
    if isOurs(head) { return .ours }
    return .program(
      found, isExecutable: found.permissions & 0o111 != 0,
      isBinary: head.starts(with: [0x7F] + "ELF".utf8))
  }

  private static func head(
    of file: borrowing FileDescriptor
  ) throws(SystemError) -> [UInt8] {
    try file.bytes(count: min(try file.status().bytes, maxHeadBytes))
  }

  /// Of a regular file.
  static func isOurs(_ file: borrowing FileDescriptor) throws(SystemError) -> Bool {
    isOurs(try head(of: file))
  }

  private static func ofLink(
    _ link: FileStatus, _ path: String, _ root: borrowing HookRoot
  ) throws(SystemError) -> HookEntry {
    guard let target = try root.statusIfThere(path) else {
      return .unusable("is a link that leads nowhere in that system")
    }
    guard target.kind == .regular else { return .unusable("is a link to what is no file") }
    return .program(link, isExecutable: target.permissions & 0o111 != 0, isBinary: false)
  }

  private static func isOurs(_ head: [UInt8]) -> Bool {
    let lines = head.split(separator: 0x0A, maxSplits: 2, omittingEmptySubsequences: false)
    return lines.count == 3 && lines[0].starts(with: "#!".utf8) && lines[1].elementsEqual(mark.utf8)
  }

  var isLink: Bool {
    if case .program(let own, _, _) = self { own.isLink } else { false }
  }

  var isBinary: Bool { if case .program(_, _, let isBinary) = self { isBinary } else { false } }

  var isOurs: Bool { if case .ours = self { true } else { false } }

  func isSame(as status: FileStatus?) -> Bool {
    guard case .program(let own, _, _) = self, let status else { return false }
    return own.isSameFile(as: status)
  }
}
