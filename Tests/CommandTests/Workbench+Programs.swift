import Foundation
import TestSupport
import Testing

/// The programs under test.
enum Programs {
  /// Where SwiftPM puts them: beside the bundle of tests, which is the running executable.
  private static let directory = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent()

  static func stubsave() throws -> URL { try program(directory.appendingPathComponent("stubsave")) }

  /// Another build of the agent if STUBSAVE_AGENT names one.
  static func agent() throws -> URL {
    if let path = ProcessInfo.processInfo.environment["STUBSAVE_AGENT"], !path.isEmpty {
      return try program(URL(fileURLWithPath: path, relativeTo: Repository.root))
    }
    return try program(directory.appendingPathComponent("stubsave-agent"))
  }

  private static func program(_ url: URL) throws -> URL {
    try #require(
      FileManager.default.isExecutableFile(atPath: url.path),
      "there is no program \(url.path): run `swift build` first")
    return url
  }
}

/// What a program did.
struct Outcome {
  enum End: Equatable {
    case exit(Int32)
    case signal(Int32)
  }

  let end: End
  let output: Data
  let complaints: String

  var text: String { String(decoding: output, as: UTF8.self) }
  /// The lines of standard output.
  var lines: [String] { text.split(separator: "\n").map(String.init) }
  var complaintLines: [String] { complaints.split(separator: "\n").map(String.init) }

  func json<Value: Decodable>(_ type: Value.Type) throws -> Value {
    try JSONDecoder().decode(type, from: output)
  }

  /// One document a line.
  func jsonLines<Value: Decodable>(_ type: Value.Type) throws -> [Value] {
    try lines.map { try JSONDecoder().decode(type, from: Data($0.utf8)) }
  }
}

/// What a program finds on standard input.
enum Input {
  case nothing
  case bytes(Data)
  case file(URL)
}

extension Workbench {
  /// Runs `stubsave`, which must end with the code `code`.
  ///
  /// - Parameter isText: what it prints must be printable ASCII.
  @discardableResult
  func stubsave(
    _ arguments: String..., input: Input = .nothing, exits code: Int32 = 0, isText: Bool = true,
    in directory: URL? = nil, environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    let outcome = try await run(
      Programs.stubsave(), arguments, input: input, in: directory, environment: environment)
    outcome.check(arguments, code, isText: isText, sourceLocation)
    return outcome
  }

  /// The same for the agent.
  @discardableResult
  func agent(
    _ arguments: String..., input: Input = .nothing, exits code: Int32 = 0, isText: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    let outcome = try await run(Programs.agent(), arguments, input: input)
    outcome.check(arguments, code, isText: isText, sourceLocation)
    return outcome
  }

  /// Runs a script with /bin/sh; `$STUBSAVE` and `$AGENT` are the programs.
  @discardableResult
  func shell(
    _ script: String, exits code: Int32 = 0, environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    let programs = [
      "STUBSAVE": try Programs.stubsave().path, "AGENT": try Programs.agent().path,
      "FIXTURES": Repository.fixtures.path, "STATE": States.real.path,
    ]
    let outcome = try await run(
      URL(fileURLWithPath: "/bin/sh"), ["-c", script],
      environment: environment.merging(programs) { first, _ in first })
    #expect(
      outcome.end == .exit(code), "\(script): \(outcome.complaints)",
      sourceLocation: sourceLocation)
    outcome.expectPlainText(outcome.complaints, sourceLocation)
    return outcome
  }

  /// Runs a program to its end.
  func run(
    _ program: URL, _ arguments: [String], input: Input = .nothing, in directory: URL? = nil,
    environment: [String: String] = [:]
  ) async throws -> Outcome {
    let source: FileHandle
    switch input {
    case .nothing: source = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/dev/null"))
    case .file(let url): source = try FileHandle(forReadingFrom: url)
    case .bytes(let data):
      let (url, handle) = try captureFile()
      try handle.write(contentsOf: data)
      try handle.close()
      source = try FileHandle(forReadingFrom: url)
    }
    return try await start(
      program, arguments, input: source, in: directory, environment: environment
    ).outcome()
  }

  /// Starts a program.
  ///
  /// - Parameter input: its standard input; closed here.
  func start(
    _ program: URL, _ arguments: [String], input: FileHandle, in directory: URL? = nil,
    environment: [String: String] = [:]
  ) throws -> RunningProgram {
    let output = try captureFile()
    let complaints = try captureFile()
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.currentDirectoryURL = directory ?? self.directory
    let columns = ["COLUMNS": "80"]
    process.environment = ProcessInfo.processInfo.environment
      .merging(columns) { $1 }.merging(environment) { $1 }
    process.standardInput = input
    // Into files, not pipes: then no order of reading them can block the program.
    process.standardOutput = output.handle
    process.standardError = complaints.handle
    defer { for handle in [input, output.handle, complaints.handle] { try? handle.close() } }
    return try RunningProgram(process, output: output.url, complaints: complaints.url)
  }
}

/// A program that has not ended yet.
struct RunningProgram {
  let process: Process
  private let output: URL
  private let complaints: URL
  private let ended: AsyncStream<Void>

  init(_ process: Process, output: URL, complaints: URL) throws {
    self.process = process
    self.output = output
    self.complaints = complaints
    let (ended, continuation) = AsyncStream<Void>.makeStream()
    self.ended = ended
    process.terminationHandler = { _ in continuation.finish() }
    // A program inherits the signals that this thread blocks, and Dispatch's threads block most.
    var none = sigset_t()
    var blocked = sigset_t()
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, &blocked)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &blocked, nil) }
    try process.run()
  }

  /// Waits for its end; a test's time limit cuts that short.
  func outcome() async throws -> Outcome {
    for await _ in ended {}
    if process.isRunning {
      kill(process.processIdentifier, SIGKILL)
      throw CancellationError()
    }
    let status = process.terminationStatus
    return Outcome(
      end: process.terminationReason == .exit ? .exit(status) : .signal(status),
      output: try Data(contentsOf: output),
      complaints: String(decoding: try Data(contentsOf: complaints), as: UTF8.self))
  }
}
