import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// What is waited for, and whose turn it is.
extension QMPProxy {
  mutating func serve() throws(ToolError) {
    while true {
      if try hearOfDomain() { return }
      settle()
      let others = [
        Readable.Interest(signals), Readable.Interest(program.number),
        (watch?.number).map { Readable.Interest($0) },
        hasRoom ? Readable.Interest(listener.number) : nil, link.interest,
      ]
      let interests = others + clients.map { $0.connection.interest(toTake: mayTake(from: $0)) }
      let deadline = nextDeadline
      let ready = try attempt(options.socket) { () throws(SystemError) in
        try Readable.wait(for: interests, until: deadline)
      }
      if ready[0] { return }
      if ready[1] { try startAgain() }
      // As they were when they were waited for.
      let readyClients = zip(clients, ready.dropFirst(others.count)).filter { $0.1 }.map { $0.0 }
      if ready[3] { accept() }
      for client in readyClients { takeFromClient(client) }
      if ready[4] || link.hasMore { takeFromQEMU() }
      heedDeadlines()
    }
  }

  private var nextDeadline: Deadline {
    // What has come already its descriptor need not tell.
    if link.hasMore { return .now }
    var deadlines = [
      saveDeadline, sessionDeadline, held?.deadline, link.deadline(isWanted: isQEMUWanted),
    ].compactMap { $0 }
    if let resumeTime, !resumeTime.hasPassed { deadlines.append(resumeTime) }
    for client in clients {
      if !client.isGreeted { deadlines.append(client.greetBy) }
      if let waiting = client.waiting { deadlines.append(waiting.arrival.answerBy) }
      if let deadline = client.connection.sendDeadline { deadlines.append(deadline) }
    }
    // One of them has been silent for long enough by then.
    if clients.count >= QMPProxy.maxClients {
      deadlines.append(Deadline(timeoutMilliseconds: QMPProxy.idleMilliseconds))
    }
    return deadlines.min() ?? Deadline(timeoutMilliseconds: .max)
  }

  private mutating func heedDeadlines() {
    if saveDeadline?.hasPassed == true { giveUpSave() }
    if held?.deadline.hasPassed == true { giveUpQuestion() }
    if sessionDeadline?.hasPassed == true { endSession() }
    heedLink()
    for client in clients { heedDeadlines(of: client) }
  }

  /// After whatever has happened: what waits for it goes on.
  private mutating func settle() {
    if link.mayConnect && isQEMUWanted { connect() }
    for client in clients {
      if let waiting = client.waiting, link.isReady, held == nil {
        client.waiting = nil
        take(waiting.command, of: client, waiting.arrival)
      }
      takeLines(of: client)
    }
    resumeIfDue()
  }

  /// - Returns: whether the domain is there no more.
  private mutating func hearOfDomain() throws(ToolError) -> Bool {
    let news: DomainWatch.News
    do throws(XenError) {
      guard let found = try watch?.take() else { return false }
      news = found
    } catch {
      // xenstored has ended: SIGHUP remains.
      watch = nil
      log(ToolError(error, options.place.name).text)
      return false
    }
    if let process = news.consoleProcess { limitConsoles(process) }
    return news.isGone
  }

  /// A stubdomain that writes to its consoles without end fills no disk of dom0's.
  private func limitConsoles(_ process: UInt32) {
    guard options.maxConsoleBytes > 0, let process = Int32(exactly: process) else { return }
    if hasDiskImages {
      var text = PlainText()
      text.append("the QEMU of its consoles has disk images, too: its files are not limited")
      return log(text)
    }
    if options.maxConsoleBytes < QMPProxyOptions.minConsoleBytes {
      var text = PlainText()
      text.append("--max-console is less than ")
      text.append(QMPProxyOptions.minConsoleBytes)
      text.append(", with which that QEMU would end; it is taken for that")
      log(text)
    }
    do throws(SystemError) {
      try FileLimit.set(
        ofProcess: process,
        bytes: max(options.maxConsoleBytes, QMPProxyOptions.minConsoleBytes))
    } catch {
      logFailure(
        SystemPath(word: "process ", number: UInt64(process)),
        ToolError(error, options.place.name))
    }
  }

  /// Whether that QEMU serves disks of the stubdomain from files (qdisk), which grow as they like.
  private var hasDiskImages: Bool {
    guard var xenstore = try? XenstoreConnection.dom0(options.place.xenstore) else { return true }
    return (try? XenDomains.hasDiskImages(options.stubdomain, &xenstore)) ?? true
  }

  func logFailure(_ path: SystemPath, _ error: ToolError) {
    var text = PlainText()
    text.append(escaping: path.bytes)
    text.append(": ")
    text.append(error.text)
    log(text)
  }
}
