import SaveDisk

/// Whether a QEMU takes the state of one that was started with other arguments (docs/devices.md).
///
/// QEMU looks for a device for each section of a state, by where the device is: what was saved must be
/// there again. A device that the state says nothing of stays as it is after a reset. Some of what it would
/// take is refused all the same: what a guest has been told once, such as its memory, is not taken back.
public struct DeviceComparison: Sendable {
  /// What the restoring one has beyond the other, as after a reset.
  public private(set) var more: [[UInt8]] = []
  /// What it lacks, of which no state is lost.
  public private(set) var less: [[UInt8]] = []
  /// Another version of the same machine.
  public private(set) var machines: (saved: MachineType, restored: MachineType)?
  /// An option of either that cannot be without, or beside, what the other has.
  public private(set) var refusal: (saved: [UInt8]?, restored: [UInt8]?)?

  /// - Parameters:
  ///   - saved: options as `DeviceArguments` has them, all of them.
  ///   - restored: of the QEMU that is to take the state.
  public init(saved: [[UInt8]], restored: [[UInt8]]) {
    let theirs = saved.map(DeviceOption.init)
    let ours = restored.map(DeviceOption.init)
    compareMachines(theirs, ours)
    compareProcessors(theirs, ours)
    compareSerials(theirs, ours)
    compareRest(
      theirs.filter { $0.hasPlaceInOrder }, ours.filter { $0.hasPlaceInOrder })
    // What is on another bus than it was.
    if !less.isEmpty && !more.isEmpty { refuse(less[0], more[0]) }
  }

  private mutating func refuse(_ saved: [UInt8]?, _ restored: [UInt8]?) {
    if refusal == nil { refusal = (saved, restored) }
  }

  private mutating func compareMachines(_ theirs: [DeviceOption], _ ours: [DeviceOption]) {
    let saved = theirs.filter { $0.kind == .machine }
    let restored = ours.filter { $0.kind == .machine }
    guard saved.map(\.essence) == restored.map(\.essence) else {
      return refuse(saved.first?.text, restored.first?.text)
    }
    if let was = DeviceArguments.machine(of: saved.map(\.text)),
      let now = DeviceArguments.machine(of: restored.map(\.text)), was != now
    {
      machines = (was, now)
    }
  }

  /// More processors, as after `xl vcpu-set`: libxl counts QEMU's own for the restore, and the options that
  /// the saving one was started with do not know of them.
  private mutating func compareProcessors(_ theirs: [DeviceOption], _ ours: [DeviceOption]) {
    let saved = theirs.filter { $0.kind == .processors }
    let restored = ours.filter { $0.kind == .processors }
    guard saved.map(\.essence) == restored.map(\.essence),
      saved.first?.processors ?? 1 <= restored.first?.processors ?? 1
    else { return refuse(saved.first?.text, restored.first?.text) }
  }

  /// They are counted; what is at their other end is nobody's state.
  private mutating func compareSerials(_ theirs: [DeviceOption], _ ours: [DeviceOption]) {
    var saved = theirs.filter { $0.kind == .serial }
    var restored = ours.filter { $0.kind == .serial }
    while saved.last?.isNone == true { saved.removeLast() }
    while restored.last?.isNone == true { restored.removeLast() }
    for (was, now) in zip(saved, restored) where was.isNone != now.isNone {
      return refuse(was.text, now.text)
    }
    if saved.count > restored.count { return refuse(saved[restored.count].text, nil) }
    more += restored[saved.count...].map(\.text)
  }

  /// The order decides about addresses.
  private mutating func compareRest(_ theirs: [DeviceOption], _ ours: [DeviceOption]) {
    var left = theirs[...]
    var misplaced: DeviceOption?
    for option in ours {
      let skipped = left.prefix { $0.essence != option.essence }
      let isFound = skipped.count < left.count
      if isFound && skipped.allSatisfy(\.mayBeMissing) {
        less += skipped.map(\.text)
        left = left.dropFirst(skipped.count + 1)
        if let misplaced, misplaced.kind == option.kind {
          return refuse(nil, misplaced.text)
        }
        continue
      }
      guard option.mayBeMore else {
        return refuse(isFound ? nil : left.first?.text, option.text)
      }
      more.append(option.text)
      if !option.hasAddress { misplaced = option }
    }
    if let missing = left.first(where: { !$0.mayBeMissing }) {
      return refuse(missing.text, more.first)
    }
    less += left.map(\.text)
  }
}
