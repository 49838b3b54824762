import Testing

@testable import Xen

// Invariants:
// - a virtual device has the name and the number that Xen's interface gives them, never a name that
//   toolstacks give to a guest's own disks;
// - what differs between two starts of the same machine is no difference of devices, and what
//   changes a device is one;
// - a block device's numbers are read as any tool writes them, and nothing else is a number.

@Suite struct VirtualDeviceTests {
  @Test func `names and numbers are those of xen-vbd-interface`() {
    #expect(VirtualDevice(name: [UInt8]("xvdz".utf8))?.number == 268_441_856)
    #expect(VirtualDevice(name: [UInt8]("xvdy".utf8))?.number == 268_441_600)
    #expect(VirtualDevice(number: 268_441_856)?.name == [UInt8]("xvdz".utf8))
    #expect(VirtualDevice.candidates.count == 10)
  }

  @Test(arguments: ["xvda", "xvdd", "xvdp", "xvdaa", "sda", "", "xvdz1", "xvd{"])
  func `no other name is taken`(name: String) {
    #expect(VirtualDevice(name: [UInt8](name.utf8)) == nil)
  }
}

@Suite struct DeviceArgumentsTests {
  static func arguments(_ line: String) -> DeviceArguments {
    DeviceArguments(words: line.split(separator: " ").map { [UInt8]($0.utf8) })
  }

  static let line =
    "-xen-domid 5 -name one -machine xenfv -m 64 -device rtl8139,id=nic0,netdev=net0,mac=00:16:3e:00:00:01"
    + " -netdev type=tap,id=net0,ifname=vif5.0-emu -drive file=/dev/xvda,if=ide,index=0 -nodefaults"

  @Test func `only what makes devices counts`() {
    #expect(
      Self.arguments(Self.line).options.map { String(decoding: $0, as: UTF8.self) } == [
        "-machine xenfv", "-m 64", "-device rtl8139,id=nic0,netdev=net0,mac=00:16:3e:00:00:01",
        "-drive if=ide,index=0", "-nodefaults",
      ])
  }

  @Test(arguments: [
    ("-xen-domid 5", "-xen-domid 17"), ("vif5.0-emu", "vif17.0-emu"), ("-name one", "-name two"),
    ("/dev/xvda", "/dev/xvdb"), ("-nodefaults", "-nodefaults -incoming fd:3"),
  ])
  func `another start is no difference`(was: String, now: String) {
    let other = Self.line.replacing(was, with: now)
    #expect(other != Self.line)
    #expect(Self.arguments(other).digest == Self.arguments(Self.line).digest)
  }

  @Test(arguments: [
    ("rtl8139", "e1000"), ("00:01", "00:02"), ("-m 64", "-m 128"), ("index=0", "index=1"),
    (" -nodefaults", ""),
  ])
  func `another device is one`(was: String, now: String) {
    let other = Self.line.replacing(was, with: now)
    #expect(other != Self.line)
    #expect(Self.arguments(other).digest != Self.arguments(Self.line).digest)
  }

  @Test func `a last option without its value is passed over`() {
    #expect(Self.arguments("-device").options.isEmpty)
  }
}

@Suite struct PhysicalDeviceTests {
  @Test(arguments: [("7:1f", 7, 31), ("fd:0", 253, 0), ("07:1F", 7, 31), ("ffffffff:0", ~0, 0)])
  func `major and minor`(text: String, major: UInt32, minor: UInt32) throws {
    let found = try #require(AttachedDisk.majorMinor([UInt8](text.utf8)))
    #expect(found == (major, minor))
  }

  // The first two were read as 7:1f until a fuzzer tried them.
  @Test(arguments: ["+7:1f", ":7:1f:", "", ":", "7:", ":1f", "7", "7:1f:0", "100000000:0", "7:g"])
  func `no device`(text: String) {
    #expect(AttachedDisk.majorMinor([UInt8](text.utf8)) == nil)
  }
}
