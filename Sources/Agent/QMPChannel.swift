import SaveDisk
import SystemIO
import Vchan

/// `channel`: QEMU's QMP for dom0 (formats/rendezvous.md, section 7.4). What vchan-socket-proxy does in
/// other images, but no client is lost that follows another.
///
/// A process of its own, so that QMP goes on while a disk is written, and the other way round.
struct QMPChannel: ~Copyable {
  private let place: Place
  private var vchan: VchanServer
  private var qemu: UnixSocket?
  private var toQEMU = BytesUnderWay()
  private var toClient = BytesUnderWay()
  /// The last byte that was written to the client ended no line.
  private var isCut = false

  struct Place {
    let monitor: SystemPath
    let vchan: SystemPath
    /// The toolstack's domain.
    static let client: UInt16 = 0
  }

  private static let lineFeed = UInt8(ascii: "\n")
  /// QEMU's one place for who waits is taken while it lets go of the client before.
  private static let connectMilliseconds: UInt64 = 5_000

  static func open(_ place: Place) throws(ChannelEnd) -> QMPChannel {
    do throws(VchanError) {
      return QMPChannel(place, try VchanServer.open(for: Place.client, at: place.vchan))
    } catch {
      throw .vchan(error)
    }
  }

  private init(_ place: Place, _ vchan: consuming VchanServer) {
    self.place = place
    self.vchan = vchan
  }

  /// Returns when this vchan can be used no more, and another has to be made.
  ///
  /// - Parameter signals: the number of `EndingSignals`.
  mutating func run(signals: Int32) throws(ChannelEnd) {
    do throws(PeerFailure) {
      while true {
        try heedClient()
        try pass()
        try wait(signals)
      }
    } catch {
      if case .end(let end) = error { throw end }
    }
  }

  // MARK: Clients

  private mutating func heedClient() throws(PeerFailure) {
    switch vchan.look() {
    case .same: return
    case .none:
      if hasQEMU { try leave(isFollowed: false) }
    case .another:
      if hasQEMU { try leave(isFollowed: true) }
      try enter()
    }
  }

  private mutating func enter() throws(PeerFailure) {
    do throws(SystemError) {
      qemu = try UnixSocket.connecting(
        to: place.monitor,
        until: Deadline(timeoutMilliseconds: QMPChannel.connectMilliseconds))
    } catch {
      throw .end(.qemu(error))
    }
  }

  /// Nothing of this client is for the next.
  private mutating func leave(isFollowed: Bool) throws(PeerFailure) {
    qemu = nil
    toQEMU.drop()
    toClient.drop()
    do throws(VchanError) {
      try vchan.forgetClient(isFollowed: isFollowed)
    } catch {
      throw PeerFailure(error)
    }
    // The next one reads what is left of a line. An end of line in front of the greeting is white space for
    // libxl, which looks for CR LF.
    if isFollowed && isCut { toClient.begin(with: QMPChannel.lineFeed) }
    isCut = false
  }

  private var hasQEMU: Bool {
    switch qemu {
    case .some: true
    case .none: false
    }
  }

  // MARK: Bytes

  private mutating func pass() throws(PeerFailure) {
    guard hasQEMU else { return }
    try sendToQEMU()
    if toQEMU.isEmpty {
      do throws(VchanError) { try toQEMU.fill(from: &vchan) } catch { throw PeerFailure(error) }
      try sendToQEMU()
    }
    try sendToClient()
    if toClient.isEmpty {
      // QEMU drops a client only when it ends.
      guard try receiveFromQEMU() else { throw .renew }
      try sendToClient()
    }
  }

  private mutating func sendToQEMU() throws(PeerFailure) {
    if toQEMU.isEmpty { return }
    do throws(SystemError) {
      toQEMU.take(try qemu?.send(toQEMU.bytes, passing: nil) ?? 0)
    } catch {
      if error.meansClosed { throw .renew }
      throw .end(.qemu(error))
    }
  }

