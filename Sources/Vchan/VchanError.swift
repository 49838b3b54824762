import SystemIO

/// Why a vchan carries nothing more.
public enum VchanError: Error, Sendable, Equatable {
  /// It could not be made, or there is none at that path. libxenvchan knows no more than this.
  case cannotOpen(SystemError)
  /// The other side has closed it, or is no more.
  case closed
  /// The other side has written indices that no ring can have.
  case nonsense
  /// It could not be waited for.
  case system(SystemError)
}
