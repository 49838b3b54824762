import SaveDisk
import SystemIO
import Transfer

/// Where `stubsave-agent` is installed, seen from this program.
public enum AgentProgram {
  /// Beside this program in a build, in ../lib/stubsave once installed.
  public static func find() throws(ToolError) -> SystemPath {
    let own = try attempt(SystemPath(word: "/proc/self/exe")) { () throws(SystemError) in
      try Names.target(of: SystemPath(word: "/proc/self/exe"))
    }
    let directory = own.directoryAndName.directory
    for place in ["stubsave-agent", "../lib/stubsave/stubsave-agent"] {
      if let path = directory.appending([UInt8](place.utf8)), (try? FileStatus.of(path)) != nil {
        return path
      }
    }
    throw ToolError(.notFound, directory) {
      $0.append("stubsave-agent is neither here nor in ../lib/stubsave; --agent says where it is")
    }
  }
}
