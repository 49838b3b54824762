import CSystem

// Not in the stubdomain's agent, which has one thread.
#if !hasFeature(Embedded)

  /// Threads for one piece of work: started together, all ended before it counts as done.
  ///
  /// No signal is delivered to them: one ends the process, or is waited for, as it was without them.
  public enum Threads {
    /// How many threads can run at the same time.
    public static var processors: Int { max(Int(stubsave_processors()), 1) }

    /// Runs `main` here while `others` is run on up to `count` further threads, each with its index.
    ///
    /// - Parameter main: is told how many there are: fewer than `count` are no failure.
    /// - Returns: false, with nothing done, if not one of them can be started.
    public static func run(
      _ count: Int, others: @escaping @Sendable (Int) -> Void, main: (Int) -> Void
    ) -> Bool {
      var started: [pthread_t] = []
      for index in 0..<count {
        guard stubsave_fault(Int32(SystemCall.thread.rawValue)) == 0 else { break }
        let work = unsafe Unmanaged.passRetained(Work(index, others))
        var thread = pthread_t()
        let code = unsafe stubsave_thread_start(
          &thread,
          { argument in
            unsafe Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().run()
            return nil
          }, work.toOpaque())
        if code != 0 {
          unsafe work.release()
          break
        }
        started.append(thread)
      }
      if started.isEmpty { return false }
      main(started.count)
      for thread in started {
        let code = pthread_join(thread, nil)
        precondition(code == 0, "a thread that was started has ended, and not been waited for")
      }
      return true
    }

    private final class Work {
      let index: Int
      let body: @Sendable (Int) -> Void

      init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
        self.index = index
        self.body = body
      }

      func run() { body(index) }
    }
  }

  /// Counts what is there, for threads that wait for it.
  @safe public final class Semaphore: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    public init(_ count: Int = 0) {
      unsafe semaphore = .allocate(capacity: 1)
      let code = unsafe sem_init(semaphore, 0, UInt32(count))
      precondition(code == 0, "more than a semaphore can count")
    }

    deinit {
      unsafe sem_destroy(semaphore)
      unsafe semaphore.deallocate()
    }

    /// Waits until there is one, and takes it.
    public func wait() {
      while unsafe sem_wait(semaphore) != 0 { precondition(stubsave_errno() == EINTR) }
    }

    public func post() {
      let code = unsafe sem_post(semaphore)
      precondition(code == 0, "more than a semaphore can count")
    }

    /// How many are there at this moment.
    public var count: Int {
      var value: Int32 = 0
      unsafe sem_getvalue(semaphore, &value)
      return Int(value)
    }
  }

#endif
