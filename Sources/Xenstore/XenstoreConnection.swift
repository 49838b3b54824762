import SaveDisk
import SystemIO

/// A connection to xenstored: the kernel's device in a guest, a Unix socket in dom0.
///
/// Its own client, because libxenstore starts a thread for the first watch, and the agent has none;
/// the protocol is small and documented. One request at a time; events of watches that
/// come between are kept.
public struct XenstoreConnection: ~Copyable {
  private let descriptor: FileDescriptor
  private var buffer = AlignedBuffer(byteCount: 65_536)
  private var window = 0..<0
  private var lastRequest: UInt32 = 0
  /// Tokens of watches that have fired, oldest first.
  private var events: [UInt32] = []
  /// More than that many are merged: an event says that something has changed, not what.
  private static let maxEvents = 64
  /// For every wait from now on.
  public var deadline: Deadline

  private init(_ descriptor: consuming FileDescriptor, _ deadline: Deadline) {
    self.descriptor = descriptor
    self.deadline = deadline
  }

  /// In a guest: /dev/xen/xenbus.
  public static func openDevice(
    _ path: SystemPath, deadline: Deadline
  ) throws(XenstoreError) -> XenstoreConnection {
    do throws(SystemError) {
      return XenstoreConnection(try FileDescriptor.open(path, .readWriteNonBlocking), deadline)
    } catch {
      throw .cannotConnect(error)
    }
  }

  /// In dom0: xenstored's socket, or the kernel's device.
  public static func open(
    _ path: SystemPath, deadline: Deadline
  ) throws(XenstoreError) -> XenstoreConnection {
    let kind = try? FileStatus.of(path).kind
    return kind == .characterDevice
      ? try openDevice(path, deadline: deadline) : try connect(to: path, deadline: deadline)
  }

  /// xenstored's socket.
  public static func connect(
    to path: SystemPath, deadline: Deadline
  ) throws(XenstoreError) -> XenstoreConnection {
    while true {
      do throws(SystemError) {
        return XenstoreConnection(try UnixSocket(connectingTo: path).release(), deadline)
      } catch {
        // xenstored lets one wait to be taken, and others come back (listen(2); there is no event).
        guard error.errno == Errno.wouldBlock && !deadline.hasPassed else {
          throw .cannotConnect(error)
        }
      }
      do throws(SystemError) {
        try MonotonicClock.pause(milliseconds: 2)
      } catch {
        throw .system(error)
      }
    }
  }

  /// Over a descriptor that is connected, and does not block. Taken over.
  public static func over(_ number: Int32) -> XenstoreConnection {
    XenstoreConnection(FileDescriptor(owning: number), Deadline(timeoutMilliseconds: .max))
  }

  /// To be waited for: readable when a watch may have fired.
  public var number: Int32 { descriptor.number }

  // MARK: Requests

  public mutating func read(
    _ path: SystemPath, in transaction: UInt32 = 0
  ) throws(XenstoreError) -> [UInt8] {
    try request(XenstoreWire.Kind.read, Self.terminated(path), transaction)
  }

  public mutating func write(
    _ path: SystemPath, _ value: [UInt8], in transaction: UInt32 = 0
  ) throws(XenstoreError) {
    _ = try request(XenstoreWire.Kind.write, Self.terminated(path) + value, transaction)
  }

  /// Does nothing if it is there already.
  public mutating func makeDirectory(
    _ path: SystemPath, in transaction: UInt32 = 0
  ) throws(XenstoreError) {
    _ = try request(XenstoreWire.Kind.makeDirectory, Self.terminated(path), transaction)
  }

  /// With everything below it.
  public mutating func remove(
    _ path: SystemPath, in transaction: UInt32 = 0
  ) throws(XenstoreError) {
    _ = try request(XenstoreWire.Kind.remove, Self.terminated(path), transaction)
  }

  /// - Parameter permissions: such as "n0", "r5": the owner first, then others.
  public mutating func setPermissions(
    _ path: SystemPath, _ permissions: [XenstorePermission], in transaction: UInt32 = 0
  ) throws(XenstoreError) {
    var payload = Self.terminated(path)
    for permission in permissions { payload += permission.encoded }
    _ = try request(XenstoreWire.Kind.setPermissions, payload, transaction)
  }

  /// Fires once at once, and then at every change of the node or below.
  ///
  /// - Parameter token: comes with its events.
  public mutating func watch(_ path: SystemPath, token: UInt32) throws(XenstoreError) {
    _ = try request(
      XenstoreWire.Kind.watch, Self.terminated(path) + Self.decimal(UInt64(token)) + [0], 0)
  }

  public mutating func unwatch(_ path: SystemPath, token: UInt32) throws(XenstoreError) {
    _ = try request(
      XenstoreWire.Kind.unwatch, Self.terminated(path) + Self.decimal(UInt64(token)) + [0], 0)
  }

  /// Whether a domain is there, and has not ended. For dom0.
  public mutating func isIntroduced(domid: UInt32) throws(XenstoreError) -> Bool {
    let reply = try request(
      XenstoreWire.Kind.isDomainIntroduced, Self.decimal(UInt64(domid)) + [0], 0)
    return reply.first == UInt8(ascii: "T")
  }

  // MARK: Events

  /// The token of a watch that has fired; nil if none has. Does not wait.
  public mutating func nextEvent() throws(XenstoreError) -> UInt32? {
    while events.isEmpty {
      guard let message = try takeMessage() else {
        if try fill() == nil { return nil }
        continue
      }
      // A reply that nobody waits for any more.
      if message.header.kind == XenstoreWire.Kind.watchEvent { try note(message.payload) }
    }
    return events.removeFirst()
  }

