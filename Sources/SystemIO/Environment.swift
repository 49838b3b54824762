import CSystem

/// The environment, byte for byte.
public enum Environment {
  /// The value of a variable; nil if it is not set, or empty.
  public static func path(_ name: StaticString) -> SystemPath? {
    name.withUTF8Buffer { buffer -> SystemPath? in
      let name = unsafe UnsafeRawPointer(buffer.baseAddress!).assumingMemoryBound(to: CChar.self)
      guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
      return unsafe SystemPath(copying: value)
    }
  }
}
