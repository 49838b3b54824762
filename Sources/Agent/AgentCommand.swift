import Codecs
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// What the agent's command line says.
enum AgentCommand {
  /// State from standard input to an allocated, empty disk.
  case write(SystemPath)
  /// The stream `qemu` of a disk to standard output, nothing before everything is verified.
  case read(SystemPath)

  /// Attends to dom0's offers beside a QEMU.
  case serve(ServeArguments)
  /// Serves QEMU's QMP to dom0 over a vchan.
  case channel(ChannelArguments)
  /// Waits for a state, verifies it, and becomes a QEMU that finds it as an open file.
  case load(LoadArguments)

  static let usage: StaticString = """
    usage: stubsave-agent write DEVICE < STATE
           stubsave-agent read DEVICE > STATE
           stubsave-agent serve MONITOR CARRIER [MAXBYTES [DEVICES [STARTMS]]]
           stubsave-agent channel MONITOR DOMID [CARRIER]
           stubsave-agent load FD CARRIER MAXBYTES DEVICES PROGRAM ARGUMENT...
    serve attends to dom0's offers beside a QEMU. load waits for a state from dom0, verifies it,
    and becomes PROGRAM with the state in a pipe, which is open file FD (-incoming fd:FD). channel
    gives dom0 the QMP of a QEMU that serves the guest DOMID, over a vchan, as vchan-socket-proxy
    does; it keeps every client.
    MONITOR is a QMP socket of QEMU's. CARRIER is xenstore (the device /dev/xen/xenbus),
    xenstore:SOCKET, or fd:N, an open SOCK_SEQPACKET socket. MAXBYTES is the largest state, by
    default 67108864. DEVICES is the directory of block devices, by default /dev. STARTMS is how
    long QEMU may take to greet, in milliseconds, by default 30000.

    """

  init?(arguments: [SystemPath]) {
    guard arguments.count >= 2 else { return nil }
    if arguments.count == 2 && arguments[0].isWord("write") {
      self = .write(arguments[1])
    } else if arguments.count == 2 && arguments[0].isWord("read") {
      self = .read(arguments[1])
    } else if arguments[0].isWord("serve"), let serve = ServeArguments(arguments) {
      self = .serve(serve)
    } else if arguments[0].isWord("channel"), let channel = ChannelArguments(arguments) {
      self = .channel(channel)
    } else if arguments[0].isWord("load"), let load = LoadArguments(arguments) {
      self = .load(load)
    } else {
      return nil
    }
  }
}

/// How the agent reaches dom0.
enum CarrierArgument {
  case openFile(Int32)
  /// /dev/xen/xenbus, or a socket.
  case xenstore(SystemPath?)

  init?(_ word: SystemPath) {
    let bytes = [UInt8](word.bytes)
    if word.isWord("xenstore") {
      self = .xenstore(nil)
    } else if let path = SystemPath.after("xenstore:", in: bytes) {
      self = .xenstore(path)
    } else if let number = DeviceName(bytes)?.openFile {
      self = .openFile(number)
    } else {
      return nil
    }
  }
}

struct LoadArguments {
  let descriptor: Int32
  let carrier: CarrierArgument
  let maxStateBytes: UInt64
  let devices: SystemPath
  /// The program and its arguments.
  let program: [SystemPath]

  /// - Parameter words: beginning with "load".
  init?(_ words: [SystemPath]) {
    guard words.count >= 6, let descriptor = Decimal.read(words[1].bytes),
      descriptor >= 3 && descriptor <= 1023, let carrier = CarrierArgument(words[2]),
      let bytes = Decimal.read(words[3].bytes), bytes > 0
    else { return nil }
    self.descriptor = Int32(descriptor)
    self.carrier = carrier
    maxStateBytes = bytes
    devices = words[4]
    program = [SystemPath](words[5...])
  }
}

struct ServeArguments {
  let monitor: SystemPath
  let carrier: CarrierArgument
  var maxStateBytes = ReaderLimits.defaultStateBytes
  var devices = SystemPath(word: "/dev")
  var startMilliseconds: UInt64 = 30_000

  /// - Parameter words: beginning with "serve".
  init?(_ words: [SystemPath]) {
    guard words.count >= 3 && words.count <= 6 else { return nil }
    monitor = words[1]
    guard let carrier = CarrierArgument(words[2]) else { return nil }
    self.carrier = carrier
    if words.count > 3 {
      guard let bytes = Decimal.read(words[3].bytes), bytes > 0 else { return nil }
      maxStateBytes = bytes
    }
    if words.count > 4 { devices = words[4] }
    if words.count > 5 {
      guard let number = Decimal.read(words[5].bytes), number > 0 else { return nil }
      startMilliseconds = number
    }
  }
}

struct ChannelArguments {
  let monitor: SystemPath
  /// The guest whose QEMU it is.
  let target: UInt64
  /// xenstored's socket; nil is /dev/xen/xenbus. libxenvchan finds it by itself (XENSTORED_PATH).
  var xenstore: SystemPath?

  /// - Parameter words: beginning with "channel".
  init?(_ words: [SystemPath]) {
    guard words.count == 3 || words.count == 4, let target = Decimal.read(words[2].bytes),
      target > 0 && target < 32_752
    else { return nil }
    monitor = words[1]
    self.target = target
    if words.count == 4 {
      guard case .xenstore(let socket) = CarrierArgument(words[3]) else { return nil }
      xenstore = socket
    }
  }
}

extension SystemPath {
  /// What follows `prefix`; nil if that is not how the bytes begin, or nothing follows.
  fileprivate static func after(_ prefix: StaticString, in bytes: [UInt8]) -> SystemPath? {
    let count = prefix.utf8CodeUnitCount
    guard bytes.count > count,
      unsafe bytes.prefix(count).elementsEqual(
        UnsafeBufferPointer(start: prefix.utf8Start, count: count))
    else { return nil }
    return SystemPath(bytes: [UInt8](bytes.dropFirst(count)))
  }

  fileprivate func isWord(_ word: StaticString) -> Bool {
    unsafe bytes.elementsEqual(
      UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
  }
}
