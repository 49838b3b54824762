import SaveDisk
import SystemIO

/// Exit codes of stubsave and its agent. Numbers are never reused; unknown means failure. A
/// process ended by signal N shows 128+N.
public enum ExitStatus: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case good = 0
  case internalError = 1
  case corrupt = 2
  case incomplete = 3
  case notASaveDisk = 4
  case busy = 5
  case unsupported = 6
  case overLimit = 7
  case permission = 8
  case stubdomainFailed = 9
  case deadline = 10
  case ioError = 11
  case wouldDestroy = 12
  case qemuRefused = 13
  case notFound = 14
  case usage = 64

  public init(_ verdict: VerdictClass) {
    // The verdict's raw values are exit codes: section 7 of the format document.
    self = ExitStatus(rawValue: verdict.rawValue) ?? .internalError
  }

  public init(_ error: SystemError) {
    switch error.errno {
    case Errno.accessDenied, Errno.notPermitted, Errno.readOnlyFileSystem: self = .permission
    case Errno.noEntry, Errno.notDirectory: self = .notFound
    case Errno.exists: self = .wouldDestroy
    case Errno.busy, Errno.wouldBlock: self = .busy
    case Errno.timedOut: self = .deadline
    default: self = .ioError
    }
  }

  public init(_ error: WriteError) {
    switch error {
    case .refused: self = .internalError
    case .store(let error): self = ExitStatus(error)
    case .source: self = .ioError
    case .diskTooSmall, .overMaxRawBytes: self = .overLimit
    }
  }

  public init(_ failure: DoorFailure) {
    switch failure {
    case .disk(let error): self = ExitStatus(error.verdict)
    case .input(let error), .output(let error): self = ExitStatus(error)
    case .noSuchStream: self = .notFound
    case .decoder(let failure): self = ExitStatus(failure)
    }
  }

  public init(_ failure: DecoderFailure) {
    switch failure {
    case .notFound, .withoutWalls: self = .permission
    case .system(let error): self = ExitStatus(error)
    case .deadline: self = .deadline
    case .interrupted: self = .internalError
    case .exited, .signal, .nonsense: self = .stubdomainFailed
    }
  }
}
