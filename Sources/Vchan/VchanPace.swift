import SystemIO

/// How often a peer may wake this side for nothing: 100 times in a row at once, then 100 times a
/// second. And how many clients may begin in a second. Events that come meanwhile are one, which is
/// there at the end; nothing is lost.
struct VchanPace {
  private var fruitless = 0
  private var restOfEvents: Deadline?
  private var begun = 0
  private var second: Deadline?

  private static let mostFruitless = 100
  private static let restMilliseconds: UInt64 = 10
  private static let mostBegun = 200

  /// Nothing is looked at before that.
  var rest: Deadline? {
    let restOfClients = begun > VchanPace.mostBegun ? second : nil
    guard let restOfEvents else { return restOfClients }
    guard let restOfClients else { return restOfEvents }
    return max(restOfEvents, restOfClients)
  }

  var isResting: Bool { rest?.hasPassed == false }

  mutating func woken() {
    fruitless += 1
    restOfEvents =
      fruitless > VchanPace.mostFruitless
      ? Deadline(timeoutMilliseconds: VchanPace.restMilliseconds) : nil
  }

  mutating func moved() {
    fruitless = 0
    restOfEvents = nil
  }

  mutating func began() {
    if second?.hasPassed != false {
      second = Deadline(timeoutMilliseconds: 1000)
      begun = 0
    }
    begun += 1
  }
}
