import ArgumentParser
import SystemIO

/// A path on the command line, byte for byte.
struct PathArgument: ExpressibleByArgument {
  let path: SystemPath

  init(path: SystemPath) { self.path = path }

  init?(argument: String) {
    guard !argument.isEmpty, let path = SystemPath(bytes: ArgumentText.decode(argument)) else {
      return nil
    }
    self.path = path
  }

  var defaultValueDescription: String { ArgumentText.encode(path.bytes) }
}
