import SaveDisk

extension PlainText {
  /// Which state it is, as the proxy's log has it.
  mutating func append(stateBytes: UInt64, digest: Bytes16) {
    append("a state of ")
    append(stateBytes)
    append(" bytes, xxh128 ")
    append(hex: digest)
  }
}
