import ArgumentParser
import Toolstack

/// Options of the commands that look at what may come from a stubdomain.
struct SandboxOptions: ParsableArguments {
  @Flag(
    help: """
      Look at nothing that comes from outside unless all walls around the process that does it \
      stand; without this a warning names what is missing.
      """)
  var requireSandbox = false

  /// From now on such things are looked at by that process.
  func apply() { Self.apply(requiresAllWalls: requireSandbox) }

  static func apply(requiresAllWalls: Bool) {
    DecoderSetting.useProgram(requiresAllWalls: requiresAllWalls) { Console.complain($0) }
  }
}
