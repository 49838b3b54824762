import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// A guest that libxl has stopped, and then gone (formats/rendezvous.md, section 8.1).
extension QMPProxy {
  /// For another libxl, or the same over another connection, to go on with what was begun.
  private static let resumeMilliseconds: UInt64 = 2_000

  /// What a proxy has left that was killed.
  mutating func inherit() {
    if mark.wasStopped { guestStop.inherit() }
    mark.note(program, options.program)
    noteGuestStop()
  }

  /// After whatever may have changed it: for this proxy, and for one that comes in its place.
  mutating func noteGuestStop() {
    let isStopping = link.relay.stop != nil
    mark.note(isStopped: guestStop.state != .none || isStopping)
    if guestStop.state != .abandoned {
      resumeTime = nil
    } else if resumeTime == nil {
      resumeTime = Deadline(timeoutMilliseconds: QMPProxy.resumeMilliseconds)
    }
  }

  var isResumeDue: Bool { resumeTime?.hasPassed == true }

  mutating func resumeIfDue() {
    guard isResumeDue, !isResuming, link.isReady else { return }
    endSession()
    if DomainLock.isHeld(domid: options.stubdomain) {
      // Another command is at work with the guest, and lets it go on itself.
      resumeTime = Deadline(timeoutMilliseconds: QMPProxy.resumeMilliseconds)
      return
    }
    guard let question = link.relay.ask(.resume) else { return }
    isResuming = true
    sendToQEMU(question.line)
  }

  /// QEMU has answered.
  mutating func heedResumed(_ words: PlainText?) {
    link.isWell()
    isResuming = false
    var text = PlainText()
    if let words {
      text.append("the guest, which libxl had stopped, could not be let go on; ")
      text.append("the stubdomain says: ")
      text.append(words)
    } else {
      text.append("the guest goes on: libxl had stopped it and has gone without its state")
    }
    log(text)
    guestStop.guestRuns()
    noteGuestStop()
  }
}
