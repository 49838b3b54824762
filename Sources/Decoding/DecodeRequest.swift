import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// What the decoder's process is to look at.
public enum DecodeTask: Sendable, BitwiseCopyable {
  /// A save disk.
  case door(DoorTask)
  /// A save disk: the state to the output, what its writer has said of it into the answer.
  case carry
  /// A state file by its trailer; its sections to the output if they are wanted.
  case state(listsSections: Bool)
  /// What may be a toolstack's file.
  case saveFile(SaveFileTask)
}

/// All that the decoder's process is told, in one message of fixed size, little-endian.
///
/// Its open files are 0 the input, 1 the output, 2 where the output goes if it becomes larger, 3
/// what this is read from, and 4 what it answers to. Any of 1 and 2 may be closed.
public struct DecodeRequest: Sendable {
  public enum File {
    public static let input: Int32 = 0
    public static let output: Int32 = 1
    public static let overflow: Int32 = 2
    public static let request: Int32 = 3
    public static let answer: Int32 = 4
    public static let count: Int32 = 5
  }

  public static let messageBytes = 144

  /// "stubsdec", and the version of all the messages: both programs are of one build.
  private static let magic: UInt64 = 0x6365_6473_6275_7473
  private static let version: UInt32 = 1

  public let task: DecodeTask
  public let options: ReadOptions
  public let shape: InputShape
  /// Most that goes to the output; more goes to the overflow. Nil if there is no such limit.
  public let maxFirstBytes: UInt64?
  public let hasOverflow: Bool
  /// The process that has started it, with which it ends.
  public let parent: Int32
  /// Nothing is looked at unless all walls stand.
  public let requiresAllWalls: Bool
  /// `DecodeNote`s are wanted before the answer.
  public let wantsNotes: Bool

  public init(
    task: DecodeTask, options: ReadOptions, shape: InputShape, maxFirstBytes: UInt64?,
    hasOverflow: Bool, parent: Int32, requiresAllWalls: Bool, wantsNotes: Bool = false
  ) {
    self.task = task
    self.options = options
    self.shape = shape
    self.maxFirstBytes = maxFirstBytes
    self.hasOverflow = hasOverflow
    self.parent = parent
    self.requiresAllWalls = requiresAllWalls
    self.wantsNotes = wantsNotes
  }

  private enum TaskNumber: UInt32 {
    case verify = 1
    case extract = 2
    case list = 3
    case state = 4
    case stateAndSections = 5
    case carry = 6
    case verifySaveFile = 7
    case listSaveFile = 8
    case extractSaveFile = 9
  }

  private static let noName = [UInt8](repeating: 0, count: 32)

