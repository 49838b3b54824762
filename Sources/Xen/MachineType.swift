/// A machine's type, as `-machine` and a state's configuration section name it: "pc-i440fx-7.2",
/// "xenfv", "pc". QEMU gives each a version, and takes old ones away; an alias is the newest's.
public struct MachineType: Equatable, Sendable {
  /// Printable ASCII, or to be escaped when shown.
  public let name: [UInt8]

  public init(_ name: [UInt8]) { self.name = name }

  /// - Parameter objectType: as QEMU's object model has it (`qom-get /machine type`).
  public init(objectType: [UInt8]) {
    let suffix = [UInt8]("-machine".utf8)
    name =
      objectType.count > suffix.count && objectType.suffix(suffix.count).elementsEqual(suffix)
      ? [UInt8](objectType.dropLast(suffix.count)) : objectType
  }

  /// Without its version: "pc-i440fx", "xenfv". Of QEMU's aliases, what they stand for (hw/i386).
  public var family: [UInt8] {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    var end = name.count
    while end > 0, digits ~= name[end - 1] || name[end - 1] == UInt8(ascii: ".") { end -= 1 }
    let hasVersion = end < name.count && end > 1 && name[end - 1] == UInt8(ascii: "-")
    let base = hasVersion ? [UInt8](name[..<(end - 1)]) : name
    switch String(decoding: base, as: UTF8.self) {
    case "pc": return [UInt8]("pc-i440fx".utf8)
    case "q35": return [UInt8]("pc-q35".utf8)
    default: return base
    }
  }

  /// Whether a QEMU that was told to be this machine may be that one: an alias stands for a version.
  public func mayStandFor(_ other: MachineType) -> Bool {
    if name == other.name { return true }
    let aliases = ["pc", "q35", "xenfv", "xenpv", "microvm"].map { [UInt8]($0.utf8) }
    return aliases.contains(name) && family == other.family
  }
}

extension DeviceArguments {
  private static let machineOptions = ["-machine ", "-M "].map { [UInt8]($0.utf8) }
  private static let typeKey = [UInt8]("type=".utf8)

  /// What `-machine` says; nil if it says nothing of a type.
  public var machine: MachineType? { DeviceArguments.machine(of: options) }

  /// The same of options that have been written down.
  public static func machine(of options: [[UInt8]]) -> MachineType? {
    options.lazy.compactMap { parts($0)?.type }.first.map { MachineType($0) }
  }

  /// The same options of another machine's type.
  public func with(_ machine: MachineType) -> DeviceArguments {
    DeviceArguments(
      options: options.map { option in
        guard let parts = DeviceArguments.parts(option) else { return option }
        return parts.before + machine.name + parts.behind
      })
  }

  /// A machine option, taken apart at its type, which is the first part or has the key `type`.
  private static func parts(
    _ option: [UInt8]
  ) -> (before: [UInt8], type: [UInt8], behind: [UInt8])? {
    guard let start = machineOptions.first(where: { option.starts(with: $0) }) else { return nil }
    var position = start.count
    for part in option[position...].split(
      separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    {
      let end = position + part.count
      if part.starts(with: typeKey) {
        let first = position + typeKey.count
        return ([UInt8](option[..<first]), [UInt8](option[first..<end]), [UInt8](option[end...]))
      }
      if position == start.count && !part.contains(UInt8(ascii: "=")) && !part.isEmpty {
        return (start, [UInt8](part), [UInt8](option[end...]))
      }
      position = end + 1
    }
    return nil
  }
}
