import SaveDisk
import SystemIO

extension Monitor {
  /// For the reply to `quit`: less than the second that dom0 waits for an answer under way.
  private static let quitMilliseconds: UInt64 = 500

  /// Gives a QEMU that was started with `-incoming defer` its state, and waits until it has loaded
  /// it.
  ///
  /// The state goes through a pipe, which this process fills: of a file QEMU 10 takes it with a
  /// warning, and 11 not at all (migration/fd.c). What fails once QEMU has taken `migrate-incoming`
  /// ends QEMU: a guest whose restore has failed must not begin to run when its QEMU comes to it.
  ///
  /// - Parameters:
  ///   - state: a file with the state.
  ///   - bytes: of it.
  public mutating func load(
    _ state: borrowing FileDescriptor, bytes: UInt64
  ) throws(MonitorError) {
    var events = PlainText()
    events.append("{\"capabilities\":[{\"capability\":\"events\",\"state\":true}]}")
    _ = try execute("migrate-set-capabilities", arguments: events)
    do throws(SystemError) {
      feed = try PipeFeed(of: state, bytes: bytes)
    } catch {
      throw .system(error)
    }
    do throws(MonitorError) {
      try loadFed()
      feed = PipeFeed()
    } catch {
      let done = feed.done
      // The reader sees an end that no state has.
      feed = PipeFeed()
      guard case .deadline = error, done < bytes else { throw error }
      throw .notRead(done, of: bytes)
    }
  }

  private mutating func loadFed() throws(MonitorError) {
    var name = PlainText()
    name.append("{\"fdname\":\"stubsave\"}")
    _ = try execute("getfd", arguments: name, passing: feed.readerNumber)
    feed.closeReader()
    migration = nil
    var uri = PlainText()
    uri.append("{\"uri\":\"fd:stubsave\"")
    if saysWhyLoadFailed { uri.append(",\"exit-on-error\":false") }
    uri.append("}")
    do throws(MonitorError) {
      _ = try execute("migrate-incoming", arguments: uri)
      try awaitLoaded()
    } catch {
      switch error {
      case .closed: throw error
      case .refused:
        // It waits on, with a descriptor too many.
        _ = try? execute("closefd", arguments: name)
        throw error
      default: break
      }
      // Also when a signal has ended the wait, or the time is over. QEMU forgets what a client has
      // said that goes before it is looked at, so the reply is waited for.
      signals = nil
      deadline = Deadline(timeoutMilliseconds: Monitor.quitMilliseconds)
      try? quit()
      throw error
    }
  }

  private mutating func awaitLoaded() throws(MonitorError) {
    while true {
      switch migration {
      case .completed?: return
      case .failed?: throw .migrationFailed(try whyLoadFailed())
      default: try awaitEvent("the end of the load")
      }
    }
  }

  /// QEMU from 9.1 on can be told not to end when it cannot load a state, and then says why. Before,
  /// it says that on its own standard error.
  private var saysWhyLoadFailed: Bool {
    release.major > 9 || (release.major == 9 && release.minor >= 1)
  }

  private mutating func whyLoadFailed() throws(MonitorError) -> [UInt8]? {
    guard saysWhyLoadFailed else { return nil }
    do throws(MonitorError) {
      let reply = try execute("query-migrate")
      guard let member = reply.document.member("error-desc", of: reply.result) else { return nil }
      return reply.document.string(member)
    } catch {
      if case .refused = error { return nil }
      throw error
    }
  }
}
