import ArgumentParser

/// The dom0 command line. Synchronous: an asynchronous main costs 7 to 11 ms at the start.
struct Stubsave: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stubsave",
    abstract: "Carries a virtual machine's device state between a stubdomain and dom0.",
    discussion: """
      The state travels on a save disk: a header, compressed chunks, checksums and a commit. A \
      disk that is damaged, cut off or not finished is never taken for a good one.

      Exit codes: 0 good, 1 internal error, 2 corrupt, 3 incomplete, 4 not a save disk, 5 busy, \
      6 unsupported version or feature, 7 over a limit or disk too small, 8 no permission, \
      9 Xen, the stubdomain or the decoder failed, 10 deadline, 11 I/O error or no space, 12 would destroy \
      something (--force), 13 QEMU or QMP refused, 14 not found, 64 usage, 128+N signal N. Any \
      other is a failure too.
      """,
    version: "0.1.0",
    subcommands: [
      DumpCommand.self, RestoreCommand.self, ListCommand.self, GCCommand.self,
      AllocateCommand.self, WriteCommand.self, ReadCommand.self, VerifyCommand.self,
      InspectCommand.self, ExtractCommand.self, WrapCommand.self, AttachCommand.self,
      DetachCommand.self, HooksCommand.self, ProxyCommand.self, QMPProxyCommand.self,
      ConsoleLogCommand.self,
    ])
}
