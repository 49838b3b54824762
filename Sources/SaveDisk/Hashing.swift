import CXXH3
import CXXHash

/// The hashes of formats/save-disk.md, section 3, all from libxxhash.
public enum Hash {
  /// Record hash: XXH3-64 with the transfer seed, as a number (canonical form is big-endian).
  public static func record(_ bytes: RawSpan, seed: UInt64) -> UInt64 {
    unsafe bytes.withUnsafeBytes { unsafe stubsave_xxh3_64($0.baseAddress, $0.count, seed) }
  }

  /// XXH3-128 without a seed, canonical bytes.
  public static func digest(_ bytes: RawSpan) -> Bytes16 {
    unsafe canonical(bytes.withUnsafeBytes { unsafe XXH3_128bits($0.baseAddress, $0.count) })
  }

  /// Most significant byte first, as xxh128sum prints it.
  static func canonical(_ value: XXH128_hash_t) -> Bytes16 {
    Bytes16(first: value.high64.byteSwapped, last: value.low64.byteSwapped)
  }
}

/// XXH3-128 of bytes that come in pieces. Owns libxxhash's state.
@safe public struct DigestStream: ~Copyable {
  private let state: OpaquePointer

  public init() {
    guard let state = unsafe XXH3_createState() else {
      fatalError("out of memory for a hash state of 576 bytes")
    }
    unsafe self.state = state
    reset()
  }

  deinit { unsafe XXH3_freeState(state) }

  public mutating func reset() {
    let code = unsafe XXH3_128bits_reset(state)
    precondition(code == XXH_OK)
  }

  public mutating func update(_ bytes: RawSpan) {
    if bytes.isEmpty { return }
    unsafe bytes.withUnsafeBytes {
      unsafe stubsave_xxh3_128_update(
        UnsafeMutableRawPointer(state), $0.baseAddress, $0.count)
    }
  }

  /// The digest of everything since the last reset; more may follow.
  public func value() -> Bytes16 { unsafe Hash.canonical(XXH3_128bits_digest(state)) }
}

/// XXH3-64 without a seed of bytes that come in pieces. Owns libxxhash's state.
@safe public struct WordHashStream: ~Copyable {
  private let state: OpaquePointer

  public init() {
    guard let state = unsafe XXH3_createState() else {
      fatalError("out of memory for a hash state of 576 bytes")
    }
    unsafe self.state = state
    let code = unsafe XXH3_64bits_reset(state)
    precondition(code == XXH_OK)
  }

  deinit { unsafe XXH3_freeState(state) }

  public mutating func update(_ bytes: RawSpan) {
    if bytes.isEmpty { return }
    let code = unsafe bytes.withUnsafeBytes {
      unsafe XXH3_64bits_update(state, $0.baseAddress, $0.count)
    }
    precondition(code == XXH_OK)
  }

  /// The hash of everything so far, as a number (canonical form is big-endian).
  public func value() -> UInt64 { unsafe XXH3_64bits_digest(state) }
}
