import SaveDisk
import SystemIO

extension PlainText {
  /// "pread: Input/output error"
  public mutating func append(_ error: SystemError) {
    append(escaping: error.text)
  }

  public mutating func append(_ failure: DoorFailure) {
    switch failure {
    case .disk(let error): error.describe(into: &self)
    case .input(let error):
      append("cannot read it: ")
      append(error)
    case .output(let error):
      append("cannot write the output: ")
      append(error)
    case .noSuchStream: append("the save disk is good, but has no stream of that name")
    case .decoder(let failure): append(failure)
    }
  }

  public mutating func append(_ failure: DecoderFailure) {
    switch failure {
    case .notFound:
      append("stubsave-decode is neither beside stubsave nor in ../lib/stubsave, so nothing is ")
      append("looked at; --allow-weak-sandbox looks at it without a sandbox")
    case .withoutWalls(let bits):
      append("the decoder's sandbox is not complete, so nothing is looked at: missing ")
      append(walls: bits)
      append("; --allow-weak-sandbox does without")
    case .system(let error):
      append("the decoder could not be run: ")
      append(error)
    case .deadline: append("looking at it took too long; --timeout sets how long it may take")
    case .interrupted: append("interrupted by a signal")
    case .exited(let code):
      append("the decoder ended in the middle, with code ")
      append(UInt64(code))
    case .signal(let number):
      append("the decoder was ended by signal ")
      append(UInt64(max(number, 0)))
      append(signalWords(number))
      append("; what it has written is thrown away")
    case .nonsense: append("the decoder gave an answer that makes no sense")
    }
  }

  public mutating func append(_ error: WriteError) {
    switch error {
    case .refused(let error): append(error)
    case .store(let error):
      append("cannot write the disk: ")
      append(error)
    case .source(let error):
      append("cannot read the state: ")
      append(error)
    case .diskTooSmall(let capacity, let needed):
      append("the disk is too small: it has ")
      append(capacity)
      append(" bytes, this state needs ")
      append(needed)
    case .overMaxRawBytes(let limit):
      append("the state is larger than the limit: ")
      append(limit)
      append(" bytes")
    }
  }

  private mutating func append(_ error: EncodingError) {
    append("internal error of the writer: ")
    switch error {
    case .broken: append("called again after a failure")
    case .outOfOrder: append("called out of order")
    case .noRoom: append("no room")
    case .overMaxRawBytes: append("over the header's limit")
    case .selfCheck(let error):
      append("what it built did not pass the check before writing (bad memory?): ")
      error.describe(into: &self)
    }
  }

  /// What such a signal tells of the decoder.
  private func signalWords(_ number: Int32) -> StaticString {
    switch number {
    case Signals.badSystemCall: " (a system call that is not for it)"
    case Signals.processorTime: " (its processor time was used up)"
    case Signals.kill: " (killed)"
    default: " (a crash)"
    }
  }
}
