import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// `write DISK` and `read DISK`, with no option at all.
///
/// There is nothing to parse in them; the parser takes 2 to 3 ms to find that out, ten times as
/// long as the work. Everything else goes through it.
enum PlainForm {
  case write(SystemPath)
  case read(SystemPath)

  /// Nil for every other command line.
  init?(_ arguments: [SystemPath]) {
    guard arguments.count == 2, let first = arguments[1].bytes.first,
      first != UInt8(ascii: "-")
    else { return nil }
    if arguments[0].bytes.elementsEqual("write".utf8) {
      self = .write(arguments[1])
    } else if arguments[0].bytes.elementsEqual("read".utf8) {
      self = .read(arguments[1])
    } else {
      return nil
    }
  }

  /// As the parser would have it done: the defaults are the same values.
  func run() throws {
    switch self {
    case .write(let disk): try WriteCommand.run(disk, WriteOptions(), json: false)
    case .read(let disk):
      SandboxOptions.applyUsual()
      try ReadCommand.run(
        disk, stream: .qemu, output: nil, options: .dom0, isForced: false, json: false)
    }
  }
}