  /// Magic; version, task; limit on the state; accepted codecs, 0 or 1 for decoding; shape; most
  /// bytes for the output, all ones for no limit; 0 or 1 for an overflow; parent, 0 or 1 for all
  /// walls; the stream's name; 0 or 1 for notes.
  public func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    var name: StreamName?
    let number: TaskNumber
    switch task {
    case .door(.verify): number = .verify
    case .door(.extract(let stream)):
      number = .extract
      name = stream
    case .door(.list): number = .list
    case .carry: number = .carry
    case .state(let listsSections): number = listsSections ? .stateAndSections : .state
    case .saveFile(.verify): number = .verifySaveFile
    case .saveFile(.list): number = .listSaveFile
    case .saveFile(.extract): number = .extractSaveFile
    }
    bytes.append(littleEndian: DecodeRequest.magic)
    bytes.append(littleEndian: DecodeRequest.version)
    bytes.append(littleEndian: number.rawValue)
    bytes.append(littleEndian: options.limits.maxStateBytes)
    bytes.append(littleEndian: options.acceptedCodecs.bits)
    bytes.append(littleEndian: UInt32(options.isDecoding ? 1 : 0))
    shape.encode(into: &bytes)
    bytes.append(littleEndian: maxFirstBytes ?? .max)
    bytes.append(littleEndian: UInt64(hasOverflow ? 1 : 0))
    bytes.append(littleEndian: UInt32(bitPattern: parent))
    bytes.append(littleEndian: UInt32(requiresAllWalls ? 1 : 0))
    if let name {
      for index in 0..<32 { bytes.append(index < name.count ? name[index] : 0) }
    } else {
      bytes += DecodeRequest.noName
    }
    bytes.append(littleEndian: UInt64(name?.count ?? 0))
    bytes.append(littleEndian: UInt64(wantsNotes ? 1 : 0))
    return bytes
  }

  public init(parsing message: RawSpan) throws(MessageError) {
    guard message.byteCount == DecodeRequest.messageBytes else { throw MessageError() }
    var cursor = ByteCursor(message)
    guard cursor.littleEndianUInt64() == DecodeRequest.magic,
      cursor.littleEndianUInt32() == DecodeRequest.version,
      let number = TaskNumber(rawValue: cursor.littleEndianUInt32())
    else { throw MessageError() }
    var options = ReadOptions()
    options.limits = ReaderLimits(maxStateBytes: cursor.littleEndianUInt64())
    options.acceptedCodecs = CodecSet(bits: cursor.littleEndianUInt32())
    options.isDecoding = try DecodeRequest.isSet(&cursor)
    shape = try InputShape(parsing: &cursor)
    let maxFirst = cursor.littleEndianUInt64()
    maxFirstBytes = maxFirst == .max ? nil : maxFirst
    hasOverflow = try cursor.flag()
    parent = Int32(bitPattern: cursor.littleEndianUInt32())
    requiresAllWalls = try DecodeRequest.isSet(&cursor)
    if number == .extract {
      task = .door(.extract(try cursor.streamName()))
    } else {
      guard cursor.firstNonZero(count: 40) == nil else { throw MessageError() }
      switch number {
      case .verify: task = .door(.verify)
      case .list: task = .door(.list)
      case .carry: task = .carry
      case .state: task = .state(listsSections: false)
      case .stateAndSections: task = .state(listsSections: true)
      case .verifySaveFile: task = .saveFile(.verify)
      case .listSaveFile: task = .saveFile(.list)
      case .extractSaveFile: task = .saveFile(.extract)
      case .extract: throw MessageError()
      }
    }
    wantsNotes = try cursor.flag()
    self.options = options
  }

  private static func isSet(_ cursor: inout ByteCursor) throws(MessageError) -> Bool {
    switch cursor.littleEndianUInt32() {
    case 0: false
    case 1: true
    default: throw MessageError()
    }
  }

  /// Most that this task may write.
  public var maxOutputBytes: UInt64 {
    switch task {
    case .door(.verify), .state(listsSections: false): 0
    case .door(.extract), .carry: options.limits.maxStateBytes
    case .door(.list): RecordEntry.maxListBytes
    case .state: DecodeRequest.maxSectionsBytes
    // A list of a disk's records, or a state.
    case .saveFile(.list):
      max(
        RecordEntry.maxListBytes,
        maxStateFileBytes + DecodeRequest.maxSectionsBytes
          + UInt64(SaveFileEntry.maxCount * SaveFileEntry.byteCount))
    case .saveFile: maxStateFileBytes
    }
  }

  private static let maxSectionsBytes = UInt64(
    StateSection.maxCount * StateSection.messageBytes)

  /// Most bytes of a state with its trailer, and of what is kept of zeros behind it.
  public var maxStateFileBytes: UInt64 {
    options.limits.maxStateBytes + StateFile.maxTrailerBytes + StateFile.keptZeroBytes
  }

  /// Memory beside the program: records and chunks of at most 1 MiB twice, zlib's window, and room;
  /// and the state where its sections are looked for.
  public var maxMemoryBytes: UInt64 {
    let usual: UInt64 = 32 << 20
    switch task {
    case .state(listsSections: true): return usual + (shape.totalBytes ?? 0)
    case .saveFile(.list): return usual + maxStateFileBytes
    default: return usual
    }
  }

  /// Processor time: what the slowest codec takes on a slow machine (5 MB/s), twice for a state
  /// that is checked and listed, and some. Of a save file, a guest's memory with it, what the shortest
  /// records take (20 MB/s); how long a pipe is nobody knows, 1 TiB at most.
  public var maxSeconds: UInt64 {
    let bytes = min(shape.totalBytes ?? .max, options.limits.maxDiskBytes)
    let seconds = 20 + (bytes + options.limits.maxStateBytes) / 5_000_000
    guard case .saveFile = task else { return seconds }
    return seconds + (shape.totalBytes ?? 1 << 40) / 20_000_000
  }
}
