import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// Listens to dom0 while work for one offer is under way.
struct Attention<Carrier: Cells & ~Copyable>: ~Copyable {
  var carrier: Carrier
  /// What dom0 has said that ends the work; for the machine.
  private var unseen: Reading<Offer>?
  /// Why the carrier gives no more.
  private var end: CellError?

  init(_ carrier: consuming Carrier) { self.carrier = carrier }

  var number: Int32 { carrier.number }

  /// What dom0 says now; nil if it has said nothing new.
  mutating func look() throws(CellError) -> Reading<Offer>? {
    if let end { throw end }
    if let reading = unseen.take() { return reading }
    guard let bytes = try carrier.look() else { return nil }
    return Offer.read(bytes)
  }

  /// Throws once dom0 wants something else than the offer `id`; what is nonsense, or the same
  /// offer again, changes nothing.
  mutating func heed(_ id: Bytes16) throws(WorkFailure) {
    let reading: Reading<Offer>?
    do throws(CellError) {
      reading = try look()
    } catch {
      throw lose(error)
    }
    switch reading {
    case nil, .nonsense?: return
    case .message(.wanted(let same))? where same.id == id: return
    case let other?:
      unseen = other
      throw WorkFailure.withdrawn
    }
  }

  /// Notes that the carrier gives no more; the work that is under way ends.
  mutating func lose(_ error: CellError) -> WorkFailure {
    end = error
    return WorkFailure.withdrawn
  }

  /// Opens the disk of an offer; while it waits for the device it heeds dom0.
  mutating func open(
    _ device: DeviceName, of wanted: Wanted, isWriting: Bool, until end: Deadline,
    _ files: AgentFiles
  ) throws(WorkFailure) -> FileDescriptor {
    let number = self.number
    let deadline = Deadline(timeoutMilliseconds: AgentFiles.deviceTimeoutMilliseconds)
    return try files.open(device, isWriting: isWriting, until: min(deadline, end), carrier: number)
    {
      () throws(WorkFailure) in try heed(wanted.id)
    }
  }
}
