import SystemIO

extension Hooks {
  /// The stubdomains that run beside a proxy that is not ours, such as those that were started
  /// before the hooks were put there.
  public static func proxiesOfOthers(
    _ xenstore: SystemPath
  ) throws(ToolError) -> [StubdomainSummary] {
    try Listing.run(xenstore).filter { !HookProgram.processNames.contains($0.proxy.text) }
  }
}