  /// The tokens of watches that have fired, so many at once that who writes in a loop keeps nobody
  /// here. Does not wait.
  public mutating func takeEvents() throws(XenstoreError) -> [UInt32] {
    var tokens: [UInt32] = []
    for _ in 0...Self.maxEvents {
      guard let token = try nextEvent() else { break }
      if !tokens.contains(token) { tokens.append(token) }
    }
    return tokens
  }

  private mutating func note(_ payload: [UInt8]) throws(XenstoreError) {
    // Path, NUL, token, NUL.
    let words = payload.split(separator: 0)
    guard words.count >= 2, let token = Self.number(words[1]) else { throw .protocolViolation }
    if events.count >= Self.maxEvents && events.contains(token) { return }
    events.append(token)
  }

  // MARK: Messages

  private struct Message {
    let header: XenstoreWire.Header
    let payload: [UInt8]
  }

  /// One request, and its reply's payload.
  mutating func request(
    _ kind: UInt32, _ payload: [UInt8], _ transaction: UInt32
  ) throws(XenstoreError) -> [UInt8] {
    try reply(to: try post(kind, payload, transaction), kind)
  }

  /// Sends a request without waiting for its reply.
  ///
  /// - Returns: its number. Replies come in the order of the requests.
  mutating func post(
    _ kind: UInt32, _ payload: [UInt8], _ transaction: UInt32
  ) throws(XenstoreError) -> UInt32 {
    guard payload.count <= XenstoreWire.maxPayloadBytes else { throw .tooLong }
    lastRequest &+= 1
    try send(
      XenstoreWire.Header(
        kind: kind, request: lastRequest, transaction: transaction,
        payloadBytes: UInt32(payload.count)), payload)
    return lastRequest
  }

  /// Waits for the reply to the request `number`; what comes before it is no reply that anybody
  /// waits for.
  mutating func reply(to number: UInt32, _ kind: UInt32) throws(XenstoreError) -> [UInt8] {
    // What has come counts, though the domain was paused and it is looked at late; but not for ever.
    var late = 0
    while late < 64 {
      if deadline.hasPassed { late += 1 }
      guard let message = try takeMessage() else {
        if try fill() == nil { try wait(toWrite: false) }
        continue
      }
      if message.header.kind == XenstoreWire.Kind.watchEvent {
        try note(message.payload)
        continue
      }
      // A reply to an earlier request, whose deadline had passed.
      guard message.header.request == number else { continue }
      if message.header.kind == XenstoreWire.Kind.error {
        throw XenstoreError(payload: message.payload)
      }
      guard message.header.kind == kind else { throw .protocolViolation }
      return message.payload
    }
    throw .deadline
  }

  private mutating func send(
    _ header: XenstoreWire.Header, _ payload: [UInt8]
  ) throws(XenstoreError) {
    // In one piece: the kernel's device wants a message whole.
    var out = AlignedBuffer(byteCount: XenstoreWire.headerBytes + max(payload.count, 1))
    let count = XenstoreWire.headerBytes + payload.count
    var bytes = out.mutableBytes(0..<count)
    header.encode(into: &bytes)
    unsafe bytes.put(payload.span.bytes, at: XenstoreWire.headerBytes)
    var done = 0
    while done < count {
      do throws(SystemError) {
        done += try descriptor.writeSome(out.bytes(done..<count))
        continue
      } catch {
        guard error.errno == Errno.wouldBlock else { throw Self.failure(error) }
      }
      try wait(toWrite: true)
    }
  }

  private func wait(toWrite: Bool) throws(XenstoreError) {
    let readiness: UnixSocket.Readiness
    do throws(SystemError) {
      readiness = try UnixSocket.wait(
        for: descriptor.number, toWrite: toWrite, until: deadline, signals: nil,
        isForReply: true)
    } catch {
      throw .system(error)
    }
    if readiness == .timedOut { throw .deadline }
  }

  /// A whole message that has come; nil if none has.
  private mutating func takeMessage() throws(XenstoreError) -> Message? {
    guard window.count >= XenstoreWire.headerBytes else { return nil }
    let start = window.lowerBound
    let header = XenstoreWire.Header(
      parsing: buffer.bytes(start..<(start + XenstoreWire.headerBytes)))
    guard header.payloadBytes <= UInt32(XenstoreWire.maxPayloadBytes) else {
      throw .protocolViolation
    }
    let end = start + XenstoreWire.headerBytes + Int(header.payloadBytes)
    guard end <= window.upperBound else { return nil }
    let payload = buffer.array((start + XenstoreWire.headerBytes)..<end)
    window = end..<window.upperBound
    return Message(header: header, payload: payload)
  }

  /// Takes what there is; nil if nothing is there now.
  private mutating func fill() throws(XenstoreError) -> Int? {
    if window.isEmpty || buffer.byteCount - window.upperBound < 2 * XenstoreWire.maxPayloadBytes {
      let waiting = window
      buffer.moveToFront(waiting)
      window = 0..<waiting.count
    }
    let start = window.upperBound
    guard let count = try Self.read(descriptor, into: &buffer, from: start) else { return nil }
    if count == 0 { throw .closed }
    window = window.lowerBound..<(start + count)
    return count
  }

  /// Nil if nothing is there now.
  private static func read(
    _ descriptor: borrowing FileDescriptor, into buffer: inout AlignedBuffer, from start: Int
  ) throws(XenstoreError) -> Int? {
    do throws(SystemError) {
      var target = buffer.mutableBytes(0..<buffer.byteCount)
      return try descriptor.readNow(into: &target, from: start)
    } catch {
      if error.errno == Errno.wouldBlock { return nil }
      throw failure(error)
    }
  }

  private static func failure(_ error: SystemError) -> XenstoreError {
    error.meansClosed ? .closed : .system(error)
  }
}
