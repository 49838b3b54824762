import Foundation
import TestSupport
import Testing

/// An empty directory for one test, in which it runs the programs; gone afterwards.
///
/// What the programs print is kept beside it, so that the directory holds what they made and
/// nothing else.
final class Workbench: Sendable {
  /// Where the programs run; a plain name is a path in it.
  let directory: URL
  private let root: URL

  init() throws {
    root = FileManager.default.temporaryDirectory.appendingPathComponent(
      "stubsave-tests-\(UUID().uuidString)", isDirectory: true)
    directory = root.appendingPathComponent("work", isDirectory: true)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  deinit {
    do {
      try FileManager.default.removeItem(at: root)
    } catch {
      Issue.record(error, "the test's directory stays behind: \(root.path)")
    }
  }

  func url(_ name: String) -> URL { directory.appendingPathComponent(name) }

  /// A new, empty file outside of `directory`.
  func captureFile() throws -> (url: URL, handle: FileHandle) {
    let url = root.appendingPathComponent(UUID().uuidString)
    try Data().write(to: url)
    return (url, try FileHandle(forWritingTo: url))
  }

  func put(_ data: Data, _ name: String) throws { try data.write(to: url(name)) }

  func bytes(_ name: String) throws -> Data { try Data(contentsOf: url(name)) }

  /// Everything in the directory, hidden files too.
  func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
  }

  func makeDirectory(_ name: String) throws {
    try FileManager.default.createDirectory(at: url(name), withIntermediateDirectories: false)
  }

  private func number(_ key: FileAttributeKey, _ name: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: url(name).path)
    return try #require((attributes[key] as? NSNumber)?.intValue)
  }

  /// The permission bits.
  func mode(_ name: String) throws -> Int { try number(.posixPermissions, name) & 0o7777 }

  func inode(_ name: String) throws -> Int { try number(.systemFileNumber, name) }

  func byteCount(_ name: String) throws -> Int { try number(.size, name) }

  /// From the header (formats/save-disk.md, section 4).
  func transferID(_ name: String) throws -> Data {
    let bytes = try bytes(name)
    try #require(bytes.count >= 48)
    return bytes.subdata(in: 32..<48)
  }
}

extension Repository {
  /// A path from `fixtures/` on, made absolute.
  static func fixture(_ file: String) -> String { fixtureURL(file).path }

  static func fixtureURL(_ file: String) -> URL { fixtures.appendingPathComponent(file) }
}

/// States to be written.
enum States {
  /// Written by QEMU: 230541 bytes, compressible.
  static let real = Repository.fixtures.appendingPathComponent("states/x07-pc-linux-8vcpu-2nic.dev")

  /// Begins as a device state does: the header, and that of a section.
  static let start =
    Data("QEVM".utf8) + [0, 0, 0, 3, 4, 0, 0, 0, 0, 5] + Data("timer".utf8)
    + [0, 0, 0, 0, 0, 0, 0, 2]

  /// Bytes that no codec makes smaller; the same for the same count.
  static func random(_ count: Int) -> Data {
    var data = Data(capacity: count + block.count)
    var piece = 0
    while data.count < count {
      // No two chunks are alike, and blocks repeat farther apart than the codecs look back.
      data.append(contentsOf: [0x5A, UInt8(piece & 0xFF), UInt8(piece >> 8)])
      data.append(block)
      piece += 1
    }
    return data.prefix(count)
  }

  /// Text, zeros and noise in turn: chunks of every kind.
  static func mixed(_ count: Int) -> Data {
    let text = Data("a line of text that compresses well, and another one\n".utf8)
    var data = Data(capacity: count + 300_000)
    while data.count < count {
      data.append(random(90_000))
      data.append(Data(count: 140_000))
      for _ in 0..<1000 { data.append(text) }
    }
    return data.prefix(count)
  }

  private static let block: Data = {
    var generator = SeededGenerator(seed: 0x5374_7562_5361_7665)
    return Data(generator.bytes(262_144))
  }()
}
