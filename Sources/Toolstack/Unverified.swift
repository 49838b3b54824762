import SaveDisk
import SystemIO
import Transfer

extension PlainText {
  /// What is to be said of a state without a trailer that is used all the same.
  public static var unverified: PlainText {
    var text = PlainText()
    text.append("unverified: it has no trailer, so whether it is what was saved cannot be checked")
    return text
  }

  /// What is to be said of a guest's records without QEMU's state, if bytes follow their END.
  static var endIsUncertain: PlainText {
    var text = PlainText()
    text.append("bytes follow its end, which is zeros: whether records were lost cannot be told")
    return text
  }

  /// What is to be said of zeros behind a good trailer; nil if there are none.
  public static func remark(paddingBytes: UInt64) -> PlainText? {
    if paddingBytes == 0 { return nil }
    var text = PlainText()
    text.append(paddingBytes)
    text.append(paddingBytes == 1 ? " zero byte follows" : " zero bytes follow")
    text.append(" the trailer; left out")
    return text
  }
}

extension ToolError {
  /// That a state has no trailer where one is required.
  ///
  /// - Parameter way: the option that takes it all the same, if the command has one.
  init(unverified path: SystemPath, way: StaticString?) {
    self.init(.incomplete, path) { text in
      text.append("has no trailer, or was cut before it: ")
      text.append("whether it is what was saved cannot be checked")
      if let way {
        text.append("; ")
        text.append(way)
        text.append(" takes it all the same")
      }
    }
  }
}
