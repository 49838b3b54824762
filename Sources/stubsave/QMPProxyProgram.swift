import ArgumentParser
import CProgram
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// `stubsave-qmp-proxy`: `stubsave qmp-proxy` with the command line of vchan-socket-proxy, for a Xen that
/// was built to start it (`--with-stubdom-qmp-proxy`). It is a second name of this program.
///
/// libxl tells it nothing but what it tells vchan-socket-proxy; the rest stands in a file.
enum QMPProxyProgram {
  private static let name = "stubsave-qmp-proxy"

  static var isCalled: Bool {
    guard stubsave_argument_count() > 0, let path = unsafe stubsave_argument(0) else {
      return false
    }
    return unsafe SystemPath(copying: path).directoryAndName.name.bytes.elementsEqual(name.utf8)
  }

  /// The same as words for `stubsave`; nil if it was asked for help, which has been said then.
  static func words() throws -> [String]? {
    var config: SystemPath?
    var options: [String] = []
    while true {
      var found: UnsafePointer<CChar>?
      let option = unsafe stubsave_proxy_option(&found)
      let value = unsafe found.map { unsafe SystemPath(copying: $0) }
      let text = ArgumentText.encode(value?.bytes ?? [])
      switch option {
      case Int32(STUBSAVE_PROXY_MODE):
        guard ["client", "server"].contains(text) else { throw wrong() }
        options.append("--mode=\(text)")
      case Int32(STUBSAVE_PROXY_VERBOSE): options.append("--verbose")
      case Int32(STUBSAVE_PROXY_STATE_PATH): options.append("--state-path=\(text)")
      case Int32(STUBSAVE_PROXY_RECONNECT_MARKER):
        options.append("--reconnect-marker=\(text)")
      case Int32(STUBSAVE_PROXY_PROGRAM): options.append("--program=\(text)")
      case Int32(STUBSAVE_PROXY_CONFIG): config = value
      case Int32(STUBSAVE_PROXY_HELP):
        Console.print(help, toStandardError: false)
        return nil
      case Int32(STUBSAVE_PROXY_END):
        var words: [String] = []
        for index in stubsave_proxy_operand()..<stubsave_argument_count() {
          guard let word = unsafe stubsave_argument(index) else { continue }
          words.append(ArgumentText.encode(unsafe SystemPath(copying: word).bytes))
        }
        guard words.count == 3 else { throw wrong() }
        var lines: [String] = []
        try Console.run(json: false) { () throws(ToolError) -> ExitStatus in
          lines = try QMPProxyFile.words(config)
          return .good
        }
        return ["qmp-proxy", "--by-file"] + lines + options + ["--"] + words
      default: throw wrong()
      }
    }
  }

  private static func wrong() -> ExitCode {
    Console.print(
      "\(usage)\n\(name): wrong arguments; see `\(name) --help`", toStandardError: true)
    return ExitCode(Int32(ExitStatus.usage.rawValue))
  }

  private static let usage =
    "usage: \(name) [options] domainid nodepath [socket-path|file-no|-]"

  private static let help = """
    \(name) - stand in the place of libxl's vchan-socket-proxy

    \(usage)

    libxl starts it, not you, once Xen is built with ./configure --with-stubdom-qmp-proxy and its
    path. It does what vchan-socket-proxy does, by the same arguments, and has 'xl save' and
    'xl restore' go over a save disk. libxl's own program runs behind it, and gets everything that
    is not the QMP of a stubdomain's QEMU.

    Options of vchan-socket-proxy:
      -m, --mode=client|server   client by default; server is vchan-socket-proxy's own affair
      -s, --state-path=path      where in xenstore to write "running" at the start
      -v, --verbose              vchan-socket-proxy says everything
      -r, --reconnect-marker=N   as in Qubes OS and OpenXT, whose vchan-socket-proxy has to know it
    Of its own:
      --program=file             libxl's own vchan-socket-proxy
      --config=file              instead of \(QMPProxyFile.usual)
      -h, --help

    \(QMPProxyFile.usual) may be missing. Of its lines each is an option of
    'stubsave qmp-proxy' without the dashes, and its value behind a space; empty lines and those
    that begin with # are passed over. It must be root's, and for nobody else to write.

      program /usr/lib/xen-4.20/bin/vchan-socket-proxy
      max-state 128MiB
      accept-unverified

    Without 'program' it is the vchan-socket-proxy that 'stubsave hooks' would find, of several
    the one of the Xen that runs.

    Exit codes are those of stubsave; a command line that is wrong ends with 64.
    """
}
