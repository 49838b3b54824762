import Foundation
import SystemIO
import TestSupport
import Testing
@testable import Toolstack

// Invariants:
// - a new file has no name before it is published, and if it never is, nothing is left;
// - publishing never replaces unless told to; with or without unnamed files in the file system.

@Suite struct NewFileTests {
  /// A directory that goes away again.
  final class Directory {
    let url: URL
    init() throws {
      url = FileManager.default.temporaryDirectory.appendingPathComponent(
        "stubsave-new-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) throws -> SystemPath {
      try #require(SystemPath(url.appendingPathComponent(name).path))
    }

    var names: [String] {
      (try? FileManager.default.contentsOfDirectory(atPath: url.path))?.sorted() ?? []
    }

    func text(_ name: String) -> String? {
      try? String(contentsOf: url.appendingPathComponent(name), encoding: .utf8)
    }
  }

  @Test(arguments: [false, true])
  func `it appears when it is published`(withoutUnnamedFiles: Bool) throws {
    let directory = try Directory()
    var file = try NewFile(
      for: directory.path("new"), withoutUnnamedFiles: withoutUnnamedFiles)
    try file.descriptor.writeAll([UInt8]("text".utf8).rawSpan)
    #expect(!directory.names.contains("new"))
    try file.publish(replacing: .nothing)
    #expect(directory.text("new") == "text")
  }

  @Test(arguments: [false, true])
  func `it does not replace unless told to`(withoutUnnamedFiles: Bool) throws {
    let directory = try Directory()
    try Data("old".utf8).write(to: directory.url.appendingPathComponent("file"))
    do {
      var file = try NewFile(
        for: directory.path("file"), withoutUnnamedFiles: withoutUnnamedFiles)
      try file.descriptor.writeAll([UInt8]("new".utf8).rawSpan)
      #expect(throws: SystemError(.linkat, errno: Errno.exists)) {
        try file.publish(replacing: .nothing)
      }
    }
    #expect(directory.names == ["file"] && directory.text("file") == "old")
    do {
      var file = try NewFile(
        for: directory.path("file"), withoutUnnamedFiles: withoutUnnamedFiles)
      try file.descriptor.writeAll([UInt8]("new".utf8).rawSpan)
      try file.publish(replacing: .regularFile)
    }
    #expect(directory.names == ["file"] && directory.text("file") == "new")
  }

  @Test(arguments: [false, true])
  func `a FIFO is replaced only where anything may be`(withoutUnnamedFiles: Bool) throws {
    let directory = try Directory()
    let path = try directory.path("fifo")
    #expect(unsafe mkfifo(directory.url.appendingPathComponent("fifo").path, 0o600) == 0)
    do {
      var file = try NewFile(for: path, withoutUnnamedFiles: withoutUnnamedFiles)
      #expect(throws: SystemError(.renameat, errno: Errno.exists)) {
        try file.publish(replacing: .regularFile)
      }
    }
    #expect(try FileStatus.of(path).kind == .fifo)
    var file = try NewFile(for: path, withoutUnnamedFiles: withoutUnnamedFiles)
    try file.descriptor.writeAll([UInt8]("new".utf8).rawSpan)
    // Somebody who writes to what is replaced does not matter there.
    try file.publishUnlessInUse(replacing: .anything)
    #expect(directory.names == ["fifo"] && directory.text("fifo") == "new")
  }

  @Test
  func `where anything may be, a file that another has open for writing is replaced`() throws {
    let directory = try Directory()
    try Data("old".utf8).write(to: directory.url.appendingPathComponent("file"))
    let writer = try FileHandle(
      forWritingTo: directory.url.appendingPathComponent("file"))
    defer { try? writer.close() }
    do {
      var file = try NewFile(for: directory.path("file"))
      #expect(throws: ToolError.self) {
        try file.publishUnlessInUse(replacing: .regularFile)
      }
    }
    #expect(directory.text("file") == "old")
    var file = try NewFile(for: directory.path("file"))
    try file.publishUnlessInUse(replacing: .anything)
    #expect(directory.text("file") == "")
  }

  @Test(arguments: [false, true])
  func `nothing is left of one that is not published`(withoutUnnamedFiles: Bool) throws {
    let directory = try Directory()
    do {
      let file = try NewFile(
        for: directory.path("new"), withoutUnnamedFiles: withoutUnnamedFiles)
      try file.descriptor.writeAll([UInt8]("text".utf8).rawSpan)
      #expect(directory.names.count == (withoutUnnamedFiles ? 1 : 0))
    }
    #expect(directory.names == [])
  }
}
