import ArgumentParser
import SystemIO

/// A path on the command line, byte for byte.
struct PathArgument: ExpressibleByArgument {
  let path: SystemPath

  init?(argument: String) {
    guard !argument.isEmpty, let path = SystemPath(bytes: ArgumentText.decode(argument)) else {
      return nil
    }
    self.path = path
  }
}
