/// What stands in libxl's place: a shell script, so that whoever looks sees what it does, and so
/// that stubdomains start without stubsave, too, should that be gone.
enum HookScript {
  /// - Parameters:
  ///   - program: stubsave.
  ///   - aside: libxl's own proxy.
  ///   - place: libxl's place, if it is none that is looked at without being told.
  ///   - options: of `stubsave qmp-proxy`.
  static func text(
    program: String, aside: String, place: String?, options: [String]
  ) -> String {
    let words = [program, "qmp-proxy", "--program", aside] + options
    let hint = place.map { "\n# It needs `--place \($0)`." } ?? ""
    return """
      #!/bin/sh
      \(HookEntry.mark)\(hint)
      if [ -x \(quoted(program)) ]; then
        exec \(words.map(quoted).joined(separator: " ")) "$@"
      fi
      exec \(quoted(aside)) "$@"

      """
  }

  private static func quoted(_ word: String) -> String {
    let plain = word.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        || [UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_")]
          .contains(byte)
    }
    if plain && !word.isEmpty { return word }
    return "'"
      + word.split(separator: "'", omittingEmptySubsequences: false)
      .joined(separator: #"'\''"#) + "'"
  }
}
