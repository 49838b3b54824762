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
      end = error
      throw WorkFailure.withdrawn
    }
    switch reading {
    case nil, .nonsense?: return
    case .message(.wanted(let same, _))? where same == id: return
    case let other?:
      unseen = other
      throw WorkFailure.withdrawn
    }
  }

  /// Opens the disk of an offer; while it waits for the device it heeds dom0.
  mutating func open(
    _ device: DeviceName, of id: Bytes16, isWriting: Bool, _ files: AgentFiles
  ) throws(WorkFailure) -> FileDescriptor {
    let number = self.number
    return try files.open(device, isWriting: isWriting, carrier: number) {
      () throws(WorkFailure) in try heed(id)
    }
  }
}
