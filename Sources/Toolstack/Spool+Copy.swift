import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

extension Spool {
  /// A private copy, at whatever offset, and its length in bytes.
  struct Copy: ~Copyable {
    let file: FileDescriptor
    let bytes: UInt64
    /// Zeros at the input's end beyond `StateFile.keptZeroBytes`, which are not in the copy.
    let paddingBytes: UInt64

    consuming func takeFile() -> FileDescriptor { file }
  }

  enum CopyError: Error {
    case system(SystemError)
    /// More than it may have, without zeros at the end.
    case tooLarge
    /// So many zeros that they are not passed over: a pipe must end somewhere.
    case tooManyZeros
    /// Longer than a look may take.
    case late
  }

  static let maxPaddingBytes = SaveFileWalk.maxPaddingBytes

  /// A private copy of everything that can be read from `input`, but for what it is filled up with.
  ///
  /// - Parameters:
  ///   - maxBytes: without zeros at the end.
  ///   - start: of more than that as many of the first bytes as show what it is.
  static func copy(
    of input: borrowing FileDescriptor, maxBytes: UInt64, in directory: SystemPath,
    start: inout [UInt8]
  ) throws(CopyError) -> Copy {
    var step = Step.goesOn
    do throws(SystemError) {
      var copier = try Copier(input, maxBytes: maxBytes, in: directory)
      while case .goesOn = step { step = try copier.step(input) }
      if case .isOver = step { return try copier.finish() }
      if case .refused(.tooLarge) = step { start = try copier.start() }
    } catch {
      throw .system(error)
    }
    guard case .refused(let error) = step else { preconditionFailure("neither over nor refused") }
    throw error
  }

  private enum Step {
    case goesOn, isOver
    case refused(CopyError)
  }

  /// Piece by piece; holes of a file are passed over.
  private struct Copier: ~Copyable {
    private let maxBytes: UInt64
    private let directory: SystemPath
    private var file: FileDescriptor
    private var isInMemory = true
    private var buffer = AlignedBuffer(byteCount: Copier.pieceBytes)
    /// What is in the copy, and zeros that come after that unless they are the last bytes.
    private var (sum, zeros): (UInt64, UInt64) = (0, 0)
    private let deadline = DecoderSetting.deadline
    private let kind: InputShape.Kind

    private static let pieceBytes = 262_144

    init(
      _ input: borrowing FileDescriptor, maxBytes: UInt64, in directory: SystemPath
    ) throws(SystemError) {
      self.init(
        try FileDescriptor.inMemory(), try InputShape(of: input).kind, maxBytes, directory)
    }

    private init(
      _ file: consuming FileDescriptor, _ kind: InputShape.Kind, _ maxBytes: UInt64,
      _ directory: SystemPath
    ) {
      self.file = file
      self.kind = kind
      self.maxBytes = maxBytes
      self.directory = directory
    }

    mutating func step(_ input: borrowing FileDescriptor) throws(SystemError) -> Step {
      if let deadline {
        // A file may be longer than anybody has time for.
        var isLate = deadline.hasPassed
        if kind == .stream && !isLate { isLate = try !input.isReadable(by: deadline) }
        if isLate { return .refused(.late) }
      }
      var piece = buffer.mutableBytes(0..<Copier.pieceBytes)
      let count = try input.read(into: &piece, from: 0)
      if count == 0 { return .isOver }
      guard let last = buffer.bytes(0..<count).lastNonZero else {
        zeros += UInt64(count)
        if kind == .file { zeros += try passHole(input) }
        return zeros > maxPaddingBytes ? .refused(.tooManyZeros) : .goesOn
      }
      let start = sum + zeros
      sum = start + UInt64(last) + 1
      zeros = UInt64(count - last - 1)
      if sum > maxBytes { return .refused(.tooLarge) }
      try leaveMemory()
      // Zeros before it become a hole.
      try file.writeAll(buffer.bytes(0..<(last + 1)), at: start)
      return .goesOn
    }

    /// - Returns: how many bytes of a hole come here, which are not read.
    private func passHole(_ input: borrowing FileDescriptor) throws(SystemError) -> UInt64 {
      let place = try input.offset()
      let end: UInt64
      if let data = try input.seekToData(from: place) {
        end = data
      } else {
        end = try input.status().bytes
        try input.seek(to: max(place, end))
      }
      return end - min(place, end)
    }

    private mutating func leaveMemory() throws(SystemError) {
      guard isInMemory && sum > maxBytesInMemory else { return }
      let larger = try FileDescriptor.unlinked(in: directory)
      try file.copy(bytes: try file.status().bytes, to: larger)
      file = larger
      isInMemory = false
    }

    borrowing func start() throws(SystemError) -> [UInt8] {
      try file.bytes(count: min(file.status().bytes, UInt64(StateHead.maxBytes)))
    }

    consuming func finish() throws(SystemError) -> Copy {
      let kept = min(zeros, StateFile.keptZeroBytes)
      try file.truncate(to: sum + kept)
      return Copy(file: file, bytes: sum + kept, paddingBytes: zeros - kept)
    }
  }
}
