import Codecs
import SaveDisk
import SystemIO
import Transfer

/// What the agent's command line says.
enum AgentCommand {
  /// State from standard input to an allocated, empty disk.
  case write(SystemPath)
  /// The stream `qemu` of a disk to standard output, nothing before everything is verified.
  case read(SystemPath)

  static let usage: StaticString = """
    usage: stubsave-agent write DEVICE < STATE
           stubsave-agent read DEVICE > STATE

    """

  init?(arguments: [SystemPath]) {
    guard arguments.count == 2 else { return nil }
    if arguments[0].isWord("write") {
      self = .write(arguments[1])
    } else if arguments[0].isWord("read") {
      self = .read(arguments[1])
    } else {
      return nil
    }
  }
}

extension SystemPath {
  fileprivate func isWord(_ word: StaticString) -> Bool {
    unsafe bytes.elementsEqual(
      UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
  }
}