  private mutating func sendToClient() throws(PeerFailure) {
    if toClient.isEmpty { return }
    do throws(VchanError) {
      if let last = try toClient.send(to: &vchan) { isCut = last != QMPChannel.lineFeed }
    } catch {
      throw PeerFailure(error)
    }
  }

  /// - Returns: false at the end.
  private mutating func receiveFromQEMU() throws(PeerFailure) -> Bool {
    do throws(SystemError) {
      switch qemu {
      case .some(let socket): return try toClient.fill(from: socket)
      case .none: return true
      }
    } catch {
      if error.meansClosed { return false }
      throw .end(.qemu(error))
    }
  }

  private mutating func wait(_ signals: Int32) throws(PeerFailure) {
    // Its end ends each wait: it is looked at once there is room for what came before it.
    let isWanted = toClient.isEmpty || !toQEMU.isEmpty
    let socket: Int32? =
      switch qemu {
      case .some(let socket) where isWanted: socket.number
      default: nil
      }
    let interest = socket.map {
      Readable.Interest($0, toRead: toClient.isEmpty, toWrite: !toQEMU.isEmpty)
    }
    let ready: [Bool]
    do throws(SystemError) {
      ready = try Readable.wait(
        for: [vchan.number.map { Readable.Interest($0) }, Readable.Interest(signals), interest],
        until: vchan.restDeadline ?? Deadline(timeoutMilliseconds: .max))
    } catch {
      throw .end(.system(error))
    }
    if ready[1] { throw .end(.interrupted) }
    if ready[0] {
      do throws(VchanError) { try vchan.takeEvent() } catch { throw PeerFailure(error) }
    }
  }
}

/// Why the channel serves no longer.
enum ChannelEnd: Error {
  case vchan(VchanError)
  case qemu(SystemError)
  case system(SystemError)
  /// A signal, which ends the process as soon as it is let through.
  case interrupted
}

/// What ends a client's connection, or all of it.
private enum PeerFailure: Error {
  /// This vchan can be used no more.
  case renew
  case end(ChannelEnd)

  init(_ error: VchanError) {
    switch error {
    case .closed, .nonsense: self = .renew
    case .cannotOpen, .system: self = .end(.vchan(error))
    }
  }
}

/// Bytes that have come from one side, on their way to the other.
private struct BytesUnderWay: ~Copyable {
  private var buffer = AlignedBuffer(byteCount: 4096)
  private var window = 0..<0

  var isEmpty: Bool { window.isEmpty }

  var bytes: RawSpan {
    @_lifetime(borrow self)
    borrowing get { buffer.bytes(window) }
  }

  mutating func drop() { window = 0..<0 }

  /// The first `count` have gone.
  mutating func take(_ count: Int) { window = (window.lowerBound + count)..<window.upperBound }

  mutating func begin(with byte: UInt8) {
    var room = buffer.mutableBytes(0..<1)
    room.storeBytes(of: byte, toByteOffset: 0, as: UInt8.self)
    window = 0..<1
  }

  /// What fits.
  ///
  /// - Returns: the last byte that did.
  mutating func send(to vchan: inout VchanServer) throws(VchanError) -> UInt8? {
    take(try vchan.write(bytes))
    let end = window.lowerBound
    return end == 0 ? nil : unsafe buffer.bytes((end - 1)..<end).unsafeLoad(as: UInt8.self)
  }

  /// Once it is empty.
  mutating func fill(from vchan: inout VchanServer) throws(VchanError) {
    var room = buffer.mutableBytes(0..<buffer.byteCount)
    window = 0..<(try vchan.read(into: &room, from: 0))
  }

  /// - Returns: false at the end.
  mutating func fill(from socket: borrowing UnixSocket) throws(SystemError) -> Bool {
    var room = buffer.mutableBytes(0..<buffer.byteCount)
    guard let count = try socket.receive(into: &room, from: 0) else { return true }
    window = 0..<count
    return count > 0
  }
}
