import Foundation
import TestSupport
import Testing

// Invariants:
// - a target depends on what the design lets it depend on and on nothing else, in Package.swift and
//   in what its files import;
// - what is also built as Embedded Swift imports neither Foundation nor Glibc, and the format module
//   imports no system at all;
// - only SystemIO sees the system's C module; C is a shim, nowhere more;
// - files stay small.

@Suite struct ArrowTests {
  /// Allowed arrows, modules of this package only. Test targets may see everything.
  static let arrows: [String: Set<String>] = [
    "SaveDisk": ["CXXH3", "CXXHash"],
    "Codecs": ["SaveDisk", "CLZ4", "CZlib"],
    "ZstdCodec": ["Codecs", "SaveDisk", "CZstd", "CDeflate"],
    "SystemIO": ["CSystem"],
    "Transfer": ["SaveDisk", "Codecs", "SystemIO"],
    "Vchan": ["CXenVchan", "SystemIO"],
    "Agent": [
      "Transfer", "QEMUMonitor", "Rendezvous", "Xenstore", "Vchan", "SaveDisk", "Codecs",
      "SystemIO",
    ],
    "stubsave-agent": ["Agent"],
    "QEMUMonitor": ["SaveDisk", "SystemIO"],
    "Xenstore": ["SaveDisk", "SystemIO"],
    "Rendezvous": ["SaveDisk", "SystemIO", "Xenstore"],
    "SaveFiles": ["Transfer", "SaveDisk", "SystemIO"],
    "Decoding": [
      "SaveFiles", "QEMUState", "Transfer", "ZstdCodec", "Codecs", "SaveDisk", "SystemIO",
    ],
    "DecoderProgram": ["CSeccomp", "Decoding", "Transfer", "SaveDisk", "SystemIO"],
    "stubsave-decode": ["DecoderProgram"],
    "BlockProbe": ["CBlkid", "SaveDisk", "SystemIO"],
    "QEMUState": ["Transfer", "SaveDisk", "Codecs", "SystemIO"],
    "Xen": ["CXenCall", "CXenConsole", "Xenstore", "SaveDisk", "SystemIO"],
    "Toolstack": [
      "Decoding", "Transfer", "Rendezvous", "QEMUMonitor", "Vchan", "Xen", "Xenstore", "QEMUState",
      "SaveFiles", "BlockProbe", "ZstdCodec", "SaveDisk", "Codecs", "SystemIO",
    ],
    "stubsave": [
      "CProgram", "Toolstack", "Transfer", "Rendezvous", "Xen", "QEMUState", "SaveFiles",
      "SaveDisk", "Codecs", "SystemIO",
    ],
    "stubsave-bench": ["Transfer", "QEMUMonitor", "SaveDisk", "Codecs", "SystemIO"],
  ]

  /// Modules of others, by target.
  static let outside: [String: Set<String>] = [
    "Toolstack": ["Foundation", "Synchronization"],
    "stubsave": ["Foundation", "ArgumentParser", "Synchronization"],
    "stubsave-bench": ["Foundation", "ArgumentParser"],
  ]

  /// Programs whose Swift is all in another target.
  static let areInC: Set = ["stubsave-agent", "stubsave-decode"]

  static let sources = Repository.root.appendingPathComponent("Sources")

  static func files(_ target: String) throws -> [URL] {
    try FileManager.default.contentsOfDirectory(
      at: sources.appendingPathComponent(target), includingPropertiesForKeys: nil
    ).filter { $0.pathExtension == "swift" }
  }

