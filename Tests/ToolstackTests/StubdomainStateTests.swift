import SaveDisk
import SystemIO
import Testing
import Transfer

@testable import Toolstack
@testable import Xen

// Invariants:
// - a stubdomain that does not run is named as such, with what to do, before anything is waited for; one
//   that libxl is going to start is waited for;
// - xenstore is reached by its socket, and by the kernel's device only where there is no socket.

@Suite struct StubdomainStateTests {
  static let place = SystemPath(word: "domain 6")

  /// Flags as `getdomaininfo` gives them: bits 2, 3 and, from 16 on, why it has shut down.
  @Test(
    arguments: [
      (0x22, DomainState.runs), (0x12, .runs), (0x2A, .paused), (0x0A, .paused),
      (0x2_0006, .suspended), (0x2_000E, .suspended), (0x0_0004, .shutDown), (0x3_0004, .shutDown),
      (0x1_000C, .shutDown),
    ] as [(UInt32, DomainState)])
  func `what Xen says`(flags: UInt32, state: DomainState) {
    #expect(DomainState(flags: flags) == state)
  }

  @Test(arguments: [
    (DomainState.paused, "is paused; `xl unpause 6`"), (.suspended, "is suspended; whoever"),
    (.shutDown, "has shut down"),
  ])
  func `one that stands`(state: DomainState, words: String) throws {
    for mayBePaused in [false, true] where !mayBePaused || state != .paused {
      let error = try #require(throws: ToolError.self) {
        try StubdomainState.requireRunning(state, 6, Self.place, mayBePaused: mayBePaused)
      }
      #expect(error.status == .stubdomainFailed)
      #expect(error.text.text.hasPrefix("domain 6: the stubdomain \(words)"))
    }
  }

  @Test func `one that runs, or is going to`() throws {
    try StubdomainState.requireRunning(.runs, 6, Self.place, mayBePaused: false)
    try StubdomainState.requireRunning(nil, 6, Self.place, mayBePaused: false)
    try StubdomainState.requireRunning(.paused, 6, Self.place, mayBePaused: true)
  }

  @Test func `the way to xenstore`() {
    func usual(_ socket: StaticString, _ device: StaticString) -> String {
      StubdomainPlace.usual(SystemPath(word: socket), SystemPath(word: device)).bytes
        .elementsEqual(SystemPath(word: device).bytes) ? "device" : "socket"
    }
    #expect(usual("/nowhere/socket", "/dev/null") == "device")
    #expect(usual("/etc/passwd", "/dev/null") == "socket")
    #expect(usual("/nowhere/socket", "/nowhere/device") == "socket")
    #expect(usual("/nowhere/socket", "/etc/passwd") == "socket")
  }
}
