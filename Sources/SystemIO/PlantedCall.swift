#if STUBSAVE_PLANTED_BUG
  import CSystem

  /// **For a test only**: any system call at all, as `PlantedBug` makes them.
  public enum PlantedCall {
    public static func make(_ number: Int, _ words: [Int]) -> Int {
      stubsave_planted_call(number, words[0], words[1], words[2], words[3], words[4], words[5])
    }
  }
#endif