  static func imports(_ file: URL) throws -> [String] {
    try String(contentsOf: file, encoding: .utf8).split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard let keyword = words.firstIndex(of: "import"), keyword <= 1 else { return nil }
      return words.last.map(String.init)
    }
  }

  @Test(arguments: arrows.keys.sorted())
  func `imports follow the arrows`(target: String) throws {
    let allowed = Self.arrows[target, default: []].union(Self.outside[target, default: []])
    let files = try Self.files(target)
    #expect(Self.areInC.contains(target) || !files.isEmpty)
    for file in files {
      for module in try Self.imports(file) {
        #expect(allowed.contains(module), "\(target)/\(file.lastPathComponent) imports \(module)")
      }
    }
  }

  /// The dependencies that Package.swift gives a target, in quotes between its name and the next.
  static func declared(_ target: String, in manifest: String) throws -> Set<String> {
    let pattern = try Regex("[tT]arget\\(\\s*name: \"\(target)\"")
    let start = try #require(manifest.firstRange(of: pattern))
    let rest = manifest[start.upperBound...]
    let end = rest.firstRange(of: try Regex("[tT]arget\\(\\s*name:"))?.lowerBound ?? rest.endIndex
    let declaration = rest[..<end]
    guard let list = declaration.firstRange(of: "dependencies: [") else { return [] }
    let names = declaration[list.upperBound...].prefix { $0 != "]" }
    return Set(
      names.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
        .filter { $0.offset % 2 == 1 }.map { String($0.element) })
  }

  @Test(arguments: arrows.keys.sorted())
  func `Package.swift declares the arrows`(target: String) throws {
    let manifest = try Repository.text("Package.swift")
    var declared = try Self.declared(target, in: manifest)
    declared.remove("swift-argument-parser")
    declared.remove("ArgumentParser")
    #expect(declared == Self.arrows[target])
  }

  @Test func `every target is in the table`() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Self.sources.path)
    let systemModules: Set = [
      "CXXH3", "CXXHash", "CLZ4", "CZlib", "CZstd", "CDeflate", "CBlkid", "CXenCall", "CXenConsole",
      "CXenVchan", "CSeccomp", "CSystem", "CProgram",
    ]
    // What `make install` copies, and no module.
    let others: Set = ["systemd", "udev"]
    #expect(Set(folders) == systemModules.union(Self.arrows.keys).union(others))
  }

  @Test func `arrows make no circle`() {
    for target in Self.arrows.keys {
      var reached = Self.arrows[target] ?? []
      var waiting = Array(reached)
      while let next = waiting.popLast() {
        for further in Self.arrows[next] ?? [] where reached.insert(further).inserted {
          waiting.append(further)
        }
      }
      #expect(!reached.contains(target))
    }
  }

  @Test func `every Swift target has the strict settings`() throws {
    let manifest = try Repository.text("Package.swift")
    for target in Self.arrows.keys where !Self.areInC.contains(target) {
      let pattern = try Regex("[tT]arget\\(\\s*name: \"\(target)\"[^)]*swiftSettings: strict")
        .dotMatchesNewlines()
      let product = try Regex(
        "[tT]arget\\(\\s*name: \"\(target)\"(?:(?!Target\\().)*?swiftSettings: strict"
      ).dotMatchesNewlines()
      #expect(manifest.contains(pattern) || manifest.contains(product), "\(target)")
    }
    for setting in [
      ".swiftLanguageMode(.v6)", ".strictMemorySafety()", "treatAllWarnings(as: .error)",
    ] { #expect(manifest.contains(setting)) }
    #expect(!manifest.contains("from: \""), "dependencies are pinned exactly")
  }

  /// What has come from a stubdomain is looked at by the decoder's process, and by nothing else in
  /// dom0; what the writer reads of a disk that it has made itself is not that.
  @Test func `only the decoder looks through the door`() throws {
    for target in ["Toolstack", "stubsave", "Xen"] {
      for file in try Self.files(target) {
        let text = try String(contentsOf: file, encoding: .utf8)
        for word in [
          "Door.open(", "Door.carry(", "StateFile.check(", "SectionList.scan(",
          "ChunkCodec.decode(", "SaveFileWalk(", "SaveFileFormat(",
        ] {
          let name = "\(target)/\(file.lastPathComponent)"
          #expect(!text.contains(word), "\(name) has \(word)")
        }
        // The project's own fixtures are written again.
        let isReplay = file.lastPathComponent == "Replay.swift"
        #expect(isReplay || !text.contains("DiskWalk("), "\(file.lastPathComponent)")
      }
    }
  }

  /// What owns a lock or a descriptor and is assigned to nothing is dropped at once: the lock is given
  /// back before the work begins.
  @Test func `nothing that owns something is made for nobody`() throws {
    let all = FileManager.default.enumerator(at: Self.sources, includingPropertiesForKeys: nil)
    var texts: [String: String] = [:]
    while let file = all?.nextObject() as? URL {
      guard file.pathExtension == "swift" else { continue }
      texts[file.lastPathComponent] = try String(contentsOf: file, encoding: .utf8)
    }
    let declared = try Regex(
      "(?:struct|enum) (\\w+)[^{\n]*~Copyable", as: (Substring, Substring).self)
    let owners = Set(texts.values.flatMap { $0.matches(of: declared).map { String($0.output.1) } })
    #expect(owners.isSuperset(of: ["DomainLock", "OwnedFile", "DiskTurn", "FileDescriptor"]))
    for (name, text) in texts {
      for found in try Self.droppedAtOnce(owners, in: text) {
        Issue.record("\(name): \(found)")
      }
    }
    // It finds what has been there.
    for bad in [
      "_ = try DomainLock(domid: 5)", "_ = try? OwnedFile.claim(path)", "_ = DiskTurn.take()",
      "if (try? OwnedFile.claim(path, busy: \"\")) != nil {", "let _ = try! DomainLock(domid: 1)",
      "_ =\n      try DomainLock(domid: 5)",
    ] { #expect(try Self.droppedAtOnce(owners, in: bad).count == 1, "\(bad)") }
  }

  static func droppedAtOnce(_ owners: Set<String>, in text: String) throws -> [String] {
    let maker = "(?:\(owners.sorted().joined(separator: "|")))(?:\\.\\w+)?\\((?!\\s*borrowing:)"
    let dropped = try Regex(
      "\\b_\\s*=\\s*(?:try[?!]?\\s+)?\(maker)|\\(try\\?\\s+\(maker).*\\) [!=]= nil")
    return text.matches(of: dropped).map { String(text[$0.range]) }
  }

  @Test func `files are small`() throws {
    for folder in ["Sources", "Tests"] {
      let root = Repository.root.appendingPathComponent(folder)
      let all = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil)
      var count = 0
      while let file = all?.nextObject() as? URL {
        guard file.pathExtension == "swift" else { continue }
        count += 1
        let lines = try String(contentsOf: file, encoding: .utf8).split(
          separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count <= 320, "\(file.lastPathComponent) has \(lines.count) lines")
      }
      #expect(count > 10)
    }
  }
}
