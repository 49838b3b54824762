import SaveDisk

/// The wire protocol of xenstore (xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt), as far
/// as it is used here: numbers are Xen's.
enum XenstoreWire {
  /// Header: type, request id, transaction id, length of the payload; u32 each, in the host's byte
  /// order, which is little-endian wherever Xen runs.
  static let headerBytes = 16
  /// XENSTORE_PAYLOAD_MAX.
  static let maxPayloadBytes = 4096

  enum Kind {
    static let directory: UInt32 = 1
    static let read: UInt32 = 2
    static let watch: UInt32 = 4
    static let unwatch: UInt32 = 5
    static let transactionStart: UInt32 = 6
    static let transactionEnd: UInt32 = 7
    static let write: UInt32 = 11
    static let makeDirectory: UInt32 = 12
    static let remove: UInt32 = 13
    static let setPermissions: UInt32 = 14
    static let watchEvent: UInt32 = 15
    static let error: UInt32 = 16
    static let isDomainIntroduced: UInt32 = 17
    static let directoryPart: UInt32 = 22
  }

  struct Header: Equatable {
    var kind: UInt32
    var request: UInt32
    var transaction: UInt32
    var payloadBytes: UInt32

    init(kind: UInt32, request: UInt32, transaction: UInt32, payloadBytes: UInt32) {
      self.kind = kind
      self.request = request
      self.transaction = transaction
      self.payloadBytes = payloadBytes
    }

    /// - Parameter bytes: at least 16.
    init(parsing bytes: RawSpan) {
      var cursor = ByteCursor(bytes)
      kind = cursor.littleEndianUInt32()
      request = cursor.littleEndianUInt32()
      transaction = cursor.littleEndianUInt32()
      payloadBytes = cursor.littleEndianUInt32()
    }

    func encode(into bytes: inout MutableRawSpan) {
      bytes.put(kind, at: 0)
      bytes.put(request, at: 4)
      bytes.put(transaction, at: 8)
      bytes.put(payloadBytes, at: 12)
    }
  }
}
