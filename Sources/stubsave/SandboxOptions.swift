import ArgumentParser
import SystemIO
import Toolstack

/// Options of the commands that look at what may come from a stubdomain.
struct SandboxOptions: ParsableArguments {
  @Flag(
    help: """
      Look at nothing that comes from outside unless the decoder's sandbox is complete: so for root \
      in any case. For others a warning names what is missing.
      """)
  var requireSandbox = false

  @Flag(help: "Look at it all the same, with a warning.")
  var allowWeakSandbox = false

  func validate() throws {
    guard !requireSandbox || !allowWeakSandbox else {
      throw ValidationError("--require-sandbox and --allow-weak-sandbox contradict each other.")
    }
  }

  /// From now on such things are looked at by that process.
  ///
  /// - Parameter timeoutMilliseconds: for each look; nil is no limit.
  func apply(timeoutMilliseconds: UInt64? = nil) {
    Self.apply(
      requiresAllWalls: requireSandbox || (Self.isUsual && !allowWeakSandbox),
      timeoutMilliseconds: timeoutMilliseconds)
  }

  /// As it is without an option.
  static func applyUsual() { apply(requiresAllWalls: isUsual, timeoutMilliseconds: nil) }

  /// A flaw in the decoder costs root the machine; an ordinary user is not always let build all of
  /// the sandbox.
  private static var isUsual: Bool { Isolation.isRoot }

  private static func apply(requiresAllWalls: Bool, timeoutMilliseconds: UInt64?) {
    DecoderSetting.useProgram(
      requiresAllWalls: requiresAllWalls, timeoutMilliseconds: timeoutMilliseconds
    ) { Console.warn($0) }
  }
}
