import SaveDisk
import SystemIO

/// Why something was not done by xenstored, or is not known to have been.
public enum XenstoreError: Error, Sendable, Equatable {
  /// There is no such node (ENOENT).
  case notFound
  /// The node may not be read or written by this domain (EACCES, EPERM).
  case permission
  /// Another client has changed what the transaction has looked at; it is to be done again
  /// (EAGAIN).
  case conflict
  /// No more nodes, watches or bytes for this domain (E2BIG, ENOSPC, EQUOTA).
  case quota
  /// xenstored gave another error, by name.
  case refused(PlainErrorName)
  /// There is no xenstore to connect to.
  case cannotConnect(SystemError)
  case system(SystemError)
  case closed
  case deadline
  /// What came is not the protocol.
  case protocolViolation
  /// The request is larger than xenstore takes, or has a NUL in it.
  case tooLong
}

/// Up to 31 bytes of an error's name.
public struct PlainErrorName: Equatable, Sendable {
  public let bytes: [UInt8]
}

extension XenstoreError {
  /// - Parameter payload: of a reply of type ERROR: a name and a NUL.
  init(payload: [UInt8]) {
    let name = payload.prefix { $0 != 0 }.prefix(31)
    func `is`(_ word: StaticString) -> Bool {
      unsafe name.elementsEqual(
        UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }
    if `is`("ENOENT") {
      self = .notFound
    } else if `is`("EACCES") || `is`("EPERM") {
      self = .permission
    } else if `is`("EAGAIN") {
      self = .conflict
    } else if `is`("E2BIG") || `is`("ENOSPC") || `is`("EQUOTA") {
      self = .quota
    } else {
      self = .refused(PlainErrorName(bytes: [UInt8](name)))
    }
  }
}

extension PlainText {
  public mutating func append(_ error: XenstoreError) {
    append("xenstore: ")
    switch error {
    case .notFound: append("no such node")
    case .permission: append("no permission")
    case .conflict: append("changed by somebody else meanwhile")
    case .quota: append("the domain's quota is used up")
    case .refused(let name): append(escaping: name.bytes)
    case .cannotConnect(let error):
      append("cannot connect: ")
      append(escaping: error.text)
    case .system(let error): append(escaping: error.text)
    case .closed: append("xenstored closed the connection")
    case .deadline: append("xenstored did not answer in time")
    case .protocolViolation: append("what came is not the protocol")
    case .tooLong: append("the request is too long")
    }
  }
}
