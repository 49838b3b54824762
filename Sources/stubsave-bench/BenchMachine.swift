import Foundation
import QEMUMonitor
import SaveDisk
import SystemIO

/// A real QEMU, stopped, with settings that stand in for Xen's, and its monitor.
final class BenchMachine {
  /// What QEMU writes, byte for byte.
  let state: [UInt8]
  let version: String
  private let workplace: Workplace
  private var monitor: Monitor

  init(in workplace: Workplace) throws {
    self.workplace = workplace
    let socket = workplace.name("qmp")
    let settings = """
      -M pc,suppress-vmdesc=on -nodefaults -no-user-config -accel tcg -m 16 -display none -S \
      -global migration.send-section-footer=off -global migration.send-configuration=off \
      -global migration.store-global-state=off -global apic.vapic=off -rtc clock=vm \
      -device VGA -netdev user,id=net -device e1000,netdev=net
      """
    // Returns when the monitor can be connected to.
    try workplace.shell(
      "exec qemu-system-x86_64 \(settings) -qmp unix:\(socket),server=on,wait=off -daemonize")
    monitor = try Monitor.connect(
      to: try workplace.path("qmp"), deadline: Deadline(timeoutMilliseconds: 3_600_000))
    version = String(decoding: monitor.version.bytes, as: UTF8.self)
    try monitor.saveDeviceState(to: try workplace.path("first"))
    state = [UInt8](try Data(contentsOf: URL(fileURLWithPath: workplace.name("first"))))
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
