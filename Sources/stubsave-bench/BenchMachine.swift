import Foundation
import QEMUMonitor
import SaveDisk
import SystemIO

/// A real QEMU, stopped, with settings that stand in for Xen's, and its monitor.
final class BenchMachine {
  /// What QEMU writes, byte for byte.
  let state: [UInt8]
  let version: String
  /// A monitor for another program.
  let secondSocket: String
  private let workplace: Workplace
  private var monitor: Monitor

  init(in workplace: Workplace) throws {
    self.workplace = workplace
    let socket = workplace.name("qmp")
    secondSocket = workplace.name("qmp2")
    try Self.start(
      "-qmp unix:\(socket),server=on,wait=off -qmp unix:\(secondSocket),server=on,wait=off",
      workplace)
    monitor = try Monitor.connect(
      to: try workplace.path("qmp"), deadline: Deadline(timeoutMilliseconds: 3_600_000))
    version = String(decoding: monitor.version.bytes, as: UTF8.self)
    try monitor.saveDeviceState(to: try workplace.path("first"))
    state = [UInt8](try Data(contentsOf: URL(fileURLWithPath: workplace.name("first"))))
  }

  /// Returns when the monitors can be connected to.
  private static func start(_ options: String, _ workplace: Workplace) throws {
    let settings = """
      -M pc,suppress-vmdesc=on -nodefaults -no-user-config -accel tcg -m 16 -display none -S \
      -global migration.send-section-footer=off -global migration.send-configuration=off \
      -global migration.store-global-state=off -global apic.vapic=off -rtc clock=vm \
      -device VGA -netdev user,id=net -device e1000,netdev=net
      """
    try workplace.shell("exec qemu-system-x86_64 \(settings) \(options) -daemonize")
  }

  /// A QEMU that waits for a state.
  final class Incoming {
    let socket: String
    private let second: String
    private let workplace: Workplace

    init(in workplace: Workplace) throws {
      self.workplace = workplace
      (socket, second) = (workplace.name("in"), workplace.name("in2"))
      try BenchMachine.start(
        "-incoming defer -qmp unix:\(socket),server=on,wait=off "
          + "-qmp unix:\(second),server=on,wait=off", workplace)
    }

    func load(_ state: borrowing FileDescriptor) throws {
      var monitor = try Monitor.connect(
        to: try workplace.path("in"), deadline: Deadline(timeoutMilliseconds: 60_000))
      try monitor.load(state, bytes: try state.status().bytes)
    }

    func quit() throws {
      var monitor = try Monitor.connect(
        to: try workplace.path("in2"), deadline: Deadline(timeoutMilliseconds: 60_000))
      try monitor.quit()
    }
  }

  deinit { try? monitor.quit() }

  /// Has QEMU write its state straight to a file or device, as it does; without fsync.
  func save(to path: SystemPath) throws { try monitor.saveDeviceState(to: path) }

  /// Has QEMU write its state into a file that it gets by descriptor.
  func save(to sink: borrowing BoundedFile) throws {
    let set = try monitor.addDescriptor(sink.writer.number)
    try monitor.saveDeviceState(toSet: set)
    try monitor.removeDescriptors(set: set)
  }
}
