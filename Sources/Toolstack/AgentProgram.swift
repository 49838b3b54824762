import SaveDisk
import SystemIO
import Transfer

/// Where the programs beside this one are installed.
public enum AgentProgram {
  /// Beside this program in a build, in ../lib/stubsave once installed.
  public static func find() throws(ToolError) -> SystemPath {
    if let path = find("stubsave-agent") { return path }
    let own = SystemPath(word: "/proc/self/exe")
    let directory = try attempt(own) { () throws(SystemError) in
      try Names.target(of: own).directoryAndName.directory
    }
    throw ToolError(.notFound, directory) {
      $0.append("stubsave-agent is neither here nor in ../lib/stubsave; --agent says where it is")
    }
  }

  /// Nil if it is in neither place.
  static func find(_ name: String) -> SystemPath? {
    guard let own = try? Names.target(of: SystemPath(word: "/proc/self/exe")) else { return nil }
    for place in [name, "../lib/stubsave/" + name] {
      if let path = own.directoryAndName.directory.appending([UInt8](place.utf8)),
        (try? FileStatus.of(path)) != nil
      {
        return path
      }
    }
    return nil
  }
}
